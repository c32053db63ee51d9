//! `ebbtide status`: the page that an operator keeps open.

use crate::view::{Line, Piece, Style, table};
use ebbtide_api::{
    Agent, Name, PoolStatus, ServerStatus, Sickness, Status, Timestamp, Verification,
};
use ebbtide_core::{Millis, count};

const LEGEND: &str = "● takes new sessions   ◐ serves the sessions it has   ○ serves nobody";

/// The whole page, for lines of at most `width` characters.
pub fn page(status: &Status, width: usize) -> Vec<Line> {
    let mut lines = node_line(status).wrap(width, 0);
    if !status.node.store.ok {
        let why = status
            .node
            .store
            .failure
            .as_deref()
            .unwrap_or("no reason given");
        let text = format!("The store fails, so no change can be made: {why}");
        lines.extend(Line::of(Style::Bad, text).wrap(width, 0));
    }
    for pool in &status.pools {
        lines.push(Line::default());
        lines.extend(pool_line(pool).wrap(width, 0));
        lines.extend(closing_line(pool).map_or_else(Vec::new, |line| line.wrap(width, 0)));
        lines.extend(counting_line(pool).map_or_else(Vec::new, |line| line.wrap(width, 0)));
        for name in &pool.names {
            lines.extend(name_line(name).map_or_else(Vec::new, |line| line.wrap(width, 0)));
        }
        lines.extend(rebalance_line(pool).map_or_else(Vec::new, |line| line.wrap(width, 0)));
        lines.extend(table(pool_rows(pool), width));
    }
    lines.push(Line::default());
    lines.extend(Line::of(Style::Dim, LEGEND).wrap(width, 0));
    lines
}

fn node_line(status: &Status) -> Line {
    let node = &status.node;
    let stopping = if node.stopping { "   stopping" } else { "" };
    let mut text = format!(
        "Ebbtide {}{stopping}   up {}   generation {}",
        node.version,
        span(node.uptime_ms),
        node.generation
    );
    if node.acknowledged < node.generation {
        text.push_str(&format!(", a worker is still at {}", node.acknowledged));
    }
    let style = if node.stopping {
        Style::Warning
    } else {
        Style::Dim
    };
    Line::of(style, text)
}

fn pool_line(pool: &PoolStatus) -> Line {
    let short = pool.admitting < pool.minimum;
    let from = pool.reached_at();
    Line(vec![
        (Style::Bold, pool.name.clone()),
        (Style::Dim, format!("  {from}, {}, ", pool.balance)),
        (
            if short { Style::Bad } else { Style::Dim },
            format!(
                "{} of {} servers take new sessions, minimum {}",
                pool.admitting,
                pool.servers.iter().filter(|one| !is_removed(one)).count(),
                pool.minimum
            ),
        ),
    ])
}

/// That a pool is closing or closed, until when, by whom and what users are told.
fn closing_line(pool: &PoolStatus) -> Option<Line> {
    let intent = &pool.intent;
    let mut text = match (intent.label.as_str(), intent.deadline, intent.left_ms) {
        ("open", ..) => return None,
        (_, Some(at), Some(left)) => {
            format!("CLOSING at {}, {} left", clock_time(at), span(left))
        }
        (label, ..) => label.to_uppercase(),
    };
    let left: u32 = pool
        .servers
        .iter()
        .map(|server| server.sessions.active + server.sessions.idle)
        .sum();
    if intent.deadline.is_some() {
        text.push_str(&format!(", {} in it", count(left, "session")));
        if !intent.blocks_new {
            text.push_str(", new ones until then");
        }
    }
    if let Some(end) = intent.expected_end {
        text.push_str(&format!(", until about {}", clock_time(end)));
    }
    if intent.until_upgraded {
        text.push_str(", until it is upgraded");
    }
    if let Some(what) = &intent.waits_for {
        text.push_str(&format!(" ({what})"));
    }
    if let Some(by) = &intent.by {
        text.push_str(&format!(", by {by}"));
    }
    for words in intent.reason.iter().chain(&intent.message) {
        text.push_str(&format!(": {}", words.replace('\n', " ")));
    }
    Some(Line::of(Style::Bad, text))
}

/// What is wrong with a name whose addresses are servers.
fn name_line(name: &Name) -> Option<Line> {
    let trouble = name.trouble.as_ref()?;
    let text = format!("{} ({}): {trouble}", name.name, name.host);
    Some(Line::of(Style::Bad, text))
}

