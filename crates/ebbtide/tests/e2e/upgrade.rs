//! A pool that was closed until it is upgraded opens by itself, and tells what happens to others.

use crate::harness::{Ebbtide, Events, LIMIT, Setup, models, page, text};
use ebbtide_testkit::{Client, Request, Scratch, until};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

const UPGRADE: &str = "upgrade = { path = \"/version\", expect = \"^v2\\\\.\", probes = 3 }";

fn intent(ebbtide: &Ebbtide) -> Value {
    ebbtide.status()["pools"][0]["intent"].clone()
}

fn is_open(ebbtide: &Ebbtide) -> Option<()> {
    (intent(ebbtide)["label"] == "open").then_some(())
}

#[track_caller]
fn waits_for(ebbtide: &Ebbtide, what: &str) {
    until(&format!("the pool waits for {what:?}"), LIMIT, || {
        let waits = intent(ebbtide)["waits_for"].clone();
        waits.as_str()?.contains(what).then_some(())
    });
}

#[track_caller]
fn close(ebbtide: &Ebbtide, within: &str) {
    let close = ["close", "app", "--within", within, "--until-upgraded"];
    ebbtide.cli(&close).exits(0);
}

#[test]
fn a_closed_pool_opens_when_every_server_is_upgraded_also_over_a_restart() {
    let scratch = Scratch::new();
    let servers = models(3, &scratch);
    let mut ebbtide = Ebbtide::start(&Setup::new(&servers).with(UPGRADE));
    ebbtide.cli(&["maintenance", "app/web3"]).exits(0);
    close(&ebbtide, "0s");
    let mut stranger = Client::new(ebbtide.address, LIMIT);
    let refused = stranger.send(&Request::get("/")).answer();
    assert_eq!(refused.head.status(), 503);
    waits_for(
        &ebbtide,
        "web1: still says \"v1.0\"; web2: still says \"v1.0\"",
    );
    // One is new already when Ebbtide is killed: it must not be taken for the old one.
    servers[0].upgrade("v2.0");
    until("web1 is upgraded", LIMIT, || {
        let waits = intent(&ebbtide)["waits_for"].clone();
        (waits == "web2: still says \"v1.0\"").then_some(())
    });
    // What the servers said before is stored with whatever is stored next.
    let message = ["close", "app", "--message", "Soon"];
    ebbtide.cli(&message).exits(0);
    ebbtide.kill();
    ebbtide.start_again();
    ebbtide.wait_until_probed();
    until("web1 is still upgraded", LIMIT, || {
        let waits = intent(&ebbtide)["waits_for"].clone();
        (waits == "web2: still says \"v1.0\"").then_some(())
    });
    assert!(
        ebbtide
            .cli(&["status"])
            .exits(0)
            .out
            .contains("web2: still says")
    );
    // Another version, but not the one that is expected.
    servers[1].upgrade("v3.0");
    waits_for(&ebbtide, "web2: says \"v3.0\", which is not what");
    servers[1].upgrade("v2.0");
    until("the pool is open", LIMIT, || is_open(&ebbtide));
    page(&mut Client::new(ebbtide.address, LIMIT));
    let audit = ebbtide.cli(&["audit"]).exits(0).out;
    assert!(audit.contains("opened by itself"), "{audit}");
}

#[test]
fn the_version_is_remembered_while_the_pool_counts_down_and_by_hand_it_opens_at_any_time() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers).with(UPGRADE));
    let user = ebbtide.user();
    close(&ebbtide, "10m");
    assert_eq!(intent(&ebbtide)["label"], "closing");
    assert!(intent(&ebbtide)["waits_for"].is_null());
    close(&ebbtide, "0s");
    drop(user);
    waits_for(&ebbtide, "web1: still says");
    // A pool does not open while a server of it is not well.
    servers[0].upgrade("v2.1");
    servers[1].upgrade("v2.1");
    servers[1].say("ON HOLD");
    waits_for(&ebbtide, "web2: reports that it is on hold");
    ebbtide.cli(&["open", "app"]).exits(0);
    is_open(&ebbtide).expect("opened by hand");
}

#[test]
fn after_its_time_a_pool_stays_closed_and_says_why() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let within = "upgrade = { path = \"/version\", within = \"1s\" }";
    let ebbtide = Ebbtide::start(&Setup::new(&servers).with(within));
    let events = Events::follow(&ebbtide);
    close(&ebbtide, "0s");
    let why = until("it is said that it stays closed", LIMIT, || {
        let mut all = events.all().into_iter();
        all.find(|event| event["kind"] == "stays-closed")
    });
    assert!(
        text(&why["why"]).contains("stays closed until it is opened by hand"),
        "{why}"
    );
    servers[0].upgrade("v2.0");
    waits_for(&ebbtide, "within 1s not every server was upgraded and well");
    assert_eq!(intent(&ebbtide)["label"], "closed");
    // It does not wait for an upgrade any longer, and the audit log says why, too.
    assert_eq!(intent(&ebbtide)["until_upgraded"], false);
    let audit = ebbtide.cli(&["audit"]).exits(0).out;
    assert!(
        audit.contains("stays closed until it is opened by hand"),
        "{audit}"
    );
}

#[test]
fn without_a_check_nothing_can_open_by_itself() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let close = ["close", "app", "--within", "0s", "--until-upgraded"];
    let refused = ebbtide.cli(&close);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("no `upgrade` check"), "{refused:?}");
}

/// An address that takes webhooks, and the requests that come there.
fn receiver() -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (told, requests) = channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = Vec::new();
            let mut piece = [0; 4096];
            while !request.ends_with(b"}") {
                match stream.read(&mut piece) {
                    Ok(0) | Err(_) => break,
                    Ok(count) => request.extend_from_slice(&piece[..count]),
                }
            }
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
            let _ = told.send(String::from_utf8_lossy(&request).into_owned());
        }
    });
    (address, requests)
}

#[test]
fn others_are_told_by_webhooks() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let (address, requests) = receiver();
    let secret = scratch.join("secret");
    fs::write(&secret, "a secret of the operator's").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let mut setup = Setup::new(&servers);
    setup.more = format!(
        "[webhooks.ops]\nurl = \"http://{address}/hook\"\nevents = [\"pool-intent\"]\n\
         secret_file = {secret:?}\n"
    );
    let ebbtide = Ebbtide::start(&setup);
    ebbtide.cli(&["hold", "app/web1"]).exits(0);
    ebbtide.cli(&["close", "app", "--within", "0s"]).exits(0);
    let request = requests.recv_timeout(LIMIT).expect("a delivery");
    assert!(request.starts_with("POST /hook HTTP/1.1\r\n"), "{request}");
    assert!(
        request
            .to_ascii_lowercase()
            .contains("\r\nebbtide-signature: t="),
        "{request}"
    );
    assert!(request.contains(r#""kind":"pool-intent""#), "{request}");
    assert!(request.contains(r#""by":""#), "{request}");
    assert!(request.contains(r#""message":null"#), "{request}");
    // A reload takes the hook away.
    setup.more.clear();
    ebbtide.configure(&setup);
    let reload = ebbtide.cli(&["reload"]).exits(0);
    assert!(reload.out.contains("- webhooks.ops"), "{reload:?}");
    // A secret that others may read is refused, and nothing changes.
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    setup.more =
        format!("[webhooks.ops]\nurl = \"http://{address}/hook\"\nsecret_file = {secret:?}\n");
    ebbtide.configure(&setup);
    let refused = ebbtide.cli(&["reload"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("chmod 600"), "{refused:?}");
}
