//! Moving sessions to other servers: one, all of a server, and for a test.

use crate::Changed;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Body of `POST sessions/{id}/move`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MoveRequest {
    /// Where to, as `pool/server`; absent: to the least busy server that can take it over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Why, for the audit log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Body of `POST servers/{pool}/{server}/stop`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StopRequest {
    /// From now to the deadline of those that cannot be moved, 1,000 to seven days; 600,000 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within_ms: Option<u64>,
    /// What users are told: plain text of at most 1,000 characters, `\n` between its lines. An empty
    /// one takes away what they were told before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Past the capacity guard.
    pub force: bool,
    /// Why, for the audit log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Body of `POST servers/{pool}/{server}/drill`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DrillRequest {
    /// Connections to the server are cut, as if it had died; otherwise sessions move in order.
    pub cut: bool,
    /// How long it may take, 1,000 to 60,000; 30,000 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within_ms: Option<u64>,
    /// Why, for the audit log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The answer to `move`, `stop` and `drill`, when sessions have moved or the time for that is up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MovesReport {
    /// What was done; of a `stop` with the deadline of those that are left.
    #[serde(flatten)]
    pub changed: Changed,
    /// Every session that could be taken over is served elsewhere, in time.
    pub complete: bool,
    /// Sessions that are served elsewhere now.
    pub moved: u32,
    /// The longest pause of these, in microseconds: for how long one of them had no server to ask.
    pub longest_pause_us: Option<u64>,
    /// The first of them, at most 20.
    pub sessions: Vec<MovedSession>,
    /// Sessions that ended by themselves meanwhile.
    pub ended: u32,
    /// Sessions that are still on the server.
    pub stayed: u32,
    /// The first of them, at most 20.
    pub staying: Vec<StayingSession>,
}

/// A session that was moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MovedSession {
    /// Its number.
    pub id: String,
    /// The `pool/server` that it was on.
    pub from: String,
    /// The `pool/server` that it is on.
    pub to: String,
    /// For how long it had no server to ask, in microseconds.
    pub pause_us: u64,
}

/// A session that was not moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StayingSession {
    /// Its number.
    pub id: String,
    /// Why it stays.
    pub why: String,
}
