//! What operators ask for, and what they are answered.

use crate::config::{Config, ServerConfig};
use crate::door::{DoorId, DoorKeys};
use crate::driver::Close;
use crate::guard::GuardRefusal;
use crate::name::{ServerName, SessionId};
use crate::time::{Millis, WallTime};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Tells an answer's asker from others; chosen by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

impl RequestId {
    /// Of what the driver asks for by itself: nobody waits for the answer.
    pub const NOBODY: Self = Self(0);
}

/// Who asks, from where and why; goes into the audit log with every change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actor {
    /// The operator: the name of a token, or of the user at the other end of the UNIX socket.
    pub who: String,
    /// The address or socket that the request came by.
    pub from: String,
    /// The operator's own words (`--reason`).
    pub reason: Option<String>,
}

impl Actor {
    /// The program itself, where nobody asked: a drain's end, the start.
    pub fn ebbtide() -> Self {
        Self {
            who: "ebbtide".into(),
            from: "itself".into(),
            reason: None,
        }
    }
}

/// What an operator may ask for.
#[derive(Clone, Debug)]
pub enum Command {
    /// Back into traffic.
    Ready {
        /// Which server.
        server: ServerName,
        /// Without having shown that it is well, after maintenance.
        force: bool,
    },
    /// No new sessions.
    Hold {
        /// Which server.
        server: ServerName,
        /// Past the capacity guard.
        force: bool,
    },
    /// No new sessions, the rest end at the deadline, then maintenance. On a server that is being
    /// drained already, sets the new deadline.
    Drain {
        /// Which server.
        server: ServerName,
        /// From now to the deadline; of a server that is being drained, `None` leaves the deadline as it is.
        within: Option<Millis>,
        /// What users are told.
        message: Option<String>,
        /// Past the capacity guard.
        force: bool,
    },
    /// Serves nobody, at once.
    Maintenance {
        /// Which server.
        server: ServerName,
        /// Past the capacity guard.
        force: bool,
    },
    /// A drain that is answered when the sessions that others can take over have left.
    Stop {
        /// Which server.
        server: ServerName,
        /// From now to the deadline.
        within: Millis,
        /// What users are told.
        message: Option<String>,
        /// Past the capacity guard.
        force: bool,
    },
    /// A failover test: every session that others can take over leaves the server, which takes no new
    /// ones meanwhile and is then as it was before.
    Drill {
        /// Which server.
        server: ServerName,
        /// Connections to the server are cut, as if it had died; otherwise sessions move in order.
        cut: bool,
        /// How long it may take.
        within: Millis,
    },
    /// Moves a session to another server that can take it over.
    MoveSession {
        /// Which session.
        id: SessionId,
        /// Where to; `None`: to the least busy one.
        to: Option<ServerName>,
    },
    /// Closes a pool at a deadline, or changes how it is closing or closed.
    Close {
        /// Which pool.
        pool: String,
        /// How.
        close: Close,
    },
    /// Opens a pool, or ends its countdown.
    Open {
        /// Which pool.
        pool: String,
    },
    /// Forgets idle sessions on crowded servers of a pool.
    Rebalance {
        /// Which pool.
        pool: String,
        /// Sessions that are forgotten in a second, 1 to 1000.
        rate: u32,
    },
    /// Ends a rebalance.
    StopRebalance {
        /// Of which pool.
        pool: String,
    },
    /// Opens a door to a server, for operators.
    OpenDoor {
        /// Which server.
        server: ServerName,
        /// Its number and secrets, from the shell's source of randomness.
        keys: DoorKeys,
        /// For how long.
        lasting: Millis,
        /// Requests through it say that an administrator comes.
        as_admin: bool,
    },
    /// Closes a door.
    CloseDoor {
        /// Which one.
        id: DoorId,
    },
    /// Forgets every binding to the server; its users are placed anew.
    Forget {
        /// Which server.
        server: ServerName,
    },
    /// Ends sessions: those of them that are live.
    EndSessions {
        /// Which ones, at most [`SESSIONS_ENDED_MAX`].
        ids: Vec<SessionId>,
    },
    /// Leaves the users of sessions a message: of those of them that are live and can be told.
    TellSessions {
        /// Which ones, at most [`SESSIONS_ENDED_MAX`].
        ids: Vec<SessionId>,
        /// What they are told.
        message: String,
        /// How long it stands, if they do not dismiss it.
        lasting: Millis,
    },
    /// Adds a server beside those of the file.
    AddServer {
        /// The pool.
        pool: String,
        /// The new server.
        server: ServerConfig,
    },
    /// Removes a server that was added live.
    RemoveServer {
        /// Which server.
        server: ServerName,
        /// Past the capacity guard, and although it has sessions.
        force: bool,
    },
    /// Changes settings of a server; they outlast reloads.
    SetServer {
        /// Which server.
        server: ServerName,
        /// What changes.
        change: ServerChange,
    },
    /// Makes new tokens with another secret; the present one stays good beside it.
    RotateTokenSecret {
        /// The new secret, from the shell's source of randomness.
        secret: [u8; 32],
    },
    /// Takes a new configuration, already checked, whose listeners are already bound.
    Reload {
        /// The new configuration.
        config: Arc<Config>,
        /// What else is different in the file, a line each.
        beside: Vec<String>,
    },
}

