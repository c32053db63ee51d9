//! What is durable: the writes that the driver asks the store for, and what it is given back after
//! a restart.

use crate::command::Actor;
use crate::config::ServerConfig;
use crate::door::DoorId;
use crate::intent::{BlockNew, Closure};
use crate::name::{ServerName, SessionId};
use crate::snapshot::TokenSecrets;
use crate::time::{Millis, Moment, Now, WallTime};
use crate::upgrade::Versions;

/// One write. Those of one [`Output::Persist`](crate::Output::Persist) are stored all or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// The operator's intent for a server.
    Intent(ServerName, IntentRecord),
    /// The operator's intent for a pool.
    PoolIntent(String, PoolIntentRecord),
    /// What the servers of a pool that is to open by itself said before; `None`: no longer.
    Versions(String, Option<Versions>),
    /// A server's epoch.
    Epoch(ServerName, u32),
    /// A server beside those of the file.
    LiveServer(ServerName, ServerConfig),
    /// No longer a server beside those of the file: with it goes what was wanted of it and set live. Its
    /// epoch stays, so that no token of it counts again.
    Removed(ServerName),
    /// Settings of a server that outlast reloads.
    Override(ServerName, ServerOverride),
    /// A session that an operator ended: its token is worth nothing, until it expires by itself.
    EndedSession {
        /// Which.
        id: SessionId,
        /// Its server.
        server: ServerName,
        /// When the record may be dropped.
        until: WallTime,
    },
    /// A door that is open; `None`: no longer.
    Door(DoorId, Option<DoorRecord>),
    /// The secrets behind the tokens.
    TokenSecrets(TokenSecrets),
    /// A line of the audit log.
    Audit(AuditEntry),
}

/// An intent as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntentRecord {
    /// The intent.
    pub intent: StoredIntent,
    /// Since when.
    pub since: WallTime,
    /// Who wanted it.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
    /// What is still to be seen of a server that came out of maintenance.
    pub verification: Option<StoredVerification>,
}

/// How far the verification of a server is that came out of maintenance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredVerification {
    /// It has not shown yet that it is well.
    Pending,
    /// It did not in time: it stays out.
    Failed(String),
}

/// An intent whose deadline is written on both clocks: the boot clock is right while the machine
/// stays up, whatever the wall clock does; the wall clock is what is left after a reboot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredIntent {
    /// Takes new sessions.
    Ready,
    /// Takes no new ones.
    Hold,
    /// Takes no new ones, and ends the rest at the deadline.
    Drain {
        /// Which boot of which machine `moment` belongs to.
        boot: String,
        /// The deadline on that boot's clock.
        moment: Moment,
        /// The deadline on the wall clock.
        wall: WallTime,
        /// The time given, from the command to the deadline.
        within: Millis,
        /// What users are told.
        message: Option<String>,
    },
    /// Serves nobody.
    Maintenance,
}

impl StoredIntent {
    /// A drain's deadline on the present boot clock. After a reboot never later than the whole time
    /// that was given, so that a wall clock that stepped back cannot lengthen a drain for ever.
    pub(crate) fn deadline(
        boot: &str,
        moment: Moment,
        wall: WallTime,
        within: Millis,
        present_boot: &str,
        now: Now,
    ) -> Moment {
        if boot == present_boot {
            moment
        } else {
            now.moment_at(wall).min(now.moment.plus(within))
        }
    }
}

/// A pool's intent as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolIntentRecord {
    /// The intent.
    pub intent: StoredPoolIntent,
    /// How often the pool has been closed: the epoch of servers that nothing is stored of. So a
    /// server that the file does not name while its pool closes comes back without its sessions.
    pub closures: u32,
    /// Since when.
    pub since: WallTime,
    /// Who wanted it.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
}

/// A pool's intent, its deadline written on both clocks as a drain's is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredPoolIntent {
    /// Serves users.
    Open,
    /// Closes at the deadline.
    Closing {
        /// Which boot of which machine `moment` belongs to.
        boot: String,
        /// The deadline on that boot's clock.
        moment: Moment,
        /// The deadline on the wall clock.
        wall: WallTime,
        /// The time given, from the command to the deadline.
        within: Millis,
        /// From when on new sessions are refused.
        block_new: BlockNew,
        /// What comes at the deadline.
        closure: Closure,
    },
    /// Serves nobody but operators.
    Closed(Closure),
}

/// A door as it is stored, so that after a restart it can be told that it is over: nobody comes in by
/// what is kept here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorRecord {
    /// The server that it was opened to.
    pub server: ServerName,
    /// Who opened it.
    pub by: String,
}

/// Settings of a server that were set live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerOverride {
    /// The share of new sessions.
    pub weight: Option<u32>,
    /// Most sessions; the inner `None`: no limit.
    pub max_sessions: Option<Option<u32>>,
    /// The load in percent above which it takes no new sessions; the inner `None`: it always does.
    pub peak_load: Option<Option<u8>>,
    /// What that was before it was set to 0.
    pub peak_load_before: Option<Option<u8>>,
}

/// A line of the audit log: who did what, when, from where and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When.
    pub at: WallTime,
    /// Who, from where, why.
    pub actor: Actor,
    /// What: `hold`, `drain`, `server add` …
    pub action: String,
    /// To what: `pool/server`, a session, or `-`.
    pub target: String,
    /// What came of it, in a sentence.
    pub outcome: String,
    /// Whether a guard was overridden.
    pub forced: bool,
}

/// What the store gives back when the program starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// What is known of servers, also of those that the file does not name at present.
    pub servers: Vec<RestoredServer>,
    /// What is wanted of pools, also of those that the file does not name at present.
    pub pools: Vec<(String, PoolIntentRecord)>,
    /// What the servers of pools that are to open by themselves said before.
    pub versions: Vec<(String, Versions)>,
    /// Sessions that an operator ended and whose tokens have not expired yet.
    pub ended_sessions: Vec<(SessionId, ServerName)>,
    /// Doors that were open when the program ended: over by now.
    pub doors: Vec<(DoorId, DoorRecord)>,
    /// The secrets behind the tokens.
    pub token_secrets: TokenSecrets,
    /// The secrets were made just now: no session of an earlier run can still show itself.
    pub first_start: bool,
}

/// What the store knows of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredServer {
    /// Its name.
    pub name: ServerName,
    /// What the operator wants, if that was ever said.
    pub intent: Option<IntentRecord>,
    /// Its epoch; 0 if it was never raised.
    pub epoch: u32,
    /// Its address, if it was added live.
    pub live: Option<ServerConfig>,
    /// What was set live.
    pub set: ServerOverride,
}
