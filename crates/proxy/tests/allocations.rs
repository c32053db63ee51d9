//! The hot path asks for no memory: a request on a kept connection, with a valid token, to a kept
//! connection, is served from what is there already.
//!
//! The whole process is counted, as the worker's thread belongs to the data plane; so the client
//! and the server here ask for nothing themselves, and this file has one test only.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;
use common::{House, Server, get};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::io::{Read, Write};
use std::net::TcpStream;

#[global_allocator]
static MEMORY: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The first requests find the buffers too small, and the lists too short.
const WARM_UP: usize = 200;
const REQUESTS: usize = 2_000;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Reads on until what has come ends so; `false` if the peer has closed.
fn read_to(stream: &mut TcpStream, end: &[u8]) -> bool {
    let mut bytes = [0; 4096];
    let mut filled = 0;
    while !bytes[..filled].ends_with(end) {
        match stream.read(&mut bytes[filled..]) {
            Ok(0) | Err(_) => return false,
            Ok(more) => filled += more,
        }
    }
    true
}

fn serve(stream: &mut TcpStream) {
    while read_to(stream, b"\r\n\r\n") {
        stream.write_all(ANSWER).unwrap();
    }
}

#[test]
fn a_request_in_steady_state_allocates_nothing() {
    let from_the_start = Region::new(MEMORY);
    let server = Server::scripted(|_, mut wire, _| serve(&mut wire.stream));
    let house = House::new(&[server.address]);
    let mut client = house.client();
    let cookie = client.get("/", "").cookie();
    let request = get("/", &cookie);
    let mut ask = |times: usize| {
        for _ in 0..times {
            client.stream.write_all(request.as_bytes()).unwrap();
            assert!(read_to(&mut client.stream, b"\r\n\r\nok"));
        }
    };
    ask(WARM_UP);
    let region = Region::new(MEMORY);
    ask(REQUESTS);
    let counted = region.change();
    assert_ne!(from_the_start.change().allocations, 0, "it does count");
    assert_eq!(
        (counted.allocations, counted.reallocations),
        (0, 0),
        "in {REQUESTS} requests"
    );
}
