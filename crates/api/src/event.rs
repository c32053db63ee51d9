//! What happens, as the event stream tells it.

use crate::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One event of `GET events`. Its number is the SSE `id`, its `kind` the SSE `event`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its number; begins at 1 when the program starts.
    pub id: u64,
    /// When.
    pub at: Timestamp,
    /// To which `pool/server`, if to one.
    pub server: Option<String>,
    /// What, in a sentence.
    pub text: String,
    /// What, for programs.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum EventKind {
    /// The operator wants something else of the server.
    Intent {
        /// The intent before.
        from: String,
        /// The intent now.
        to: String,
        /// When its sessions end, for a drain.
        deadline: Option<Timestamp>,
        /// Who wants it.
        #[serde(default)]
        by: String,
        /// What users are told.
        #[serde(default)]
        message: Option<String>,
    },
    /// The server's standing has another reason.
    Standing {
        /// The reason before.
        from: String,
        /// The reason now.
        to: String,
        /// What the last failed probe said.
        why: Option<String>,
    },
    /// The operator wants something else of a pool.
    PoolIntent {
        /// Which pool.
        pool: String,
        /// The intent before.
        from: String,
        /// The intent now.
        to: String,
        /// When its sessions end, if it is closing.
        deadline: Option<Timestamp>,
        /// Who wants it.
        #[serde(default)]
        by: String,
        /// What users are told.
        #[serde(default)]
        message: Option<String>,
    },
    /// A pool that was to open by itself does not: its time for that is over.
    StaysClosed {
        /// Which pool.
        pool: String,
        /// What it waited for.
        why: String,
    },
    /// A pool's countdown is over: it is closed.
    PoolClosed {
        /// Which pool.
        pool: String,
        /// Sessions that were ended by the deadline.
        ended: u32,
    },
    /// A drain is over: the server is in maintenance.
    Drained {
        /// Sessions that were ended by the deadline.
        ended: u32,
        /// Sessions that the deadline found there and that go on with other servers.
        #[serde(default)]
        moving: u32,
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
        /// The longest time that one of those that moved had no server to ask, in microseconds.
        longest_pause_us: Option<u64>,
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
        over_ms: u64,
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
        from: String,
        /// What is known now.
        to: String,
        /// What the copy is now, or why that is not known.
        what: Option<String>,
    },
    /// The load of the server's machine cannot be read; absent: it can again.
    Metrics {
        /// Why.
        lost: Option<String>,
    },
    /// The server's agent cannot be asked; absent: it answers again.
    Agent {
        /// Why.
        lost: Option<String>,
    },
    /// What is wrong with a name whose addresses are servers is something else than before.
    Name {
        /// What it is called, as `pool/name`.
        name: String,
        /// What is looked up.
        host: String,
        /// What is wrong; absent: nothing any more.
        trouble: Option<String>,
    },
    /// Much more of the server's traffic fails, or is slow, than of its pool's, and it takes new sessions
    /// all the same; absent: it is no longer so. When it is held for that, its standing is another one.
    Sick {
        /// What its traffic tells, and why it is not held.
        what: Option<String>,
    },
    /// A session began.
    SessionBegan {
        /// Which.
        session: String,
        /// From which address.
        client: String,
        /// The `pool/server` that it had to leave.
        moved_from: Option<String>,
    },
    /// A session moved to this server, and its client went on undisturbed.
    SessionMoved {
        /// Which.
        session: String,
        /// The `pool/server` that it left, if that is still known.
        from: Option<String>,
    },
    /// A session ended.
    SessionEnded {
        /// Which.
        session: String,
        /// Why: `expired`, `logged-out`, `ended-by-operator`, `forgotten`, `server-gone`,
        /// `server-removed`, `deadline`, `idle`, `disconnected` or `resource-maintenance`.
        reason: String,
        /// How long it lasted.
        lasted_ms: u64,
    },
    /// Settings changed, or servers, pools or listeners came or went.
    Configured {
        /// One change, in a sentence.
        change: String,
    },
    /// The store did not take a write, or does again.
    Store {
        /// What it said; absent: it works again.
        failed: Option<String>,
    },
    /// This listener was too slow, or asked for events that are no longer kept.
    Missed {
        /// How many events it did not get.
        count: u64,
    },
    /// A kind that this client does not know yet; see the text.
    #[serde(other)]
    Other,
}

impl EventKind {
    /// The word of this kind in the stream.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Intent { .. } => "intent",
            Self::Standing { .. } => "standing",
            Self::PoolIntent { .. } => "pool-intent",
            Self::PoolClosed { .. } => "pool-closed",
            Self::StaysClosed { .. } => "stays-closed",
            Self::Drained { .. } => "drained",
            Self::Drill { .. } => "drill",
            Self::DrillEnded { .. } => "drill-ended",
            Self::Rebalancing { .. } => "rebalancing",
            Self::Rebalanced { .. } => "rebalanced",
            Self::Verified { .. } => "verified",
            Self::NotVerified { .. } => "not-verified",
            Self::Returning { .. } => "returning",
            Self::Returned => "returned",
            Self::Forgotten { .. } => "forgotten",
            Self::Copy { .. } => "copy",
            Self::Metrics { .. } => "metrics",
            Self::Agent { .. } => "agent",
            Self::Name { .. } => "name",
            Self::Sick { .. } => "sick",
            Self::SessionBegan { .. } => "session-began",
            Self::SessionMoved { .. } => "session-moved",
            Self::SessionEnded { .. } => "session-ended",
            Self::Configured { .. } => "configured",
            Self::Store { .. } => "store",
            Self::Missed { .. } => "missed",
            Self::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_flat_object() {
        let event = Event {
            id: 7,
            at: Timestamp(0),
            server: Some("app/web1".into()),
            text: "intent ready -> hold".into(),
            kind: EventKind::Intent {
                from: "ready".into(),
                to: "hold".into(),
                deadline: None,
                by: "anna".into(),
                message: None,
            },
        };
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json["kind"], "intent");
        assert_eq!(json["to"], "hold");
        assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
    }

    #[test]
    fn a_kind_of_a_later_version_is_still_an_event() {
        let later = r#"{"id":1,"at":"1970-01-01T00:00:00.000Z","server":null,"text":"x",
            "kind":"rollout","step":3}"#;
        let event: Event = serde_json::from_str(later).unwrap();
        assert_eq!(event.kind, EventKind::Other);
    }
}
