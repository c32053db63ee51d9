//! What people are shown of pools and servers: intent, reality and standing, side by side.

use crate::agent::{AgentHealth, AgentWeight, AgentWish};
use crate::config::Balance;
use crate::forecast::Forecast;
use crate::health::Health;
use crate::intent::Closure;
use crate::load::Load;
use crate::name::ServerKey;
use crate::standing::{Reason, Standing};
use crate::table::Tally;
use crate::time::{Millis, WallTime};
use crate::traffic::Traffic;
use std::collections::BTreeMap;

/// The node.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// The newest generation, and the oldest that a worker still decides by.
    pub generation: u64,
    /// The oldest generation that a worker still decides by.
    pub acknowledged: u64,
    /// What the store said when it last failed, while it fails.
    pub store_failure: Option<String>,
    /// The pools, in the file's order.
    pub pools: Vec<PoolStatus>,
}

/// A pool.
#[derive(Clone, Debug)]
pub struct PoolStatus {
    /// Its name.
    pub name: String,
    /// How new sessions are spread.
    pub balance: Balance,
    /// What the operator wants of it.
    pub intent: PoolIntentStatus,
    /// Servers that must go on admitting.
    pub minimum: u32,
    /// Servers that admit new sessions now.
    pub admitting: u32,
    /// Where clients connect, as `name address`.
    pub listeners: Vec<(String, std::net::SocketAddr)>,
    /// The servers, in the file's order, then those added live, then those that have left the pool and
    /// still have sessions.
    pub servers: Vec<ServerStatus>,
    /// Names whose addresses are servers, in the file's order.
    pub names: Vec<NameStatus>,
    /// Soon after a restart: until then sessions from before may still show themselves, which are not
    /// counted and not listed before they do.
    pub counting_until: Option<WallTime>,
    /// The rebalance that is under way.
    pub rebalance: Option<RebalanceStatus>,
    /// Sessions that rebalances have forgotten, and whose users have not come back.
    pub awaited: u32,
}

impl NodeStatus {
    /// Puts in how many sessions there are.
    pub fn count(&mut self, tallies: &BTreeMap<ServerKey, Tally>) {
        for pool in &mut self.pools {
            pool.count(tallies);
        }
    }
}

impl PoolStatus {
    /// Puts in how many sessions it has.
    pub fn count(&mut self, tallies: &BTreeMap<ServerKey, Tally>) {
        self.awaited = 0;
        for server in &mut self.servers {
            let tally = tallies.get(&server.key).copied().unwrap_or_default();
            (server.active, server.idle) = (tally.active, tally.idle);
            if server.standing.reason != Reason::Removed {
                self.awaited += tally.awaited;
            }
        }
    }
}

/// How far a rebalance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RebalanceStatus {
    /// Sessions that are forgotten in a second.
    pub rate: u32,
    /// Sessions that were forgotten so far.
    pub forgotten: u32,
    /// Sessions that are still to be looked at.
    pub left: u32,
}

/// A server.
#[derive(Clone, Debug)]
pub struct ServerStatus {
    /// Its number.
    pub key: ServerKey,
    /// Its name within the pool.
    pub name: String,
    /// Its address, as the operator wrote it.
    pub address: String,
    /// Its share of new sessions.
    pub weight: u32,
    /// Most sessions it may have.
    pub max_sessions: Option<u32>,
    /// The load in percent above which it takes no new sessions.
    pub peak_load: Option<u8>,
    /// What it has shown so far, while it is to be verified after maintenance or when that has failed.
    pub verification: Option<VerificationStatus>,
    /// Its slow start, while that gives it fewer new sessions than it would get without.
    pub returning: Option<ReturnStatus>,
    /// What that was before it was set to 0 live; the inner `None`: it had none.
    pub peak_load_before: Option<Option<u8>>,
    /// Whether it was added live, beside the file, or came by a name, and the file does not name it.
    pub live: bool,
    /// The name that it came by.
    pub of_name: Option<String>,
    /// Whether weight or max_sessions were set live.
    pub overridden: bool,
    /// What the operator wants.
    pub intent: IntentStatus,
    /// What probes show.
    pub health: Health,
    /// Since when.
    pub health_since: WallTime,
    /// What the last failed probe said, while it matters, or what makes no sense on the last page.
    pub health_why: Option<String>,
    /// Sessions that its own health page says it can take.
    pub places: Option<u64>,
    /// How busy its machine is, where that is read.
    pub machine: Option<MachineStatus>,
    /// What its agent says, where one is asked.
    pub agent: Option<AgentStatus>,
    /// Its traffic in the last window; absent: it is not watched, or not for so long yet.
    pub traffic: Option<Traffic>,
    /// What that tells, while it is much worse than its pool's.
    pub sickness: Option<SicknessStatus>,
    /// What follows.
    pub standing: Standing,
    /// Active sessions.
    pub active: u32,
    /// Idle sessions.
    pub idle: u32,
    /// Its stickiness generation.
    pub epoch: u32,
    /// When its sessions will probably be gone; only while it is held or drained, or has left the pool,
    /// and if past sessions tell.
    pub forecast: Option<Forecast>,
    /// While it is drained soon after a restart: until then sessions from before the restart may
    /// still show themselves, so no sessions does not mean empty yet.
    pub counting_until: Option<WallTime>,
}

