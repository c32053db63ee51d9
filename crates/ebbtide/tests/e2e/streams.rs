//! More windows than there are streams of events for: those that get one are told, the others are
//! refused politely, and each costs little.

use crate::harness::{Ebbtide, LIMIT, Setup, models};
use crate::slow::raise_descriptors;
use ebbtide_testkit::Scratch;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

/// What the default of `limits.event_streams` lets have one.
const STREAMS: usize = 10_000;
/// Who come after them.
const REFUSED: usize = 5_000;
/// Streams before the first look, so that what the first ones bring with them is not counted.
const WARM_UP: usize = 100;

/// What an open stream costs. A figure, not a test:
/// `cargo test --release -p ebbtide --test e2e -- --ignored --nocapture figure_of_event_streams`
#[test]
#[ignore = "measures; what it prints depends on the machine"]
fn figure_of_event_streams() {
    raise_descriptors();
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let user = ebbtide.user().0;
    let cookies = user
        .jar
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    let request = format!(
        "GET /.ebbtide/events HTTP/1.1\r\nHost: a\r\nCookie: {}\r\n\r\n",
        cookies.collect::<Vec<_>>().join("; ")
    );
    let open = || {
        let mut stream = TcpStream::connect(ebbtide.address).expect("a connection");
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        stream.write_all(request.as_bytes()).expect("it reads");
        stream
    };
    let listen = || {
        let mut stream = open();
        read_to(&mut stream, "\"notice\":null");
        stream
    };
    let mut streams: Vec<TcpStream> = (0..WARM_UP).map(|_| listen()).collect();
    let before = resident_bytes(&ebbtide);
    streams.extend((WARM_UP..STREAMS).map(|_| listen()));
    let resting = resident_bytes(&ebbtide);
    for _ in 0..REFUSED {
        let mut answer = read_to(&mut open(), "\r\n\r\n");
        answer.make_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 503 "), "{answer}");
        assert!(answer.contains("\r\nretry-after: 15\r\n"), "{answer}");
    }
    let begun = Instant::now();
    let close = ["close", "app", "--within", "10m", "--message", "Soon."];
    ebbtide.cli(&close).exits(0);
    for stream in &mut streams {
        read_to(stream, "\"kind\":\"closing\",\"message\":\"Soon.\"");
    }
    let told = begun.elapsed();
    let each = |bytes: u64| (bytes - before) / (STREAMS - WARM_UP) as u64;
    println!(
        "{STREAMS} streams: {} bytes each at rest, {} after all were told, which took {told:?} with \
         the command; {REFUSED} more were refused",
        each(resting),
        each(resident_bytes(&ebbtide)),
    );
}

/// Reads until this has come; all that has.
fn read_to(stream: &mut TcpStream, end: &str) -> String {
    let (mut text, mut part) = (String::new(), [0; 4096]);
    while !text.contains(end) {
        let bytes = stream.read(&mut part).expect("more of it in time");
        assert!(bytes > 0, "it is closed after {text}");
        text.push_str(&String::from_utf8_lossy(&part[..bytes]));
    }
    text
}

/// `Rss` of smaps_rollup is exact; that of /proc/PID/status is gathered lazily.
fn resident_bytes(ebbtide: &Ebbtide) -> u64 {
    let path = format!("/proc/{}/smaps_rollup", ebbtide.pid().as_raw_nonzero());
    let text = fs::read_to_string(path).expect("the process's memory");
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kilobytes = line.expect("Rss").trim().trim_end_matches(" kB");
    kilobytes.parse::<u64>().expect("a number") * 1024
}
