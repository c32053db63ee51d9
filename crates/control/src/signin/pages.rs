//! The pages for signing in and out, and what whoever is not signed in gets instead of a page.
//!
//! Somebody whose sign-in ended in the middle of a form does not lose what he typed: the form travels
//! through the sign-in as `replay`, and he sends it himself afterwards, with a look at what it says.

use super::browser::{clear_cookie, is_https, key, secrets, set_cookie};
use super::csrf::{CSRF_FIELD, FORM_BYTES_MAX, csrf_token, fields, is_form};
use super::guard::{address, guard, headers};
use super::{NotIn, SessionKey, openid, own};
use crate::admin::{App, Caller, Via};
use askama::Template;
use axum::Extension;
use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER, SET_COOKIE,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::from_fn;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};

/// Bytes of a form that travels through a sign-in, at most.
const REPLAY_BYTES_MAX: usize = 16 * 1024;
/// Bytes of an address to come back to, at most.
const NEXT_BYTES_MAX: usize = 2000;
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
pub(super) const HOME: &str = "/";
pub(super) const SIGN_IN: &str = "/sign-in";
const AGAIN: &str = "/sign-in/again";

/// Fields of forms that do not travel: passwords for others, and what asks for them anew.
pub(crate) const SECRET_FIELDS: [(&str, &str); 2] = [
    ("password", "Password: at least 12 characters"),
    ("password_again", "The same again"),
];

/// The pages for signing in and out.
pub(crate) fn routes(app: &App) -> Router<App> {
    let open = Router::new()
        .route(SIGN_IN, get(ask).post(enter))
        .route("/sign-in/style.css", get(style))
        .merge(openid::open_routes());
    let own = Router::new()
        .route(AGAIN, get(ask_again_plainly).post(again))
        .route("/sign-out", post(sign_out))
        .route("/sign-out/everywhere", post(sign_out_everywhere))
        .merge(own::routes())
        .merge(openid::own_routes());
    open.layer(from_fn(headers)).merge(guard(app, own))
}

#[derive(Template, Default)]
#[template(path = "signin/sign_in.html")]
pub(super) struct SignInPage<'a> {
    heading: &'a str,
    /// Where the password goes; empty: there is none.
    action: &'a str,
    /// Where the way to the provider begins, and the provider; empty: there is none.
    way: &'a str,
    provider: &'a str,
    /// He is signed in, and shows again who he is.
    is_again: bool,
    name: &'a str,
    next: &'a str,
    replay: &'a str,
    csrf: &'a str,
    pub problem: String,
    hint: &'a str,
}

impl<'a> SignInPage<'a> {
    /// The page for whoever is not signed in.
    pub(super) fn new(app: &'a App, next: &'a str, replay: &'a str, hint: &'a str) -> Self {
        let provider = app.signin.provider();
        Self {
            heading: "Sign in",
            action: SIGN_IN,
            way: provider.map_or("", |_| openid::WAY),
            provider: provider.unwrap_or_default(),
            next,
            replay,
            hint,
            ..Self::default()
        }
    }

    /// The page for whoever is.
    pub(super) fn again(app: &'a App, caller: &'a Caller, next: &'a str, replay: &'a str) -> Self {
        let is_vouched = matches!(caller.via(), Via::Browser(browser) if browser.is_vouched());
        let (heading, action, way) = match is_vouched {
            true => ("Show again who you are, please", "", openid::WAY_AGAIN),
            false => ("Your password again, please", AGAIN, ""),
        };
        Self {
            heading,
            action,
            way,
            provider: app.signin.provider().unwrap_or_default(),
            is_again: true,
            name: caller.name(),
            next,
            replay,
            csrf: caller.csrf(),
            hint: "This asks again who you are: you signed in some time ago.",
            ..Self::default()
        }
    }
}

#[derive(Template)]
#[template(path = "signin/repeat.html")]
struct RepeatPage<'a> {
    next: &'a str,
    csrf: &'a str,
    fields: &'a [(String, String)],
    /// Passwords to type again: names and labels.
    secrets: &'a [(&'static str, &'static str)],
}

