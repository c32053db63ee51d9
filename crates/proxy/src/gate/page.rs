//! The page at the gate: the operator's own or the built-in one, or JSON or plain text where those
//! were asked for.

use super::SCRIPT;
use super::words::{self, Words};
use crate::pages::{self, Envelope, Format, escape, json_string};
use crate::routing::Refused;
use crate::wall::{minute, rfc3339};
use ebbtide_core::{Now, PoolView, WallTime};
use ebbtide_protocol::http1::RequestHead;

/// How soon whoever was refused may come again, in seconds, where nobody knows when it is over.
const AGAIN_S: u64 = 60;
/// The same of a pool that is full, or without a server for the moment.
const AGAIN_SOON_S: u64 = 30;
/// The bounds of the same where the operator has said when it is over: it may be over earlier.
const AGAIN_S_MIN: u64 = 10;
const AGAIN_S_MAX: u64 = 24 * 3600;
/// Placeholders replaced in one page: none of a kind makes a page of a sensible size endless.
const PLACEHOLDERS_MAX: usize = 100;
pub(super) const STYLE: &str = include_str!("page.css");

/// Who is refused, and why.
pub(crate) struct Refusal<'a> {
    pub refused: Refused,
    pub pool: &'a PoolView,
    pub buf: &'a [u8],
    pub head: &'a RequestHead,
    pub now: Now,
    /// The client's token is worth nothing any more: its cookie is cleared.
    pub clears_cookie: bool,
    pub envelope: Envelope,
    /// Cannot be guessed: names the page's own script and style.
    pub nonce: u128,
}

/// What a page tells.
struct Told<'a> {
    words: &'static Words,
    title: &'a str,
    message: &'a str,
    /// Whether the operator's own words are the message.
    is_own: bool,
    began: Option<WallTime>,
    ends: Option<WallTime>,
    expected_end: Option<WallTime>,
    contact: Option<&'a str>,
}

/// Writes the page with its head. Returns the length of its body.
pub(crate) fn write(out: &mut Vec<u8>, refusal: &Refusal<'_>) -> usize {
    let told = refusal.told();
    let mut extra = refusal
        .again_s()
        .map_or_else(String::new, |seconds| format!("Retry-After: {seconds}\r\n"));
    if refusal.clears_cookie {
        let cookie = &refusal.pool.config.sticky.cookie;
        extra += &format!("Set-Cookie: {cookie}=; Max-Age=0; HttpOnly; SameSite=Lax; Path=/\r\n");
    }
    let format = refusal.format();
    let body = match (format, refusal.own_page()) {
        (Format::Html, Some(own)) => fill(own, &refusal.pool.config.name, &told),
        (Format::Html, None) => {
            let nonce = refusal.nonce;
            extra += &format!(
                "Content-Security-Policy: default-src 'none'; script-src 'nonce-{nonce:032x}'; \
                 style-src 'nonce-{nonce:032x}'; connect-src 'self'; base-uri 'none'; \
                 form-action 'none'\r\n"
            );
            refusal.html(&told)
        }
        (Format::Plain, _) => plain(&told),
        (Format::Json, _) => refusal.json(&told),
    };
    let media_type = format.media_type();
    let status = refusal.refused.status();
    pages::write_answer(out, status, (media_type, &extra), &body, refusal.envelope)
}

