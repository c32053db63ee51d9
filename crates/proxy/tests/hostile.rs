//! What a hostile or clumsy server may do to others than its own client, and at the limits.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;
use common::{House, Server, Wire, get, ok};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What an application that lets its users choose bytes may send as the "body" of an answer that
/// has none.
const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON";

/// A server whose answer `head` to `/first` has no body by the rules, and which sends one all the
/// same: late, when the next request is there already.
fn late_body(head: &'static str) -> Server {
    Server::scripted(move |_, mut wire, log| {
        while let Some(request) = wire.message(true) {
            let is_first = request.first_line.contains("/first");
            log.lock().unwrap().push(request);
            if !is_first {
                wire.send(ok("own"));
                continue;
            }
            wire.send(head.replace("LENGTH", &POISON.len().to_string()));
            if wire.message(true).is_some() {
                wire.send(POISON);
            }
            return;
        }
    })
}

fn another_client_gets_its_own_answer(method: &str, head: &'static str) {
    let server = late_body(head);
    let house = House::new(&[server.address]);
    let mut first = house.client();
    first.send(format!("{method} /first HTTP/1.1\r\nHost: test\r\n\r\n"));
    while first.line().is_some_and(|line| !line.is_empty()) {}
    let answer = house.client().get("/second", "");
    assert_eq!(answer.text(), "own");
}

#[test]
fn a_204_that_announces_a_length_does_not_leave_its_body_to_another_client() {
    let head = "HTTP/1.1 204 No Content\r\nContent-Length: LENGTH\r\n\r\n";
    another_client_gets_its_own_answer("GET", head);
}

#[test]
fn a_204_that_announces_chunks_does_not_leave_them_to_another_client() {
    let head = "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n";
    another_client_gets_its_own_answer("GET", head);
}

#[test]
fn the_body_of_an_answer_to_head_is_not_left_to_another_client() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: LENGTH\r\n\r\n";
    another_client_gets_its_own_answer("HEAD", head);
}

/// A byte of an answer has come: whatever the method, that is no time to ask again.
#[test]
fn a_request_that_had_an_interim_answer_is_not_sent_again() {
    let server = Server::answering(|wire, _| {
        wire.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        false
    });
    let house = House::new(&[server.address]);
    let mut client = house.client();
    client.send(get("/", ""));
    assert_eq!(client.answer().status(), 103);
    assert_eq!(client.answer().status(), 502);
    assert_eq!(server.seen().len(), 1);
}

/// Otherwise a server at its limit gets a new connection for every request, and this machine runs
/// out of ports.
#[test]
fn whoever_waits_for_a_connection_is_given_the_one_that_comes_back() {
    const CLIENTS: usize = 3;
    const REQUESTS: usize = 20;
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let server = Server::scripted(move |_, mut wire: Wire, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        while wire.message(true).is_some() {
            wire.send(ok("fine"));
        }
    });
    let house = House::with(&[server.address], |pool| pool.http.connections_max = 1);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let mut client = house.client();
            scope.spawn(move || {
                for _ in 0..REQUESTS {
                    assert_eq!(client.get("/", "").status(), 200);
                }
            });
        }
    });
    let connections = connections.load(Ordering::SeqCst);
    assert!(connections <= CLIENTS, "{connections} connections");
}

/// Closing with unread bytes is a reset, and that overtakes what is still on its way (RFC 9112, 9.6).
#[test]
fn a_refused_upgrade_is_answered_whole_whatever_its_client_has_sent_since() {
    const BYTES: usize = 1_000_000;
    let server = Server::answering(|wire, _| {
        let body = "x".repeat(BYTES);
        wire.send(ok(&body).replace("200 OK", "403 Forbidden"));
        true
    });
    let house = House::new(&[server.address]);
    let mut client = house.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    // While the answer comes its client, which has not read it yet, sends its first frame.
    let first_line = client.line().unwrap();
    client.send("a frame");
    assert!(first_line.contains("403"), "{first_line}");
    while client.line().is_some_and(|line| !line.is_empty()) {}
    assert_eq!(client.exactly(BYTES).len(), BYTES);
}
