//! The judge: holds what the node does against what it promised. It knows what operators asked for
//! and were answered, what users did and what the probes said, and draws its own conclusions; the
//! node's word is taken for nothing that matters.

mod agents;
mod commands;
mod connections;
mod doors;
mod health;
mod intents;
mod loads;
mod names;
mod notices;
mod pools;
mod rebalance;
mod sessions;
mod sick;
mod verification;

use super::number::{ByServer, ServerNumber};
use super::plan::POOLS;
use agents::Agent;
use commands::{Request, Ticket};
use connections::{Bound, Connection};
use doors::{Door, DoorRows};
use ebbtide_core::{DoorId, Now, RequestId, SessionId};
use health::Seen;
use intents::{SelfEnd, Want};
use loads::Busy;
use names::Named;
use pools::Pool;
use sessions::Stay;
use std::collections::BTreeMap;
use std::fmt;
use verification::Unseen;

pub(in crate::sim) use connections::{Ending, Mounted};
pub(in crate::sim) use names::REQUESTS_APART;
pub(in crate::sim) use sessions::Asked;

/// How long a worker may go on by what was true a moment ago.
const LAG_MS: i64 = 1500;

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The promise, by its number in DESIGN, or what else must hold.
    pub promise: &'static str,
    /// What was seen.
    pub text: String,
    /// When, in milliseconds of simulated time.
    pub at_ms: i64,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {} ms, {}: {}", self.at_ms, self.promise, self.text)
    }
}

pub(super) const CLOSED: &str = "promise 1 (closed means closed)";
pub(super) const STAYS: &str = "promise 2 (a session stays put)";
pub(super) const DEADLINE: &str = "promise 3 (a deadline is a deadline)";
pub(super) const DURABLE: &str = "promise 5 (an acknowledged intent is durable)";
pub(super) const GUARDED: &str = "promise 6 (capacity is guarded)";
pub(super) const IDENTICAL: &str = "promise 7 (only identical replicas stand in)";
pub(super) const MOVES: &str = "a session goes on elsewhere when its server goes";
pub(super) const DOORS: &str = "promise 8 (closed doors stay closed)";
pub(super) const LEADS: &str = "an open door leads to its server, past the gate";
pub(super) const TRUTH: &str = "promise 9 (users are told the truth)";
pub(super) const ORDER: &str = "persist before publish before answer";
pub(super) const VERIFIED: &str = "a server is verified after maintenance";
pub(super) const NAMES: &str = "the servers of a name are its addresses";
pub(super) const REBALANCE: &str = "a rebalance does what was said";
pub(super) const AGENTS: &str = "a server is as its agent says";
pub(super) const LAST_RESORT: &str = "when all are down, one still answers";
pub(super) const HEALTH: &str = "a server is as its probes say";
pub(super) const COUNTS: &str = "the count of sessions";

#[derive(Default)]
pub(in crate::sim) struct Judge {
    failure: Option<Failure>,
    /// Simulated time; the world keeps it.
    pub at: i64,
    life: u32,
    boot: u32,
    /// When this life began.
    started: Now,
    life_began: i64,
    generation: u64,
    servers: ByServer<Server>,
    pools: [Pool; POOLS.len()],
    /// The number of the look at all that the node shows.
    look: u64,
    sessions: BTreeMap<SessionId, Stay>,
    connections: BTreeMap<SessionId, Connection>,
    /// Where the users of the TCP pool were led last.
    sources: BTreeMap<usize, Bound>,
    /// Since when, and until when, the first resource was seen to be in maintenance.
    withdrawn: Option<(i64, i64)>,
    requests: BTreeMap<RequestId, Request>,
    tickets: BTreeMap<u64, Ticket>,
    doors: BTreeMap<DoorId, Door>,
    door_rows: DoorRows,
    named: Named,
    /// What tokens were made with when it was last looked at.
    secret: Option<[u8; 32]>,
    /// The newest request that was decided on.
    last_sent: u64,
    wall_stepped: Option<i64>,
    wall_stepped_back: Option<i64>,
    /// The first look at a life: whatever was asked for and stored may show now.
    restarted: bool,
}

