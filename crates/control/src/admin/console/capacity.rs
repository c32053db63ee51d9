//! How many sessions a server can have, by whatever leaves the least room: its most sessions, those that
//! its agent says, the places left by its own page.

use ebbtide_api::ServerStatus;

/// What is known of a server's room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capacity {
    /// So many more sessions.
    pub left: u32,
    /// So many in all.
    pub all: u32,
}

impl Capacity {
    /// Nothing if nothing limits the server's sessions.
    pub fn of(server: &ServerStatus) -> Option<Self> {
        let used = server.sessions.all();
        let agent = server.agent.as_ref().and_then(|agent| agent.max_sessions);
        let given = server
            .max_sessions
            .into_iter()
            .chain(agent)
            .map(|all| Self {
                left: all.saturating_sub(used),
                all,
            });
        let places = server.health.places.map(|left| {
            let left = u32::try_from(left).unwrap_or(u32::MAX);
            Self {
                left,
                all: used.saturating_add(left),
            }
        });
        given.chain(places).min_by_key(|capacity| capacity.left)
    }

    /// Of all of these servers together; nothing if one of them has no limit, or there is none.
    pub fn of_all<'a>(servers: impl Iterator<Item = &'a ServerStatus>) -> Option<Self> {
        let mut servers = servers.map(Self::of);
        let first = servers.next()??;
        servers.try_fold(first, |sum, capacity| {
            let capacity = capacity?;
            Some(Self {
                left: sum.left.saturating_add(capacity.left),
                all: sum.all.saturating_add(capacity.all),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::notes::tests::server;
    use super::*;
    use serde_json::{Value, json};

    fn of(known: &Value) -> Option<(u32, u32)> {
        let capacity = Capacity::of(&server(known))?;
        Some((capacity.left, capacity.all))
    }

    #[test]
    fn whatever_leaves_the_least_room_counts() {
        let sessions = json!({ "active": 30, "idle": 10 });
        let health = |places: Value| json!({ "state": "up", "since": "2026-11-23T01:00:00Z", "places": places });
        let agent = json!({ "wish": "none", "health": "none", "max_sessions": 45 });
        assert_eq!(of(&json!({ "sessions": sessions })), None);
        let known = json!({ "sessions": sessions, "max_sessions": 100 });
        assert_eq!(of(&known), Some((60, 100)));
        let known =
            json!({ "sessions": sessions, "max_sessions": 100, "health": health(json!(12)) });
        assert_eq!(of(&known), Some((12, 52)));
        let known = json!({ "sessions": sessions, "health": health(json!(12)), "agent": agent });
        assert_eq!(of(&known), Some((5, 45)));
        let known = json!({ "sessions": sessions, "max_sessions": 20 });
        assert_eq!(of(&known), Some((0, 20)));
        let known = json!({ "sessions": sessions, "health": health(json!(u64::MAX)) });
        assert_eq!(of(&known), Some((u32::MAX, u32::MAX)));
    }

    #[test]
    fn one_without_a_limit_has_room_for_any_number() {
        let of_all = |maxes: &[Value]| {
            let servers = maxes
                .iter()
                .map(|max| server(&json!({ "max_sessions": max })));
            let servers: Vec<ServerStatus> = servers.collect();
            Capacity::of_all(servers.iter()).map(|room| room.all)
        };
        assert_eq!(of_all(&[json!(10), json!(5)]), Some(15));
        assert_eq!(of_all(&[json!(10), Value::Null]), None);
        assert_eq!(of_all(&[]), None);
    }
}
