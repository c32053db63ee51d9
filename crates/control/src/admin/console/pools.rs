//! The first page: each pool a band, each server a row as long as its capacity.

use super::super::answer::ApiError;
use super::Drawn;
use super::capacity::Capacity;
use super::chart;
use super::desk::Desk;
use super::fields::Fields;
use super::notes::{self, Note};
use super::words::{self, Look, number, percent};
use askama::Template;
use ebbtide_api::{PoolStatus, Rebalance, ServerStatus};
use ebbtide_core::{PoolConfig, Protocol, Snapshot};

/// Servers drawn at a time: more are found by their name.
const SERVERS_SHOWN_MAX: usize = 100;
/// From so many servers on there is a field to find one.
const FIND_FROM: usize = 12;

#[derive(Template)]
#[template(path = "pools.html")]
struct Page<'a> {
    bands: Vec<Band>,
    find: Option<&'a str>,
    can_find: bool,
    sessions: String,
    servers: usize,
    ready: usize,
    hidden: usize,
}

struct Band {
    name: String,
    look: Look,
    about: String,
    admitting: String,
    is_short: bool,
    sessions: String,
    room: Option<String>,
    /// HTML.
    counting: Option<String>,
    /// Names whose addresses are servers, and what is wrong with them.
    troubles: Vec<String>,
    /// Names whose addresses are servers, and what came of them.
    names: Option<String>,
    rebalance: Option<String>,
    rows: Vec<Row>,
    actions: Vec<Action>,
    has_replicas: bool,
}

struct Row {
    name: String,
    href: String,
    look: Look,
    /// HTML, as what follows it.
    bar: String,
    load: Option<(String, String)>,
    counts: String,
    limit: Option<String>,
    words: String,
    deadline: Option<String>,
    forecast: Option<String>,
    address: String,
    notes: Vec<Note>,
    actions: Vec<Action>,
}

/// Something to click.
pub(super) struct Action {
    pub words: &'static str,
    pub href: String,
    /// Among the first to be reached for.
    pub is_main: bool,
}

pub(super) async fn draw(desk: &Desk, asked: &Fields) -> Result<Drawn, ApiError> {
    let status = desk.status().await?;
    let snapshot = desk.app.snapshot();
    let find = asked.get("find");
    let all: Vec<&ServerStatus> = status.pools.iter().flat_map(|pool| &pool.servers).collect();
    let mut room = SERVERS_SHOWN_MAX;
    let mut hidden = 0;
    let mut bands = Vec::new();
    for pool in &status.pools {
        let fits = |server: &&ServerStatus| {
            let of = format!("{}/{} {}", pool.name, server.name, server.address);
            find.is_none_or(|find| of.contains(find))
        };
        let found: Vec<&ServerStatus> = pool.servers.iter().filter(fits).collect();
        let shown = found.len().min(room);
        room -= shown;
        hidden += found.len() - shown;
        if find.is_none() || shown > 0 {
            bands.push(band(desk, pool, &found[..shown], &snapshot));
        }
    }
    let sessions = all
        .iter()
        .map(|server| u64::from(server.sessions.all()))
        .sum::<u64>();
    let page = Page {
        bands,
        find,
        can_find: all.len() >= FIND_FROM,
        sessions: number(sessions),
        servers: all.len(),
        ready: all
            .iter()
            .filter(|server| server.standing.admits_new)
            .count(),
        hidden,
    };
    Drawn::new("Pools", &page)
}

