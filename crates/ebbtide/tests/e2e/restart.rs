//! `kill -9` and SIGTERM of Ebbtide itself.

use crate::harness::{Ebbtide, LIMIT, Setup, models, page};
use ebbtide_testkit::{
    Client, Crowd, CrowdSettings, Outcome, PatternCheck, Request, Scratch, Wire, processed, until,
};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::net::TcpStream;
use std::time::{Duration, Instant};

#[test]
fn a_drain_goes_on_after_a_kill_with_the_same_deadline() {
    let scratch = Scratch::new();
    let servers = models(3, &scratch);
    let mut ebbtide = Ebbtide::start(&Setup::new(&servers));
    let mut users: Vec<_> = (0..9).map(|_| ebbtide.user()).collect();
    ebbtide.cli(&["hold", "app/web2"]).exits(0);
    ebbtide
        .cli(&[
            "drain",
            "app/web1",
            "--within",
            "6s",
            "--message",
            "back soon",
        ])
        .exits(0);
    let deadline = ebbtide.deadline("web1");
    ebbtide.kill();
    ebbtide.start_again();
    assert_eq!(ebbtide.deadline("web1"), deadline);
    assert_eq!(ebbtide.server("web1")["intent"]["message"], "back soon");
    assert_eq!(ebbtide.intent("web2"), "hold");
    for (client, before) in &mut users {
        client.disconnect();
        let now = page(client);
        assert_eq!((&now.server, &now.login), (&before.server, &before.login));
    }
    for _ in 0..5 {
        assert_eq!(ebbtide.user().1.server, "web3");
    }
    ebbtide
        .cli(&["wait", "app/web1", "--for", "drained", "--timeout", "15s"])
        .exits(0);
    assert_eq!(ebbtide.intent("web1"), "maintenance");
    // And what has ended stays ended.
    ebbtide.kill();
    ebbtide.start_again();
    assert_eq!(ebbtide.intent("web1"), "maintenance");
    for (client, before) in &mut users {
        client.disconnect();
        let now = page(client);
        assert_eq!(now.server == before.server, before.server != "web1");
    }
}

#[test]
fn a_deadline_that_passes_while_it_is_dead_is_kept_at_the_start() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let mut ebbtide = Ebbtide::start(&Setup::new(&servers));
    let [mut at_web1, _] = ebbtide.users(4, "web1");
    ebbtide
        .cli(&["drain", "app/web1", "--within", "1s"])
        .exits(0);
    let begin = Instant::now();
    ebbtide.kill();
    until("the deadline has passed", LIMIT, || {
        (begin.elapsed() > Duration::from_millis(1100)).then_some(())
    });
    ebbtide.start_again();
    for (client, _) in &mut at_web1 {
        client.disconnect();
        assert_eq!(page(client).server, "web2");
    }
    ebbtide
        .cli(&["wait", "app/web1", "--for", "drained", "--timeout", "5s"])
        .exits(0);
}

#[test]
fn a_stop_answers_every_request_that_it_took() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let mut ebbtide = Ebbtide::start(&Setup::new(&servers));
    let crowd = Crowd::start(CrowdSettings {
        target: "/slow?ms=20".into(),
        ..CrowdSettings::new(ebbtide.address, 20)
    });
    let mut download = Wire::connect(ebbtide.address, LIMIT).unwrap();
    let ask = "GET /download?bytes=900000&pause_ms=100 HTTP/1.1\r\nHost: a\r\n\r\n";
    download.send(ask.as_bytes()).unwrap();
    let head = download.read_head().unwrap().unwrap();
    let address = ebbtide.address;
    std::thread::scope(|scope| {
        let slow: Vec<_> = (0..10)
            .map(|number| {
                scope.spawn(move || {
                    let id = format!("in-flight-{number}");
                    let request = Request::post("/slow?ms=1000", b"a form").with("X-Request", &id);
                    Client::new(address, LIMIT)
                        .send(&request)
                        .answer()
                        .head
                        .status()
                })
            })
            .collect();
        until("all of them have reached their servers", LIMIT, || {
            let arrived = processed(&scratch.join("ledger"));
            let count = arrived
                .iter()
                .filter(|[_, id, ..]| id.starts_with("in-flight"))
                .count();
            (count == 10).then_some(())
        });
        ebbtide.signal(Signal::TERM);
        until("nobody is let in any more", LIMIT, || {
            TcpStream::connect(address).is_err().then_some(())
        });
        for request in slow {
            assert_eq!(request.join().expect("an answer"), 200);
        }
    });
    let mut check = PatternCheck::default();
    download
        .read_body(head.framing().unwrap(), &mut check)
        .unwrap();
    assert_eq!((check.bytes, check.wrong_near), (900_000, None));
    assert!(ebbtide.wait_for_end().success());

    let ledger = crowd.stop();
    let arrived: BTreeSet<_> = processed(&scratch.join("ledger"))
        .into_iter()
        .map(|[_, id, ..]| id)
        .collect();
    for anomaly in &ledger.anomalies {
        assert!(
            !arrived.contains(&anomaly.request),
            "taken and lost: {anomaly:?}"
        );
        assert_eq!(anomaly.status, None, "{anomaly:?}");
    }
}

#[test]
fn a_stop_does_not_wait_for_those_who_never_finish() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let mut setup = Setup::new(&servers);
    setup.top = "stop_grace = \"1s\"".into();
    let mut ebbtide = Ebbtide::start(&setup);
    let address = ebbtide.address;
    let hanging = std::thread::spawn(move || {
        Client::new(address, LIMIT).send(&Request::get("/hang").with("X-Request", "hang"))
    });
    until("the request has reached its server", LIMIT, || {
        let arrived = processed(&scratch.join("ledger"));
        arrived.iter().any(|[_, id, ..]| id == "hang").then_some(())
    });
    ebbtide.signal(Signal::TERM);
    assert!(ebbtide.wait_for_end().success());
    let outcome = hanging.join().expect("no panic");
    assert!(!matches!(outcome, Outcome::TimedOut), "{outcome:?}");
    assert!(
        !ebbtide.state_dir().join("admin.sock").exists(),
        "the socket is left behind"
    );
}
