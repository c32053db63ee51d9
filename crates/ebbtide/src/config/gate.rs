//! What people meet who cannot get in, as the file says it.

use super::build::{maybe, number, value};
use super::read::Section;
use ebbtide_core::{GateSettings, HealthPage};

/// The settings of a pool's gate.
pub(super) fn gate(pool: &Section<'_, '_>) -> GateSettings {
    let pages = pool.section("pages");
    GateSettings {
        closed_page: maybe(pages.text("closed")).map(Into::into),
        full_page: maybe(pages.text("full")).map(Into::into),
        full_text: maybe(pages.text("full_text")),
        queue: maybe(pool.duration("queue")),
        queue_max: number(pool.count("queue_max")),
        health_page: health_page(&pool.section("health_page")),
        end_grace: value(pool.duration("end_grace")),
    }
}

fn health_page(page: &Section<'_, '_>) -> HealthPage {
    let template = page.text("template");
    if let Some(read) = &template
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