#[derive(Template)]
#[template(path = "signin/refused.html")]
struct RefusedPage<'a> {
    heading: &'a str,
    text: &'a str,
}

#[derive(Template)]
#[template(path = "signin/on.html")]
pub(super) struct OnPage<'a> {
    pub next: &'a str,
}

pub(super) fn page(status: u16, template: &impl Template) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match template.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(error) => {
            tracing::error!("a page cannot be made: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A page that says why something was not done.
pub(crate) fn refused(status: u16, heading: &str, text: &str) -> Response {
    page(status, &RefusedPage { heading, text })
}

fn redirect(to: &str) -> Response {
    let to = HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static(HOME));
    (StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response()
}

async fn style() -> impl IntoResponse {
    let fields = [
        (CONTENT_TYPE, "text/css; charset=utf-8"),
        (CACHE_CONTROL, "max-age=3600"),
    ];
    (fields, include_str!("../../templates/signin/style.css"))
}

/// An address of this node's own, to go on to; [`HOME`] for whatever else is asked.
pub(super) fn local(next: &str) -> &str {
    let is_plain = next
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let is_local = next.starts_with('/') && !next.starts_with("//");
    let is_page = !next.starts_with("/sign-") && next.len() <= NEXT_BYTES_MAX;
    if is_plain && is_local && is_page {
        next
    } else {
        HOME
    }
}

/// What the forms of these pages carry.
#[derive(Default)]
pub(super) struct Form {
    name: String,
    pub password: String,
    /// Of whoever changes his own password.
    pub new: String,
    pub again: String,
    pub next: String,
    pub replay: String,
}

impl Form {
    pub async fn read(request: Request) -> Option<Self> {
        if !is_form(request.headers()) {
            return None;
        }
        let bytes = to_bytes(request.into_body(), FORM_BYTES_MAX).await.ok()?;
        let mut form = Self::default();
        for (name, value) in fields(&bytes) {
            match name.as_str() {
                "name" => form.name = value,
                "password" => form.password = value,
                "new" => form.new = value,
                "again" => form.again = value,
                "next" => form.next = local(&value).to_owned(),
                "replay" if value.len() <= REPLAY_BYTES_MAX => form.replay = value,
                _ => {}
            }
        }
        Some(form)
    }
}

pub(super) fn no_form() -> Response {
    refused(
        400,
        "Not understood",
        "This is not the form that was sent out, or it broke off.",
    )
}

/// `GET /sign-in`
async fn ask(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Response {
    let query = fields(uri.query().unwrap_or_default().as_bytes());
    let next = query.iter().find(|(name, _)| name == "next");
    let next = next.map_or(HOME, |(_, next)| local(next));
    if app.signin.find(&headers, true).is_some() {
        return redirect(next);
    }
    let hint = app.signin.trouble().unwrap_or_default();
    page(200, &SignInPage::new(&app, next, "", &hint))
}

/// `POST /sign-in`
async fn enter(State(app): State<App>, request: Request) -> Response {
    let (from, headers) = (address(&request), request.headers().clone());
    let Some(form) = Form::read(request).await else {
        return no_form();
    };
    let before = secrets(&headers).next().map(key);
    let signed_in = app.signin.sign_in(&form.name, form.password, from, before);
    match signed_in.await {
        Ok(secret) => {
            let csrf = csrf_token(&secret);
            let mut response = go_on(&form.next, &form.replay, &csrf);
            let cookie = set_cookie(&secret, is_https(&headers));
            response.headers_mut().insert(SET_COOKIE, cookie);
            response
        }
        Err(why) => {
            let hint = app.signin.trouble().unwrap_or_default();
            not_in(
                why,
                SignInPage {
                    name: &form.name,
                    ..SignInPage::new(&app, &form.next, &form.replay, &hint)
                },
            )
        }
    }
}

/// Back to where he was; with a form that was not sent, to a page that shows it.
pub(super) fn go_on(next: &str, replay: &str, csrf: &str) -> Response {
    let next = local(next);
    if replay.is_empty() {
        return redirect(next);
    }
    let (emptied, fields): (Vec<_>, Vec<_>) = fields(replay.as_bytes())
        .into_iter()
        .partition(|(name, _)| is_secret(name));
    let is_asked = |(name, _): &(&str, &str)| emptied.iter().any(|(other, _)| other == name);
    let secrets: Vec<_> = SECRET_FIELDS.into_iter().filter(is_asked).collect();
    page(
        200,
        &RepeatPage {
            next,
            csrf,
            fields: &fields,
            secrets: &secrets,
        },
    )
}

fn is_secret(name: &str) -> bool {
    SECRET_FIELDS.iter().any(|(secret, _)| *secret == name)
}

/// The status, what the page says, and after how many seconds to try again.
pub(super) fn refusal(why: NotIn) -> (u16, String, Option<u64>) {
    match why {
        NotIn::Wrong => (401, "The name or the password is wrong.".to_owned(), None),
        NotIn::Wait(span) => {
            let seconds = span.0.div_ceil(1000);
            let text =
                format!("Too many tries have failed. The next one is possible in {seconds} s.");
            (429, text, Some(seconds))
        }
        NotIn::Busy => {
            let text = "Too many people sign in at this moment. Please try again.";
            (503, text.to_owned(), Some(1))
        }
    }
}

fn not_in(why: NotIn, mut asked: SignInPage<'_>) -> Response {
    let (status, problem, wait) = refusal(why);
    asked.problem = problem;
    with_wait(page(status, &asked), wait)
}

pub(super) fn with_wait(mut response: Response, wait: Option<u64>) -> Response {
    if let Some(seconds) = wait {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// Instead of a forced change whose caller's sign-in is not fresh: asks again who it is, and then for the
/// form again. `form` is its body.
pub(crate) fn ask_again(app: &App, caller: &Caller, uri: &Uri, form: &[u8]) -> Response {
    let replay = replayed(form);
    page(
        403,
        &SignInPage::again(app, caller, local(uri.path()), &replay),
    )
}

/// `GET /sign-in/again`
async fn ask_again_plainly(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Response {
    let query = fields(uri.query().unwrap_or_default().as_bytes());
    let next = query.iter().find(|(name, _)| name == "next");
    let next = next.map_or(HOME, |(_, next)| local(next));
    page(200, &SignInPage::again(&app, &caller, next, ""))
}

/// `POST /sign-in/again`
async fn again(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    let from = address(&request);
    let Via::Browser(browser) = caller.via() else {
        return redirect(HOME);
    };
    // Who has no password here has none to guess either.
    if browser.is_vouched() {
        return redirect(AGAIN);
    }
    let Some(form) = Form::read(request).await else {
        return no_form();
    };
    // Whose password it is says the session, and not the form.
    let proven = app
        .signin
        .prove(browser.key(), caller.name(), form.password, from);
    match proven.await {
        Ok(()) => go_on(&form.next, &form.replay, browser.csrf()),
        Err(why) => not_in(
            why,
            SignInPage::again(&app, &caller, &form.next, &form.replay),
        ),
    }
}

/// `POST /sign-out`
async fn sign_out(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    if let Via::Browser(browser) = caller.via() {
        let (key, from): (SessionKey, _) = (*browser.key(), address(&request));
        app.signin.sign_out(&key, caller.name(), from);
    }
    out(request.headers())
}

/// `POST /sign-out/everywhere`
async fn sign_out_everywhere(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    if let Via::Browser(browser) = caller.via() {
        let (key, from) = (browser.key(), address(&request));
        app.signin.sign_out_everywhere(key, caller.name(), from);
    }
    out(request.headers())
}

fn out(headers: &HeaderMap) -> Response {
    let mut response = redirect(SIGN_IN);
    response
        .headers_mut()
        .insert(SET_COOKIE, clear_cookie(is_https(headers)));
    response
}

/// What whoever is not signed in gets instead of a page.
pub(super) async fn not_signed_in(app: &App, request: Request) -> Response {
    let headers = request.headers();
    let is_navigation = headers
        .get(FETCH_MODE)
        .is_none_or(|mode| mode == "navigate");
    let is_from_elsewhere = headers
        .get(FETCH_SITE)
        .is_some_and(|site| site == "cross-site");
    if !is_navigation {
        let text = "You are not signed in any more. Sign in again, in another window if you like.";
        return refused(401, "Signed out", text);
    }
    let target = request.uri().path_and_query();
    let target = target
        .map_or(HOME, |target| local(target.as_str()))
        .to_owned();
    if [Method::GET, Method::HEAD].contains(request.method()) {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("next", &target)
            .finish();
        let sign_in = format!("{SIGN_IN}?{query}");
        // A link on another site: the browser keeps the cookie back until a page of ours asks for
        // another address. (To ask for the same one is to ask again in the name of that site.)
        return match is_from_elsewhere {
            true => page(200, &OnPage { next: &sign_in }),
            false => redirect(&sign_in),
        };
    }
    // To sign out is done already, and a password is nothing to keep.
    let is_own = target
        != request
            .uri()
            .path_and_query()
            .map_or(HOME, |own| own.as_str());
    let form = match is_form(request.headers()) && !is_own {
        true => to_bytes(request.into_body(), REPLAY_BYTES_MAX).await.ok(),
        false => None,
    };
    let replay = form.map(|form| replayed(&form)).unwrap_or_default();
    let hint = match (replay.is_empty(), app.signin.trouble()) {
        (_, Some(trouble)) => trouble,
        (true, None) => "Your sign-in is over, and nothing was done.".to_owned(),
        (false, None) => {
            "Your sign-in is over, and nothing was done. What you typed is kept until you have signed in."
                .to_owned()
        }
    };
    page(
        401,
        &SignInPage {
            heading: "Sign in again",
            ..SignInPage::new(app, &target, &replay, &hint)
        },
    )
}

/// A form as it travels, without what belonged to the old session. Of passwords only that they were asked
/// for goes along.
fn replayed(form: &[u8]) -> String {
    let mut replay = form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields(form) {
        if name != CSRF_FIELD {
            let kept = if is_secret(&name) { "" } else { &value };
            replay.append_pair(&name, kept);
        }
    }
    let replay = replay.finish();
    if replay.len() > REPLAY_BYTES_MAX {
        return String::new();
    }
    replay
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_away_to_another_site() {
        for good in ["/", "/pools/app?sort=name&dir=up", "/a//b", "/%5Cevil"] {
            assert_eq!(local(good), good);
        }
        let long = format!("/{}", "x".repeat(NEXT_BYTES_MAX));
        for bad in [
            "",
            "pools",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example/",
            "javascript:alert(1)",
            "/\t/evil.example",
            "/\r\nSet-Cookie: a=b",
            "/ä",
            "/sign-in?next=/",
            "/sign-out",
            &long,
        ] {
            assert_eq!(local(bad), HOME, "{bad:?}");
        }
    }

    #[test]
    fn a_form_travels_without_the_old_token() {
        let form = b"message=a%26b+%3Cb%3E&csrf=0123&within=5m&message=two";
        assert_eq!(
            fields(replayed(form).as_bytes()),
            [("message", "a&b <b>"), ("within", "5m"), ("message", "two")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        let secret = b"name=boris&password=hush+hush+hush&password_again=hush";
        assert_eq!(replayed(secret), "name=boris&password=&password_again=");
        let long = format!("a={}", "%C3%A4".repeat(REPLAY_BYTES_MAX / 6 + 1));
        assert!(replayed(long.as_bytes()).is_empty());
    }

    #[test]
    fn what_was_typed_is_text_on_every_page() {
        let evil = "\"><script>alert(1)</script>";
        let asked = SignInPage {
            name: evil,
            next: evil,
            replay: evil,
            problem: evil.to_owned(),
            hint: evil,
            heading: evil,
            action: evil,
            way: evil,
            provider: evil,
            ..SignInPage::default()
        };
        let fields = [(evil.to_owned(), evil.to_owned())];
        let repeat = RepeatPage {
            next: evil,
            csrf: "",
            fields: &fields,
            secrets: &[],
        };
        let refused = RefusedPage {
            heading: evil,
            text: evil,
        };
        for text in [
            asked.render(),
            repeat.render(),
            refused.render(),
            OnPage { next: evil }.render(),
        ] {
            let text = text.unwrap();
            assert!(
                !text.contains("<script") && text.contains("script"),
                "{text}"
            );
        }
    }
}
