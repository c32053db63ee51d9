//! Which copy an answer is of, and whether another server's answer is the rest of the very same one.
//!
//! Two servers have the same copy when both say so by the same strong entity tag (RFC 9110, 8.8.3),
//! and nothing else that both say of it differs. A date alone proves nothing: two servers can have
//! written different bytes within the second that it tells, and RFC 9110, 8.8.2.2 takes a date for
//! strong only by the clock of the one server that gave it.

use ebbtide_core::{Counter, PoolSlot};
use ebbtide_protocol::http1::{Field, Framing, RequestHead, ResponseHead};

/// Fields of a request by which its answer could be another part than is missing, or none.
const CONDITIONS: [&[u8]; 6] = [
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"if-unmodified-since",
    b"range",
];

/// Fields that say which bytes a copy has, and what must hold of them in two answers.
const IDENTITY: [(&[u8], Agreement); 5] = [
    (b"etag", Agreement::Same),
    (b"content-encoding", Agreement::Same),
    (b"content-type", Agreement::Same),
    (b"last-modified", Agreement::WhereBothSay),
    (b"repr-digest", Agreement::WhereBothSay),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Agreement {
    Same,
    WhereBothSay,
}

/// Why an answer that broke off was not gone on with, or not by the server that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// The answer does not say which copy it is of.
    Unidentified,
    /// No other server admits.
    NoServer,
    /// As many servers as may be were asked in a row.
    TooOften,
    /// The server could not be reached, or did not answer.
    Unreachable,
    /// It gave another status than 206 or 412.
    Status,
    /// It has another copy.
    Differs,
    /// It sent another part than was asked for.
    Range,
}

impl Misfit {
    /// Where it is counted.
    pub fn counter(self, slot: &PoolSlot) -> &Counter {
        match self {
            Self::Unidentified => &slot.not_resumed_unidentified,
            Self::NoServer => &slot.not_resumed_no_server,
            Self::TooOften => &slot.not_resumed_too_often,
            Self::Unreachable => &slot.not_resumed_unreachable,
            Self::Status => &slot.not_resumed_status,
            Self::Differs => &slot.not_resumed_differs,
            Self::Range => &slot.not_resumed_range,
        }
    }
}

/// The part of a copy that a client was promised, and how to know the copy again.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Copy {
    /// The values of [`IDENTITY`].
    identity: [Option<Vec<u8>>; IDENTITY.len()],
    /// The first byte that was promised, and the one after the last.
    first: u64,
    end: u64,
    /// The bytes of the whole copy.
    total: u64,
}

impl Copy {
    /// What the answer to a `GET` is a copy of: its body is of known length, all of the copy or one
    /// range of it, and its entity tag is strong. `None` if it does not say so.
    pub fn of(buf: &[u8], head: &ResponseHead) -> Option<Self> {
        let Framing::Length(length @ 1..) = head.framing else {
            return None;
        };
        let (first, end, total) = match head.status {
            200 => (0, length, length),
            206 => part(single(buf, &head.fields, b"content-range").ok()??)?,
            _ => return None,
        };
        let mut identity = [const { None }; IDENTITY.len()];
        for ((name, _), known) in IDENTITY.iter().zip(&mut identity) {
            *known = single(buf, &head.fields, name).ok()?.map(<[u8]>::to_vec);
        }
        let copy = Self {
            identity,
            first,
            end,
            total,
        };
        let is_good = end - first == length && is_strong(copy.entity_tag());
        (is_good && !is_multipart(buf, head)).then_some(copy)
    }

    /// Its entity tag, as it was sent.
    pub fn entity_tag(&self) -> &[u8] {
        self.identity[0].as_deref().unwrap_or_default()
    }

    /// Bytes that are missing when this many have got through.
    pub fn missing(&self, sent: u64) -> u64 {
        (self.end - self.first).saturating_sub(sent)
    }

    /// What to ask for when this many bytes have got through (RFC 9110, 14.2).
    pub fn range(&self, sent: u64) -> String {
        let from = self.first + sent;
        match self.end == self.total {
            true => format!("bytes={from}-"),
            false => format!("bytes={from}-{}", self.end - 1),
        }
    }

    /// Whether an answer is the rest of this copy, after so many bytes: anything else in place of them
    /// would be a corrupt file that looks whole.
    pub fn check(&self, buf: &[u8], head: &ResponseHead, sent: u64) -> Result<(), Misfit> {
        match head.status {
            206 if is_multipart(buf, head) => return Err(Misfit::Range),
            206 => {}
            412 => return Err(Misfit::Differs),
            _ => return Err(Misfit::Status),
        }
        for ((name, agreement), known) in IDENTITY.iter().zip(&self.identity) {
            let said = single(buf, &head.fields, name).map_err(|Repeated| Misfit::Differs)?;
            let silent = said.is_none() || known.is_none();
            let agrees =
                said == known.as_deref() || (silent && *agreement == Agreement::WhereBothSay);
            if !agrees {
                return Err(Misfit::Differs);
            }
        }
        let range = single(buf, &head.fields, b"content-range").ok().flatten();
        let Some((first, end, total)) = range.and_then(part) else {
            return Err(Misfit::Range);
        };
        if total != self.total {
            return Err(Misfit::Differs);
        }
        let is_the_rest = (first, end) == (self.first + sent, self.end)
            && head.framing == Framing::Length(self.missing(sent));
        match is_the_rest {
            true => Ok(()),
            false => Err(Misfit::Range),
        }
    }
}

/// Takes the client's own conditions out of a request: those of the rest take their place.
pub(crate) fn forget_conditions(buf: &[u8], head: &mut RequestHead) {
    head.fields.retain(|field| {
        let name = field.name.of(buf);
        !CONDITIONS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
    });
}

/// A field came several times.
struct Repeated;

/// The value of the field with this name, if there is one.
fn single<'a>(buf: &'a [u8], fields: &[Field], name: &[u8]) -> Result<Option<&'a [u8]>, Repeated> {
    let mut found = fields
        .iter()
        .filter(|field| field.name.of(buf).eq_ignore_ascii_case(name));
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(Repeated),
        (field, None) => Ok(field.map(|field| field.value.of(buf))),
    }
}

/// Whether this is an entity tag, and not a weak one (RFC 9110, 8.8.3).
fn is_strong(tag: &[u8]) -> bool {
    let in_tag = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..);
    match tag {
        [b'"', within @ .., b'"'] => within.iter().all(in_tag),
        _ => false,
    }
}

fn is_multipart(buf: &[u8], head: &ResponseHead) -> bool {
    let kind = single(buf, &head.fields, b"content-type").ok().flatten();
    let front = kind.and_then(|kind| kind.get(..b"multipart/".len()));
    front.is_some_and(|front| front.eq_ignore_ascii_case(b"multipart/"))
}

/// Reads `bytes FIRST-LAST/TOTAL` (RFC 9110, 14.4): the first byte, the one after the last, and the
/// total.
fn part(text: &[u8]) -> Option<(u64, u64, u64)> {
    let text = std::str::from_utf8(text).ok()?;
    let (unit, range) = text.split_once(' ')?;
    let (range, total) = range.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let [first, last, total] = [first, last, total].map(number);
    let (first, last, total) = (first?, last?, total?);
    let is_good = unit.eq_ignore_ascii_case("bytes") && first <= last && last < total;
    is_good.then_some((first, last + 1, total))
}

/// Digits alone: `parse` would take a sign as well.
fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
