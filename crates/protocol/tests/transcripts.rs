//! Runs the transcripts: what comes in, what is made of it, and what goes out, as text to be read.
//!
//! Each case of a file in `tests/transcripts/` has a title (`## ...`), options (`? ...`), the bytes
//! of a connection (`> ...`, each a line with its CRLF, unless it ends in a backslash) and the
//! recorded outcome. Every case is run with its bytes at once and one by one, which must make no
//! difference. To record outcomes anew, run with `UPDATE_TRANSCRIPTS=1` and read the difference.

// Helpers of tests are tests.
#![allow(clippy::unwrap_used)]

mod transcript;

use std::net::{IpAddr, Ipv4Addr};

use ebbtide_protocol::http1::{
    BodyDecoder, BodyStep, Forwarding, Framing, Limits, Parsed, Reject, RequestHead, ResponseEdit,
    ResponseHead, Version, parse_request, parse_response, write_interim, write_request,
    write_response,
};
use transcript::{Case, check, escape};

const LIMITS: Limits = Limits {
    head_bytes: 400,
    fields: 6,
};

const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

#[test]
fn requests() {
    check("requests.txt", |case, step| {
        read_requests(case, step, |_, _, _| {})
    });
}

#[test]
fn forwarded_requests() {
    check("forwarded_requests.txt", |case, step| {
        read_requests(case, step, |log, buf, head| {
            let forwarding = Forwarding {
                client: if case.has("mapped client") {
                    IpAddr::V6(CLIENT.to_ipv6_mapped())
                } else {
                    IpAddr::V4(CLIENT)
                },
                proto: "http",
                trusts_client: case.has("trusted client"),
                via: "ebbtide",
                door_cookies: b"",
                token_cookie: if case.has("no token") {
                    b""
                } else {
                    b"ebbtide"
                },
                keep_alive_upstream: !case.has("close to server"),
                tunnel: case.has("tunnel"),
                expect_continue: head.expect_continue,
                extra: &[],
            };
            let mut out = Vec::new();
            write_request(&mut out, buf, head, &forwarding);
            log_written(log, &out);
        })
    });
}

#[test]
fn responses() {
    check("responses.txt", read_responses);
}

/// Reads a connection of requests, `step` bytes at a time.
fn read_requests(
    case: &Case,
    step: usize,
    mut on_head: impl FnMut(&mut Vec<String>, &[u8], &RequestHead),
) -> Vec<String> {
    let mut log = Vec::new();
    let mut connection = Connection::new(&case.input, step);
    let mut head = RequestHead::default();
    loop {
        match parse_request(connection.buffered(), &LIMITS, &mut head) {
            Ok(Parsed::Complete) => {}
            Ok(Parsed::Partial) if connection.feed() => continue,
            Ok(Parsed::Partial) => {
                if !connection.buffered().is_empty() {
                    log.push("= waits for more".to_string());
                }
                return log;
            }
            Err(reject) => {
                log.push(rejected(reject));
                return log;
            }
        }
        let buf = connection.buffered();
        let text = |span: ebbtide_protocol::http1::Span| escape(span.of(buf));
        let mut line = format!("= {} {}", text(head.method), text(head.target));
        if let Some(authority) = head.authority {
            line += &format!(" of {}", text(authority));
        }
        line += if head.keep_alive { "" } else { ", then close" };
        line += if head.expect_continue {
            ", expects 100"
        } else {
            ""
        };
        if let Some(upgrade) = head.upgrade {
            line += &format!(", upgrade to {}", text(upgrade));
        }
        log.push(line);
        on_head(&mut log, buf, &head);
        connection.consume(head.head_bytes);
        if !read_body(&mut log, &mut connection, head.framing) {
            return log;
        }
    }
}

