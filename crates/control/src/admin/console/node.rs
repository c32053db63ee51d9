//! The node itself, and the doors that are open.

use super::super::answer::ApiError;
use super::super::doors;
use super::Drawn;
use super::desk::Desk;
use super::words::{self, number, span};
use askama::Template;
use axum::Json;
use axum::extract::State;
use ebbtide_api::{Door, Role, Timestamp};

#[derive(Template)]
#[template(path = "node.html")]
struct Page {
    /// Names, and values as HTML.
    facts: Vec<(&'static str, String)>,
    listeners: Vec<(String, String, String)>,
    doors: Vec<Way>,
    may_change: bool,
    may_reload: bool,
}

struct Way {
    door: Door,
    /// HTML.
    until: String,
    entered: Option<String>,
}

pub(super) async fn draw(desk: &Desk) -> Result<Drawn, ApiError> {
    let status = desk.status().await?;
    let node = &status.node;
    let sessions = status.pools.iter().flat_map(|pool| &pool.servers);
    let sessions: u64 = sessions
        .map(|server| u64::from(server.sessions.all()))
        .sum();
    let generation = match node.acknowledged < node.generation {
        true => format!(
            "{}; a worker is still at {}",
            node.generation, node.acknowledged
        ),
        false => format!("{}, taken by every worker", node.generation),
    };
    let store = match &node.store.failure {
        Some(failure) => format!(
            "<strong class=\"bad\">fails: {}</strong>; no change can be made",
            words::escape(failure)
        ),
        None => "works".into(),
    };
    let started = Timestamp(desk.app.started.wall.0);
    let Json(doors) = doors::list(State(desk.app.clone())).await;
    let way = |door: Door| Way {
        until: words::time(door.until),
        entered: door.entered.map(words::time),
        door,
    };
    let page = Page {
        facts: vec![
            ("Version", words::escape(&node.version)),
            ("Started", words::date(started)),
            ("Up for", span(node.uptime_ms / 60_000 * 60_000)),
            ("Generation", generation),
            ("Store", store),
            ("Sessions", number(sessions)),
            (
                "State",
                if node.stopping {
                    "being stopped"
                } else {
                    "at work"
                }
                .into(),
            ),
        ],
        listeners: status
            .pools
            .iter()
            .flat_map(|pool| {
                let of = pool.listeners.iter();
                of.map(|one| (one.name.clone(), one.address.clone(), pool.name.clone()))
            })
            .collect(),
        doors: doors.doors.into_iter().map(way).collect(),
        may_change: desk.may_change(),
        may_reload: desk.role() >= Role::Admin,
    };
    Drawn::new("Node", &page)
}
