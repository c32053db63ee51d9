//! How busy the servers' machines are: what exporters tell, and what becomes of it.

use crate::config::PoolConfig;
use crate::driver::Output;
use crate::driver::change::event;
use crate::driver::state::{ServerState, State};
use crate::event::EventKind;
use crate::load::{Load, LoadReading};
use crate::name::ServerName;
use crate::standing::{Peak, Reason};
use crate::status::MachineStatus;
use crate::time::Now;

/// What is known of a server's machine, beside its last reading, which every worker sees.
#[derive(Debug, Default)]
pub(super) struct Machine {
    /// Where it is read; `None`: nowhere.
    exporter: Option<String>,
    /// Why it could not be read the last time.
    lost: Option<String>,
    /// The peak load that the pool gives to its servers, in percent.
    peak_of_pool: Option<u8>,
    /// Its load has risen above its peak load and has not come down far enough since.
    is_above: bool,
}

impl State {
    /// An exporter was asked for the load of a server's machine. `Ok(None)`: its page is good, and it
    /// takes another one to know the load.
    pub fn load_read(
        &mut self,
        name: &ServerName,
        exporter: &str,
        read: Result<Option<Load>, String>,
        now: Now,
        outputs: &mut Vec<Output>,
    ) {
        let every = self.pools.get(&name.pool).and_then(|pool| {
            let load = pool.config.load.as_ref();
            load.map(|load| load.every)
        });
        let server = self.servers.get_mut(name).filter(|server| server.present);
        let Some((server, every)) = server.zip(every) else {
            return;
        };
        // What was asked for before the configuration changed says nothing of what is there now.
        if server.machine.exporter.as_deref() != Some(exporter) {
            return;
        }
        let was_lost = server.machine.lost.is_some();
        if let Ok(Some(load)) = read {
            server.load.gauge.set(LoadReading {
                load,
                at: now.moment,
                sessions: server.load.sessions(),
                every,
            });
        }
        server.machine.lost = read.err();
        if server.judge_load(now) {
            self.changed.insert(name.pool.clone());
        }
        let Some(server) = self.servers.get(name) else {
            return;
        };
        let lost = &server.machine.lost;
        if was_lost != lost.is_some() {
            let kind = EventKind::Metrics { lost: lost.clone() };
            outputs.push(event(Some(name), kind, now));
        }
    }

    /// Judges every load anew: readings have become too old, or peak loads others.
    pub fn judge_loads(&mut self, now: Now) {
        let servers = self.servers.iter_mut();
        for (name, server) in servers.filter(|(_, server)| server.machine.exporter.is_some()) {
            if server.judge_load(now) {
                self.changed.insert(name.pool.clone());
            }
        }
    }
}

impl ServerState {
    /// The load in percent above which it takes no new sessions.
    pub fn peak_load(&self) -> Option<u8> {
        self.set.peak_load.unwrap_or(self.filed_peak_load())
    }

    /// The same, as the file says it.
    pub fn filed_peak_load(&self) -> Option<u8> {
        self.config.peak_load.or(self.machine.peak_of_pool)
    }

    /// How its load stands to its peak load.
    pub fn peak(&self) -> Peak {
        match self.peak_load() {
            Some(0) => Peak::Zero,
            _ if self.machine.is_above => Peak::Above,
            _ => Peak::Below,
        }
    }

    /// Compares its load with its peak load; returns whether that is news. A server that was above it
    /// has to come down by a tenth of it, so that it does not change sides with every reading. A load
    /// that nobody knows is not above anything.
    pub fn judge_load(&mut self, now: Now) -> bool {
        let was_above = self.machine.is_above;
        self.machine.is_above = self.is_above(self.peak_load(), was_above, now);
        was_above != self.machine.is_above
    }

    /// Compares its load with another peak load than before.
    pub fn judge_new_peak(&mut self, now: Now) {
        self.machine.is_above = self.is_above(self.peak_load(), false, now);
    }

    /// Whether its load is above a peak load of so many percent, as one that was above that or was not.
    pub fn is_above(&self, peak: Option<u8>, was_above: bool, now: Now) -> bool {
        let reading = self.load.gauge.reading();
        let reading = reading.filter(|reading| !reading.is_stale(now.moment));
        reading.zip(peak).is_some_and(|(reading, peak)| {
            let peak = Load::from_percent(u32::from(peak));
            reading.load
                > match was_above {
                    true => peak.back_from_peak(),
                    false => peak,
                }
        })
    }

    /// Why it stands as it does, where there is more to say than the reason.
    pub fn why(&self, reason: Reason) -> Option<String> {
        let load = self.load.gauge.reading().map(|reading| reading.load);
        match (reason, load, self.peak_load()) {
            (Reason::OverPeak, Some(load), Some(peak)) => Some(why_over_peak(load, peak)),
            (Reason::Unverified, ..) => self.why_unverified().map(str::to_owned),
            (Reason::Sick, ..) => self.wellbeing.why(),
            _ => self.agent_why(reason).or_else(|| self.health_why()),
        }
    }

    /// Its machine is read where the configuration says so; what was read elsewhere is forgotten.
    pub fn follow_exporter(&mut self, pool: &PoolConfig, moved: bool) {
        let exporter = pool.exporter_of(&self.config);
        if moved || self.machine.exporter != exporter {
            self.machine = Machine {
                exporter,
                ..Machine::default()
            };
            self.load.gauge.clear();
        }
        self.machine.peak_of_pool = pool.peak_load;
    }

    /// Where its machine is read.
    pub fn exporter(&self) -> Option<&str> {
        self.machine.exporter.as_deref()
    }

    /// What people are shown of its machine, where that is read.
    pub fn machine_status(&self, now: Now) -> Option<MachineStatus> {
        self.machine.exporter.as_ref()?;
        let reading = self.load.gauge.reading();
        let fresh = reading.filter(|reading| !reading.is_stale(now.moment));
        let stale = reading.filter(|_| fresh.is_none()).map(|reading| {
            let age = now.moment.since(reading.at);
            format!("no load was told for {age}")
        });
        Some(MachineStatus {
            load: fresh.map(|reading| reading.load),
            age: fresh.map(|reading| now.moment.since(reading.at)),
            no_metrics: self.machine.lost.clone().or(stale),
            over_peak: match self.standing.reason {
                Reason::OverPeak => self.why(Reason::OverPeak),
                _ => None,
            },
        })
    }
}

/// Why a server takes no new sessions whose load has risen above its peak load of so many percent.
fn why_over_peak(load: Load, percent: u8) -> String {
    let peak = Load::from_percent(u32::from(percent));
    let (is, back) = (load.exactly(), peak.back_from_peak().exactly());
    let above = match load > peak {
        true => format!("its load is {is}, above its peak load of {percent} %"),
        false => format!("its load is {is}, and was above its peak load of {percent} %"),
    };
    format!("{above}; it takes new sessions again at {back}")
}
