//! Promise 4: what fails is tried again only where that is safe, and otherwise told once.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;
use common::{DOWN, House, READY, Server, Wire, dead_address, ok, until};
use ebbtide_core::{Fact, Millis, PoolKey, ServerKey};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

/// A server that reads each request and then resets the connection, for the first `times`.
fn resetting(times: usize) -> Server {
    let left = AtomicUsize::new(times);
    Server::scripted(move |_, mut wire, log: &Mutex<Vec<_>>| {
        while let Some(request) = wire.message(true) {
            log.lock().unwrap().push(request);
            let reset = left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                    left.checked_sub(1)
                })
                .is_ok();
            if reset {
                return wire.reset();
            }
            wire.send(ok("fine"));
        }
    })
}

const POST: &str = "POST /pay HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\ncash";

#[test]
fn a_refused_connection_moves_the_session_whatever_the_method() {
    let alive = Server::named("alive");
    let house = House::new(&[dead_address(), alive.address]);
    let mut client = house.client();
    client.send(POST);
    let answer = client.answer();
    assert_eq!((answer.status(), answer.text().as_str()), (200, "alive"));
    assert_eq!(client.get("/", &answer.cookie()).text(), "alive");
    assert_eq!(house.server_sum(0, |slot| &slot.connect_failures), 1);
    assert_eq!(house.pool_sum(|slot| &slot.sessions_moved), 1);
    let fact = house.facts.try_recv().expect("told");
    let told = Fact::ConnectFailed {
        pool: PoolKey(0),
        server: ServerKey(0),
    };
    assert_eq!(fact, told);
    assert_eq!(
        house
            .sessions
            .list(&house.snapshot, None, 9, |_| true)
            .len(),
        1
    );
}

#[test]
fn a_third_server_is_found_past_two_that_are_dead() {
    let alive = Server::named("alive");
    let house = House::new(&[dead_address(), dead_address(), alive.address]);
    for _ in 0..3 {
        assert_eq!(house.client().get("/", "").status(), 200);
    }
}

#[test]
fn at_most_three_servers_are_asked_for_a_connection() {
    let alive = Server::named("alive");
    let dead = [dead_address(), dead_address(), dead_address()];
    let house = House::new(&[dead[0], dead[1], dead[2], alive.address]);
    let mut client = house.client();
    let answer = client.get("/", "");
    assert_eq!(answer.status(), 502);
    assert!(
        answer
            .text()
            .contains("Nothing of your request was processed")
    );
    assert_eq!(alive.seen().len(), 0);
    assert_eq!(house.pool_sum(|slot| &slot.gateway_errors), 1);
}

#[test]
fn a_get_whose_server_resets_is_tried_once_more() {
    let server = resetting(1);
    let house = House::new(&[server.address]);
    let answer = house.client().get("/", "");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "fine"));
    assert_eq!(server.seen().len(), 2);
    assert_eq!(house.server_sum(0, |slot| &slot.retries), 1);
}

#[test]
fn a_get_that_kills_what_it_reaches_is_sent_twice_at_most() {
    let servers = [resetting(9), resetting(9), resetting(9)];
    let house = House::new(&servers.each_ref().map(|server| server.address));
    let mut client = house.client();
    assert_eq!(client.get("/", "").status(), 502);
    assert_eq!(servers.map(|server| server.seen().len()), [1, 1, 0]);
}

#[test]
fn a_new_session_whose_server_breaks_its_first_request_begins_on_another() {
    let (one, two) = (resetting(9), Server::named("two"));
    let house = House::new(&[one.address, two.address]);
    let mut client = house.client();
    let answer = client.get("/", "");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "two"));
    assert_eq!(client.get("/", &answer.cookie()).text(), "two");
    assert_eq!(one.seen().len(), 1);
    assert_eq!(house.server_sum(0, |slot| &slot.retries), 1);
}

#[test]
fn a_session_with_work_on_its_server_is_tried_there_again() {
    let fine = AtomicUsize::new(1);
    let one = Server::answering(move |wire, _| {
        // The first request is answered, the next breaks on its fresh connection, then all is well.
        if fine.fetch_add(1, Ordering::SeqCst) != 2 {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\none");
        }
        false
    });
    let two = Server::named("two");
    let house = House::new(&[one.address, two.address]);
    let cookie = house.client().get("/", "").cookie();
    assert_eq!(house.client().get("/", &cookie).text(), "one");
    assert_eq!(one.seen().len(), 3);
    assert_eq!(house.pool_sum(|slot| &slot.sessions_moved), 0);
}

