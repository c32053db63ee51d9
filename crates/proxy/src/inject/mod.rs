//! The banner's script in the pages of servers, while a notice stands.
//!
//! A page is asked for whole and uncompressed, its head is changed so that no cache keeps it and its
//! policy admits the script, and one tag is put into its body. All else passes untouched, and so does
//! every answer while there is no notice.

mod csp;
mod rewrite;
mod sniff;

pub(crate) use csp::{Admitted, Ours, admit};
pub use rewrite::{Insertion, Outcome, Released};
pub(crate) use sniff::SNIFF_BYTES_MAX;
pub use sniff::{Look, look};

use crate::pages::field;
use ebbtide_core::{Counter, PoolSlot};
use ebbtide_protocol::http1::{BodyDecoder, BodyStep, Field, Framing, RequestHead, ResponseHead};
use encoding_rs::{Encoding, WINDOWS_1252};
use lol_html::AsciiCompatibleEncoding;

/// Asks for a page as it is, in place of what the client accepts.
pub(crate) const IDENTITY: &[(&str, &[u8])] = &[("Accept-Encoding", b"identity")];

/// Fields of a request by which its answer could be less than the whole page. (`TE` ends here
/// anyway.)
const PARTIAL_WISHES: [&[u8]; 4] = [
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"range",
];

/// Fields of an answer that are true only of the page as the server made it, or that let a cache
/// keep it.
const OF_THE_ORIGINAL: [&[u8]; 15] = [
    b"accept-ranges",
    b"age",
    b"cache-control",
    b"cdn-cache-control",
    b"content-digest",
    b"content-length",
    b"content-md5",
    b"content-security-policy",
    b"digest",
    b"etag",
    b"expires",
    b"last-modified",
    b"repr-digest",
    b"surrogate-control",
    b"trailer",
];

const POLICY: &[u8] = b"content-security-policy";

/// Why a page is passed on as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Untouched {
    /// It came compressed, though it was asked for as it is.
    Encoded,
    /// It is only a part.
    Partial,
    /// Its encoding is not one in which markup is ASCII.
    Charset,
    /// It is to be stored, not shown.
    Attachment,
    /// The server forbids changes (RFC 9111, 5.2.2.6).
    NoTransform,
    /// Its policy cannot be made to admit the script.
    Policy,
    /// It is not HTML, whatever its head says.
    NotHtml,
    /// The script's place was not found.
    Unreadable,
}

impl Untouched {
    /// Where it is counted.
    pub fn counter(self, slot: &PoolSlot) -> &Counter {
        match self {
            Self::Encoded => &slot.not_injected_encoded,
            Self::Partial => &slot.not_injected_partial,
            Self::Charset => &slot.not_injected_charset,
            Self::Attachment => &slot.not_injected_attachment,
            Self::NoTransform => &slot.not_injected_no_transform,
            Self::Policy => &slot.not_injected_policy,
            Self::NotHtml => &slot.not_injected_not_html,
            Self::Unreadable => &slot.not_injected_unreadable,
        }
    }
}

/// Whether a request is for a page that its user will look at. What scripts ask for is not: they
/// would get more than they asked for.
pub(crate) fn is_navigation(buf: &[u8], head: &RequestHead) -> bool {
    // A form's answer is a page too; and what `HEAD` is told is true of the page.
    if head.upgrade.is_some() || !matches!(head.method.of(buf), b"GET" | b"HEAD" | b"POST") {
        return false;
    }
    let value = |name| field(buf, &head.fields, name);
    match value(b"sec-fetch-dest") {
        Some(destination) => matches!(destination, b"document" | b"iframe" | b"frame"),
        // Browsers say so only of addresses that they trust.
        None => {
            let accept = value(b"accept").unwrap_or_default();
            contains(accept, b"text/html") && value(b"x-requested-with").is_none()
        }
    }
}

/// Takes out of a request what would have its answer come compressed or in part.
pub(crate) fn ask_for_all(buf: &[u8], head: &mut RequestHead) {
    // With other methods, conditions are about what may be done.
    let is_reading = matches!(head.method.of(buf), b"GET" | b"HEAD");
    head.fields.retain(|field| {
        let is_partial = is_reading && is_one_of(field, buf, &PARTIAL_WISHES);
        !is_partial && !is_one_of(field, buf, &[b"accept-encoding"])
    });
}

