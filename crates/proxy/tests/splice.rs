//! Large bodies, which go through a pipe in the kernel: byte for byte, whatever breaks on the way.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;
use common::{House, Message, Server, Wire, until};
use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::mpsc::channel;

/// Around what is copied, what a buffer holds, and what a pipe holds.
const SIZES: [usize; 18] = [
    16_383, 16_384, 16_385, 32_640, 32_768, 33_000, 65_535, 65_536, 65_537, 131_072, 524_287,
    524_288, 524_289, 1_048_576, 1_048_577, 1_065_000, 1_600_001, 3_000_000,
];

/// The bytes of a body: no two of different `seed` have a part in common.
fn pattern(seed: usize, bytes: usize) -> Vec<u8> {
    let words = (0..bytes.div_ceil(8)).map(|at| ((seed as u64) << 40 | at as u64).to_le_bytes());
    let mut body: Vec<u8> = words.flatten().collect();
    body.truncate(bytes);
    body
}

/// What the path `/SEED/BYTES` asks for.
fn asked(request: &Message) -> (usize, usize) {
    let path = request.first_line.split(' ').nth(1).unwrap();
    let (seed, bytes) = path[1..].split_once('/').unwrap();
    (seed.parse().unwrap(), bytes.parse().unwrap())
}

fn head(bytes: usize) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n")
}

/// A server that gives what is asked for, in pieces of odd sizes.
fn giving() -> Server {
    Server::answering(|wire, request| {
        let (seed, bytes) = asked(request);
        wire.send(head(bytes));
        let body = pattern(seed, bytes);
        let pieces = body.chunks(1 + seed % 3 * 70_001 + 9_973);
        pieces
            .map(|piece| wire.stream.write_all(piece))
            .all(|sent| sent.is_ok())
    })
}

fn get(seed: usize, bytes: usize) -> String {
    common::get(&format!("/{seed}/{bytes}"), "")
}

fn assert_given(answer: &Message, seed: usize, bytes: usize) {
    assert_eq!((answer.status(), answer.complete), (200, true), "{bytes}");
    assert!(answer.body == pattern(seed, bytes), "{seed}, {bytes}");
}

#[test]
fn answers_of_every_size_come_down_unchanged() {
    let server = giving();
    let house = House::new(&[server.address]);
    let mut client = house.client();
    let mut down = 0;
    for (seed, bytes) in SIZES.into_iter().enumerate() {
        client.send(get(seed, bytes));
        assert_given(&client.answer(), seed, bytes);
        down += bytes as u64;
    }
    assert_eq!(client.get("/99/5", "").body, pattern(99, 5));
    until("all bytes counted", || {
        house.server_sum(0, |slot| &slot.bytes_down) == down + 5
    });
}

#[test]
fn a_slow_reader_gets_every_byte() {
    let server = giving();
    let house = House::new(&[server.address]);
    let client = house.client();
    let socket = socket2::SockRef::from(&client.stream);
    socket.set_recv_buffer_size(256 * 1024).unwrap();
    let mut stream = &client.stream;
    stream.write_all(get(7, 3_000_000).as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut piece = [0; 3001];
    let expected = pattern(7, 3_000_000);
    while !answer.ends_with(&expected[2_999_000..]) {
        let bytes = stream.read(&mut piece).unwrap();
        assert_ne!(bytes, 0, "it breaks off after {}", answer.len());
        answer.extend_from_slice(&piece[..bytes]);
        std::thread::yield_now();
    }
    assert!(answer.ends_with(&expected));
}

#[test]
fn uploads_of_every_size_go_up_unchanged() {
    let server = Server::answering(|wire, request| {
        let (seed, bytes) = asked(request);
        let is_whole = request.complete && request.body == pattern(seed, bytes);
        wire.send(common::ok(if is_whole { "whole" } else { "broken" }));
        true
    });
    let house = House::new(&[server.address]);
    let mut client = house.client();
    for (seed, bytes) in SIZES.into_iter().enumerate() {
        client.send(format!(
            "PUT /{seed}/{bytes} HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n"
        ));
        client.send(pattern(seed, bytes));
        assert_eq!(client.answer().text(), "whole", "{bytes}");
    }
    let up = SIZES.iter().sum::<usize>() as u64;
    until("all bytes counted", || {
        house.server_sum(0, |slot| &slot.bytes_up) == up
    });
}

#[test]
fn requests_after_a_large_body_are_not_taken_for_it() {
    let server = Server::answering(|wire, request| {
        let size = request.body.len();
        wire.send(common::ok(&format!("{} {size}", request.first_line)));
        true
    });
    let house = House::new(&[server.address]);
    let mut client = house.client();
    let mut sent = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 700001\r\n\r\n".to_vec();
    sent.extend_from_slice(&pattern(1, 700_001));
    sent.extend_from_slice(b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n");
    client.send(sent);
    assert_eq!(client.answer().text(), "POST /a HTTP/1.1 700001");
    assert_eq!(client.answer().text(), "GET /b HTTP/1.1 0");
}

#[test]
fn a_server_that_breaks_off_is_seen_to_have_broken_off() {
    for sent in [20_000, 65_536, 524_288, 999_999] {
        for resets in [false, true] {
            let (read, all_read) = channel::<()>();
            let all_read = Mutex::new(all_read);
            let server = Server::scripted(move |_, mut wire, _| {
                wire.message(true);
                wire.send(head(1_000_000));
                wire.send(&pattern(3, 1_000_000)[..sent]);
                // A reset would overtake what the client has not yet been given.
                let _ = all_read.lock().unwrap().recv();
                if resets {
                    wire.reset();
                }
            });
            let house = House::new(&[server.address]);
            let mut client = house.client();
            client.send(get(3, 1_000_000));
            while client.line().is_some_and(|line| !line.is_empty()) {}
            assert!(client.exactly(sent) == pattern(3, 1_000_000)[..sent]);
            read.send(()).unwrap();
            assert!(client.is_closed(), "{sent}, {resets}");
            until("the break counted", || {
                house.server_sum(0, |slot| &slot.broken) == 1
            });
        }
    }
}

#[test]
fn what_one_client_left_behind_reaches_no_other() {
    let server = giving();
    let house = House::new(&[server.address]);
    for round in 0..12 {
        let mut leaving = house.client();
        leaving.send(get(1_000 + round, 3_000_000));
        leaving.exactly(round * 20_011 + 1);
        match round % 2 {
            0 => leaving.reset(),
            _ => drop(leaving),
        }
        let mut staying = house.client();
        let bytes = 30_000 + round * 40_009;
        staying.send(get(round, bytes));
        assert_given(&staying.answer(), round, bytes);
    }
    until("all who left forgotten", || {
        house.node.sum(|slot| &slot.connections) == 0
    });
}

#[test]
fn more_readers_than_there_are_pipes_are_all_served() {
    let server = giving();
    let house = House::new(&[server.address]);
    // All have asked before the first answer is read.
    let mut clients: Vec<Wire> = (0..60).map(|_| house.client()).collect();
    for (seed, client) in clients.iter_mut().enumerate() {
        client.send(get(seed, 600_000 + seed));
    }
    for (seed, client) in clients.iter_mut().enumerate() {
        assert_given(&client.answer(), seed, 600_000 + seed);
    }
}