/// Reads a connection of responses, and writes each for the client.
fn read_responses(case: &Case, step: usize) -> Vec<String> {
    let mut log = Vec::new();
    let mut connection = Connection::new(&case.input, step);
    let mut head = ResponseHead::default();
    let to_head = case.has("to HEAD");
    loop {
        match parse_response(connection.buffered(), &LIMITS, to_head, &mut head) {
            Ok(Parsed::Complete) => {}
            Ok(Parsed::Partial) if connection.feed() => continue,
            Ok(Parsed::Partial) => {
                if !connection.buffered().is_empty() {
                    log.push("= waits for more".to_string());
                }
                return log;
            }
            Err(reject) => {
                log.push(rejected(reject));
                return log;
            }
        }
        let mut line = format!("= {}", head.status);
        line += if head.keep_alive { "" } else { ", then close" };
        line += if head.upgrade { ", tunnel" } else { "" };
        if let Some(timeout_s) = head.keep_alive_timeout_s {
            line += &format!(", idle for {timeout_s} s");
        }
        log.push(line);
        let mut out = Vec::new();
        if (100..200).contains(&head.status) && head.status != 101 {
            write_interim(&mut out, connection.buffered(), &head);
        } else {
            let edit = ResponseEdit {
                client_version: if case.has("1.0 client") {
                    Version::Http10
                } else {
                    Version::Http11
                },
                close: case.has("close"),
                set_cookie: case.has("new session").then_some(b"ebbtide=abc; HttpOnly"),
                token_cookie: b"ebbtide",
                via: "ebbtide",
                extra: &[],
                request_is_head: to_head,
            };
            let framing = write_response(&mut out, connection.buffered(), &head, &edit);
            log.push(format!("= to the client: {framing:?}"));
        }
        log_written(&mut log, &out);
        connection.consume(head.head_bytes);
        if !read_body(&mut log, &mut connection, head.framing) || head.upgrade {
            return log;
        }
    }
}

/// Reads one body. Returns whether another message may follow.
fn read_body(log: &mut Vec<String>, connection: &mut Connection<'_>, framing: Framing) -> bool {
    let mut decoder = BodyDecoder::new(framing);
    let mut content = Vec::new();
    loop {
        match decoder.decode(connection.buffered()) {
            Ok(BodyStep::Data { skip, data }) => {
                content.extend_from_slice(&connection.buffered()[skip..skip + data]);
                connection.consume(skip + data);
            }
            Ok(BodyStep::More { skip }) => {
                connection.consume(skip);
                if !connection.feed() {
                    break;
                }
            }
            Ok(BodyStep::Done { skip }) => {
                connection.consume(skip);
                break;
            }
            Err(reject) => {
                log.push(format!("= body {framing:?}: {:?}", escape(&content)));
                log.push(rejected(reject));
                return false;
            }
        }
    }
    if framing != Framing::None {
        log.push(format!("= body {framing:?}: {:?}", escape(&content)));
    }
    for (name, value) in decoder.trailers() {
        log.push(format!("= trailer {}: {}", escape(name), escape(value)));
    }
    let is_done = decoder.is_done();
    if !is_done {
        log.push(match decoder.finish() {
            Ok(()) => "= ends when the connection does".to_string(),
            Err(reject) => rejected(reject),
        });
    }
    is_done
}

fn rejected(reject: Reject) -> String {
    format!(
        "= rejected: {} {}, {reject}",
        reject.status(),
        reject.reason()
    )
}

fn log_written(log: &mut Vec<String>, out: &[u8]) {
    let text = out.strip_suffix(b"\r\n").expect("a head ends in CRLF");
    for line in text.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        log.push(format!("< {}", escape(line)).trim_end().to_string());
    }
}

/// The bytes of a connection, of which more and more have arrived.
struct Connection<'a> {
    bytes: &'a [u8],
    consumed: usize,
    arrived: usize,
    step: usize,
}

impl<'a> Connection<'a> {
    fn new(bytes: &'a [u8], step: usize) -> Self {
        Connection {
            bytes,
            consumed: 0,
            arrived: 0,
            step,
        }
    }

    fn buffered(&self) -> &'a [u8] {
        &self.bytes[self.consumed..self.arrived]
    }

    fn consume(&mut self, bytes: usize) {
        self.consumed += bytes;
        assert!(self.consumed <= self.arrived, "more consumed than arrived");
    }

    /// Lets more arrive; false when there is no more.
    fn feed(&mut self) -> bool {
        let before = self.arrived;
        self.arrived = self.bytes.len().min(self.arrived.saturating_add(self.step));
        self.arrived > before
    }
}
