//! Hold, drain, maintenance, ready, forget, and the guard: what operators do all day.

use crate::harness::{Ebbtide, Events, LIMIT, Setup, models, page, text, timestamp};
use ebbtide_testkit::{Crowd, CrowdSettings, Request, Scratch, until};
use std::time::{Duration, SystemTime};

#[test]
fn a_held_server_keeps_its_users_and_gets_no_others() {
    let scratch = Scratch::new();
    let servers = models(3, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let [mut at_web1, mut elsewhere] = ebbtide.users(9, "web1");
    ebbtide.cli(&["hold", "app/web1"]).exits(0);
    assert_eq!(ebbtide.reason("web1"), "held");
    for _ in 0..10 {
        assert_ne!(ebbtide.user().1.server, "web1");
    }
    for (client, before) in at_web1.iter_mut().chain(&mut elsewhere) {
        let now = page(client);
        assert_eq!((&now.server, &now.login), (&before.server, &before.login));
    }
    assert_eq!(ebbtide.sessions("web1"), at_web1.len() as u64);
    ebbtide.cli(&["ready", "app/web1"]).exits(0);
    until("web1 is given new users again", LIMIT, || {
        (ebbtide.user().1.server == "web1").then_some(())
    });
}

#[test]
fn a_drain_ends_at_its_deadline_and_becomes_maintenance() {
    let scratch = Scratch::new();
    let servers = models(3, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let events = Events::follow(&ebbtide);
    let crowd = Crowd::start(CrowdSettings::new(ebbtide.address, 30));
    ebbtide.cli(&["hold", "app/web1"]).exits(0);
    let users = crowd.users_at("web1");
    assert!(users > 0);
    assert_eq!(ebbtide.sessions("web1"), users as u64);
    let epoch = ebbtide.server("web1")["epoch"].as_u64().unwrap();

    ebbtide
        .cli(&["drain", "app/web1", "--within", "3s"])
        .exits(0);
    let deadline = ebbtide.deadline("web1");
    assert_eq!(ebbtide.intent("web1"), "drain");
    assert_eq!(ebbtide.sessions("web1"), users as u64);
    ebbtide
        .cli(&["wait", "app/web1", "--for", "drained", "--timeout", "10s"])
        .exits(0);
    assert_eq!(ebbtide.intent("web1"), "maintenance");
    assert_eq!(ebbtide.server("web1")["epoch"], epoch + 1);
    assert_eq!(ebbtide.sessions("web1"), 0);

    crowd.go_on_for(3);
    assert_eq!(crowd.users_at("web1"), 0);
    let ledger = crowd.stop();
    assert!(ledger.anomalies.is_empty(), "{:?}", ledger.anomalies);
    assert_eq!(ledger.moves.len(), users, "{:?}", ledger.moves);
    for moved in &ledger.moves {
        assert_eq!(moved.from, "web1");
        assert!(moved.at >= deadline, "before the deadline: {moved:?}");
    }
    let drained = events.wait_for("app/web1", "drained", &[]);
    assert_eq!(drained["ended"], users as u64);
    let at = timestamp(&drained["at"]);
    assert!(at >= deadline, "{drained}");
    assert!(at <= deadline + Duration::from_secs(1), "{drained}");
}

/// What was accepted before the deadline has the second that a deadline may take to be answered.
#[test]
fn a_request_in_flight_at_the_deadline_is_answered_and_a_long_one_is_ended() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let [at_web1, _] = ebbtide.users(6, "web1");
    let mut clients = at_web1.into_iter().map(|(client, _)| client);
    let (mut quick, mut long) = (clients.next().unwrap(), clients.next().unwrap());
    ebbtide
        .cli(&["drain", "app/web1", "--within", "1500ms"])
        .exits(0);
    let deadline = ebbtide.deadline("web1");
    std::thread::scope(|scope| {
        let long = scope.spawn(move || {
            let status = long
                .send(&Request::get("/slow?ms=8000"))
                .answer()
                .head
                .status();
            (status, SystemTime::now())
        });
        until("the deadline is near", LIMIT, || {
            (SystemTime::now() + Duration::from_millis(150) >= deadline).then_some(())
        });
        let answer = quick.send(&Request::get("/slow?ms=300")).answer();
        assert_eq!(answer.head.status(), 200, "{}", answer.text());
        let (status, at) = long.join().expect("an answer");
        assert_eq!(status, 503);
        assert!(
            at >= deadline && at <= deadline + Duration::from_secs(1),
            "{at:?} {deadline:?}"
        );
    });
}

#[test]
fn a_drain_whose_users_leave_is_over_before_its_deadline() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers).with("logout = [\"/logout\"]"));
    let [mut at_web1, mut elsewhere] = ebbtide.users(6, "web1");
    ebbtide
        .cli(&["drain", "app/web1", "--within", "1h"])
        .exits(0);
    let wait = ["wait", "app/web1", "--for", "drained", "--timeout", "500ms"];
    ebbtide.cli(&wait).exits(3);
    for (client, before) in &mut at_web1 {
        assert_eq!(page(client).login, before.login);
        client.send(&Request::get("/logout")).answer();
    }
    ebbtide
        .cli(&["wait", "app/web1", "--for", "drained", "--timeout", "15s"])
        .exits(0);
    assert_eq!(ebbtide.intent("web1"), "maintenance");
    for (client, before) in &mut elsewhere {
        assert_eq!(page(client).login, before.login);
    }
    ebbtide.cli(&["ready", "app/web1"]).exits(0);
    ebbtide
        .cli(&["wait", "app/web1", "--for", "ready", "--timeout", "15s"])
        .exits(0);
}

