//! The gate: what people meet who cannot get in, because the pool is closed or full, or because no
//! server admits them. It says why and until when, in their language, and takes them on as soon as
//! the way in is open.

mod health;
mod page;
mod public;
mod words;

pub(crate) use health::health;
pub(crate) use page::{Refusal, write};
pub(crate) use public::public;

use crate::pages::{self, Envelope, json_string};
use crate::routing::{Asking, Refused};
use crate::wall::rfc3339;

/// The script of the page, for pages of an operator's own.
pub(crate) const SCRIPT: &str = include_str!("gate/gate.js");

/// Writes the script. Returns its status and length.
pub(crate) fn script(envelope: Envelope, out: &mut Vec<u8>) -> (u16, usize) {
    let javascript = ("text/javascript; charset=utf-8", "");
    let bytes = pages::write_answer(out, 200, javascript, SCRIPT, envelope);
    (200, bytes)
}

/// Writes what the page's script asks for: whether a new session would get in. Asking begins none.
/// Returns the status and the length.
pub(crate) fn state(asking: &Asking<'_>, envelope: Envelope, out: &mut Vec<u8>) -> (u16, usize) {
    let pool = &asking.routes.pool;
    let closure = pool.intent.closure();
    let optional = |text: Option<String>| text.map_or("null".into(), |text| json_string(&text));
    let text = format!(
        "{{\"open\":{},\"pool\":{},\"state\":\"{}\",\"waiting\":{},\"message\":{},\"expected_end\":{}}}\n",
        free_places(asking) > pool.line.waiting(),
        json_string(&pool.config.name),
        pool.intent.label(),
        pool.line.waiting(),
        optional(closure.and_then(|closure| closure.message.clone())),
        optional(
            closure
                .and_then(|closure| closure.expected_end)
                .map(rfc3339)
        ),
    );
    let json = ("application/json", "");
    (200, pages::write_answer(out, 200, json, &text, envelope))
}

/// Places for new sessions, over all servers that admit some.
pub(crate) fn free_places(asking: &Asking<'_>) -> usize {
    if asking.is_closed() {
        return 0;
    }
    let servers = asking.routes.pool.servers.iter();
    let admitting = servers.filter(|server| server.standing.admits_new);
    let places = admitting.map(|server| server.room().unwrap_or(u32::MAX));
    places.fold(0, |sum, room| sum.saturating_add(room as usize))
}

impl Refused {
    /// The status that says so: what will not change by itself is no 503.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::OperatorsOnly => 403,
            Self::Closed | Self::Full | Self::Unavailable => 503,
        }
    }

    /// Its name in answers for programs.
    fn label(self) -> &'static str {
        match self {
            Self::OperatorsOnly => "operators-only",
            Self::Closed => "closed",
            Self::Full => "full",
            Self::Unavailable => "unavailable",
        }
    }
}
