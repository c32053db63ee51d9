//! What a change to a pool would do, shown before it is made.

use super::super::answer::{ApiError, Names};
use super::super::rebalance;
use super::act::{self, Act};
use super::desk::Desk;
use super::fields::Fields;
use super::offer::SPANS;
use super::panel::{Field, Kind, Panel};
use super::preview::{Preview, Said};
use super::words::{self, escape};
use crate::clock::clock;
use axum::Json;
use axum::extract::State;
use ebbtide_api::{Crowd, PoolStatus, RebalancePlan, Timestamp};
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
                .hint("If it is given, it counts, and not “Within”."),
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
        (_, _, Some(at)) => at.0.saturating_sub(now),
        (_, Some(within), None) => within,
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
    panel.rehearse(desk, Command::Open { pool: name }).await?;
    Ok(panel)
}

/// Sessions that a rebalance forgets in a second, if nobody says.
const RATE: u32 = 10;

/// The panel for a rebalance: which sessions it would forget, and where.
pub(super) async fn rebalance(desk: &Desk, asked: &Fields) -> Result<Panel, ApiError> {
    let pool = desk.pool(asked.get("pool").unwrap_or_default()).await?;
    let names = Names(pool.name.clone());
    let Json(plan) = rebalance::plan(State(desk.app.clone()), names).await?;
    let rate = asked.get("rate").and_then(|rate| rate.parse().ok());
    let rate: u32 = rate.unwrap_or(RATE);
    let seconds = plan.forgets.div_ceil(rate.max(1));
    let mut panel = Panel {
        what: Act::Rebalance.label(),
        title: format!("Rebalance {}", pool.name),
        lead:
            "Idle sessions on crowded servers are forgotten, some in a second: their users' next \
               requests begin sessions where there is room. Who is active stays."
                .into(),
        hidden: vec![("pool", pool.name.clone()), ("basis", basis(&pool))],
        fields: vec![
            Field::new(
                "rate",
                "Sessions in a second",
                Kind::Number,
                Some(asked.text("rate").unwrap_or_else(|| RATE.to_string())),
            )
            .hint("1 to 1000."),
        ],
        facts: vec![(
            "Would be forgotten",
            match plan.forgets {
                0 => "nobody: no server has more idle sessions than its share".to_owned(),
                some => format!(
                    "{} at most, in about {}",
                    words::sessions(some),
                    words::span(u64::from(seconds) * 1000)
                ),
            },
        )],
        button: match plan.forgets {
            0 => "Rebalance".into(),
            some => format!("Forget {}", words::sessions(some)),
        },
        is_harsh: plan.forgets > 0,
        ..Panel::default()
    };
    panel.facts.push(("Where", crowds(&plan)));
    if plan.awaited > 0 {
        let awaited = words::sessions(plan.awaited);
        let text =
            format!("{awaited} that were forgotten before and have not come back: they count");
        panel.facts.push(("Awaited", text));
    }
    let command = Command::Rebalance {
        pool: pool.name,
        rate,
    };
    panel.rehearse(desk, command).await?;
    Ok(panel)
}

/// How crowded each server is, as HTML.
fn crowds(plan: &RebalancePlan) -> String {
    let line = |crowd: &Crowd| {
        let forgets = match crowd.forgets {
            0 => "none is forgotten".to_owned(),
            some => format!(
                "<strong>{} idle would be forgotten</strong>",
                words::number(some)
            ),
        };
        format!(
            "<li>{}: {}, its share is {}: {forgets}</li>",
            escape(&crowd.server),
            words::sessions(crowd.sessions),
            words::number(crowd.level)
        )
    };
    let lines: String = plan.servers.iter().map(line).collect();
    match lines.is_empty() {
        true => "no server of the pool takes new sessions".into(),
        false => format!("<ul>{lines}</ul>"),
    }
}

/// The panel for stopping a rebalance.
pub(super) async fn stop_rebalance(desk: &Desk, asked: &Fields) -> Result<Panel, ApiError> {
    let pool = desk.pool(asked.get("pool").unwrap_or_default()).await?;
    let mut panel = Panel {
        what: Act::StopRebalance.label(),
        title: format!("Stop rebalancing {}", pool.name),
        lead: "No more sessions are forgotten. Those that were stay where they are now.".into(),
        hidden: vec![("pool", pool.name.clone())],
        button: "Stop it".into(),
        ..Panel::default()
    };
    let so_far = pool.rebalance.map(|one| words::sessions(one.forgotten));
    panel
        .facts
        .extend(so_far.map(|sessions| ("Forgotten so far", sessions)));
    let command = Command::StopRebalance { pool: pool.name };
    panel.rehearse(desk, command).await?;
    Ok(panel)
}
