//! What there is to say of a server beyond its standing's words: who wanted it, what probes, its traffic,
//! its agent and its machine tell, and how it comes back.

use super::words::{countdown, escape, number, span, time};
use ebbtide_api::{Agent, ServerStatus, Sickness, Traffic, Verification};

/// A remark.
#[derive(Debug)]
pub(super) struct Note {
    /// The class that colours it: `warn`, `bad`, or nothing.
    pub tone: &'static str,
    pub html: String,
}

fn plain(text: impl AsRef<str>) -> Note {
    Note {
        tone: "",
        html: escape(text.as_ref()),
    }
}

fn warning(text: impl AsRef<str>) -> Note {
    Note {
        tone: "warn",
        ..plain(text)
    }
}

/// The remarks about a server, what matters most at first.
pub(super) fn notes(server: &ServerStatus) -> Vec<Note> {
    let mut notes = Vec::new();
    if server.intent.label != "ready" {
        let by = server.intent.by.iter().map(|by| format!("by {by}"));
        let told = by.chain(server.intent.reason.clone());
        let told = told.reduce(|by, reason| format!("{by}: {reason}"));
        notes.extend(told.map(plain));
    }
    notes.extend(server.health.why.as_ref().map(plain));
    notes.extend(server.sickness.as_ref().map(sickness));
    notes.extend(server.verification.as_ref().map(verification));
    if let Some(returning) = server.returning {
        notes.push(Note {
            tone: "",
            html: format!(
                "returns slowly: {} % of its new sessions now, all of them in {}",
                returning.share_percent,
                countdown(returning.until, returning.left_ms)
            ),
        });
    }
    let machine = server.machine.as_ref();
    let no_metrics = machine.and_then(|machine| machine.no_metrics.as_ref());
    notes.extend(no_metrics.map(|why| warning(format!("no metrics: {why}"))));
    notes.extend(server.agent.iter().flat_map(agent));
    let over_peak = machine.and_then(|machine| machine.over_peak.as_ref());
    notes.extend(over_peak.map(plain));
    notes.extend(peak_zero(server).map(plain));
    if let Some(until) = server.counting_until {
        let html = format!(
            "sessions from before the restart may come until {}",
            time(until)
        );
        notes.push(Note { tone: "", html });
    }
    notes.extend(origin(server));
    notes
}

/// What its traffic tells that looks sick, and how it comes back.
fn sickness(sickness: &Sickness) -> Note {
    let (words, since) = (escape(&sickness.words), time(sickness.since));
    let (tone, html) = match (sickness.held_ms, &sickness.spared) {
        (Some(left), _) => (
            "bad",
            format!(
                "sick since {since}: {words}; no new sessions for {}, or until you say Ready",
                span(left)
            ),
        ),
        (None, Some(why)) => (
            "warn",
            format!(
                "looks sick since {since}: {words}; goes on all the same: {}",
                escape(why)
            ),
        ),
        (None, None) => ("warn", format!("looks sick since {since}: {words}")),
    };
    Note { tone, html }
}

/// What it has shown so far that came out of maintenance.
fn verification(shown: &Verification) -> Note {
    if let Some(why) = &shown.failed {
        return Note {
            tone: "bad",
            html: format!(
                "stays out, for it was not verified: {}; Ready tries it once more, and can force it",
                escape(why)
            ),
        };
    }
    let progress = escape(&shown.progress);
    let html = match (shown.until, shown.left_ms) {
        (Some(at), Some(left)) => format!(
            "is being verified: {progress}; it has {} to show that it is well",
            countdown(at, left)
        ),
        _ => format!("is being verified: {progress}"),
    };
    Note { tone: "", html }
}

fn agent(agent: &Agent) -> Vec<Note> {
    let mut notes = Vec::new();
    let why = agent.no_agent.as_ref();
    notes.extend(why.map(|why| warning(format!("no agent: {why}"))));
    // Why it is down is told already.
    if agent.health == "up" && agent.wish != "ready" {
        let remark = agent.remark.as_ref();
        let remark = remark.map_or(String::new(), |remark| format!(": {remark}"));
        notes.push(warning(format!("its agent says {}{remark}", agent.wish)));
    }
    let note = agent.note.as_ref();
    notes.extend(note.map(|note| warning(format!("its agent is not taken at its word: {note}"))));
    notes.extend(agent_weight(agent).map(plain));
    let max = agent.max_sessions;
    notes.extend(max.map(|max| plain(format!("at most {} sessions by its agent", number(max)))));
    notes
}

