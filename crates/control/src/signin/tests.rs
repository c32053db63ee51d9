//! What stands around the console's pages, around a small page of its own.

use super::users::USERS_FILE;
use super::{
    OpenIdOptions, SignIn, SignInOptions, SignInSpans, UsersFile, ask_again, guard, require, routes,
};
use crate::admin::{App, AppParts, Caller, LONG_MAX, Peer};
use crate::clock::clock;
use crate::event_log::EventLog;
use crate::inbox::inbox;
use crate::outside;
use crate::store::{Store, StoreThread};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use ebbtide_api::Role;
use ebbtide_core::{Millis, NodeCounters, SessionTable, Snapshot};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::sync::{Semaphore, watch};
use tower_service::Service;

pub(super) const SECRET: &str = "correct horse battery";

/// A node's pages without a node; `fresh` is for how long a password is.
pub(super) struct House {
    directory: PathBuf,
    router: Router,
    /// What is asked of others is asked as long as this is there.
    _snapshots: watch::Sender<Arc<Snapshot>>,
    /// Where the last answer leads to.
    pub location: String,
}

impl House {
    pub fn new(name: &str, fresh: Millis) -> Self {
        Self::with(name, fresh, None)
    }

    /// The same where people sign in by a provider, too.
    pub fn with(name: &str, fresh: Millis, openid: Option<OpenIdOptions>) -> Self {
        let name = format!("ebbtide-guard-{}-{name}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        drop(fs::remove_dir_all(&directory));
        let store = Store::open(&directory).unwrap();
        let users = directory.join(USERS_FILE);
        let file = UsersFile::new(users.clone());
        file.add("vera", Role::Viewer, SECRET).unwrap();
        file.add("otto", Role::Operator, SECRET).unwrap();
        let spans = SignInSpans {
            idle: Millis::from_secs(1800),
            longest: Millis::from_secs(3600),
            fresh,
        };
        let options = SignInOptions {
            url: None,
            users,
            spans,
            openid,
        };
        let (snapshots, app) = app(store, options);
        let form = Router::new()
            .route("/form", get(show).post(take))
            .route_layer(from_fn_with_state((app.clone(), Role::Operator), require));
        let router = routes(&app).merge(guard(&app, form)).with_state(app);
        Self {
            directory,
            router,
            _snapshots: snapshots,
            location: String::new(),
        }
    }

    /// The status, the cookie that is set, and the body.
    pub async fn ask(
        &mut self,
        request: axum::http::request::Builder,
        body: &str,
    ) -> (u16, String, String) {
        let (status, cookies, body) = self.ask_for_all(request, body).await;
        let cookie = cookies.first().map_or("", |cookie| cookie.as_str());
        let cookie = cookie.split(';').next().unwrap().to_owned();
        (status, cookie, body)
    }

    /// The status, the cookies that are set, whole, and the body.
    pub async fn ask_for_all(
        &mut self,
        request: axum::http::request::Builder,
        body: &str,
    ) -> (u16, Vec<String>, String) {
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        let address = SocketAddr::from(([192, 0, 2, 1], 4711));
        request.extensions_mut().insert(Peer::Tcp(address));
        let response = self.router.call(request).await.unwrap();
        let status = response.status().as_u16();
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        let fields = response.headers();
        let cookies = fields.get_all("set-cookie").iter().map(text).collect();
        self.location = fields.get("location").map(text).unwrap_or_default();
        let body = to_bytes(response.into_body(), 100_000).await.unwrap();
        (status, cookies, String::from_utf8(body.to_vec()).unwrap())
    }

    pub async fn get(&mut self, cookie: &str) -> (u16, String) {
        let request = Request::get("/form").header("cookie", cookie);
        let (status, _, body) = self.ask(request, "").await;
        (status, body)
    }

    pub async fn post(&mut self, path: &str, cookie: &str, form: &str) -> (u16, String, String) {
        let request = Request::post(path)
            .header("cookie", cookie)
            .header("content-type", "application/x-www-form-urlencoded");
        self.ask(request, form).await
    }

    pub async fn sign_in(&mut self, name: &str) -> String {
        let form = format!("name={name}&password={SECRET}");
        let (status, cookie, body) = self.post("/sign-in", "", &form).await;
        assert_eq!(status, 303, "{body}");
        cookie
    }
}

impl Drop for House {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.directory));
    }
}

fn app(store: Store, options: SignInOptions) -> (watch::Sender<Arc<Snapshot>>, App) {
    let (inbox, _) = inbox();
    let (sender, snapshots) = watch::channel(Arc::<Snapshot>::default());
    let (outside, _) = outside::start(
        snapshots.clone(),
        inbox.clone(),
        Vec::new(),
        outside::system_resolver(),
        ([127, 0, 0, 1], 9900).into(),
    )
    .unwrap();
    let (store, _) = StoreThread::start(store).unwrap();
    let app = App::new(AppParts {
        inbox,
        snapshots,
        sessions: Arc::<SessionTable>::default(),
        status: Default::default(),
        node: Arc::new(NodeCounters::new(1)),
        signin: Arc::new(SignIn::new(options, Vec::new(), store.clone())),
        store,
        store_tally: Arc::default(),
        events: Arc::new(EventLog::new()),
        outside,
        admin: ([127, 0, 0, 1], 9900).into(),
        version: "0.0.0-test",
        started: clock(),
        operators: Mutex::default(),
        long: Arc::new(Semaphore::new(LONG_MAX)),
        stopping: Arc::default(),
    });
    (sender, app)
}