#[test]
fn a_session_whose_user_was_never_given_its_token_is_over() {
    let server = resetting(1);
    let house = House::new(&[server.address]);
    let mut client = house.client();
    client.send(POST);
    assert_eq!(client.answer().status(), 502);
    let live = |house: &House| house.snapshot.pools[0].servers[0].load.sessions();
    until("the end", || live(&house) == 0);
    let cookie = client.get("/", "").cookie();
    assert_eq!(live(&house), 1);
    // A session whose user has its token stays, whatever fails.
    drop(server);
    assert_eq!(client.get("/", &cookie).status(), 200);
    assert_eq!(live(&house), 1);
}

#[test]
fn a_post_that_may_have_run_gets_exactly_one_502() {
    let server = resetting(1);
    let house = House::new(&[server.address]);
    let mut client = house.client();
    client.send(POST);
    let answer = client.answer();
    assert_eq!(answer.status(), 502);
    assert!(answer.complete);
    assert_eq!(server.seen(), ["POST /pay HTTP/1.1"]);
    // The body was read, so the connection goes on.
    assert_eq!(client.get("/", "").text(), "fine");
}

#[test]
fn a_put_whose_body_has_gone_up_is_not_sent_again() {
    let server = resetting(1);
    let house = House::new(&[server.address]);
    let mut client = house.client();
    client.send(
        "PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    );
    assert_eq!(client.answer().status(), 502);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_kept_connection_that_the_server_has_closed_is_replaced() {
    let server = Server::answering(|wire, _| {
        wire.send(ok("once"));
        false
    });
    let house = House::new(&[server.address]);
    let mut client = house.client();
    let cookie = client.get("/", "").cookie();
    for _ in 0..20 {
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\nContent-Length: 1\r\n\r\nx"
        ));
        // Whether the close was seen in time is a race that only a GET is sure to win.
        let answer = client.answer();
        assert!(matches!(answer.status(), 200 | 502), "{answer:?}");
        assert_eq!(client.get("/", &cookie).text(), "once");
    }
}

#[test]
fn an_answer_that_is_no_http_is_a_502() {
    for nonsense in [
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    ] {
        let server = Server::answering(move |wire, _| {
            wire.send(nonsense);
            false
        });
        let house = House::new(&[server.address]);
        let mut client = house.client();
        assert_eq!(client.get("/", "").status(), 502, "{nonsense:?}");
        assert_eq!(server.seen().len(), 1);
    }
}

#[test]
fn a_server_that_says_nothing_is_a_504_in_time() {
    let server = Server::answering(|_, _| true);
    let house = House::with(&[server.address], |pool| {
        pool.http.response_timeout = Millis(50);
    });
    assert_eq!(house.client().get("/", "").status(), 504);
    let mut client = house.client();
    client.send(POST);
    assert_eq!(client.answer().status(), 504);
    assert_eq!(server.seen().len(), 2);
    assert_eq!(house.server_sum(0, |slot| &slot.timeouts), 2);
}

fn broken_answer(head: &'static str) -> (House, Wire) {
    let server = Server::answering(move |wire, _| {
        wire.send(head);
        false
    });
    let house = House::new(&[server.address]);
    let mut client = house.client();
    client.send(common::get("/", ""));
    (house, client)
}

#[test]
fn a_body_that_breaks_off_never_looks_complete() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalfX\r\n0\r\n\r\n",
    ] {
        let (house, mut client) = broken_answer(head);
        let answer = client.answer();
        assert_eq!((answer.status(), answer.complete), (200, false), "{head:?}");
        assert_eq!(answer.text(), "half");
        until("the count", || {
            house.server_sum(0, |slot| &slot.broken) == 1
        });
    }
}

#[test]
fn a_body_that_would_end_with_the_connection_is_reset_when_it_breaks() {
    let (read, half_read) = channel::<()>();
    let half_read = Mutex::new(half_read);
    let server = Server::scripted(move |_, mut wire, _| {
        wire.message(true);
        wire.send("HTTP/1.1 200 OK\r\n\r\nhalf");
        half_read.lock().unwrap().recv().unwrap();
        wire.reset();
    });
    let house = House::new(&[server.address]);
    let mut client = house.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.line().as_deref(), Some("HTTP/1.1 200 OK"));
    while client.line().is_some_and(|line| !line.is_empty()) {}
    assert_eq!(client.exactly(4), b"half");
    read.send(()).unwrap();
    let mut rest = [0; 1];
    let error = client.stream.read(&mut rest).expect_err("no orderly end");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn a_server_that_comes_back_is_used_again() {
    let (one, two) = (Server::named("one"), Server::named("two"));
    let mut house = House::new(&[one.address, two.address]);
    house.stand(0, DOWN);
    assert_eq!(house.client().get("/", "").text(), "two");
    house.stand(0, READY);
    let texts = [(); 2].map(|()| house.client().get("/", "").text());
    assert!(texts.contains(&"one".to_owned()), "{texts:?}");
}

