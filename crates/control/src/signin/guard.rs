//! Layers around the console's pages: who is signed in, what was forged, and what browsers are told to
//! refuse by themselves.

use super::csrf;
use super::pages;
use crate::admin::{App, Caller, Peer, Via};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Response as HttpResponse};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use ebbtide_api::Role;
use http_body::{Frame, SizeHint};
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::watch;

/// A request that a page makes by itself, to stay up to date, carries this field: it is no sign of life
/// of its user's.
const LIVE: HeaderName = HeaderName::from_static("ebbtide-live");

/// What the console's pages may do: load what this node serves, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Lets only those reach these pages who are signed in, and nobody by a forged request. Whoever is not
/// signed in is led to where he can, and back.
pub(crate) fn guard(app: &App, pages: Router<App>) -> Router<App> {
    pages
        .layer(from_fn_with_state(app.clone(), signed_in))
        .layer(from_fn(headers))
}

async fn signed_in(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let caller = match Caller::of(&app, &request) {
        Ok(caller) => caller,
        Err(text) => return pages::refused(403, "Not for you", text),
    };
    let Some(caller) = caller else {
        return pages::not_signed_in(&app, request).await;
    };
    request.extensions_mut().insert(caller.clone());
    match admit(&caller, request, next).await {
        Ok(response) => response,
        Err(text) => pages::refused(403, "Not done", text),
    }
}

/// Refuses what a browser was made to send; ends what streams to a browser when its session ends.
pub(crate) async fn admit(
    caller: &Caller,
    mut request: Request,
    next: Next,
) -> Result<Response, &'static str> {
    let Via::Browser(browser) = caller.via() else {
        return Ok(next.run(request).await);
    };
    if csrf::changes(request.method()) {
        request = csrf::check(request, browser.csrf()).await?;
    }
    let response = next.run(request).await;
    Ok(until_over(response, browser.over()))
}

/// Layer: refuses callers whose role is less than `needed`, and writes that down.
pub(crate) async fn require(
    State((app, needed)): State<(App, Role)>,
    request: Request,
    next: Next,
) -> Response {
    let Some(caller) = request.extensions().get::<Caller>() else {
        return pages::refused(403, "Not for you", "nobody is signed in");
    };
    if caller.role() >= needed {
        return next.run(request).await;
    }
    let what = format!("{} {}", request.method(), request.uri().path());
    let text = caller.is_refused(&app, needed, &what);
    pages::refused(403, "Not for your role", &text)
}

/// Layer: what every page of the console is sent with.
pub(crate) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let fields = response.headers_mut();
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        // `no-referrer` would make browsers hide the origin of forms, by which forged ones are known.
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        let name = HeaderName::from_static(name);
        fields.insert(name, HeaderValue::from_static(value));
    }
    let no_store = HeaderValue::from_static("no-store");
    fields.entry(CACHE_CONTROL).or_insert(no_store);
    response
}

/// Whether a request shows that its user is there.
pub(crate) fn is_sign_of_life(headers: &HeaderMap) -> bool {
    let accept = headers.get(axum::http::header::ACCEPT);
    let is_stream = accept.is_some_and(|value| value == "text/event-stream");
    !is_stream && !headers.contains_key(LIVE)
}

/// Where a request comes from. A caller at the UNIX socket is on this machine.
pub(super) fn address(request: &Request) -> IpAddr {
    match request.extensions().get() {
        Some(Peer::Tcp(address)) => address.ip(),
        _ => Ipv4Addr::LOCALHOST.into(),
    }
}

fn until_over(response: Response, over: watch::Receiver<()>) -> Response {
    let kind = response.headers().get(CONTENT_TYPE);
    if kind.is_none_or(|kind| !kind.as_bytes().starts_with(b"text/event-stream")) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let over = Box::pin(async move {
        let mut over = over;
        while over.changed().await.is_ok() {}
    });
    HttpResponse::from_parts(parts, Body::new(UntilOver { body, over }))
}

/// A body that ends when the session does.
struct UntilOver {
    body: Body,
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl http_body::Body for UntilOver {
    type Data = axum::body::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if self.over.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.body)
    }
}
