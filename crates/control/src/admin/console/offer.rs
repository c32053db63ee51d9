//! What each change would do, shown before it is made.

use super::super::answer::ApiError;
use super::act::Act;
use super::capacity::Capacity;
use super::desk::Desk;
use super::fields::Fields;
use super::outlook::Outlook;
use super::panel::{Field, Guard, Kind, Panel};
use super::preview::{Preview, Said};
use super::words::{self, escape, number};
use crate::clock::clock;
use ebbtide_api::{ErrorDetail, PoolStatus, ServerStatus, Timestamp};
use ebbtide_core::{Command, GuardRefusal, Millis, Refusal, RefusalKind, ServerName, TakesNone};

/// How long a drain takes, if nobody says.
pub(super) const WITHIN: &str = "30m";
/// How long users have, for choosing.
pub(super) const SPANS: &[&str] = &["5m", "15m", "30m", "1h", "4h"];
const DOOR_SPANS: &[&str] = &["10m", "30m", "2h"];

/// A server that something is to be done with.
pub(super) struct Target {
    pub pool: PoolStatus,
    pub server: ServerStatus,
    pub name: ServerName,
}

impl Target {
    pub async fn of(desk: &Desk, asked: &Fields) -> Result<Self, ApiError> {
        let text = asked.get("server").unwrap_or_default();
        let name = ServerName::parse(text).ok_or_else(|| {
            ApiError::invalid(format!(
                "{text:?} names no server; it is written as pool/server"
            ))
        })?;
        let pool = desk.pool(&name.pool).await?;
        let found = pool
            .servers
            .iter()
            .find(|server| server.name == name.server);
        let server = found
            .cloned()
            .ok_or_else(|| ApiError::not_found(format!("there is no server {name} any more")))?;
        Ok(Self { pool, server, name })
    }

    /// What a form is based on: if it is another one when the form comes, somebody was there before.
    pub fn basis(&self) -> String {
        let (intent, server) = (&self.server.intent, &self.server);
        format!(
            "{} {} {} {:?} {:?} {}",
            intent.label,
            intent.since.map_or(0, |since| since.0),
            server.epoch,
            server.peak_load,
            server.max_sessions,
            server.weight
        )
    }

    /// The state that it is in now, and who put it there.
    pub fn told(&self) -> String {
        let by = self.server.intent.by.as_ref();
        let by = by.map(|by| format!(" (by {by})")).unwrap_or_default();
        let deadline = self.server.intent.left_ms;
        let deadline = deadline.map(|left| format!(", {} left", words::span(left)));
        let state = match self.server.intent.label.as_str() {
            "hold" => "on hold",
            "drain" => "being drained",
            "maintenance" => "in maintenance",
            other => other,
        };
        format!(
            "{} is {state} now{}{by}.",
            self.name,
            deadline.unwrap_or_default()
        )
    }
}

/// The panel of a change to a server.
pub(super) async fn of_server(desk: &Desk, act: Act, asked: &Fields) -> Result<Panel, ApiError> {
    let target = Target::of(desk, asked).await?;
    let name = target.name.to_string();
    let mut panel = Panel {
        what: act.label(),
        hidden: vec![("server", name.clone()), ("basis", target.basis())],
        ..Panel::default()
    };
    match act {
        Act::Ready => ready(desk, &mut panel, &target, asked).await?,
        Act::AllAtOnce => all_at_once(&mut panel, &target),
        Act::Hold | Act::Drain | Act::Stop | Act::Maintenance | Act::Remove => {
            take_out(desk, act, &mut panel, &target, asked).await?;
        }
        Act::Drill => drill(desk, &mut panel, &target, asked).await?,
        Act::Forget => forget(desk, &mut panel, &target).await?,
        Act::Door => door(&mut panel, &target, asked),
        _ => set(&mut panel, &target, asked),
    }
    Ok(panel)
}

