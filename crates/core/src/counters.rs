//! Counters of the data plane: one slot per worker, each written by that worker alone, so that
//! counting costs no shared cache line; readers add the slots up.

use crate::traffic::{Latencies, Marks};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A counter (or gauge) with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `by`. Only the slot's own worker may call it.
    pub fn add(&self, by: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(by), Relaxed);
    }

    /// Takes one away. Only the slot's own worker may call it.
    pub fn sub_one(&self) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(1), Relaxed);
    }

    /// The present value.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The upper ends of the classes that pauses are counted in, in microseconds; longer ones are counted
/// above the last.
pub const PAUSE_CLASSES_US: [u64; 11] = [
    1_000, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000, 10_000_000, 30_000_000,
    60_000_000,
];

/// How long pauses were, with one writer.
#[derive(Debug, Default)]
pub struct Pauses {
    /// How many were within each of [`PAUSE_CLASSES_US`] and in none below; the last: longer ones.
    pub classes: [Counter; PAUSE_CLASSES_US.len() + 1],
    /// All of them together, in microseconds.
    pub sum_us: Counter,
}

impl Pauses {
    /// Counts one. Only the slot's own worker may call it.
    pub fn record(&self, pause: Duration) {
        let us = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
        self.classes[PAUSE_CLASSES_US.partition_point(|end| *end < us)].add(1);
        self.sum_us.add(us);
    }
}

/// One worker's counters for one server.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ServerSlot {
    /// Requests sent to the server (a retry counts again).
    pub requests: Counter,
    /// Final responses by their first digit, 1xx at index 0.
    pub responses: [Counter; 5],
    /// Connections that could not be made.
    pub connect_failures: Counter,
    /// Exchanges that broke after bytes had left.
    pub broken: Counter,
    /// Exchanges that ran into a time limit of the server's side.
    pub timeouts: Counter,
    /// Requests that were tried a second time after failing on this server.
    pub retries: Counter,
    /// Body and tunnel bytes towards the server.
    pub bytes_up: Counter,
    /// Body and tunnel bytes towards the client.
    pub bytes_down: Counter,
    /// Connections to the server that are open, idle ones included.
    pub connections: Counter,
    /// Tunnels that are open.
    pub tunnels: Counter,
    /// Requests whose users were led to the server's own address.
    pub redirects: Counter,
    /// Connections of a TCP pool that it took.
    pub taken: Counter,
    /// Requests and connections that it left without an answer.
    pub lost: Counter,
    /// Answers that it broke off, and connections of a TCP pool that it ended at once.
    pub cut_short: Counter,
    /// Who met an error, or one of the last two.
    pub failing: Marks,
    /// How long it took to begin its answers.
    pub latencies: Latencies,
    /// Who met a slow one.
    pub slow: Marks,
}