impl Refusal<'_> {
    /// A program that asked for another protocol is not shown a page for people.
    fn format(&self) -> Format {
        match self.head.upgrade {
            Some(_) => Format::Plain,
            None => Format::wanted(self.buf, &self.head.fields),
        }
    }

    fn own_page(&self) -> Option<&str> {
        match self.refused {
            Refused::Closed => self.pool.pages.closed.as_deref(),
            Refused::Full => self.pool.pages.full.as_deref(),
            Refused::Unavailable | Refused::OperatorsOnly => None,
        }
    }

    fn told(&self) -> Told<'_> {
        let words = words::wanted(self.buf, &self.head.fields);
        let config = &self.pool.config;
        let closure = self.pool.intent.closure();
        let closure = closure.filter(|_| self.refused == Refused::Closed);
        let (title, text) = match self.refused {
            Refused::Closed => (words.closed_title, words.closed_text),
            Refused::Full => (words.full_title, words.full_text),
            Refused::Unavailable => (words.unavailable_title, words.unavailable_text),
            Refused::OperatorsOnly => (words.operators_title, words.operators_text),
        };
        let own = match self.refused {
            Refused::Closed => closure.and_then(|closure| closure.message.as_deref()),
            Refused::Full => config.gate.full_text.as_deref(),
            Refused::Unavailable | Refused::OperatorsOnly => None,
        };
        Told {
            words,
            title,
            message: own.unwrap_or(text),
            is_own: own.is_some(),
            began: closure.and(self.pool.since),
            ends: self
                .pool
                .intent
                .deadline()
                .filter(|_| closure.is_some())
                .map(|deadline| self.now.wall_at(deadline)),
            expected_end: closure.and_then(|closure| closure.expected_end),
            contact: config.contact.as_deref(),
        }
    }

    /// When to come again, if that may help.
    fn again_s(&self) -> Option<u64> {
        match self.refused {
            Refused::OperatorsOnly => return None,
            Refused::Full | Refused::Unavailable => return Some(AGAIN_SOON_S),
            Refused::Closed => {}
        }
        let closure = self.pool.intent.closure();
        let end = closure.and_then(|closure| closure.expected_end);
        let left = end.and_then(|end| end.0.checked_sub(self.now.wall.0));
        Some(left.map_or(AGAIN_S, |left| {
            left.div_ceil(1000).clamp(AGAIN_S_MIN, AGAIN_S_MAX)
        }))
    }

    /// Whether the request can simply be made again, by reloading the page.
    fn is_repeatable(&self) -> bool {
        matches!(self.head.method.of(self.buf), b"GET" | b"HEAD")
    }

    fn html(&self, told: &Told<'_>) -> String {
        let words = told.words;
        let (language, title) = (words.language, escape(told.title));
        let row = |name: &str, value: Option<String>| {
            value.map_or_else(String::new, |value| {
                format!("<dt>{name}</dt><dd>{value}</dd>")
            })
        };
        let time = |time: WallTime| {
            format!(
                "<time datetime=\"{}\">{}</time>",
                rfc3339(time),
                minute(time)
            )
        };
        let rows = [
            row(words.began, told.began.map(time)),
            row(words.expected_end, told.expected_end.map(time)),
            row(words.contact, told.contact.map(escape)),
        ]
        .concat();
        let list = match rows.is_empty() {
            true => String::new(),
            false => format!("<dl>{rows}</dl>"),
        };
        let again = self.is_repeatable();
        let opens = self.refused != Refused::OperatorsOnly;
        let by_itself = match again && opens {
            true => format!(
                "<noscript><meta http-equiv=\"refresh\" content=\"{AGAIN_SOON_S}\"></noscript>"
            ),
            false => String::new(),
        };
        let below = match (again, opens) {
            (true, true) => words.refreshes,
            (true, false) => "",
            (false, _) => words.not_processed,
        };
        let onward = match opens {
            true => format!(
                "<script nonce=\"{nonce:032x}\" data-gate=\"{prefix}/gate\" \
                 data-again=\"{repeats}\">{SCRIPT}</script>",
                nonce = self.nonce,
                prefix = escape(&self.pool.config.http.prefix),
                repeats = if again { "yes" } else { "no" },
            ),
            false => String::new(),
        };
        // The operator may write in any language, and from right to left.
        let direction = if told.is_own { " dir=\"auto\"" } else { "" };
        format!(
            "<!DOCTYPE html>\n<html lang=\"{language}\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <meta name=\"robots\" content=\"noindex\"><title>{title}</title>{by_itself}\
             <style nonce=\"{nonce:032x}\">{STYLE}</style></head>\n<body><main>{ICON}\
             <h1>{title}</h1>\n<p class=\"message\"{direction} tabindex=\"-1\">{message}</p>\n{list}\
             <p class=\"soft\" role=\"status\">{below}</p><a data-go-on hidden href=\"/\">{go_on}</a>\
             </main>\n{onward}</body></html>\n",
            nonce = self.nonce,
            message = escape(told.message),
            go_on = words.go_on,
        )
    }

    fn json(&self, told: &Told<'_>) -> String {
        let time = |time: Option<WallTime>| {
            time.map_or_else(|| "null".into(), |time| json_string(&rfc3339(time)))
        };
        format!(
            "{{\"status\":{status},\"error\":{title},\"reason\":\"{reason}\",\"message\":{message},\
             \"began\":{began},\"ends\":{ends},\"expected_end\":{expected_end},\
             \"retry_after\":{again},\"contact\":{contact}}}\n",
            status = self.refused.status(),
            title = json_string(told.title),
            reason = self.refused.label(),
            message = json_string(told.message),
            began = time(told.began),
            ends = time(told.ends),
            expected_end = time(told.expected_end),
            again = self
                .again_s()
                .map_or_else(|| "null".into(), |seconds| seconds.to_string()),
            contact = told.contact.map_or_else(|| "null".into(), json_string),
        )
    }
}

