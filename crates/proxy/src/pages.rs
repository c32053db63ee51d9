//! The pages that Ebbtide itself answers with: what happened, and whom to turn to.

pub(crate) use ebbtide_protocol::html::escape;
use ebbtide_protocol::http1::{Field, Reject};
use std::io::Write;

/// What a page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// The request is malformed.
    Rejected(Reject),
    /// The request did not come in time.
    RequestTimeout,
    /// Nothing is at this reserved path.
    NotFound,
    /// The reserved path does not take this method; the argument lists those it takes.
    MethodNotAllowed(&'static str),
    /// No server admits sessions.
    Unavailable,
    /// The session's server is taken out of service, or the session was ended.
    SessionOver,
    /// All connections to the server are in use, or this machine has none left.
    Busy,
    /// As many streams of events are open as may be.
    StreamsExhausted,
    /// The server could not be reached.
    Unreachable,
    /// The server broke off before it answered.
    BrokenOff,
    /// The server's answer cannot be understood.
    BadAnswer,
    /// The server did not answer in time.
    ServerTimeout,
}

/// The form of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Html,
    Json,
    Plain,
}

/// What is around a page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope {
    /// The connection ends after it.
    pub close: bool,
    /// The request was a `HEAD`: the head only.
    pub head_only: bool,
    /// An HTTP/1.0 client that may go on must be told so.
    pub keep_alive: bool,
}

impl Envelope {
    /// The last page on its connection.
    pub const LAST: Self = Self {
        close: true,
        head_only: false,
        keep_alive: false,
    };
}

impl Page {
    /// Its status.
    pub fn status(&self) -> u16 {
        match self {
            Self::Rejected(reject) => reject.status(),
            Self::RequestTimeout => 408,
            Self::NotFound => 404,
            Self::MethodNotAllowed(_) => 405,
            Self::Unavailable | Self::SessionOver | Self::Busy | Self::StreamsExhausted => 503,
            Self::Unreachable | Self::BrokenOff | Self::BadAnswer => 502,
            Self::ServerTimeout => 504,
        }
    }

    /// When to come again, in seconds.
    fn retry_after_s(&self) -> Option<u32> {
        match self {
            Self::Unavailable => Some(30),
            Self::StreamsExhausted => Some(15),
            Self::SessionOver | Self::Busy => Some(5),
            _ => None,
        }
    }

    #[rustfmt::skip] // a table
    fn text(&self) -> (&'static str, &'static str) {
        match self {
            Self::Rejected(_) => ("Bad request", "The request could not be understood, and was not passed on."),
            Self::RequestTimeout => ("Request timeout", "The request did not arrive in time."),
            Self::NotFound => ("Not found", "There is nothing at this address."),
            Self::MethodNotAllowed(_) => ("Method not allowed", "This address does not take requests of this kind."),
            Self::Unavailable => ("Service unavailable", "No server admits new sessions at the moment. Please try again shortly."),
            Self::SessionOver => ("Session ended", "Your session on this server has ended: the server was taken out of service. Please try again; you will be given another."),
            Self::Busy => ("Service busy", "All connections to your server are in use. Please try again in a moment."),
            Self::StreamsExhausted => ("Service busy", "As many streams of events are open as may be. Please ask for the session's state from time to time instead."),
            Self::Unreachable => ("Bad gateway", "The server could not be reached. Nothing of your request was processed; please try again."),
            Self::BrokenOff => ("Bad gateway", "The server broke off before it answered. Your request may have been processed: check before you repeat it."),
            Self::BadAnswer => ("Bad gateway", "The server's answer could not be understood. Your request may have been processed: check before you repeat it."),
            Self::ServerTimeout => ("Gateway timeout", "The server did not answer in time. Your request may have been processed: check before you repeat it."),
        }
    }
}

impl Format {
    /// The form that the request's `Accept` asks for; HTML where it does not say.
    pub fn wanted(buf: &[u8], fields: &[Field]) -> Self {
        let accept = field(buf, fields, b"accept").unwrap_or_default();
        let names = |what: &[u8]| {
            accept
                .windows(what.len())
                .position(|part| part.eq_ignore_ascii_case(what))
        };
        let html = names(b"text/html").unwrap_or(usize::MAX);
        match (names(b"application/json"), names(b"text/plain")) {
            (Some(json), _) if json < html => Self::Json,
            (_, Some(plain)) if plain < html => Self::Plain,
            _ => Self::Html,
        }
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Json => "application/json",
            Self::Plain => "text/plain; charset=utf-8",
        }
    }
}