async fn ready(
    desk: &Desk,
    panel: &mut Panel,
    target: &Target,
    asked: &Fields,
) -> Result<(), ApiError> {
    let name = &target.name;
    panel.title = format!("Return {name} to traffic");
    panel.lead = "New sessions begin there again, as its health and its load allow.".into();
    panel.button = format!("{} is ready", name.server);
    let server = &target.server;
    panel.facts.push(("Now", escape(&target.told())));
    let health = match &server.health.why {
        Some(why) => format!("{}: {}", escape(&server.health.state), escape(why)),
        None => escape(&server.health.state),
    };
    panel.facts.push(("Health", health));
    if server.sessions.all() > 0 {
        let stay = format!(
            "{} stay, and nothing ends them",
            words::sessions(server.sessions.all())
        );
        panel.facts.push(("Sessions here", stay));
    }
    let force = asked.has("force");
    if has_to_show(server) {
        let label = "At once, without having shown that it is well";
        let checked = force.then(|| "1".into());
        panel
            .fields
            .push(Field::new("force", label, Kind::Check, checked));
    }
    let server = name.clone();
    panel.rehearse(desk, Command::Ready { server, force }).await
}

/// Whether it is verified before it takes sessions.
fn has_to_show(server: &ServerStatus) -> bool {
    server.intent.label == "maintenance" || server.verification.is_some()
}

/// The end of a slow start.
fn all_at_once(panel: &mut Panel, target: &Target) {
    let name = &target.name;
    panel.title = format!("{name} takes all of its new sessions at once");
    panel.lead = "Its slow start is over: from now on it gets its whole share of new sessions. \
                  Who is on other servers stays there."
        .into();
    panel.button = "Take all at once".into();
    let now = target.server.returning.map_or_else(
        || "all of them already".to_owned(),
        |returning| {
            format!(
                "{} % of them; all of them by itself in {}",
                returning.share_percent,
                words::countdown(returning.until, returning.left_ms)
            )
        },
    );
    panel.facts.push(("New sessions now", now));
}

/// Hold, drain, stop, maintenance, remove: what takes a server away from new sessions.
async fn take_out(
    desk: &Desk,
    act: Act,
    panel: &mut Panel,
    target: &Target,
    asked: &Fields,
) -> Result<(), ApiError> {
    let name = &target.name;
    let within = kept_deadline(act, target, asked).unwrap_or_else(|| within(asked));
    describe(act, panel, target, asked);
    let ends = matches!(act, Act::Drain | Act::Stop);
    let seen = look(desk, act, name, within).await?;
    panel.facts.extend(where_to(&seen, name));
    panel
        .facts
        .push(("Room left", room_without(&target.pool, &name.server)));
    let sessions = target.server.sessions.all();
    panel
        .facts
        .push(("Sessions here", fates(act, sessions, within)));
    if !matches!(act, Act::Maintenance | Act::Remove) && sessions > 0 {
        let limit = ends.then_some(Millis(within));
        let outlook = Outlook::of(&desk.app, &name.pool, &name.server, limit).await?;
        let likely = outlook.map_or_else(
            || "too few sessions have ended so far to say".to_owned(),
            |outlook| outlook.sentences().join("; "),
        );
        panel.facts.push(("Forecast", likely));
    }
    panel.guard = seen
        .refusal
        .as_ref()
        .and_then(|refusal| guard(refusal, name));
    if panel.guard.is_none() {
        panel.refusal = seen.refusal.map(|refusal| refusal.text);
    }
    if ends {
        let said = said(target, asked, within);
        panel.preview = Some(Preview::of(&said)?);
    }
    Ok(())
}

