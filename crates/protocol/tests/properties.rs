//! What holds for every input, tried with many.

// Helpers of tests are tests.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv6Addr};

use ebbtide_protocol::health::{HealthRule, read_health_page};
use ebbtide_protocol::http1::{
    BodyDecoder, BodyStep, Field, Forwarding, Framing, Limits, Parsed, Reject, RequestHead,
    ResponseEdit, ResponseHead, Version, parse_request, parse_response, write_chunk_head,
    write_last_chunk, write_request, write_response,
};
use ebbtide_protocol::token::{Token, TokenKeys};
use proptest::prelude::*;

/// A head made of fields that matter and, now and then, of what breaks heads: often right, and
/// otherwise nearly so.
fn nearly_http(starts: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let text = |texts: &'static [&'static str]| {
        prop::sample::select(texts).prop_map(|text| text.as_bytes().to_vec())
    };
    let piece = prop_oneof![
        30 => text(FIELDS),
        2 => text(FRAGMENTS),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    let ends: &[&str] = &[
        "\r\n",
        "\r\nX: y\r\n\r\n",
        "\r\nGET /2 HTTP/1.1\r\n",
        "\n",
        "",
    ];
    (text(starts), prop::collection::vec(piece, 0..6), text(ends))
        .prop_map(|(start, pieces, end)| [start, pieces.concat(), end].concat())
}

const REQUESTS: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\n",
    "\r\nPOST /x?y HTTP/1.1\r\nHost: [::1]:80\r\n",
    "OPTIONS http://b HTTP/1.1\r\nHost: a\r\n",
    "GET http://b?c HTTP/1.0\r\n",
    "GET http://b/c HTTP/1.1\r\n",
    "GET / HTTP/1.1",
];

const RESPONSES: &[&str] = &[
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.0 200\r\n",
    "HTTP/1.1 304 \r\n",
    "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n",
    "HTTP/1.1 ",
];

const FIELDS: &[&str] = &[
    "Content-Length: 5\r\n",
    "content_length: 7\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive, x-a, upgrade\r\n",
    "Upgrade: websocket\r\n",
    "Expect: 100-continue\r\n",
    "X-A: b\r\n",
    "X-Forwarded-For: 10.0.0.1\r\n",
    "X-Forwarded-Proto:\t\r\n",
    "Cookie: a=1; ebbtide=x;b\r\n",
    "Set-Cookie: ebbtide=x\r\n",
    "Via: 1.0 x\r\n",
    "Keep-Alive: timeout=5\r\n",
];

const FRAGMENTS: &[&str] = &[
    "\r\n",
    "\r",
    "\n",
    " ",
    "\t",
    ":",
    ";",
    "Host: b\r\n",
    "X: y",
];

const LIMITS: Limits = Limits {
    head_bytes: 150,
    fields: 6,
};

fn forwarding() -> Forwarding<'static> {
    Forwarding {
        client: IpAddr::V6(Ipv6Addr::LOCALHOST),
        proto: "https",
        trusts_client: false,
        via: "ebbtide",
        token_cookie: b"ebbtide",
        door_cookies: b"",
        keep_alive_upstream: true,
        tunnel: true,
        expect_continue: false,
        extra: &[],
    }
}

fn named<'a>(buf: &'a [u8], fields: &[Field], name: &str) -> Vec<&'a [u8]> {
    let same = |field: &&Field| field.name.of(buf).eq_ignore_ascii_case(name.as_bytes());
    let found = fields.iter().filter(same);
    found.map(|field| field.value.of(buf)).collect()
}

/// The whole of a body, cut into pieces of these sizes (again and again): its content, and the
/// bytes that it took, or why it was refused.
fn decode_in_pieces(
    body: &[u8],
    framing: Framing,
    sizes: &[usize],
) -> Result<(Vec<u8>, usize, bool), Reject> {
    let mut decoder = BodyDecoder::new(framing);
    let mut content = Vec::new();
    let (mut at, mut arrived) = (0, 0);
    let mut sizes = sizes.iter().cycle();
    loop {
        match decoder.decode(&body[at..arrived])? {
            BodyStep::Data { skip, data } => {
                assert!(data > 0);
                content.extend_from_slice(&body[at + skip..at + skip + data]);
                at += skip + data;
            }
            BodyStep::More { skip } => {
                at += skip;
                assert_eq!(at, arrived);
                if arrived == body.len() {
                    return Ok((content, at, decoder.is_done()));
                }
                arrived = body.len().min(arrived + sizes.next().unwrap());
            }
            BodyStep::Done { skip } => return Ok((content, at + skip, true)),
        }
    }
}