/// That idle sessions are being forgotten on crowded servers.
fn rebalance_line(pool: &PoolStatus) -> Option<Line> {
    let one = pool.rebalance?;
    let text = format!(
        "Being rebalanced, {} a second: {} forgotten, {} to go",
        one.rate,
        count(one.forgotten, "idle session"),
        one.left
    );
    Some(Line::of(Style::Warning, text))
}

/// That sessions from before a restart may still come.
fn counting_line(pool: &PoolStatus) -> Option<Line> {
    let until = clock_time(pool.counting_until?);
    let text = format!(
        "Started anew: sessions from before are counted once they are used; that may be until {until}"
    );
    Some(Line::of(Style::Dim, text))
}

fn pool_rows(pool: &PoolStatus) -> Vec<Vec<Piece>> {
    let heads = [
        "SERVER", "ADDRESS", "INTENT", "HEALTH", "STANDING", "ACTIVE", "IDLE", "MAX", "LOAD",
        "DEADLINE", "ALL GONE", "NOTE",
    ];
    let heads = heads.map(|head| (Style::Dim, head.to_owned())).to_vec();
    let servers = pool.servers.iter().map(server_row);
    std::iter::once(heads).chain(servers).collect()
}

fn server_row(server: &ServerStatus) -> Vec<Piece> {
    let plain = |text: String| (Style::Plain, text);
    let intent_style = match server.intent.label.as_str() {
        "ready" => Style::Plain,
        _ => Style::Warning,
    };
    let health_style = match server.health.state.as_str() {
        "up" => Style::Good,
        "down" => Style::Bad,
        _ => Style::Plain,
    };
    vec![
        (Style::Bold, server.name.clone()),
        plain(server.address.clone()),
        (intent_style, server.intent.label.clone()),
        (health_style, server.health.state.clone()),
        standing(server),
        plain(server.sessions.active.to_string()),
        plain(server.sessions.idle.to_string()),
        plain(
            server
                .max_sessions
                .map(|max| max.to_string())
                .unwrap_or_default(),
        ),
        load(server),
        (Style::Warning, deadline(server)),
        plain(forecast(server)),
        (Style::Dim, note(server)),
    ]
}

fn standing(server: &ServerStatus) -> Piece {
    let standing = &server.standing;
    let (style, mark) = match (standing.admits_new, standing.serves_own) {
        (true, _) => (Style::Good, '●'),
        (false, true) => (Style::Warning, '◐'),
        (false, false) if standing.reason == "down" => (Style::Bad, '○'),
        (false, false) => (Style::Dim, '○'),
    };
    let share = server.returning.map(|one| one.share_percent);
    let share = share.map(|percent| format!(", {percent} %"));
    let share = share.unwrap_or_default();
    (style, format!("{mark} {}{share}", standing.reason))
}

/// How busy its machine is, or the mark that this cannot be read.
fn load(server: &ServerStatus) -> Piece {
    let peak = server.peak_load.map(|peak| format!("(peak {peak} %)"));
    let peak = peak.unwrap_or_default();
    let Some(machine) = &server.machine else {
        return (Style::Plain, peak);
    };
    let over = matches!(server.standing.reason.as_str(), "over-peak" | "peak-zero");
    let (style, load) = match (machine.load_percent, &machine.no_metrics) {
        (_, Some(_)) => (Style::Warning, "no metrics".into()),
        (Some(percent), None) if over => (Style::Warning, format!("{percent} %")),
        (Some(percent), None) => (Style::Plain, format!("{percent} %")),
        (None, None) => (Style::Dim, "…".into()),
    };
    (style, format!("{load} {peak}").trim_end().to_owned())
}

fn deadline(server: &ServerStatus) -> String {
    match (server.intent.deadline, server.intent.left_ms) {
        (Some(at), Some(left)) => format!("{}, {} left", clock_time(at), span(left)),
        (Some(at), None) => clock_time(at),
        (None, _) => String::new(),
    }
}

/// Whether it has left the pool, and is only there for its sessions.
pub fn is_removed(server: &ServerStatus) -> bool {
    server.standing.reason == "removed"
}

