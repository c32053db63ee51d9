//! When a session ends is for Ebbtide to say.

use ebbtide_protocol::http1::{
    Limits, ResponseEdit, ResponseHead, SESSION_ENDS, Version, parse_response, write_response,
};

#[test]
fn a_servers_own_word_on_when_a_session_ends_is_dropped() {
    let answer =
        b"HTTP/1.1 200 OK\r\nebbtide-SESSION-ends: never\r\nX-A: b\r\nContent-Length: 0\r\n\r\n";
    let mut head = ResponseHead::default();
    parse_response(answer, &Limits::default(), false, &mut head).unwrap();
    let mut out = Vec::new();
    let ours = [(SESSION_ENDS, b"soon".as_slice())];
    for (extra, said) in [(&[][..], 0), (&ours[..], 1)] {
        out.clear();
        let edit = ResponseEdit {
            client_version: Version::Http11,
            close: false,
            set_cookie: None,
            token_cookie: b"",
            via: "ebbtide",
            extra,
            request_is_head: false,
        };
        write_response(&mut out, answer, &head, &edit);
        let text = String::from_utf8(out.clone()).unwrap().to_lowercase();
        assert!(text.contains("x-a: b") && !text.contains("never"), "{text}");
        assert_eq!(text.matches("ebbtide-session-ends: soon").count(), said);
    }
}
