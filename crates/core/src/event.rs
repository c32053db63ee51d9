//! What is told to whoever listens: the event stream, and the lines of `ebbtide events`.

use crate::name::{ServerName, SessionId};
use crate::session::EndReason;
use crate::standing::Reason;
use crate::time::{Millis, WallTime};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: WallTime,
    /// To which server, if to one.
    pub server: Option<ServerName>,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The operator wants something else of the server.
    Intent {
        /// The intent before.
        from: &'static str,
        /// The intent now.
        to: &'static str,
        /// When its sessions end, for a drain.
        deadline: Option<WallTime>,
        /// Who wants it.
        by: String,
        /// What users are told.
        message: Option<String>,
    },
    /// The server's standing has another reason.
    Standing {
        /// The reason before.
        from: Reason,
        /// The reason now.
        to: Reason,
        /// What the last failed probe said.
        why: Option<String>,
    },
    /// The operator wants something else of a pool.
    PoolIntent {
        /// Which pool.
        pool: String,
        /// The intent before.
        from: &'static str,
        /// The intent now.
        to: &'static str,
        /// When its sessions end, if it is closing.
        deadline: Option<WallTime>,
        /// Who wants it.
        by: String,
        /// What users are told.
        message: Option<String>,
    },
    /// A pool's countdown is over: it is closed.
    PoolClosed {
        /// Which pool.
        pool: String,
        /// Sessions that the deadline ended; `None` if all left before it.
        ended: Option<u32>,
    },
    /// A pool that was to open by itself does not: its time for that is over.
    StaysClosed {
        /// Which pool.
        pool: String,
        /// What it waited for.
        why: String,
    },
    /// A drain is over: the server is in maintenance.
    Drained {
        /// What becomes of the sessions that were left at the deadline; `None` if all left before it.
        left: Option<Fates>,
    },
    /// A failover test of the server begins.
    Drill {
        /// Connections to the server are cut; otherwise sessions move in order.
        cut: bool,
        /// Who wanted it.
        by: String,
    },
    /// A failover test of the server is over.
    DrillEnded {
        /// Every session that could be taken over was, in time.
        passed: bool,
        /// Sessions that are served elsewhere now.
        moved: u32,
        /// Sessions that are still on the server.
        stayed: u32,
        /// The longest time that one of those that moved had no server to ask.
        longest_pause: Option<Duration>,
        /// The same in a sentence.
        outcome: String,
    },
    /// Idle sessions of a pool are forgotten, at an operator's request.
    Rebalancing {
        /// Which pool.
        pool: String,
        /// How many, at most.
        sessions: u32,
        /// Who wanted it.
        by: String,
    },
    /// A rebalance is over.
    Rebalanced {
        /// Of which pool.
        pool: String,
        /// Sessions that were forgotten.
        forgotten: u32,
        /// Sessions that were left alone: active again, gone, or on a server that is crowded no more.
        left_alone: u32,
    },
    /// A server that came out of maintenance has shown that it is well.
    Verified {
        /// What it has shown.
        how: String,
    },
    /// A server that came out of maintenance has not shown in time that it is well: it stays out.
    NotVerified {
        /// What it has shown, and what was wrong.
        why: String,
    },
    /// The server came back, and gets fewer new sessions than its share for a while.
    Returning {
        /// For how long.
        over: Millis,
    },
    /// The server's slow start is over.
    Returned,
    /// Every binding to the server was forgotten.
    Forgotten {
        /// Sessions that were forgotten.
        sessions: u32,
    },
    /// What is known of the server's copy of a resource has changed.
    Copy {
        /// Which resource.
        resource: String,
        /// What was known before: `unknown`, `reading`, `known`, `absent`, `unreachable` or
        /// `contradicted`.
        from: &'static str,
        /// What is known now.
        to: &'static str,
        /// What the copy is now, or why that is not known.
        what: Option<String>,
    },
    /// The load of the server's machine cannot be read; `None`: it can again.
    Metrics {
        /// Why.
        lost: Option<String>,
    },
    /// The server's agent cannot be asked; `None`: it answers again.
    Agent {
        /// Why.
        lost: Option<String>,
    },
    /// What is wrong with a name whose addresses are servers, or with those, is something else than
    /// before.
    Name {
        /// What it is called, as `pool/name`.
        name: String,
        /// What is looked up.
        host: String,
        /// What is wrong; `None`: nothing any more.
        trouble: Option<String>,
    },
    /// Much more of the server's traffic fails, or is slow, than its pool's, and it is not held for it;
    /// `None`: it is no longer so.
    Sick {
        /// What its traffic tells, and why it goes on all the same.
        what: Option<String>,
    },
    /// A session began.
    SessionBegan {
        /// Which.
        id: SessionId,
        /// From where.
        client: IpAddr,
        /// The server that it had to leave.
        moved_from: Option<ServerName>,
    },
    /// A session moved here from another server, and its client went on undisturbed.
    SessionMoved {
        /// Which.
        id: SessionId,
        /// The server that it left, if that is still known.
        from: Option<ServerName>,
    },
    /// A session ended.
    SessionEnded {
        /// Which.
        id: SessionId,
        /// Why.
        reason: EndReason,
        /// How long it lasted.
        lasted: Millis,
    },
    /// A server's settings changed, or servers, pools or listeners came or went.
    Configured {
        /// One change, in a sentence.
        change: String,
    },
    /// The store did not take a write; `None`: it does again.
    Store {
        /// What it said.
        failed: Option<String>,
    },
}

