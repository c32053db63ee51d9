//! What users will see, before they do: the notice in their pages, and the page of a closed pool.
//!
//! The page's script says it anew by the function that says it to users (`noticeWords` in `core`). What
//! stands here is for browsers without a script: in English, with times in UTC. Tests compare both.

use super::super::answer::ApiError;
use super::frame;
use super::words;
use askama::Template;
use ebbtide_api::Timestamp;
use ebbtide_core::count;
use std::fmt;

const CLOSING: &str = "This service closes for maintenance.";
const DRAIN: &str = "Your server is taken out of service.";
const SAVE: &str = "Save your work: when the time is up, your session ends.";
const BLOCKED: &str =
    "If you leave before that, you cannot come back until the service opens again.";
const ANEW: &str = "You can then begin again on another server.";
const SAID: &str = "Message from the operators";
const CLOSED_TITLE: &str = "Down for maintenance";
const REFRESHES: &str =
    "You can leave this page open: it takes you on by itself as soon as that is possible.";
const CLOSED_TEXT: &str = "This service is closed for maintenance and will be back soon.";

/// What users will see, as HTML.
pub(super) struct Preview(String);

impl fmt::Display for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is said of it.
pub(super) struct Said {
    /// The operator's own words.
    pub message: Option<String>,
    /// From now to the end; 0: there is no notice before it.
    pub within_ms: u64,
    pub ends: Timestamp,
    pub is_pool: bool,
    pub blocks_new: bool,
    pub expected_end: Option<Timestamp>,
    pub contact: Option<String>,
}

#[derive(Template)]
#[template(path = "preview.html")]
struct Page<'a> {
    notice: Option<Notice<'a>>,
    closed: Option<Closed<'a>>,
}

struct Notice<'a> {
    /// JSON: what the page's script says it of.
    data: String,
    bar: String,
    /// HTML.
    ends: String,
    message: Option<&'a str>,
    what: String,
    more: String,
}

struct Closed<'a> {
    title: &'static str,
    message: &'a str,
    /// Names, and values as HTML.
    rows: Vec<(&'static str, String)>,
    refreshes: &'static str,
}

impl Preview {
    pub fn of(said: &Said) -> Result<Self, ApiError> {
        let message = said.message.as_deref();
        let span = span(said.within_ms);
        let (bar, what) = match said.is_pool {
            true => (format!("This service closes in {span}"), [CLOSING, SAVE]),
            false => (format!("Your session ends in {span}"), [DRAIN, SAVE]),
        };
        let back = said.expected_end.map(words::date);
        let back = back.map(|back| format!("Expected to open again: {back}."));
        let blocked = said.blocks_new.then(|| BLOCKED.to_owned());
        let more: Vec<String> = match said.is_pool {
            true => blocked.into_iter().chain(back).collect(),
            false => vec![ANEW.to_owned()],
        };
        let notice = Notice {
            data: data(said),
            bar,
            ends: format!("Ends at {}.", words::time(said.ends)),
            message,
            what: what.join(" "),
            more: more.join(" "),
        };
        let page = Page {
            notice: (said.within_ms > 0).then_some(notice),
            closed: said.is_pool.then(|| Closed {
                title: CLOSED_TITLE,
                message: message.unwrap_or(CLOSED_TEXT),
                rows: rows(said),
                refreshes: REFRESHES,
            }),
        };
        frame::written(&page).map(Self)
    }
}

/// As a browser's script knows notices (`GET session` of a pool's listener).
fn data(said: &Said) -> String {
    let text = serde_json::json!({
        "kind": if said.is_pool { "closing" } else { "drain" },
        "left": said.within_ms,
        "ends": said.ends.to_string(),
        "new_sessions_blocked": said.blocks_new,
        "expected_end": said.expected_end.map(|end| end.to_string()),
    });
    text.to_string()
}

/// A span as notices tell it.
fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match minutes {
        0 => count(seconds, "second"),
        1..10 => format!("{minutes} min {} sec", seconds % 60),
        10..=90 => count(minutes, "minute"),
        _ if hours < 48 => format!("{hours} hr {} min", minutes % 60),
        _ => format!("{} days {} hr", hours / 24, hours % 24),
    }
}

#[derive(Template)]
#[template(path = "preview_message.html")]
struct Message<'a> {
    title: &'static str,
    message: Option<&'a str>,
}

impl Preview {
    /// What the user of a session will see of a message.
    pub fn of_message(message: Option<&str>) -> Result<Self, ApiError> {
        let title = SAID;
        frame::written(&Message { title, message }).map(Self)
    }
}

fn rows(said: &Said) -> Vec<(&'static str, String)> {
    let end = said.expected_end.map(time);
    let contact = said.contact.as_deref().map(words::escape);
    let end = end.map(|end| ("Expected end", end));
    std::iter::once(("Began", time(said.ends)))
        .chain(end)
        .chain(contact.map(|who| ("Contact", who)))
        .collect()
}

/// A time as that page has it.
fn time(at: Timestamp) -> String {
    let text = at.to_string().replace('T', " ");
    let minute = text.get(..16).unwrap_or(&text);
    format!("<time datetime=\"{at}\" data-clock=\"g\">{minute} UTC</time>")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> String {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../proxy/src/");
        std::fs::read_to_string(format!("{root}{path}")).unwrap()
    }

    #[test]
    fn the_words_are_those_that_users_see() {
        let notice = ebbtide_core::script_with_notice_words("");
        let page = file("gate/words.rs");
        for words in [CLOSING, DRAIN, SAVE, BLOCKED, ANEW, SAID] {
            assert!(notice.contains(words), "{words}");
        }
        for words in [
            "This service closes in {t}",
            "Your session ends in {t}",
            "Ends at {t}.",
        ] {
            assert!(notice.contains(words), "{words}");
        }
        assert!(notice.contains("Expected to open again: {t}."));
        let words = [
            CLOSED_TITLE,
            CLOSED_TEXT,
            REFRESHES,
            "Began",
            "Expected end",
            "Contact",
        ];
        for words in words {
            assert!(page.contains(words), "{words}");
        }
    }

    #[test]
    fn times_of_the_closed_page_are_those_that_users_see() {
        let (gate, ours) = (
            file("gate/gate.js"),
            include_str!("../../../assets/console.js"),
        );
        let form = gate.split_once("var form = ").unwrap().1;
        let form = form.split_once(';').unwrap().0;
        assert!(ours.contains(form), "{form}");
    }

    #[test]
    fn markup_in_a_message_stays_text() {
        let said = Said {
            message: Some("<img src=x onerror=alert(1)>".into()),
            within_ms: 900_000,
            ends: Timestamp(0),
            is_pool: true,
            blocks_new: true,
            expected_end: None,
            contact: Some("<b>".into()),
        };
        let preview = Preview::of(&said).ok().unwrap().to_string();
        assert!(
            !preview.contains("<img") && !preview.contains("<b>"),
            "{preview}"
        );
        assert!(
            preview.contains("This service closes in 15 minutes"),
            "{preview}"
        );
    }
}
