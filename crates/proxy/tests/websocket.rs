//! A WebSocket whose time is over: both sides are told so between two frames, and then it is cut.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;
use common::{DOWN, House, MAINTENANCE, Server, Wire, clock, until};
use ebbtide_core::{Millis, Notice, NoticeKind};
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

const UPGRADE: &str =
    "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n";

/// A server that hands the tunnels that it opens to the test.
fn switching() -> (Server, Receiver<Wire>) {
    let (give, tunnels): (Sender<Wire>, _) = channel();
    let give = Mutex::new(give);
    let server = Server::scripted(move |_, mut wire, _| {
        if wire.message(true).is_some() {
            wire.send(SWITCH);
            let _ = give.lock().unwrap().send(wire);
        }
    });
    (server, tunnels)
}

/// An open tunnel: the house, the client's end, the server's end.
fn open() -> (House, Server, Wire, Wire) {
    let (server, tunnels) = switching();
    let house = House::new(&[server.address]);
    let mut client = house.client();
    client.send(UPGRADE);
    assert_eq!(client.answer().status(), 101);
    let at_server = tunnels.recv_timeout(common::PATIENCE).unwrap();
    (house, server, client, at_server)
}

/// What a drain does at its deadline: it is announced, and then the epoch is raised.
fn drain(house: &mut House, message: &str) {
    let notice = Notice {
        kind: NoticeKind::Drain,
        deadline: clock().moment.plus(Millis(600_000)),
        message: Some(message.to_owned()),
        reminders: Vec::new(),
    };
    house.publish(|_, pool| pool.servers[0].notice = Some(Arc::new(notice)));
    house.publish(|_, pool| {
        let server = &mut pool.servers[0];
        server.notice = None;
        server.epoch += 1;
        server.epoch_reason = ebbtide_core::EndReason::Deadline;
        server.standing = MAINTENANCE;
    });
}

/// Reads a close frame; its code and reason.
fn read_close(wire: &mut Wire, is_masked: bool) -> (u16, String) {
    let header = wire.exactly(2);
    assert_eq!(header[0], 0x88, "a whole close frame");
    assert_eq!(header[1] & 0x80 != 0, is_masked);
    let mask = match is_masked {
        true => wire.exactly(4),
        false => vec![0; 4],
    };
    let payload: Vec<u8> = wire
        .exactly(usize::from(header[1] & 0x7f))
        .iter()
        .zip(mask.iter().cycle())
        .map(|(byte, key)| byte ^ key)
        .collect();
    let code = u16::from_be_bytes([payload[0], payload[1]]);
    (code, String::from_utf8(payload[2..].to_vec()).unwrap())
}

const SERVER_CLOSE: [u8; 4] = [0x88, 2, 3, 0xe9];
const CLIENT_CLOSE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 3, 0xe9];

#[test]
fn both_sides_are_told_and_their_answers_end_it() {
    let (mut house, _server, mut client, mut at_server) = open();
    at_server.send([0x81, 2, b'h', b'i']);
    assert_eq!(client.exactly(4), [0x81, 2, b'h', b'i']);
    drain(&mut house, "web1 is repaired; write to 4455 \u{1f527}");
    let words = (1001, "web1 is repaired; write to 4455 \u{1f527}".to_owned());
    assert_eq!(read_close(&mut client, false), words);
    assert_eq!(read_close(&mut at_server, true), words);
    // What was said before the other's goodbye was read is no longer passed on.
    at_server.send([b"\x81\x04late".as_slice(), &SERVER_CLOSE].concat());
    client.send(CLIENT_CLOSE);
    assert!(client.is_closed());
    assert!(at_server.is_closed());
}