/// What is known of a server, whether it is there at present or not.
#[derive(Default)]
struct Server {
    /// What an operator was last told is wanted of it.
    want: Want,
    /// As the node showed it last.
    in_force: Want,
    self_end: Option<SelfEnd>,
    /// When its last drain ended, if that was by its deadline.
    deadline_at: Option<i64>,
    /// It was added beside the file.
    live: bool,
    set: Option<(u32, Option<u32>)>,
    /// The request by which it is closed, so that no session may begin.
    closed: Option<RequestId>,
    last_ready: Option<(RequestId, i64)>,
    /// What is wanted of it follows from its name.
    wanted_by_dns: bool,
    was_wanted_by_dns: bool,
    /// The newest request that wanted it back without having been verified.
    last_forced: Option<RequestId>,
    /// It was in maintenance, and this is what it has shown since.
    unseen: Option<Unseen>,
    /// Good probes in a row that began after it was wanted back last.
    good_in_a_row: u32,
    /// As the node shows it, it still has to show that it is well.
    is_unverified: bool,
    epoch: u32,
    /// Not before this one, because its pool was closed or one of its name was removed.
    epoch_least: u32,
    /// It was removed by command: the next of its name is not before this one.
    epoch_of_next: u32,
    /// The life of the node in which the epoch was seen.
    epoch_life: u32,
    /// How often the epoch may rise: what was asked for and has been stored.
    raises: u32,
    entered_maintenance: Option<i64>,
    present: bool,
    /// The last look at which it was there.
    look: u64,
    /// The last look at which it had left its pool, and still had sessions.
    removed_look: u64,
    lingered_at: Option<i64>,
    /// The newest request to remove it that has been stored: what was asked for before is of another.
    removed_by: Option<RequestId>,
    /// It was there when the life before ended.
    was_present: bool,
    /// The file lost it while the program was down, which may not have heard of it any more when its
    /// pool was closed.
    unheard_of: bool,
    /// When it was last seen to be there after it had not been.
    returned_at: Option<i64>,
    address: Option<std::net::SocketAddr>,
    /// The last time that it was not there, not well, or not meant to serve.
    unserving_at: Option<i64>,
    /// The last time that it was drained.
    draining_at: Option<i64>,
    seen: Seen,
    busy: Busy,
    agent: Agent,
}

impl Judge {
    pub fn verdict(&self) -> Result<(), Failure> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn fail(&mut self, promise: &'static str, text: String) {
        let at_ms = self.at;
        self.failure.get_or_insert(Failure {
            promise,
            text,
            at_ms,
        });
    }

    fn server(&mut self, number: ServerNumber) -> &mut Server {
        self.servers.get_or_default(number)
    }

    /// A new life of the node begins.
    pub fn starts(&mut self, life: u32, boot: u32, now: Now) {
        self.life = life;
        self.boot = boot;
        (self.started, self.life_began) = (now, self.at);
        self.named.starts(self.at);
        self.generation = 0;
        self.restarted = true;
        self.pools_start();
        self.doors_start();
        for server in self.servers.values_mut() {
            server.was_present = std::mem::take(&mut server.present);
            server.seen = Seen::default();
            server.busy.forget();
            server.agent.forget();
        }
    }

    /// The store cannot be opened, though nothing is wrong with the disk.
    pub fn does_not_start(&mut self, error: &ebbtide_control::StoreError) {
        self.fail(DURABLE, format!("the store does not open again: {error}"));
    }

    pub fn killed(&mut self) {
        for ticket in std::mem::take(&mut self.tickets).into_values() {
            self.doors_stored(ticket.doors, None);
        }
        self.sessions_killed();
        self.rebalances_killed();
        self.connections_killed();
    }

    pub fn published(&mut self, generation: u64) {
        if generation <= self.generation {
            let text = format!("generation {generation} came after {}", self.generation);
            self.fail(ORDER, text);
        }
        self.generation = generation;
    }

    pub fn wall_stepped(&mut self, at: i64, by: i64) {
        self.wall_stepped = Some(at);
        if by < 0 {
            self.wall_stepped_back = Some(at);
        }
    }
}
