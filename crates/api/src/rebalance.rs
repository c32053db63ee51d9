//! Rebalancing a pool.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a rebalance of a pool would do now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RebalancePlan {
    /// Idle sessions that would be forgotten, at most.
    pub forgets: u32,
    /// Sessions that rebalances have forgotten, and whose users have not come back: they are counted as
    /// if they were there.
    #[serde(default)]
    pub awaited: u32,
    /// The servers that take new sessions.
    pub servers: Vec<Crowd>,
}

/// How crowded a server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Crowd {
    /// Its name within the pool.
    pub server: String,
    /// Its sessions.
    pub sessions: u32,
    /// What it would have if all of the pool's, and those that are awaited, were spread by what the
    /// servers can take.
    pub level: u32,
    /// Idle sessions that would be forgotten, at most.
    pub forgets: u32,
}

/// Body of `POST pools/{pool}/rebalance`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RebalanceRequest {
    /// Sessions that are forgotten in a second, 1 to 1000; 10 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// Why, for the audit log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How far a rebalance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rebalance {
    /// Sessions that are forgotten in a second.
    pub rate: u32,
    /// Sessions that were forgotten so far.
    pub forgotten: u32,
    /// Sessions that are still to be looked at.
    pub left: u32,
}
