//! Signing in by a real provider of OpenID Connect, in a real browser. The provider is at `localhost` and
//! the console at `127.0.0.1`, which browsers take for two sites.

use crate::console::{Desk, audited};
use crate::harness::{Ebbtide, LIMIT, Setup, models};
use ebbtide_control::{USERS_FILE, UsersFile};
use ebbtide_testkit::{BROWSER_LIMIT, Browser, Model, Scratch, until};
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};

const MODULES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../target/openid-provider/node_modules"
);
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/provider.mjs");
const BACK: &str = "/sign-in/openid/back";
const PASSWORD: &str = "correct horse battery staple";

/// A provider; it dies with this value.
struct Provider {
    child: Child,
    issuer: String,
}

impl Provider {
    fn start(redirect: &str) -> Self {
        let mut child = Command::new("node")
            .args([SCRIPT, MODULES, redirect])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node is installed: `cargo xtask test` does that");
        let said = child.stdout.take().expect("its output is a pipe");
        let mut lines = BufReader::new(said).lines().map_while(Result::ok);
        let port = lines.find_map(|line| Some(line.strip_prefix("port ")?.to_owned()));
        let port = port.expect("it says its port: `cargo xtask test` gets the provider");
        let issuer = format!("http://localhost:{port}");
        Self { child, issuer }
    }

