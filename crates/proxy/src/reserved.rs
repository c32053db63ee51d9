//! The paths that Ebbtide itself answers: what a session's user, and a balancer in front, may ask.

use crate::notice::stream::Stream;
use crate::notice::{script, status, stream};
use crate::pages::{self, Envelope, Format, Page};
use crate::routing::Asking;
use ebbtide_core::{Reason, ServerView};
use ebbtide_protocol::http1::RequestHead;

/// What is said when no number of places can be told, as no server has a limit.
const PLACES_WITHOUT_LIMIT: u64 = 9999;

/// An answer that was written.
pub(crate) struct Answered {
    pub status: u16,
    /// The length of its body.
    pub bytes: usize,
    /// What its connection goes on with.
    pub stream: Option<Box<Stream>>,
}

impl From<(u16, usize)> for Answered {
    fn from((status, bytes): (u16, usize)) -> Self {
        Self {
            status,
            bytes,
            stream: None,
        }
    }
}

/// Writes the answer to a request for a reserved path; `None` if the path is not reserved.
pub(crate) fn answer(
    asking: &Asking<'_>,
    buf: &[u8],
    head: &RequestHead,
    envelope: Envelope,
    out: &mut Vec<u8>,
) -> Option<Answered> {
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
            let bytes = pages::write_answer(out, status, plain, &text, envelope);
            return Some((status, bytes).into());
        }
        b"/session" if is_get => {
            let text = status::session(asking, buf, head);
            let json = ("application/json", "");
            let bytes = pages::write_answer(out, 200, json, &text, envelope);
            return Some((200, bytes).into());
        }
        b"/events" if is_get => match stream::begin(asking, (buf, head), envelope, out) {
            Ok(stream) => {
                return Some(Answered {
                    stream: stream.map(Box::new),
                    ..(200, 0).into()
                });
            }
            Err(page) => page,
        },
        b"/notice.js" if is_get => {
            return Some(script::answer(buf, head, envelope, out).into());
        }
        b"/health" | b"/session" | b"/events" | b"/notice.js" => {
            Page::MethodNotAllowed("GET, HEAD")
        }
        _ => Page::NotFound,
    };
    let format = Format::wanted(buf, &head.fields);
    let bytes = pages::write(out, &page, format, config.contact.as_deref(), envelope);
    Some((page.status(), bytes).into())
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
