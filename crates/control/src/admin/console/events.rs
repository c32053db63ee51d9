//! What happens, as it happens.

use super::super::answer::ApiError;
use super::Drawn;
use super::desk::Desk;
use super::fields::Fields;
use super::words;
use crate::event_log::{KEPT, is_of_session};
use askama::Template;
use ebbtide_api::{Event, EventKind};

/// Events on the page.
const SHOWN: usize = 150;

/// What the field for kinds offers, and which kinds each stands for; nothing: all.
const KINDS: [(&str, &str, &[&str]); 5] = [
    ("", "Everything but sessions", &[]),
    (
        "intents",
        "What operators wanted",
        &[
            "intent",
            "pool-intent",
            "pool-closed",
            "stays-closed",
            "drained",
            "forgotten",
            "drill",
            "drill-ended",
            "configured",
        ],
    ),
    (
        "standings",
        "How servers stand",
        &["standing", "metrics", "copy", "store"],
    ),
    (
        "sessions",
        "Sessions",
        &["session-began", "session-moved", "session-ended"],
    ),
    ("all", "Everything", &[]),
];

#[derive(Template)]
#[template(path = "events.html")]
struct Page<'a> {
    rows: Vec<Row>,
    kinds: Vec<(&'static str, &'static str, bool)>,
    find: &'a str,
    are_logged: bool,
}

struct Row {
    id: u64,
    /// HTML.
    at: String,
    kind: &'static str,
    server: Option<String>,
    text: String,
    tone: &'static str,
}

pub(super) fn draw(desk: &Desk, asked: &Fields) -> Result<Drawn, ApiError> {
    let events = desk.app.events.since(0);
    let kind = asked.get("kind").unwrap_or_default();
    let find = asked.get("find").unwrap_or_default();
    let needle = find.to_lowercase();
    let fits = |event: &Event| {
        let kinds = KINDS.iter().find(|(value, ..)| *value == kind);
        let of_kind = match (kind, kinds) {
            ("", _) | (_, None) => !is_of_session(event),
            ("all", _) => true,
            (_, Some((_, _, kinds))) => kinds.contains(&event.kind.label()),
        };
        let server = event.server.as_deref().unwrap_or_default();
        let has = |text: &str| text.to_lowercase().contains(&needle);
        of_kind && (needle.is_empty() || has(server) || has(&event.text))
    };
    let newest = events.iter().rev().filter(|event| fits(event));
    let others = events.iter().filter(|event| !is_of_session(event));
    let page = Page {
        rows: newest.take(SHOWN).map(|event| row(event)).collect(),
        kinds: KINDS
            .map(|(value, words, _)| (value, words, value == kind))
            .into(),
        find,
        // Of sessions no log tells.
        are_logged: others.count() >= KEPT && kind != "sessions",
    };
    Drawn::new("Events", &page)
}

fn row(event: &Event) -> Row {
    let kind = event.kind.label();
    Row {
        id: event.id,
        at: words::date(event.at),
        kind,
        server: event.server.clone(),
        text: event.text.replace(" -> ", " → "),
        tone: match &event.kind {
            EventKind::Standing { to, .. } => words::standing(to).tone,
            EventKind::PoolIntent { to, .. } if to == "open" => "good",
            EventKind::Intent { to, .. } if to == "ready" => "good",
            EventKind::Store { failed: None } | EventKind::Metrics { lost: None } => "good",
            EventKind::PoolIntent { .. }
            | EventKind::PoolClosed { .. }
            | EventKind::StaysClosed { .. }
            | EventKind::Store { .. } => "bad",
            EventKind::Intent { .. }
            | EventKind::Drained { .. }
            | EventKind::Forgotten { .. }
            | EventKind::Drill { .. }
            | EventKind::DrillEnded { .. }
            | EventKind::Metrics { .. } => "warn",
            _ => "calm",
        },
    }
}
