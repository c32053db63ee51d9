//! Responses, as a server sends them and as the client gets them.

use crate::letter;
use crate::second::{Client, Fields, Seen, sorted};
use crate::understood::{Body, COOKIE, Ending, LIMITS, pairs, passed_on, read_body};
use ebbtide_protocol::http1::{
    Framing, Parsed, ResponseEdit, ResponseHead, Version, parse_response, write_interim,
    write_response,
};
use hyper::Method;

/// More than ever are of interest in one input.
const MESSAGES_MAX: usize = 8;

/// What the request was like, taken from the first byte of an input, so that it stays readable.
#[derive(Clone, Copy)]
struct Asked {
    head: bool,
    old_client: bool,
    close: bool,
}

impl Asked {
    /// `0` to `7`; `0` is a `GET` of HTTP/1.1.
    fn from(byte: u8) -> Self {
        Asked {
            head: byte & 1 != 0,
            old_client: byte & 2 != 0,
            close: byte & 4 != 0,
        }
    }

    fn edit(self) -> ResponseEdit<'static> {
        ResponseEdit {
            client_version: match self.old_client {
                true => Version::Http10,
                false => Version::Http11,
            },
            close: self.close,
            set_cookie: None,
            token_cookie: COOKIE.as_bytes(),
            via: "ebbtide",
            extra: &[],
            request_is_head: self.head,
        }
    }

    fn method(self) -> Method {
        match self.head {
            true => Method::HEAD,
            false => Method::GET,
        }
    }
}

/// A final response, as we understand it.
struct Message {
    status: u16,
    fields: Fields,
    passed_on: Fields,
    framing: Framing,
    body: Body,
    end: usize,
    goes_on: bool,
    /// What the client gets: interim responses, the head, the body.
    sent: Vec<u8>,
    sent_framing: Framing,
}

/// The responses of a connection: hyper reads what came and what is sent on as we understood it.
/// The first byte says what was asked.
pub fn response(input: &[u8]) {
    let Some((first, bytes)) = input.split_first() else {
        return;
    };
    let asked = Asked::from(*first);
    let messages = read(bytes, asked);
    as_it_came(bytes, asked, &messages);
    as_sent_on(asked, &messages);
}

fn read(bytes: &[u8], asked: Asked) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    let mut head = ResponseHead::default();
    let (mut start, mut sent) = (0, Vec::new());
    while messages.len() < MESSAGES_MAX {
        let buf = &bytes[start..];
        if parse_response(buf, &LIMITS, asked.head, &mut head) != Ok(Parsed::Complete) {
            break;
        }
        letter::check_head(&bytes[start..start + head.head_bytes], false);
        // What is no tunnel is no answer to a request that wanted none.
        if head.status == 101 && !head.upgrade {
            break;
        }
        if head.status < 200 && head.status != 101 {
            assert_eq!(
                head.framing,
                Framing::None,
                "an interim response has no body"
            );
            if !asked.old_client {
                write_interim(&mut sent, buf, &head);
            }
            start += head.head_bytes;
            continue;
        }
        let message = understand(buf, start, &head, asked, std::mem::take(&mut sent));
        let goes_on = message.goes_on;
        start = message.end;
        messages.push(message);
        if !goes_on {
            break;
        }
    }
    messages
}

fn understand(
    buf: &[u8],
    start: usize,
    head: &ResponseHead,
    asked: Asked,
    mut sent: Vec<u8>,
) -> Message {
    let sent_framing = write_response(&mut sent, buf, head, &asked.edit());
    let body = read_body(&buf[head.head_bytes..], head.framing, sent_framing);
    sent.extend_from_slice(&body.forwarded);
    let fields = sorted(pairs(buf, &head.fields));
    Message {
        status: head.status,
        passed_on: passed_on(fields.clone()),
        fields,
        framing: head.framing,
        end: start + head.head_bytes + body.taken,
        goes_on: head.keep_alive && body.ending == Ending::Found && !head.upgrade,
        body,
        sent,
        sent_framing,
    }
}