/// A server that can be killed: its connections break and nothing listens any more.
fn mortal() -> (Server, impl FnOnce()) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let listening = socket.try_clone().unwrap();
    let streams = Arc::new(Mutex::new(Vec::<TcpStream>::new()));
    let known = Arc::clone(&streams);
    let accepting = std::thread::spawn(move || {
        for stream in socket.incoming() {
            let Ok(stream) = stream else { break };
            known.lock().unwrap().push(stream.try_clone().unwrap());
            std::thread::spawn(move || {
                let mut wire = Wire::new(stream);
                while wire.message(true).is_some() {
                    if wire.stream.write_all(ok("mortal").as_bytes()).is_err() {
                        break;
                    }
                }
            });
        }
    });
    let kill = move || {
        socket2::SockRef::from(&listening)
            .shutdown(Shutdown::Both)
            .unwrap();
        accepting.join().unwrap();
        drop(listening);
        for stream in streams.lock().unwrap().drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    };
    let server = Server {
        address,
        log: Arc::default(),
    };
    (server, kill)
}

#[test]
fn the_death_of_a_server_costs_its_readers_no_error() {
    let (mortal, kill) = mortal();
    let alive = Server::named("alive");
    let house = House::new(&[mortal.address, alive.address]);
    let mut users: Vec<_> = (0..40)
        .map(|_| {
            let mut client = house.client();
            let first = client.get("/", "");
            (client, first.cookie(), first.text())
        })
        .collect();
    kill();
    for (client, cookie, home) in &mut users {
        for _ in 0..2 {
            let answer = client.get("/", cookie);
            assert_eq!((answer.status(), answer.text().as_str()), (200, "alive"));
            let moved = answer.field("set-cookie").is_some();
            assert_eq!(moved, home == "mortal", "only its own sessions move");
            if moved {
                *cookie = answer.cookie();
                *home = answer.text();
            }
        }
    }
    assert_eq!(house.pool_sum(|slot| &slot.sessions_moved), 20);
    assert_eq!(house.pool_sum(|slot| &slot.gateway_errors), 0);
}

#[test]
fn an_answer_of_a_server_that_is_down_goes_on_while_the_server_does() {
    let (go_on, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let slow = Server::scripted(move |_, mut wire, _| {
        while wire.message(true).is_some() {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
            let _ = wait.lock().unwrap().recv();
            wire.send("half");
        }
    });
    let other = Server::named("other");
    let mut house = House::new(&[slow.address, other.address]);
    let mut client = house.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    until("the answer has begun", || {
        house.server_sum(0, |slot| &slot.responses[1]) == 1
    });
    house.stand(0, DOWN);
    go_on.send(()).unwrap();
    let answer = client.answer();
    assert_eq!(answer.text(), "halfhalf");
    assert_eq!(client.get("/", &answer.cookie()).text(), "other");
}

#[test]
fn what_a_server_does_wrong_is_counted_and_what_clients_do_is_not() {
    let server = Server::answering(|wire, request| {
        match request.first_line.split(' ').nth(1).unwrap() {
            "/error" => wire.send("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"),
            "/missing" => wire.send("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"),
            "/rubbish" => wire.send("rubbish\r\n\r\n"),
            "/half" => {
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
                return false;
            }
            _ => wire.send(ok("fine")),
        }
        true
    });
    let house = House::new(&[server.address]);
    let first = house.client().get("/", "");
    for path in ["/error", "/missing", "/rubbish"] {
        house.client().get(path, &first.cookie());
    }
    let mut client = house.client();
    client.send(common::get("/half", &first.cookie()));
    assert!(!client.answer().complete, "half of it");
    house.client().get("/error", "");
    // One that leaves in the middle of its own request.
    house
        .client()
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhal");
    let none = ebbtide_core::TrafficTotal::default();
    let counters = &house.snapshot.pools[0].servers[0].counters;
    until("all of it is counted", || {
        let total = ebbtide_core::TrafficTotal::of(counters);
        total != none
            && house.server_sum(0, |slot| &slot.cut_short) == 1
            && house.server_sum(0, |slot| &slot.responses[4]) == 2
    });
    assert_eq!(house.server_sum(0, |slot| &slot.lost), 1, "the rubbish");
    assert_eq!(house.server_sum(0, |slot| &slot.responses[3]), 1);
}
