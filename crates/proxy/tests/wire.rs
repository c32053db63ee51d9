//! HTTP/1 as it is spoken, both ways.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;
use common::{House, Server, get, ok, until};
use ebbtide_core::{Millis, PoolConfig};
use std::io::{Read, Write};
use std::time::Duration;

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::answering(|wire, request| {
        let path = request.first_line.split(' ').nth(1).unwrap().to_owned();
        wire.send(ok(&path));
        true
    });
    let house = House::new(&[server.address]);
    let mut client = house.client();
    let body = "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    client.send([&get("/1", ""), body, &get("/3", "")].concat());
    let texts = [(); 3].map(|()| client.answer().text());
    assert_eq!(texts, ["/1", "/2", "/3"]);
    assert_eq!(server.log.lock().unwrap()[1].body, b"abc");
}

#[test]
fn bodies_of_every_framing_get_through() {
    let server = Server::answering(|wire, request| {
        let echo = String::from_utf8_lossy(&request.body).into_owned();
        match request.first_line.split(' ').nth(1).unwrap() {
            "/length" => wire.send(ok(&echo)),
            "/chunked" => wire.send(format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{echo}\r\n0\r\nX-Sum: 7\r\n\r\n",
                echo.len()
            )),
            "/none" => wire.send("HTTP/1.1 204 No Content\r\n\r\n"),
            _ => {
                wire.send(format!("HTTP/1.0 200 OK\r\n\r\n{echo}"));
                return false;
            }
        }
        true
    });
    let house = House::new(&[server.address]);
    let mut client = house.client();
    for path in ["/length", "/chunked", "/close", "/none", "/length"] {
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
        ));
        let answer = client.answer();
        let expected = if path == "/none" { "" } else { "hello" };
        assert_eq!(
            (answer.text().as_str(), answer.complete),
            (expected, true),
            "{path}"
        );
        let chunked = "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n";
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"
        ));
        let answer = client.answer();
        let expected = if path == "/none" { "" } else { "hello!" };
        assert_eq!(
            (answer.text().as_str(), answer.complete),
            (expected, true),
            "{path}"
        );
    }
}

#[test]
fn heads_only_and_old_clients() {
    let server = Server::answering(|wire, request| {
        match request.first_line.starts_with("HEAD") {
            true => wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
            false => wire
                .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
        }
        true
    });
    let house = House::new(&[server.address]);
    let mut client = house.client();
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.line().as_deref(), Some("HTTP/1.1 200 OK"));
    let mut fields = Vec::new();
    while let Some(line) = client.line().filter(|line| !line.is_empty()) {
        fields.push(line);
    }
    assert!(
        fields.contains(&"Content-Length: 1000".to_owned()),
        "{fields:?}"
    );
    assert_eq!(
        client.get("/", "").text(),
        "hi",
        "nothing was taken for a body"
    );
    let mut old = house.client();
    old.send("GET / HTTP/1.0\r\n\r\n");
    let answer = old.answer();
    assert_eq!(
        (answer.text().as_str(), answer.field("connection")),
        ("hi", Some("close"))
    );
    assert!(old.is_closed());
    let mut closing = house.client();
    closing.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(closing.answer().field("connection"), Some("close"));
    assert!(closing.is_closed());
}

#[test]
fn a_client_that_waits_for_a_100_gets_the_servers() {
    let server = Server::scripted(|_, mut wire, log| {
        // Read by hand: the body comes only after the 100.
        while let Some(line) = wire.line().filter(|line| !line.is_empty()) {
            let message = common::Message {
                first_line: line,
                ..Default::default()
            };
            log.lock().unwrap().push(message);
        }
        wire.send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(wire.exactly(4), b"body");
        wire.send(ok("done"));
        wire.line();
    });
    let house = House::new(&[server.address]);
    let mut client = house.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    let hint = client.answer();
    assert_eq!((hint.status(), hint.field("link")), (103, Some("</x>")));
    assert_eq!(client.answer().status(), 100);
    client.send("body");
    assert_eq!(client.answer().text(), "done");
    assert!(server.seen().contains(&"Expect: 100-continue".to_owned()));
}

