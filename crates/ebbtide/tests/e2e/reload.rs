//! A new configuration under load: nobody's connection is closed for it.

use crate::harness::{Ebbtide, LIMIT, Setup, models, page};
use ebbtide_testkit::{Client, Crowd, CrowdSettings, Request, Scratch, free_address, until};
use rustix::process::Signal;
use std::fs;
use std::net::TcpStream;

#[test]
fn three_reloads_close_no_connection_and_return_no_server() {
    let scratch = Scratch::new();
    let servers = models(4, &scratch);
    let first = Setup::new(&servers[..3]);
    let ebbtide = Ebbtide::start(&first);
    let crowd = Crowd::start(CrowdSettings::new(ebbtide.address, 50));
    ebbtide.cli(&["hold", "app/web2"]).exits(0);

    let door = free_address();
    let mut second = Setup::new(&servers)
        .with("minimum = 2\nbalance = \"round-robin\"\nsticky = { reuse = \"10m\" }\ntimeouts = { idle = \"50s\" }");
    second.more = format!("[listeners.second]\nbind = \"{door}\"\npool = \"app\"\n");
    ebbtide.configure(&second);
    ebbtide.cli(&["reload"]).exits(0);
    crowd.go_on_for(3);
    ebbtide.wait_for_reason("web4", "ready");
    until("the added server is used", LIMIT, || {
        let mut client = Client::new(door, LIMIT);
        (page(&mut client).server == "web4").then_some(())
    });

    ebbtide.configure(&first.clone().with("contact = \"ext. 4455\""));
    ebbtide.signal(Signal::HUP);
    until("the added listener is gone", LIMIT, || {
        TcpStream::connect(door).is_err().then_some(())
    });
    crowd.go_on_for(3);
    ebbtide.configure(&first);
    ebbtide.cli(&["reload"]).exits(0);
    crowd.go_on_for(3);

    assert_eq!(ebbtide.intent("web2"), "hold");
    assert_eq!(ebbtide.reason("web2"), "held");
    let ledger = crowd.stop();
    assert!(ledger.anomalies.is_empty(), "{:?}", ledger.anomalies);
    assert!(ledger.moves.is_empty(), "{:?}", ledger.moves);
    assert_eq!(ledger.reconnects, 0, "connections were closed");
}

#[test]
fn users_of_a_removed_server_are_placed_anew_and_no_connection_breaks() {
    let scratch = Scratch::new();
    let servers = models(3, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let crowd = Crowd::start(CrowdSettings::new(ebbtide.address, 30));
    assert!(crowd.users_at("web3") > 0);
    ebbtide.configure(&Setup::new(&servers[..2]));
    ebbtide.cli(&["reload"]).exits(0);
    until("nobody is at web3", LIMIT, || {
        (crowd.users_at("web3") == 0).then_some(())
    });
    let ledger = crowd.stop();
    assert!(ledger.anomalies.is_empty(), "{:?}", ledger.anomalies);
    assert!(
        ledger.moves.iter().all(|moved| moved.from == "web3"),
        "{:?}",
        ledger.moves
    );
    assert_eq!(ledger.reconnects, 0, "connections were closed");
}

#[test]
fn a_file_with_a_mistake_changes_nothing() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let setup = Setup::new(&servers);
    let ebbtide = Ebbtide::start(&setup);
    let (mut client, before) = ebbtide.user();
    ebbtide.cli(&["hold", "app/web1"]).exits(0);
    let good = fs::read_to_string(ebbtide.file()).unwrap();
    let status = |ebbtide: &Ebbtide| ebbtide.status()["pools"][0]["servers"].to_string();
    let generation = ebbtide.status()["node"]["generation"].clone();
    for (from, to, expected) in [
        ("protocol = \"http\"", "protocoll = \"http\"", "protocol"),
        ("pool = \"app\"", "pool = \"ap\"", "app"),
        (":2", ":x2", "port"),
        ("[pools.app.servers]", "[pools.app.servers", "unclosed"),
    ] {
        fs::write(ebbtide.file(), good.replace(from, to)).unwrap();
        let failed = ebbtide.cli(&["reload"]).exits(2);
        assert!(failed.err.contains(expected), "{expected:?} in {failed:?}");
    }
    fs::write(ebbtide.file(), b"\xff\xfe").unwrap();
    ebbtide.cli(&["reload"]).exits(2);
    fs::remove_file(ebbtide.file()).unwrap();
    ebbtide.cli(&["reload"]).exits(2);
    assert_eq!(
        ebbtide.status()["node"]["generation"],
        generation,
        "{}",
        status(&ebbtide)
    );
    assert_eq!(ebbtide.intent("web1"), "hold");
    let after = page(&mut client);
    assert_eq!((after.login, after.count), (before.login, 2));
}

#[test]
fn a_listener_that_cannot_be_bound_changes_nothing() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let setup = Setup::new(&servers[..1]);
    let ebbtide = Ebbtide::start(&setup);
    let taken = std::net::TcpListener::bind(free_address()).unwrap();
    let mut wrong = Setup::new(&servers);
    let address = taken.local_addr().unwrap();
    wrong.more = format!("[listeners.second]\nbind = \"{address}\"\npool = \"app\"\n");
    ebbtide.configure(&wrong);
    let failed = ebbtide.cli(&["reload"]).exits(2);
    assert!(failed.err.contains(&address.to_string()), "{failed:?}");
    let servers = ebbtide.status()["pools"][0]["servers"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(servers, 1, "half of the file was taken");
    Client::new(ebbtide.address, LIMIT)
        .send(&Request::get("/"))
        .answer();
}

#[test]
fn a_server_added_live_outlasts_reloads_and_can_be_removed() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let setup = Setup::new(&servers[..1]);
    let ebbtide = Ebbtide::start(&setup);
    let address = servers[1].address.to_string();
    ebbtide
        .cli(&["server", "add", "app/extra", &address])
        .exits(0);
    ebbtide.wait_for_reason("extra", "ready");
    ebbtide.cli(&["reload"]).exits(0);
    assert_eq!(ebbtide.server("extra")["live"], true);
    ebbtide
        .cli(&["server", "set", "app/extra", "weight=3"])
        .exits(0);
    assert_eq!(ebbtide.server("extra")["weight"], 3);
    ebbtide
        .cli(&["server", "remove", "app/extra", "--force"])
        .exits(0);
    assert_eq!(
        ebbtide.status()["pools"][0]["servers"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}
