//! What a change to a pool would do, shown before it is made.

use super::super::answer::ApiError;
use super::act::{self, Act};
use super::desk::Desk;
use super::fields::Fields;
use super::offer::SPANS;
use super::panel::{Field, Kind, Panel};
use super::preview::{Preview, Said};
use super::words::{self, escape};
use crate::clock::clock;
use ebbtide_api::{PoolStatus, Timestamp};
use ebbtide_core::Command;

/// What a form about a pool is based on, as [`Target::basis`](super::offer::Target::basis).
pub(super) fn basis(pool: &PoolStatus) -> String {
    let intent = &pool.intent;
    format!(
        "{} {}",
        intent.label,
        intent.since.map_or(0, |since| since.0)
    )
}

/// The state that a pool is in now, and who put it there.
pub(super) fn told(pool: &PoolStatus) -> String {
    let by = pool.intent.by.as_ref();
    let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
    format!("Pool {} is now {}{by}.", pool.name, pool.intent.label)
}

/// The panel for adding a server.
pub(super) async fn add(desk: &Desk, asked: &Fields) -> Result<Panel, ApiError> {
    let pool = desk.pool(asked.get("pool").unwrap_or_default()).await?;
    Ok(Panel {
        what: Act::Add.label(),
        title: format!("Add a server to {}", pool.name),
        lead: "It takes sessions after its first good probe, and outlasts reloads and restarts."
            .into(),
        hidden: vec![("pool", pool.name)],
        fields: vec![
            Field::new("name", "Name", Kind::Text, asked.text("name")).hint("Such as web4."),
            Field::new("address", "Address", Kind::Text, asked.text("address"))
                .hint("Such as 10.0.0.14:8080."),
            Field::new(
                "max_sessions",
                "Most sessions",
                Kind::Number,
                asked.text("max_sessions"),
            )
            .hint("Empty: no limit."),
            Field::new("weight", "Weight", Kind::Number, asked.text("weight")).hint("Empty: 1."),
        ],
        button: "Add it".into(),
        ..Panel::default()
    })
}

/// The panel for closing a pool, or for changing how it is closing or closed.
pub(super) async fn close(desk: &Desk, asked: &Fields) -> Result<Panel, ApiError> {
    let pool = desk.pool(asked.get("pool").unwrap_or_default()).await?;
    let snapshot = desk.app.snapshot();
    let view = snapshot.pool_named(&pool.name);
    let upgrades = view.is_some_and(|view| view.config.upgrade.is_some());
    let (name, label) = (pool.name.clone(), pool.intent.label.as_str());
    let sessions: u32 = pool
        .servers
        .iter()
        .map(|server| server.sessions.all())
        .sum();
    let (title, lead, button) = match label {
        "open" => (
            format!("Close {name}"),
            "Users are told at once and see the time run; at the deadline every session ends.",
            format!("Close {name}"),
        ),
        "closing" => (
            format!("Change the closing of {name}"),
            "Users are told at once. What is left empty stays as it is.",
            "Change it".to_owned(),
        ),
        _ => (
            format!("What users of {name} see"),
            "It is closed; this is what its maintenance page says.",
            "Change it".to_owned(),
        ),
    };
    let contact = view.and_then(|view| view.config.contact.clone());
    let said = said_of_pool(&pool, asked, contact);
    Ok(Panel {
        what: Act::Close.label(),
        title,
        lead: lead.into(),
        hidden: vec![("pool", name), ("basis", basis(&pool))],
        fields: close_fields(&pool, asked, upgrades),
        facts: match label {
            "closed" => Vec::new(),
            _ => vec![
                ("Sessions in it", words::sessions(sessions)),
                ("Ends", words::time(said.ends)),
            ],
        },
        preview: Some(Preview::of(&said)?),
        button,
        is_harsh: label == "open",
        ..Panel::default()
    })
}

