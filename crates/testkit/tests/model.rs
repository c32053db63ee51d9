//! The tools are tested too: a client that hides a fault would make every other test lie.

use ebbtide_testkit::{
    Client, Crowd, CrowdSettings, Framing, Model, Outcome, Page, PatternCheck, Request, Scratch,
    Tunnel, Wire, pattern, processed, serve_if_asked, until,
};
use std::io::Write;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn model_process() {
    serve_if_asked();
    let scratch = Scratch::new();
    let mut model = Model::start("web1", &scratch.join("ledger"));
    assert!(model.is_alive());
    model.kill();
    let refused = Client::new(model.address, LIMIT).send(&Request::get("/"));
    assert!(matches!(refused, Outcome::Unreachable(_)), "{refused:?}");
    model.start_again();
    let answer = Client::new(model.address, LIMIT)
        .send(&Request::get("/"))
        .answer();
    assert_eq!(Page::parse(&answer.body).unwrap().server, "web1");
}

#[test]
fn the_client_keeps_its_login_and_its_connection() {
    let scratch = Scratch::new();
    let model = Model::start("web1", &scratch.join("ledger"));
    let mut client = Client::new(model.address, LIMIT);
    for count in 1..=3 {
        let request = Request::get("/").with("X-Request", &format!("r{count}"));
        let page = Page::parse(&client.send(&request).answer().body).unwrap();
        assert_eq!((page.count, page.id), (count, format!("r{count}")));
        assert!(client.is_connected());
    }
    let ids: Vec<_> = processed(&scratch.join("ledger"))
        .into_iter()
        .map(|[_, id, ..]| id)
        .collect();
    assert_eq!(ids, ["r1", "r2", "r3"]);
}

#[test]
fn every_way_to_fail_has_its_own_outcome() {
    let scratch = Scratch::new();
    let mut model = Model::start("web1", &scratch.join("ledger"));
    let ask = |target: &str| {
        Client::new(model.address, Duration::from_millis(300)).send(&Request::get(target))
    };
    assert!(matches!(ask("/close"), Outcome::ClosedUnanswered(_)));
    assert!(matches!(ask("/cut"), Outcome::Truncated(_)));
    assert!(matches!(ask("/cut?chunked=1"), Outcome::Truncated(_)));
    assert!(matches!(ask("/hang"), Outcome::TimedOut));
    model.behave("hang");
    assert!(matches!(ask("/"), Outcome::TimedOut));
    model.say("ON HOLD");
    assert_eq!(ask("/health").answer().text(), "ON HOLD");
    let mut client = Client::new(model.address, LIMIT);
    model.behave("normal");
    client.send(&Request::get("/")).answer();
    model.pause();
    model.resume();
    client.send(&Request::get("/")).answer();
    model.kill();
    assert!(matches!(
        client.send(&Request::get("/")),
        Outcome::ClosedWhileIdle
    ));
}

#[test]
fn large_bodies_are_checked_byte_for_byte() {
    let scratch = Scratch::new();
    let model = Model::start("web1", &scratch.join("ledger"));
    for query in ["bytes=300000", "bytes=300000&chunked=1"] {
        let mut wire = Wire::connect(model.address, LIMIT).unwrap();
        wire.send(format!("GET /download?{query} HTTP/1.1\r\n\r\n").as_bytes())
            .unwrap();
        let head = wire.read_head().unwrap().unwrap();
        let mut check = PatternCheck::default();
        wire.read_body(head.framing().unwrap(), &mut check).unwrap();
        assert_eq!((check.bytes, check.wrong_near), (300_000, None));
    }
    let mut check = PatternCheck::default();
    check.write_all(pattern(0, 10)).unwrap();
    check.write_all(b"something else").unwrap();
    assert_eq!(check.wrong_near, Some(10));
    let body: Vec<u8> = [pattern(0, 65_521), pattern(65_521, 1000)].concat();
    let answer = Client::new(model.address, LIMIT)
        .send(&Request::post("/upload", &body))
        .answer();
    assert_eq!(answer.text(), "bytes=66521 wrong_near=None\n");
    assert_eq!(
        answer.head.framing(),
        Some(Framing::Length(answer.body.len()))
    );
}

#[test]
fn a_tunnel_echoes_until_its_server_dies() {
    let scratch = Scratch::new();
    let mut model = Model::start("web1", &scratch.join("ledger"));
    let mut tunnel = Tunnel::open(model.address, LIMIT, "").unwrap().unwrap();
    tunnel.echo(b"hello").unwrap();
    model.kill();
    tunnel.wait_for_end();
}

#[test]
fn a_crowd_notices_a_lost_login_and_a_dead_server() {
    let scratch = Scratch::new();
    let mut model = Model::start("web1", &scratch.join("ledger"));
    let crowd = Crowd::start(CrowdSettings::new(model.address, 5));
    crowd.go_on_for(3);
    assert_eq!(crowd.users_at("web1"), 5);
    let quiet = crowd.ledger();
    assert!(quiet.anomalies.is_empty(), "{:?}", quiet.anomalies);
    model.kill();
    until("the crowd finds its server dead", LIMIT, || {
        let found = crowd.ledger().anomalies;
        found
            .iter()
            .any(|anomaly| anomaly.what.contains("Unreachable"))
            .then_some(())
    });
    model.start_again();
    until("the crowd finds its logins gone", LIMIT, || {
        let found = crowd.ledger().anomalies;
        found
            .iter()
            .any(|anomaly| anomaly.what.contains("login"))
            .then_some(())
    });
    let ledger = crowd.stop();
    assert_eq!(ledger.requests, ledger.good + ledger.anomalies.len() as u64);
}
