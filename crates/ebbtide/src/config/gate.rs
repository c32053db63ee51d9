//! What people meet who cannot get in, as the file says it.

use super::build::{maybe, number, value};
use super::read::{Read, Section};
use super::value::nearest;
use ebbtide_control::read_page;
use ebbtide_core::{GateSettings, HealthPage};
use std::path::PathBuf;

/// What may stand between braces in a page of the operator's own.
const PLACEHOLDERS: &[&str] = &[
    "title",
    "message",
    "began",
    "ends",
    "expected_end",
    "contact",
    "pool",
];

/// The settings of a pool's gate.
pub(super) fn gate(pool: &Section<'_, '_>) -> GateSettings {
    let pages = pool.section("pages");
    let queue = pool.duration("queue");
    if let (None, Some(read)) = (&queue, pool.count("queue_max").filter(|read| read.written))
        && !pool.writes("queue")
        && !pool.misspells("queue")
    {
        pool.report(
            &read.span,
            format!("{}.queue_max: nobody waits in line", pool.shown()),
            "would not be looked at",
            Some("add `queue = \"30s\"`, how long a new user waits".into()),
        );
    }
    GateSettings {
        closed_page: page_file(&pages, "closed"),
        full_page: page_file(&pages, "full"),
        full_text: maybe(pages.text("full_text")),
        queue: maybe(queue),
        queue_max: number(pool.count("queue_max")),
        health_page: health_page(&pool.section("health_page")),
        end_grace: value(pool.duration("end_grace")),
    }
}

/// A page of the operator's own.
fn page_file(pages: &Section<'_, '_>, name: &str) -> Option<PathBuf> {
    let read = pages.text(name)?;
    let path = PathBuf::from(&read.value);
    if pages.looks_into_pages() {
        match read_page(&path) {
            Err(why) => pages.report(
                &read.span,
                format!("{}.{name}: {why}", pages.shown()),
                "users would get the built-in page",
                Some(
                    "write the path of a file in UTF-8, up to 1 MiB, that Ebbtide may read".into(),
                ),
            ),
            Ok(page) => {
                check_placeholders(pages, (name, &read), &page, PLACEHOLDERS);
            }
        }
    }
    Some(path)
}

/// Whether every placeholder in `text`, which a setting holds or names, is `known`; the first that is
/// not is reported.
fn check_placeholders(
    section: &Section<'_, '_>,
    (name, read): (&str, &Read<String>),
    text: &str,
    known: &[&str],
) -> bool {
    // What is no name between its braces belongs to something else, such as a script.
    let is_name = |name: &&str| {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        !name.is_empty() && name.bytes().all(letters)
    };
    let parts = text.split("{{").skip(1);
    let names = parts.filter_map(|part| Some(part.split_once("}}")?.0.trim()));
    let Some(wrong) = names.filter(is_name).find(|name| !known.contains(name)) else {
        return true;
    };
    let help = match nearest(wrong, known.iter().copied()) {
        Some(near) => format!("did you mean `{{{{{near}}}}}`?"),
        None => format!("known here: {}", known.join(", ")),
    };
    section.report(
        &read.span,
        format!(
            "{}.{name}: nothing is known for `{{{{{wrong}}}}}`",
            section.shown()
        ),
        "a placeholder that would be left as it is",
        Some(help),
    );
    false
}

fn health_page(page: &Section<'_, '_>) -> HealthPage {
    let template = page.text("template");
    if let Some(read) = &template
        && check_placeholders(page, ("template", read), &read.value, &["status"])
        && !read.value.contains("{{status}}")
    {
        page.report(
            &read.span,
            format!("{}.template: does not say `{{{{status}}}}`", page.shown()),
            "a balancer would see no status",
            Some("write `{{status}}` where `ACTIVE - 12 Sessions Available` is to stand".into()),
        );
    }
    let content_type = page.text("content_type");
    if let Some(read) = &content_type
        && !read.value.is_ascii()
    {
        page.report(
            &read.span,
            format!("{}.content_type: not plain ASCII", page.shown()),
            "not a media type",
            Some("write one such as \"text/html; charset=utf-8\"".into()),
        );
    }
    // RFC 9110, 6.4.1: these have no content, so they could not say anything.
    for name in ["active", "hold", "full"] {
        let read = page.count(name);
        if let Some(read) = read.filter(|read| [204, 205, 304].contains(&read.value)) {
            page.report(
                &read.span,
                format!(
                    "{}.{name}: {} is never sent with a page",
                    page.shown(),
                    read.value
                ),
                "a status without content",
                Some("write one such as 200 or 503".into()),
            );
        }
    }
    HealthPage {
        template: maybe(template),
        content_type: value(content_type),
        active: number(page.count("active")),
        hold: number(page.count("hold")),
        full: number(page.count("full")),
    }
}
