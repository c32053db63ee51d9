//! Maintenance mode: which pools are closing or closed, who is still in, and how that is ended.

use super::super::answer::ApiError;
use super::Drawn;
use super::desk::Desk;
use super::fields::Fields;
use super::pools::Action;
use super::sessions::{Head, Listing, Wish};
use super::words::{self, Look, percent};
use askama::Template;
use ebbtide_api::PoolStatus;

#[derive(Template)]
#[template(path = "maintenance.html")]
struct Page {
    pools: Vec<Pool>,
    may_change: bool,
}

struct Pool {
    name: String,
    look: Look,
    is_open: bool,
    facts: Vec<(&'static str, String)>,
    message: Option<String>,
    actions: Vec<Action>,
    listing: Listing,
    heads: Vec<Head>,
}

pub(super) async fn draw(desk: &Desk) -> Result<Drawn, ApiError> {
    let status = desk.status().await?;
    let mut pools = Vec::new();
    for pool in &status.pools {
        pools.push(shown(desk, pool).await?);
    }
    let page = Page {
        pools,
        may_change: desk.may_change(),
    };
    Drawn::new("Maintenance", &page)
}

async fn shown(desk: &Desk, pool: &PoolStatus) -> Result<Pool, ApiError> {
    let is_open = pool.intent.label == "open";
    let listing = match is_open {
        true => Listing::default(),
        false => {
            let asked = Fields::of_query(&format!("pool={}&sort=heard", pool.name));
            Wish::read(&asked, &desk.app.snapshot())?.list(desk).await?
        }
    };
    let action = |words, what: &str, is_main| Action {
        words,
        href: format!("/do/{what}?pool={}", percent(&pool.name)),
        is_main,
    };
    let actions = match (desk.may_change(), pool.intent.label.as_str()) {
        (false, _) => Vec::new(),
        (_, "open") => vec![action("Close it", "close", true)],
        (_, "closing") => vec![
            action("Do not close", "open", true),
            action("Change time or message", "close", false),
        ],
        _ => vec![
            action("Open it", "open", true),
            action("Change what users see", "close", false),
        ],
    };
    Ok(Pool {
        look: words::pool_look(pool),
        facts: facts(pool),
        message: pool.intent.message.clone(),
        name: pool.name.clone(),
        is_open,
        actions,
        listing,
        heads: Head::plain(),
    })
}

/// What is known of its closing, as HTML.
fn facts(pool: &PoolStatus) -> Vec<(&'static str, String)> {
    let intent = &pool.intent;
    let sessions: u32 = pool
        .servers
        .iter()
        .map(|server| server.sessions.all())
        .sum();
    let mut facts = Vec::new();
    if let (Some(at), Some(left)) = (intent.deadline, intent.left_ms) {
        let text = format!(
            "at {}, {} left",
            words::time(at),
            words::countdown(at, left)
        );
        facts.push(("Closes", text));
        let new = match intent.blocks_new {
            true => "refused already",
            false => "let in until then",
        };
        facts.push(("New sessions", new.to_owned()));
    }
    if intent.label == "open" {
        return vec![("Sessions", words::number(sessions))];
    }
    facts.push(("Still in", words::sessions(sessions)));
    let since = intent.since.map(words::date);
    facts.extend(since.map(|since| ("Since", since)));
    let end = intent.expected_end.map(words::date);
    facts.extend(end.map(|end| ("Expected to open", end)));
    if intent.until_upgraded {
        let waits = intent.waits_for.as_deref().map(words::escape);
        let waits = waits.unwrap_or_else(|| "every server's version page".into());
        facts.push((
            "Opens by itself",
            format!("when it is upgraded; waits for {waits}"),
        ));
    }
    let by = intent.by.as_deref().map(words::escape);
    facts.extend(by.map(|by| ("By", by)));
    let reason = intent.reason.as_deref().map(words::escape);
    facts.extend(reason.map(|reason| ("Why", reason)));
    facts
}
