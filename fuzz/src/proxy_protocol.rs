//! PROXY headers: what is read is what was said, its end is where it ends, and no more is asked for
//! than the longest one has.

use ebbtide_protocol::proxy_protocol::{
    Endpoints, HEADER_BYTES_MAX, Header, LINE_BYTES_MAX, Parsed, Version, parse, write,
};

/// The first bytes of a connection.
pub fn proxy_protocol(input: &[u8]) {
    let whole = parse(input);
    // Each answer but "more" is final, so the first one is that of the whole.
    let prefixes = (0..input.len().min(LINE_BYTES_MAX + 20)).chain([input.len() / 2]);
    for end in prefixes {
        let early = parse(&input[..end.min(input.len())]);
        assert!(early == Ok(Parsed::NeedMore) || early == whole, "{end}");
    }
    match whole {
        Ok(Parsed::NeedMore) => assert!(input.len() < HEADER_BYTES_MAX, "waits for ever"),
        Ok(Parsed::Header(header)) => read(input, header),
        Ok(Parsed::Absent) | Err(_) => {}
    }
}

fn read(input: &[u8], header: Header) {
    let (said, _) = input.split_at(header.bytes);
    assert_eq!(
        parse(said),
        Ok(Parsed::Header(header)),
        "not without what follows"
    );
    assert_eq!(parse(&said[..said.len() - 1]), Ok(Parsed::NeedMore));
    match header.version {
        Version::V1 => by_the_letter(said, header.endpoints),
        Version::V2 => assert!(said.starts_with(b"\r\n\r\n\0\r\nQUIT\n")),
    }
    for version in [Version::V1, Version::V2] {
        let mut again = Vec::new();
        write(&mut again, version, header.endpoints.as_ref());
        let expected = Header {
            version,
            bytes: again.len(),
            endpoints: header.endpoints,
        };
        assert_eq!(parse(&again), Ok(Parsed::Header(expected)));
    }
}

/// A line, read in the plainest way: split at spaces.
fn by_the_letter(said: &[u8], endpoints: Option<Endpoints>) {
    assert!(said.len() <= LINE_BYTES_MAX);
    let line = said.strip_suffix(b"\r\n").expect("a line ends like one");
    assert!(!line.contains(&b'\r') && !line.contains(&b'\n'));
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    assert_eq!(words[0], b"PROXY");
    let Some(endpoints) = endpoints else {
        return assert_eq!(words[1], b"UNKNOWN");
    };
    assert_eq!(words.len(), 6);
    let text = |index: usize| std::str::from_utf8(words[index]).expect("ASCII");
    let family = text(1);
    assert!(matches!(family, "TCP4" | "TCP6"), "{family}");
    for (address, port, told) in [
        (text(2), text(4), endpoints.source),
        (text(3), text(5), endpoints.destination),
    ] {
        let address: std::net::IpAddr = address.parse().expect("an address");
        assert_eq!(address.is_ipv4(), family == "TCP4");
        assert_eq!(address.to_canonical(), told.ip());
        assert_eq!(port, told.port().to_string());
    }
}