/// Names every kind, once: a kind without a name does not compile.
macro_rules! labels {
    ($($kind:ident => $label:literal),* $(,)?) => {
        impl EventKind {
            /// The names of all kinds: what the stream, webhooks and their documents know.
            pub const LABELS: &'static [&'static str] = &[$($label),*];

            /// The name of this kind in the stream.
            pub fn label(&self) -> &'static str {
                match self {
                    $(Self::$kind { .. } => $label),*
                }
            }
        }
    };
}

labels! {
    Intent => "intent",
    Standing => "standing",
    PoolIntent => "pool-intent",
    PoolClosed => "pool-closed",
    StaysClosed => "stays-closed",
    Drained => "drained",
    Drill => "drill",
    DrillEnded => "drill-ended",
    Rebalancing => "rebalancing",
    Rebalanced => "rebalanced",
    Verified => "verified",
    NotVerified => "not-verified",
    Returning => "returning",
    Returned => "returned",
    Forgotten => "forgotten",
    Copy => "copy",
    Metrics => "metrics",
    Agent => "agent",
    Name => "name",
    Sick => "sick",
    SessionBegan => "session-began",
    SessionMoved => "session-moved",
    SessionEnded => "session-ended",
    Configured => "configured",
    Store => "store",
}

impl fmt::Display for EventKind {
    // tidy: allow(long-function): one arm for each kind of event
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Intent { from, to, .. } => write!(f, "intent {from} -> {to}"),
            Self::Standing { from, to, why } => {
                write!(f, "standing {} -> {}", from.label(), to.label())?;
                why.as_ref().map_or(Ok(()), |why| write!(f, " ({why})"))
            }
            Self::PoolIntent { pool, from, to, .. } => write!(f, "pool {pool} {from} -> {to}"),
            Self::PoolClosed { pool, ended } => {
                write!(f, "pool {pool} closed: {}", how_ended(*ended))
            }
            Self::StaysClosed { pool, why } => write!(f, "pool {pool}: {why}"),
            Self::Drained { left: None } => write!(f, "drained: {}", how_ended(None)),
            Self::Drained { left: Some(left) } if left.ending == left.all() => {
                write!(f, "drained: {}", how_ended(Some(left.ending)))
            }
            Self::Drained { left: Some(left) } => write!(f, "drained: the deadline came, {left}"),
            Self::Drill { cut, by } => {
                let how = if *cut { "are cut off" } else { "move" };
                write!(f, "a drill begins: its sessions {how}, by {by}")
            }
            Self::DrillEnded { outcome, .. } => f.write_str(outcome),
            Self::Rebalancing { pool, sessions, by } => write!(
                f,
                "pool {pool}: forgetting up to {} on crowded servers, by {by}",
                count(*sessions, "idle session")
            ),
            Self::Rebalanced {
                pool,
                forgotten,
                left_alone,
            } => write!(
                f,
                "pool {pool}: {} forgotten, {left_alone} left alone",
                count(*forgotten, "idle session")
            ),
            Self::Verified { how } => write!(f, "verified: {how}"),
            Self::NotVerified { why } => write!(f, "stays out, for it was not verified: {why}"),
            Self::Returning { over } => {
                write!(f, "returns slowly: all of its new sessions in {over}")
            }
            Self::Returned => f.write_str("gets all of its new sessions again"),
            Self::Forgotten { sessions } => write!(f, "forgot {}", count(*sessions, "session")),
            Self::Copy {
                resource,
                from,
                to,
                what,
            } => {
                write!(f, "copy of {resource} {from} -> {to}")?;
                what.as_ref().map_or(Ok(()), |what| write!(f, " ({what})"))
            }
            Self::Metrics { lost: Some(why) } => write!(f, "no metrics: {why}"),
            Self::Metrics { lost: None } => f.write_str("its metrics are there again"),
            Self::Name {
                name,
                host,
                trouble,
            } => match trouble {
                Some(trouble) => write!(f, "{name} ({host}): {trouble}"),
                None => write!(f, "{name} ({host}): well again"),
            },
            Self::Agent { lost: Some(why) } => write!(f, "no agent: {why}"),
            Self::Agent { lost: None } => f.write_str("its agent answers again"),
            Self::Sick { what: Some(what) } => write!(f, "it looks sick: {what}"),
            Self::Sick { what: None } => f.write_str("it looks well again"),
            Self::SessionBegan {
                id,
                client,
                moved_from,
            } => {
                write!(f, "session {id} began from {client}")?;
                moved_from
                    .as_ref()
                    .map_or(Ok(()), |from| write!(f, ", moved from {from}"))
            }
            Self::SessionMoved { id, from } => {
                write!(f, "session {id} moved here")?;
                from.as_ref()
                    .map_or(Ok(()), |from| write!(f, " from {from}"))
            }
            Self::SessionEnded { id, reason, lasted } => {
                write!(f, "session {id} ended after {lasted}: {}", reason.label())
            }
            Self::Configured { change } => f.write_str(change),
            Self::Store { failed: Some(why) } => write!(f, "the store fails: {why}"),
            Self::Store { failed: None } => f.write_str("the store works again"),
        }
    }
}

