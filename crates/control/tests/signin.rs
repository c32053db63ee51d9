//! Signing in to the console, over real connections.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod support;

use ebbtide_api::Role;
use ebbtide_control::{USERS_FILE, UsersFile};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;
use support::{Node, Scratch, api, config};

const SECRET: &str = "correct horse battery";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";
const JSON: &str = "Content-Type: application/json\r\n";

fn users(node: &Node) -> UsersFile {
    UsersFile::new(node.state.join(USERS_FILE))
}

/// A node with the users `vera`, `otto` and `ada`, one of each role.
fn node_with_users(scratch: &Scratch) -> Node {
    let node = Node::start(config(2), scratch);
    add_users(&node);
    node
}

fn add_users(node: &Node) {
    let users = users(node);
    users.add("vera", Role::Viewer, SECRET).unwrap();
    users.add("otto", Role::Operator, SECRET).unwrap();
    users.add("ada", Role::Admin, SECRET).unwrap();
}

/// A browser that is signed in: the field with its cookie, and the token that its pages carry.
#[derive(Clone)]
struct Browser {
    cookie: String,
    csrf: String,
}

impl Browser {
    fn sign_in(node: &Node, name: &str) -> Self {
        let form = format!("name={name}&password={SECRET}&next=%2F");
        let (status, head, body) = node.whole("POST", "/sign-in", FORM, &form);
        assert_eq!(status, 303, "{head}\n{body}");
        Self::of(node, &head)
    }

    /// The browser that got this head.
    fn of(node: &Node, head: &str) -> Self {
        let cookie = cookie(head).expect("a cookie");
        let cookie = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap());
        let (status, page) = node.raw("GET", "/sign-in/again", &cookie, "");
        assert_eq!(status, 200, "{page}");
        let csrf = field(&page, "csrf");
        Self { cookie, csrf }
    }

    fn get(&self, node: &Node, path: &str) -> (u16, String) {
        node.raw("GET", path, &self.cookie, "")
    }

    /// Whether the browser is still signed in.
    fn is_in(&self, node: &Node) -> bool {
        match self.get(node, &api("/status")).0 {
            200 => true,
            401 => false,
            other => panic!("{other}"),
        }
    }

    fn post(&self, node: &Node, path: &str, body: &str) -> (u16, String) {
        let token = format!("X-CSRF-Token: {}\r\n", self.csrf);
        node.raw("POST", path, &format!("{}{token}{JSON}", self.cookie), body)
    }
}

fn cookie(head: &str) -> Option<&str> {
    head.lines()
        .find_map(|line| line.strip_prefix("set-cookie: "))
}

/// The value of a hidden field of a page's form.
fn field(page: &str, name: &str) -> String {
    let start = format!("name=\"{name}\" value=\"");
    let rest = page.split(&start).nth(1).expect("the field is there");
    rest.split('"').next().unwrap().to_owned()
}

async fn audit(node: &Node) -> Vec<String> {
    let page = node.client().audit(&Default::default()).await.unwrap();
    let lines = page.entries.into_iter().map(|line| {
        format!(
            "{} {} {} {}: {}",
            line.who, line.from, line.action, line.target, line.outcome
        )
    });
    lines.collect()
}

#[tokio::test]
async fn whoever_signs_in_acts_in_his_own_name_until_he_signs_out() {
    let scratch = Scratch::new();
    let node = node_with_users(&scratch);
    let form = format!("name=otto&password={SECRET}&next=%2Fsessions%3Fof%3Dapp");
    let (status, head, _) = node.whole("POST", "/sign-in", FORM, &form);
    assert_eq!(status, 303);
    assert!(head.contains("location: /sessions?of=app\r\n"), "{head}");
    let set = cookie(&head).unwrap();
    let (value, attributes) = set.split_once("; ").unwrap();
    assert_eq!(attributes, "HttpOnly; SameSite=Strict; Path=/");
    assert_eq!(value.len(), "ebbtide_console=".len() + 64);

    let otto = Browser::of(&node, &head);
    assert!(otto.is_in(&node));
    let (status, text) = otto.post(&node, &api("/servers/app/web1/hold"), "{}");
    assert_eq!(status, 200, "{text}");
    let (status, _) = node.raw(
        "POST",
        "/sign-out",
        &format!("{}{FORM}", otto.cookie),
        &format!("csrf={}", otto.csrf),
    );
    assert_eq!(status, 303);
    assert!(!otto.is_in(&node));
    let lines = audit(&node).await;
    assert_eq!(lines[0], "otto 127.0.0.1 sign-out otto: otto is signed out");
    assert!(
        lines[1].starts_with("otto 127.0.0.1 hold app/web1"),
        "{lines:?}"
    );
    let signed_in = "otto 127.0.0.1 sign-in otto: otto is signed in, with the role operator";
    assert_eq!(lines[2], signed_in);
}

