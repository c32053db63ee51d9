//! The demo's model application: a web page with logins that are kept in its own memory, which is
//! what makes taking a server out hard.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{AppendHeaders, Html, IntoResponse, Response};
use axum::routing::{get, post};
use std::collections::BTreeMap;
use std::future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, interval};

/// The application's own cookie.
pub const LOGIN_COOKIE: &str = "demo_login";
/// The application's cookie with the user's name, from which Ebbtide knows it.
pub const USER_COOKIE: &str = "demo_user";
/// The field by which it knows an administrator; the demo's pool takes it from everybody else.
pub const ADMIN_FIELD: &str = "X-Admin-Session";
/// The application forgets a login after this; the demo's pool has the same as `reuse`.
pub const LOGIN_LIFE: Duration = Duration::from_secs(120);
/// Logins that fit into its memory, as its health page tells.
const PLACES: usize = 200;
const DOWNLOAD_CHUNKS: usize = 20;
const SECOND: Duration = Duration::from_secs(1);
const PAGE: &str = include_str!("page.html");

/// One running application.
#[derive(Clone)]
pub struct Application {
    name: &'static str,
    colour: &'static str,
    logins: Arc<Mutex<BTreeMap<String, Login>>>,
}

struct Login {
    user: String,
    visits: u32,
    last_seen: Instant,
}

#[derive(serde::Deserialize)]
struct LoginForm {
    user: String,
}

impl Application {
    /// An application without logins.
    pub fn new(name: &'static str, colour: &'static str) -> Self {
        Self {
            name,
            colour,
            logins: Arc::default(),
        }
    }

    /// Everything that it answers.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/", get(page))
            .route("/me", get(me))
            .route("/login", post(log_in))
            .route("/logout", post(log_out))
            .route("/ws", get(web_socket))
            .route("/download", get(download))
            .route("/health", get(health))
            .with_state(self.clone())
    }

    fn logins(&self) -> MutexGuard<'_, BTreeMap<String, Login>> {
        let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        logins.retain(|_, login| login.last_seen.elapsed() < LOGIN_LIFE);
        logins
    }

    /// Marks the login as seen: the user's name, and the visits so far with this one.
    fn visit(&self, headers: &HeaderMap, counts: bool) -> Option<(String, u32)> {
        let mut logins = self.logins();
        let login = logins.get_mut(&cookie(headers)?)?;
        login.last_seen = Instant::now();
        login.visits += u32::from(counts);
        Some((login.user.clone(), login.visits))
    }
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
    let mut pairs = cookies.split("; ").filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(name, _)| *name == LOGIN_COOKIE)?;
    Some(found.1.to_owned())
}

async fn page(State(application): State<Application>, headers: HeaderMap) -> Html<String> {
    let body = match application.visit(&headers, true) {
        Some((user, visits)) => format!(
            "<p>You are logged in as <b>{user}</b>. This server remembers your <b>{visits}</b> \
             visits, in its memory only.</p><p id=\"clock\">…</p>\
             <p><a href=\"/\">Visit again</a> · <a href=\"/download\">Slow download</a></p>\
             <form method=\"post\" action=\"/logout\"><button>Log out</button></form>\
             <script>{CLOCK_SCRIPT}</script>"
        ),
        None => "<p>Nobody is logged in.</p><form method=\"post\" action=\"/login\">\
                 <input name=\"user\" value=\"you\" maxlength=\"40\"> <button>Log in</button></form>"
            .to_owned(),
    };
    let admin = match headers.contains_key(ADMIN_FIELD) {
        true => "<p>You came through a door, <b>as an administrator</b>.</p>",
        false => "",
    };
    Html(
        PAGE.replace("{name}", application.name)
            .replace("{colour}", application.colour)
            .replace("{body}", &format!("{admin}{body}")),
    )
}

const CLOCK_SCRIPT: &str = "\
const clock = document.getElementById('clock');\
const socket = new WebSocket('ws://' + location.host + '/ws');\
socket.onmessage = event => clock.textContent = 'WebSocket: ' + event.data;\
socket.onclose = () => clock.textContent = 'WebSocket: closed; visit again';";