/// Half a frame each way, one of them broken off within its header, and then the rest of both. What
/// came after the halves; nothing if the rest was too late for the moment that there is.
fn break_off_and_finish() -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut house, _server, mut client, mut at_server) = open();
    at_server.send([0x81, 4, b'h', b'a']);
    client.send([0x82, 0x81, 0]);
    assert_eq!(client.exactly(4), [0x81, 4, b'h', b'a']);
    assert_eq!(at_server.exactly(3), [0x82, 0x81, 0]);
    drain(&mut house, "over");
    let mut rest = (Vec::new(), Vec::new());
    at_server.stream.write_all(b"lf\x81\x01x").ok()?;
    client.stream.write_all(&[0, 0, 0, 9]).ok()?;
    client.stream.read_to_end(&mut rest.0).ok()?;
    at_server.stream.read_to_end(&mut rest.1).ok()?;
    (!rest.0.is_empty() && !rest.1.is_empty()).then_some(rest)
}

#[test]
fn a_close_waits_for_the_end_of_a_frame() {
    let rest = (0..50).find_map(|_| break_off_and_finish());
    let (to_client, to_server) = rest.expect("in time once");
    assert_eq!(to_client, b"lf\x88\x06\x03\xe9over");
    assert_eq!(to_server[..6], [0, 0, 0, 9, 0x88, 0x86]);
    assert_eq!(to_server.len(), 4 + 6 + 6);
}

#[test]
fn a_frame_that_does_not_end_is_cut() {
    let (mut house, _server, mut client, mut at_server) = open();
    at_server.send([0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3]);
    assert_eq!(client.exactly(13).len(), 13);
    drain(&mut house, "over");
    assert!(client.is_closed(), "nothing is put into a frame");
    assert_eq!(read_close(&mut at_server, true).0, 1001);
    until("the end", || house.server_sum(0, |slot| &slot.tunnels) == 0);
}

#[test]
fn who_has_said_goodbye_already_is_told_nothing_twice() {
    let (mut house, _server, mut client, mut at_server) = open();
    at_server.send(SERVER_CLOSE);
    assert_eq!(client.exactly(4), SERVER_CLOSE);
    drain(&mut house, "over");
    assert_eq!(read_close(&mut at_server, true).0, 1001);
    client.send(CLIENT_CLOSE);
    assert!(client.is_closed());
}

#[test]
fn what_only_claims_to_be_a_websocket_is_cut() {
    let (mut house, _server, mut client, mut at_server) = open();
    at_server.send("plain text\r\n");
    client.send("plain text\r\n");
    assert_eq!(client.line().as_deref(), Some("plain text"));
    assert_eq!(at_server.line().as_deref(), Some("plain text"));
    drain(&mut house, "over");
    assert!(client.is_closed());
    assert!(at_server.is_closed());
}

#[test]
fn a_long_message_is_cut_where_a_character_ends() {
    let (mut house, _server, mut client, _at_server) = open();
    drain(&mut house, &"\u{1f527}".repeat(500));
    let (code, reason) = read_close(&mut client, false);
    assert_eq!((code, reason), (1001, "\u{1f527}".repeat(30)));
}

#[test]
fn the_words_of_a_closed_pool_are_said_and_else_a_plain_sentence() {
    let (mut house, _server, mut client, _at_server) = open();
    house.publish(|_, pool| {
        pool.intent = ebbtide_core::PoolIntent::Closed(ebbtide_core::Closure {
            message: Some("See you on Monday.".into()),
            ..ebbtide_core::Closure::default()
        });
        pool.servers[0].epoch += 1;
    });
    assert_eq!(read_close(&mut client, false).1, "See you on Monday.");
    let (mut house, _server, mut client, _at_server) = open();
    house.publish(|_, pool| pool.servers[0].epoch += 1);
    assert_eq!(read_close(&mut client, false).1, "Your session has ended.");
}

#[test]
fn a_websocket_to_a_server_that_is_down_goes_on_while_both_ends_do() {
    let (mut house, _server, mut client, mut at_server) = open();
    house.stand(0, DOWN);
    client.send("ping");
    assert_eq!(at_server.exactly(4), b"ping");
    at_server.send("pong");
    assert_eq!(client.exactly(4), b"pong");
    drop(at_server);
    assert!(client.is_closed());
}