/// A name whose addresses are servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameStatus {
    /// What it is called in the file.
    pub name: String,
    /// What is looked up.
    pub host: String,
    /// How many addresses are used of the last answer that had any.
    pub addresses: u32,
    /// How old that is.
    pub age: Option<Millis>,
    /// What is wrong with the newest answer.
    pub trouble: Option<String>,
}

/// A server of whose traffic much more fails, or is slow, than of its pool's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SicknessStatus {
    /// In a sentence.
    pub words: String,
    /// Since when.
    pub since: WallTime,
    /// How long it is held yet; `None`: it is not.
    pub held: Option<Millis>,
    /// Why it is not held.
    pub spared: Option<String>,
}

/// How busy a server's machine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineStatus {
    /// Its load, unless too little is known of it.
    pub load: Option<Load>,
    /// How old that is.
    pub age: Option<Millis>,
    /// Why its load cannot be read at present.
    pub no_metrics: Option<String>,
    /// Why it takes no new sessions for its load, and when it does again.
    pub over_peak: Option<String>,
}

/// What a server's agent says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentStatus {
    /// Whether the server is to take new sessions.
    pub wish: AgentWish,
    /// Whether the service works.
    pub health: AgentHealth,
    /// The share of new sessions that it asks for, as it counts now.
    pub weight: Option<AgentWeight>,
    /// The most sessions that it lets the server have.
    pub max_sessions: Option<u32>,
    /// What it says to people.
    pub remark: Option<String>,
    /// What was not taken as it said it.
    pub note: Option<String>,
    /// How long ago it answered.
    pub age: Option<Millis>,
    /// Why it cannot be asked at present.
    pub no_agent: Option<String>,
}

/// What the operator wants of a pool.
#[derive(Clone, Debug)]
pub struct PoolIntentStatus {
    /// `open`, `closing` or `closed`.
    pub label: &'static str,
    /// Since when.
    pub since: Option<WallTime>,
    /// Who wanted it.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// When the remaining sessions end, while it is closing.
    pub deadline: Option<WallTime>,
    /// How long that is from now.
    pub left: Option<Millis>,
    /// Whether new sessions are refused now.
    pub blocks_new: bool,
    /// What users are told, and how it opens; while it is closing or closed.
    pub closure: Option<Closure>,
    /// What a closed pool waits for before it opens by itself.
    pub waits_for: Option<String>,
}

/// What the operator wants of a server.
#[derive(Clone, Debug)]
pub struct IntentStatus {
    /// `ready`, `hold`, `drain` or `maintenance`.
    pub label: &'static str,
    /// Since when.
    pub since: Option<WallTime>,
    /// Who wanted it.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// When the remaining sessions end.
    pub deadline: Option<WallTime>,
    /// How long that is from now.
    pub left: Option<Millis>,
    /// What users are told.
    pub message: Option<String>,
}

/// How far a server's slow start is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReturnStatus {
    /// The share of new sessions that it gets of those that it would get without, in percent.
    pub share: u8,
    /// When it gets all of them.
    pub until: WallTime,
    /// How long that is from now.
    pub left: Millis,
}

/// What a server has shown so far that came out of maintenance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerificationStatus {
    /// Good probes, or answers, in a row that it takes.
    pub needed: u32,
    /// Good probes in a row so far, where it is probed.
    pub good_probes: Option<u32>,
    /// Good answers of its version page in a row so far, where it is asked for that.
    pub good_pages: Option<u32>,
    /// The same for people.
    pub progress: String,
    /// Why it stays out.
    pub failed: Option<String>,
    /// When that will be if it does not show enough.
    pub until: Option<WallTime>,
    /// How long that is from now.
    pub left: Option<Millis>,
}