#[test]
fn an_answer_that_comes_before_the_body_is_the_last_one() {
    let server = Server::scripted(|_, mut wire, _| {
        while wire.line().is_some_and(|line| !line.is_empty()) {}
        wire.send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
        wire.line();
    });
    let house = House::new(&[server.address]);
    let mut client = house.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nbegin");
    let answer = client.answer();
    assert_eq!((answer.status(), answer.text().as_str()), (413, "big"));
    assert_eq!(answer.field("connection"), Some("close"));
    // What follows on the connection would be taken for a body, so it is over.
    assert!(client.is_closed());
}

#[test]
fn large_bodies_flow_both_ways_at_once() {
    const BYTES: usize = 8 << 20;
    let server = Server::scripted(|_, mut wire, _| {
        while wire.line().is_some_and(|line| !line.is_empty()) {}
        wire.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n"
        ));
        // Echo as it comes: more than any buffer on the way could hold.
        for _ in 0..BYTES / 65_536 {
            let piece = wire.exactly(65_536);
            wire.send(piece);
        }
        wire.line();
    });
    let house = House::new(&[server.address]);
    let mut client = house.client();
    let mut writer = common::Wire::new(client.stream.try_clone().unwrap());
    let sending = std::thread::spawn(move || {
        writer.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {BYTES}\r\n\r\n"
        ));
        for number in 0..BYTES / 65_536 {
            writer.send(vec![number as u8; 65_536]);
        }
    });
    let answer = client.answer();
    sending.join().unwrap();
    assert_eq!((answer.body.len(), answer.complete), (BYTES, true));
    let wrong = answer
        .body
        .iter()
        .enumerate()
        .find(|(at, byte)| (at / 65_536) as u8 != **byte);
    assert_eq!(wrong, None);
    until("the count", || {
        house.server_sum(0, |slot| &slot.bytes_up) == BYTES as u64
    });
    assert_eq!(house.server_sum(0, |slot| &slot.bytes_down), BYTES as u64);
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let server = Server::named("never");
    let house = House::new(&[server.address]);
    let cases: [(&str, u16); 22] = [
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nbody",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\nbody",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 4\r\n\r\nbody",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: one\r\n two\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: a\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("G<T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\nContent-Length: 1\r\n\r\nx",
            417,
        ),
    ];
    for (request, status) in cases {
        let mut client = house.client();
        client.send([request, &get("/smuggled", "")].concat());
        let answer = client.answer();
        assert_eq!(
            (answer.status(), answer.complete),
            (status, true),
            "{request:?}"
        );
        assert_eq!(answer.field("connection"), Some("close"), "{request:?}");
        assert!(client.is_closed(), "{request:?}");
    }
    assert_eq!(server.seen(), [""; 0]);
    let rejected = house.node.slot(0).rejected.lock().unwrap();
    assert_eq!(rejected.values().sum::<u64>(), cases.len() as u64);
}

#[test]
fn a_malformed_chunk_ends_the_connection() {
    let server = Server::named("one");
    let house = House::new(&[server.address]);
    for chunk in [
        "zz\r\n",
        "5\nhello\r\n",
        "3\r\nabcd\r\n",
        "ffffffffffffffffff\r\n",
    ] {
        let mut client = house.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send([chunk, "0\r\n\r\n", &get("/smuggled", "")].concat());
        let answer = client.answer();
        assert_eq!(answer.status(), 400, "{chunk:?}");
        assert!(client.is_closed(), "{chunk:?}");
    }
    assert!(!server.seen().iter().any(|line| line.contains("smuggled")));
}

#[test]
fn heads_have_bounds() {
    let server = Server::named("one");
    let house = House::new(&[server.address]);
    let long = "x".repeat(40_000);
    for request in [
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"),
        format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "A: b\r\n".repeat(101)
        ),
    ] {
        let mut client = house.client();
        client.send(&request);
        assert!(matches!(client.answer().status(), 414 | 431));
        assert!(client.is_closed());
    }
    let mut client = house.client();
    let fits = "x".repeat(30_000);
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {fits}\r\n\r\n"));
    assert_eq!(client.answer().text(), "one");
}

