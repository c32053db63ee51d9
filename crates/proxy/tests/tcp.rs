//! TCP pools: a session is a connection.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;
use common::{DOWN, HELD, House, MAINTENANCE, PATIENCE, Plan, READY, clock, dead_address, until};
use ebbtide_core::{
    Closure, Cut, EndReason, Fact, Millis, Network, Notice, NoticeKind, PoolConfig, PoolIntent,
    Protocol, SendProxy, SessionState,
};
use ebbtide_protocol::proxy_protocol::{self, Endpoints, Version};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

/// A server that hands the connections that it takes to the test.
struct Taker {
    address: SocketAddr,
    taken: Receiver<TcpStream>,
}

impl Taker {
    fn new() -> Self {
        let listener = TcpListener::bind(common::free_address()).unwrap();
        let address = listener.local_addr().unwrap();
        let (give, taken) = channel();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                if give.send(stream).is_err() {
                    break;
                }
            }
        });
        Self { address, taken }
    }

    fn take(&self) -> TcpStream {
        self.taken.recv_timeout(PATIENCE).expect("a connection")
    }
}

fn tcp(pool: &mut PoolConfig) {
    pool.protocol = Protocol::Tcp;
}

fn house(servers: &[&Taker]) -> House {
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    House::with(&addresses, tcp)
}

fn connect(house: &House) -> TcpStream {
    let stream = TcpStream::connect(house.listen).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn pass(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).unwrap();
    let mut read = vec![0; bytes.len()];
    to.read_exact(&mut read).unwrap();
    assert!(read == bytes, "the same bytes");
}

/// What ends the stream: `Ok` an orderly close, `Err` anything else.
fn end(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).map(|_| rest)
}

fn reason_of_the_last(house: &House) -> Option<EndReason> {
    let ended = house.sessions.list_ended(None, 10, |_| true);
    ended.last().and_then(|session| session.ended())
}

#[test]
fn bytes_pass_both_ways_and_the_session_counts_them() {
    let server = Taker::new();
    let house = house(&[&server]);
    let mut client = connect(&house);
    let mut at_server = server.take();
    // Who speaks first is not ours to know: here it is the server.
    pass(&mut at_server, &mut client, b"login: ");
    pass(&mut client, &mut at_server, b"me\r\n");
    until("the bytes are counted", || {
        house
            .live()
            .first()
            .is_some_and(|session| session.bytes() == 11)
    });
    let session = house.live().pop().unwrap();
    assert_eq!(
        (session.open(), session.tunnels(), session.requests()),
        (1, 1, 1)
    );
    assert_eq!(house.server_sum(0, |slot| &slot.tunnels), 1);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(end(&mut at_server).unwrap(), b"");
    pass(&mut at_server, &mut client, b"logout");
    drop(at_server);
    assert_eq!(end(&mut client).unwrap(), b"");
    until("the session ends", || house.live().is_empty());
    assert_eq!(session.ended(), Some(EndReason::Disconnected));
    until("the end is counted", || {
        house.pool_sum(|slot| &slot.connections_closed) == 1
    });
    assert_eq!(house.server_sum(0, |slot| &slot.tunnels), 0);
}

#[test]
fn a_flood_goes_both_ways_at_once_and_arrives_whole() {
    const BYTES: usize = 24 * 1024 * 1024;
    let server = Taker::new();
    let house = house(&[&server]);
    let client = connect(&house);
    let at_server = server.take();
    let flood = |seed: u32| -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..BYTES).map(|_| next()).collect()
    };
    let (up, down) = (flood(1), flood(2));
    std::thread::scope(|scope| {
        for (stream, bytes) in [(&client, &up), (&at_server, &down)] {
            scope.spawn(move || {
                let mut stream: &TcpStream = stream;
                stream.write_all(bytes).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
            });
        }
        for (stream, bytes) in [(&client, &down), (&at_server, &up)] {
            scope.spawn(move || {
                let mut read = Vec::new();
                let mut stream: &TcpStream = stream;
                stream.read_to_end(&mut read).unwrap();
                assert!(read == *bytes, "the same bytes");
            });
        }
    });
    until("the session ends", || house.live().is_empty());
    assert_eq!(house.server_sum(0, |slot| &slot.bytes_up), BYTES as u64);
    assert_eq!(house.server_sum(0, |slot| &slot.bytes_down), BYTES as u64);
}

