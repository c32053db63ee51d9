//! What is shown of the node, its pools and its servers.

use crate::{Rebalance, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET status`: the whole node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The node itself.
    pub node: Node,
    /// The pools, in the configuration's order.
    pub pools: Vec<PoolStatus>,
}

/// The node itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Node {
    /// The program's version.
    pub version: String,
    /// The newest generation.
    pub generation: u64,
    /// The oldest generation that a worker still decides by.
    pub acknowledged: u64,
    /// How long the program has been running.
    pub uptime_ms: u64,
    /// It is being stopped: requests may still finish, changes are refused.
    pub stopping: bool,
    /// Whether intents can be stored.
    pub store: StoreStatus,
}

/// Whether intents can be stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StoreStatus {
    /// The store works.
    pub ok: bool,
    /// What it said when it last failed, while it fails.
    pub failure: Option<String>,
}

/// `GET pools/{pool}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolStatus {
    /// Its name.
    pub name: String,
    /// How new sessions are spread: `round-robin`, `least-sessions`, `least-load`, `most-available`,
    /// `source-hash` or `door-only`.
    pub balance: String,
    /// What the operator wants of it.
    pub intent: PoolIntent,
    /// Servers that must go on admitting.
    pub minimum: u32,
    /// Servers that admit new sessions now.
    pub admitting: u32,
    /// Where clients connect.
    pub listeners: Vec<Listener>,
    /// The servers, in the configuration's order, then those added live, then those that have left the
    /// pool and still have sessions (standing `removed`).
    pub servers: Vec<ServerStatus>,
    /// Names whose addresses are servers, in the file's order.
    pub names: Vec<Name>,
    /// Soon after a restart of the node: until then sessions from before may still show themselves
    /// with a request. Before they do they are neither counted nor listed.
    pub counting_until: Option<Timestamp>,
    /// The rebalance that is under way.
    #[serde(default)]
    pub rebalance: Option<Rebalance>,
}

/// What the operator wants of a pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolIntent {
    /// `open`, `closing` or `closed`.
    pub label: String,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Who wanted it.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// When the remaining sessions are ended, while it is closing.
    pub deadline: Option<Timestamp>,
    /// How long that is from now.
    pub left_ms: Option<u64>,
    /// New sessions are refused now.
    pub blocks_new: bool,
    /// What users are told.
    pub message: Option<String>,
    /// When it will probably be open again, as the operator said.
    pub expected_end: Option<Timestamp>,
    /// It opens by itself when its upgrade check says so.
    pub until_upgraded: bool,
    /// What it waits for before it opens by itself, or why it does not, while it is closed.
    pub waits_for: Option<String>,
}

/// Where clients connect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// Its address and port.
    pub address: String,
}

/// `GET servers/{pool}/{server}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServerStatus {
    /// Its name within the pool.
    pub name: String,
    /// Its address, as the operator wrote it.
    pub address: String,
    /// Its share of new sessions.
    pub weight: u32,
    /// Most sessions it may have; absent: no limit.
    pub max_sessions: Option<u32>,
    /// The load of its machine, in percent, above which it takes no new sessions; absent: it always
    /// does.
    pub peak_load: Option<u32>,
    /// What that was before it was set to 0 live, if it had any.
    pub peak_load_before: Option<u32>,
    /// What it has shown so far, while it is to be verified after maintenance or when that has failed.
    pub verification: Option<Verification>,
    /// Its slow start, while that gives it fewer new sessions than it would get without.
    pub returning: Option<Returning>,
    /// It was added live, beside the file, or came by a name, and the file does not name it.
    pub live: bool,
    /// The name that it came by.
    pub of_name: Option<String>,
    /// Its weight, its most sessions or its peak load were set live, over the file.
    pub overridden: bool,
    /// What the operator wants.
    pub intent: Intent,
    /// What probes show.
    pub health: Health,
    /// How busy its machine is, where that is read.
    pub machine: Option<Machine>,
    /// What its agent says, where one is asked.
    pub agent: Option<Agent>,
    /// Its traffic in the last window in which that was watched.
    pub traffic: Option<Traffic>,
    /// What that tells, while much more of it fails, or is slow, than of the pool's.
    pub sickness: Option<Sickness>,
    /// What follows from all of it.
    pub standing: Standing,
    /// Its sessions.
    pub sessions: SessionCounts,
    /// Its stickiness generation.
    pub epoch: u32,
    /// When its sessions will probably be gone; only while it is held or drained, or has left the pool.
    /// Absent then: too few sessions of the pool have ended so far to tell.
    pub forecast: Option<Forecast>,
    /// While it is drained soon after a restart of the node: until then sessions from before may
    /// still show themselves, so the drain is not over yet although it has no sessions.
    pub counting_until: Option<Timestamp>,
}

/// What the operator wants of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Intent {
    /// `ready`, `hold`, `drain` or `maintenance`.
    pub label: String,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Who wanted it.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// When the remaining sessions are ended.
    pub deadline: Option<Timestamp>,
    /// How long that is from now.
    pub left_ms: Option<u64>,
    /// What users are told.
    pub message: Option<String>,
}

/// What probes show of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `unproven`, `starting`, `up`, `down` or `unchecked`.
    pub state: String,
    /// Since when.
    pub since: Timestamp,
    /// What the last failed probe said, while it matters, or what makes no sense on the last page.
    pub why: Option<String>,
    /// Sessions that its own health page says it can take.
    pub places: Option<u64>,
}

