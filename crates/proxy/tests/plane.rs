//! Tunnels, snapshots, listeners, and stopping.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;
use common::{House, MAINTENANCE, Plan, Server, get, listener, ok, until};
use ebbtide_core::{EndReason, Millis};
use ebbtide_proxy::{AccessLogOptions, LogFormat, StartError};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

const UPGRADE: &str =
    "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n";
const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n";

/// A server whose tunnels echo, until the client's side ends.
fn echoing() -> Server {
    Server::scripted(|_, mut wire, _| {
        let Some(request) = wire.message(true) else {
            return;
        };
        if request.field("upgrade").is_none() {
            return wire.send(ok("plain"));
        }
        wire.send(SWITCH);
        while let Some(line) = wire.line() {
            wire.send(format!("echo {line}\r\n"));
        }
        wire.send("bye\r\n");
    })
}

#[test]
fn a_tunnel_carries_both_ways_and_ends_half_by_half() {
    let server = echoing();
    let house = House::new(&[server.address]);
    let mut client = house.client();
    // What comes before the 101 belongs to the tunnel, even if it looks like a request.
    client.send([UPGRADE, "GET / HTTP/1.1\r\n"].concat());
    let switch = client.answer();
    assert_eq!(
        (switch.status(), switch.field("upgrade")),
        (101, Some("lines"))
    );
    assert!(switch.field("set-cookie").is_some());
    assert_eq!(client.line().as_deref(), Some("echo GET / HTTP/1.1"));
    client.send("two\r\n");
    assert_eq!(client.line().as_deref(), Some("echo two"));
    assert_eq!(house.server_sum(0, |slot| &slot.tunnels), 1);
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.line().as_deref(), Some("bye"));
    assert!(client.is_closed());
    until("the end", || house.server_sum(0, |slot| &slot.tunnels) == 0);
}

