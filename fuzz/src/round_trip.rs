//! What is written is what is read: a head that has been through Ebbtide once goes through it
//! again (as it does when one Ebbtide stands before another) without a change that matters.

use crate::understood::{LIMITS, forwarding};
use ebbtide_protocol::http1::{
    Framing, Limits, Parsed, RequestHead, ResponseEdit, ResponseHead, Version, parse_request,
    parse_response, write_request, write_response,
};

/// Each passage adds to the head, and that must not be what fails here.
const ROOMY: Limits = Limits {
    head_bytes: 1 << 20,
    fields: 1000,
};

/// A head: of a response when it begins as one, otherwise of a request.
pub fn round_trip(input: &[u8]) {
    match input.starts_with(b"HTTP/") {
        true => response(input),
        false => request(input),
    }
}

fn request(input: &[u8]) {
    let mut head = RequestHead::default();
    if parse_request(input, &LIMITS, &mut head) != Ok(Parsed::Complete) {
        return;
    }
    let mut first = Vec::new();
    write_request(&mut first, input, &head, &forwarding(&head));
    let again = read_request(&first);
    assert_eq!(again.method.of(&first), head.method.of(input), "method");
    assert_eq!(again.framing, head.framing, "framing");
    assert_eq!(again.expect_continue, head.expect_continue, "Expect");
    let upgrade = head.upgrade.map(|span| span.of(input));
    assert_eq!(again.upgrade.map(|span| span.of(&first)), upgrade);
    let authority = head.authority.map_or(&b""[..], |span| span.of(input));
    assert_eq!(again.authority.map(|span| span.of(&first)), Some(authority));
    assert!(again.keep_alive, "the connection to the server is kept");

    let mut second = Vec::new();
    write_request(&mut second, &first, &again, &forwarding(&again));
    let mut third = Vec::new();
    let twice = read_request(&second);
    write_request(&mut third, &second, &twice, &forwarding(&twice));
    assert_eq!(without_traces(&first), without_traces(&second));
    assert_eq!(without_traces(&second), without_traces(&third));
    for (before, after) in [(&first, &second), (&second, &third)] {
        let longer = [&forwarded_for(before)[..], b", ::1"].concat();
        assert_eq!(forwarded_for(after), longer, "X-Forwarded-For");
        assert_eq!(vias(after), vias(before) + 1, "Via");
    }
}

fn read_request(bytes: &[u8]) -> RequestHead {
    let mut head = RequestHead::default();
    let verdict = parse_request(bytes, &ROOMY, &mut head);
    assert_eq!(verdict, Ok(Parsed::Complete), "what we wrote");
    assert_eq!(head.head_bytes, bytes.len(), "a head ends within itself");
    assert_eq!(head.version, Version::Http11);
    head
}

fn response(input: &[u8]) {
    for to_head in [false, true] {
        let mut head = ResponseHead::default();
        if parse_response(input, &LIMITS, to_head, &mut head) != Ok(Parsed::Complete) {
            return;
        }
        if head.status < 200 && head.status != 101 {
            return;
        }
        let (first, framing) = written(input, &head, to_head);
        let again = read_response(&first, to_head);
        assert_eq!(again.status, head.status);
        assert_eq!(again.framing, framing, "framing");
        assert_eq!(again.upgrade, head.upgrade, "upgrade");
        assert_eq!(again.reason.of(&first), head.reason.of(input), "reason");
        let (second, framing) = written(&first, &again, to_head);
        assert_eq!(framing, again.framing);
        assert_eq!(without_traces(&second), without_traces(&first));
        assert_eq!(vias(&second), vias(&first) + 1, "Via");
    }
}

fn written(buf: &[u8], head: &ResponseHead, to_head: bool) -> (Vec<u8>, Framing) {
    let edit = ResponseEdit {
        client_version: Version::Http11,
        close: false,
        set_cookie: None,
        token_cookie: b"ebbtide",
        via: "ebbtide",
        extra: &[],
        request_is_head: to_head,
    };
    let mut out = Vec::new();
    let framing = write_response(&mut out, buf, head, &edit);
    (out, framing)
}

fn read_response(bytes: &[u8], to_head: bool) -> ResponseHead {
    let mut head = ResponseHead::default();
    let verdict = parse_response(bytes, &ROOMY, to_head, &mut head);
    assert_eq!(verdict, Ok(Parsed::Complete), "what we wrote");
    assert_eq!(head.head_bytes, bytes.len(), "a head ends within itself");
    head
}

fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    head.split_inclusive(|byte| *byte == b'\n')
}

fn has_name(line: &[u8], name: &[u8]) -> bool {
    line.get(..name.len())
        .is_some_and(|front| front.eq_ignore_ascii_case(name))
}

/// The head without the fields that each passage adds to. An empty `X-Forwarded-Host` comes with
/// the empty `Host` that a request without one is given.
fn without_traces(head: &[u8]) -> Vec<u8> {
    let stays = |line: &&[u8]| {
        !has_name(line, b"via:")
            && !has_name(line, b"x-forwarded-for:")
            && *line != b"X-Forwarded-Host: \r\n"
    };
    lines(head).filter(stays).flatten().copied().collect()
}

fn vias(head: &[u8]) -> usize {
    lines(head).filter(|line| has_name(line, b"via:")).count()
}

fn forwarded_for(head: &[u8]) -> Vec<u8> {
    let found: Vec<&[u8]> = lines(head)
        .filter(|line| has_name(line, b"x-forwarded-for:"))
        .collect();
    assert_eq!(found.len(), 1, "one X-Forwarded-For");
    found[0][..found[0].len() - 2].to_vec()
}