/// Some parts as a chunked body, with a trailer.
fn chunked(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut body = Vec::new();
    for part in parts.iter().filter(|part| !part.is_empty()) {
        write_chunk_head(&mut body, part.len());
        body.extend_from_slice(part);
        body.extend_from_slice(b"\r\n");
    }
    write_last_chunk(&mut body, [(&b"X-Sum"[..], &b"1"[..])]);
    body
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_anything_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), status in any::<u16>()) {
        let keys = TokenKeys { current: [1; 32], previous: None };
        let rule = HealthRule { status: vec![(0, u16::MAX)], expect: Some("ACTIVE".to_string()) };
        let _ = parse_request(&bytes, &LIMITS, &mut RequestHead::default());
        let _ = parse_response(&bytes, &LIMITS, false, &mut ResponseHead::default());
        let _ = decode_in_pieces(&bytes, Framing::Chunked, &[3]);
        let _ = Token::decode(&bytes, &keys, 1);
        let _ = read_health_page(status, &bytes, &rule);
    }

    #[test]
    fn a_request_in_pieces_gets_the_same_verdict(bytes in nearly_http(REQUESTS)) {
        let mut whole = RequestHead::default();
        let verdict = parse_request(&bytes, &LIMITS, &mut whole);
        let mut pieces = RequestHead::default();
        let mut last = Ok(Parsed::Partial);
        for end in 0..=bytes.len() {
            last = parse_request(&bytes[..end], &LIMITS, &mut pieces);
            if last != Ok(Parsed::Partial) {
                break;
            }
        }
        prop_assert_eq!(last, verdict);
        if verdict == Ok(Parsed::Complete) {
            prop_assert_eq!(format!("{whole:?}"), format!("{pieces:?}"));
        }
    }

    #[test]
    fn a_response_in_pieces_gets_the_same_verdict(bytes in nearly_http(RESPONSES), to_head in any::<bool>()) {
        let mut head = ResponseHead::default();
        let verdict = parse_response(&bytes, &LIMITS, to_head, &mut head);
        let verdicts = (0..=bytes.len()).map(|end| parse_response(&bytes[..end], &LIMITS, to_head, &mut head));
        let first = verdicts.into_iter().find(|verdict| *verdict != Ok(Parsed::Partial));
        prop_assert_eq!(first.unwrap_or(Ok(Parsed::Partial)), verdict);
    }

    /// Another parser, which forgives more, finds the same parts in whatever is accepted here.
    #[test]
    fn a_second_opinion_agrees(bytes in nearly_http(REQUESTS)) {
        let mut head = RequestHead::default();
        if parse_request(&bytes, &LIMITS, &mut head) != Ok(Parsed::Complete) {
            return Ok(());
        }
        let mut headers = [httparse::EMPTY_HEADER; 8];
        let mut second = httparse::Request::new(&mut headers);
        let length = second.parse(&bytes).unwrap();
        prop_assert_eq!(length, httparse::Status::Complete(head.head_bytes));
        prop_assert_eq!(second.method.unwrap().as_bytes(), head.method.of(&bytes));
        prop_assert_eq!(second.version, Some(u8::from(head.version == Version::Http11)));
        prop_assert!(second.path.unwrap().as_bytes().ends_with(head.target.of(&bytes)));
        prop_assert_eq!(second.headers.len(), head.fields.len());
        for (theirs, ours) in second.headers.iter().zip(&head.fields) {
            prop_assert_eq!(theirs.name.as_bytes(), ours.name.of(&bytes));
            prop_assert_eq!(theirs.value, ours.value.of(&bytes));
        }
    }

    #[test]
    fn a_forwarded_request_means_the_same(bytes in nearly_http(REQUESTS)) {
        let mut head = RequestHead::default();
        if parse_request(&bytes, &LIMITS, &mut head) != Ok(Parsed::Complete) {
            return Ok(());
        }
        let mut out = Vec::new();
        write_request(&mut out, &bytes, &head, &forwarding());
        let mut again = RequestHead::default();
        prop_assert_eq!(parse_request(&out, &Limits::default(), &mut again), Ok(Parsed::Complete));
        prop_assert_eq!(again.head_bytes, out.len());
        prop_assert_eq!(again.method.of(&out), head.method.of(&bytes));
        prop_assert!(again.target.of(&out).ends_with(head.target.of(&bytes)));
        prop_assert_eq!(again.framing, head.framing);
        prop_assert_eq!(again.upgrade.map(|span| span.of(&out)), head.upgrade.map(|span| span.of(&bytes)));
        let authority = head.authority.map_or(&b""[..], |span| span.of(&bytes));
        prop_assert_eq!(named(&out, &again.fields, "host"), vec![authority]);
        prop_assert_eq!(named(&out, &again.fields, "x-forwarded-proto"), vec![b"https"]);
        prop_assert!(named(&out, &again.fields, "x-forwarded-for")[0].ends_with(b"::1"));
        prop_assert!(named(&out, &again.fields, "content_length").is_empty());
        prop_assert!(!named(&out, &again.fields, "cookie").iter().any(|value| value.windows(8).any(|part| part == b"ebbtide=")));
    }

    #[test]
    fn a_forwarded_response_means_the_same(bytes in nearly_http(RESPONSES), to_head in any::<bool>(), old in any::<bool>()) {
        let mut head = ResponseHead::default();
        if parse_response(&bytes, &LIMITS, to_head, &mut head) != Ok(Parsed::Complete) {
            return Ok(());
        }
        let client_version = if old { Version::Http10 } else { Version::Http11 };
        let edit = ResponseEdit {
            client_version,
            close: false,
            set_cookie: None,
            token_cookie: b"ebbtide",
            via: "ebbtide",
            extra: &[],
            request_is_head: to_head,
        };
        let mut out = Vec::new();
        let framing = write_response(&mut out, &bytes, &head, &edit);
        let mut again = ResponseHead::default();
        prop_assert_eq!(parse_response(&out, &Limits::default(), to_head, &mut again), Ok(Parsed::Complete));
        prop_assert_eq!(again.head_bytes, out.len());
        prop_assert_eq!(again.status, head.status);
        prop_assert_eq!(again.framing, framing);
        prop_assert_eq!(again.upgrade, head.upgrade);
        prop_assert!(!(old && framing == Framing::Chunked));
        prop_assert!(old || framing != Framing::UntilClose);
        let no_body = to_head || matches!(again.status, 100..=199 | 204 | 304);
        let lengths = named(&out, &again.fields, "content-length");
        let announced = lengths.iter().any(|length| length.iter().any(|digit| *digit != b'0'))
            || !named(&out, &again.fields, "transfer-encoding").is_empty();
        prop_assert_eq!(again.keep_alive, framing != Framing::UntilClose && !(no_body && announced));
        prop_assert!(named(&out, &again.fields, "set-cookie").is_empty());
    }

    #[test]
    fn a_body_in_pieces_is_the_same_body(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
        after in prop::collection::vec(any::<u8>(), 0..10),
        sizes in prop::collection::vec(1usize..20, 1..8),
    ) {
        let body = chunked(&parts);
        let input = [&body[..], &after].concat();
        let found = decode_in_pieces(&input, Framing::Chunked, &sizes);
        prop_assert_eq!(found, Ok((parts.concat(), body.len(), true)));

        let content = parts.concat();
        let input = [&content[..], &after].concat();
        let found = decode_in_pieces(&input, Framing::Length(content.len() as u64), &sizes);
        prop_assert_eq!(found, Ok((content.clone(), content.len(), true)));
    }

    #[test]
    fn a_damaged_body_in_pieces_is_refused_in_the_same_way(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        sizes in prop::collection::vec(1usize..20, 1..8),
    ) {
        let mut body = chunked(&parts);
        let at = at.index(body.len());
        body[at] = byte;
        let whole = decode_in_pieces(&body, Framing::Chunked, &[body.len()]);
        prop_assert_eq!(decode_in_pieces(&body, Framing::Chunked, &sizes), whole);
    }
}