#[test]
fn a_refused_upgrade_ends_the_connection() {
    let server = Server::named("no");
    let house = House::new(&[server.address]);
    let mut client = house.client();
    client.send([UPGRADE, &get("/smuggled", "")].concat());
    let answer = client.answer();
    assert_eq!(
        (answer.text().as_str(), answer.field("connection")),
        ("no", Some("close"))
    );
    assert!(client.is_closed());
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_raised_epoch_or_an_ended_session_cuts_its_tunnels_at_once() {
    let server = echoing();
    let mut house = House::new(&[server.address]);
    let open = |house: &House| {
        let mut client = house.client();
        client.send(UPGRADE);
        assert_eq!(client.answer().status(), 101);
        client
    };
    let mut first = open(&house);
    let mut second = open(&house);
    let sessions = house.sessions.list(&house.snapshot, None, 9, |_| true);
    let newest = sessions
        .iter()
        .max_by_key(|session| session.started)
        .unwrap();
    let ended = Arc::clone(newest);
    house
        .sessions
        .end(&ended, EndReason::EndedByOperator, common::clock());
    // One of the two, whichever it was, is cut; the other lives.
    until("the cut", || house.server_sum(0, |slot| &slot.tunnels) == 1);
    house.publish(|_, pool| {
        pool.servers[0].epoch = 2;
        pool.servers[0].standing = MAINTENANCE;
    });
    assert!(first.is_closed());
    assert!(second.is_closed());
    until("the end", || {
        house.server_sum(0, |slot| &slot.connections) == 0
    });
}

#[test]
fn silence_ends_a_tunnel() {
    let server = echoing();
    let house = House::with(&[server.address], |pool| {
        pool.http.tunnel_timeout = Millis(50)
    });
    let mut client = house.client();
    client.send(UPGRADE);
    assert_eq!(client.answer().status(), 101);
    assert!(client.is_closed());
}

/// A server that answers only when told to, and tells when a request is there.
fn gated() -> (Server, Receiver<()>, Sender<()>) {
    let (arrived, arrivals) = channel();
    let (open, gate) = channel();
    let gates = Mutex::new((arrived, gate));
    let server = Server::answering(move |wire, _| {
        let gates = gates.lock().unwrap();
        gates.0.send(()).unwrap();
        if gates.1.recv().is_err() {
            return false;
        }
        wire.send(ok("late"));
        true
    });
    (server, arrivals, open)
}

#[test]
fn an_exchange_whose_server_goes_into_maintenance_is_told_so() {
    let (server, arrivals, _gate) = gated();
    let mut house = House::new(&[server.address]);
    let mut client = house.client();
    client.send(get("/", ""));
    arrivals.recv().unwrap();
    house.stand(0, MAINTENANCE);
    let answer = client.answer();
    assert_eq!(
        (answer.status(), answer.field("connection")),
        (503, Some("close"))
    );
    assert!(
        answer
            .text()
            .contains("Your session on this server has ended")
    );
    assert!(client.is_closed());
}

#[test]
fn idle_connections_to_a_server_in_maintenance_are_closed() {
    let (closed, closing) = channel();
    let closed = Mutex::new(closed);
    let server = Server::scripted(move |_, mut wire, _| {
        wire.message(true);
        wire.send(ok("one"));
        assert!(wire.message(true).is_none());
        closed.lock().unwrap().send(()).unwrap();
    });
    let mut house = House::new(&[server.address]);
    house.client().get("/", "");
    assert_eq!(house.server_sum(0, |slot| &slot.connections), 1);
    house.stand(0, MAINTENANCE);
    assert_eq!(house.server_sum(0, |slot| &slot.connections), 0);
    closing
        .recv_timeout(common::PATIENCE)
        .expect("the server saw the close");
}

#[test]
fn listeners_come_and_go_and_connections_stay() {
    let server = Server::named("one");
    let mut house = House::build(Plan {
        workers: 2,
        servers: vec![server.address],
        ..Plan::default()
    });
    let mut kept: Vec<_> = (0..8).map(|_| house.client()).collect();
    let old = house.listen;
    let new = common::free_address();
    house.publish(|config, _| config.listeners.push(listener("two", new)));
    let mut fresh = common::Wire::connect(new);
    assert_eq!(fresh.get("/", "").text(), "one");
    // In the backlog when its listener goes: still served.
    let mut waiting: Vec<_> = (0..8).map(|_| house.client()).collect();
    house.publish(|config, _| config.listeners.retain(|listener| listener.bind == new));
    // Those of a listener that is gone are answered once more, and told to leave.
    for client in kept.iter_mut().chain(&mut waiting) {
        let answer = client.get("/", "");
        assert_eq!(
            (answer.text().as_str(), answer.field("connection")),
            ("one", Some("close"))
        );
        assert!(client.is_closed());
    }
    for _ in 0..2 {
        let answer = fresh.get("/", "");
        assert_eq!(
            (answer.text().as_str(), answer.field("connection")),
            ("one", None)
        );
    }
    until("the close", || TcpStream::connect(old).is_err());
    assert_eq!(common::Wire::connect(new).get("/", "").text(), "one");
}

#[test]
fn a_listener_that_cannot_be_bound_changes_nothing_and_says_what_to_do() {
    let server = Server::named("one");
    let house = House::new(&[server.address]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let foreign = "192.0.2.1:8080".parse().unwrap();
    for (bind, advice) in [
        (taken.local_addr().unwrap(), "another program has this port"),
        (foreign, "not an address of this machine"),
    ] {
        let mut config = (*house.snapshot.config).clone();
        let fine = common::free_address();
        config.listeners.push(listener("fine", fine));
        config.listeners.push(listener("bad", bind));
        let error = house.plane().prepare(&config).expect_err("refused");
        assert!(matches!(&error, StartError::Listener { name, .. } if name == "bad"));
        let text = error.to_string();
        assert!(
            text.contains(advice) && text.contains(&bind.to_string()),
            "{text}"
        );
        assert!(TcpStream::connect(fine).is_err());
    }
    assert_eq!(house.client().get("/", "").text(), "one");
}

#[test]
fn a_prepared_listener_takes_no_connections_before_it_is_published() {
    let server = Server::named("one");
    let mut house = House::new(&[server.address]);
    let new = common::free_address();
    let mut config = (*house.snapshot.config).clone();
    config.listeners.push(listener("two", new));
    house.plane().prepare(&config).unwrap();
    assert!(TcpStream::connect(new).is_err());
    house.publish(|config, _| config.listeners.push(listener("two", new)));
    assert_eq!(common::Wire::connect(new).get("/", "").text(), "one");
}

#[test]
fn stopping_lets_what_is_in_flight_finish() {
    let (server, arrivals, gate) = gated();
    let mut house = House::new(&[server.address]);
    let mut idle = house.client();
    let mut busy = house.client();
    busy.send(get("/", ""));
    arrivals.recv().unwrap();
    let listen = house.listen;
    let client = std::thread::spawn(move || {
        assert!(idle.is_closed());
        until("the close", || TcpStream::connect(listen).is_err());
        gate.send(()).unwrap();
        let answer = busy.answer();
        assert!(busy.is_closed());
        answer
    });
    assert_eq!(house.stop(Millis(20_000)), 0);
    let answer = client.join().unwrap();
    assert_eq!(
        (answer.text().as_str(), answer.field("connection")),
        ("late", Some("close"))
    );
}

#[test]
fn stopping_cuts_what_does_not_finish_and_counts_it() {
    let (server, arrivals, _gate) = gated();
    let mut house = House::new(&[server.address]);
    let mut busy = house.client();
    busy.send(get("/", ""));
    arrivals.recv().unwrap();
    assert_eq!(house.stop(Millis(20)), 1);
    assert_eq!(busy.answer().status(), 503);
}

#[test]
fn the_access_log_tells_every_request_and_can_be_reopened() {
    let path = std::env::temp_dir().join(format!("ebbtide-access-{}.log", std::process::id()));
    let moved = path.with_extension("old");
    let server = Server::named("one");
    let mut house = House::build(Plan {
        servers: vec![server.address],
        access_log: Some(AccessLogOptions {
            format: LogFormat::Json,
            path: Some(path.clone()),
        }),
        ..Plan::default()
    });
    let mut client = house.client();
    client.get("/first", "");
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap_or_default();
    until("the line", || read(&path).ends_with('\n'));
    std::fs::rename(&path, &moved).unwrap();
    house.plane().reopen_access_log();
    client.get("/second", "");
    drop(client);
    house.stop(Millis(20_000));
    let (first, second) = (read(&moved), read(&path));
    for file in [&path, &moved] {
        std::fs::remove_file(file).unwrap();
    }
    assert!(
        first.contains(r#""target":"/first","status":200,"bytes":3,"#),
        "{first}"
    );
    assert!(first.contains(r#""server":"app/web1""#), "{first}");
    assert!(second.contains(r#""target":"/second""#), "{second}");
}