/// When the server's sessions are likely to be gone by themselves.
pub fn forecast(server: &ServerStatus) -> String {
    match &server.forecast {
        Some(forecast) => match forecast.all_ms {
            Some(all) => format!("in about {}", span(all)),
            // When the last one leaves cannot be told: it has stayed longer than any before it, or
            // will probably meet the deadline.
            None => format!("half in about {}", span(forecast.half_ms)),
        },
        None if is_emptied(server) && server.sessions.all() > 0 => {
            "not known: too few have ended".into()
        }
        None => String::new(),
    }
}

/// Whether it is to lose its sessions, without new ones.
fn is_emptied(server: &ServerStatus) -> bool {
    ["hold", "drain"].contains(&server.intent.label.as_str()) || is_removed(server)
}

fn note(server: &ServerStatus) -> String {
    let mut notes = Vec::new();
    if is_removed(server) {
        notes.push("has left the pool, and is shown until its last session has ended".to_owned());
    }
    if let Some(why) = &server.health.why {
        notes.push(why.clone());
    }
    let no_metrics = server.machine.as_ref();
    if let Some(why) = no_metrics.and_then(|machine| machine.no_metrics.as_ref()) {
        notes.push(format!("no metrics: {why}"));
    }
    notes.extend(server.agent.as_ref().and_then(agent_note));
    notes.extend(server.sickness.as_ref().map(sickness_note));
    if server.intent.label != "ready" {
        let by = server.intent.by.iter().map(|by| format!("by {by}"));
        let reason = server.intent.reason.clone();
        notes.extend(
            by.chain(reason)
                .reduce(|by, reason| format!("{by}: {reason}")),
        );
    }
    if let Some(until) = server.counting_until {
        let until = clock_time(until);
        notes.push(format!(
            "sessions from before the restart may come until {until}"
        ));
    }
    notes.extend(server.verification.as_ref().map(verification_note));
    if let Some(returning) = server.returning {
        notes.push(format!(
            "returns slowly: all of its new sessions in {}",
            span(returning.left_ms)
        ));
    }
    let machine = server.machine.as_ref();
    notes.extend(machine.and_then(|machine| machine.over_peak.clone()));
    if server.peak_load == Some(0) {
        let before = server.peak_load_before;
        let before = before.map(|before| format!(" (before: {before} %)"));
        let before = before.unwrap_or_default();
        notes.push(format!("its peak load is 0: no new sessions{before}"));
    }
    if server.weight != 1 {
        notes.push(format!("weight {}", server.weight));
    }
    if let Some(places) = server.health.places {
        notes.push(format!("{places} places left by its page"));
    }
    if let Some(name) = &server.of_name {
        notes.push(format!("by the name {name}"));
    } else if server.live {
        notes.push("added live".into());
    } else if server.overridden {
        notes.push("set live".into());
    }
    notes.join("; ")
}

/// What the traffic of a server tells that looks sick.
fn sickness_note(sickness: &Sickness) -> String {
    let words = &sickness.words;
    match (sickness.held_ms, &sickness.spared) {
        (Some(left), _) => format!("sick: {words}; no new sessions for {}", span(left)),
        (None, Some(why)) => format!("looks sick: {words}; goes on all the same: {why}"),
        (None, None) => format!("looks sick: {words}"),
    }
}

/// What a server has shown so far that came out of maintenance.
fn verification_note(shown: &Verification) -> String {
    match &shown.failed {
        Some(why) => format!(
            "stays out, for it was not verified: {why}; `ebbtide ready` tries it once more, with --force \
             it takes sessions at once"
        ),
        None => format!("is being verified: {}", shown.progress),
    }
}

/// What an operator should know of a server's agent.
fn agent_note(agent: &Agent) -> Option<String> {
    let mut notes = Vec::new();
    if let Some(why) = &agent.no_agent {
        notes.push(format!("no agent: {why}"));
    }
    let word = match (agent.health.as_str(), agent.wish.as_str()) {
        // Why it is down is told already.
        ("up", "ready") => None,
        ("up", wish) => Some(wish),
        (..) => None,
    };
    if let Some(word) = word {
        let remark = agent.remark.as_ref();
        let remark = remark.map_or(String::new(), |remark| format!(": {remark}"));
        notes.push(format!("its agent says {word}{remark}"));
    }
    match (agent.weight_percent, agent.weight) {
        (Some(100), _) | (None, None) => {}
        (Some(percent), _) => notes.push(format!("{percent} % of its weight by its agent")),
        (None, Some(weight)) => notes.push(format!("weight {weight} by its agent")),
    }
    if let Some(max) = agent.max_sessions {
        notes.push(format!("at most {} by its agent", count(max, "session")));
    }
    if let Some(note) = &agent.note {
        notes.push(format!("its agent is not taken at its word: {note}"));
    }
    (!notes.is_empty()).then(|| notes.join("; "))
}