#[tokio::test]
async fn nobody_learns_whether_it_was_the_name_or_the_password() {
    let scratch = Scratch::new();
    let node = node_with_users(&scratch);
    let ask = |name: &str| {
        let form = format!("name={name}&password=wrong+wrong+wrong");
        let (status, head, body) = node.whole("POST", "/sign-in", FORM, &form);
        assert_eq!((status, cookie(&head)), (401, None));
        body.replace(name, "NAME")
    };
    assert_eq!(ask("otto"), ask("nobody"));
    // What is typed for a name and is none may be a password: it is not written down.
    let lines = audit(&node).await.join("\n");
    assert!(lines.contains("otto 127.0.0.1 sign-in -: refused: the password is wrong"));
    assert!(lines.contains("somebody 127.0.0.1 sign-in -: refused: there is no user"));
    assert!(!lines.contains("nobody"), "{lines}");
}

#[tokio::test]
async fn guessing_gets_slow_and_fills_no_audit_log() {
    let scratch = Scratch::new();
    let node = node_with_users(&scratch);
    // From where otto has signed in before, others' names do not count against him.
    let otto = Browser::sign_in(&node, "otto");
    let mut waits = 0;
    for number in 0..60 {
        let form = format!("name=guess{number}&password={SECRET}");
        let (status, head, body) = node.whole("POST", "/sign-in", FORM, &form);
        if status == 429 {
            assert!(head.contains("retry-after: "), "{head}");
            assert!(body.contains("Too many tries have failed"), "{body}");
            waits += 1;
        } else {
            assert_eq!(status, 401);
        }
    }
    assert!(waits > 40, "{waits}");
    assert!(otto.is_in(&node));
    Browser::sign_in(&node, "otto");
    let lines = audit(&node).await;
    let refused = lines.iter().filter(|line| line.contains("refused"));
    assert!(refused.count() <= 20, "{lines:?}");
}

#[tokio::test]
async fn forged_requests_are_refused_and_change_nothing() {
    let scratch = Scratch::new();
    let node = node_with_users(&scratch);
    let otto = Browser::sign_in(&node, "otto");
    let hold = api("/servers/app/web1/hold");
    let other = Browser::sign_in(&node, "otto");
    let (own, foreign) = (node.address, "evil.example");
    let token = format!("X-CSRF-Token: {}\r\n", otto.csrf);
    for (fields, why) in [
        (String::new(), "CSRF"),
        (format!("X-CSRF-Token: {}\r\n", other.csrf), "CSRF"),
        (
            format!("{token}Origin: http://{foreign}\r\n"),
            "another origin",
        ),
        (format!("{token}Origin: null\r\n"), "another origin"),
        (
            format!("{token}Sec-Fetch-Site: cross-site\r\n"),
            "another origin",
        ),
        (
            format!("{token}Sec-Fetch-Site: same-site\r\n"),
            "another origin",
        ),
    ] {
        let fields = format!("{}{JSON}{fields}", otto.cookie);
        let (status, text) = node.raw("POST", &hold, &fields, "{}");
        assert_eq!(status, 403, "{fields}: {text}");
        assert!(text.contains(why) && text.contains("error"), "{text}");
    }
    let (status, page) = node.raw(
        "POST",
        "/sign-out",
        &format!("{}{FORM}", otto.cookie),
        "a=b",
    );
    assert_eq!(status, 403);
    assert!(page.contains("CSRF") && page.contains("<html"), "{page}");
    assert!(otto.is_in(&node));
    let lines = audit(&node).await.join("\n");
    assert!(!lines.contains("hold"), "{lines}");

    let good = format!(
        "{}{JSON}{token}Origin: http://{own}\r\nSec-Fetch-Site: same-origin\r\n",
        otto.cookie
    );
    assert_eq!(node.raw("POST", &hold, &good, "{}").0, 200);
    // A sign-in cannot be forged either.
    let form = format!("name=otto&password={SECRET}");
    let fields = format!("{FORM}Origin: http://{foreign}\r\n");
    assert_eq!(node.raw("POST", "/sign-in", &fields, &form).0, 403);
}