fn describe(act: Act, panel: &mut Panel, target: &Target, asked: &Fields) {
    let name = &target.name;
    let server = &name.server;
    let (title, lead, button, is_harsh) = match act {
        Act::Hold => (
            format!("Hold {name}"),
            "Nobody new comes; who is there stays until they leave. It lasts until it is ready again.",
            format!("Hold {server}"),
            false,
        ),
        Act::Drain if target.server.intent.label == "drain" => (
            format!("Change the drain of {name}"),
            "A time counts from now; without one the deadline stays. Users see at once what you change.",
            format!("Change the drain of {server}"),
            false,
        ),
        Act::Drain => (
            format!("Drain {name}"),
            "Nobody new comes; who is there has until the deadline. Then it is in maintenance, by itself.",
            format!("Drain {server}"),
            false,
        ),
        Act::Stop => (
            format!("Stop {name}"),
            "Sessions that others can take over move at once; the others have until the deadline.",
            format!("Stop {server}"),
            false,
        ),
        Act::Maintenance => (
            format!("Take {name} into maintenance at once"),
            "It serves nobody from now on. Whoever works there loses what is not saved.",
            format!("Maintenance for {server} now"),
            true,
        ),
        _ => (
            format!("Remove {name}"),
            "A server that was added live leaves the pool.",
            format!("Remove {server}"),
            true,
        ),
    };
    (panel.title, panel.lead, panel.button, panel.is_harsh) =
        (title, lead.into(), button, is_harsh);
    if matches!(act, Act::Drain | Act::Stop) {
        let span = asked.text("within");
        let span = match kept_deadline(act, target, asked) {
            Some(_) => String::new(),
            None => span.unwrap_or_else(|| WITHIN.into()),
        };
        let hint = match act == Act::Drain && target.server.intent.left_ms.is_some() {
            true => "Such as 90s, 30m or 1h 30m; a week at most. Empty: the deadline stays.",
            false => "Such as 90s, 30m or 1h 30m; a week at most.",
        };
        let message = asked
            .text("message")
            .or_else(|| target.server.intent.message.clone());
        panel.fields = vec![
            Field::new("within", "Within", Kind::Span(SPANS), Some(span)).hint(hint),
            Field::new("message", "Message to its users", Kind::Area, message)
                .hint("Shown as text. They are told of the deadline in any case."),
        ];
    }
}

/// What is left of a drain, in milliseconds, if no other time is asked for.
fn kept_deadline(act: Act, target: &Target, asked: &Fields) -> Option<u64> {
    let left = target.server.intent.left_ms;
    left.filter(|_| act == Act::Drain && asked.get("within").is_none())
}

/// The time that is asked for, in milliseconds.
pub(super) fn within(asked: &Fields) -> u64 {
    let text = asked.get("within").unwrap_or(WITHIN);
    words::read_span(text).unwrap_or(0)
}

fn said(target: &Target, asked: &Fields, within_ms: u64) -> Said {
    let now = clock().wall.0;
    let kept = target.server.intent.message.clone();
    Said {
        message: match asked.has("message") {
            true => asked.text("message"),
            false => kept,
        },
        within_ms,
        ends: Timestamp(now.saturating_add(within_ms)),
        is_pool: false,
        blocks_new: true,
        expected_end: None,
        contact: None,
    }
}

/// What the driver would say, and who would be left.
struct Seen {
    refusal: Option<Refusal>,
    without: Option<GuardRefusal>,
}

async fn look(desk: &Desk, act: Act, name: &ServerName, within: u64) -> Result<Seen, ApiError> {
    let (server, within, force) = (name.clone(), Some(Millis(within)), false);
    let command = match act {
        Act::Hold => Command::Hold { server, force },
        Act::Maintenance => Command::Maintenance { server, force },
        Act::Remove => Command::RemoveServer { server, force },
        _ => Command::Drain {
            server,
            within,
            message: None,
            force,
        },
    };
    let name = name.clone();
    let seen = desk.app.inbox.look(move |driver, now| Seen {
        refusal: driver.rehearse(command, now).err(),
        without: driver.without(&name),
    });
    seen.await.ok_or_else(ApiError::stopping)
}

