use super::*;
use proptest::prelude::*;

fn ends(source: &str, destination: &str) -> Option<Endpoints> {
    Some(Endpoints {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    })
}

fn header(bytes: &[u8]) -> Header {
    match parse(bytes) {
        Ok(Parsed::Header(header)) => header,
        other => panic!("{} is {other:?}", bytes.escape_ascii()),
    }
}

/// A binary header with this in its 13th and 14th byte and this body.
fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16).to_be_bytes();
    [V2_START, &[command, family], &length, body].concat()
}

const V4_BODY: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0, 23];

#[test]
fn lines_are_read() {
    for (line, expected) in [
        (
            "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443",
            ends("192.168.0.1:56324", "192.168.0.11:443"),
        ),
        (
            "PROXY TCP6 2001:db8::1 ::1 0 65535",
            ends("[2001:db8::1]:0", "[::1]:65535"),
        ),
        (
            "PROXY TCP6 ::ffff:192.0.2.1 2001:DB8::2 1 2",
            ends("192.0.2.1:1", "[2001:db8::2]:2"),
        ),
        ("PROXY UNKNOWN", None),
        ("PROXY UNKNOWN ", None),
        ("PROXY UNKNOWN ffff::1 \u{e9} what ever", None),
    ] {
        let bytes = format!("{line}\r\n");
        let expected = Header {
            version: Version::V1,
            bytes: bytes.len(),
            endpoints: expected,
        };
        assert_eq!(header(bytes.as_bytes()), expected);
        assert_eq!(header(format!("{bytes}GET /").as_bytes()), expected);
    }
}

#[test]
fn lines_of_exactly_the_limit_are_read() {
    let line = |bytes: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(bytes - 16));
    assert_eq!(line(LINE_BYTES_MAX).len(), LINE_BYTES_MAX);
    assert_eq!(
        header(line(LINE_BYTES_MAX).as_bytes()).bytes,
        LINE_BYTES_MAX
    );
    let longer = line(LINE_BYTES_MAX + 1);
    for end in LINE_BYTES_MAX..=longer.len() {
        let refused = parse(&longer.as_bytes()[..end]);
        assert_eq!(refused, Err(Malformed::LineTooLong), "{end}");
    }
}

#[test]
fn wrong_lines_are_refused() {
    for (line, reason) in [
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", Malformed::BadLineEnd),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\rx", Malformed::BadLineEnd),
        ("PROXY UNKNOWN \r\r\n", Malformed::BadLineEnd),
        ("PROXY \r\n", Malformed::BadProtocol),
        (
            "PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
            Malformed::BadProtocol,
        ),
        ("PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n", Malformed::BadProtocol),
        ("PROXY tcp4 1.2.3.4 5.6.7.8 1 2\r\n", Malformed::BadProtocol),
        ("PROXY UNKNOWNX\r\n", Malformed::BadProtocol),
        ("PROXY TCP4\r\n", Malformed::BadAddresses),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", Malformed::BadAddresses),
        (
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n",
            Malformed::BadAddresses,
        ),
        (
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
            Malformed::BadAddresses,
        ),
        (
            "PROXY TCP4 1.2.3.4  5.6.7.8 1 2\r\n",
            Malformed::BadAddresses,
        ),
        (
            "PROXY TCP4 1.2.3.04 5.6.7.8 1 2\r\n",
            Malformed::BadAddresses,
        ),
        (
            "PROXY TCP4 1.2.3.256 5.6.7.8 1 2\r\n",
            Malformed::BadAddresses,
        ),
        ("PROXY TCP4 ::1 ::2 1 2\r\n", Malformed::BadAddresses),
        (
            "PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
            Malformed::BadAddresses,
        ),
        ("PROXY TCP6 fe80::1%lo ::2 1 2\r\n", Malformed::BadAddresses),
        (
            "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
            Malformed::BadAddresses,
        ),
        (
            "PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
            Malformed::BadAddresses,
        ),
        (
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
            Malformed::BadAddresses,
        ),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 \r\n", Malformed::BadAddresses),
    ] {
        assert_eq!(parse(line.as_bytes()), Err(reason), "{line:?}");
    }
}

#[test]
fn binary_headers_are_read() {
    let tcp = ends("192.0.2.7:12345", "10.0.0.1:23");
    let extended = |extension: &[u8]| [&V4_BODY, extension].concat();
    for (bytes, expected) in [
        (v2(V2_PROXY, TCP_OVER_V4, &V4_BODY), tcp),
        (
            v2(V2_PROXY, TCP_OVER_V4, &extended(&[4, 0, 0, 0xe0, 0, 1, 9])),
            tcp,
        ),
        (v2(V2_LOCAL, 0, &[]), None),
        // The family and all that follows are ignored.
        (v2(V2_LOCAL, 0xff, &[1, 2, 3]), None),
        (v2(V2_PROXY, 0x00, &[]), None),
        (v2(V2_PROXY, 0x01, &[3, 0]), None),
        (v2(V2_PROXY, 0x12, &V4_BODY), None),
        (v2(V2_PROXY, 0x31, &[b'/'; 216]), None),
        (v2(V2_PROXY, 0x22, &[0; V2_BODY_BYTES_MAX]), None),
    ] {
        assert_eq!(header(&bytes).endpoints, expected, "{bytes:?}");
        assert_eq!(header(&bytes).version, Version::V2);
        assert_eq!(header(&[&bytes, &b"more"[..]].concat()).bytes, bytes.len());
    }
}

