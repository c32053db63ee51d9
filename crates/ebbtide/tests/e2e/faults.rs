//! Servers that die, hang, stop and lie, and what their users see of it.

use crate::harness::{Ebbtide, Events, LIMIT, Setup, models, page};
use ebbtide_testkit::{
    Client, Crowd, CrowdSettings, Model, Outcome, Request, Scratch, processed, until,
};
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

/// How often each `POST` has reached a server; more than once would be work done twice.
fn post_deliveries(scratch: &Scratch) -> BTreeMap<String, usize> {
    let mut deliveries = BTreeMap::new();
    for [_, id, method, _] in processed(&scratch.join("ledger")) {
        if method == "POST" {
            *deliveries.entry(id).or_default() += 1;
        }
    }
    deliveries
}

#[test]
fn a_server_killed_between_requests_costs_nobody_an_error() {
    let scratch = Scratch::new();
    let mut servers = models(3, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let events = Events::follow(&ebbtide);
    let [mut at_web1, mut elsewhere] = ebbtide.users(12, "web1");
    servers[0].kill();
    for (number, (client, _)) in at_web1.iter_mut().enumerate() {
        let id = format!("after-{number}");
        let request = if number % 2 == 0 {
            Request::get("/")
        } else {
            Request::post("/", b"a form")
        };
        let answer = client.send(&request.with("X-Request", &id)).answer();
        assert_eq!(answer.head.status(), 200, "{}", answer.text());
        assert_ne!(page(client).server, "web1");
    }
    for (client, before) in &mut elsewhere {
        assert_eq!(page(client).login, before.login);
    }
    for (id, times) in post_deliveries(&scratch) {
        assert_eq!(times, 1, "{id}");
    }
    ebbtide.wait_for_reason("web1", "down");
    until("every move is in the events", LIMIT, || {
        let moved = |event: &&serde_json::Value| event["moved_from"] == "app/web1";
        (events.all().iter().filter(moved).count() == at_web1.len()).then_some(())
    });
    // Back again, it takes new users; nobody is moved back.
    servers[0].start_again();
    ebbtide.wait_for_reason("web1", "ready");
    for (client, _) in &mut at_web1 {
        assert_ne!(page(client).server, "web1");
    }
}

#[test]
fn a_server_killed_under_load_fails_no_get_and_sends_no_post_twice() {
    let scratch = Scratch::new();
    let mut servers = models(3, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers).with("retry_percent = 100"));
    let mut settings = CrowdSettings::new(ebbtide.address, 45);
    settings.target = "/slow?ms=60".into();
    settings.pause = Duration::from_millis(60);
    settings.post_every = 3;
    let crowd = Crowd::start(settings);
    crowd.go_on_for(4);
    assert!(crowd.users_at("web2") > 0);
    servers[1].kill();
    until("its users have found another server", LIMIT, || {
        (crowd.users_at("web2") == 0).then_some(())
    });
    crowd.go_on_for(4);
    let ledger = crowd.stop();
    for anomaly in &ledger.anomalies {
        assert_eq!(
            (anomaly.method, anomaly.status),
            ("POST", Some(502)),
            "{anomaly:?}"
        );
    }
    assert!(
        ledger.moves.iter().all(|moved| moved.from == "web2"),
        "{:?}",
        ledger.moves
    );
    for (id, times) in post_deliveries(&scratch) {
        assert_eq!(times, 1, "{id} was processed {times} times");
    }
}

#[test]
fn an_answer_that_breaks_off_never_looks_complete() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    for target in ["/cut", "/cut?chunked=1"] {
        let outcome = Client::new(ebbtide.address, LIMIT).send(&Request::get(target));
        assert!(
            matches!(outcome, Outcome::Truncated(_)),
            "{target}: {outcome:?}"
        );
    }
    let post = Request::post("/close", b"once").with("X-Request", "closed");
    let answer = Client::new(ebbtide.address, LIMIT).send(&post).answer();
    assert_eq!(answer.head.status(), 502);
    assert_eq!(post_deliveries(&scratch)["closed"], 1);
}

#[test]
fn a_request_that_kills_its_servers_is_tried_twice_at_most() {
    let scratch = Scratch::new();
    let mut servers = models(4, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers).with("retry_percent = 100"));
    let [mut users, others] = ebbtide.users(12, "web1");
    users.extend(others);
    for method in ["GET", "POST"] {
        let poison = Request {
            method,
            ..Request::get("/poison")
        };
        let poison = poison.with("X-Request", method);
        let mut poisoner = Client::new(ebbtide.address, LIMIT);
        assert_eq!(poisoner.send(&poison).answer().head.status(), 502);
        for (client, _) in &mut users {
            page(client);
        }
        for server in &mut servers {
            if !server.is_alive() {
                ebbtide.wait_for_reason(&server.name, "down");
            }
        }
    }
    let tries = |method: &str| {
        let received = processed(&scratch.join("ledger"));
        received.iter().filter(|[_, id, ..]| id == method).count()
    };
    assert_eq!((tries("GET"), tries("POST")), (2, 1));
    let alive = servers
        .iter_mut()
        .filter_map(|server| server.is_alive().then_some(()));
    assert_eq!(alive.count(), 1);
}