#[test]
fn who_comes_back_finds_the_same_server_while_it_admits() {
    let (one, two) = (Taker::new(), Taker::new());
    let mut house = house(&[&one, &two]);
    let first = connect(&house);
    let at_first = one.take();
    drop((first, at_first));
    until("the session ends", || house.live().is_empty());
    // Round-robin would choose the other one.
    let second = connect(&house);
    let at_second = one.take();
    house.stand(0, HELD);
    let third = connect(&house);
    let at_third = two.take();
    assert_eq!(house.live().len(), 2);
    house.stand(0, READY);
    // The latest server is the one that is remembered.
    drop((third, at_third));
    let _fourth = connect(&house);
    two.take();
    drop((second, at_second));
}

#[test]
fn a_raised_epoch_cuts_and_forgets() {
    let (one, two) = (Taker::new(), Taker::new());
    let mut house = house(&[&one, &two]);
    let mut first = connect(&house);
    let mut at_first = one.take();
    pass(&mut first, &mut at_first, b"hello");
    house.publish(|_, pool| {
        pool.servers[0].epoch += 1;
        pool.servers[0].load = Default::default();
    });
    assert_eq!(end(&mut first).unwrap(), b"", "an orderly close");
    assert_eq!(end(&mut at_first).unwrap(), b"");
    until("the reason is known", || {
        reason_of_the_last(&house) == Some(EndReason::Forgotten)
    });
    let _second = connect(&house);
    two.take();
}

#[test]
fn at_a_deadline_nothing_goes_on_and_what_was_sent_arrives() {
    let (one, two) = (Taker::new(), Taker::new());
    let mut house = house(&[&one, &two]);
    let mut client = connect(&house);
    let mut at_server = one.take();
    pass(&mut client, &mut at_server, b"hello");
    house.publish(|_, pool| {
        let server = &mut pool.servers[0];
        server.epoch += 1;
        server.epoch_reason = EndReason::Deadline;
        server.standing = MAINTENANCE;
    });
    assert_eq!(end(&mut client).unwrap(), b"");
    assert_eq!(end(&mut at_server).unwrap(), b"");
    until("the reason is known", || {
        reason_of_the_last(&house) == Some(EndReason::Deadline)
    });
    assert_eq!(house.pool_sum(|slot| &slot.connections_cut), 1);
}

#[test]
fn a_connection_on_a_server_that_left_the_file_ends_with_its_pool() {
    let (one, two) = (Taker::new(), Taker::new());
    let mut house = house(&[&one, &two]);
    let mut client = connect(&house);
    let mut at_server = one.take();
    house.publish(|_, pool| drop(pool.servers.remove(0)));
    pass(&mut client, &mut at_server, b"it goes on");
    house.publish(|_, pool| pool.intent = PoolIntent::Closed(Closure::default()));
    assert_eq!(end(&mut client).unwrap(), b"");
    assert_eq!(end(&mut at_server).unwrap(), b"");
}

#[test]
fn a_client_that_neither_reads_nor_closes_does_not_outlive_its_time() {
    let server = Taker::new();
    let mut house = house(&[&server]);
    let client = connect(&house);
    let at_server = server.take();
    at_server.set_nonblocking(true).unwrap();
    let full = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
    let block = [0; 65536];
    until("all buffers are full", || {
        (&at_server).write(&block).is_err_and(|error| full(&error))
    });
    house.stand(0, MAINTENANCE);
    until("the session ends", || house.live().is_empty());
    until("every connection is closed", || {
        house.node.sum(|slot| &slot.connections) == 0
    });
    drop(client);
}