/// Where new sessions may go instead.
fn where_to(seen: &Seen, name: &ServerName) -> Vec<(&'static str, String)> {
    let Some(without) = &seen.without else {
        return Vec::new();
    };
    let go = match without.would_leave.as_slice() {
        [] => format!(
            "<strong class=\"bad\">nobody of {} would take them</strong>",
            name.pool
        ),
        some => format!("go to {}", escape(&some.join(", "))),
    };
    let mut facts = vec![("New sessions", go)];
    if !without.others.is_empty() {
        let others = without.others.iter().take(8);
        let others: Vec<String> = others
            .map(|(name, why)| format!("{name} ({})", takes_none(why)))
            .collect();
        facts.push(("But not to", escape(&others.join(", "))));
    }
    facts
}

/// Why a server takes no new sessions, in the words of the page.
fn takes_none(why: &TakesNone) -> String {
    match why {
        TakesNone::Standing(reason) => words::standing(reason.label()).words.to_lowercase(),
        other => other.to_string(),
    }
}

/// How many sessions the other servers can still take.
fn room_without(pool: &PoolStatus, without: &str) -> String {
    let mut others = pool
        .servers
        .iter()
        .filter(|server| server.standing.admits_new && server.name != without)
        .peekable();
    if others.peek().is_none() {
        return "none".into();
    }
    match Capacity::of_all(others) {
        Some(room) => format!(
            "for {} more, of {} in all",
            number(room.left),
            number(room.all)
        ),
        None => "no limit is set".into(),
    }
}

fn fates(act: Act, sessions: u32, within: u64) -> String {
    let here = words::sessions(sessions);
    if sessions == 0 {
        return "none".into();
    }
    match act {
        Act::Hold => format!("{here}: they go on until they end by themselves"),
        Act::Maintenance => format!("<strong class=\"bad\">{here}: ended at once</strong>"),
        Act::Remove => format!("{here}: ended, or moved on"),
        Act::Stop => format!("{here}: moved at once where others can take over"),
        _ => {
            let end = Timestamp(clock().wall.0.saturating_add(within));
            format!(
                "{here}: they have until {}; who is left then is cut off",
                words::time(end)
            )
        }
    }
}

/// A guard's refusal in plain words, and what force would do.
pub(super) fn guard(refusal: &Refusal, name: &ServerName) -> Option<Guard> {
    let RefusalKind::Guarded(guard) = &refusal.kind else {
        return None;
    };
    let (pool, server) = (&name.pool, &name.server);
    if guard.sessions > 0 {
        return Some(Guard {
            why: format!("{server} still has {}.", words::sessions(guard.sessions)),
            forced: "It is removed all the same; what is open there goes on until it ends.".into(),
        });
    }
    let of = guard.resource.as_ref();
    let of = of
        .map(|resource| format!(" of {resource}"))
        .unwrap_or_default();
    let left = match guard.would_leave.as_slice() {
        [] => "no server takes".to_owned(),
        [one] => format!("only {one} takes"),
        some => format!("only {} take", some.join(", ")),
    };
    let forced = match guard.would_leave.is_empty() {
        true => "Whoever comes new is turned away until a server takes new sessions again.",
        false => "The pool goes on with fewer servers than its minimum.",
    };
    Some(Guard {
        why: format!(
            "Without {server} {left} new sessions{of}, and {pool} needs at least {}.",
            guard.minimum
        ),
        forced: forced.into(),
    })
}

/// The same of an answer.
pub(super) fn guard_of(error: &ErrorDetail) -> Option<Guard> {
    let left = error.would_leave.as_ref()?;
    let minimum = error.minimum.unwrap_or(1);
    let left = match left.as_slice() {
        [] => "no server would take".to_owned(),
        some => format!("only {} would take", some.join(", ")),
    };
    Some(Guard {
        why: format!("Then {left} new sessions of this pool, which needs at least {minimum}."),
        forced: "Whoever comes new may be turned away until another server takes new sessions."
            .into(),
    })
}

