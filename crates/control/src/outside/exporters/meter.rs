//! From the figures of an exporter's pages to a load.

use ebbtide_core::{Load, LoadMeasure, LoadSettings, Millis};
use ebbtide_protocol::exporter::{CpuTime, Figures};
use ebbtide_protocol::exposition::{LINE_BYTES_MAX, Selector};
use tokio::time::Instant;

/// Counters that have moved by less than so many seconds have not moved: the page is one that was made
/// for somebody before.
const MOVED_S_MIN: f64 = 0.01;
/// Counters that have not moved for so many times the time between two pages stand still.
const STILL_TIMES: u64 = 3;

/// Reads the load off page after page of one exporter.
pub(super) struct Meter {
    settings: LoadSettings,
    /// The counters of the page before, of how many processors they are, and when they were new.
    cpu: Option<(CpuTime, Option<u32>, Instant)>,
    waiting: Option<(f64, Instant)>,
}

impl Meter {
    pub fn new(settings: LoadSettings) -> Self {
        Self {
            settings,
            cpu: None,
            waiting: None,
        }
    }

    /// The samples that are looked for beside those that every page is.
    pub fn selector(&self) -> Option<Selector> {
        match &self.settings.by {
            LoadMeasure::Value { metric, .. } => Selector::parse(metric).ok(),
            _ => None,
        }
    }

    /// The load by this page, which was read at this moment, and the one before. `None` if it takes
    /// another one; the error says what the page lacks.
    pub fn load(&mut self, page: &Figures, at: Instant) -> Result<Option<Load>, String> {
        self.read_off(page, at).map_err(|why| match page.too_long {
            0 => why,
            lines => format!(
                "{why}; lines of it that were too long to be read, of more than {} KiB: {lines}",
                LINE_BYTES_MAX / 1024
            ),
        })
    }

    fn read_off(&mut self, page: &Figures, at: Instant) -> Result<Option<Load>, String> {
        let machine = match &self.settings.by {
            LoadMeasure::Cpu => self.cpu(page, at)?,
            LoadMeasure::Memory => Some(memory(page)?),
            LoadMeasure::Greatest => {
                let memory = memory(page)?;
                self.cpu(page, at)?.map(|cpu| cpu.max(memory))
            }
            LoadMeasure::RunQueue => Some(run_queue(page)?),
            LoadMeasure::Pressure => self.pressure(page, at)?,
            LoadMeasure::Sessions => Some(0.0),
            LoadMeasure::Value { min, max, metric } => {
                let metric = Selector::parse(metric).map_err(|fault| fault.to_string())?;
                Some(value(page, &metric, *min, *max)?)
            }
        };
        let share = match self.settings.sessions_max {
            Some(max) => {
                let sessions = sessions(page, max)?;
                machine.map(|machine| machine.max(sessions))
            }
            None => machine,
        };
        Ok(share.and_then(Load::from_share))
    }

    /// The share of the time since the page before in which processors were busy.
    fn cpu(&mut self, page: &Figures, at: Instant) -> Result<Option<f64>, String> {
        // Processors without idle time are no counters to be believed.
        let now = page.cpu.filter(|_| page.processors.is_some());
        let now = now.ok_or_else(|| {
            let metrics = [
                "node_cpu_seconds_total",
                "node_cpu",
                "windows_cpu_time_total",
            ];
            let lacks =
                "its page tells no processor time (node_cpu_seconds_total, windows_cpu_time_total)";
            why_none(page, &metrics, lacks)
        })?;
        let before = self.cpu.replace((now, page.processors, at));
        let Some((before, processors, then)) = before else {
            return Ok(None);
        };
        let (all, idle) = (now.all_s - before.all_s, now.idle_s - before.idle_s);
        // The machine was started anew, or has other processors than before.
        if all < 0.0 || idle < 0.0 || processors != page.processors {
            return Ok(None);
        }
        if all < MOVED_S_MIN {
            self.cpu = Some((before, processors, then));
            let still = Millis(u64::try_from((at - then).as_millis()).unwrap_or(u64::MAX));
            return match still.0 < self.settings.every.0 * STILL_TIMES {
                true => Ok(None),
                false => Err(format!(
                    "the counters of processor time on its page have not moved for {still}"
                )),
            };
        }
        Ok(Some(1.0 - idle / all))
    }

    fn pressure(&mut self, page: &Figures, at: Instant) -> Result<Option<f64>, String> {
        let now = page.cpu_waiting_s.ok_or_else(|| {
            let lacks = "its page tells nothing of waiting for processors \
                         (node_pressure_cpu_waiting_seconds_total)";
            why_none(page, &["node_pressure_cpu_waiting_seconds_total"], lacks)
        })?;
        let before = self.waiting.replace((now, at));
        Ok(before.and_then(|(before, then)| {
            let passed = at.duration_since(then).as_secs_f64();
            (now >= before && passed > 0.0).then(|| (now - before) / passed)
        }))
    }
}

/// Why a figure is not known that is made of these metrics: one of them is no figure, or the page lacks
/// them.
fn why_none(page: &Figures, metrics: &[&str], lacks: &str) -> String {
    match metrics
        .iter()
        .find(|metric| page.unusable.contains(**metric))
    {
        Some(metric) => format!("its page has {metric} that is NaN, infinite or negative"),
        None => lacks.to_owned(),
    }
}

fn memory(page: &Figures) -> Result<f64, String> {
    let memory = page.memory.ok_or_else(|| {
        let metrics = [
            "node_memory_MemAvailable_bytes",
            "node_memory_MemTotal_bytes",
            "windows_memory_available_bytes",
            "windows_memory_physical_total_bytes",
            "windows_os_physical_memory_free_bytes",
            "windows_os_visible_memory_bytes",
            "windows_cs_physical_memory_bytes",
        ];
        let lacks = "its page does not tell how much memory is there and available \
                     (node_memory_MemTotal_bytes and node_memory_MemAvailable_bytes, or those of \
                     windows_exporter)";
        why_none(page, &metrics, lacks)
    })?;
    Ok(1.0 - memory.available / memory.total)
}

fn run_queue(page: &Figures) -> Result<f64, String> {
    let queue = page.run_queue.ok_or_else(|| {
        let metrics = ["node_load1", "windows_system_processor_queue_length"];
        let lacks =
            "its page tells no run queue (node_load1, windows_system_processor_queue_length)";
        why_none(page, &metrics, lacks)
    })?;
    let processors = page
        .processors
        .ok_or("its page does not tell how many processors there are")?;
    Ok(queue / f64::from(processors))
}

fn sessions(page: &Figures, max: u32) -> Result<f64, String> {
    let sessions = page.sessions.ok_or_else(|| {
        let metrics = [
            "windows_terminal_services_session_info",
            "windows_terminal_services_local_session_count",
            "windows_os_users",
        ];
        let lacks = "its page tells nothing of users' sessions (windows_terminal_services_session_info, \
                     windows_terminal_services_local_session_count; windows_exporter has them with its \
                     collector terminal_services)";
        why_none(page, &metrics, lacks)
    })?;
    Ok(sessions as f64 / f64::from(max.max(1)))
}

fn value(page: &Figures, metric: &Selector, min: i64, max: i64) -> Result<f64, String> {
    let metric = metric.to_string();
    let value = page
        .value
        .ok_or_else(|| match page.unusable.contains(&metric) {
            true => format!("its page has {metric} that is NaN or infinite"),
            false => format!("its page has no number for {metric}"),
        })?;
    let (min, max) = (min as f64 / 1000.0, max as f64 / 1000.0);
    Ok((value - min) / (max - min))
}