fn band(desk: &Desk, pool: &PoolStatus, servers: &[&ServerStatus], snapshot: &Snapshot) -> Band {
    let view = snapshot.pool_named(&pool.name);
    let config = view.map(|view| &*view.config);
    let sessions: u32 = pool
        .servers
        .iter()
        .map(|server| server.sessions.all())
        .sum();
    let from = pool.reached_at();
    let in_pool = pool
        .servers
        .iter()
        .filter(|server| server.standing.reason != "removed");
    let scale = chart::scale(&pool.servers);
    let may_change = desk.may_change();
    let row = |server: &&ServerStatus| row(pool, server, scale, config, may_change);
    Band {
        name: pool.name.clone(),
        look: words::pool_look(pool),
        about: format!(
            "{} on {from}, {}",
            config.map_or("", |config| config.protocol.label()),
            pool.balance
        ),
        admitting: format!(
            "{} of {} servers take new sessions; minimum {}",
            pool.admitting,
            in_pool.count(),
            pool.minimum
        ),
        is_short: pool.admitting < pool.minimum,
        sessions: words::sessions(sessions),
        room: room(pool),
        counting: pool.counting_until.map(words::time),
        troubles: troubles(pool),
        names: names(pool),
        rebalance: pool.rebalance.map(rebalance),
        rows: servers.iter().map(row).collect(),
        actions: if may_change {
            pool_actions(pool, config)
        } else {
            Vec::new()
        },
        has_replicas: view.is_some_and(|view| !view.replicas.resources.is_empty()),
    }
}

fn troubles(pool: &PoolStatus) -> Vec<String> {
    let names = pool.names.iter();
    let told = names.filter_map(|name| {
        let trouble = name.trouble.as_ref()?;
        Some(format!("The name {}: {trouble}", name.host))
    });
    told.collect()
}

fn names(pool: &PoolStatus) -> Option<String> {
    let names = pool.names.iter().filter(|name| name.trouble.is_none());
    let told: Vec<String> = names.map(notes::name).collect();
    (!told.is_empty()).then(|| format!("Servers by name: {}.", told.join("; ")))
}

fn rebalance(one: Rebalance) -> String {
    format!(
        "Being rebalanced: {} forgotten so far, {} still to be looked at, {} in a second.",
        words::sessions(one.forgotten),
        number(one.left),
        number(one.rate)
    )
}

/// How many more sessions the pool could take, where that is limited.
fn room(pool: &PoolStatus) -> Option<String> {
    let servers = pool.servers.iter();
    let room = Capacity::of_all(servers.filter(|server| server.standing.admits_new))?;
    Some(format!("room for {} more", number(room.left)))
}

fn pool_actions(pool: &PoolStatus, config: Option<&PoolConfig>) -> Vec<Action> {
    let action = |words, what: &str, is_main| Action {
        words,
        href: format!("/do/{what}?pool={}", percent(&pool.name)),
        is_main,
    };
    let add = action("Add server", "add", false);
    // Elsewhere a session is a connection: there are no idle ones to be placed anew.
    let is_http = config.is_some_and(|config| config.protocol == Protocol::Http);
    let spread = match pool.rebalance {
        Some(_) => Some(action("Stop rebalancing", "stop-rebalance", true)),
        None => {
            (is_http && pool.servers.len() > 1).then(|| action("Rebalance", "rebalance", false))
        }
    };
    let rest = match pool.intent.label.as_str() {
        "open" => vec![add, action("Close pool", "close", false)],
        "closing" => vec![
            add,
            action("Change closing", "close", false),
            action("Do not close", "open", true),
        ],
        _ => vec![
            add,
            action("Change what users see", "close", false),
            action("Open pool", "open", true),
        ],
    };
    spread.into_iter().chain(rest).collect()
}

fn row(
    pool: &PoolStatus,
    server: &ServerStatus,
    scale: u32,
    config: Option<&PoolConfig>,
    may_change: bool,
) -> Row {
    let name = format!("{}/{}", pool.name, server.name);
    let sessions = server.sessions;
    let actions = match may_change {
        true => actions(&name, server, config),
        false => Vec::new(),
    };
    Row {
        href: format!("/servers/{name}"),
        look: words::standing(&server.standing.reason),
        bar: chart::bar(server, scale),
        load: load(server),
        counts: number(sessions.all()),
        limit: server.max_sessions.map(number),
        words: format!(
            "{} active, {} idle",
            number(sessions.active),
            number(sessions.idle)
        ),
        deadline: deadline(server),
        forecast: forecast(server),
        address: server.address.clone(),
        notes: notes::notes(server),
        name: server.name.clone(),
        actions,
    }
}

