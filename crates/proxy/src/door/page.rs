//! What the holder of a door is shown.

use crate::pages::{self, Envelope, Format, escape, json_string};
use crate::view::Routes;
use ebbtide_core::{Door, DoorCredentials, DoorRefusal, Now, Reason, ServerView};
use std::fmt::Write;

/// Shown by browsers as it stands, never within another page, and it loads nothing.
const GUARD: &str = "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; \
                     base-uri 'none'; frame-ancestors 'none'\r\n";
/// An address that was asked for may still open a door: it is told to nobody.
const TELL_NOBODY: &str = "Referrer-Policy: no-referrer\r\n";
/// The forms of the door's page must say where they come from.
const TELL_US: &str = "Referrer-Policy: same-origin\r\n";

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--key:#0b6bcb}\
body{font:1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:8vh auto;padding:0 1rem}\
h1{font-size:1.5rem}table{width:100%;border-collapse:collapse;margin:1.5rem 0}\
td,th{padding:.6rem .5rem;border-top:1px solid var(--line);text-align:left}\
tr.here{background:var(--soft);font-weight:600}td:last-child{text-align:right}\
form{margin:0}label{display:block;margin:.5rem 0}\
input{font:inherit;display:block;width:100%;box-sizing:border-box;padding:.4rem}\
button,a.key{font:inherit;padding:.35rem .9rem;border:1px solid var(--key);border-radius:.4rem;\
background:none;color:var(--key);cursor:pointer;text-decoration:none}\
button.leave{border-color:#c33;color:#c33}\
fieldset{border:1px solid var(--line);border-radius:.4rem;margin:1.5rem 0}\
small{opacity:.75}";

/// A short message instead of what was asked for.
pub(crate) struct Message<'a> {
    pub status: u16,
    pub title: &'a str,
    pub text: &'a str,
    /// Fields of the answer, each with its line end.
    pub fields: String,
    /// The address of the door's own page, where there is one to go to.
    pub door: Option<String>,
}

/// Why nobody comes in here, for whoever tried.
pub(crate) fn of_refusal(refusal: DoorRefusal) -> Message<'static> {
    let (title, text) = match refusal {
        DoorRefusal::OtherPool => (
            "Another pool's door",
            "This door leads into another pool and is worth nothing here.",
        ),
        DoorRefusal::Used => (
            "This address was used already",
            "Each address of a door works once, in one browser. If that was not you, tell whoever \
             opened the door; otherwise open another one.",
        ),
        DoorRefusal::Unknown | DoorRefusal::Over => (
            "This door is over",
            "Its time was up, it was closed, or Ebbtide was started again; or its address was copied \
             wrongly. Open another one to go on: without a door, this browser is a user's from its \
             next request on.",
        ),
    };
    Message {
        status: 403,
        title,
        text,
        fields: String::new(),
        door: None,
    }
}

impl Message<'_> {
    /// Writes it with its head; the length of its body.
    pub fn write(&self, out: &mut Vec<u8>, format: Format, envelope: Envelope) -> usize {
        let (title, text) = (self.title, self.text);
        let (media_type, body) = match format {
            Format::Html => {
                let link = self.door.as_ref().map_or_else(String::new, |door| {
                    format!(
                        "<p><a class=\"key\" href=\"{}\">To the door</a></p>",
                        escape(door)
                    )
                });
                let content = format!("<h1>{}</h1><p>{}</p>{link}", escape(title), escape(text));
                ("text/html; charset=utf-8", html(title, &content))
            }
            Format::Json => (
                "application/json",
                format!(
                    "{{\"status\":{},\"error\":{},\"message\":{}}}\n",
                    self.status,
                    json_string(title),
                    json_string(text)
                ),
            ),
            Format::Plain => ("text/plain; charset=utf-8", format!("{title}\n\n{text}\n")),
        };
        let fields = format!("{GUARD}{TELL_NOBODY}{}", self.fields);
        pages::write_answer(out, self.status, (media_type, &fields), &body, envelope)
    }
}