#[tokio::test]
async fn who_asks_for_more_than_his_role_allows_is_refused_and_written_down() {
    let scratch = Scratch::new();
    let node = node_with_users(&scratch);
    let vera = Browser::sign_in(&node, "vera");
    assert!(vera.is_in(&node));
    let (status, text) = vera.post(&node, &api("/servers/app/web1/hold"), "{}");
    assert_eq!(status, 403);
    assert!(text.contains("operator") && text.contains("vera"), "{text}");
    let otto = Browser::sign_in(&node, "otto");
    assert_eq!(otto.get(&node, &api("/tokens")).0, 403);
    assert_eq!(
        Browser::sign_in(&node, "ada").get(&node, &api("/tokens")).0,
        200
    );
    let lines = audit(&node).await.join("\n");
    for line in [
        "vera 127.0.0.1 refused POST /api/v1/servers/app/web1/hold: refused: this needs the role \
         operator; vera has the role viewer",
        "otto 127.0.0.1 refused GET /api/v1/tokens: refused: this needs the role admin",
    ] {
        assert!(lines.contains(line), "{lines}");
    }
    for _ in 0..100 {
        vera.post(
            &node,
            &api(&format!("/servers/app/{}/hold", "x".repeat(2000))),
            "{}",
        );
    }
    let lines = audit(&node).await;
    let refused: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("refused"))
        .collect();
    assert!(refused.len() <= 21, "{}", refused.len());
    assert!(refused.iter().all(|line| line.len() < 600));
}

#[tokio::test]
async fn a_changed_user_is_out_at_once_and_so_are_his_streams() {
    let scratch = Scratch::new();
    let node = node_with_users(&scratch);
    let file = users(&node);
    let changes: [&dyn Fn(); 4] = [
        &|| file.set_role("otto", Role::Admin).unwrap(),
        &|| file.set_password("otto", SECRET).unwrap(),
        &|| file.sign_out("otto").unwrap(),
        &|| file.remove("otto").unwrap(),
    ];
    let vera = Browser::sign_in(&node, "vera");
    for change in changes {
        let otto = Browser::sign_in(&node, "otto");
        let mut stream = event_stream(&node, &otto);
        change();
        assert!(!otto.is_in(&node));
        // It ends, and does not just fall silent.
        let mut rest = String::new();
        while stream.read_line(&mut rest).unwrap() > 0 {}
        assert!(rest.ends_with("0\r\n\r\n"), "{rest}");
    }
    assert!(vera.is_in(&node));
    let lines = audit(&node).await.join("\n");
    for line in [
        "the user otto has the role admin now",
        "the user otto is no more",
    ] {
        assert!(
            lines.contains(&format!("ebbtide the file of users users otto: {line}")),
            "{lines}"
        );
    }
}

/// A stream of events that has begun.
fn event_stream(node: &Node, browser: &Browser) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(node.address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAccept: text/event-stream\r\n{}\r\n",
        api("/events"),
        node.address,
        browser.cookie
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while !line.contains("listening") {
        line.clear();
        assert!(stream.read_line(&mut line).unwrap() > 0);
    }
    stream
}