/// hyper may refuse what came; as long as it goes on, it must agree.
fn as_it_came(bytes: &[u8], asked: Asked, messages: &[Message]) {
    let mut client = Client::new(bytes, asked.method());
    for (at, message) in messages.iter().enumerate() {
        let agreed = step(&mut client, at, message, message.end, message.framing);
        let Some(seen) = client.seen(at) else {
            return;
        };
        same_response(message, &seen);
        assert_eq!(seen.fields, message.fields, "fields");
        if !agreed {
            return;
        }
    }
}

/// The client must see what we understood.
fn as_sent_on(asked: Asked, messages: &[Message]) {
    let mut bytes = Vec::new();
    let mut ends = Vec::new();
    for message in messages {
        bytes.extend_from_slice(&message.sent);
        ends.push(bytes.len());
    }
    let mut client = Client::new(&bytes, asked.method());
    for (at, (message, end)) in messages.iter().zip(ends).enumerate() {
        if matches!(message.framing, Framing::Length(bytes) if bytes > u64::MAX - 2) {
            return;
        }
        let framing = message.sent_framing;
        let agreed = step(&mut client, at, message, end, framing);
        assert!(agreed, "hyper refuses what is sent on");
        let seen = client.seen(at).expect("a response that was read");
        same_response(message, &seen);
        sent_fields(message, asked, &seen.fields);
        let complete = message.body.ending == Ending::Found;
        if complete && framing == Framing::Chunked {
            assert_eq!(seen.trailers, message.body.trailers, "trailers");
        }
        if !complete && framing != Framing::UntilClose {
            client.close();
            let seen = client.seen(at).expect("a response that has begun");
            return assert!(!seen.ended, "what broke off looks complete");
        }
        if asked.close || framing == Framing::UntilClose {
            return;
        }
    }
}

/// Lets message number `at` arrive, and looks whether hyper finds its end where it is. False when
/// hyper refuses it.
fn step(client: &mut Client, at: usize, message: &Message, end: usize, framing: Framing) -> bool {
    let read = client.arrive(end - 1);
    assert!(read <= at, "hyper finds the end of a response before we do");
    let read = client.arrive(end);
    let Some(seen) = client.seen(at) else {
        assert!(client.is_done(), "hyper waits for more of a head");
        return false;
    };
    if framing == Framing::UntilClose {
        assert!(read <= at, "hyper finds an end that we do not");
        return !seen.broken && client.close() == at + 1;
    }
    match message.body.ending {
        Ending::Found if read == at + 1 => return true,
        Ending::Found => assert!(seen.broken, "hyper waits for more of a body"),
        _ => assert!(read <= at, "hyper finds the end of a response that goes on"),
    }
    !seen.broken
}

fn same_response(message: &Message, seen: &Seen) {
    assert_eq!(seen.status, message.status, "status");
    let (ours, theirs) = (message.body.content.as_slice(), seen.content.as_slice());
    if seen.ended && !matches!(message.body.ending, Ending::Refused(_)) {
        assert_eq!(theirs, ours, "content");
    } else if message.body.ending == Ending::Waiting {
        let same = ours.starts_with(theirs) || theirs.starts_with(ours);
        assert!(same, "content so far: {ours:?} or {theirs:?}");
    }
}

/// The fields that the client sees, as hyper reads them.
fn sent_fields(message: &Message, asked: Asked, fields: &Fields) {
    let count = |name: &str| fields.iter().filter(|(given, _)| given == name).count();
    let told = !asked.head && message.status != 304;
    if told {
        let length = matches!(message.sent_framing, Framing::Length(_));
        assert_eq!(count("content-length"), usize::from(length));
    }
    let chunked = message.sent_framing == Framing::Chunked;
    assert_eq!(count("transfer-encoding"), usize::from(chunked));
    for name in ["keep-alive", "te", "proxy-connection", "proxy-authenticate"] {
        assert_eq!(count(name), 0, "{name} ends here");
    }
    for (name, value) in fields {
        let token = name == "set-cookie" && value.starts_with(b"ebbtide=");
        assert!(!token, "a server sets the token");
    }
    assert_eq!(
        passed_on(fields.clone()),
        message.passed_on,
        "fields passed on"
    );
}
