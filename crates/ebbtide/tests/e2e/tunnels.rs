//! WebSockets and large bodies: what lasts.

use crate::harness::{Ebbtide, LIMIT, Setup, models};
use ebbtide_testkit::{
    Client, Framing, PatternCheck, Request, Scratch, Tunnel, Wire, pattern, until,
};
use std::fs;
use std::io::Write;
use std::time::{Duration, SystemTime};

const LARGE: usize = 64 * 1024 * 1024;

fn cookies(client: &Client) -> String {
    let pairs: Vec<_> = client
        .jar
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("; ")
}

fn tunnel(ebbtide: &Ebbtide, client: &Client) -> Tunnel {
    let opened = Tunnel::open(ebbtide.address, LIMIT, &cookies(client)).expect("a connection");
    opened.expect("101")
}

#[test]
fn a_drain_cuts_tunnels_at_its_deadline_and_not_before() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let [at_web1, elsewhere] = ebbtide.users(8, "web1");
    let mut drained: Vec<_> = at_web1
        .iter()
        .map(|(client, _)| tunnel(&ebbtide, client))
        .collect();
    let mut staying: Vec<_> = elsewhere
        .iter()
        .map(|(client, _)| tunnel(&ebbtide, client))
        .collect();
    ebbtide
        .cli(&["drain", "app/web1", "--within", "3s"])
        .exits(0);
    let deadline = ebbtide.deadline("web1");
    until("the deadline is near", LIMIT, || {
        for tunnel in &mut drained {
            if let Err(error) = tunnel.echo(b"still there?") {
                assert!(
                    SystemTime::now() >= deadline,
                    "cut before the deadline: {error}"
                );
            }
        }
        (SystemTime::now() + Duration::from_millis(100) >= deadline).then_some(())
    });
    let ends: Vec<_> = std::thread::scope(|scope| {
        let waiting: Vec<_> = drained
            .into_iter()
            .map(|tunnel| scope.spawn(|| tunnel.wait_for_end()))
            .collect();
        waiting
            .into_iter()
            .map(|end| end.join().expect("it ends"))
            .collect()
    });
    for end in ends {
        assert!(end.at >= deadline, "before the deadline: {end:?}");
        assert!(
            end.at <= deadline + Duration::from_secs(1),
            "outlived the deadline: {end:?}"
        );
    }
    for tunnel in &mut staying {
        tunnel
            .echo(b"we stay")
            .expect("other servers' tunnels go on");
    }
    assert_eq!(ebbtide.intent("web1"), "maintenance");
}

#[test]
fn a_tunnel_carries_bytes_both_ways_and_ends_with_its_server() {
    let scratch = Scratch::new();
    let mut servers = models(1, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let (client, _) = ebbtide.user();
    let mut tunnel = tunnel(&ebbtide, &client);
    assert_eq!(tunnel.head.field("upgrade"), Some("websocket"));
    for offset in 0..50 {
        tunnel
            .echo(pattern(offset * 1000, 20_000))
            .expect("an echo");
    }
    let status = ebbtide.server("web1");
    assert_eq!(status["sessions"]["active"], 1, "{status}");
    servers[0].kill();
    tunnel.wait_for_end();
}

#[test]
fn a_server_that_refuses_to_upgrade_is_heard() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let mut wire = Wire::connect(ebbtide.address, LIMIT).unwrap();
    let ask = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    wire.send(ask.as_bytes()).unwrap();
    let head = wire.read_head().unwrap().unwrap();
    assert_eq!(head.status(), 200);
    wire.read_body(head.framing().unwrap(), &mut Vec::new())
        .unwrap();
    // No tunnel has begun: what follows is a request, or nothing at all, but never passed on.
    assert!(head.has_token("connection", "close"), "{head:?}");
    assert_eq!(wire.read_to_end().unwrap(), b"");
}

#[test]
fn large_bodies_pass_both_ways_in_a_bounded_memory() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    for chunked in ["0", "1"] {
        let target = format!("/download?bytes={LARGE}&chunked={chunked}");
        let mut wire = Wire::connect(ebbtide.address, LIMIT).unwrap();
        wire.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
            .unwrap();
        let head = wire.read_head().unwrap().unwrap();
        let mut check = PatternCheck::default();
        wire.read_body(head.framing().unwrap(), &mut check).unwrap();
        assert_eq!(
            (check.bytes, check.wrong_near),
            (LARGE, None),
            "chunked={chunked}"
        );
    }
    let length = format!("Content-Length: {LARGE}");
    for framing in [length.as_str(), "Transfer-Encoding: chunked"] {
        let mut wire = Wire::connect(ebbtide.address, LIMIT).unwrap();
        upload(&mut wire, framing);
        let head = wire.read_head().unwrap().unwrap();
        let mut answer = Vec::new();
        wire.read_body(head.framing().unwrap(), &mut answer)
            .unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert_eq!(
            answer,
            format!("bytes={LARGE} wrong_near=None\n"),
            "{framing}"
        );
    }
    // A reader who does not read must not fill Ebbtide's memory either.
    let mut idler = Wire::connect(ebbtide.address, LIMIT).unwrap();
    let target = format!("/download?bytes={LARGE}");
    idler
        .send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
        .unwrap();
    assert_eq!(
        idler.read_head().unwrap().unwrap().framing(),
        Some(Framing::Length(LARGE))
    );
    ebbtide.user();
    let peak_kb = peak_memory_kb(&ebbtide);
    assert!(
        peak_kb < 48 * 1024,
        "{peak_kb} KiB for bodies of {LARGE} bytes"
    );
}

fn upload(wire: &mut Wire, framing: &str) {
    wire.send(format!("POST /upload HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n").as_bytes())
        .unwrap();
    let chunked = framing.contains("chunked");
    let mut sent = 0;
    while sent < LARGE {
        let piece = pattern(sent, (LARGE - sent).min(50_000));
        sent += piece.len();
        if chunked {
            let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
            chunk.write_all(piece).unwrap();
            chunk.extend(b"\r\n");
            wire.send(&chunk).unwrap();
        } else {
            wire.send(piece).unwrap();
        }
    }
    if chunked {
        wire.send(b"0\r\n\r\n").unwrap();
    }
}

/// The most memory that the process has had, from the kernel's account.
fn peak_memory_kb(ebbtide: &Ebbtide) -> u64 {
    let path = format!("/proc/{}/status", ebbtide.pid().as_raw_nonzero());
    let status = fs::read_to_string(path).expect("the process's status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let words = line.expect("VmHWM").trim().trim_end_matches(" kB");
    words.parse().expect("a number")
}

#[test]
fn a_slow_download_outlives_a_hold() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let (client, page) = ebbtide.user();
    let mut wire = Wire::connect(ebbtide.address, LIMIT).unwrap();
    let cookies = cookies(&client);
    let target = "/download?bytes=600000&pause_ms=50";
    let ask = format!("GET {target} HTTP/1.1\r\nHost: a\r\nCookie: {cookies}\r\n\r\n");
    wire.send(ask.as_bytes()).unwrap();
    let head = wire.read_head().unwrap().unwrap();
    ebbtide
        .cli(&["hold", &format!("app/{}", page.server)])
        .exits(0);
    let mut check = PatternCheck::default();
    wire.read_body(head.framing().unwrap(), &mut check).unwrap();
    assert_eq!((check.bytes, check.wrong_near), (600_000, None));
    let request = Request::get("/").with("Cookie", &cookies);
    Client::new(ebbtide.address, LIMIT).send(&request).answer();
}