fn hurried(pool: &mut PoolConfig) {
    pool.http.head_timeout = Millis(50);
    pool.http.idle_timeout = Millis(50);
    pool.http.body_timeout = Millis(50);
    pool.http.tunnel_timeout = Millis(50);
}

#[test]
fn slow_clients_are_cut_at_their_limits() {
    let server = Server::named("one");
    let house = House::with(&[server.address], hurried);
    let mut silent = house.client();
    let mut slow_head = house.client();
    slow_head.send("GET / HTTP/1.1\r\nHo");
    let mut slow_body = house.client();
    slow_body.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx");
    assert!(silent.is_closed(), "nothing is said to who said nothing");
    for client in [&mut slow_head, &mut slow_body] {
        let answer = client.answer();
        assert_eq!(
            (answer.status(), answer.field("connection")),
            (408, Some("close"))
        );
        assert!(client.is_closed());
    }
    let log = server.log.lock().unwrap();
    assert!(log.iter().all(|request| !request.complete));
}

#[test]
fn a_client_that_does_not_read_is_cut() {
    let server = Server::answering(|wire, _| {
        let body = "x".repeat(32 << 20);
        wire.stream.write_all(ok(&body).as_bytes()).is_ok()
    });
    let house = House::with(&[server.address], hurried);
    let mut client = house.client();
    client.send(get("/", ""));
    until("the cut", || {
        house.server_sum(0, |slot| &slot.timeouts) == 1
    });
    assert!(!client.answer().complete);
}

#[test]
fn a_proxy_in_front_that_is_trusted_speaks_for_its_client() {
    let server = Server::named("one");
    let through_proxy = |house: &House| {
        let mut client = house.client();
        client.send(
            "GET / HTTP/1.1\r\nHost: inner\r\nX-Forwarded-For: 192.0.2.1, 203.0.113.9\r\n\
             X-Forwarded-Proto: https\r\nX-Forwarded-Host: www.example\r\n\r\n",
        );
        assert_eq!(client.answer().text(), "one");
        let seen = server.log.lock().unwrap().last().unwrap().clone();
        let field = |name: &str| seen.field(name).unwrap().to_owned();
        let sessions = house.sessions.list(&house.snapshot, None, 9, |_| true);
        (
            field("x-forwarded-proto"),
            field("x-forwarded-host"),
            field("x-forwarded-for"),
            sessions[0].client.to_string(),
        )
    };
    let strict = House::new(&[server.address]);
    let (proto, host, _, client) = through_proxy(&strict);
    assert_eq!((proto.as_str(), host.as_str()), ("http", "inner"));
    assert_eq!(client, "127.0.0.1");
    let trusting = House::with(&[server.address], |pool| pool.http.forwarded_trusted = true);
    let (proto, host, addresses, client) = through_proxy(&trusting);
    assert_eq!((proto.as_str(), host.as_str()), ("https", "www.example"));
    assert_eq!(addresses, "192.0.2.1, 203.0.113.9, 127.0.0.1");
    assert_eq!(client, "203.0.113.9");
}

#[test]
fn a_slow_client_that_reads_steadily_is_not_cut() {
    // More than the kernels take at once.
    const BYTES: usize = 16 << 20;
    let server = Server::answering(|wire, _| {
        wire.stream
            .write_all(ok(&"x".repeat(BYTES)).as_bytes())
            .is_ok()
    });
    let house = House::with(&[server.address], |pool| {
        pool.http.body_timeout = Millis(1_000);
    });
    let mut client = house.client().stream;
    client.write_all(get("/", "").as_bytes()).unwrap();
    // 400 kB a second: the pause between two steps is far below the limit, and so is the time for
    // what may wait in the kernel; a third of a large send buffer would take three times the limit.
    let (_never, pace) = std::sync::mpsc::channel::<()>();
    let (mut step, mut read) = (vec![0; 16 << 10], 0);
    while read < 1 << 20 {
        let _ = pace.recv_timeout(Duration::from_millis(40));
        read += client.read(&mut step).unwrap();
    }
    while read <= BYTES {
        match client.read(&mut step).unwrap() {
            0 => break,
            bytes => read += bytes,
        }
    }
    assert!(read > BYTES, "{read}");
    assert_eq!(house.server_sum(0, |slot| &slot.timeouts), 0);
}
