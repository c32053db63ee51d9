//! What an exporter's page says of a machine's load: node_exporter, windows_exporter in its old and its
//! new names, or one metric of any exporter.
//!
//! Figures are as they are on the page. That counters count from the start of the machine, and that one
//! page says nothing of its CPU's load, is for whoever has seen the page before.

use crate::exposition::{LINE_BYTES_MAX, PageReader, PageSummary, Sample, Selector};
use std::collections::{BTreeMap, BTreeSet};

#[cfg(test)]
mod tests;

/// Reads an exporter's page that comes in pieces, of any length.
#[derive(Debug)]
pub struct ExporterReader {
    page: PageReader,
    selector: Option<Selector>,
    found: Found,
}

/// What a page says. What it does not say is `None`, as is what would be made of a sample that is none of
/// its kind: nothing is told by the rest.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Figures {
    /// Of all processors together, since the machine started.
    pub cpu: Option<CpuTime>,
    /// Processors.
    pub processors: Option<u32>,
    /// Physical memory.
    pub memory: Option<Memory>,
    /// Tasks that run or wait for a processor: the load average of the last minute on Linux, the
    /// length of the processors' queue on Windows.
    pub run_queue: Option<f64>,
    /// Seconds in which some task waited for a processor, since the machine started (Linux' PSI).
    pub cpu_waiting_s: Option<f64>,
    /// Sessions of users on a Windows terminal server, the disconnected among them.
    pub sessions: Option<u64>,
    /// The sum of the samples that were asked for, if there is any.
    pub value: Option<f64>,
    /// Metrics that are looked for, or the samples that were asked for as they are written, with one that
    /// is no number or endless; or negative, where that cannot be.
    pub unusable: BTreeSet<String>,
    /// Lines that were too long to be read.
    pub too_long: u64,
}

/// Seconds of processor time.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct CpuTime {
    /// In which there was nothing to do.
    pub idle_s: f64,
    /// All.
    pub all_s: f64,
}

/// Bytes of memory.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Memory {
    /// Free, or free as soon as it is wanted.
    pub available: f64,
    /// All.
    pub total: f64,
}

/// Why a page says nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExporterFault {
    /// It has no samples: it is not an exporter's.
    NoSamples,
    /// None of its samples is one that every page is looked through for, and no others were asked for.
    NothingKnown,
    /// What could be told is in lines that are too long to be read, if it is there at all.
    TooLong,
}

impl ExporterFault {
    /// For people: goes on after the exporter's address.
    pub fn reason(self) -> String {
        match self {
            Self::NoSamples => "its page has no metrics that could be read".into(),
            Self::NothingKnown => "its metrics do not tell what is looked for".into(),
            Self::TooLong => format!(
                "its page has lines of more than {} KiB, which are not read, and nothing beside them that is \
                 looked for",
                LINE_BYTES_MAX / 1024
            ),
        }
    }
}

/// Sums of samples; NaN if one of them is none of its kind.
#[derive(Debug, Default)]
struct Found {
    cpu: Option<CpuTime>,
    processors: u32,
    /// Gauges that are read as they are, by name.
    gauges: BTreeMap<&'static str, f64>,
    /// Sessions that are listed one by one.
    listed_sessions: Option<f64>,
    /// Sessions that are counted.
    counted_sessions: Option<f64>,
    value: Option<f64>,
    unusable: BTreeSet<String>,
}

/// The gauges that are read as they are.
const GAUGES: &[&str] = &[
    "node_memory_MemAvailable_bytes",
    "node_memory_MemTotal_bytes",
    "node_load1",
    "node_pressure_cpu_waiting_seconds_total",
    "windows_cs_logical_processors",
    "windows_cpu_logical_processor",
    "windows_cs_physical_memory_bytes",
    "windows_os_visible_memory_bytes",
    "windows_os_physical_memory_free_bytes",
    "windows_os_users",
    "windows_memory_available_bytes",
    "windows_memory_physical_total_bytes",
    "windows_system_processor_queue_length",
];

impl ExporterReader {
    /// Looks for these samples too, if any are given.
    pub fn new(selector: Option<Selector>) -> Self {
        Self {
            page: PageReader::default(),
            selector,
            found: Found::default(),
        }
    }

    /// Reads on.
    pub fn feed(&mut self, piece: &[u8]) {
        let Self {
            page,
            selector,
            found,
        } = self;
        let wants = |name: &str| is_wanted(name, selector.as_ref());
        page.feed(piece, wants, |sample| {
            found.look_at(sample, selector.as_ref())
        });
    }

    /// What the page said, when it has ended. That it has none of the samples that were asked for is no
    /// fault: who asked knows what is missing.
    pub fn finish(self) -> Result<Figures, ExporterFault> {
        let Self {
            page,
            selector,
            mut found,
        } = self;
        let wants = |name: &str| is_wanted(name, selector.as_ref());
        let PageSummary {
            samples, too_long, ..
        } = page.finish(wants, |sample| found.look_at(sample, selector.as_ref()));
        let is_asked_for_more = selector.is_some();
        let figures = found.figures();
        let says_nothing = figures == Figures::default() && !is_asked_for_more;
        match (samples, says_nothing) {
            (0, _) if too_long == 0 => Err(ExporterFault::NoSamples),
            (0, _) | (_, true) if too_long > 0 => Err(ExporterFault::TooLong),
            (_, true) => Err(ExporterFault::NothingKnown),
            (_, false) => Ok(Figures {
                too_long,
                ..figures
            }),
        }
    }
}

