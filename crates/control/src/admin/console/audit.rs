//! Who did what, when and why.

use super::super::answer::{ApiError, Params};
use super::super::reads;
use super::Drawn;
use super::desk::Desk;
use super::fields::Fields;
use super::words;
use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use ebbtide_api::{AuditEntry, AuditQuery};

/// Lines on a page.
const PAGE: u32 = 100;
/// Lines in a file, at most: the newest ones.
const FILE_LINES_MAX: usize = 20_000;
const FILE_PAGE: u32 = 1000;

#[derive(Template)]
#[template(path = "audit.html")]
struct Page {
    rows: Vec<Row>,
    next: Option<u64>,
    is_first: bool,
}

struct Row {
    /// HTML.
    at: String,
    entry: AuditEntry,
    server: bool,
}

async fn read(
    desk: &Desk,
    before: Option<u64>,
    limit: u32,
) -> Result<(Vec<AuditEntry>, Option<u64>), ApiError> {
    let query = AuditQuery {
        before,
        limit: Some(limit),
    };
    let Json(page) = reads::audit(State(desk.app.clone()), Params(query)).await?;
    Ok((page.entries, page.next))
}

pub(super) async fn draw(desk: &Desk, asked: &Fields) -> Result<Drawn, ApiError> {
    let before = asked.get("before").and_then(|text| text.parse().ok());
    let (entries, next) = read(desk, before, PAGE).await?;
    let row = |entry: AuditEntry| Row {
        at: words::date(entry.at),
        server: entry.target.contains('/'),
        entry,
    };
    let page = Page {
        rows: entries.into_iter().map(row).collect(),
        next,
        is_first: before.is_none(),
    };
    Drawn::new("Audit", &page)
}

async fn lines(desk: &Desk) -> Result<Vec<AuditEntry>, ApiError> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let (entries, next) = read(desk, before, FILE_PAGE).await?;
        all.extend(entries);
        before = next;
        if before.is_none() || all.len() >= FILE_LINES_MAX {
            return Ok(all);
        }
    }
}

fn file(name: &'static str, media_type: &'static str, text: String) -> Response {
    (
        [(CONTENT_TYPE, media_type), (CONTENT_DISPOSITION, name)],
        text,
    )
        .into_response()
}

/// The newest lines as JSON, as the API tells them.
pub(super) async fn json(desk: Desk) -> Result<Response, ApiError> {
    let lines = lines(&desk).await?;
    let text = serde_json::to_string_pretty(&lines)
        .expect("audit lines are structs of text and numbers, which JSON can hold");
    Ok(file(
        "attachment; filename=\"audit.json\"",
        "application/json",
        text,
    ))
}

/// The newest lines as CSV (RFC 4180).
pub(super) async fn csv(desk: Desk) -> Result<Response, ApiError> {
    let mut text = String::from("number,at,who,from,action,target,forced,reason,outcome\r\n");
    for line in lines(&desk).await? {
        let cells = [
            line.id.to_string(),
            line.at.to_string(),
            line.who,
            line.from,
            line.action,
            line.target,
            line.forced.to_string(),
            line.reason.unwrap_or_default(),
            line.outcome,
        ];
        text += &cells.map(|text| cell(&text)).join(",");
        text += "\r\n";
    }
    Ok(file(
        "attachment; filename=\"audit.csv\"",
        "text/csv; charset=utf-8",
        text,
    ))
}

/// One value. Spreadsheets take what begins like a formula for one: those get an apostrophe.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = match is_formula && text != "-" {
        true => format!("'{text}"),
        false => text.to_owned(),
    };
    match text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn a_cell_is_a_text_and_no_formula() {
        assert_eq!(cell("a, \"b\""), "\"a, \"\"b\"\"\"");
        assert_eq!(cell("=HYPERLINK(1)"), "'=HYPERLINK(1)");
        assert_eq!(cell("@x,y"), "\"'@x,y\"");
        assert_eq!(cell("-"), "-");
        assert_eq!(cell("plain"), "plain");
    }
}