/// Writes the holder's own page; the length of its body.
pub(crate) fn write_door(
    out: &mut Vec<u8>,
    (door, routes, now): (&Door, &Routes, Now),
    envelope: Envelope,
) -> usize {
    let pool = &routes.pool;
    let form = format!(
        "<input type=\"hidden\" name=\"form\" value=\"{}\">",
        door.form_text()
    );
    let here = pool.server(door.server());
    let name = here.map_or("a server that is gone", |server| &server.name);
    let minutes = door.until.since(now.moment).0.div_ceil(60_000);
    let admin = match door.as_admin {
        true => " Requests say that an administrator comes.",
        false => "",
    };
    let mut content = format!(
        "<h1>{pool_name}: you are on {name}</h1>\
         <p>You came in through a door that {by} opened. It closes in {minutes} min.{admin} \
         Users neither see it nor count with you.</p>\
         <p><a class=\"key\" href=\"/\">To the application</a></p><table>\
         <tr><th>Server</th><th>Standing</th><th></th></tr>",
        pool_name = escape(&pool.config.name),
        name = escape(name),
        by = escape(&door.by),
    );
    for server in &pool.servers {
        put_server(&mut content, server, server.key == door.server(), &form);
    }
    content.push_str("</table>");
    if pool.config.door.credentials == DoorCredentials::Ask {
        let state = match door.credentials() {
            Some(_) => "Servers are sent what you gave. Give it again to change it.",
            None => {
                "This pool's servers ask who comes. What you give is kept in memory for this \
                     door only."
            }
        };
        // Writing to a string does not fail, here and below.
        let _ = write!(
            content,
            "<form method=\"post\"><fieldset><legend>User name and password</legend><p>{state}</p>\
             {form}<label>User name<input name=\"user\" autocomplete=\"off\" required></label>\
             <label>Password<input name=\"password\" type=\"password\" autocomplete=\"off\"></label>\
             <button name=\"action\" value=\"credentials\">Use these</button></fieldset></form>"
        );
    }
    let _ = write!(
        content,
        "<form method=\"post\">{form}<button class=\"leave\" name=\"action\" value=\"leave\">\
         Leave, and close the door</button></form>"
    );
    let body = html(&format!("Door: {}", pool.config.name), &content);
    let media_type = "text/html; charset=utf-8";
    let fields = format!("{GUARD}{TELL_US}");
    pages::write_answer(out, 200, (media_type, &fields), &body, envelope)
}

fn put_server(content: &mut String, server: &ServerView, is_here: bool, form: &str) {
    let name = escape(&server.name);
    let (class, action) = match is_here {
        true => (" class=\"here\"", "you are here".to_owned()),
        false => (
            "",
            format!(
                "<form method=\"post\">{form}<input type=\"hidden\" name=\"server\" \
                 value=\"{name}\"><button name=\"action\" value=\"switch\">Go to {name}</button></form>"
            ),
        ),
    };
    let standing = server.standing.reason.label();
    let _ = write!(
        content,
        "<tr{class}><td>{name}</td><td>{standing}</td><td>{action}</td></tr>"
    );
}

/// What is said when the door's server does not answer.
pub(crate) fn of_silence(server: &ServerView, prefix: &str, retries: bool) -> Message<'static> {
    let text = match server.standing.reason {
        Reason::Down => {
            "The server behind this door cannot be reached, and its health checks fail too. This \
             page tries again by itself."
        }
        _ => {
            "The server behind this door cannot be reached at the moment. This page tries again by \
             itself."
        }
    };
    let refresh = if retries { "Refresh: 5\r\n" } else { "" };
    Message {
        status: 502,
        title: "The server does not answer",
        text,
        fields: format!("Retry-After: 5\r\n{refresh}"),
        door: Some(format!("{prefix}/door")),
    }
}

fn html(title: &str, content: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{}</title>\
         <style>{STYLE}</style></head><body>{content}</body></html>\n",
        escape(title)
    )
}
