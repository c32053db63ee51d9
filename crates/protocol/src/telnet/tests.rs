use super::*;
use proptest::prelude::*;

fn place(bytes: &[u8]) -> Place {
    let mut stream = Stream::new();
    stream.pass(bytes);
    stream.place()
}

fn notice(text: &str) -> String {
    let mut bytes = Vec::new();
    write_notice(&mut bytes, text);
    String::from_utf8(bytes).unwrap()
}

#[test]
fn lines_start_after_line_ends() {
    for (bytes, expected) in [
        (&b""[..], Place::LineStart),
        (b"login: ", Place::InLine),
        (b"done\r", Place::Within),
        (b"done\r\n", Place::LineStart),
        (b"done\r\n$ ", Place::InLine),
        (b"done\r\0", Place::InLine),
        (b"done\r\r", Place::Within),
        (b"done\r\r\n", Place::LineStart),
        (b"done\n", Place::InLine),
        (b"done\n\r", Place::Within),
        (b"\r\n\xff\xff", Place::InLine),
        (b"\r\n\xff\xf9", Place::LineStart),
        (b"a\r\xff\xf1\n", Place::LineStart),
        (b"\r\n\xff", Place::Within),
        (b"\r\n\xff\xfd", Place::Within),
        (b"\r\n\xff\xfd\x18", Place::LineStart),
        (b"\r\n\xff\xfa", Place::Within),
        (b"\r\n\xff\xfa\x18\x01", Place::Within),
        (b"\r\n\xff\xfa\x18\xff\xff\xf0\r\n", Place::Within),
        (b"\r\n\xff\xfa\x18\x01\xff\xf0", Place::LineStart),
        (b"$ \xff\xfa\x18\r\n\xff\xf0", Place::InLine),
    ] {
        assert_eq!(place(bytes), expected, "{}", bytes.escape_ascii());
    }
}

#[test]
fn what_is_not_text_gets_no_notice() {
    for (bytes, expected) in [
        // BINARY, on, off, and only in the other direction.
        (&b"\xff\xfb\x00"[..], Place::Screen),
        (b"\xff\xfb\x00a\r\n", Place::Screen),
        (b"\xff\xfb\x00\xff\xfc\x00", Place::LineStart),
        (b"\xff\xfd\x00", Place::LineStart),
        // END-OF-RECORD, asked for, offered, and used.
        (b"\xff\xfd\x19", Place::Screen),
        (b"\xff\xfb\x19", Place::Screen),
        (b"\xff\xfb\x19\xff\xfc\x19", Place::LineStart),
        (b"\xff\xef", Place::Screen),
        // TN3270E, asked for, and no more.
        (b"\xff\xfd\x28", Place::Screen),
        (b"\xff\xfd\x28\xff\xfe\x28", Place::LineStart),
        // Encryption, TLS and compression, which never end.
        (b"\xff\xfa\x26", Place::Opaque),
        (b"\xff\xfa\x2e\x01\xff\xf0\r\n", Place::Opaque),
        (b"\xff\xfb\x56", Place::LineStart),
        (b"\xff\xfa\x56\xff\xf0\r\n", Place::Opaque),
        (b"\xff\xfa\x55\xfb\xf0\r\n\xff\xfc\x00\r\n", Place::Opaque),
    ] {
        assert_eq!(place(bytes), expected, "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_session_with_a_usual_server_has_line_starts() {
    // As telnetd begins: DO TERMINAL-TYPE, TERMINAL-SPEED, X-DISPLAY, NEW-ENVIRON; SEND of each; WILL
    // SUPPRESS-GO-AHEAD, DO ECHO, NAWS, WILL STATUS, DO LINEMODE; WILL ECHO.
    let begin = b"\xff\xfd\x18\xff\xfd\x20\xff\xfd\x23\xff\xfd\x27\xff\xfa\x18\x01\xff\xf0\
        \xff\xfb\x03\xff\xfd\x01\xff\xfd\x1f\xff\xfb\x05\xff\xfd\x21\xff\xfb\x01";
    assert_eq!(place(begin), Place::LineStart);
    let mut stream = Stream::new();
    stream.pass(&[begin, &b"Debian\r\nlogin: "[..]].concat());
    assert_eq!(stream.to_line_start(b"anna"), None);
    assert_eq!(stream.to_line_start(b"anna\r\nPassword: "), Some(6));
    assert_eq!(stream.to_line_start(b"anna\r"), None);
    assert_eq!(stream.to_line_start(b"anna\r\n"), Some(6));
    stream.pass(b"\r\n");
    assert_eq!(stream.to_line_start(b"Password: "), Some(0));
    assert_eq!(stream.to_line_start(b""), Some(0));
}

#[test]
fn a_notice_is_lines_of_ascii() {
    assert_eq!(notice("Bye at 18:00."), "\r\nBye at 18:00.\r\n");
    assert_eq!(
        notice("One\nTwo\r\nThree\n\n"),
        "\r\nOne\r\nTwo\r\nThree\r\n"
    );
    assert_eq!(
        notice("a\u{1b}[2Jb\u{7}\u{9b}c\td\u{7f}"),
        "\r\na[2Jbc d\r\n"
    );
    assert_eq!(
        notice("Überprüfung – “geöffnet” für Frau Müßig… 5 €"),
        "\r\nUeberpruefung - \"geoeffnet\" fuer Frau Muessig... 5 EUR\r\n"
    );
    assert_eq!(notice("Обед ÿ\u{ad}"), "\r\n???? y\r\n");
    assert_eq!(notice(""), "\r\n");
}

/// Text, commands, and now and then what makes no sense.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        &b"text"[..],
        b"\r\n",
        b"\r",
        b"\n",
        b"\0",
        b"\xff\xff",
        b"\xff",
        b"\xff\xfb",
        b"\xff\xfb\x01",
        b"\xff\xfb\x00",
        b"\xff\xfc\x00",
        b"\xff\xfa\x18\x01",
        b"\xff\xf0",
        b"\xff\xef",
        b"\xff\xfe\x28",
    ]);
    let piece = prop_oneof![
        9 => known.prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// Whatever comes is understood alike in whatever pieces it comes.
    #[test]
    fn pieces_make_no_difference(bytes in pieces(), size in 1..9_usize) {
        let mut follower = Stream::new();
        for (index, piece) in bytes.chunks(size).enumerate() {
            let sent = &bytes[..index * size];
            prop_assert_eq!(follower.place(), place(sent));
            let first = (0..=piece.len())
                .find(|end| place(&[sent, &piece[..*end]].concat()) == Place::LineStart);
            prop_assert_eq!(follower.to_line_start(piece), first);
            follower.pass(piece);
        }
        prop_assert_eq!(follower.place(), place(&bytes));
    }

    /// A notice changes nothing: after it the stream is where it was, and what follows is understood
    /// as if the notice had not been there.
    #[test]
    fn a_notice_changes_nothing(before in pieces(), text in "\\PC{0,40}", after in pieces()) {
        let last = (0..=before.len()).rfind(|end| place(&before[..*end]) == Place::LineStart);
        let before = before[..last.unwrap()].to_vec();
        let mut with = before.clone();
        write_notice(&mut with, &text);
        prop_assert!(with[before.len()..].iter().all(|byte| matches!(byte, b'\r' | b'\n' | 32..=126)));
        prop_assert_eq!(place(&with), Place::LineStart);
        with.extend(&after);
        prop_assert_eq!(place(&with), place(&[before, after].concat()));
    }
}