/// Whether the answer is a page that the script can be put into, as far as its head tells; in which
/// encoding. `None` if it is no page at all. The answer to a `HEAD` is judged as that to a `GET`.
pub(crate) fn judge_head(
    buf: &[u8],
    head: &ResponseHead,
    is_head: bool,
) -> Option<Result<AsciiCompatibleEncoding, Untouched>> {
    let content_type = field(buf, &head.fields, b"content-type")?;
    let (kind, parameters) = split_once(content_type, b';');
    // XHTML is left alone: one tag in the wrong place, or an attribute without a value, and a
    // browser shows an error in place of the page.
    let is_html = kind.trim_ascii().eq_ignore_ascii_case(b"text/html");
    let any = |name: &[u8], test: fn(&[u8]) -> bool| {
        let mut values = values(buf, &head.fields, name);
        values.any(test)
    };
    let is_empty = match is_head {
        true => any(b"content-length", |value| value == b"0"),
        false => matches!(head.framing, Framing::None | Framing::Length(0)),
    };
    // What a redirect says is seen by nobody.
    let is_seen = !matches!(head.status, 204 | 205 | 300..=399) && !is_empty;
    if !is_html || !is_seen {
        return None;
    }
    let coded = |value: &[u8]| !value.is_empty() && !value.eq_ignore_ascii_case(b"identity");
    Some(if head.status == 206 || any(b"content-range", |_| true) {
        Err(Untouched::Partial)
    } else if any(b"content-encoding", coded) {
        Err(Untouched::Encoded)
    } else if any(b"content-disposition", |value| {
        starts_with(value, b"attachment")
    }) {
        Err(Untouched::Attachment)
    } else if any(b"cache-control", |value| contains(value, b"no-transform")) {
        Err(Untouched::NoTransform)
    } else {
        encoding(parameters).ok_or(Untouched::Charset)
    })
}

/// The encoding that a content type names. Where it names none, or one that nobody knows, the page
/// may; any in which markup is ASCII will do to find tags. Without it a page that is not begins with
/// a byte order mark, or does not look like HTML.
fn encoding(parameters: &[u8]) -> Option<AsciiCompatibleEncoding> {
    let charset = parameters
        .split(|byte| *byte == b';')
        .find_map(|parameter| {
            let (name, value) = split_once(parameter, b'=');
            let is_charset = name.trim_ascii().eq_ignore_ascii_case(b"charset");
            let label = value.trim_ascii();
            let quoted = label
                .strip_prefix(b"\"")
                .and_then(|label| label.strip_suffix(b"\""));
            is_charset.then(|| quoted.unwrap_or(label))
        });
    let Some(label) = charset else {
        return AsciiCompatibleEncoding::new(WINDOWS_1252);
    };
    if starts_with(label, b"utf-7") || starts_with(label, b"utf-32") {
        return None;
    }
    AsciiCompatibleEncoding::new(Encoding::for_label(label).unwrap_or(WINDOWS_1252))
}

/// What the body looks like that follows the head in `filled`, as far as it has come.
pub(crate) fn look_at_body(filled: &[u8], head: &ResponseHead) -> Look {
    let mut decoder = BodyDecoder::new(head.framing);
    let mut at = head.head_bytes;
    let mut front = Vec::new();
    loop {
        match decoder.decode(filled.get(at..).unwrap_or_default()) {
            Ok(BodyStep::Data { skip, data }) => {
                at += skip + data;
                front.extend_from_slice(&filled[at - data..at]);
                match look(&front) {
                    Look::Unknown => {}
                    known => return known,
                }
            }
            Ok(BodyStep::More { .. }) if filled.len() < head.head_bytes + SNIFF_BYTES_MAX => {
                return Look::Unknown;
            }
            // Empty, broken, or nothing to be seen in it for too long.
            _ => return Look::Other,
        }
    }
}

/// The values of the page's policies.
pub(crate) fn policies<'a>(
    buf: &'a [u8],
    head: &'a ResponseHead,
) -> impl Iterator<Item = &'a [u8]> {
    values(buf, &head.fields, POLICY)
}

/// Takes out of an answer what does not hold for the changed page.
pub(crate) fn forget_the_original(buf: &[u8], head: &mut ResponseHead) {
    head.fields
        .retain(|field| !is_one_of(field, buf, &OF_THE_ORIGINAL));
}

/// The tag that loads the script.
pub(crate) fn tag(prefix: &str, nonce: Option<&str>) -> Vec<u8> {
    let mut tag = String::from("<script src=\"");
    for letter in prefix.chars() {
        match letter {
            '&' => tag.push_str("&amp;"),
            '"' => tag.push_str("&quot;"),
            other => tag.push(other),
        }
    }
    tag.push_str("/notice.js\" async");
    if let Some(nonce) = nonce {
        // It consists of letters and digits of base64.
        tag.push_str(&format!(" nonce=\"{nonce}\""));
    }
    tag.push_str("></script>");
    tag.into_bytes()
}

fn values<'a>(
    buf: &'a [u8],
    fields: &'a [Field],
    name: &'a [u8],
) -> impl Iterator<Item = &'a [u8]> {
    fields
        .iter()
        .filter(move |field| field.name.of(buf).eq_ignore_ascii_case(name))
        .map(|field| field.value.of(buf))
}

fn is_one_of(field: &Field, buf: &[u8], names: &[&[u8]]) -> bool {
    let name = field.name.of(buf);
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn split_once(text: &[u8], at: u8) -> (&[u8], &[u8]) {
    match memchr::memchr(at, text) {
        Some(found) => (&text[..found], &text[found + 1..]),
        None => (text, &[]),
    }
}

fn starts_with(text: &[u8], front: &[u8]) -> bool {
    let start = text.get(..front.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(front))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    let mut windows = text.windows(part.len());
    windows.any(|window| window.eq_ignore_ascii_case(part))
}

#[cfg(test)]
mod tests;