/// What simulated users ask: am I still logged in?
async fn me(State(application): State<Application>, headers: HeaderMap) -> Response {
    let visit = application.visit(&headers, true);
    let answer = serde_json::json!({
        "server": application.name,
        "logged_in": visit.is_some(),
        "visits": visit.map(|(_, visits)| visits),
    });
    axum::Json(answer).into_response()
}

async fn log_in(State(application): State<Application>, Form(form): Form<LoginForm>) -> Response {
    let Ok(number) = getrandom::u64() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let id = format!("{number:016x}");
    let login = Login {
        user: login_name(&form.user),
        visits: 0,
        last_seen: Instant::now(),
    };
    application.logins().insert(id.clone(), login);
    let user = login_name(&form.user);
    see_home([
        format!("{LOGIN_COOKIE}={id}; Path=/; HttpOnly; SameSite=Lax"),
        format!("{USER_COOKIE}={user}; Path=/; SameSite=Lax"),
    ])
}

async fn log_out(State(application): State<Application>, headers: HeaderMap) -> Response {
    if let Some(id) = cookie(&headers) {
        application.logins().remove(&id);
    }
    see_home([LOGIN_COOKIE, USER_COOKIE].map(|name| format!("{name}=; Path=/; Max-Age=0")))
}

/// As much of a name as may stand in a page and in a cookie.
fn login_name(name: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || ".-".contains(*c);
    name.chars().filter(is_plain).take(40).collect()
}

fn see_home(set_cookies: [String; 2]) -> Response {
    let location = [(header::LOCATION, "/")];
    let cookies = set_cookies.map(|cookie| (header::SET_COOKIE, cookie));
    let cookies = AppendHeaders(cookies);
    (StatusCode::SEE_OTHER, location, cookies).into_response()
}

async fn web_socket(
    State(application): State<Application>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.on_upgrade(|socket| tick_and_echo(socket, application, headers))
}

/// Tells the time every second and sends back what it is sent.
async fn tick_and_echo(mut socket: WebSocket, application: Application, headers: HeaderMap) {
    let mut seconds = 0_u32;
    let mut clock = interval(SECOND);
    loop {
        let sent = tokio::select! {
            _ = clock.tick() => {
                seconds += 1;
                application.visit(&headers, false);
                let text = format!("{}, {seconds} s on this connection", application.name);
                socket.send(Message::Text(text.into())).await
            }
            received = socket.recv() => match received {
                Some(Ok(Message::Text(text))) => socket.send(Message::Text(text)).await,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => Ok(()),
            },
        };
        if sent.is_err() {
            return;
        }
    }
}

/// A chunk each second.
async fn download(State(application): State<Application>) -> Response {
    let chunk = Bytes::from(format!("{} {}\n", application.name, "~".repeat(64 * 1024)));
    let mut clock = interval(SECOND);
    let mut left = DOWNLOAD_CHUNKS;
    let chunks = futures_util::stream::poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        std::task::ready!(clock.poll_tick(context));
        left -= 1;
        Poll::Ready(Some(Ok::<_, std::convert::Infallible>(chunk.clone())))
    });
    let fields = [
        (header::CONTENT_TYPE, "text/plain"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"slow.txt\"",
        ),
    ];
    (fields, Body::from_stream(chunks)).into_response()
}

async fn health(State(application): State<Application>) -> String {
    let places = PLACES.saturating_sub(application.logins().len());
    if places == 0 {
        return "ALL SESSIONS IN USE\n".into();
    }
    format!("ACTIVE - {places} Sessions Available\n")
}

/// Serves until the runtime ends.
pub async fn serve(application: Application, listener: std::net::TcpListener) {
    let listener = tokio::net::TcpListener::from_std(listener);
    let serving = match listener {
        Ok(listener) => axum::serve(listener, application.router()).await,
        Err(error) => Err(error),
    };
    if let Err(error) = serving {
        tracing::error!(
            "the model application {} has ended: {error}",
            application.name
        );
    }
    future::pending::<()>().await;
}