#[test]
fn a_stopped_server_keeps_its_users_until_it_counts_as_down() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    // Thirty failed probes in a row take longer than the server is stopped.
    let setup = Setup::new(&servers).pool(
        "health = { path = \"/health\", every = \"500ms\", timeout = \"500ms\", fall = 30 }\n\
         timeouts = { response = \"1s\" }\n",
    );
    let ebbtide = Ebbtide::start(&setup);
    let [mut at_web1, mut elsewhere] = ebbtide.users(8, "web1");
    servers[0].pause();
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for (number, (client, _)) in at_web1.iter_mut().enumerate() {
            let id = format!("stopped-{number}");
            scope.spawn(move || {
                let request = Request::post("/", b"a form").with("X-Request", &id);
                let answer = client.send(&request).answer();
                assert_eq!(answer.head.status(), 504, "{}", answer.text());
            });
        }
    });
    for (client, before) in &mut elsewhere {
        assert_eq!(page(client).login, before.login);
    }
    until("three seconds have passed", LIMIT, || {
        (begin.elapsed() >= Duration::from_secs(3)).then_some(())
    });
    servers[0].resume();
    for (client, before) in &mut at_web1 {
        let now = page(client);
        assert_eq!((&now.server, &now.login), (&before.server, &before.login));
    }
    for (id, times) in post_deliveries(&scratch) {
        assert_eq!(times, 1, "{id}");
    }
    assert_eq!(ebbtide.reason("web1"), "ready");
}

#[test]
fn a_server_that_hangs_is_given_up_when_its_probes_say_so() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let setup = Setup::new(&servers).pool(
        "health = { path = \"/health\", every = \"200ms\", timeout = \"300ms\", fall = 2 }\n\
         timeouts = { response = \"2s\" }\n",
    );
    let ebbtide = Ebbtide::start(&setup);
    let [mut at_web1, _] = ebbtide.users(6, "web1");
    servers[0].pause();
    ebbtide.wait_for_reason("web1", "down");
    for (client, _) in &mut at_web1 {
        assert_eq!(page(client).server, "web2");
    }
    servers[0].resume();
    ebbtide.wait_for_reason("web1", "ready");
}

#[test]
fn a_server_that_lies_about_its_health_fails_its_own_users_only() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers).with("timeouts = { response = \"500ms\" }"));
    let [mut at_web1, mut elsewhere] = ebbtide.users(6, "web1");
    servers[0].behave("hang");
    for (client, _) in &mut at_web1 {
        let answer = client.send(&Request::post("/", b"a form")).answer();
        assert_eq!(answer.head.status(), 504);
    }
    for (client, before) in &mut elsewhere {
        assert_eq!(page(client).login, before.login);
    }
    servers[0].behave("normal");
    for (client, before) in &mut at_web1 {
        assert_eq!(page(client).login, before.login);
    }
}

#[test]
fn without_descriptors_it_neither_dies_nor_loses_its_operator() {
    let scratch = Scratch::new();
    let servers: [Model; 2] = models(2, &scratch).try_into().expect("two");
    let mut ebbtide = Ebbtide::prepare(&Setup::new(&servers));
    let run = ebbtide.command();
    let mut limited = Command::new("prlimit");
    limited
        .arg("--nofile=160:160")
        .arg(run.get_program())
        .args(run.get_args());
    ebbtide.run(&mut limited);
    ebbtide.wait_until_probed();
    let (mut client, before) = ebbtide.user();
    let hoard: Vec<TcpStream> = (0..400)
        .filter_map(|_| TcpStream::connect(ebbtide.address).ok())
        .collect();
    assert!(hoard.len() > 200, "only {} connections", hoard.len());
    ebbtide.cli(&["hold", "app/web1"]).exits(0);
    assert_eq!(ebbtide.intent("web1"), "hold");
    assert_eq!(ebbtide.reason("web2"), "ready");
    drop(hoard);
    until("users are let in again", Duration::from_secs(5), || {
        let mut stranger = Client::new(ebbtide.address, Duration::from_secs(2));
        matches!(stranger.send(&Request::get("/")), Outcome::Answered(_)).then_some(())
    });
    client.disconnect();
    assert_eq!(page(&mut client).login, before.login);
    assert!(ebbtide.is_alive());
}

/// Requests that were in flight on the first server that the poison killed are sent once more, as
/// the poison is: not to the server that it kills next.
#[test]
fn a_request_that_kills_its_servers_costs_nobody_else_an_error() {
    let scratch = Scratch::new();
    let servers = models(4, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers).with("retry_percent = 100"));
    let [mut at_web1, others] = ebbtide.users(16, "web1");
    let (mut poisoner, _) = at_web1.pop().expect("a user of web1");
    let poison = Request::get("/poison?ms=50").with("X-Request", "poison");
    std::thread::scope(|scope| {
        for (number, (mut client, _)) in at_web1.into_iter().chain(others).enumerate() {
            let id = format!("innocent-{number}");
            scope.spawn(move || {
                let request = Request::get("/slow?ms=100").with("X-Request", &id);
                let answer = client.send(&request).answer();
                assert_eq!(answer.head.status(), 200, "{id}: {}", answer.text());
            });
        }
        until("all of them have reached their servers", LIMIT, || {
            let arrived = processed(&scratch.join("ledger"));
            (arrived.len() >= 15).then_some(())
        });
        assert_eq!(poisoner.send(&poison).answer().head.status(), 502);
    });
    let arrived = processed(&scratch.join("ledger"));
    let tries = arrived.iter().filter(|[_, id, ..]| id == "poison").count();
    assert_eq!(tries, 2);
}
