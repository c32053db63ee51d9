//! The first reading: ours. What Ebbtide makes of a connection, and what it would send on.

use crate::letter;
use crate::second::{Fields, sorted};
use ebbtide_protocol::http1::{
    BodyDecoder, BodyStep, Field, Forwarding, Framing, Limits, Parsed, Reject, RequestHead,
    parse_request, write_chunk_head, write_last_chunk, write_request,
};
use std::net::{IpAddr, Ipv6Addr};

/// The name of the token cookie.
pub const COOKIE: &str = "ebbtide";

/// The limits that are Ebbtide's own by default.
pub const LIMITS: Limits = Limits {
    head_bytes: 32 * 1024,
    fields: 100,
};

/// What a body was found to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The message ends here.
    Found,
    /// It is sound so far, and goes on.
    Waiting,
    /// It was refused somewhere in its body.
    Refused(Reject),
}

/// A body, decoded.
#[derive(Clone, Debug)]
pub struct Body {
    pub content: Vec<u8>,
    pub trailers: Fields,
    /// Bytes that it took of the connection.
    pub taken: usize,
    pub ending: Ending,
    /// As it would be sent on, framed anew.
    pub forwarded: Vec<u8>,
}

/// Decodes a body that is all there, and frames it anew as the data plane does.
pub fn read_body(bytes: &[u8], source: Framing, sink: Framing) -> Body {
    let body = decode(bytes, source, sink);
    if source == Framing::Chunked && !matches!(body.ending, Ending::Refused(_)) {
        let end = (body.ending == Ending::Found).then_some(body.taken);
        let found = Ok((body.content.clone(), end));
        assert_eq!(letter::read_chunked(bytes), found, "by the letter");
    }
    body
}

fn decode(bytes: &[u8], source: Framing, sink: Framing) -> Body {
    let mut decoder = BodyDecoder::new(source);
    let mut body = Body {
        content: Vec::new(),
        trailers: Vec::new(),
        taken: 0,
        ending: Ending::Waiting,
        forwarded: Vec::new(),
    };
    loop {
        let input = &bytes[body.taken..];
        match decoder.decode(input) {
            Ok(BodyStep::Data { skip, data }) => {
                assert!(data > 0, "a step with no content and no end");
                let content = &input[skip..skip + data];
                body.content.extend_from_slice(content);
                put_content(&mut body.forwarded, content, sink);
                body.taken += skip + data;
            }
            Ok(BodyStep::More { skip }) => {
                assert_eq!(skip, input.len(), "more is wanted while there is more");
                body.taken += skip;
                return body;
            }
            Ok(BodyStep::Done { skip }) => {
                body.taken += skip;
                body.ending = Ending::Found;
                body.trailers = sorted(decoder.trailers());
                if sink == Framing::Chunked {
                    write_last_chunk(&mut body.forwarded, decoder.trailers());
                }
                return body;
            }
            Err(reject) => {
                body.ending = Ending::Refused(reject);
                return body;
            }
        }
    }
}

fn put_content(out: &mut Vec<u8>, content: &[u8], sink: Framing) {
    if sink == Framing::Chunked {
        write_chunk_head(out, content.len());
    }
    out.extend_from_slice(content);
    if sink == Framing::Chunked {
        out.extend_from_slice(b"\r\n");
    }
}

/// A request as we understand it.
pub struct Message {
    pub method: String,
    /// As it would be sent on.
    pub target: String,
    /// Of the target if it had one, or else of `Host`.
    pub authority: Vec<u8>,
    /// As they came.
    pub fields: Fields,
    /// What the server must see beside what is about this hop.
    pub passed_on: Fields,
    pub framing: Framing,
    pub keep_alive: bool,
    pub body: Body,
    /// One past its last byte in the connection.
    pub end: usize,
    /// The head as it would be sent on.
    pub forwarded_head: Vec<u8>,
}

/// What came after the last request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rest {
    /// Nothing that will ever be looked at: the connection closes or the head was refused.
    Never,
    /// Nothing, or the beginning of something sound.
    Waiting,
}