#[tokio::test]
async fn signing_out_everywhere_ends_every_browser_of_that_user() {
    let scratch = Scratch::new();
    let node = node_with_users(&scratch);
    let (one, two) = (
        Browser::sign_in(&node, "otto"),
        Browser::sign_in(&node, "otto"),
    );
    let vera = Browser::sign_in(&node, "vera");
    let form = format!("csrf={}", one.csrf);
    let fields = format!("{}{FORM}", one.cookie);
    let (status, head, _) = node.whole("POST", "/sign-out/everywhere", &fields, &form);
    assert_eq!(status, 303);
    assert!(cookie(&head).unwrap().contains("Max-Age=0"), "{head}");
    assert!(!one.is_in(&node) && !two.is_in(&node) && vera.is_in(&node));
    let lines = audit(&node).await;
    assert!(
        lines[0].contains("otto is signed out everywhere, of 2 browsers"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_sign_in_outlives_a_restart_of_the_node_but_not_a_change_of_its_user() {
    let scratch = Scratch::new();
    let mut node = node_with_users(&scratch);
    let (otto, vera) = (
        Browser::sign_in(&node, "otto"),
        Browser::sign_in(&node, "vera"),
    );
    let ended = Browser::sign_in(&node, "ada");
    ended.post(&node, "/sign-out", "");
    node.stop();
    users(&node)
        .set_password("vera", "another good one")
        .unwrap();
    let secret = otto.cookie.trim().split('=').nth(1).unwrap().to_owned();
    for entry in std::fs::read_dir(&node.state).unwrap() {
        if let Ok(bytes) = std::fs::read(entry.unwrap().path()) {
            let mut windows = bytes.windows(secret.len());
            assert!(!windows.any(|window| window == secret.as_bytes()));
        }
    }

    let node = Node::start(config(2), &scratch);
    assert!(otto.is_in(&node) && !vera.is_in(&node) && !ended.is_in(&node));
    // The pages that stand open in his browser go on working.
    let (status, text) = otto.post(&node, &api("/servers/app/web1/hold"), "{}");
    assert_eq!(status, 200, "{text}");
}

#[tokio::test]
async fn a_forced_change_takes_a_fresh_sign_in() {
    let scratch = Scratch::new();
    let mut node = Node::never_fresh(config(2), &scratch);
    add_users(&node);
    let otto = Browser::sign_in(&node, "otto");
    let hold = api("/servers/app/web1/hold");
    let (status, text) = otto.post(&node, &hold, r#"{"force":true}"#);
    assert_eq!(status, 403);
    assert!(text.contains("\"sign-in-old\""), "{text}");
    assert_eq!(otto.post(&node, &hold, "{}").0, 200);
    // A token would outlast the sign-in, and may force.
    let ada = Browser::sign_in(&node, "ada");
    let token = r#"{"name":"mine","role":"admin"}"#;
    let (status, text) = ada.post(&node, &api("/tokens"), token);
    assert_eq!(status, 403);
    assert!(
        text.contains("\"sign-in-old\"") && text.contains("a new token"),
        "{text}"
    );
    let again = |node: &Node, password: &str| {
        let form = format!("csrf={}&password={password}&name=vera", otto.csrf);
        let fields = format!("{}{FORM}", otto.cookie);
        node.raw("POST", "/sign-in/again", &fields, &form)
    };
    let (status, page) = again(&node, "wrong wrong wrong");
    assert_eq!(status, 401);
    assert!(page.contains("otto") && page.contains("wrong."), "{page}");
    assert_eq!(again(&node, SECRET).0, 303);
    node.stop();

    let node = Node::start(config(2), &scratch);
    let (status, text) = otto.post(&node, &hold, r#"{"force":true}"#);
    assert_eq!(status, 200, "{text}");
}

#[tokio::test]
async fn what_lets_somebody_in_takes_a_fresh_sign_in_and_no_password_travels() {
    const OTHER: &str = "another good one";
    let scratch = Scratch::new();
    let node = Node::never_fresh(config(2), &scratch);
    add_users(&node);
    let ada = Browser::sign_in(&node, "ada");
    for (path, body) in [
        (
            "/users",
            format!(r#"{{"name":"bo","role":"admin","password":"{OTHER}"}}"#),
        ),
        ("/users/vera/role", r#"{"role":"admin"}"#.to_owned()),
        (
            "/users/vera/password",
            format!(r#"{{"password":"{OTHER}"}}"#),
        ),
    ] {
        let (status, text) = ada.post(&node, &api(path), &body);
        assert_eq!(status, 403, "{path}: {text}");
        assert!(text.contains("\"sign-in-old\""), "{path}: {text}");
    }
    let (status, text) = ada.post(&node, &api("/users/vera/sign-out"), "{}");
    assert_eq!(status, 200, "{text}");

    // The console's form asks who it is, and then for the password that it did not keep.
    let form = format!(
        "csrf={}&name=bo&role=viewer&password={}&password_again={}",
        ada.csrf,
        OTHER.replace(' ', "+"),
        OTHER.replace(' ', "+")
    );
    let fields = format!("{}{FORM}", ada.cookie);
    let (status, page) = node.raw("POST", "/do/add-user", &fields, &form);
    assert_eq!(status, 403);
    assert!(page.contains("Your password again"), "{page}");
    let replay = field(&page, "replay").replace("&#38;", "&");
    assert_eq!(replay, "name=bo&role=viewer&password=&password_again=");
    let mut again = form_urlencoded::Serializer::new(String::new());
    again
        .append_pair("csrf", &ada.csrf)
        .append_pair("password", SECRET)
        .append_pair("next", "/do/add-user")
        .append_pair("replay", &replay);
    let (status, page) = node.raw("POST", "/sign-in/again", &fields, &again.finish());
    assert_eq!(status, 200, "{page}");
    assert_eq!(field(&page, "name"), "bo");
    assert!(page.contains("id=\"password_again\""), "{page}");
    assert!(
        !page.contains("another") && !page.contains("horse"),
        "{page}"
    );
}

#[tokio::test]
async fn a_user_changes_his_own_password_and_stays_where_he_sits() {
    let scratch = Scratch::new();
    let node = node_with_users(&scratch);
    let (here, there) = (
        Browser::sign_in(&node, "vera"),
        Browser::sign_in(&node, "vera"),
    );
    let otto = Browser::sign_in(&node, "otto");
    let change = |browser: &Browser, present: &str, new: &str, again: &str| {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("csrf", &browser.csrf)
            .append_pair("name", "otto")
            .append_pair("password", present)
            .append_pair("new", new)
            .append_pair("again", again);
        let fields = format!("{}{FORM}", browser.cookie);
        node.whole("POST", "/sign-in/password", &fields, &form.finish())
    };
    let good = " a space at each end ";
    for (present, new, again, status, says) in [
        (SECRET, good, "another good one", 422, "both times"),
        (SECRET, "short", "short", 422, "at least 12"),
        (SECRET, SECRET, SECRET, 422, "is the present one"),
        (
            "wrong wrong wrong",
            good,
            good,
            401,
            "present password is wrong",
        ),
    ] {
        let (code, head, page) = change(&here, present, new, again);
        assert_eq!((code, cookie(&head)), (status, None), "{page}");
        assert!(page.contains(says), "{page}");
        assert!(!page.contains(good) && !page.contains(present), "{page}");
    }
    let forged = Browser {
        csrf: otto.csrf.clone(),
        ..here.clone()
    };
    assert_eq!(change(&forged, SECRET, good, good).0, 403);
    assert!(here.is_in(&node) && there.is_in(&node));

    let (status, head, page) = change(&here, SECRET, good, good);
    assert_eq!(status, 200, "{page}");
    assert!(page.contains("vera has another password"), "{page}");
    // The form's name is for the browser's memory: the password is the one of whoever sits there.
    assert!(otto.is_in(&node));
    assert!(!here.is_in(&node) && !there.is_in(&node));
    assert!(Browser::of(&node, &head).is_in(&node));
    let form = "name=vera&password=%20a+space+at+each+end%20";
    assert_eq!(node.raw("POST", "/sign-in", FORM, form).0, 303);
    let lines = audit(&node).await;
    assert!(
        lines.contains(
            &"vera 127.0.0.1 user password vera: the user vera has another password".to_owned()
        ),
        "{lines:?}"
    );
    let all = lines.join("\n");
    assert!(!all.contains("the file of users users vera: the user vera has another"));
    assert!(all.contains("with the role viewer, by the new password"));

    // Whoever guesses at somebody's open window is made to wait as at the door.
    let last = (0..4).map(|_| change(&otto, "wrong wrong wrong", good, good).0);
    assert_eq!(last.collect::<Vec<_>>(), [401, 401, 401, 429]);
}

#[tokio::test]
async fn what_was_typed_when_the_sign_in_ended_is_shown_before_it_is_sent() {
    let scratch = Scratch::new();
    let node = node_with_users(&scratch);
    let form = "&next=%2Fdo%2Fclose&replay=message%3D%253Cb%253Esix%2526%26within%3D15m";
    let form = format!("name=otto&password={SECRET}{form}");
    let (status, head, page) = node.whole("POST", "/sign-in", FORM, &form);
    assert_eq!(status, 200, "{page}");
    let now = Browser::of(&node, &head);
    assert_eq!(field(&page, "csrf"), now.csrf);
    assert_eq!(field(&page, "within"), "15m");
    assert_eq!(field(&page, "message"), "&#60;b&#62;six&#38;");
    assert!(page.contains("action=\"/do/close\""), "{page}");
    assert!(!page.contains("<b>"), "{page}");
}

#[tokio::test]
async fn pages_lead_to_the_sign_in_and_back_and_nowhere_else() {
    let scratch = Scratch::new();
    let node = node_with_users(&scratch);
    let (status, head, _) = node.whole("GET", "/sign-in/again?a=b", "", "");
    assert_eq!(status, 303);
    // A page for signing in is nothing to come back to.
    assert!(head.contains("location: /sign-in?next=%2F\r\n"), "{head}");
    for evil in [
        "https%3A%2F%2Fevil.example",
        "%2F%2Fevil.example",
        "%2F%5Cevil.example",
        "%2F%0d%0aSet-Cookie%3A+a%3Db",
    ] {
        let (status, page) = node.raw("GET", &format!("/sign-in?next={evil}"), "", "");
        assert_eq!((status, field(&page, "next").as_str()), (200, "/"));
        let form = format!("name=otto&password={SECRET}&next={evil}");
        let (_, head, _) = node.whole("POST", "/sign-in", FORM, &form);
        assert!(head.contains("location: /\r\n"), "{head}");
    }
    // Of what is sent to these pages nothing is kept: it may be a password.
    let (status, page) = node.raw("POST", "/sign-in/again", FORM, "password=secret+secret");
    assert_eq!(status, 401);
    assert!(!page.contains("secret"), "{page}");
    // Whoever is signed in has nothing to do there.
    let otto = Browser::sign_in(&node, "otto");
    let (status, head, _) = node.whole("GET", "/sign-in?next=/audit", &otto.cookie, "");
    assert_eq!(status, 303);
    assert!(head.contains("location: /audit\r\n"), "{head}");
    // A link on another site: the cookie comes with the second request, which a page of ours makes.
    let link = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n";
    let (status, page) = node.raw("GET", "/sign-in/again", link, "");
    assert_eq!(status, 200);
    assert!(page.contains("http-equiv=\"refresh\""), "{page}");
    let script = "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\n";
    assert_eq!(node.raw("GET", "/sign-in/again", script, "").0, 401);
}

#[tokio::test]
async fn every_page_is_sent_with_what_browsers_shall_refuse() {
    let scratch = Scratch::new();
    let node = node_with_users(&scratch);
    let otto = Browser::sign_in(&node, "otto");
    for (path, fields) in [
        ("/sign-in", ""),
        ("/sign-in/again", otto.cookie.as_str()),
        ("/sign-in/again", ""),
        ("/sign-in/style.css", ""),
    ] {
        let (_, head, body) = node.whole("GET", path, fields, "");
        for field in [
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; \
             img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; \
             frame-ancestors 'none'\r\n",
            "x-content-type-options: nosniff\r\n",
            "referrer-policy: same-origin\r\n",
        ] {
            assert!(format!("{head}\r\n").contains(field), "{path}: {head}");
        }
        assert!(!body.contains("<style") && !body.contains(" style=") && !body.contains("<script"));
        if !path.ends_with(".css") {
            assert!(head.contains("cache-control: no-store"), "{head}");
        }
    }
}

#[tokio::test]
async fn nonsense_is_answered_and_nobody_is_let_in_by_it() {
    let scratch = Scratch::new();
    let node = Node::start(config(1), &scratch);
    let (status, page) = node.raw("GET", "/sign-in", "", "");
    assert_eq!(status, 200);
    assert!(page.contains("ebbtide user add"), "{page}");
    add_users(&node);
    let long = "x".repeat(20_000);
    let (status, page) = node.raw("GET", &format!("/sign-in?next=/{long}&{long}"), "", "");
    assert!(status == 200 && page.len() < 4000, "{status}");
    for (form, expected) in [
        ("", 401),
        ("name=otto", 401),
        ("name=%ff%fe&password=%00", 401),
        (&format!("name={long}&password={long}"), 401),
        (&"a=b&".repeat(16_000), 401),
        (&long.repeat(4), 400),
    ] {
        let (status, head, _) = node.whole("POST", "/sign-in", FORM, form);
        assert!(status == expected || status == 429, "{status} {form:.50}");
        assert_eq!(cookie(&head), None);
    }
    assert_eq!(node.raw("POST", "/sign-in", JSON, "{}").0, 400);
    for cookie in ["", "x", &"0".repeat(64), &long] {
        let fields = format!("Cookie: ebbtide_console={cookie}\r\n");
        assert_eq!(node.raw("GET", &api("/status"), &fields, "").0, 401);
    }
    // A file that is broken keeps those in who are known, and says so to nobody else than the log.
    std::fs::write(node.state.join(USERS_FILE), "[otto]\nrole = 3\n").unwrap();
    let (_, page) = node.raw("GET", "/sign-in", "", "");
    assert!(page.contains("file of users is mistaken"), "{page}");
}