/// `14:05:09 UTC`.
pub fn clock_time(at: Timestamp) -> String {
    let text = at.to_string();
    let clock = text.split('T').nth(1).and_then(|rest| rest.get(..8));
    clock.map(|clock| format!("{clock} UTC")).unwrap_or(text)
}

/// A span to whole seconds, as people say it.
pub fn span(ms: u64) -> String {
    if ms < 1000 {
        return "0s".into();
    }
    Millis(ms).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebbtide_api::{
        Forecast, Health, Intent, Listener, Machine, Node, PoolIntent, SessionCounts, Sickness,
        Standing, StoreStatus,
    };

    fn server(
        name: &str,
        intent: &str,
        health: &str,
        standing: (bool, bool, &str),
    ) -> ServerStatus {
        ServerStatus {
            name: name.into(),
            address: "10.0.0.11:8080".into(),
            weight: 1,
            max_sessions: None,
            peak_load: None,
            peak_load_before: None,
            verification: None,
            returning: None,
            live: false,
            of_name: None,
            overridden: false,
            intent: Intent {
                label: intent.into(),
                since: None,
                by: None,
                reason: None,
                deadline: None,
                left_ms: None,
                message: None,
            },
            health: Health {
                state: health.into(),
                since: Timestamp(0),
                why: None,
                places: None,
            },
            machine: None,
            agent: None,
            traffic: None,
            sickness: None,
            standing: Standing {
                admits_new: standing.0,
                serves_own: standing.1,
                reason: standing.2.into(),
            },
            sessions: SessionCounts {
                active: 12,
                idle: 3,
            },
            epoch: 0,
            forecast: None,
            counting_until: None,
        }
    }

    fn open() -> PoolIntent {
        PoolIntent {
            label: "open".into(),
            since: None,
            by: None,
            reason: None,
            deadline: None,
            left_ms: None,
            blocks_new: false,
            message: None,
            expected_end: None,
            until_upgraded: false,
            waits_for: None,
        }
    }

    fn status(servers: Vec<ServerStatus>) -> Status {
        Status {
            node: Node {
                version: "0.1.0".into(),
                generation: 7,
                acknowledged: 7,
                uptime_ms: 65_400,
                stopping: false,
                store: StoreStatus {
                    ok: true,
                    failure: None,
                },
            },
            pools: vec![PoolStatus {
                name: "app".into(),
                balance: "least-sessions".into(),
                intent: open(),
                minimum: 1,
                admitting: 1,
                listeners: vec![Listener {
                    name: "web".into(),
                    address: "0.0.0.0:80".into(),
                }],
                servers,
                names: Vec::new(),
                counting_until: None,
                rebalance: None,
            }],
        }
    }

    fn rendered(status: &Status) -> String {
        rendered_in(status, usize::MAX)
    }

    fn rendered_in(status: &Status, width: usize) -> String {
        let lines: Vec<String> = page(status, width)
            .iter()
            .map(|line| line.render(false, width))
            .collect();
        lines.join("\n")
    }

    #[test]
    fn a_name_that_is_not_well_is_told_of_above_its_servers() {
        let mut web = server("web-1", "ready", "up", (true, true, "ready"));
        web.live = true;
        web.of_name = Some("web".into());
        let mut status = status(vec![web]);
        status.pools[0].names = vec![Name {
            name: "web".into(),
            host: "web.internal".into(),
            addresses: 1,
            age_ms: Some(60_000),
            trouble: Some("has no address".into()),
        }];
        let shown = rendered(&status);
        assert!(
            shown.contains("\nweb (web.internal): has no address\n"),
            "{shown}"
        );
        assert!(shown.contains("by the name web"), "{shown}");
    }

    #[test]
    fn what_an_agent_says_is_a_note() {
        let agent = |health: &str, wish: &str, percent, why: Option<&str>| Agent {
            wish: wish.into(),
            health: health.into(),
            weight_percent: percent,
            weight: None,
            max_sessions: None,
            remark: Some("new disks".into()),
            note: None,
            age_ms: Some(5),
            no_agent: why.map(str::to_owned),
        };
        for (agent, note) in [
            (agent("up", "ready", Some(100), None), None),
            (
                agent("up", "drain", None, None),
                Some("its agent says drain: new disks"),
            ),
            (
                agent("up", "ready", Some(40), None),
                Some("40 % of its weight by its agent"),
            ),
            (
                agent("up", "maint", None, Some("connection refused")),
                Some("no agent: connection refused; its agent says maint: new disks"),
            ),
        ] {
            assert_eq!(agent_note(&agent).as_deref(), note);
        }
    }

    #[test]
    fn a_page_with_a_drain_and_a_server_that_is_down() {
        let ready = server("web1", "ready", "up", (true, true, "ready"));
        let mut drained = server("web2", "drain", "up", (false, true, "draining"));
        drained.intent.deadline = Some(Timestamp(1_769_846_709_042));
        drained.intent.left_ms = Some(125_999);
        drained.intent.by = Some("anna".into());
        drained.intent.reason = Some("kernel".into());
        drained.max_sessions = Some(500);
        drained.forecast = Some(Forecast {
            half_ms: 20_000,
            all_ms: Some(90_000),
            samples: 20,
        });
        let mut down = server("web3", "ready", "down", (false, false, "down"));
        down.health.why = Some("connection refused".into());
        assert_eq!(
            rendered(&status(vec![ready, drained, down])),
            "\
Ebbtide 0.1.0   up 1m 5s   generation 7

app  0.0.0.0:80, least-sessions, 1 of 3 servers take new sessions, minimum 1
  SERVER  ADDRESS         INTENT  HEALTH  STANDING    ACTIVE  IDLE  MAX  DEADLINE                  ALL GONE         NOTE
  web1    10.0.0.11:8080  ready   up      ● ready     12      3
  web2    10.0.0.11:8080  drain   up      ◐ draining  12      3     500  08:05:09 UTC, 2m 5s left  in about 1m 30s  by anna: kernel
  web3    10.0.0.11:8080  ready   down    ○ down      12      3                                                     connection refused

● takes new sessions   ◐ serves the sessions it has   ○ serves nobody"
        );
    }

    #[test]
    fn a_sick_server_is_told_with_what_comes_of_it() {
        let words =
            "42 % of its 118 requests in 10s failed (50 answered 5xx); the pool's median is 0 %";
        let sickness = |held_ms, spared: Option<&str>| {
            Some(Sickness {
                words: words.to_owned(),
                since: Timestamp(0),
                held_ms,
                spared: spared.map(str::to_owned),
            })
        };
        let mut held = server("web1", "ready", "up", (false, true, "sick"));
        held.sickness = sickness(Some(25_000), None);
        let mut spared = server("web2", "ready", "up", (true, true, "ready"));
        spared.sickness = sickness(None, Some("the pool needs 2 that take new sessions"));
        let notes = [&held, &spared].map(note);
        let expected = [
            format!("sick: {words}; no new sessions for 25s"),
            format!(
                "looks sick: {words}; goes on all the same: the pool needs 2 that take new sessions"
            ),
        ];
        assert_eq!(notes, expected);
    }

    #[test]
    fn how_busy_machines_are_is_told_where_it_is_read() {
        let machine = |percent, lost: Option<&str>| {
            Some(Machine {
                load_percent: percent,
                age_ms: percent.map(|_| 900),
                no_metrics: lost.map(str::to_owned),
                over_peak: percent
                    .filter(|percent| *percent > 80)
                    .map(|_| "its load is 91 %, above its peak load".into()),
            })
        };
        let mut well = server("web1", "ready", "up", (true, true, "ready"));
        well.machine = machine(Some(34), None);
        let mut busy = server("web2", "ready", "up", (false, true, "over-peak"));
        busy.machine = machine(Some(91), None);
        busy.peak_load = Some(80);
        let mut lost = server("web3", "ready", "up", (true, true, "ready"));
        lost.machine = machine(None, Some("connection refused"));
        let mut zero = server("web4", "ready", "up", (false, true, "peak-zero"));
        (zero.peak_load, zero.peak_load_before) = (Some(0), Some(80));
        let page = rendered(&status(vec![well, busy, lost, zero]));
        let rows = [
            "LOAD              NOTE",
            "34 %",
            "91 % (peak 80 %)  its load is 91 %, above its peak load",
            "no metrics        no metrics: connection refused",
            "(peak 0 %)        its peak load is 0: no new sessions (before: 80 %)",
        ];
        for (row, line) in rows.iter().zip(page.lines().skip(3)) {
            assert!(line.ends_with(row), "{row:?} does not end:\n{page}");
        }
    }

    #[test]
    fn in_a_narrow_terminal_the_last_columns_stand_under_their_rows() {
        let mut drained = server("web2", "drain", "up", (false, true, "draining"));
        drained.intent.deadline = Some(Timestamp(1_769_846_709_042));
        drained.intent.left_ms = Some(125_999);
        drained.intent.by = Some("anna".into());
        drained.intent.reason =
            Some("a new kernel, and then the disk that has been failing".into());
        drained.forecast = Some(Forecast {
            half_ms: 20_000,
            all_ms: None,
            samples: 20,
        });
        let ready = server("web1", "ready", "up", (true, true, "ready"));
        let status = status(vec![ready, drained]);
        let text = rendered_in(&status, 80);
        let rows: Vec<&str> = text.lines().skip(2).take(6).collect();
        assert_eq!(
            rows.join("\n"),
            "\
app  0.0.0.0:80, least-sessions, 1 of 2 servers take new sessions, minimum 1
  SERVER  ADDRESS         INTENT  HEALTH  STANDING    ACTIVE  IDLE
  web1    10.0.0.11:8080  ready   up      ● ready     12      3
  web2    10.0.0.11:8080  drain   up      ◐ draining  12      3
      DEADLINE 08:05:09 UTC, 2m 5s left   ALL GONE half in about 20s   NOTE by
      anna: a new kernel, and then the disk that has been failing"
        );
        for width in 20..200 {
            let text = rendered_in(&status, width);
            let text: String = text.split_whitespace().collect();
            for part in ["draining", "08:05:09UTC,2m5sleft", "hasbeenfailing"] {
                assert!(text.contains(part), "{width}: {text}");
            }
        }
    }

    #[test]
    fn a_node_that_stops_says_so_first() {
        let mut stopping = status(Vec::new());
        stopping.node.stopping = true;
        let text = rendered(&stopping);
        assert!(text.starts_with("Ebbtide 0.1.0   stopping"), "{text}");
    }

    #[test]
    fn a_drain_that_still_counts_after_a_restart_says_so() {
        let mut drained = server("web1", "drain", "up", (false, true, "draining"));
        drained.counting_until = Some(Timestamp(1_769_846_709_042));
        let text = rendered(&status(vec![drained]));
        assert!(text.contains("sessions from before the restart may come until 08:05:09 UTC"));
    }

    #[test]
    fn soon_after_a_restart_the_page_says_that_sessions_may_still_come() {
        let mut restarted = status(Vec::new());
        assert!(!rendered(&restarted).contains("Started anew"));
        restarted.pools[0].counting_until = Some(Timestamp(1_769_846_709_042));
        let text = rendered(&restarted);
        assert!(text.contains("Started anew: sessions from before are counted once they are used"));
        assert!(text.contains("until 08:05:09 UTC"), "{text}");
    }

    #[test]
    fn a_message_of_several_lines_takes_one_line_of_the_page() {
        let mut closed = status(Vec::new());
        closed.pools[0].intent.label = "closed".into();
        closed.pools[0].intent.by = Some("olga".into());
        closed.pools[0].intent.message = Some("Back at six.\nSorry.".into());
        let text = rendered(&closed);
        assert!(
            text.contains("CLOSED, by olga: Back at six. Sorry."),
            "{text}"
        );
    }

    #[test]
    fn columns_that_nobody_needs_are_not_there() {
        let text = rendered(&status(vec![server(
            "web1",
            "ready",
            "up",
            (true, true, "ready"),
        )]));
        for head in ["MAX", "DEADLINE", "ALL GONE", "NOTE"] {
            assert!(!text.contains(head), "{text}");
        }
    }

    #[test]
    fn colours_are_left_out_and_lines_are_cut_where_asked() {
        let line = Line(vec![
            (Style::Bad, "down".into()),
            (Style::Plain, " now".into()),
        ]);
        assert_eq!(line.render(true, 80), "\x1b[31mdown\x1b[0m now");
        assert_eq!(line.render(false, 6), "down n");
    }
}