/// The value of the first field with this name.
pub(crate) fn field<'a>(buf: &'a [u8], fields: &[Field], name: &[u8]) -> Option<&'a [u8]> {
    let found = fields
        .iter()
        .find(|field| field.name.of(buf).eq_ignore_ascii_case(name));
    found.map(|field| field.value.of(buf))
}

/// Writes a page with its head. Returns the length of its body.
pub(crate) fn write(
    out: &mut Vec<u8>,
    page: &Page,
    format: Format,
    contact: Option<&str>,
    envelope: Envelope,
) -> usize {
    let body = body(page, format, contact);
    let mut extra = String::new();
    if let Some(seconds) = page.retry_after_s() {
        extra = format!("Retry-After: {seconds}\r\n");
    }
    if let Page::MethodNotAllowed(allowed) = page {
        extra = format!("Allow: {allowed}\r\n");
    }
    write_answer(
        out,
        page.status(),
        (format.media_type(), &extra),
        &body,
        envelope,
    )
}

/// Writes an answer of our own. Returns the length of its body.
pub(crate) fn write_answer(
    out: &mut Vec<u8>,
    status: u16,
    (media_type, extra): (&str, &str),
    body: &str,
    envelope: Envelope,
) -> usize {
    let connection = match (envelope.close, envelope.keep_alive) {
        (true, _) => "Connection: close\r\n",
        (false, true) => "Connection: keep-alive\r\n",
        (false, false) => "",
    };
    let written = write!(
        out,
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\nCache-Control: no-store\r\n{extra}{connection}\r\n",
        reason = reason(status),
        length = body.len(),
    );
    debug_assert!(written.is_ok(), "writing to memory does not fail");
    if envelope.head_only {
        return 0;
    }
    out.extend_from_slice(body.as_bytes());
    body.len()
}

fn body(page: &Page, format: Format, contact: Option<&str>) -> String {
    let (title, text) = page.text();
    let detail = match page {
        Page::Rejected(reject) => Some(reject.to_string()),
        _ => None,
    };
    match format {
        Format::Html => html(page.status(), title, text, detail.as_deref(), contact),
        Format::Plain => {
            let mut all = format!("{title}\n\n{text}\n");
            for more in [detail.as_deref(), contact].into_iter().flatten() {
                all.push_str(more);
                all.push('\n');
            }
            all
        }
        Format::Json => {
            let optional = |name: &str, text: Option<&str>| {
                text.map_or_else(String::new, |text| {
                    format!(",\"{name}\":{}", json_string(text))
                })
            };
            format!(
                "{{\"status\":{},\"error\":{},\"message\":{}{}{}}}\n",
                page.status(),
                json_string(title),
                json_string(text),
                optional("detail", detail.as_deref()),
                optional("contact", contact),
            )
        }
    }
}

fn html(
    status: u16,
    title: &str,
    text: &str,
    detail: Option<&str>,
    contact: Option<&str>,
) -> String {
    let optional = |text: Option<&str>| {
        text.map_or_else(String::new, |text| format!("<p>{}</p>\n", escape(text)))
    };
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{status} {title}</title>\
         <style>body{{font:1rem/1.5 sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem}}</style>\
         </head>\n<body>\n<h1>{title}</h1>\n<p>{text}</p>\n{}{}</body>\n</html>\n",
        optional(detail),
        optional(contact),
    )
}

/// Text as a JSON string, with its quotes.
pub(crate) fn json_string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            control if control < ' ' || control == '\u{7f}' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        400 => "Bad Request",
        // RFC 9110, 15: what is not known is understood by its class.
        other => match other / 100 {
            2 => "OK",
            3 => "Redirection",
            5 => "Server Error",
            _ => "Client Error",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_others_are_escaped() {
        let contact = "<script>\"Ops\" & 'co'</script>";
        let html = body(&Page::Unavailable, Format::Html, Some(contact));
        assert!(html.contains("&lt;script&gt;&quot;Ops&quot; &amp; &#39;co&#39;&lt;/script&gt;"));
        assert!(!html.contains("<script>"));
        let json = body(&Page::Unavailable, Format::Json, Some("a\"b\\c\u{1}"));
        assert!(json.contains(r#""contact":"a\"b\\c\u0001""#), "{json}");
    }
}
