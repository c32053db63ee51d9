//! The paths that Ebbtide itself answers: what a session's user, and a balancer in front, may ask.

use crate::door::DoorPath;
use crate::gate;
use crate::notice::stream::Stream;
use crate::notice::{script, status, stream};
use crate::pages::{self, Envelope, Format, Page};
use crate::routing::Asking;
use ebbtide_protocol::http1::RequestHead;

/// What is at a reserved path.
pub(crate) enum Reserved {
    /// An answer, which was written.
    Answered(Answered),
    /// The way through a door.
    Door(DoorPath),
}

/// An answer that was written.
pub(crate) struct Answered {
    pub status: u16,
    /// The length of its body.
    pub bytes: usize,
    /// What its connection goes on with.
    pub stream: Option<Box<Stream>>,
}

impl From<(u16, usize)> for Reserved {
    fn from((status, bytes): (u16, usize)) -> Self {
        Self::Answered(Answered {
            status,
            bytes,
            stream: None,
        })
    }
}

/// Writes the answer to a request for a reserved path, except for a door's; `None` if the path is not
/// reserved.
pub(crate) fn answer(
    asking: &Asking<'_>,
    buf: &[u8],
    head: &RequestHead,
    envelope: Envelope,
    out: &mut Vec<u8>,
) -> Option<Reserved> {
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
        b"/enter" => return Some(Reserved::Door(DoorPath::Enter)),
        b"/door" => return Some(Reserved::Door(DoorPath::Page)),
        b"/health" if is_get => {
            return Some(gate::health(asking, envelope, out).into());
        }
        b"/session" if is_get => {
            let text = status::session(asking, buf, head);
            let json = ("application/json", "");
            let bytes = pages::write_answer(out, 200, json, &text, envelope);
            return Some((200, bytes).into());
        }
        b"/dismiss" if head.method.of(buf) == b"POST" => {
            let text = status::dismiss(asking, buf, head);
            let json = ("application/json", "");
            let bytes = pages::write_answer(out, 200, json, &text, envelope);
            return Some((200, bytes).into());
        }
        b"/dismiss" => Page::MethodNotAllowed("POST"),
        b"/events" if is_get => match stream::begin(asking, (buf, head), envelope, out) {
            Ok(stream) => {
                return Some(Reserved::Answered(Answered {
                    status: 200,
                    bytes: 0,
                    stream: stream.map(Box::new),
                }));
            }
            Err(page) => page,
        },
        b"/notice.js" if is_get => {
            return Some(script::answer(buf, head, envelope, out).into());
        }
        b"/status" if is_get && http.status_page => {
            return Some(gate::public(asking, buf, head, envelope, out).into());
        }
        b"/gate" if is_get => return Some(gate::state(asking, envelope, out).into()),
        b"/gate.js" if is_get => return Some(gate::script(envelope, out).into()),
        b"/health" | b"/session" | b"/events" | b"/notice.js" | b"/gate" | b"/gate.js" => {
            Page::MethodNotAllowed("GET, HEAD")
        }
        b"/status" if http.status_page => Page::MethodNotAllowed("GET, HEAD"),
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