async fn show(Extension(caller): Extension<Caller>) -> String {
    format!("{} {} {}", caller.name(), caller.role(), caller.csrf())
}

/// Does what the form says, unless that is forced and the sign-in is old.
async fn take(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    form: Bytes,
) -> Response {
    if form.starts_with(b"force") && caller.is_stale() {
        return ask_again(&app, &caller, &uri, &form);
    }
    String::from_utf8_lossy(&form).into_owned().into_response()
}

/// The value of a hidden field.
pub(super) fn field(page: &str, name: &str) -> String {
    let start = format!("name=\"{name}\" value=\"");
    let rest = page
        .split(&start)
        .nth(1)
        .unwrap_or_else(|| panic!("no {name}: {page}"));
    let value = rest.split('"').next().unwrap();
    value.replace("&#38;", "&")
}

#[tokio::test]
async fn a_page_knows_its_caller_and_gets_whole_forms_of_its_own_only() {
    let mut house = House::new("callers", Millis::from_secs(300));
    assert_eq!(house.get("").await.0, 303);
    let cookie = house.sign_in("otto").await;
    let (status, body) = house.get(&cookie).await;
    assert_eq!(status, 200);
    let csrf = body.strip_prefix("otto operator ").unwrap().to_owned();
    let form = format!("a=1&csrf={csrf}&b=%26");
    assert_eq!(house.post("/form", &cookie, &form).await.2, form);
    let (status, _, page) = house.post("/form", &cookie, "a=1").await;
    assert_eq!(status, 403);
    assert!(page.contains("CSRF"), "{page}");
}

#[tokio::test]
async fn a_page_that_takes_a_role_says_so_to_others() {
    let mut house = House::new("roles", Millis::from_secs(300));
    let cookie = house.sign_in("vera").await;
    let (status, page) = house.get(&cookie).await;
    assert_eq!(status, 403);
    assert!(page.contains("this needs the role operator; vera has the role viewer"));
}

#[tokio::test]
async fn a_form_whose_sign_in_has_ended_is_kept_until_its_user_is_back() {
    let mut house = House::new("ended", Millis::from_secs(300));
    let old = house.sign_in("otto").await;
    let csrf = house
        .get(&old)
        .await
        .1
        .split(' ')
        .next_back()
        .unwrap()
        .to_owned();
    UsersFile::new(house.directory.join(USERS_FILE))
        .sign_out("otto")
        .unwrap();
    let form = format!("csrf={csrf}&message=%3Cb%3Eback+at+six%26&within=15m");
    let (status, _, page) = house.post("/form", &old, &form).await;
    assert_eq!(status, 401);
    assert!(page.contains("What you typed is kept"), "{page}");
    let mut back = form_urlencoded::Serializer::new(String::new());
    back.append_pair("name", "otto")
        .append_pair("password", SECRET);
    for name in ["next", "replay"] {
        back.append_pair(name, &field(&page, name));
    }
    let (status, new, page) = house.post("/sign-in", "", &back.finish()).await;
    assert_eq!(status, 200);
    assert!(
        page.contains("action=\"/form\"") && page.contains("back at six"),
        "{page}"
    );
    let form = format!(
        "within={}&csrf={}",
        field(&page, "within"),
        field(&page, "csrf")
    );
    assert_eq!(house.post("/form", &new, &form).await.0, 200);
    // A form that is too long is not kept, and says so by not saying that it is.
    let long = format!("message={}", "x".repeat(20_000));
    let (status, _, page) = house.post("/form", &old, &long).await;
    assert_eq!(status, 401);
    assert!(
        !page.contains("is kept") && page.contains("nothing was done"),
        "{page}"
    );
}

#[tokio::test]
async fn a_forced_change_asks_for_the_password_and_then_for_itself() {
    let mut house = House::new("forced", Millis(0));
    let cookie = house.sign_in("otto").await;
    let csrf = house
        .get(&cookie)
        .await
        .1
        .split(' ')
        .next_back()
        .unwrap()
        .to_owned();
    let (status, _, page) = house
        .post("/form", &cookie, &format!("force=1&csrf={csrf}"))
        .await;
    assert_eq!(status, 403);
    assert!(
        page.contains("Your password again") && page.contains("otto"),
        "{page}"
    );
    assert_eq!(
        (field(&page, "next"), field(&page, "replay")),
        ("/form".into(), "force=1".into())
    );
    let form = format!("csrf={csrf}&password={SECRET}&next=/form&replay=force%3D1");
    let (status, _, page) = house.post("/sign-in/again", &cookie, &form).await;
    assert_eq!(status, 200);
    assert_eq!(field(&page, "force"), "1");
    assert!(
        page.contains("Nothing of it has been done so far"),
        "{page}"
    );
}
