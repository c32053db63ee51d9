//! How busy the machine is, from /proc (proc(5)).

use super::line::Reading;
use super::sessions;
use crate::cli::AgentRun;
use std::cell::RefCell;
use std::fmt;
use std::time::{Duration, Instant};

/// An agent that has just started knows its load this soon, however seldom it measures.
const FIRST_AFTER: Duration = Duration::from_secs(1);

/// Shares of the machine that are in use, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub processor: u8,
    pub memory: u8,
}

impl Load {
    /// The scarcer of the two.
    pub fn percent(self) -> u8 {
        self.processor.max(self.memory)
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "processor {} %, memory {} %",
            self.processor, self.memory
        )
    }
}

/// Time that the processors have spent since the machine started, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticks {
    busy: u64,
    all: u64,
}

/// Measures again and again. Load and sessions do not wait for each other: a command may take its time.
pub(super) async fn keep_measuring(run: &AgentRun, reading: &RefCell<Reading>) {
    let every = Duration::from_millis(run.every.0);
    let load = keep_reading_load(every, reading);
    tokio::join!(load, keep_counting(run, every, reading));
}

async fn keep_reading_load(every: Duration, reading: &RefCell<Reading>) {
    let mut ticks = read("/proc/stat", ticks);
    let mut pause = every.min(FIRST_AFTER);
    loop {
        tokio::time::sleep(pause).await;
        let now = read("/proc/stat", self::ticks);
        let load = load(&ticks, &now);
        reading.borrow_mut().load = Some(load);
        (ticks, pause) = (now, every);
    }
}

async fn keep_counting(run: &AgentRun, every: Duration, reading: &RefCell<Reading>) {
    let mut every = tokio::time::interval(every);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let Some(attempt) = sessions::count(run).await else {
            return;
        };
        let sessions = &mut reading.borrow_mut().sessions;
        sessions.take(attempt, Instant::now());
    }
}

fn load(before: &Result<Ticks, String>, now: &Result<Ticks, String>) -> Result<Load, String> {
    let (before, now) = (before.clone()?, now.clone()?);
    Ok(Load {
        processor: busy_percent(before, now),
        memory: read("/proc/meminfo", memory_percent)?,
    })
}

fn read<T>(path: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    parse(&text).ok_or_else(|| format!("{path} is not what Linux writes there"))
}

/// The first line of /proc/stat: `cpu` and the ticks in user, nice, system, idle, iowait, irq, softirq,
/// steal; guest time is within user already.
fn ticks(text: &str) -> Option<Ticks> {
    let fields = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Result<Vec<u64>, _> = fields.split_whitespace().take(8).map(str::parse).collect();
    let fields = fields.ok()?;
    let idle = fields.get(3)? + fields.get(4).unwrap_or(&0);
    let all = fields.iter().sum();
    Some(Ticks {
        busy: all - idle,
        all,
    })
}

/// Of the time between the two, in percent. Counters of processors that are taken away go back: that
/// is no time.
fn busy_percent(before: Ticks, now: Ticks) -> u8 {
    let all = now.all.saturating_sub(before.all).max(1);
    let busy = now.busy.saturating_sub(before.busy).min(all);
    // At most 100.
    (busy * 100 / all) as u8
}

/// What is not available of the memory, in percent.
fn memory_percent(text: &str) -> Option<u8> {
    let kilobytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let total = kilobytes("MemTotal:")?.max(1);
    let available = kilobytes("MemAvailable:")?.min(total);
    // At most 100.
    Some(((total - available) * 100 / total) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processors_time_is_told_from_two_readings() {
        let before = ticks("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3 4\n").unwrap();
        assert_eq!(
            before,
            Ticks {
                busy: 150,
                all: 1000
            }
        );
        let now = ticks("cpu  160 0 65 820 55 0 0 0 0 0\n").unwrap();
        assert_eq!(busy_percent(before, now), 75);
        assert_eq!(busy_percent(now, now), 0);
        assert_eq!(busy_percent(now, before), 0);
        assert_eq!(ticks("intr 5"), None);
        assert_eq!(ticks("cpu  a b c d"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_count_that_takes_its_time_keeps_the_load_from_nobody() {
        use clap::Parser;
        let words = ["ebbtide", "agent", "--every", "1m"];
        let words = [&words[..], &["--sessions-command", "sleep 1000"]].concat();
        let crate::cli::Command::Agent(arguments) = crate::cli::Cli::parse_from(words).command
        else {
            panic!("it is an agent");
        };
        let reading = RefCell::default();
        let measuring = keep_measuring(&arguments.run, &reading);
        // The command has five seconds.
        let late = tokio::time::timeout(Duration::from_secs(4), measuring).await;
        assert!(late.is_err(), "it measures on and on");
        let load = reading.borrow().load.clone();
        assert!(matches!(load, Some(Ok(_))), "{load:?}");
    }

    #[test]
    fn memory_that_can_be_had_is_not_in_use() {
        let text = "MemTotal:  1000 kB\nMemFree:  10 kB\nMemAvailable:  600 kB\n";
        assert_eq!(memory_percent(text), Some(40));
        assert_eq!(memory_percent("MemTotal: 1000 kB\n"), None);
        assert_eq!(
            memory_percent("MemTotal: 0 kB\nMemAvailable: 5 kB\n"),
            Some(0)
        );
    }

    #[test]
    fn this_machine_can_be_measured() {
        let now = read("/proc/stat", ticks);
        let load = load(&now, &now).unwrap();
        assert!(load.memory > 0 && load.percent() <= 100, "{load}");
    }
}
