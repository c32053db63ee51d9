//! Signing in to the console, with the real program, its command line and a real browser.

use crate::harness::{Ebbtide, Setup, models};
use ebbtide_testkit::{Browser, Client, Model, Request, Scratch, until};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const SECRET: &str = "correct horse battery";
const ENTER: &str = "\u{e007}";

/// An Ebbtide with the user `otto`, an operator, and its server.
fn with_otto(scratch: &Scratch) -> (Ebbtide, Vec<Model>) {
    let servers = models(1, scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    add(&ebbtide, "otto", "operator");
    (ebbtide, servers)
}

fn add(ebbtide: &Ebbtide, name: &str, role: &str) {
    let add = ["user", "add", name, "--role", role, "--password-stdin"];
    let mut command = ebbtide.cli_command(&add);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    writeln!(stdin, "{SECRET}").expect("it reads");
    drop(stdin);
    assert!(child.wait().expect("it ends").success());
}

/// A request to the admin API over TCP: the answer, head and body.
fn ask(ebbtide: &Ebbtide, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(ebbtide.admin).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    let request = format!(
        "{head}Host: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        ebbtide.admin,
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// The cookie of a browser that has signed in as `name`.
fn cookie_of(ebbtide: &Ebbtide, name: &str) -> String {
    let head = "POST /sign-in HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let answer = ask(ebbtide, head, &format!("name={name}&password={SECRET}"));
    let cookie = answer.split("ebbtide_console=").nth(1);
    let cookie = cookie.unwrap_or_else(|| panic!("no cookie: {answer}"));
    format!("ebbtide_console={}", &cookie[..64])
}

fn is_in(ebbtide: &Ebbtide, cookie: &str) -> bool {
    let head = format!("GET /api/v1/status HTTP/1.1\r\nCookie: {cookie}\r\n");
    let answer = ask(ebbtide, &head, "");
    match answer.split(' ').nth(1) {
        Some("200") => true,
        Some("401") => false,
        _ => panic!("{answer}"),
    }
}

fn type_in(browser: &Browser, text: &str) {
    for letter in text.chars() {
        browser.press(&letter.to_string());
    }
}

/// What the API answers to the page's own script: its status.
fn status_by_script(browser: &Browser) -> i64 {
    let status = browser.run("return fetch('/api/v1/status').then((answer) => answer.status)");
    status.as_i64().expect("a status")
}

#[test]
fn in_a_browser() {
    let scratch = Scratch::new();
    let (ebbtide, _servers) = with_otto(&scratch);
    let admin = ebbtide.admin;
    let browser = Browser::start("en");
    browser.open(&format!("http://{admin}/sign-in/again"));
    let told = browser.wait_for(&[
        "heading: Sign in",
        "textbox: User name",
        "textbox: Password",
    ]);
    assert!(told.contains("button: Sign in"), "{told}");

    // The name has the focus; what is wrong is told, and only the password is to be typed again.
    type_in(&browser, "otto\u{e004}wrong wrong wrong");
    browser.press(ENTER);
    browser.wait_for(&["alert", "The name or the password is wrong."]);
    let name = browser.run("return document.getElementById('name').value");
    assert_eq!(name, "otto");
    type_in(&browser, SECRET);
    browser.press(ENTER);
    until("the browser is signed in", LIMIT, || {
        (status_by_script(&browser) == 200).then_some(())
    });
    let cookies = browser.run("return document.cookie");
    assert_eq!(cookies, "", "scripts do not see the cookie");

    // By a link on another site he is in at once, although that site's cookie-less request came first.
    let other = other_site(&format!("http://{admin}/sign-in/again"));
    browser.open(&format!("http://localhost:{}/", other.port()));
    browser.run("document.querySelector('a').click()");
    // The page for signing in is passed by.
    until("the browser is led to the console", LIMIT, || {
        let place = browser.run("return location.host + location.pathname");
        (place == format!("{admin}/")).then_some(())
    });
    assert_eq!(status_by_script(&browser), 200);

    // Another site's form does nothing.
    let forged = format!("http://{admin}/sign-out/everywhere");
    let other = other_site(&forged);
    browser.open(&format!("http://localhost:{}/", other.port()));
    browser.run("document.querySelector('form').submit()");
    browser.wait_for(&["another origin"]);
    browser.open(&format!("http://{admin}/sign-in/again"));
    browser.wait_for(&["Signed in as"]);

    ebbtide.cli(&["user", "sign-out", "otto"]).exits(0);
    assert_eq!(status_by_script(&browser), 401);
    let audit = ebbtide.cli(&["audit"]).exits(0).out;
    assert!(audit.contains("otto is signed in"), "{audit}");
    assert!(
        audit.contains("the user otto is signed out everywhere"),
        "{audit}"
    );
}

/// A site of somebody else's, with a link to `target` and a form that is sent there.
fn other_site(target: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let page = format!(
        "<!doctype html><title>Wiki</title><a href='{target}'>Console</a>\
         <form method=post action='{target}'></form>"
    );
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let length = page.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\
                 Content-Length: {length}\r\n\r\n{page}"
            );
            // Browsers open connections that they do not use.
            std::thread::spawn(move || {
                // One read holds all of so small a request.
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(answer.as_bytes());
            });
        }
    });
    address
}

#[test]
fn a_sign_in_outlives_a_kill_and_ends_with_its_user() {
    let scratch = Scratch::new();
    let (mut ebbtide, _servers) = with_otto(&scratch);
    add(&ebbtide, "vera", "viewer");
    let (otto, vera) = (cookie_of(&ebbtide, "otto"), cookie_of(&ebbtide, "vera"));
    assert!(is_in(&ebbtide, &otto) && is_in(&ebbtide, &vera));
    ebbtide.kill();
    // While no node answers, the file has to be named.
    let file = ebbtide.state_dir().join("users");
    let file = file.to_str().expect("a path");
    ebbtide.cli(&["user", "remove", "vera"]).exits(1);
    ebbtide
        .cli(&["user", "--file", file, "remove", "vera"])
        .exits(0);
    ebbtide.start_again();
    assert!(is_in(&ebbtide, &otto) && !is_in(&ebbtide, &vera));
    ebbtide.cli(&["user", "role", "otto", "viewer"]).exits(0);
    assert!(!is_in(&ebbtide, &otto));
    let users = ebbtide.cli(&["user", "list"]).exits(0).out;
    assert!(
        users.contains("otto") && users.contains("viewer"),
        "{users}"
    );
    assert!(!users.contains("vera"), "{users}");
}

#[test]
fn servers_never_see_the_consoles_cookie() {
    let scratch = Scratch::new();
    let (ebbtide, _servers) = with_otto(&scratch);
    let cookie = cookie_of(&ebbtide, "otto");
    let mut client = Client::new(ebbtide.address, LIMIT);
    let request = Request::get("/cookies").with("Cookie", &format!("a=1; {cookie}; b=2"));
    let seen = client.send(&request).answer().text();
    assert!(seen.contains("a=1; b=2"), "{seen}");
    assert!(!seen.contains("ebbtide_console"), "{seen}");
}