    fn stop(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An Ebbtide where people sign in by a provider, too.
fn with_provider(scratch: &Scratch) -> (Ebbtide, Provider, Vec<Model>) {
    let servers = models(1, scratch);
    let mut setup = Setup::new(&servers);
    let mut ebbtide = Ebbtide::prepare(&setup);
    let redirect = format!("http://{}{BACK}", ebbtide.admin);
    let provider = Provider::start(&redirect);
    let secret = ebbtide.scratch.join("secret");
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).mode(0o600).open(&secret);
    let mut file = file.expect("a file");
    writeln!(file, "a secret of sixteen or more").expect("it is written");
    setup.more = format!(
        "[admin.sign_in.openid]\nissuer = {:?}\nclient_id = \"ebbtide\"\n\
         client_secret_file = {secret:?}\nredirect = {redirect:?}\n\
         scopes = [\"openid\", \"profile\", \"groups\"]\n\
         roles = {{ viewer = [\"all\"], operator = [\"ops\"] }}\n",
        provider.issuer
    );
    ebbtide.configure(&setup);
    ebbtide.run(&mut ebbtide.command());
    ebbtide.wait_until_probed();
    (ebbtide, provider, servers)
}

/// Somebody with a browser, who has not signed in yet.
fn desk(ebbtide: &Ebbtide) -> Desk {
    Desk {
        browser: Browser::start("en"),
        home: format!("http://{}", ebbtide.admin),
    }
}

/// Types a name where the provider asks for it.
#[track_caller]
fn be(desk: &Desk, name: &str) {
    desk.wait_for("input[name=login]");
    desk.fill("input[name=login]", name);
    desk.fill("input[name=password]", "any");
    desk.click("button.login-submit");
}

/// A request to the console: its answer.
fn ask(ebbtide: &Ebbtide, request: &str, fields: &str, form: &str) -> String {
    let mut stream = TcpStream::connect(ebbtide.admin).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    let request = format!(
        "{request} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n{fields}\r\n{form}",
        ebbtide.admin,
        form.len()
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn status(desk: &Desk) -> i64 {
    let status = desk.run("return fetch('/api/v1/status').then((answer) => answer.status)");
    status.as_i64().expect("a status")
}

#[test]
fn in_a_browser_with_the_role_of_a_group() {
    let scratch = Scratch::new();
    let (mut ebbtide, provider, _servers) = with_provider(&scratch);
    let desk = desk(&ebbtide);
    desk.browser.open(&format!("{}/sessions?of=app", desk.home));
    desk.click("#provider");
    be(&desk, "otto");
    desk.wait_for("#pulse[data-state=live]");
    let place = desk.run("return location.pathname + location.search");
    assert_eq!(place, "/sessions?of=app");
    assert_eq!(desk.run("return document.cookie"), "");
    desk.wait_for_text("body", "openid:otto");
    let line = audited(&ebbtide, "sign-in");
    assert_eq!(line["who"], "openid:otto");
    let outcome = format!(
        "openid:otto is signed in, with the role operator, by {}, which knows this user as otto",
        provider.issuer
    );
    assert_eq!(line["outcome"], outcome.as_str());

    ebbtide.kill();
    ebbtide.start_again();
    assert_eq!(status(&desk), 200, "the sign-in outlives the node");

    // A forced change asks again, and takes nobody else's word.
    desk.open("/");
    for (name, then) in [
        ("vera", "openid:otto is signed in here"),
        ("otto", "What you typed is still here"),
    ] {
        match name {
            "vera" => {
                desk.panel("/do/maintenance?server=app/web1");
                desk.click("#p-force");
                desk.click("dialog button.main");
                desk.wait_for_text("main", "Signed in as");
            }
            _ => assert!(!desk.has("#password")),
        }
        desk.click("#provider");
        be(&desk, name);
        desk.wait_for_text("main", then);
        assert_eq!(ebbtide.intent("web1"), "ready");
    }
    desk.click("form button");
    desk.wait_for_text("main", "app/web1 is in maintenance");
    let line = audited(&ebbtide, "maintenance");
    assert_eq!(
        (&line["forced"], &line["who"]),
        (&true.into(), &"openid:otto".into())
    );

    // Whoever has no password here has none to change.
    let own = "/sign-in/password";
    desk.browser.open(&format!("{}{own}", desk.home));
    desk.wait_for_text("main", "not signed in here with a password");

    // Out of the console, and in again without a word: the provider knows him.
    desk.open("/");
    assert!(!desk.has(&format!("a[href=\"{own}\"]")));
    desk.run("document.querySelector('form[action=\"/sign-out\"] button').click()");
    desk.wait_for("#provider");
    assert_eq!(status(&desk), 401);
    desk.click("#provider");
    desk.wait_for("#pulse[data-state=live]");
    assert_eq!(status(&desk), 200);
}

#[test]
fn whoever_has_no_group_or_no_provider_is_told_so() {
    let scratch = Scratch::new();
    let (ebbtide, mut provider, _servers) = with_provider(&scratch);
    let users = UsersFile::new(ebbtide.state_dir().join(USERS_FILE));
    users
        .add("otto", ebbtide_api::Role::Viewer, PASSWORD)
        .expect("a new user");
    let desk = desk(&ebbtide);
    desk.browser
        .open(&format!("{}/sign-in?next=/audit", desk.home));
    desk.click("#provider");
    be(&desk, "nemo");
    desk.wait_for_text(
        "[role=alert]",
        "knows you as openid:nemo, but nothing in your groups",
    );
    assert_eq!(status(&desk), 401);
    let line = audited(&ebbtide, "sign-in");
    assert_eq!(line["who"], "openid:nemo");

    // The restarted node has never seen the provider, which is gone: passwords work.
    let mut ebbtide = ebbtide;
    ebbtide.kill();
    provider.stop();
    ebbtide.start_again();
    desk.browser
        .open(&format!("{}/sign-in?next=/audit", desk.home));
    desk.click("#provider");
    desk.wait_for_text("[role=alert]", "The provider cannot be used at this moment");
    desk.fill("#name", "otto");
    desk.fill("#password", PASSWORD);
    desk.click("form button");
    desk.wait_for("#pulse[data-state=live]");
    assert_eq!(desk.run("return location.pathname"), "/audit");
    let text = desk.text("body");
    assert!(
        text.contains("otto") && !text.contains("openid:otto"),
        "{text}"
    );
}

#[test]
fn what_a_provider_gives_one_browser_is_nothing_to_another_and_counts_once() {
    let scratch = Scratch::new();
    let (ebbtide, _provider, _servers) = with_provider(&scratch);
    // A program is sent out, and a browser goes its way.
    let answer = ask(&ebbtide, "POST /sign-in/openid", "", "next=%2F");
    let after = |mark: &str| {
        answer
            .split(mark)
            .nth(1)
            .unwrap_or_else(|| panic!("{answer}"))
    };
    let cookie = after("set-cookie: ").split(';').next().expect("a cookie");
    assert!(
        after("set-cookie: ").contains("; HttpOnly; SameSite=Strict; Path=/sign-in/openid\r\n")
    );
    let address = after("0;url=").split('"').next().expect("an address");
    let desk = desk(&ebbtide);
    desk.browser.open(&address.replace("&#38;", "&"));
    be(&desk, "otto");
    desk.wait_for_text("[role=alert]", "not the way on which you were sent");
    assert_eq!(
        status(&desk),
        401,
        "nobody is signed in as somebody else chooses"
    );
    let place = until("the browser is back", BROWSER_LIMIT, || {
        let place = desk.run("return location.pathname + location.search");
        let place = place.as_str()?.to_owned();
        place
            .starts_with("/sign-in/openid/in?code=")
            .then_some(place)
    });
    // What came back is good, once, for whoever was sent out.
    let fields = format!("Cookie: {cookie}\r\n");
    let first = ask(&ebbtide, &format!("GET {place}"), &fields, "");
    assert!(
        first.starts_with("HTTP/1.1 303") && first.contains("ebbtide_console="),
        "{first}"
    );
    let second = ask(&ebbtide, &format!("GET {place}"), &fields, "");
    assert!(
        second.starts_with("HTTP/1.1 400") && !second.contains("ebbtide_console="),
        "{second}"
    );
    let forged = place.replace("state=", "state=0");
    let forged = ask(&ebbtide, &format!("GET {forged}"), &fields, "");
    assert!(forged.starts_with("HTTP/1.1 400"), "{forged}");
    assert!(
        !fs::read_to_string(ebbtide.scratch.join("log"))
            .expect("a log")
            .contains("sixteen")
    );
}