#[test]
fn wrong_binary_headers_are_refused() {
    let extended = |extension: &[u8]| {
        let body = [&V4_BODY, extension].concat();
        v2(V2_PROXY, TCP_OVER_V4, &body)
    };
    for (bytes, reason) in [
        (v2(0x11, 0x11, &V4_BODY), Malformed::BadVersion),
        (v2(0x22, 0x11, &V4_BODY), Malformed::BadCommand),
        (v2(V2_PROXY, 0x41, &V4_BODY), Malformed::BadFamily),
        (v2(V2_PROXY, 0x13, &V4_BODY), Malformed::BadFamily),
        (v2(V2_PROXY, 0x11, &V4_BODY[..11]), Malformed::BodyTooShort),
        (v2(V2_PROXY, 0x21, &[0; 35]), Malformed::BodyTooShort),
        (
            v2(V2_LOCAL, 0, &[0; V2_BODY_BYTES_MAX + 1]),
            Malformed::BodyTooLong,
        ),
        (extended(&[4]), Malformed::BadExtension),
        (extended(&[4, 0]), Malformed::BadExtension),
        (extended(&[4, 0, 1]), Malformed::BadExtension),
        (extended(&[3, 0, 3, 0, 0, 0]), Malformed::BadExtension),
        (extended(&[3, 0, 4, 0, 0, 0, 0]), Malformed::BadChecksum),
    ] {
        assert_eq!(parse(&bytes), Err(reason), "{bytes:?}");
    }
    // What is wrong in the head is refused before the rest has come.
    assert_eq!(parse(&v2(0x11, 0, &[])[..13]), Err(Malformed::BadVersion));
    let head = &v2(V2_PROXY, 0x11, &[0; 9000])[..16];
    assert_eq!(parse(head), Err(Malformed::BodyTooLong));
}

#[test]
fn a_right_checksum_is_accepted_and_a_flipped_bit_is_not() {
    assert_eq!(crc32c(b"123456789".iter()), 0xe306_9283);
    let body = [&V4_BODY, &[4, 0, 1, 7, 3, 0, 4, 0, 0, 0, 0, 4, 0, 0][..]].concat();
    let mut bytes = v2(V2_PROXY, TCP_OVER_V4, &body);
    let checksum = crc32c(bytes.iter()).to_be_bytes();
    let at = bytes.len() - 7;
    bytes[at..at + 4].copy_from_slice(&checksum);
    assert_eq!(header(&bytes).bytes, bytes.len());
    for byte in [16, 20, 26, 31, at, at + 3] {
        bytes[byte] ^= 4;
        assert_eq!(parse(&bytes), Err(Malformed::BadChecksum), "{byte}");
        bytes[byte] ^= 4;
    }
}

#[test]
fn other_protocols_are_no_headers() {
    for start in [
        "GET / HTTP/1.1\r\n",
        "PROXY\r\n",
        "proxy TCP4",
        "\r\n\r\nQ",
        "\0",
        "PROXYING",
    ] {
        assert_eq!(parse(start.as_bytes()), Ok(Parsed::Absent), "{start:?}");
    }
    for start in ["", "P", "PROXY", "\r\n\r\n", "\r\n\r\n\0\r\nQUIT"] {
        assert_eq!(parse(start.as_bytes()), Ok(Parsed::NeedMore), "{start:?}");
    }
}

fn address() -> impl Strategy<Value = SocketAddr> {
    let v4 = any::<[u8; 4]>().prop_map(IpAddr::from);
    let v6 = any::<[u8; 16]>().prop_map(IpAddr::from);
    let mapped = any::<[u8; 4]>().prop_map(|ip| IpAddr::V6(Ipv4Addr::from(ip).to_ipv6_mapped()));
    (prop_oneof![v4, v6, mapped], any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

proptest! {
    /// What is written is read as what it was written from, and only when it is whole.
    #[test]
    fn what_is_written_is_read(
        endpoints in prop::option::of((address(), address())),
        version in prop_oneof![Just(Version::V1), Just(Version::V2)],
    ) {
        let endpoints = endpoints.map(|(source, destination)| Endpoints { source, destination });
        let mut bytes = Vec::new();
        write(&mut bytes, version, endpoints.as_ref());
        prop_assert!(version == Version::V2 || bytes.len() <= LINE_BYTES_MAX);
        let canonical = |address: SocketAddr| {
            SocketAddr::new(address.ip().to_canonical(), address.port())
        };
        let endpoints = endpoints.map(|ends| Endpoints {
            source: canonical(ends.source),
            destination: canonical(ends.destination),
        });
        let whole = Header { version, bytes: bytes.len(), endpoints };
        for end in 0..bytes.len() {
            prop_assert_eq!(parse(&bytes[..end]), Ok(Parsed::NeedMore));
        }
        prop_assert_eq!(parse(&bytes), Ok(Parsed::Header(whole)));
    }

    /// More bytes complete an answer and never change it.
    #[test]
    fn an_answer_is_final(
        start in prop::sample::select(vec![
            &b""[..],
            b"PROXY ",
            b"PROXY TCP4 1.2.3.4 ",
            b"PROXY UNKNOWN",
            V2_START,
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x20",
        ]),
        rest in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"\r\n 0123".to_vec())], 0..140),
    ) {
        let bytes = [start, &rest].concat();
        let mut last = Ok(Parsed::NeedMore);
        for end in 0..=bytes.len() {
            let now = parse(&bytes[..end]);
            prop_assert!(last == Ok(Parsed::NeedMore) || now == last);
            last = now;
        }
    }
}