/// Whether samples of this name may be looked for: every name that [`Found::take_in`] knows begins so.
fn is_wanted(name: &str, selector: Option<&Selector>) -> bool {
    let rest = name.strip_prefix("node_");
    let of_node = |rest: &str| {
        let beginnings = ["cpu", "memory_Mem", "load1", "pressure_cpu"];
        beginnings
            .iter()
            .any(|beginning| rest.starts_with(beginning))
    };
    rest.map_or_else(|| name.starts_with("windows_"), of_node)
        || selector.is_some_and(|selector| selector.name() == name)
}

impl Found {
    fn look_at(&mut self, sample: Sample<'_>, selector: Option<&Selector>) {
        if let Some(selector) = selector
            && selector.selects(&sample)
        {
            if !sample.value.is_finite() {
                self.unusable.insert(selector.to_string());
            }
            *self.value.get_or_insert(0.0) += sample.value;
        }
        let is_amount = sample.value.is_finite() && sample.value >= 0.0;
        let amount = if is_amount { sample.value } else { f64::NAN };
        if self.take_in(&sample, amount) && !is_amount {
            self.unusable.insert(sample.name.to_owned());
        }
    }

    /// Returns whether the sample is one of those that every page is looked through for.
    fn take_in(&mut self, sample: &Sample<'_>, amount: f64) -> bool {
        match sample.name {
            // Up to 0.15 it was `node_cpu`, with the guests' time, which is in `user` and `nice` too.
            "node_cpu_seconds_total" | "node_cpu" => {
                let mode = sample.label("mode").unwrap_or_default();
                let counts = !matches!(&*mode, "guest" | "guest_nice");
                if counts {
                    self.add_cpu(&mode, matches!(&*mode, "idle" | "iowait"), amount);
                }
                counts
            }
            // Interrupts and deferred calls are parts of the privileged time.
            "windows_cpu_time_total" => {
                let mode = sample.label("mode").unwrap_or_default();
                let counts = matches!(&*mode, "idle" | "user" | "privileged");
                if counts {
                    self.add_cpu(&mode, mode == "idle", amount);
                }
                counts
            }
            "windows_terminal_services_session_info" => {
                let is_users = sample.label("user").is_some_and(|user| !user.is_empty());
                let state = sample.label("state").unwrap_or_default();
                let counts = is_users && matches!(&*state, "active" | "disconnected");
                *self.listed_sessions.get_or_insert(0.0) += if counts { amount } else { 0.0 };
                counts
            }
            "windows_terminal_services_local_session_count" => {
                let counts = sample.label("session").as_deref() == Some("total");
                if counts {
                    *self.counted_sessions.get_or_insert(0.0) += amount;
                }
                counts
            }
            name => match GAUGES.iter().find(|known| **known == name) {
                Some(name) => {
                    self.gauges.insert(name, amount);
                    true
                }
                None => false,
            },
        }
    }

    fn add_cpu(&mut self, mode: &str, is_idle: bool, seconds: f64) {
        let cpu = self.cpu.get_or_insert_default();
        cpu.all_s += seconds;
        if is_idle {
            cpu.idle_s += seconds;
        }
        if mode == "idle" {
            self.processors = self.processors.saturating_add(1);
        }
    }

    fn figures(self) -> Figures {
        let usable = |name: &str| !self.unusable.contains(name);
        let gauge = |name: &str| self.gauges.get(name).copied().filter(|_| usable(name));
        let memory = |available: &str, total: &str| {
            let (available, total) = (gauge(available)?, gauge(total)?);
            (total > 0.0).then_some(Memory { available, total })
        };
        let counted = (self.processors > 0).then_some(self.processors);
        let told = gauge("windows_cpu_logical_processor")
            .or_else(|| gauge("windows_cs_logical_processors"))
            .filter(|told| *told >= 1.0)
            .map(|told| told as u32);
        Figures {
            cpu: self
                .cpu
                .filter(|cpu| cpu.all_s > 0.0 && cpu.all_s.is_finite()),
            processors: counted.or(told),
            memory: memory(
                "node_memory_MemAvailable_bytes",
                "node_memory_MemTotal_bytes",
            )
            .or_else(|| {
                memory(
                    "windows_memory_available_bytes",
                    "windows_memory_physical_total_bytes",
                )
            })
            .or_else(|| {
                memory(
                    "windows_memory_available_bytes",
                    "windows_cs_physical_memory_bytes",
                )
            })
            .or_else(|| {
                memory(
                    "windows_os_physical_memory_free_bytes",
                    "windows_cs_physical_memory_bytes",
                )
            })
            .or_else(|| {
                memory(
                    "windows_os_physical_memory_free_bytes",
                    "windows_os_visible_memory_bytes",
                )
            }),
            run_queue: gauge("node_load1")
                .or_else(|| gauge("windows_system_processor_queue_length")),
            cpu_waiting_s: gauge("node_pressure_cpu_waiting_seconds_total"),
            sessions: self
                .listed_sessions
                .or(self.counted_sessions)
                .or_else(|| gauge("windows_os_users"))
                .filter(|sessions| sessions.is_finite())
                .map(|sessions| sessions as u64),
            value: self.value.filter(|value| value.is_finite()),
            unusable: self.unusable,
            too_long: 0,
        }
    }
}
