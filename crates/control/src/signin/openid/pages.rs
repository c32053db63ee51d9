//! The pages between the page for signing in and the provider.

use super::super::browser::{cookie, is_https, set_cookie};
use super::super::csrf::{csrf_token, fields};
use super::super::guard::address;
use super::super::pages::{Form, OnPage, SignInPage, go_on, no_form, page, refused};
use super::flow::{Flow, SECONDS_MAX};
use super::{Back, COOKIE, NotVouched, OPENID_BACK, OpenId};
use crate::admin::{App, Caller, Via};
use axum::extract::{Request, State};
use axum::http::header::{ORIGIN, RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};

/// Where the way to the provider begins.
pub(in crate::signin) const WAY: &str = "/sign-in/openid";
/// The same for whoever is signed in.
pub(in crate::signin) const WAY_AGAIN: &str = "/sign-in/openid/again";
/// Where the way ends.
const IN: &str = "/sign-in/openid/in";
/// Bytes of what browsers are sent back with, at most.
const QUERY_BYTES_MAX: usize = 8 * 1024;

/// The pages for whoever is not signed in, or may not be.
pub(in crate::signin) fn open_routes() -> Router<App> {
    Router::new()
        .route(WAY, post(send_out))
        .route(OPENID_BACK, get(lead_on))
        .route(IN, get(come_in))
}

/// The pages for whoever is signed in.
pub(in crate::signin) fn own_routes() -> Router<App> {
    Router::new().route(WAY_AGAIN, post(send_out_again))
}

fn none() -> Response {
    let text = "Nobody signs in by a provider here: the configuration names none.";
    refused(404, "Not here", text)
}

/// `POST /sign-in/openid`
async fn send_out(State(app): State<App>, request: Request) -> Response {
    on_the_way(&app, None, request).await
}

/// `POST /sign-in/openid/again`
async fn send_out_again(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    on_the_way(&app, Some(&caller), request).await
}

async fn on_the_way(app: &App, caller: Option<&Caller>, request: Request) -> Response {
    let Some(openid) = &app.signin.openid else {
        return none();
    };
    let (headers, from) = (request.headers().clone(), address(&request));
    let Some(form) = Form::read(request).await else {
        return no_form();
    };
    let sent = match check_origin(openid, &headers) {
        Ok(()) => {
            let waiting = (form.replay.clone(), from);
            let sent = openid.send_out(&app.outside, caller.is_some(), &form.next, waiting);
            sent.await
        }
        Err(failure) => Err(failure),
    };
    match sent {
        Ok((address, held)) => {
            let mut response = page(200, &OnPage { next: &address });
            let text = format!("{COOKIE}={held}; Max-Age={SECONDS_MAX}");
            let field = cookie(&text, WAY, is_https(&headers));
            response.headers_mut().insert(SET_COOKIE, field);
            response
        }
        Err(failure) => not_vouched(app, caller, &failure, (&form.next, &form.replay)),
    }
}

/// Whoever comes back to another address than he left has none of the cookies there.
fn check_origin(openid: &OpenId, headers: &HeaderMap) -> Result<(), NotVouched> {
    let back = openid.options().redirect.origin();
    match headers.get(ORIGIN) {
        Some(origin) if *origin != *back => {
            let text = format!(
                "Whoever signs in by the provider comes back to {back}. Open the console there, and sign \
                 in from there."
            );
            Err(NotVouched::new(400, text))
        }
        _ => Ok(()),
    }
}

/// `GET /sign-in/openid/back`: leads on, so that it is our page that asks and not the provider's.
async fn lead_on(State(app): State<App>, uri: Uri) -> Response {
    if app.signin.openid.is_none() {
        return none();
    }
    match uri.query() {
        Some(query) if query.len() <= QUERY_BYTES_MAX => {
            let next = format!("{IN}?{query}");
            page(200, &OnPage { next: &next })
        }
        _ => not_vouched(&app, None, &NotVouched::lost(), ("/", "")),
    }
}

/// `GET /sign-in/openid/in`
async fn come_in(State(app): State<App>, request: Request) -> Response {
    let Some(openid) = &app.signin.openid else {
        return none();
    };
    let (headers, from) = (request.headers(), address(&request));
    let mut back = Back::default();
    for (name, value) in fields(request.uri().query().unwrap_or_default().as_bytes()) {
        match name.as_str() {
            "state" => back.state = value,
            "code" => back.code = value,
            "error" => back.error = value,
            "iss" => back.issuer = Some(value),
            _ => {}
        }
    }
    let Some(flow) = openid.way(headers, &back) else {
        return not_vouched(&app, None, &NotVouched::lost(), ("/", ""));
    };
    let before = app.signin.find(headers, true);
    let csrf = before
        .as_ref()
        .map(|(browser, _)| browser.csrf().to_owned());
    let session = before.map(|(browser, holder)| (*browser.key(), holder));
    let caller = Caller::of(&app, &request).ok().flatten();
    let way = (&flow, &back);
    let come = app
        .signin
        .come_back(openid, &app.outside, way, session, from);
    let come = come.await;
    let replay = openid.take_form(&flow);
    let is_https = openid.options().redirect.is_tls;
    let mut response = match &come {
        Ok(secret) => {
            let csrf = secret.as_deref().map(csrf_token).or(csrf);
            go_on(&flow.next, &replay, &csrf.unwrap_or_default())
        }
        Err(failure) => {
            let caller = caller.as_ref().filter(|caller| is_again(&flow, caller));
            not_vouched(&app, caller, failure, (&flow.next, &replay))
        }
    };
    let fields = response.headers_mut();
    let gone = cookie(&format!("{COOKIE}=; Max-Age=0"), WAY, is_https);
    fields.append(SET_COOKIE, gone);
    if let Ok(Some(secret)) = &come {
        fields.append(SET_COOKIE, set_cookie(secret, is_https));
    }
    response
}

fn is_again(flow: &Flow, caller: &Caller) -> bool {
    flow.is_again && matches!(caller.via(), Via::Browser(_))
}

/// Where people sign in, with what went wrong: nothing that was typed is lost, and there may be another
/// way.
fn not_vouched(
    app: &App,
    caller: Option<&Caller>,
    failure: &NotVouched,
    (next, replay): (&str, &str),
) -> Response {
    let mut asked = match caller {
        Some(caller) => SignInPage::again(app, caller, next, replay),
        None => SignInPage::new(app, next, replay, ""),
    };
    asked.problem = failure.text.clone();
    let mut response = page(failure.status, &asked);
    if let Some(wait) = failure.wait {
        let seconds = HeaderValue::from(wait.0.div_ceil(1000));
        response.headers_mut().insert(RETRY_AFTER, seconds);
    }
    response
}
