//! What it costs a worker to give pages to their users, as they are and with the banner's script.
//!
//! `cargo bench -p ebbtide-proxy`. Over real sockets: what is counted is all the work of the one
//! worker, reading and writing included, by its thread's own time; the client and the server have
//! threads of their own. The figures are read, not asserted: they belong to the machine.

#![allow(clippy::unwrap_used, reason = "a bench that fails says so")]

#[path = "../tests/common/mod.rs"]
mod common;

use common::{House, Server, clock, drain_notice};
use ebbtide_core::{Millis, Moment};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long each figure is measured.
const ROUND: Duration = Duration::from_secs(1);
const ROUNDS: usize = 5;

const FRONT: &[u8] = b"<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
    <title>Orders</title>\n<link rel=\"stylesheet\" href=\"/style.css\">\n</head>\n<body>\n";
const ROW: &[u8] =
    b"<tr class=\"order\"><td>4711</td><td><a href=\"/orders/4711\">Gr\xc3\xbc\xc3\x9fe</a></td></tr>\n";

fn main() {
    println!("MB of pages for each second of the worker's processor time: median of {ROUNDS}");
    println!(
        "{:>12} {:>12} {:>12} {:>18}",
        "page, bytes", "as it is", "injected", "more for each page"
    );
    for page_bytes in [2_000, 10_000, 100_000, 1_000_000, 50_000_000] {
        let [plain, injected] = medians(page_bytes);
        let more = page_bytes as f64 * (1.0 / injected - 1.0 / plain);
        println!("{page_bytes:>12} {plain:>12.0} {injected:>12.0} {more:>15.1} µs");
    }
}

/// As they are, and injected; measured in turn, as whatever else the machine does changes.
fn medians(page_bytes: usize) -> [f64; 2] {
    let mut figures = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        figures[1].push(measure(page_bytes, true));
        figures[0].push(measure(page_bytes, false));
    }
    figures.map(|mut figures| {
        figures.sort_by(f64::total_cmp);
        figures[ROUNDS / 2]
    })
}

/// MB of pages for each second of processor time. They come chunked, so that none goes through a
/// pipe: it is the same way that is compared.
fn measure(page_bytes: usize, stands: bool) -> f64 {
    let mut page = FRONT.to_vec();
    while page.len() < page_bytes {
        page.extend_from_slice(ROW);
    }
    let page_bytes = page.len();
    let server = Server::scripted(move |_, mut wire, _| {
        let head =
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n";
        let size = format!("{head}{:x}\r\n", page.len());
        let answer = [size.as_bytes(), &page, b"\r\n0\r\n\r\n"].concat();
        while read_to(&mut wire.stream, b"\r\n\r\n") && wire.stream.write_all(&answer).is_ok() {}
    });
    let mut house = House::new(&[server.address]);
    let deadline = Moment(clock().moment.0 + 3_600_000);
    house.publish(|_, pool| pool.servers[0].notice = drain_notice(deadline).filter(|_| stands));
    let mut client = house.client();
    let cookie = client.get("/", "").cookie();
    let request =
        format!("GET / HTTP/1.1\r\nHost: bench\r\nAccept: text/html\r\nCookie: {cookie}\r\n\r\n");
    let (began, before) = (Instant::now(), worker_seconds());
    let mut pages = 0;
    while began.elapsed() < ROUND {
        client.stream.write_all(request.as_bytes()).unwrap();
        assert!(read_to(&mut client.stream, b"\r\n0\r\n\r\n"));
        pages += 1;
    }
    let seconds = worker_seconds() - before;
    drop(client);
    house.stop(Millis(0));
    (pages * page_bytes) as f64 / 1e6 / seconds
}

/// Reads on until what has come ends so; `false` if the peer has closed.
fn read_to(stream: &mut TcpStream, end: &[u8]) -> bool {
    let mut bytes = vec![0; 256 * 1024];
    let mut last = Vec::new();
    while last != end {
        let Ok(more @ 1..) = stream.read(&mut bytes) else {
            return false;
        };
        last.extend_from_slice(&bytes[more.saturating_sub(end.len())..more]);
        last.drain(..last.len().saturating_sub(end.len()));
    }
    true
}

/// Processor time of this process's workers so far, in seconds.
fn worker_seconds() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let nanoseconds = tasks.map(|task| {
        let path = task.unwrap().path();
        let read = |file: &str| std::fs::read_to_string(path.join(file)).unwrap_or_default();
        match read("comm").starts_with("worker-") {
            true => read("schedstat")
                .split(' ')
                .next()
                .unwrap()
                .parse()
                .unwrap_or(0),
            false => 0_u64,
        }
    });
    nanoseconds.sum::<u64>() as f64 / 1e9
}