#[test]
fn reset_is_what_both_see_where_it_is_asked_for() {
    let server = Taker::new();
    let mut house = House::with(&[server.address], |pool| {
        tcp(pool);
        pool.tcp.cut = Cut::Reset;
    });
    let mut client = connect(&house);
    let mut at_server = server.take();
    pass(&mut client, &mut at_server, b"hello");
    house.stand(0, MAINTENANCE);
    let reset = |stream: &mut TcpStream| {
        let error = end(stream).expect_err("a reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    };
    reset(&mut client);
    reset(&mut at_server);
}

#[test]
fn a_server_that_breaks_off_is_seen_to() {
    let server = Taker::new();
    let house = house(&[&server]);
    let mut client = connect(&house);
    let mut at_server = server.take();
    pass(&mut client, &mut at_server, b"hello");
    socket2::SockRef::from(&at_server)
        .set_linger(Some(std::time::Duration::ZERO))
        .unwrap();
    drop(at_server);
    let error = end(&mut client).expect_err("no orderly close");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    until("the break is counted", || {
        house.pool_sum(|slot| &slot.connections_broken) == 1
    });
}

#[test]
fn a_connection_does_not_wait_for_a_server_that_is_down() {
    let (one, two) = (Taker::new(), Taker::new());
    let mut house = house(&[&one, &two]);
    let mut client = connect(&house);
    let _at_server = one.take();
    house.stand(0, DOWN);
    assert_eq!(end(&mut client).unwrap(), b"");
    until("the reason is known", || {
        reason_of_the_last(&house) == Some(EndReason::ServerGone)
    });
}

#[test]
fn a_server_that_takes_no_connection_is_passed_by_and_told_of() {
    let dead = dead_address();
    let server = Taker::new();
    let house = House::with(&[dead, server.address], tcp);
    let mut client = connect(&house);
    let mut at_server = server.take();
    pass(&mut client, &mut at_server, b"hello");
    assert_eq!(house.live().len(), 1);
    assert_eq!(house.server_sum(0, |slot| &slot.connect_failures), 1);
    assert_eq!(house.pool_sum(|slot| &slot.sessions_moved), 1);
    let told = house
        .facts
        .try_iter()
        .any(|fact| matches!(fact, Fact::ConnectFailed { .. }));
    assert!(told, "the server is probed now");
    assert_eq!(reason_of_the_last(&house), Some(EndReason::ServerGone));
}

#[test]
fn without_a_server_the_connection_ends_and_is_counted() {
    let server = Taker::new();
    let mut house = House::with(&[dead_address()], tcp);
    assert_eq!(end(&mut connect(&house)).unwrap(), b"");
    until("it is counted", || {
        house.pool_sum(|slot| &slot.connections_unreachable) == 1
    });
    house.stand(0, HELD);
    assert_eq!(end(&mut connect(&house)).unwrap(), b"");
    until("the refusal is counted", || {
        house.pool_sum(|slot| &slot.refused_unavailable) == 1
    });
    house.publish(|_, pool| {
        pool.servers[0].standing = READY;
        pool.servers[0].address = server.address;
        pool.servers[0].max_sessions = Some(1);
    });
    let _first = connect(&house);
    let _at_first = server.take();
    assert_eq!(end(&mut connect(&house)).unwrap(), b"");
    until("the refusal is counted", || {
        house.pool_sum(|slot| &slot.refused_full) == 1
    });
}

#[test]
fn silence_has_a_limit() {
    let server = Taker::new();
    let house = House::with(&[server.address], |pool| {
        tcp(pool);
        pool.http.tunnel_timeout = Millis(300);
    });
    let mut client = connect(&house);
    let mut at_server = server.take();
    pass(&mut at_server, &mut client, b"hello");
    assert_eq!(end(&mut client).unwrap(), b"");
    until("the silence is counted", || {
        house.pool_sum(|slot| &slot.connections_silent) == 1
    });
    assert_eq!(reason_of_the_last(&house), Some(EndReason::Idle));
}

#[test]
fn an_operator_ends_a_session_and_a_silent_one_is_idle() {
    let server = Taker::new();
    let house = House::with(&[server.address], |pool| {
        tcp(pool);
        pool.sticky.active = Millis(0);
    });
    let mut client = connect(&house);
    let _at_server = server.take();
    let session = house.live().pop().unwrap();
    until("it is idle", || {
        session.state(clock().moment, Millis(0)) == SessionState::Idle
    });
    let ended = house
        .sessions
        .end(&session, EndReason::EndedByOperator, clock());
    assert!(ended);
    assert_eq!(end(&mut client).unwrap(), b"");
}

#[test]
fn a_stop_waits_for_connections_and_then_cuts_them() {
    let server = Taker::new();
    let mut house = house(&[&server]);
    let mut client = connect(&house);
    let mut at_server = server.take();
    pass(&mut client, &mut at_server, b"hello");
    assert_eq!(house.stop(Millis(100)), 1);
    assert_eq!(end(&mut client).unwrap(), b"");
}

#[test]
fn many_come_and_go_and_nothing_is_left_of_them() {
    let server = Taker::new();
    let house = House::build(Plan {
        workers: 2,
        servers: vec![server.address],
        edit: tcp,
        ..Plan::default()
    });
    for _ in 0..20 {
        let clients: Vec<_> = (0..50).map(|_| connect(&house)).collect();
        drop(clients);
    }
    until("every connection is closed", || {
        server.taken.try_iter().for_each(drop);
        house.node.sum(|slot| &slot.connections) == 0
    });
    assert_eq!(house.live().len(), 0);
    assert_eq!(house.server_sum(0, |slot| &slot.connections), 0);
    assert_eq!(house.sessions.sources().count(), 1);
}

fn behind_proxies(house: &mut House, networks: &[&str]) {
    let proxies: Vec<_> = networks
        .iter()
        .map(|network| Network::parse(network).unwrap())
        .collect();
    house.publish(|config, _| config.listeners[0].proxy_from = proxies);
}

#[test]
fn a_proxy_in_front_names_the_client_and_the_server_is_told() {
    let server = Taker::new();
    let mut house = House::with(&[server.address], |pool| {
        tcp(pool);
        pool.tcp.send_proxy = SendProxy::V1;
    });
    behind_proxies(&mut house, &["127.0.0.0/8"]);
    let mut client = connect(&house);
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 23\r\n";
    for byte in header {
        client.write_all(&[*byte]).unwrap();
    }
    client.write_all(b"hello").unwrap();
    let mut at_server = server.take();
    let mut told = vec![0; header.len() + 5];
    at_server.read_exact(&mut told).unwrap();
    assert_eq!(told, [header.as_slice(), b"hello"].concat());
    assert_eq!(house.live()[0].client.to_string(), "192.0.2.7");
}

#[test]
fn a_binary_header_is_as_good_and_its_server_gets_one_of_its_own() {
    let server = Taker::new();
    let mut house = House::with(&[server.address], |pool| {
        tcp(pool);
        pool.tcp.send_proxy = SendProxy::V2;
    });
    behind_proxies(&mut house, &["127.0.0.0/8"]);
    let mut header = Vec::new();
    let ends = Endpoints {
        source: "[2001:db8::7]:40000".parse().unwrap(),
        destination: "[2001:db8::1]:23".parse().unwrap(),
    };
    proxy_protocol::write(&mut header, Version::V2, Some(&ends));
    let mut client = connect(&house);
    client.write_all(&header).unwrap();
    client.write_all(b"hello").unwrap();
    let mut at_server = server.take();
    let mut told = vec![0; header.len() + 5];
    at_server.read_exact(&mut told).unwrap();
    assert_eq!(told, [header.as_slice(), b"hello"].concat());
    assert_eq!(house.live()[0].client.to_string(), "2001:db8::7");
}

#[test]
fn who_is_no_proxy_or_sends_no_sound_header_is_refused_and_counted() {
    let server = Taker::new();
    let mut house = house(&[&server]);
    behind_proxies(&mut house, &["127.0.0.0/8"]);
    let rejected = |house: &House, reason: &str| {
        let slot = house.node.slot(0);
        let rejected = slot.rejected.lock().unwrap();
        rejected.get(reason).copied().unwrap_or_default()
    };
    for (sent, reason) in [
        ("GET / HTTP/1.1\r\n\r\n", "proxy-absent"),
        ("PROXY TCP4 nonsense\r\n", "bad-addresses"),
    ] {
        let mut client = connect(&house);
        client.write_all(sent.as_bytes()).unwrap();
        let ended = end(&mut client);
        assert!(ended.is_ok_and(|rest| rest.is_empty()) || rejected(&house, reason) == 1);
        until("it is counted", || rejected(&house, reason) == 1);
    }
    let client = connect(&house);
    drop(client);
    until("it is counted", || rejected(&house, "proxy-gone") == 1);
    behind_proxies(&mut house, &["192.0.2.1"]);
    let _ = end(&mut connect(&house));
    until("it is counted", || rejected(&house, "proxy-untrusted") == 1);
    assert!(server.taken.try_recv().is_err(), "no server was troubled");
    until("all are closed", || {
        house.node.sum(|slot| &slot.connections) == 0
    });
}

#[test]
fn a_proxy_that_takes_too_long_over_its_header_is_cut_off() {
    let server = Taker::new();
    let mut house = house(&[&server]);
    behind_proxies(&mut house, &["127.0.0.0/8"]);
    // One says nothing, one says the beginning, and one never comes to the end.
    let (mut silent, mut halved, mut endless) = (connect(&house), connect(&house), connect(&house));
    halved.write_all(b"PROXY TCP4 192.0.2.7 ").unwrap();
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x01\x00";
    let bytes = header.iter().chain(std::iter::repeat(&0));
    for byte in bytes {
        if endless.write_all(&[*byte]).is_err() {
            break;
        }
        #[expect(clippy::disallowed_methods, reason = "the pace of the one who is slow")]
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    for client in [&mut silent, &mut halved] {
        assert!(end(client).is_ok_and(|rest| rest.is_empty()));
    }
    until("all are counted", || {
        let rejected = house.node.slot(0).rejected.lock().unwrap();
        rejected.get("proxy-too-slow") == Some(&3)
    });
    assert!(server.taken.try_recv().is_err(), "no server was troubled");
}

/// Whether the kernel will ask this side of an idle connection, from `local` to `remote`, for a sign of
/// life: `tr` is 2 in its list.
fn is_kept_alive(local: SocketAddr, remote: SocketAddr) -> bool {
    let hex = |address: SocketAddr| match address {
        SocketAddr::V4(v4) => {
            let host = u32::from_ne_bytes(v4.ip().octets());
            format!("{host:08X}:{:04X}", v4.port())
        }
        SocketAddr::V6(_) => unreachable!("the tests use IPv4"),
    };
    let (local, remote) = (hex(local), hex(remote));
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words[1..3] == [local.as_str(), remote.as_str()] && words[5].starts_with("02:")
    })
}

#[test]
fn a_peer_that_may_have_vanished_is_asked_for_a_sign_of_life() {
    let server = Taker::new();
    let house = House::with(&[server.address], |pool| {
        tcp(pool);
        pool.tcp.keepalive = Millis::from_secs(60);
    });
    let mut client = connect(&house);
    let mut at_server = server.take();
    pass(&mut client, &mut at_server, b"hello");
    pass(&mut at_server, &mut client, b"hello");
    let (of_client, to_server) = (client.local_addr().unwrap(), at_server.peer_addr().unwrap());
    // What was said is acknowledged first, which the kernel has another timer for.
    until("the client's side is watched", || {
        is_kept_alive(house.listen, of_client)
    });
    until("the server's side is watched", || {
        is_kept_alive(to_server, server.address)
    });
}

#[test]
fn an_http_pool_learns_its_client_from_a_proxy_too() {
    let server = common::Server::scripted(|_, mut wire, _| {
        while let Some(request) = wire.message(true) {
            let client = request
                .field("x-forwarded-for")
                .unwrap_or("none")
                .to_owned();
            wire.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{client}",
                client.len()
            ));
        }
    });
    let mut house = House::new(&[server.address]);
    behind_proxies(&mut house, &["127.0.0.0/8"]);
    let mut client = house.client();
    client.send("PROXY TCP4 192.0.2.7 198.51.100.1 40000 80\r\n");
    assert_eq!(client.get("/", "").text(), "192.0.2.7");
}