/// A name whose addresses are servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Name {
    /// What it is called in the file.
    pub name: String,
    /// What is looked up.
    pub host: String,
    /// How many addresses are used of the last answer that had any.
    pub addresses: u32,
    /// How old that is.
    pub age_ms: Option<u64>,
    /// What is wrong with the newest answer; without any address servers stay as they were.
    pub trouble: Option<String>,
}

/// What a server has shown so far that came out of maintenance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verification {
    /// Good probes, or answers, in a row that it takes.
    pub needed: u32,
    /// Good probes in a row so far, where it is probed.
    pub good_probes: Option<u32>,
    /// Good answers of its version page in a row so far, where it is asked for that.
    pub good_pages: Option<u32>,
    /// The same for people, and what was wrong with the last one.
    pub progress: String,
    /// Why it stays out, if it has not shown enough in time.
    pub failed: Option<String>,
    /// When it stays out if it does not show enough.
    pub until: Option<Timestamp>,
    /// How long that is from now.
    pub left_ms: Option<u64>,
}

/// How far a server's slow start is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Returning {
    /// What it gets of the new sessions that it would get without, in percent.
    pub share_percent: u32,
    /// When it gets all of them.
    pub until: Timestamp,
    /// How long that is from now.
    pub left_ms: u64,
}

/// How busy a server's machine is, as its exporter tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Machine {
    /// Its load in percent, unless too little is known of it.
    pub load_percent: Option<u32>,
    /// How old that is.
    pub age_ms: Option<u64>,
    /// Why its load cannot be read at present; sessions decide meanwhile.
    pub no_metrics: Option<String>,
    /// Why it takes no new sessions for its load, and when it does again.
    pub over_peak: Option<String>,
}

/// What a server's agent says. It is asked again and again; of what it does not speak of, everything
/// stays as it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Agent {
    /// Whether the server is to take new sessions: `ready`, `drain` or `maint`.
    pub wish: String,
    /// Whether the service works: `up`, `down`, `fail` or `stopped`.
    pub health: String,
    /// The share of its weight that counts, in percent; 0: no new sessions.
    pub weight_percent: Option<u32>,
    /// The weight that counts in place of its own; 0: no new sessions.
    pub weight: Option<u32>,
    /// The most sessions that it lets the server have.
    pub max_sessions: Option<u32>,
    /// What it says to people.
    pub remark: Option<String>,
    /// What was not taken as it says it: words that are none, and weights beyond all bounds.
    #[serde(default)]
    pub note: Option<String>,
    /// How long ago it answered.
    pub age_ms: Option<u64>,
    /// Why it cannot be asked at present; what it said before counts meanwhile.
    pub no_agent: Option<String>,
}

/// A server's traffic within a window (`outliers.window`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Traffic {
    /// Requests that came to an end, or connections that were tried.
    pub requests: u64,
    /// Answers of status 5xx.
    pub errors: u64,
    /// Those that got no answer, by the server's doing.
    pub lost: u64,
    /// Answers that the server broke off, and connections that it ended at once.
    pub cut_short: u64,
    /// Half of its answers began within about so many milliseconds: times are told apart by powers of two.
    pub median_ms: Option<u64>,
}

/// A server of whose traffic much more fails, or is slow, than of its pool's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Sickness {
    /// In a sentence.
    pub words: String,
    /// Since when.
    pub since: Timestamp,
    /// For how long it takes no new sessions for that; absent: it does.
    pub held_ms: Option<u64>,
    /// Why it takes them all the same.
    pub spared: Option<String>,
}

/// What follows from intent and reality.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Standing {
    /// New sessions may begin here.
    pub admits_new: bool,
    /// Sessions that are here already are served.
    pub serves_own: bool,
    /// The one reason: `ready`, `unproven`, `last-resort`, `full`, `no-copy`, `reports-full`,
    /// `reports-hold`, `over-peak`, `peak-zero`, `agent-full`, `agent-drain`, `agent-maint`, `sick`,
    /// `starting`, `held`, `draining`, `drill`, `closing`, `down`, `closed`, `door-only`, `maintenance`,
    /// `verifying`, `unverified` or `removed`.
    pub reason: String,
}

/// A server's sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionCounts {
    /// Sessions with a request open or heard from lately.
    pub active: u32,
    /// Sessions that are quiet but still bound to the server.
    pub idle: u32,
}

impl PoolStatus {
    /// Where clients reach it, for people: the addresses of its listeners.
    pub fn reached_at(&self) -> String {
        let listeners: Vec<&str> = self
            .listeners
            .iter()
            .map(|listener| listener.address.as_str())
            .collect();
        match listeners.as_slice() {
            [] => "no listener".to_owned(),
            some => some.join(", "),
        }
    }
}

impl SessionCounts {
    /// Both together.
    pub fn all(self) -> u32 {
        self.active.saturating_add(self.idle)
    }
}

/// When a server's sessions will probably be gone, counted from now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Forecast {
    /// Half of them.
    pub half_ms: u64,
    /// All of them; absent: later than past sessions allow to say.
    pub all_ms: Option<u64>,
    /// How many past sessions this rests on.
    pub samples: u64,
}