/// Reads a connection's requests, the last of which may be incomplete, up to `most` of them.
pub fn read_requests(bytes: &[u8], most: usize) -> (Vec<Message>, Rest) {
    let mut messages: Vec<Message> = Vec::new();
    let mut head = RequestHead::default();
    let mut start = 0;
    while messages.len() < most {
        let buf = &bytes[start..];
        match parse_request(buf, &LIMITS, &mut head) {
            Ok(Parsed::Complete) => {}
            Ok(Parsed::Partial) => return (messages, Rest::Waiting),
            Err(_) => return (messages, Rest::Never),
        }
        letter::check_head(&buf[..head.head_bytes], true);
        let message = understand(buf, start, &head);
        let goes_on = message.keep_alive && message.body.ending == Ending::Found;
        start = message.end;
        messages.push(message);
        if !goes_on {
            return (messages, Rest::Never);
        }
    }
    (messages, Rest::Never)
}

fn understand(buf: &[u8], start: usize, head: &RequestHead) -> Message {
    let body = read_body(&buf[head.head_bytes..], head.framing, head.framing);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let method = text(head.method.of(buf));
    let target = match (text(head.target.of(buf)), method.as_str()) {
        (target, "OPTIONS") if target.is_empty() => "*".to_string(),
        (target, _) if target.is_empty() || target.starts_with('?') => format!("/{target}"),
        (target, _) => target,
    };
    let mut forwarded_head = Vec::new();
    write_request(&mut forwarded_head, buf, head, &forwarding(head));
    let pairs = || pairs(buf, &head.fields);
    Message {
        method,
        target,
        authority: head
            .authority
            .map_or(Vec::new(), |span| span.of(buf).to_vec()),
        fields: sorted(pairs()),
        passed_on: passed_on(sorted(pairs())),
        framing: head.framing,
        keep_alive: head.keep_alive,
        end: start + head.head_bytes + body.taken,
        body,
        forwarded_head,
    }
}

/// How requests are sent on here: with all that may be passed on.
pub fn forwarding(head: &RequestHead) -> Forwarding<'static> {
    Forwarding {
        client: IpAddr::V6(Ipv6Addr::LOCALHOST),
        proto: "https",
        trusts_client: false,
        via: "ebbtide",
        token_cookie: COOKIE.as_bytes(),
        door_cookies: b"",
        keep_alive_upstream: true,
        tunnel: true,
        expect_continue: head.expect_continue,
        extra: &[],
    }
}

/// Names and values.
pub fn pairs<'a>(buf: &'a [u8], fields: &'a [Field]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    fields
        .iter()
        .map(|field| (field.name.of(buf), field.value.of(buf)))
}

/// Names, with `-` for `_`, that are about one hop, or that Ebbtide writes itself.
const OF_THE_HOP: [&str; 13] = [
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// The same, and `X-Forwarded-*`, `Cookie` and `Via`, which are looked at one by one.
fn is_judged_apart(name: &str) -> bool {
    let name = name.replace('_', "-");
    OF_THE_HOP.contains(&name.as_str())
        || name == "cookie"
        || name == "set-cookie"
        || name == "via"
        || name.starts_with("x-forwarded-")
}

/// The fields that must get through unchanged: a second statement of the rule that is in
/// `ebbtide_protocol`, so that a mistake has to be made twice.
pub fn passed_on(fields: Fields) -> Fields {
    let options: Vec<String> = fields
        .iter()
        .filter(|(name, _)| name == "connection")
        .flat_map(|(_, value)| value.split(|byte| *byte == b','))
        .map(|option| String::from_utf8_lossy(option).to_ascii_lowercase())
        .map(|option| option.trim_matches([' ', '\t']).to_string())
        // These are said of the connection itself, and name no field.
        .filter(|option| !["close", "keep-alive", "upgrade"].contains(&option.as_str()))
        .collect();
    let mut fields = fields;
    fields.retain(|(name, _)| !is_judged_apart(name) && !options.contains(name));
    fields
}
