//! What ending or moving sessions would do, shown before it is done.

use super::super::answer::{ApiError, Params};
use super::super::sessions;
use super::act::Act;
use super::desk::Desk;
use super::fields::Fields;
use super::panel::{Field, Kind, Panel};
use super::sessions::Wish;
use super::words::{self, escape, number};
use axum::Json;
use axum::extract::State;
use ebbtide_api::{Session, SessionQuery};
use ebbtide_core::{Command, ServerName, SessionId};

/// The live session of a number.
async fn find(desk: &Desk, id: &str) -> Result<Session, ApiError> {
    let query = SessionQuery {
        search: Some(id.to_owned()),
        limit: Some(1),
        ..SessionQuery::default()
    };
    let Json(page) = sessions::list(State(desk.app.clone()), Params(query)).await?;
    let mut found = page.sessions.into_iter();
    let found = found.find(|session| session.id == id);
    found.ok_or_else(|| ApiError::not_found(format!("there is no session {id} any more")))
}

/// Who it is, and where.
fn facts(session: &Session) -> Vec<(&'static str, String)> {
    let user = session.user.as_deref().or(session.client.as_deref());
    let mut facts = vec![
        ("Of", escape(user.unwrap_or("nobody known"))),
        (
            "On",
            format!("{}/{}", escape(&session.pool), escape(&session.server)),
        ),
    ];
    facts.extend(
        session
            .started
            .map(|started| ("Since", words::time(started))),
    );
    let heard = session.quiet_ms.map(|quiet| match quiet {
        0..2000 => "now".to_owned(),
        quiet => format!("{} ago", words::span(quiet)),
    });
    facts.extend(heard.map(|heard| ("Last heard of", heard)));
    facts
}

/// The panel for ending sessions: one, or all that fit.
pub(super) async fn end(desk: &Desk, asked: &Fields) -> Result<Panel, ApiError> {
    let ids = asked.all("id");
    let mut panel = Panel {
        what: Act::End.label(),
        lead: "Their users lose what they have not saved; their next click begins a new session."
            .into(),
        is_harsh: true,
        ..Panel::default()
    };
    match ids.as_slice() {
        [id] => {
            panel.title = format!("End session {id}");
            panel.button = "End it".into();
            panel.facts = facts(&find(desk, id).await?);
        }
        _ => {
            panel.title = "End all of these sessions".into();
            panel.button = "End them all".into();
            let names = [
                ("pool", "Of pool"),
                ("server", "On server"),
                ("find", "With"),
            ];
            let said = names
                .iter()
                .filter_map(|(name, words)| Some((*words, escape(asked.get(name)?))));
            panel.facts.extend(said);
            let idle = asked.has("idle");
            let wish = Wish::read(asked, &desk.app.snapshot())?.idle(idle);
            let count = wish.list(desk).await?.count;
            let count = number(u64::try_from(count).unwrap_or(u64::MAX));
            panel.facts.push(("Sessions that end", count));
            let checked = idle.then(|| "1".into());
            let field = Field::new("idle", "Only those that are idle", Kind::Check, checked);
            panel.fields.push(field);
        }
    }
    panel.hidden.extend(ids.into_iter().map(|id| ("id", id)));
    for name in ["pool", "server", "find"] {
        panel
            .hidden
            .extend(asked.text(name).map(|value| (name, value)));
    }
    Ok(panel)
}

/// The panel for moving a session.
pub(super) async fn move_session(desk: &Desk, asked: &Fields) -> Result<Panel, ApiError> {
    let id = asked.text("id").unwrap_or_default();
    let session = find(desk, &id).await?;
    let pool = desk.pool(&session.pool).await?;
    let others = pool.servers.iter().filter(|other| {
        let is_here = other.name == session.server;
        !is_here && other.standing.reason != "removed"
    });
    let others = others.map(|other| {
        let look = words::standing(&other.standing.reason);
        let sessions = words::sessions(other.sessions.all());
        (
            format!("{}/{}", pool.name, other.name),
            format!("{}: {}, {sessions}", other.name, look.words.to_lowercase()),
        )
    });
    let nobody = (
        String::new(),
        "The least busy one that can take it over".into(),
    );
    let to = asked.text("to");
    let mut panel = Panel {
        what: Act::Move.label(),
        title: format!("Move session {id}"),
        lead: "It goes on at another server that has the same copy; its user notices nothing."
            .into(),
        facts: facts(&session),
        fields: vec![Field::new(
            "to",
            "To",
            Kind::Pick(std::iter::once(nobody).chain(others).collect()),
            to.clone(),
        )],
        hidden: vec![("id", id.clone())],
        button: "Move it".into(),
        ..Panel::default()
    };
    let number = SessionId::parse(&id);
    let to = to.as_deref().and_then(ServerName::parse);
    if let Some(id) = number {
        panel
            .rehearse(desk, Command::MoveSession { id, to })
            .await?;
    }
    Ok(panel)
}
