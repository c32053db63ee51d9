//! What stands around every page: its top, the red banner, and the policy that browsers keep to.

use super::super::answer::ApiError;
use super::desk::Desk;
use super::words::{self, countdown, escape, time};
use super::{Drawn, assets};
use askama::Template;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use ebbtide_api::{ErrorDetail, ErrorKind, PoolStatus, Role, Status};

/// Says that the page's script asks, and not the browser: it wants a part of a page.
const PART: HeaderName = HeaderName::from_static("x-ebbtide-part");

/// The links at the top.
const LINKS: [(&str, &str); 9] = [
    ("/", "Pools"),
    ("/sessions", "Sessions"),
    ("/maintenance", "Maintenance"),
    ("/replicas", "Replicas"),
    ("/events", "Events"),
    ("/audit", "Audit"),
    ("/node", "Node"),
    (ACCESS, "Access"),
    ("/api", "API"),
];

/// A page for administrators.
const ACCESS: &str = "/access";

/// The links that lead somewhere for callers of this role.
fn links(role: Option<Role>) -> Vec<(&'static str, &'static str)> {
    let is_admin = role == Some(Role::Admin);
    let links = LINKS.into_iter();
    links
        .filter(|(href, _)| is_admin || *href != ACCESS)
        .collect()
}

#[derive(Template)]
#[template(path = "frame.html")]
struct Frame<'a> {
    title: &'a str,
    here: &'a str,
    links: Vec<(&'static str, &'static str)>,
    name: &'a str,
    role: Option<Role>,
    /// Empty for callers that need none, and cannot sign out.
    csrf: &'a str,
    /// Whether there is a password of theirs to change.
    has_password: bool,
    live: &'a str,
    /// Whether the page is kept up to date.
    is_live: bool,
    script: &'static str,
    style: &'static str,
    run: &'a str,
}

#[derive(Template)]
#[template(path = "live.html")]
struct Live<'a> {
    alarms: &'a [Alarm],
    troubles: &'a [String],
    main: &'a str,
}

/// A pool that is closing or closed.
struct Alarm {
    pool: String,
    /// HTML.
    text: String,
}

/// A template, filled in.
pub(super) fn written(template: &impl Template) -> Result<String, ApiError> {
    template.render().map_err(|error| {
        ApiError::new(
            500,
            ErrorKind::Internal,
            format!("the page cannot be written: {error}"),
        )
    })
}

/// Whether the page's script asks for a part of a page.
pub(super) fn wants_part(headers: &HeaderMap) -> bool {
    headers.contains_key(PART)
}

/// A whole page.
pub(super) async fn page(desk: &Desk, here: &str, drawn: &Drawn) -> Result<Response, ApiError> {
    let live = live(desk, &drawn.main).await?;
    let run = run_of(desk);
    let frame = Frame {
        title: &drawn.title,
        here,
        links: links(Some(desk.role())),
        name: desk.name(),
        role: Some(desk.role()),
        csrf: desk.caller.csrf(),
        has_password: desk.caller.has_password(),
        live: &live,
        is_live: true,
        script: assets::script(),
        style: assets::style(),
        run: &run,
    };
    Ok(Html(written(&frame)?).into_response())
}

/// A page that is not kept up to date: a form that was asked for without the page's script.
pub(super) async fn still(desk: &Desk, drawn: &Drawn) -> Result<Response, ApiError> {
    let live = live(desk, &drawn.main).await?;
    let frame = Frame {
        title: &drawn.title,
        here: "",
        links: links(Some(desk.role())),
        name: desk.name(),
        role: Some(desk.role()),
        csrf: desk.caller.csrf(),
        has_password: desk.caller.has_password(),
        live: &live,
        is_live: false,
        script: assets::script(),
        style: assets::style(),
        run: "",
    };
    Ok(Html(written(&frame)?).into_response())
}

