//! Requests, alone and one after another on a connection.

use crate::second::{Fields, Seen, Server};
use crate::understood::{COOKIE, Ending, Message, Rest, passed_on, read_requests};
use ebbtide_protocol::http1::Framing;
use hyper::Uri;

/// More than ever are of interest in one input.
const MESSAGES_MAX: usize = 8;

/// The first request of a connection: hyper reads the same bytes in the same way, and reads what
/// is sent on for it as we understood it.
pub fn request(input: &[u8]) {
    check(input, 1);
}

/// All requests of a connection, and what is sent on for them over one connection to a server.
pub fn pipeline(input: &[u8]) {
    check(input, MESSAGES_MAX);
}

fn check(input: &[u8], most: usize) {
    let (messages, rest) = read_requests(input, most);
    if messages.is_empty() {
        return;
    }
    as_it_came(input, &messages, rest);
    as_sent_on(&messages);
}

/// hyper may refuse what came, or close after it; as long as it goes on, it must agree.
fn as_it_came(input: &[u8], messages: &[Message], rest: Rest) {
    let mut server = Server::new(input);
    for (at, message) in messages.iter().enumerate() {
        let verdict = step(&mut server, at, message, message.end);
        let Some(seen) = server.seen(at) else {
            return;
        };
        same_request(message, &seen);
        assert_eq!(seen.fields, message.fields, "fields");
        for trailer in &message.body.trailers {
            let found = verdict == Verdict::Refused || seen.trailers.contains(trailer);
            assert!(found, "only we see the trailer {trailer:?}");
        }
        if verdict == Verdict::Refused || message.body.ending != Ending::Found {
            return;
        }
    }
    if rest == Rest::Waiting {
        let read = server.arrive(input.len());
        assert_eq!(read, messages.len(), "hyper sees one more request");
    }
}

/// hyper must agree with all that is sent on.
fn as_sent_on(messages: &[Message]) {
    let mut bytes = Vec::new();
    let mut ends = Vec::new();
    for message in messages {
        bytes.extend_from_slice(&message.forwarded_head);
        bytes.extend_from_slice(&message.body.forwarded);
        ends.push(bytes.len());
    }
    let mut server = Server::new(&bytes);
    for (at, (message, end)) in messages.iter().zip(ends).enumerate() {
        if may_be_refused(message) {
            return;
        }
        let verdict = step(&mut server, at, message, end);
        assert_eq!(verdict, Verdict::Agreed, "hyper refuses what is sent on");
        let seen = server.seen(at).expect("a request that was read");
        same_request(message, &seen);
        assert_eq!(seen.authority, None, "only origin-form is sent on");
        sent_fields(message, &seen.fields);
        if message.body.ending != Ending::Found {
            server.close();
            let seen = server.seen(at).expect("a request that has begun");
            return assert!(!seen.ended, "what broke off looks complete");
        }
        let trailers = &message.body.trailers;
        assert_eq!(&seen.trailers, trailers, "trailers");
    }
}

/// What hyper refuses and we send on. A server that does so answers 400, and no one is deceived.
fn may_be_refused(message: &Message) -> bool {
    // RFC 3986 leaves out these bytes, but browsers send some of them, and servers take them.
    let target = Uri::try_from(&message.target).is_err();
    // hyper keeps the two largest numbers for itself; no body is as long as that.
    let length = matches!(message.framing, Framing::Length(bytes) if bytes > u64::MAX - 2);
    target || length
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Agreed,
    Refused,
}

/// Lets message number `at` arrive, and looks whether hyper finds its end where it is.
fn step(server: &mut Server, at: usize, message: &Message, end: usize) -> Verdict {
    let read = server.arrive(end - 1);
    assert!(read <= at, "hyper finds the end of a request before we do");
    let read = server.arrive(end);
    let Some(seen) = server.seen(at) else {
        assert!(server.is_done(), "hyper waits for more of a head");
        return Verdict::Refused;
    };
    match message.body.ending {
        Ending::Found if read == at + 1 => return Verdict::Agreed,
        Ending::Found => assert!(seen.broken, "hyper waits for more of a body"),
        _ => assert!(read <= at, "hyper finds the end of a request that goes on"),
    }
    match seen.broken {
        true => Verdict::Refused,
        false => Verdict::Agreed,
    }
}

fn same_request(message: &Message, seen: &Seen) {
    assert_eq!(seen.method, message.method, "method");
    // hyper keeps what OPTIONS has in the absolute form.
    if message.target != "*" || seen.authority.is_none() {
        assert_eq!(seen.target, message.target, "target");
    }
    if let Some(authority) = &seen.authority {
        assert_eq!(authority.as_bytes(), message.authority, "authority");
    }
    let content = &message.body.content;
    if message.body.ending == Ending::Found && seen.ended {
        assert_eq!(&seen.content, content, "content");
    } else if message.body.ending == Ending::Waiting {
        let (ours, theirs) = (content.as_slice(), seen.content.as_slice());
        let same = ours.starts_with(theirs) || theirs.starts_with(ours);
        assert!(same, "content so far: {ours:?} or {theirs:?}");
    }
}

/// The fields that a server sees, as hyper reads them.
fn sent_fields(message: &Message, fields: &Fields) {
    let named = |name: &str| -> Vec<&[u8]> {
        let same = fields.iter().filter(|(given, _)| given == name);
        same.map(|(_, value)| value.as_slice()).collect()
    };
    let length = match message.framing {
        Framing::Length(bytes) => vec![bytes.to_string()],
        _ => Vec::new(),
    };
    let chunked: &[&[u8]] = match message.framing {
        Framing::Chunked => &[b"chunked"],
        _ => &[],
    };
    let bytes: Vec<&[u8]> = length.iter().map(|text| text.as_bytes()).collect();
    assert_eq!(named("content-length"), bytes, "Content-Length");
    assert_eq!(named("transfer-encoding"), chunked, "Transfer-Encoding");
    assert_eq!(named("host"), [message.authority.as_slice()], "Host");
    assert_eq!(named("x-forwarded-proto"), [b"https"], "X-Forwarded-Proto");
    let from = named("x-forwarded-for");
    let ours = matches!(from[..], [value] if value.ends_with(b"::1"));
    assert!(ours, "X-Forwarded-For: {from:?}");
    for name in [
        "forwarded",
        "keep-alive",
        "te",
        "proxy",
        "proxy-connection",
        "proxy-authorization",
    ] {
        assert!(named(name).is_empty(), "{name} ends here");
    }
    for cookies in named("cookie") {
        assert!(!has_token(cookies), "the server sees the token");
    }
    assert_eq!(
        passed_on(fields.clone()),
        message.passed_on,
        "fields passed on"
    );
}

fn has_token(cookies: &[u8]) -> bool {
    let text = String::from_utf8_lossy(cookies);
    let mut names = text.split(';').filter_map(|pair| pair.split_once('='));
    names.any(|(name, _)| name.trim_matches([' ', '\t']) == COOKIE)
}