fn close_fields(pool: &PoolStatus, asked: &Fields, upgrades: bool) -> Vec<Field> {
    let label = pool.intent.label.as_str();
    let message = asked
        .text("message")
        .or_else(|| pool.intent.message.clone());
    let mut fields = Vec::new();
    if label != "closed" {
        let span = match label {
            "open" if !asked.has("within") => Some("15m".to_owned()),
            _ => asked.text("within"),
        };
        fields.push(
            Field::new("within", "Within", Kind::Span(SPANS), span)
                .hint("Such as 15m or 1h 30m; 0s: at once."),
        );
        let at = asked.text("at");
        fields.push(
            Field::new("at", "or at", Kind::Moment, at)
                .hint("Counts if nothing stands in “Within”."),
        );
    }
    fields.push(
        Field::new("message", "Message to users", Kind::Area, message)
            .hint("Shown as text, in as many lines as you like."),
    );
    fields.push(
        Field::new(
            "lasting",
            "It will last about",
            Kind::Span(&["30m", "1h", "2h", "8h"]),
            asked.text("lasting"),
        )
        .hint("Users are told when to expect it open again."),
    );
    if label != "closed" {
        let blocked = if label == "closing" && !pool.intent.blocks_new {
            "at-deadline"
        } else {
            "now"
        };
        let chosen = asked.text("block_new").unwrap_or_else(|| blocked.into());
        let choices = vec![
            ("now", "From now on"),
            ("at-deadline", "Only at the deadline"),
        ];
        fields.push(Field::new(
            "block_new",
            "New sessions are refused",
            Kind::Choice(choices),
            Some(chosen),
        ));
    }
    if upgrades {
        let checked = pool.intent.until_upgraded || asked.has("until_upgraded");
        let label = "Open by itself when every server is upgraded";
        let field = Field::new(
            "until_upgraded",
            label,
            Kind::Check,
            checked.then(|| "1".into()),
        );
        fields.push(field);
    }
    fields
}

fn said_of_pool(pool: &PoolStatus, asked: &Fields, contact: Option<String>) -> Said {
    let now = clock().wall.0;
    let asked_within = asked.get("within").and_then(words::read_span);
    let at = act::moment(asked).ok().flatten();
    let within_ms = match (pool.intent.label.as_str(), asked_within, at) {
        ("closed", ..) => 0,
        (_, Some(within), _) => within,
        (_, None, Some(at)) => at.0.saturating_sub(now),
        ("closing", None, None) => pool.intent.left_ms.unwrap_or(0),
        _ if asked.has("within") => 0,
        _ => 15 * 60_000,
    };
    let lasting = asked.get("lasting").and_then(words::read_span);
    let ends = Timestamp(now.saturating_add(within_ms));
    let expected = lasting.map(|lasting| Timestamp(ends.0.saturating_add(lasting)));
    Said {
        message: match asked.has("message") {
            true => asked.text("message"),
            false => pool.intent.message.clone(),
        },
        within_ms,
        ends,
        is_pool: true,
        blocks_new: asked.get("block_new") != Some("at-deadline"),
        expected_end: expected.or(pool.intent.expected_end),
        contact,
    }
}

/// The panel for opening a pool.
pub(super) async fn open(desk: &Desk, asked: &Fields) -> Result<Panel, ApiError> {
    let pool = desk.pool(asked.get("pool").unwrap_or_default()).await?;
    let name = pool.name.clone();
    let command = Command::Open { pool: name.clone() };
    let seen = desk
        .app
        .inbox
        .look(move |driver, now| driver.rehearse(command, now));
    let seen = seen.await.ok_or_else(ApiError::stopping)?;
    let is_closing = pool.intent.label == "closing";
    let mut panel = Panel {
        what: Act::Open.label(),
        title: match is_closing {
            true => format!("Do not close {name} after all"),
            false => format!("Open {name}"),
        },
        lead: match is_closing {
            true => "The countdown ends, and users are told that it is off.".into(),
            false => {
                "Users are let in again, and who waits at the maintenance page goes on by itself."
                    .into()
            }
        },
        hidden: vec![("pool", name.clone()), ("basis", basis(&pool))],
        button: match is_closing {
            true => "Call it off".into(),
            false => format!("Open {name}"),
        },
        ..Panel::default()
    };
    match seen {
        Ok(text) => panel.facts.push(("It would be said", escape(&text))),
        Err(refusal) => panel.refusal = Some(refusal.text),
    }
    Ok(panel)
}
