//! What the codec and the token cost.
//!
//! `cargo bench -p ebbtide-protocol`. The figures are read, not asserted: they belong to the machine.

use ebbtide_protocol::exporter::ExporterReader;
use ebbtide_protocol::http1::{
    BodyDecoder, BodyStep, Forwarding, Framing, Limits, Parsed, RequestHead, ResponseEdit,
    ResponseHead, Version, cookie, parse_request, parse_response, write_request, write_response,
};
use ebbtide_protocol::token::{Token, TokenKeys};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

const ROUNDS: usize = 9;
const TURNS: u32 = 100_000;

const KEYS: TokenKeys = TokenKeys {
    current: [1; 32],
    previous: None,
};
const TOKEN: Token = Token {
    pool: 1,
    server: 2,
    epoch: 3,
    session: 4,
    started_s: 5,
    renewed_s: 6,
};

fn main() {
    // Cargo's own arguments (`--bench`, a filter) change nothing: it is over in seconds.
    for (name, request) in [("small", small_request()), ("large", large_request())] {
        requests(name, &request);
    }
    responses();
    chunks();
    tokens();
    exporters();
}

/// Nanoseconds of each turn: the median of some rounds, and their range.
fn show(what: &str, mut turn: impl FnMut()) {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            (0..TURNS).for_each(|_| turn());
            begun.elapsed().as_nanos() as f64 / f64::from(TURNS)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let (median, least, most) = (times[ROUNDS / 2], times[0], times[ROUNDS - 1]);
    println!("{what:<52} {median:>9.1} ns   ({least:.1} to {most:.1})");
}

fn token_text() -> String {
    let mut text = Vec::new();
    TOKEN.encode(&KEYS, &mut text);
    String::from_utf8(text).expect("base64url is ASCII")
}

/// What the load of `cargo xtask bench http` sends.
fn small_request() -> Vec<u8> {
    let token = token_text();
    format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nCookie: ebbtide_app={token}\r\n\r\n")
        .into_bytes()
}

/// What a browser sends to an application with cookies of its own.
fn large_request() -> Vec<u8> {
    let token = token_text();
    let more: String = (0..20)
        .map(|number| format!("X-Application-Field-{number}: {}\r\n", "v".repeat(40)))
        .collect();
    format!(
        "GET /application/page.aspx?session=1&view=list HTTP/1.1\r\nHost: terminal.example.com\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
         Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
         Accept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
         Connection: keep-alive\r\nReferer: https://terminal.example.com/application/\r\n\
         Cookie: ASP.NET_SessionId=abcdefghijklmnopqrstuvwx; theme=dark; ebbtide_app={token}; \
         wide={}\r\n{more}\r\n",
        "w".repeat(200)
    )
    .into_bytes()
}

fn requests(name: &str, request: &[u8]) {
    let (limits, mut head) = (Limits::default(), RequestHead::default());
    show(
        &format!("parse_request, {name} ({} bytes)", request.len()),
        || {
            let parsed = parse_request(black_box(request), &limits, &mut head);
            assert_eq!(parsed, Ok(Parsed::Complete));
        },
    );
    show(&format!("cookie, {name}"), || {
        black_box(cookie(black_box(request), &head, b"ebbtide_app").count());
    });
    let forwarding = Forwarding {
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        proto: "http",
        trusts_client: false,
        via: "ebbtide",
        token_cookie: b"ebbtide_app",
        door_cookies: b"",
        keep_alive_upstream: true,
        tunnel: false,
        expect_continue: false,
        extra: &[],
    };
    let mut out = Vec::new();
    show(&format!("write_request, {name}"), || {
        out.clear();
        write_request(&mut out, black_box(request), &head, &forwarding);
        black_box(out.len());
    });
}

fn responses() {
    let response: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\n\
        Date: Sun, 22 Nov 2026 18:29:22 GMT\r\nContent-Type: text/plain\r\n\
        Content-Length: 128\r\nConnection: keep-alive\r\n\r\n";
    let (limits, mut head) = (Limits::default(), ResponseHead::default());
    show(
        &format!("parse_response ({} bytes)", response.len()),
        || {
            let parsed = parse_response(black_box(response), &limits, false, &mut head);
            assert_eq!(parsed, Ok(Parsed::Complete));
        },
    );
    let edit = ResponseEdit {
        client_version: Version::Http11,
        close: false,
        set_cookie: None,
        token_cookie: b"ebbtide_app",
        via: "ebbtide",
        extra: &[],
        request_is_head: false,
    };
    let mut out = Vec::new();
    show("write_response", || {
        out.clear();
        black_box(write_response(&mut out, black_box(response), &head, &edit));
    });
}

fn chunks() {
    for (chunk_bytes, chunks) in [(64, 64), (4096, 16)] {
        let mut body = Vec::new();
        for _ in 0..chunks {
            body.extend_from_slice(format!("{chunk_bytes:x}\r\n").as_bytes());
            body.resize(body.len() + chunk_bytes, b'x');
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\n\r\n");
        show(
            &format!("decode {chunks} chunks of {chunk_bytes} bytes"),
            || {
                let mut decoder = BodyDecoder::new(Framing::Chunked);
                let mut rest = black_box(body.as_slice());
                while let Ok(BodyStep::Data { skip, data }) = decoder.decode(rest) {
                    rest = &rest[skip + data..];
                }
                assert!(decoder.is_done());
            },
        );
    }
}

/// A page of node_exporter has some 80 to 200 KB.
fn exporters() {
    let line = "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 113450.94\n";
    let piece = line.repeat(1024 / line.len());
    let mut reader = ExporterReader::new(None);
    show("exporter: read a KB of processors", || {
        reader.feed(black_box(piece.as_bytes()));
    });
    let line = "node_network_receive_bytes_total{device=\"eth0\"} 5.13450941e+09\n";
    let piece = line.repeat(1024 / line.len());
    show("exporter: read a KB of anything else", || {
        reader.feed(black_box(piece.as_bytes()));
    });
    assert!(reader.finish().is_ok());
}

fn tokens() {
    let text = token_text();
    let mut out = Vec::new();
    show("token: encode", || {
        out.clear();
        black_box(&TOKEN).encode(&KEYS, &mut out);
        black_box(out.len());
    });
    show("token: decode", || {
        let token = Token::decode(black_box(text.as_bytes()), &KEYS, TOKEN.pool);
        assert!(token.is_ok());
    });
}