#[test]
fn a_telnet_user_is_told_between_two_lines() {
    let server = Taker::new();
    let mut house = House::with(&[server.address], |pool| {
        tcp(pool);
        pool.tcp.telnet = true;
    });
    let mut client = connect(&house);
    let mut at_server = server.take();
    pass(&mut at_server, &mut client, b"\xff\xfd\x18login: ");
    pass(&mut client, &mut at_server, b"me\r\n");
    let notice = |seconds: i64, reminders: Vec<Millis>| {
        Some(Arc::new(Notice {
            kind: NoticeKind::Drain,
            deadline: clock().moment.plus(Millis::from_secs(seconds as u64)),
            message: Some("Save!".into()),
            reminders,
        }))
    };
    let first = notice(600, Vec::new());
    house.publish(|_, pool| pool.servers[0].notice = first);
    at_server.write_all(b"me\r\nWelcome\r\n$ ").unwrap();
    let mut read = Vec::new();
    let mut said = |client: &mut TcpStream, what: &str| {
        let mut byte = [0];
        while !String::from_utf8_lossy(&read).contains(what) {
            client.read_exact(&mut byte).unwrap();
            read.push(byte[0]);
        }
        String::from_utf8_lossy(&std::mem::take(&mut read)).into_owned()
    };
    let told = said(&mut client, "\r\n*** Save!\r\nWelcome\r\n$ ");
    assert!(
        told.starts_with("me\r\n\r\n*** Your session on this server ends in "),
        "{told}"
    );
    // A reminder that comes while the user waits at the start of a line needs nothing of the server.
    pass(&mut at_server, &mut client, b"ls\r\n");
    let soon = notice(600, vec![Millis(599_900)]);
    house.publish(|_, pool| pool.servers[0].notice = soon);
    said(&mut client, "*** New time: ");
    said(&mut client, "*** Your session on this server ends in ");
    said(&mut client, "*** Save!\r\n");
    house.publish(|_, pool| pool.servers[0].notice = None);
    said(&mut client, "*** Called off");
    // A message of an operator's, and the next: neither is written twice.
    common::tell_all(&house, 1, "Please call\n4455");
    let told = said(&mut client, "\r\n*** 4455\r\n");
    assert!(
        told.ends_with("*** Message from the operators:\r\n*** Please call\r\n*** 4455\r\n"),
        "{told}"
    );
    common::tell_all(&house, 2, "Thanks");
    let told = said(&mut client, "*** Thanks\r\n");
    assert!(!told.contains("4455"), "{told}");
    house.stand(0, MAINTENANCE);
    said(&mut client, "*** Your session has ended.\r\n");
    assert_eq!(end(&mut client).unwrap(), b"");
}

#[test]
fn a_connection_that_the_server_ends_at_once_and_without_a_word_is_counted() {
    let server = Taker::new();
    let house = house(&[&server]);
    let ended = || house.server_sum(0, |slot| &slot.cut_short);
    // The client has had enough: that is no fault of the server's.
    let client = connect(&house);
    let at_server = server.take();
    drop(client);
    drop(at_server);
    until("it is over", || house.live().is_empty());
    // The server has said something.
    let mut client = connect(&house);
    let mut at_server = server.take();
    pass(&mut at_server, &mut client, b"goodbye");
    drop(at_server);
    assert_eq!(end(&mut client).unwrap(), b"");
    drop(client);
    until("it is over", || house.live().is_empty());
    assert_eq!((house.server_sum(0, |slot| &slot.taken), ended()), (2, 0));
    let mut client = connect(&house);
    drop(server.take());
    assert_eq!(end(&mut client).unwrap(), b"");
    drop(client);
    until("it is counted", || ended() == 1);
    assert_eq!(house.server_sum(0, |slot| &slot.taken), 3);
}