fn agent_weight(agent: &Agent) -> Option<String> {
    match (agent.weight_percent, agent.weight) {
        (Some(100), _) | (None, None) => None,
        (Some(percent), _) => Some(format!("{percent} % of its weight by its agent")),
        (None, Some(weight)) => Some(format!("weight {weight} by its agent")),
    }
}

/// What keeps new sessions off, whatever its machine's load is.
fn peak_zero(server: &ServerStatus) -> Option<String> {
    (server.peak_load == Some(0)).then(|| match server.peak_load_before {
        Some(before) => format!("its peak load is 0, and was {before} % before"),
        None => "its peak load is 0".into(),
    })
}

/// A tenth less than so many percent: so far a load has to come down.
fn tenth_less(percent: u32) -> String {
    let tenths = percent * 9;
    match tenths % 10 {
        0 => format!("{} %", tenths / 10),
        rest => format!("{}.{rest} %", tenths / 10),
    }
}

/// What is its own, and where that comes from.
fn origin(server: &ServerStatus) -> Vec<Note> {
    let mut notes = Vec::new();
    if server.weight != 1 {
        notes.push(plain(format!("weight {}", server.weight)));
    }
    let places = server.health.places;
    notes.extend(places.map(|places| plain(format!("{places} places left by its own page"))));
    if let Some(name) = &server.of_name {
        notes.push(plain(format!("came by the name {name}")));
    } else if server.live {
        notes.push(plain("added live"));
    } else if server.overridden {
        notes.push(plain("set live"));
    }
    notes
}

/// What is known of a server, as names, and values as HTML.
pub(super) fn facts(server: &ServerStatus) -> Vec<(&'static str, String)> {
    let mut facts = vec![("Address", escape(&server.address))];
    let health = &server.health;
    let since = time(health.since);
    facts.push(("Health", format!("{} since {since}", escape(&health.state))));
    let limit = server.max_sessions;
    facts.push(("Most sessions", limit.map_or("no limit".into(), number)));
    facts.push(("Weight", number(server.weight)));
    if let Some(machine) = &server.machine {
        facts.push((
            "Load",
            known(
                machine.load_percent.map(|load| format!("{load} %")),
                machine.age_ms,
            ),
        ));
    }
    let peak = server.peak_load;
    facts.extend(peak.map(|peak| {
        let back = format!("{peak} %, and back from {} down", tenth_less(peak));
        ("Peak load", if peak == 0 { "0 %".into() } else { back })
    }));
    if let Some(agent) = &server.agent {
        let said = format!("{}, {}", escape(&agent.wish), escape(&agent.health));
        facts.push(("Its agent says", known(Some(said), agent.age_ms)));
    }
    facts.extend(
        server
            .traffic
            .as_ref()
            .map(|traffic| ("Traffic", told(traffic))),
    );
    if let Some(name) = &server.of_name {
        facts.push(("Came by the name", escape(name)));
    }
    facts.push(("Epoch", number(server.epoch)));
    facts
}

/// A value, and how old it is.
fn known(value: Option<String>, age_ms: Option<u64>) -> String {
    let value = value.unwrap_or_else(|| "not known".into());
    match age_ms {
        // It is asked every few seconds: only what is older than that is worth a word.
        Some(age) if age >= 10_000 => format!("{value}, {} ago", span(age)),
        _ => value,
    }
}

fn told(traffic: &Traffic) -> String {
    let mut told = format!("{} requests lately", number(traffic.requests));
    let parts = [
        (traffic.errors, "answered 5xx"),
        (traffic.lost, "not answered"),
        (traffic.cut_short, "cut short"),
    ];
    for (count, words) in parts.into_iter().filter(|(count, _)| *count > 0) {
        told += &format!(", {} {words}", number(count));
    }
    if let Some(median) = traffic.median_ms {
        told += &format!("; half of them within {} ms", median.max(1));
    }
    told
}