/// Until when its sessions may stay, as HTML.
pub(super) fn deadline(server: &ServerStatus) -> Option<String> {
    let (at, left) = (server.intent.deadline?, server.intent.left_ms?);
    Some(format!(
        "ends at {}, {} left",
        words::time(at),
        words::countdown(at, left)
    ))
}

/// When its sessions will probably be gone.
pub(super) fn forecast(server: &ServerStatus) -> Option<String> {
    let leaves = ["held", "draining", "removed"].contains(&server.standing.reason.as_str());
    if !leaves || server.sessions.all() == 0 {
        return None;
    }
    Some(match &server.forecast {
        None => "when they go cannot be told yet".into(),
        Some(forecast) => match forecast.all_ms {
            Some(all) => format!("probably all gone in {}", words::about(all)),
            None => format!("half probably gone in {}", words::about(forecast.half_ms)),
        },
    })
}

/// A machine's load: its picture and its words.
pub(super) fn load(server: &ServerStatus) -> Option<(String, String)> {
    let machine = server.machine.as_ref();
    let percent = machine.and_then(|machine| machine.load_percent);
    let peak = server.peak_load;
    if machine.is_none() && peak.is_none() {
        return None;
    }
    let no_metrics = machine.is_some_and(|machine| machine.no_metrics.is_some());
    let load = match percent {
        _ if no_metrics => "load not known".to_owned(),
        Some(percent) => format!("load {percent} %"),
        None => "load …".to_owned(),
    };
    let peak_text = peak.map(|peak| format!(", peak {peak} %"));
    let words = format!("{load}{}", peak_text.unwrap_or_default());
    Some((chart::load(percent, peak), words))
}

fn is_sick(server: &ServerStatus) -> bool {
    server.standing.reason == "sick"
}

/// What can be done with a server, what is reached for most at first.
pub(super) fn actions(
    name: &str,
    server: &ServerStatus,
    config: Option<&PoolConfig>,
) -> Vec<Action> {
    let action = |words, what: &str, is_main| Action {
        words,
        href: format!("/do/{what}?server={}", percent(name)),
        is_main,
    };
    let (ready, hold) = (action("Ready", "ready", true), action("Hold", "hold", true));
    let drain = action("Drain", "drain", true);
    let maintenance = action("Maintenance", "maintenance", true);
    let is_removed = server.standing.reason == "removed";
    let mut actions = match server.intent.label.as_str() {
        // What it has to show, or has shown, does not bind the operator.
        "ready" if server.verification.is_some() || is_sick(server) => {
            vec![ready, hold, drain, maintenance]
        }
        "ready" => vec![hold, drain, maintenance],
        "hold" => vec![ready, drain, maintenance],
        "drain" => vec![
            ready,
            action("More or less time", "drain", true),
            action("End now", "maintenance", true),
        ],
        _ => vec![ready],
    };
    if server.returning.is_some() {
        actions.push(action("All at once", "all-at-once", true));
    }
    let moves = config.is_some_and(PoolConfig::moves_sessions);
    if moves && server.intent.label != "maintenance" {
        actions.push(action("Stop", "stop", false));
    }
    if is_removed {
        return actions;
    }
    if moves && server.intent.label == "ready" {
        actions.push(action("Drill", "drill", false));
    }
    if config.is_some_and(|config| config.protocol != Protocol::Tcp) {
        actions.push(action("Door", "door", false));
    }
    actions.push(action("Limits", "set", false));
    actions.push(action("Forget", "forget", false));
    if server.live && server.of_name.is_none() {
        actions.push(action("Remove", "remove", false));
    }
    actions
}
