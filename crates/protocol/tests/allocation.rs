//! The hot path allocates nothing once its buffers have grown: memory that is asked for on every
//! request is paid for on every request.

use std::net::{IpAddr, Ipv4Addr};

use ebbtide_protocol::http1::{
    BodyDecoder, BodyStep, Forwarding, Framing, Limits, Parsed, RequestHead, ResponseEdit,
    ResponseHead, Version, cookie, parse_request, parse_response, write_chunk_head,
    write_last_chunk, write_request, write_response,
};
use ebbtide_protocol::token::{Token, TokenKeys};

const REQUEST: &[u8] = b"POST /a/b?c=d HTTP/1.1\r\nHost: example.com:8080\r\n\
    Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nCookie: a=1; ebbtide=xyz; b=2\r\n\
    X-Forwarded-For: 10.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n\
    5;ext=1\r\nhello\r\n0\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nSet-Cookie: ebbtide=x\r\n\
    Connection: X-Hop\r\nKeep-Alive: timeout=5\r\nContent-Length: 5\r\n\r\nhello";

#[derive(Default)]
struct Buffers {
    request: RequestHead,
    response: ResponseHead,
    out: Vec<u8>,
}

fn one_request(buffers: &mut Buffers) {
    let limits = Limits::default();
    let keys = TokenKeys {
        current: [1; 32],
        previous: None,
    };
    let out = &mut buffers.out;
    out.clear();

    let head = &mut buffers.request;
    assert_eq!(
        parse_request(&REQUEST[..50], &limits, head),
        Ok(Parsed::Partial)
    );
    assert_eq!(parse_request(REQUEST, &limits, head), Ok(Parsed::Complete));
    for value in cookie(REQUEST, head, b"ebbtide") {
        assert!(Token::decode(value, &keys, 1).is_err());
    }
    let forwarding = Forwarding {
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        proto: "http",
        trusts_client: false,
        via: "ebbtide",
        token_cookie: b"ebbtide",
        door_cookies: b"",
        keep_alive_upstream: true,
        tunnel: false,
        expect_continue: false,
        extra: &[],
    };
    write_request(out, REQUEST, head, &forwarding);
    copy_body(out, &REQUEST[head.head_bytes..], head.framing);

    let head = &mut buffers.response;
    assert_eq!(
        parse_response(RESPONSE, &limits, false, head),
        Ok(Parsed::Complete)
    );
    let edit = ResponseEdit {
        client_version: Version::Http11,
        close: false,
        set_cookie: Some(b"ebbtide=y"),
        token_cookie: b"ebbtide",
        via: "ebbtide",
        extra: &[("X-Extra", b"1")],
        request_is_head: false,
    };
    write_response(out, RESPONSE, head, &edit);
    copy_body(out, &RESPONSE[head.head_bytes..], head.framing);
    let token = Token {
        pool: 1,
        server: 2,
        epoch: 3,
        session: 4,
        started_s: 5,
        renewed_s: 6,
    };
    token.encode(&keys, out);
}

fn copy_body(out: &mut Vec<u8>, mut input: &[u8], framing: Framing) {
    let mut decoder = BodyDecoder::new(framing);
    while let Ok(BodyStep::Data { skip, data }) = decoder.decode(input) {
        write_chunk_head(out, data);
        out.extend_from_slice(&input[skip..skip + data]);
        input = &input[skip + data..];
    }
    assert!(decoder.is_done());
    write_last_chunk(out, decoder.trailers());
}

#[test]
fn nothing_is_allocated_for_a_request() {
    let mut buffers = Buffers::default();
    one_request(&mut buffers);
    let counted = allocation_counter::measure(|| one_request(&mut buffers));
    assert_eq!(counted.count_total, 0);
}
