//! The gate: what people meet who cannot get in, and the line in which they wait.

use crate::time::Millis;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The longest page of an operator's own, in bytes: every worker holds it, and it goes out whole.
pub const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// What people meet who cannot get in, or whose time is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateSettings {
    /// The operator's own page for a closed pool.
    pub closed_page: Option<PathBuf>,
    /// The operator's own page for a full pool.
    pub full_page: Option<PathBuf>,
    /// What the built-in full page says, in the operator's words.
    pub full_text: Option<String>,
    /// How long a new session waits in line for a place; `None`: not at all.
    pub queue: Option<Millis>,
    /// Most new sessions in line.
    pub queue_max: u32,
    /// The pool's own health page.
    pub health_page: HealthPage,
    /// How long an exchange may go on after the deadline of its session; below one second, as
    /// nothing outlives a deadline by more.
    pub end_grace: Millis,
}

/// The pool's own health page, as a balancer in front looks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthPage {
    /// The page, with `{{status}}` in it; `None`: the status and nothing else.
    pub template: Option<String>,
    /// Its `Content-Type`.
    pub content_type: String,
    /// The status while new sessions are admitted.
    pub active: u16,
    /// The status while none are.
    pub hold: u16,
    /// The status while every place is taken.
    pub full: u16,
}

/// Which page of an operator's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OwnPage {
    /// For a closed pool.
    Closed,
    /// For a full pool.
    Full,
}

/// The pages of an operator's own, as they were last read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnPages {
    /// For a closed pool; `None`: the built-in one.
    pub closed: Option<Arc<str>>,
    /// For a full pool; `None`: the built-in one.
    pub full: Option<Arc<str>>,
}

impl GateSettings {
    /// The defaults, as the settings table of the program has them too.
    pub fn defaults() -> Self {
        Self {
            closed_page: None,
            full_page: None,
            full_text: None,
            queue: None,
            queue_max: 1000,
            health_page: HealthPage::defaults(),
            end_grace: Millis(500),
        }
    }

    /// The files of the operator's own pages.
    pub fn files(&self) -> impl Iterator<Item = (OwnPage, &PathBuf)> {
        let closed = self.closed_page.iter().map(|file| (OwnPage::Closed, file));
        closed.chain(self.full_page.iter().map(|file| (OwnPage::Full, file)))
    }
}

impl HealthPage {
    /// The status line alone; anything but 200 keeps a balancer in front from sending users.
    pub fn defaults() -> Self {
        Self {
            template: None,
            content_type: "text/plain; charset=utf-8".into(),
            active: 200,
            hold: 503,
            full: 503,
        }
    }
}

impl OwnPage {
    /// The name of its setting.
    pub fn label(self) -> &'static str {
        match self {
            Self::Closed => "pages.closed",
            Self::Full => "pages.full",
        }
    }
}

impl OwnPages {
    /// The place of one of them.
    pub(crate) fn slot(&mut self, page: OwnPage) -> &mut Option<Arc<str>> {
        match page {
            OwnPage::Closed => &mut self.closed,
            OwnPage::Full => &mut self.full,
        }
    }
}

/// Who waits for a place, in the order of arrival; one line for each pool, over all workers.
#[derive(Debug, Default)]
pub struct WaitingLine {
    inner: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    next: u64,
    waiting: BTreeSet<u64>,
}

/// A place in a line; given up when it is dropped.
#[derive(Debug)]
pub struct Ticket {
    number: u64,
    line: Arc<WaitingLine>,
}

impl WaitingLine {
    /// A place at the end; `None` if so many wait already.
    pub fn join(self: &Arc<Self>, max: u32) -> Option<Ticket> {
        let mut line = self.lock();
        if line.waiting.len() >= max as usize {
            return None;
        }
        let number = line.next;
        line.next += 1;
        line.waiting.insert(number);
        drop(line);
        Some(Ticket {
            number,
            line: Arc::clone(self),
        })
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Whether its turn has come when so many places are free: fewer than that are before it.
    pub fn is_next(&self, free: usize) -> bool {
        let line = self.line.lock();
        line.waiting.range(..self.number).take(free).count() < free
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.line.lock().waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_in_the_order_of_arrival() {
        let line = Arc::new(WaitingLine::default());
        let tickets: Vec<Ticket> = (0..3).filter_map(|_| line.join(3)).collect();
        assert!(line.join(3).is_none(), "the line is bounded");
        let turns = |free| tickets.iter().filter(|ticket| ticket.is_next(free)).count();
        assert_eq!([turns(0), turns(1), turns(2), turns(9)], [0, 1, 2, 3]);
        assert!(tickets[0].is_next(1));
    }

    #[test]
    fn whoever_leaves_gives_the_place_up() {
        let line = Arc::new(WaitingLine::default());
        let first = line.join(9);
        let second = line.join(9).expect("there is room");
        assert!(!second.is_next(1));
        drop(first);
        assert!(second.is_next(1));
        drop(second);
        assert_eq!(line.waiting(), 0);
    }
}
