//! One server: the curve of its sessions, when they will be gone, and who is left.

use super::super::answer::ApiError;
use super::Drawn;
use super::chart::{self, Drain};
use super::desk::Desk;
use super::notes::{self, Note};
use super::outlook::Outlook;
use super::pools::{self, Action};
use super::sessions::{Head, Listing, Wish};
use super::words::{self, Look, percent};
use crate::clock::clock;
use askama::Template;
use ebbtide_api::ServerStatus;
use ebbtide_core::{Millis, Now};

#[derive(Template)]
#[template(path = "server.html")]
struct Page {
    pool: String,
    name: String,
    look: Look,
    bar: String,
    load: Option<(String, String)>,
    /// Names, and values as HTML.
    facts: Vec<(&'static str, String)>,
    notes: Vec<Note>,
    counts: String,
    split: String,
    deadline: Option<String>,
    message: Option<String>,
    /// HTML.
    foretold: Vec<String>,
    rests_on: Option<String>,
    picture: String,
    narrow_picture: String,
    listing: Listing,
    heads: Vec<Head>,
    may_change: bool,
    actions: Vec<Action>,
    quick: Vec<Action>,
    all: String,
    tell_all: Option<String>,
    is_leaving: bool,
}

pub(super) async fn draw(desk: &Desk, pool: &str, name: &str) -> Result<Drawn, ApiError> {
    let server = desk.server(pool, name).await?;
    let snapshot = desk.app.snapshot();
    let now = clock();
    let within = server.intent.left_ms.map(Millis);
    let outlook = Outlook::of(&desk.app, pool, name, within).await?;
    let is_leaving = ["held", "draining", "removed"].contains(&server.standing.reason.as_str());
    // Of a server that goes on there is nothing to foretell.
    let outlook = outlook.filter(|_| is_leaving);
    let curve = desk.room.history.curve(pool, name);
    let drain = Drain {
        curve: &curve,
        outlook: outlook.as_ref(),
        sessions: server.sessions.all(),
        deadline: deadline(&server, now),
        now,
    };
    let asked = super::Fields::of_query(&format!("pool={pool}&server={name}&sort=heard"));
    let listing = Wish::read(&asked, &snapshot)?.list(desk).await?;
    let config = snapshot.pool_named(pool).map(|pool| &*pool.config);
    let full_name = format!("{pool}/{name}");
    let may_change = desk.may_change();
    let page = Page {
        picture: drain.svg(960, 300),
        narrow_picture: drain.svg(380, 240),
        pool: pool.to_owned(),
        name: name.to_owned(),
        look: words::standing(&server.standing.reason),
        bar: chart::bar(&server, chart::scale(std::slice::from_ref(&server))),
        load: pools::load(&server),
        facts: notes::facts(&server),
        notes: notes::notes(&server),
        counts: words::sessions(server.sessions.all()),
        split: format!(
            "{} active, {} idle",
            words::number(server.sessions.active),
            words::number(server.sessions.idle)
        ),
        deadline: pools::deadline(&server),
        message: server.intent.message.clone(),
        rests_on: outlook.as_ref().map(|outlook| {
            format!(
                "From how long {} earlier sessions of this pool lasted, and how long those have \
                 lasted that are still open. The band holds nine outcomes of ten.",
                outlook.samples
            )
        }),
        foretold: outlook.as_ref().map_or_else(Vec::new, Outlook::sentences),
        heads: Head::plain(),
        actions: match may_change {
            true => pools::actions(&full_name, &server, config),
            false => Vec::new(),
        },
        quick: match may_change {
            true => quick(&full_name, &server),
            false => Vec::new(),
        },
        all: format!("/sessions?pool={pool}&server={name}"),
        tell_all: (may_change
            && listing.count > 0
            && config.is_some_and(|config| config.why_untold().is_none()))
        .then(|| format!("/do/tell?pool={pool}&server={name}")),
        listing,
        may_change,
        is_leaving,
    };
    Drawn::new(full_name, &page)
}

fn deadline(server: &ServerStatus, now: Now) -> Option<ebbtide_core::Moment> {
    let left = server.intent.left_ms?;
    Some(now.moment.plus(Millis(left)))
}

/// What is done to a drain that is under way.
fn quick(name: &str, server: &ServerStatus) -> Vec<Action> {
    let Some(left) = server.intent.left_ms else {
        return Vec::new();
    };
    let more = |words, more_ms: u64| Action {
        words,
        href: format!(
            "/do/drain?server={}&within={}",
            percent(name),
            percent(&words::span(left.div_ceil(60_000) * 60_000 + more_ms))
        ),
        is_main: false,
    };
    vec![
        more("10 minutes more", 600_000),
        more("30 minutes more", 1_800_000),
        Action {
            words: "Tell users something else",
            href: format!("/do/drain?server={}", percent(name)),
            is_main: false,
        },
    ]
}
