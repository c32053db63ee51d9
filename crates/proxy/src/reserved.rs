//! The paths that Ebbtide itself answers: what a session's user, and a balancer in front, may ask.

use crate::pages::{self, Envelope, Format, Page};
use crate::routing::{Asking, Remembered};
use crate::wall::rfc3339;
use ebbtide_core::{Reason, ServerView, SessionState};
use ebbtide_protocol::http1::RequestHead;

/// What is said when no number of places can be told, as no server has a limit.
const PLACES_WITHOUT_LIMIT: u64 = 9999;

/// Writes the answer to a request for a reserved path; `None` if the path is not reserved.
/// Otherwise the status and the length of the body.
pub(crate) fn answer(
    asking: &Asking<'_>,
    buf: &[u8],
    head: &RequestHead,
    remembered: &mut Option<Remembered>,
    envelope: Envelope,
    out: &mut Vec<u8>,
) -> Option<(u16, usize)> {
    let config = &asking.routes.pool.config;
    let http = &config.http;
    let path = path_of(head.target.of(buf));
    let is_alias = http
        .health_alias
        .as_deref()
        .is_some_and(|alias| alias.as_bytes() == path);
    let within = path.strip_prefix(http.prefix.as_bytes());
    let name: &[u8] = match within {
        _ if is_alias => b"/health",
        Some(name @ ([] | [b'/', ..])) => name,
        _ => return None,
    };
    let is_get = matches!(head.method.of(buf), b"GET" | b"HEAD");
    let page = match name {
        b"/health" if is_get => {
            let (status, text) = health(asking);
            let plain = ("text/plain; charset=utf-8", "");
            return Some((
                status,
                pages::write_answer(out, status, plain, &text, envelope),
            ));
        }
        b"/session" if is_get => {
            let text = session(asking, buf, head, remembered);
            let json = ("application/json", "");
            return Some((200, pages::write_answer(out, 200, json, &text, envelope)));
        }
        b"/health" | b"/session" => Page::MethodNotAllowed("GET, HEAD"),
        _ => Page::NotFound,
    };
    let format = Format::wanted(buf, &head.fields);
    let bytes = pages::write(out, &page, format, config.contact.as_deref(), envelope);
    Some((page.status(), bytes))
}

/// The path of a target, without its query.
pub(crate) fn path_of(target: &[u8]) -> &[u8] {
    let end = memchr::memchr(b'?', target).unwrap_or(target.len());
    &target[..end]
}

/// The pool's own health page, in the language of health pages.
fn health(asking: &Asking<'_>) -> (u16, String) {
    let servers = &asking.routes.pool.servers;
    let admitting = servers.iter().filter(|server| server.standing.admits_new);
    let mut admits = false;
    let mut places = Some(0);
    for server in admitting {
        admits = true;
        places = places.zip(room(server)).map(|(sum, room)| sum + room);
    }
    let reports_full = |server: &ServerView| server.standing.reason == Reason::ReportsFull;
    match places.unwrap_or(PLACES_WITHOUT_LIMIT) {
        _ if !admits && !servers.iter().any(reports_full) => (503, "ON HOLD\n".into()),
        0 => (503, "ALL SESSIONS IN USE\n".into()),
        places => (200, format!("ACTIVE - {places} Sessions Available\n")),
    }
}

/// Sessions that a server still has places for; `None` if it has no limit.
fn room(server: &ServerView) -> Option<u64> {
    let max = server.max_sessions?;
    Some(u64::from(max.saturating_sub(server.load.sessions())))
}

/// What the user's session is, and what they should know.
fn session(
    asking: &Asking<'_>,
    buf: &[u8],
    head: &RequestHead,
    remembered: &mut Option<Remembered>,
) -> String {
    let pool = &asking.routes.pool;
    let bound = asking.find(buf, head, remembered);
    let here = bound.map(|bound| (bound.session, &pool.servers[bound.index]));
    let Some((session, server)) = here.filter(|(_, server)| asking.serves_own(server)) else {
        return "{\"server\":null,\"since\":null,\"state\":\"none\",\"notice\":null}\n".into();
    };
    let now = asking.now;
    let notice = server.deadline().map_or_else(
        || "null".to_owned(),
        |deadline| {
            format!(
                "{{\"kind\":\"drain\",\"ends\":\"{}\",\"seconds_left\":{}}}",
                rfc3339(now.wall_at(deadline)),
                deadline.since(now.moment).0.div_ceil(1000),
            )
        },
    );
    let state = match session.state(now.moment, pool.config.sticky.active) {
        SessionState::Ended(_) => "none",
        SessionState::Active | SessionState::Idle => "active",
    };
    format!(
        "{{\"server\":\"{}/{}\",\"since\":\"{}\",\"state\":\"{state}\",\"notice\":{notice}}}\n",
        pool.config.name,
        server.name,
        rfc3339(now.wall_at(session.started)),
    )
}
