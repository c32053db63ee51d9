//! A message to the users of sessions: what they will see, and leaving it for them.

use super::super::answer::{ApiError, Body};
use super::super::tell;
use super::act::Act;
use super::desk::Desk;
use super::fields::Fields;
use super::panel::{Done, Field, Kind, Panel};
use super::preview::Preview;
use super::words::escape;
use axum::extract::State;
use axum::{Extension, Json};
use ebbtide_api::TellSessionsRequest;
use ebbtide_core::{Found, MESSAGE_LASTING, PoolView, SessionId};
use std::sync::Arc;

/// How long a message stands, for choosing.
const SPANS: &[&str] = &["15m", "1h", "8h"];

/// The panel for a message to the user of one session, or of all that fit.
pub(super) fn panel(desk: &Desk, asked: &Fields) -> Result<Panel, ApiError> {
    let ids = asked.all("id");
    let mut panel = Panel {
        what: Act::Tell.label(),
        lead: "Only they are told. It is there until they dismiss it, for a time, or until their session \
               ends; nothing else changes for them."
            .into(),
        button: "Leave the message".into(),
        preview: Some(Preview::of_message(asked.get("message"))?),
        ..Panel::default()
    };
    panel.title = match ids.as_slice() {
        [id] => format!("Message to the user of session {id}"),
        _ => "Message to the users of all these sessions".into(),
    };
    let names = [
        ("pool", "Of pool"),
        ("server", "On server"),
        ("find", "With"),
    ];
    for (name, words) in names {
        if let Some(value) = asked.text(name) {
            panel.facts.push((words, escape(&value)));
            panel.hidden.push((name, value));
        }
    }
    if let Some(pool) = pool(desk, asked, &ids) {
        match pool.config.why_untold() {
            None => panel.facts.push(("Then", tell::way(&pool.config).into())),
            Some(why) => panel.refusal = Some(format!("They cannot be told anything: {why}.")),
        }
    }
    panel.hidden.extend(ids.into_iter().map(|id| ("id", id)));
    let lasting = asked.text("lasting");
    panel.fields = vec![
        Field::new("message", "Message", Kind::Area, asked.text("message"))
            .hint("Shown as text. It takes the place of the one that was left for them before."),
        Field::new(
            "lasting",
            "It is there for",
            Kind::Span(SPANS),
            Some(lasting.unwrap_or_else(|| MESSAGE_LASTING.to_string())),
        )
        .hint("A minute to a day, if they do not dismiss it before."),
    ];
    Ok(panel)
}

/// The pool of the sessions, where it is one.
fn pool(desk: &Desk, asked: &Fields, ids: &[String]) -> Option<Arc<PoolView>> {
    let snapshot = desk.app.snapshot();
    let Some(id) = ids.first() else {
        return snapshot.pool_named(asked.get("pool")?).cloned();
    };
    match desk.app.sessions.find(SessionId::parse(id)?) {
        Found::Live(session) => snapshot.pool(session.pool).cloned(),
        Found::Ended | Found::Unknown => None,
    }
}

/// Leaves it for them.
pub(super) async fn done(
    desk: &Desk,
    asked: &Fields,
    lasting_ms: Option<u64>,
) -> Result<Done, ApiError> {
    let body = TellSessionsRequest {
        ids: asked.all("id"),
        pool: asked.text("pool"),
        server: asked.text("server"),
        search: asked.text("find"),
        message: asked.text("message").unwrap_or_default(),
        lasting_ms,
        reason: asked.text("reason"),
        ..TellSessionsRequest::default()
    };
    let (state, caller) = (State(desk.app.clone()), Extension(desk.caller.clone()));
    let Json(told) = tell::tell(state, caller, Body(body)).await?;
    Ok(told.changed.into())
}
