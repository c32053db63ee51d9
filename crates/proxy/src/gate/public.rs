//! The status page: whether the service is open, for anybody, where a pool wants one. It says nothing of
//! servers or of sessions, and begins none.

use super::page::STYLE;
use super::words;
use crate::pages::{self, Envelope, Format, escape, json_string};
use crate::routing::Asking;
use crate::wall::{minute, rfc3339};
use ebbtide_core::{PoolIntent, WallTime};
use ebbtide_protocol::http1::RequestHead;

/// How soon the page is loaded again, in seconds.
const AGAIN_S: u64 = 30;

/// What is told.
struct Told<'a> {
    state: &'static str,
    title: &'static str,
    message: Option<&'a str>,
    closes: Option<WallTime>,
    expected_end: Option<WallTime>,
    contact: Option<&'a str>,
}

/// Writes the page. Returns its status and length.
pub(crate) fn public(
    asking: &Asking<'_>,
    buf: &[u8],
    head: &RequestHead,
    envelope: Envelope,
    out: &mut Vec<u8>,
) -> (u16, usize) {
    let words = words::wanted(buf, &head.fields);
    let pool = &asking.routes.pool;
    let (state, title) = match &pool.intent {
        PoolIntent::Open => ("open", words.open),
        PoolIntent::Closed(_) => ("closed", words.closed_title),
        closing if closing.blocks_new() => ("closing", words.closing),
        _ => ("planned", words.planned),
    };
    let closure = pool.intent.closure();
    let deadline = pool.intent.deadline();
    let told = Told {
        state,
        title,
        message: closure.and_then(|closure| closure.message.as_deref()),
        closes: deadline.map(|deadline| asking.now.wall_at(deadline)),
        expected_end: closure.and_then(|closure| closure.expected_end),
        contact: pool.config.contact.as_deref(),
    };
    let format = Format::wanted(buf, &head.fields);
    let (body, policy) = match format {
        Format::Html => (
            html(&told, words),
            // There is no script, and nothing of anybody's that is not escaped.
            "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
             form-action 'none'\r\n",
        ),
        Format::Json => (json(&told), ""),
        Format::Plain => (plain(&told, words), ""),
    };
    let form = (format.media_type(), policy);
    (200, pages::write_answer(out, 200, form, &body, envelope))
}

fn html(told: &Told<'_>, words: &words::Words) -> String {
    let (language, title) = (words.language, escape(told.title));
    let message = told.message.map_or_else(String::new, |message| {
        format!("<p class=\"message\" dir=\"auto\">{}</p>", escape(message))
    });
    let time = |time: WallTime| {
        let (stamp, text) = (rfc3339(time), minute(time));
        format!("<time datetime=\"{stamp}\">{text}</time>")
    };
    let rows = [
        (words.closes, told.closes.map(time)),
        (words.expected_end, told.expected_end.map(time)),
        (words.contact, told.contact.map(escape)),
    ];
    let rows = rows.into_iter().filter_map(|(name, value)| {
        let value = value?;
        Some(format!("<dt>{name}</dt><dd>{value}</dd>"))
    });
    let rows: String = rows.collect();
    let list = match rows.is_empty() {
        true => String::new(),
        false => format!("<dl>{rows}</dl>"),
    };
    format!(
        "<!DOCTYPE html>\n<html lang=\"{language}\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=\"refresh\" content=\"{AGAIN_S}\"><title>{title}</title>\
         <style>{STYLE}</style></head>\n<body><main><h1>{title}</h1>\n{message}{list}</main></body></html>\n"
    )
}

fn json(told: &Told<'_>) -> String {
    let time = |time: Option<WallTime>| {
        time.map_or_else(|| "null".into(), |time| json_string(&rfc3339(time)))
    };
    let text = |text: Option<&str>| text.map_or_else(|| "null".into(), json_string);
    format!(
        "{{\"state\":\"{}\",\"message\":{},\"closes\":{},\"expected_end\":{},\"contact\":{}}}\n",
        told.state,
        text(told.message),
        time(told.closes),
        time(told.expected_end),
        text(told.contact)
    )
}

fn plain(told: &Told<'_>, words: &words::Words) -> String {
    let mut text = format!("{}\n", told.title);
    if let Some(message) = told.message {
        text += &format!("\n{message}\n\n");
    }
    for (name, time) in [
        (words.closes, told.closes),
        (words.expected_end, told.expected_end),
    ] {
        if let Some(time) = time {
            text += &format!("{name}: {}\n", minute(time));
        }
    }
    if let Some(contact) = told.contact {
        text += &format!("{}: {contact}\n", words.contact);
    }
    text
}
