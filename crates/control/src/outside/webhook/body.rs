//! What a delivery says, and its signature.

use super::settings::{Secret, Template};
use ebbtide_api::{Event, EventKind, Timestamp};
use hmac::{Hmac, Mac};
use serde_json::json;
use sha2::Sha256;

/// The body of a delivery.
pub(super) fn body(template: Template, event: &Event) -> String {
    match template {
        Template::Json => serde_json::to_string(event)
            .expect("events are structs of text and numbers, which JSON can hold"),
        Template::Slack => {
            let text = sentence(event);
            // https://api.slack.com/reference/surfaces/formatting#escaping
            let text = text.replace('&', "&amp;").replace('<', "&lt;");
            let text = text.replace('>', "&gt;");
            json!({ "text": text, "mrkdwn": false }).to_string()
        }
        Template::Teams => {
            let text = json!({
                "type": "TextBlock", "text": without_markdown(&sentence(event)).replace('\n', "\n\n"),
                "wrap": true,
            });
            let card = json!({
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard", "version": "1.2", "body": [text],
            });
            let attachment = json!({
                "contentType": "application/vnd.microsoft.card.adaptive", "content": card,
            });
            json!({ "type": "message", "attachments": [attachment] }).to_string()
        }
    }
}

/// What happened, for people. What users are told of it stands in lines of its own.
fn sentence(event: &Event) -> String {
    let (what, by, message) = match &event.kind {
        EventKind::PoolIntent {
            pool,
            from,
            to,
            deadline,
            by,
            message,
        } => {
            let what = of_pool(pool, (from.as_str(), to.as_str()), *deadline);
            (what, by.as_str(), message)
        }
        EventKind::Intent {
            deadline,
            by,
            message,
            ..
        } => (event.text.clone() + &until(*deadline), by.as_str(), message),
        _ => (event.text.clone(), "", &None),
    };
    let server = event.server.iter().map(|server| format!("{server}: "));
    let server: String = server.collect();
    let mut text = format!("Ebbtide: {server}{what}");
    if !by.is_empty() {
        text += &format!(", by {by}");
    }
    if let Some(message) = message {
        text += &format!("\n{message}");
    }
    text
}

fn of_pool(pool: &str, change: (&str, &str), deadline: Option<Timestamp>) -> String {
    let until = until(deadline);
    match change {
        ("closing", "closing") => format!("pool {pool} is still closing{until}"),
        (_, "closing") => format!("pool {pool} is closing{until}"),
        ("closed", "closed") => format!("pool {pool} stays closed"),
        (_, "closed") => format!("pool {pool} is closed"),
        ("closing", "open") => format!("pool {pool} stays open, its closing is off"),
        ("closed", "open") => format!("pool {pool} is open again"),
        (from, to) => format!("pool {pool} {from} -> {to}{until}"),
    }
}

/// To the second, with its zone.
fn until(deadline: Option<Timestamp>) -> String {
    let Some(deadline) = deadline else {
        return String::new();
    };
    let text = deadline.to_string().replace('T', " ");
    let seconds = text.split('.').next().unwrap_or_default();
    format!(", its deadline is {seconds} UTC")
}

/// Text blocks of cards understand some Markdown; what others wrote is text.
fn without_markdown(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if r"\`*_[]()#!|~<>".contains(character) {
            plain.push('\\');
        }
        plain.push(character);
    }
    plain
}

/// The field `Ebbtide-Signature`: `unix` is when it is sent, in seconds since 1970.
pub(super) fn signature(secret: &Secret, unix: u64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret.0)
        .expect("HMAC takes keys of every length (RFC 2104, section 2)");
    mac.update(format!("{unix}.{body}").as_bytes());
    let code = mac.finalize().into_bytes();
    let hex: String = code.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={unix},v1={hex}")
}