/// When a name was asked for its addresses, and what came of it.
pub(super) fn name(name: &ebbtide_api::Name) -> String {
    let noun = if name.addresses == 1 { "" } else { "es" };
    let age = name.age_ms.map(|age| format!(", {} ago", span(age)));
    format!(
        "{}: {} address{noun}{}",
        name.host,
        name.addresses,
        age.unwrap_or_default()
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A server of which this is known, beside what is known of every one.
    pub(in super::super) fn server(known: &Value) -> ServerStatus {
        let mut all = json!({
            "name": "web1", "address": "10.0.0.11:8080", "weight": 1, "live": false, "overridden": false,
            "intent": { "label": "ready" },
            "health": { "state": "up", "since": "2026-11-23T01:00:00Z" },
            "standing": { "admits_new": true, "serves_own": true, "reason": "ready" },
            "sessions": { "active": 0, "idle": 0 }, "epoch": 1,
        });
        for (name, value) in known.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        serde_json::from_value(all).unwrap()
    }

    /// What is said of it, without its markup.
    fn said(known: &Value) -> Vec<(&'static str, String)> {
        let text = |note: Note| {
            let mut parts = note.html.split('<');
            let first = parts.next().unwrap_or_default().to_owned();
            let rest = parts.filter_map(|part| part.split_once('>'));
            (note.tone, rest.fold(first, |text, (_, more)| text + more))
        };
        notes(&server(known)).into_iter().map(text).collect()
    }

    #[test]
    fn a_server_of_which_there_is_nothing_to_say_has_no_notes() {
        assert!(said(&json!({})).is_empty());
    }

    #[test]
    fn what_looks_sick_is_told_with_the_way_back() {
        let sickness = |held: Value, spared: Value| {
            json!({ "sickness": { "words": "40 % were answered 5xx", "since": "2026-11-23T01:02:03Z",
                    "held_ms": held, "spared": spared } })
        };
        assert_eq!(
            said(&sickness(json!(90_000), Value::Null)),
            [("bad", "sick since 01:02:03 UTC: 40 % were answered 5xx; no new sessions for 1m 30s, or until \
                      you say Ready".to_owned())]
        );
        assert_eq!(
            said(&sickness(Value::Null, json!("it is the last one"))),
            [("warn", "looks sick since 01:02:03 UTC: 40 % were answered 5xx; goes on all the same: it is \
                       the last one".to_owned())]
        );
    }

    #[test]
    fn a_peak_load_is_told_with_where_new_sessions_come_again() {
        let text = "its peak load is 0, and was 60 % before";
        let known = json!({ "peak_load": 0, "peak_load_before": 60 });
        assert_eq!(said(&known), [("", text.to_owned())]);
        let known = server(&json!({ "peak_load": 65 }));
        let facts = facts(&known);
        let peak = facts.iter().find(|(name, _)| *name == "Peak load");
        assert_eq!(
            peak.map(|(_, value)| &**value),
            Some("65 %, and back from 58.5 % down")
        );
        let known = json!({ "machine": { "load_percent": 91, "over_peak": "its load is 91 %" } });
        assert_eq!(said(&known), [("", "its load is 91 %".to_owned())]);
    }

    #[test]
    fn an_agent_and_an_exporter_that_say_nothing_are_marks() {
        let known = json!({
            "machine": { "no_metrics": "connection refused" },
            "agent": { "wish": "drain", "health": "up", "weight_percent": 50, "max_sessions": 1200,
                       "remark": "new <disks>", "no_agent": "timed out" },
            "health": { "state": "up", "since": "2026-11-23T01:00:00Z", "places": 12 },
            "of_name": "web.internal", "live": true, "weight": 3,
        });
        let expected = [
            ("warn", "no metrics: connection refused"),
            ("warn", "no agent: timed out"),
            ("warn", "its agent says drain: new &lt;disks&gt;"),
            ("", "50 % of its weight by its agent"),
            ("", "at most 1,200 sessions by its agent"),
            ("", "weight 3"),
            ("", "12 places left by its own page"),
            ("", "came by the name web.internal"),
        ];
        assert_eq!(
            said(&known),
            expected.map(|(tone, text)| (tone, text.to_owned()))
        );
    }
}