async fn drill(
    desk: &Desk,
    panel: &mut Panel,
    target: &Target,
    asked: &Fields,
) -> Result<(), ApiError> {
    panel.title = format!("A drill of {}", target.name);
    panel.lead =
        "A failover test: its sessions move to other servers, and it is then as it was before. \
                  Users should notice nothing."
            .into();
    panel.button = format!("Start the drill of {}", target.server.name);
    let sessions = words::sessions(target.server.sessions.all());
    panel.facts.push(("Sessions here", sessions));
    let cut = asked.has("cut");
    let within = asked.get("within").unwrap_or("30s");
    panel.fields = vec![
        Field::new(
            "cut",
            "Cut its connections, as if it had died",
            Kind::Check,
            cut.then(|| "1".into()),
        ),
        Field::new(
            "within",
            "It may take",
            Kind::Span(&["10s", "30s", "60s"]),
            Some(within.into()),
        )
        .hint("A second to a minute."),
    ];
    let within = Millis(words::read_span(within).unwrap_or(0));
    let server = target.name.clone();
    let command = Command::Drill {
        server,
        cut,
        within,
    };
    panel.rehearse(desk, command).await
}

async fn forget(desk: &Desk, panel: &mut Panel, target: &Target) -> Result<(), ApiError> {
    panel.title = format!("Forget the sessions of {}", target.name);
    panel.lead =
        "Every binding to it is forgotten at once: its users are placed anew, and may lose \
                  what they have not saved. The server goes on as it is."
            .into();
    panel.button = format!("Forget {}", words::sessions(target.server.sessions.all()));
    panel.is_harsh = true;
    let server = target.name.clone();
    panel.rehearse(desk, Command::Forget { server }).await
}

fn door(panel: &mut Panel, target: &Target, asked: &Fields) {
    panel.title = format!("Open a door to {}", target.name);
    panel.lead =
        "Your own way in, whatever is wanted of the server. The address is shown once.".into();
    panel.button = "Open the door".into();
    let span = asked.text("lasting").unwrap_or_else(|| "30m".into());
    panel.fields = vec![
        Field::new(
            "lasting",
            "It stays open for",
            Kind::Span(DOOR_SPANS),
            Some(span),
        )
        .hint("A minute to twelve hours."),
        Field::new(
            "as_admin",
            "Tell the server that an administrator comes",
            Kind::Check,
            None,
        ),
    ];
}

fn set(panel: &mut Panel, target: &Target, asked: &Fields) {
    let server = &target.server;
    panel.title = format!("Limits of {}", target.name);
    panel.lead = "They count at once and outlast reloads, until they are reset.".into();
    panel.button = "Set them".into();
    let text = |name: &str, value: Option<u32>| match asked.has(name) {
        true => asked.text(name),
        false => value.map(|value| value.to_string()),
    };
    panel.fields = vec![
        Field::new(
            "peak_load",
            "Peak load in percent",
            Kind::Number,
            text("peak_load", server.peak_load),
        )
        .hint("Above it no new sessions come; 0: none at all; empty: no peak."),
        Field::new(
            "max_sessions",
            "Most sessions",
            Kind::Number,
            text("max_sessions", server.max_sessions),
        )
        .hint("Empty: no limit."),
        Field::new(
            "weight",
            "Weight",
            Kind::Number,
            text("weight", Some(server.weight)),
        )
        .hint("Its share of new sessions, 1 to 1000."),
    ];
    if server.peak_load == Some(0) {
        let label = "Peak load back to what it was before 0";
        let field = Field::new("peak_load_back", label, Kind::Check, None);
        panel.fields.push(field);
    }
    if server.overridden {
        let label = "Back to the values of the file";
        panel
            .fields
            .push(Field::new("reset", label, Kind::Check, None));
    }
}