#[test]
fn the_deadline_of_a_drain_can_be_moved() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let [mut at_web1, _] = ebbtide.users(6, "web1");
    ebbtide
        .cli(&["drain", "app/web1", "--within", "2s"])
        .exits(0);
    let first = ebbtide.deadline("web1");
    ebbtide
        .cli(&["drain", "app/web1", "--within", "1h"])
        .exits(0);
    let second = ebbtide.deadline("web1");
    assert!(
        second > first + Duration::from_secs(3000),
        "{first:?} {second:?}"
    );
    until("the first deadline is past", LIMIT, || {
        (SystemTime::now() > first + Duration::from_millis(500)).then_some(())
    });
    for (client, before) in &mut at_web1 {
        assert_eq!(page(client).login, before.login);
    }
    ebbtide
        .cli(&["drain", "app/web1", "--within", "1s"])
        .exits(0);
    ebbtide
        .cli(&["wait", "app/web1", "--for", "drained", "--timeout", "10s"])
        .exits(0);
    for (client, _) in &mut at_web1 {
        assert_eq!(page(client).server, "web2");
    }
}

#[test]
fn maintenance_ends_the_sessions_at_once_and_nobody_comes_back() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let crowd = Crowd::start(CrowdSettings::new(ebbtide.address, 10));
    assert!(crowd.users_at("web1") > 0);
    ebbtide
        .cli(&["maintenance", "app/web1", "--reason", "new disk"])
        .exits(0);
    until("nobody is at web1", LIMIT, || {
        (crowd.users_at("web1") == 0).then_some(())
    });
    assert_eq!(
        text(&ebbtide.server("web1")["intent"]["reason"]),
        "new disk"
    );
    let moves = crowd.ledger().moves.len();
    ebbtide.cli(&["ready", "app/web1"]).exits(0);
    crowd.go_on_for(5);
    let ledger = crowd.stop();
    assert!(ledger.anomalies.is_empty(), "{:?}", ledger.anomalies);
    assert_eq!(ledger.moves.len(), moves, "moved back: {:?}", ledger.moves);
}

#[test]
fn the_last_admitting_server_is_guarded() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    ebbtide.cli(&["hold", "app/web1"]).exits(0);
    for command in [
        &["hold", "app/web2"][..],
        &["drain", "app/web2", "--within", "10s"],
        &["maintenance", "app/web2"],
    ] {
        let refused = ebbtide.cli(command).exits(4);
        assert!(
            refused.err.contains("no server") && refused.err.contains("--force"),
            "{refused:?}"
        );
        assert_eq!(ebbtide.intent("web2"), "ready");
    }
    let refused = ebbtide.cli(&["hold", "app/web2", "--json"]).exits(4).json();
    assert_eq!(refused["error"]["kind"], "guarded", "{refused}");
    assert_eq!(refused["error"]["would_leave"], serde_json::json!([]));
    ebbtide.cli(&["hold", "app/web2", "--force"]).exits(0);
    assert_eq!(ebbtide.intent("web2"), "hold");
    let audit = ebbtide.cli(&["audit", "--json"]).exits(0).json();
    let entries = audit["entries"].as_array().expect("entries").clone();
    let of = |target: &str| {
        let mut found = entries
            .iter()
            .filter(|entry| entry["target"] == target && entry["action"] == "hold");
        found
            .next()
            .unwrap_or_else(|| panic!("no hold of {target} in {entries:?}"))
            .clone()
    };
    assert_eq!(of("app/web2")["forced"], true);
    assert_eq!(of("app/web1")["forced"], false);
}

#[test]
fn with_a_minimum_of_two_the_second_is_guarded() {
    let scratch = Scratch::new();
    let servers = models(3, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers).with("minimum = 2"));
    ebbtide.cli(&["hold", "app/web1"]).exits(0);
    let refused = ebbtide.cli(&["maintenance", "app/web3"]).exits(4);
    assert!(refused.err.contains("only web2"), "{refused:?}");
    // What does not admit anyway may always be taken further out.
    ebbtide.cli(&["maintenance", "app/web1"]).exits(0);
}

#[test]
fn commands_that_make_no_sense_say_why() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let unknown = ebbtide.cli(&["hold", "app/web9"]).exits(1);
    assert!(unknown.err.contains("web1"), "{unknown:?}");
    assert_eq!(ebbtide.cli(&["drain", "app/web1"]).code, 2);
    assert_eq!(
        ebbtide.cli(&["drain", "app/web1", "--within", "10"]).code,
        2
    );
    assert_eq!(ebbtide.cli(&["wait", "app/web1", "--for", "godot"]).code, 2);
}