impl Command {
    /// Whether it may go past guards.
    pub fn is_forced(&self) -> bool {
        match self {
            Self::Hold { force, .. }
            | Self::Drain { force, .. }
            | Self::Maintenance { force, .. }
            | Self::Stop { force, .. }
            | Self::Ready { force, .. }
            | Self::RemoveServer { force, .. } => *force,
            Self::SetServer { change, .. } => change.force,
            Self::Drill { .. }
            | Self::Rebalance { .. }
            | Self::StopRebalance { .. }
            | Self::MoveSession { .. }
            | Self::Close { .. }
            | Self::Open { .. }
            | Self::OpenDoor { .. }
            | Self::CloseDoor { .. }
            | Self::Forget { .. }
            | Self::EndSessions { .. }
            | Self::TellSessions { .. }
            | Self::AddServer { .. }
            | Self::Reload { .. }
            | Self::RotateTokenSecret { .. } => false,
        }
    }
}

/// The most sessions that one command ends: each is a line in the store.
pub const SESSIONS_ENDED_MAX: usize = 1000;

/// What becomes of a server's peak load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeakChange {
    /// So many percent; 0: it takes no new sessions, and what it had before is kept.
    Percent(u8),
    /// It has none.
    None,
    /// What it was before it was set to 0.
    Back,
}

/// What `server set` changes; `None` leaves as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerChange {
    /// The share of new sessions, 1 to 1000.
    pub weight: Option<u32>,
    /// Most sessions; the inner `None` takes the limit away.
    pub max_sessions: Option<Option<u32>>,
    /// The load in percent above which it takes no new sessions, 0 to 100.
    pub peak_load: Option<PeakChange>,
    /// Ends its slow start.
    pub slow_start_over: bool,
    /// Drops whatever was set live before: the file's values count again.
    pub reset: bool,
    /// Past the capacity guard, where the peak load takes it out of traffic.
    pub force: bool,
}

/// What an operator is told after a change that is on disk and in force on every worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What was done, in a sentence.
    pub text: String,
    /// What is different: lines of the printed difference of a reload.
    pub changes: Vec<String>,
    /// The deadline that was set, on the wall clock.
    pub deadline: Option<WallTime>,
    /// The generation that every worker has taken.
    pub generation: u64,
    /// What came of moving sessions, where that was asked for.
    pub moves: Option<MoveReport>,
}

/// What came of moving sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MoveReport {
    /// Sessions that are served elsewhere now.
    pub moved: u32,
    /// The longest time that one of them had no server to ask.
    pub longest_pause: Option<Duration>,
    /// The first of them, at most [`SESSIONS_TOLD_MAX`].
    pub sessions: Vec<MovedSession>,
    /// Sessions that ended by themselves meanwhile.
    pub ended: u32,
    /// Sessions that are still on the server.
    pub stayed: u32,
    /// The first of them and why, at most [`SESSIONS_TOLD_MAX`].
    pub staying: Vec<(SessionId, String)>,
    /// Every session that could be taken over was, in time.
    pub complete: bool,
}

/// A session that was moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedSession {
    /// Which.
    pub id: SessionId,
    /// The server that it was on.
    pub from: ServerName,
    /// The server that it is on.
    pub to: ServerName,
    /// For how long it had no server to ask.
    pub pause: Duration,
}

/// So many sessions are told of one by one in an answer.
pub const SESSIONS_TOLD_MAX: usize = 20;

/// Why a command was not carried out. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of refusal.
    pub kind: RefusalKind,
    /// What happened, to which `pool/server`, and what to do.
    pub text: String,
}

/// Kinds of refusal, for exit codes and HTTP statuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// No such pool, server or session.
    NotFound,
    /// The command makes no sense in the present state, or its values are out of bounds.
    Invalid,
    /// A guard holds it back; `--force` would do it.
    Guarded(Box<GuardRefusal>),
    /// The store could not take it.
    Store,
    /// A worker did not acknowledge it in time; it is stored and will be in force.
    Unacknowledged,
    /// A session was not served elsewhere in time.
    NotMoved,
}

impl Refusal {
    pub(crate) fn not_found(text: String) -> Self {
        Self {
            kind: RefusalKind::NotFound,
            text,
        }
    }

    pub(crate) fn invalid(text: String) -> Self {
        Self {
            kind: RefusalKind::Invalid,
            text,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Refusal {}