/// What becomes of the sessions of a server that must not serve them any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    /// Go on with another server.
    pub moving: u32,
    /// Would go on with another server, and none can take them at present: they end unless one can within
    /// the pool's `timeouts.stand_in`.
    pub waiting: u32,
    /// End.
    pub ending: u32,
}

impl Fates {
    /// All of them.
    pub fn all(self) -> u32 {
        self.moving + self.waiting + self.ending
    }

    /// The same of a drain, which leaves those who stay their time: `2 sessions move, 1 session`.
    pub(crate) fn of_drain(self) -> String {
        let staying = count(self.waiting + self.ending, "session");
        match self.moving {
            0 => staying,
            moving => format!("{}, {staying}", moves(moving)),
        }
    }
}

impl fmt::Display for Fates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            moving,
            waiting,
            ending,
        } = *self;
        let mut parts = Vec::new();
        if moving > 0 {
            parts.push(format!("{} to other servers", moves(moving)));
        }
        if waiting > 0 {
            let wait = if waiting == 1 { "waits" } else { "wait" };
            parts.push(format!(
                "{} {wait} for a server that can take over",
                count(waiting, "session")
            ));
        }
        if ending > 0 || parts.is_empty() {
            parts.push(format!("{} ended", count(ending, "session")));
        }
        f.write_str(&parts.join(", "))
    }
}

/// `1 session moves`, `2 sessions move`.
pub(crate) fn moves(number: u32) -> String {
    let verb = if number == 1 { "moves" } else { "move" };
    format!("{} {verb}", count(number, "session"))
}

/// `1 session goes on until it ends`, `2 sessions go on until they end`.
pub(crate) fn goes_on(number: u32) -> String {
    let verb = match number {
        1 => "goes on until it ends",
        _ => "go on until they end",
    };
    format!("{} {verb}", count(number, "session"))
}

/// How the sessions of a server or a pool came to their end: so many by the deadline, or `None`, all by
/// themselves.
pub(crate) fn how_ended(ended: Option<u32>) -> String {
    match ended {
        None => "every session left by itself".into(),
        Some(0) => "the deadline came, and no session was left".into(),
        Some(left) => format!("the deadline ended {}", count(left, "session")),
    }
}

/// A number with its noun: `1 session`, `2 sessions`.
pub fn count(number: impl fmt::Display, noun: &str) -> String {
    let number = number.to_string();
    let ending = if number == "1" { "" } else { "s" };
    format!("{number} {noun}{ending}")
}