/// One worker's counters for one pool.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct PoolSlot {
    /// Requests that came in.
    pub requests: Counter,
    /// New sessions refused because every server was full.
    pub refused_full: Counter,
    /// New sessions refused because the pool is closed, or closing.
    pub refused_closed: Counter,
    /// New sessions refused because no server admits any.
    pub refused_unavailable: Counter,
    /// New sessions refused because the pool is for operators only.
    pub refused_operators_only: Counter,
    /// Answers that Ebbtide gave for a server that failed (502 and 504).
    pub gateway_errors: Counter,
    /// Tokens that were not honoured: malformed, forged, other pool, expired, old epoch, ended.
    pub tokens_malformed: Counter,
    /// MAC wrong.
    pub tokens_forged: Counter,
    /// Made for another pool.
    pub tokens_other_pool: Counter,
    /// Older than the pool's `reuse`.
    pub tokens_expired: Counter,
    /// Of an epoch that has been raised since, or of a server that is gone.
    pub tokens_old_epoch: Counter,
    /// Of a session that has ended.
    pub tokens_ended: Counter,
    /// Doors and addresses of doors that led nowhere: made up, used, over, of another pool.
    pub doors_refused: Counter,
    /// Streams of events that are open.
    pub event_streams: Counter,
    /// Connections of a TCP pool that both sides closed.
    pub connections_closed: Counter,
    /// Those that one side broke off.
    pub connections_broken: Counter,
    /// Those on which nothing moved for too long.
    pub connections_silent: Counter,
    /// Those whose time was over.
    pub connections_cut: Counter,
    /// Those for which no server could be connected to.
    pub connections_unreachable: Counter,
    /// Sessions that moved because their server was gone.
    pub sessions_moved: Counter,
    /// How long sessions had no server to ask, when they were moved.
    pub pauses_move: Pauses,
    /// The same, when their server was lost.
    pub pauses_failure: Pauses,
    /// Pages that were given the banner's script.
    pub injected: Counter,
    /// Pages that came compressed, and were left alone for it.
    pub not_injected_encoded: Counter,
    /// Parts of pages.
    pub not_injected_partial: Counter,
    /// Pages in an encoding in which markup is not ASCII.
    pub not_injected_charset: Counter,
    /// Pages to be stored, not shown.
    pub not_injected_attachment: Counter,
    /// Pages whose server forbids changes.
    pub not_injected_no_transform: Counter,
    /// Pages whose policy cannot be made to admit the script.
    pub not_injected_policy: Counter,
    /// What is called HTML and is not.
    pub not_injected_not_html: Counter,
    /// Pages in which the script's place was not found.
    pub not_injected_unreadable: Counter,
    /// Times that another server went on with an answer that one had begun.
    pub resumed: Counter,
    /// Answers that broke off and could not be gone on with: without a strong validator or a length.
    pub not_resumed_unidentified: Counter,
    /// No other server admits.
    pub not_resumed_no_server: Counter,
    /// As many servers as may be were asked in a row.
    pub not_resumed_too_often: Counter,
    /// A server that was asked could not be reached, or did not answer.
    pub not_resumed_unreachable: Counter,
    /// It gave another status than 206 or 412.
    pub not_resumed_status: Counter,
    /// It has another copy.
    pub not_resumed_differs: Counter,
    /// It sent another part than was asked for.
    pub not_resumed_range: Counter,
}

/// One worker's counters for the node.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct NodeSlot {
    /// Client connections accepted.
    pub accepted: Counter,
    /// Client connections open.
    pub connections: Counter,
    /// Access log lines dropped because the log could not keep up.
    pub log_dropped: Counter,
    /// Requests refused as malformed, by reason.
    pub rejected: Mutex<Reasons>,
    /// What servers of NBD pools sent that was no answer, by reason.
    pub answers_rejected: Mutex<Reasons>,
}

/// How often something has happened, by reason.
pub type Reasons = BTreeMap<&'static str, u64>;

impl NodeSlot {
    /// Counts a request refused as malformed.
    pub fn reject(&self, reason: &'static str) {
        count(&self.rejected, reason);
    }

    /// Counts what a server sent that was no answer.
    pub fn reject_answer(&self, reason: &'static str) {
        count(&self.answers_rejected, reason);
    }
}

fn count(reasons: &Mutex<Reasons>, reason: &'static str) {
    let mut reasons = reasons.lock().unwrap_or_else(PoisonError::into_inner);
    *reasons.entry(reason).or_default() += 1;
}

macro_rules! slots {
    ($(#[$doc:meta] $name:ident of $slot:ty;)*) => {$(
        #[$doc]
        #[derive(Debug)]
        pub struct $name(Box<[$slot]>);

        impl $name {
            /// Zeroes for so many workers.
            pub fn new(workers: usize) -> Self {
                Self((0..workers.max(1)).map(|_| <$slot>::default()).collect())
            }

            /// The slot that `worker` writes.
            pub fn slot(&self, worker: usize) -> &$slot {
                &self.0[worker]
            }

            /// One figure, added up over the workers.
            pub fn sum(&self, of: impl Fn(&$slot) -> &Counter) -> u64 {
                // Wrapping, as a gauge that one worker raises may be lowered by that worker only.
                self.0.iter().map(|slot| of(slot).get()).fold(0, u64::wrapping_add)
            }

            /// Every worker's slot.
            pub fn slots(&self) -> &[$slot] {
                &self.0
            }
        }
    )*};
}

slots! {
    /// Counters of one server.
    ServerCounters of ServerSlot;
    /// Counters of one pool.
    PoolCounters of PoolSlot;
    /// Counters of the node.
    NodeCounters of NodeSlot;
}
