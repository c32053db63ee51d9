//! Classics of request smuggling, over real sockets and through the whole program. The codec has
//! its own corpus; what is shown here is that nothing gets past it.

use crate::harness::{Ebbtide, LIMIT, Setup, models};
use ebbtide_testkit::{Scratch, Wire, processed};

/// A request that must never arrive: it hides behind or within another.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: a\r\nX-Request: smuggled\r\n\r\n";

/// What stands before the hidden request: framing that two readers could read in two ways.
const ATTACKS: &[(&str, &str)] = &[
    (
        "CL and TE",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 54\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE and CL",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 54\r\n\r\n0\r\n\r\n",
    ),
    (
        "two lengths",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 54\r\n\r\n",
    ),
    (
        "a list of lengths",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 54\r\n\r\n",
    ),
    (
        "a signed length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n",
    ),
    (
        "a hexadecimal length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x0\r\n\r\n",
    ),
    (
        "CL with space before the colon",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 0\r\n\r\n",
    ),
    (
        "TE with space before the colon",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE not chunked",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
    ),
    (
        "TE chunked twice",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE with a vertical tab",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "two TEs",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    ),
    (
        "a folded TE",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "a folded field",
        "POST / HTTP/1.1\r\nHost: a\r\nX: a\r\n Content-Length: 5\r\n\r\n",
    ),
    ("bare LF", "GET / HTTP/1.1\nHost: a\nX: y\n\n"),
    (
        "bare LF in a field",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\nX-Request: smuggled\r\n\r\n",
    ),
    (
        "bare CR in a field",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\rX-Request: smuggled\r\n\r\n",
    ),
    (
        "NUL in a field",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\0z\r\n\r\n",
    ),
    (
        "HTTP/1.0 with TE",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "an empty field name",
        "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
    ),
    ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("no host", "GET / HTTP/1.1\r\nX: y\r\n\r\n"),
    (
        "space in the target",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
];

#[test]
fn what_is_ambiguous_is_refused_and_the_connection_closed() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    for (name, bytes) in ATTACKS {
        let mut wire = Wire::connect(ebbtide.address, LIMIT).unwrap();
        wire.send(format!("{bytes}{HIDDEN}").as_bytes()).unwrap();
        let head = wire
            .read_head()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let head = head.unwrap_or_else(|| panic!("{name}: closed without an answer"));
        assert_eq!(head.status(), 400, "{name}");
        assert!(head.has_token("connection", "close"), "{name}: {head:?}");
        let framing = head.framing().unwrap_or_else(|| panic!("{name}: {head:?}"));
        wire.read_body(framing, &mut Vec::new()).unwrap();
        let rest = wire.read_to_end().unwrap_or_default();
        assert_eq!(rest, b"", "{name}: a second answer");
    }
    assert_eq!(
        processed(&scratch.join("ledger")),
        Vec::<[String; 4]>::new()
    );
}

#[test]
fn broken_chunks_never_become_a_request() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (name, body) in [
        ("a size with a sign", "+0\r\n\r\n"),
        ("a size with 0x", "0x0\r\n\r\n"),
        ("a size that overflows", "10000000000000000\r\n\r\n"),
        ("an empty size", "\r\n\r\n"),
        ("LF after the size", "0\n\r\n"),
        ("no CRLF after the data", "1\r\nab0\r\n\r\n"),
        ("LF after the data", "1\r\na\n0\r\n\r\n"),
        ("a space before the extension", "0 ;x=\"\n\"\r\n\r\n"),
    ] {
        let mut wire = Wire::connect(ebbtide.address, LIMIT).unwrap();
        wire.send(format!("{head}{body}{HIDDEN}").as_bytes())
            .unwrap();
        let answer = wire
            .read_head()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let answer = answer.unwrap_or_else(|| panic!("{name}: closed without an answer"));
        assert_eq!(answer.status(), 400, "{name}");
    }
    let arrived = processed(&scratch.join("ledger"));
    assert!(
        arrived.iter().all(|[_, id, ..]| id != "smuggled"),
        "{arrived:?}"
    );
}

#[test]
fn fields_that_shadow_framing_or_identity_do_not_arrive() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let mut wire = Wire::connect(ebbtide.address, LIMIT).unwrap();
    let ask = "GET /fields HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Secret\r\n\
               X-Secret: dropped\r\nContent_Length: 5\r\nTransfer_Encoding: chunked\r\n\
               Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\n\
               X-Forwarded-For: 6.6.6.6\r\nX-Kept: yes\r\n\r\n";
    wire.send(ask.as_bytes()).unwrap();
    let head = wire.read_head().unwrap().unwrap();
    let mut body = Vec::new();
    wire.read_body(head.framing().unwrap(), &mut body).unwrap();
    let fields = String::from_utf8(body).unwrap();
    for gone in [
        "x-secret",
        "content_length",
        "transfer_encoding",
        "keep-alive",
        "proxy-connection",
    ] {
        assert!(!fields.contains(gone), "{gone} in {fields}");
    }
    assert!(
        fields.contains("x-kept: yes\n") && fields.contains("via: "),
        "{fields}"
    );
    let forwarded = fields
        .lines()
        .find(|line| line.starts_with("x-forwarded-for: "));
    let forwarded = forwarded.unwrap_or_else(|| panic!("{fields}"));
    assert!(forwarded.ends_with("127.0.0.1"), "{fields}");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let mut wire = Wire::connect(ebbtide.address, LIMIT).unwrap();
    let ask = |number: usize| {
        let body = "x".repeat(number);
        format!(
            "POST /slow?ms={} HTTP/1.1\r\nHost: a\r\nX-Request: {number}\r\nContent-Length: {number}\r\n\r\n{body}",
            20 - number
        )
    };
    let all: String = (0..20).map(ask).collect();
    wire.send(all.as_bytes()).unwrap();
    for number in 0..20 {
        let head = wire.read_head().unwrap().unwrap();
        let mut body = Vec::new();
        wire.read_body(head.framing().unwrap(), &mut body).unwrap();
        assert!(
            String::from_utf8(body)
                .unwrap()
                .ends_with(&format!("id={number}\n"))
        );
    }
}
