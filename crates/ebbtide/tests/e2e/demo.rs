//! `ebbtide demo`: what a new user sees first.

use crate::harness::{LIMIT, text};
use ebbtide_testkit::{Client, Request, Scratch, until};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The demo is for a person's own machine, so it listens where a browser looks.
fn free_port() -> String {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port().to_string()
}

/// One after the other: both would like the demo's own port for the operator.
#[test]
fn the_demo_shows_what_there_is_and_ends_cleanly() {
    its_pages_show_that_an_administrator_comes();
    it_ends_cleanly_when_its_time_is_over();
}

fn its_pages_show_that_an_administrator_comes() {
    let scratch = Scratch::new();
    let out = scratch.join("out");
    let port = free_port();
    let file = File::create(&out).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_ebbtide"))
        .args(["demo", "--plain", "--port", &port])
        .current_dir(scratch.path())
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .spawn()
        .expect("the program starts");
    let said = || std::fs::read_to_string(&out).unwrap();
    let socket = until("the demo says where it is", LIMIT, || {
        let said = said();
        let socket = said.split("--admin unix:").nth(1)?;
        let socket = socket.split('\'').next()?;
        Path::new(socket).exists().then(|| format!("unix:{socket}"))
    });
    let door = Command::new(env!("CARGO_BIN_EXE_ebbtide"))
        .args([
            "--admin",
            &socket,
            "--json",
            "door",
            "demo/blue",
            "--as-admin",
        ])
        .output()
        .expect("the program starts");
    let door: serde_json::Value =
        serde_json::from_slice(&door.stdout).unwrap_or_else(|error| panic!("{error}: {door:?}"));
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    let mut operator = Client::new(address, LIMIT);
    let entered = operator.send(&Request::get(&text(&door["path"]))).answer();
    assert_eq!(entered.head.status(), 303, "{}", entered.text());
    let page = operator.send(&Request::get("/")).answer().text();
    assert!(page.contains("<b>blue</b>"), "{page}");
    assert!(page.contains("as an administrator"), "{page}");
    let mut user = Client::new(address, LIMIT);
    let page = user.send(&Request::get("/")).answer().text();
    assert!(!page.contains("as an administrator"), "{page}");
    it_lets_one_into_its_console(&said());
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    until("the demo is over", LIMIT, || {
        child.try_wait().expect("a child")
    });
}

fn it_lets_one_into_its_console(said: &str) {
    let line = said.split("the console at http://").nth(1).unwrap();
    let (admin, rest) = line.split_once("/ as demo, password ").unwrap();
    let password = rest.lines().next().unwrap();
    let form = format!("name=demo&password={password}");
    let form = Request::post("/sign-in", form.as_bytes())
        .with("Content-Type", "application/x-www-form-urlencoded");
    let mut browser = Client::new(admin.parse().unwrap(), LIMIT);
    let answer = browser.send(&form).answer();
    assert_eq!(answer.head.status(), 303, "{}", answer.text());
    assert!(browser.jar.contains_key("ebbtide_console"));
}

fn it_ends_cleanly_when_its_time_is_over() {
    let scratch = Scratch::new();
    let out = scratch.join("out");
    let port = free_port();
    let file = File::create(&out).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_ebbtide"))
        .args(["demo", "--plain", "--for", "10s", "--port", &port])
        .current_dir(scratch.path())
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .spawn()
        .expect("the program starts");
    let status = until("the demo is over", Duration::from_secs(25), || {
        child.try_wait().expect("a child")
    });
    let said = std::fs::read_to_string(out).unwrap();
    assert!(status.success(), "{status}: {said}");
    assert!(said.contains("ebbtide drain"), "no command to try: {said}");
}