/// Names this run of the program, so that an open page notices another one.
pub(super) fn run_of(desk: &Desk) -> String {
    format!("{}-{}", desk.app.started.wall.0, assets::script())
}

/// The part of a page that is kept up to date.
pub(super) async fn live(desk: &Desk, main: &str) -> Result<String, ApiError> {
    let status = desk.status().await?;
    let alarms: Vec<Alarm> = status.pools.iter().filter_map(alarm).collect();
    written(&Live {
        alarms: &alarms,
        troubles: &troubles(&status),
        main,
    })
}

fn alarm(pool: &PoolStatus) -> Option<Alarm> {
    let intent = &pool.intent;
    let name = escape(&pool.name);
    let sessions: u32 = pool
        .servers
        .iter()
        .map(|server| server.sessions.all())
        .sum();
    let still_in = words::sessions(sessions);
    let mut text = match (intent.label.as_str(), intent.deadline, intent.left_ms) {
        ("open", ..) => return None,
        (_, Some(at), Some(left)) => format!(
            "<strong>{name} is closing</strong> at {}: {} left, {still_in} still in",
            time(at),
            countdown(at, left)
        ),
        _ => format!("<strong>{name} is closed</strong>"),
    };
    if intent.deadline.is_some() && !intent.blocks_new {
        text += ", new ones get in until then";
    }
    if let Some(end) = intent.expected_end {
        text += &format!(", until about {}", time(end));
    }
    if let Some(by) = &intent.by {
        text += &format!(", by {}", escape(by));
    }
    Some(Alarm {
        pool: pool.name.clone(),
        text,
    })
}

/// What else is wrong with the node.
fn troubles(status: &Status) -> Vec<String> {
    let node = &status.node;
    let store = node.store.failure.as_deref().unwrap_or("no reason given");
    let store = format!("The store fails, so no change can be made: {store}");
    let stopping = "This node is being stopped: users go on, changes are refused.".to_owned();
    let store = (!node.store.ok).then_some(store);
    store
        .into_iter()
        .chain(node.stopping.then_some(stopping))
        .collect()
}

/// Gives errors the form of a page.
pub(super) async fn dress(request: Request, next: Next) -> Response {
    let is_part = wants_part(request.headers());
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    if let Some(error) = response.extensions().get::<ErrorDetail>()
        && !path.starts_with("/live/")
    {
        let status = response.status();
        let page = match is_part {
            true => written(&Trouble::of(error)),
            false => trouble_page(error),
        };
        if let Ok(page) = page {
            response = (status, Html(page)).into_response();
        }
    }
    response
}

/// What went wrong, where a page should be.
#[derive(Template)]
#[template(path = "trouble.html")]
struct Trouble<'a> {
    title: &'a str,
    text: &'a str,
}

impl<'a> Trouble<'a> {
    fn of(error: &'a ErrorDetail) -> Self {
        Self {
            title: match error.kind {
                ErrorKind::NotFound => "Not there",
                ErrorKind::Forbidden => "Not allowed",
                ErrorKind::Unauthorized => "Not signed in",
                ErrorKind::Stopping => "This node is being stopped",
                _ => "That did not work",
            },
            text: &error.message,
        }
    }
}

/// What stands in a page's place that cannot be drawn any more.
pub(super) fn trouble(error: &ApiError) -> String {
    let main = written(&Trouble::of(error.detail()));
    main.unwrap_or_else(|error| words::escape(&error.detail().message))
}

fn trouble_page(error: &ErrorDetail) -> Result<String, ApiError> {
    let trouble = Trouble::of(error);
    let main = written(&trouble)?;
    let live = written(&Live {
        alarms: &[],
        troubles: &[],
        main: &main,
    })?;
    written(&Frame {
        title: trouble.title,
        here: "",
        links: links(None),
        name: "",
        role: None,
        csrf: "",
        has_password: false,
        live: &live,
        is_live: false,
        script: assets::script(),
        style: assets::style(),
        run: "",
    })
}