const ICON: &str = "<svg viewBox=\"0 0 24 24\" fill=\"none\" stroke=\"currentColor\" \
    stroke-width=\"1.8\" stroke-linecap=\"round\" stroke-linejoin=\"round\" aria-hidden=\"true\">\
    <circle cx=\"12\" cy=\"12\" r=\"9\"/><path d=\"M12 7v5l3.5 2\"/></svg>";

fn plain(told: &Told<'_>) -> String {
    let words = told.words;
    let mut text = format!("{}\n\n{}\n", told.title, told.message);
    let times = [
        (words.began, told.began),
        (words.expected_end, told.expected_end),
    ];
    for (name, time) in times {
        if let Some(time) = time {
            text += &format!("{name}: {}\n", minute(time));
        }
    }
    if let Some(contact) = told.contact {
        text += &format!("{}: {contact}\n", words.contact);
    }
    text
}

/// The operator's own page, with what it asks for in place of its placeholders.
fn fill(page: &str, pool: &str, told: &Told<'_>) -> String {
    let time = |time: Option<WallTime>| time.map(minute).unwrap_or_default();
    let mut filled = String::with_capacity(page.len());
    let mut rest = page;
    for _ in 0..PLACEHOLDERS_MAX {
        let Some((before, after)) = rest.split_once("{{") else {
            break;
        };
        filled.push_str(before);
        let name = after
            .split_once("}}")
            .map(|(name, after)| (name.trim(), after));
        let value = match name {
            Some(("title", _)) => escape(told.title),
            Some(("message", _)) => escape(told.message),
            Some(("began", _)) => time(told.began),
            Some(("ends", _)) => time(told.ends),
            Some(("expected_end", _)) => time(told.expected_end),
            Some(("contact", _)) => escape(told.contact.unwrap_or_default()),
            Some(("pool", _)) => escape(pool),
            _ => {
                filled.push_str("{{");
                rest = after;
                continue;
            }
        };
        filled.push_str(&value);
        rest = name.map_or(after, |(_, after)| after);
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told<'a>(message: &'a str, contact: Option<&'a str>) -> Told<'a> {
        Told {
            words: &words::ALL[0],
            title: "Closed",
            message,
            is_own: true,
            began: Some(WallTime(0)),
            ends: None,
            expected_end: None,
            contact,
        }
    }

    #[test]
    fn an_own_page_gets_text_and_never_markup() {
        let told = told(
            "<script>alert(1)</script> {{contact}}",
            Some("\"Ops\" & co"),
        );
        let page =
            "<p title='{{contact}}'>{{message}}</p> {{ began }}|{{ends}}|{{pool}}|{{x}} {{ {{";
        assert_eq!(
            fill(page, "app", &told),
            "<p title='&quot;Ops&quot; &amp; co'>&lt;script&gt;alert(1)&lt;/script&gt; \
             {{contact}}</p> 1970-01-01 00:00 UTC||app|{{x}} {{ {{"
        );
    }

    #[test]
    fn an_own_page_does_not_grow_without_end() {
        let message = "m".repeat(1000);
        let page = "{{message}}".repeat(10_000);
        let filled = fill(&page, "app", &told(&message, None));
        assert!(filled.len() < page.len() + PLACEHOLDERS_MAX * message.len());
    }
}
