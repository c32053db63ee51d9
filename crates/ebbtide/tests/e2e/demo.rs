//! `ebbtide demo`: what a new user sees first.

use ebbtide_testkit::{Scratch, until};
use std::fs::File;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn the_demo_runs_and_ends_cleanly() {
    let scratch = Scratch::new();
    let out = scratch.join("out");
    // The demo is for a person's own machine, so it listens where a browser looks.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
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
