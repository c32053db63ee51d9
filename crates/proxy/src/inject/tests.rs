use super::*;
use ebbtide_protocol::http1::{Limits, Parsed, parse_request, parse_response};

fn request(text: &str) -> (Vec<u8>, RequestHead) {
    let buf = format!("{text}\r\n\r\n")
        .replace('\n', "\r\n")
        .replace("\r\r", "\r")
        .into_bytes();
    let mut head = RequestHead::default();
    let parsed = parse_request(&buf, &Limits::default(), &mut head);
    assert_eq!(parsed, Ok(Parsed::Complete), "{text}");
    (buf, head)
}

fn response(fields: &str) -> (Vec<u8>, ResponseHead) {
    let buf = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n").into_bytes();
    let mut head = ResponseHead::default();
    let parsed = parse_response(&buf, &Limits::default(), false, &mut head);
    assert_eq!(parsed, Ok(Parsed::Complete), "{fields}");
    (buf, head)
}

#[test]
fn only_what_users_look_at_is_a_navigation() {
    let cases = [
        ("GET / HTTP/1.1\nHost: a\nAccept: text/html,*/*;q=0.8", true),
        (
            "POST / HTTP/1.1\nHost: a\nAccept: application/xml,TEXT/HTML\nContent-Length: 0",
            true,
        ),
        ("GET / HTTP/1.1\nHost: a\nSec-Fetch-Dest: document", true),
        (
            "GET / HTTP/1.1\nHost: a\nSec-Fetch-Dest: iframe\nAccept: */*",
            true,
        ),
        (
            "GET / HTTP/1.1\nHost: a\nSec-Fetch-Dest: empty\nAccept: text/html",
            false,
        ),
        (
            "GET / HTTP/1.1\nHost: a\nAccept: text/html, */*\nX-Requested-With: XMLHttpRequest",
            false,
        ),
        ("GET / HTTP/1.1\nHost: a\nAccept: */*", false),
        ("GET / HTTP/1.1\nHost: a", false),
        ("HEAD / HTTP/1.1\nHost: a\nAccept: text/html", true),
        (
            "PUT / HTTP/1.1\nHost: a\nAccept: text/html\nContent-Length: 0",
            false,
        ),
        (
            "GET / HTTP/1.1\nHost: a\nAccept: text/html\nConnection: upgrade\nUpgrade: websocket",
            false,
        ),
    ];
    for (text, expected) in cases {
        let (buf, head) = request(text);
        assert_eq!(is_navigation(&buf, &head), expected, "{text}");
    }
}

#[test]
fn the_whole_page_is_asked_for() {
    let wishes = "Accept-Encoding: gzip\nRange: bytes=1-\nIf-Range: \"a\"\nIF-None-Match: *\nIf-Modified-Since: x\nIf-Match: *";
    let left = |method: &str| {
        let (buf, mut head) = request(&format!("{method} / HTTP/1.1\nHost: a\n{wishes}"));
        ask_for_all(&buf, &mut head);
        let names = head.fields.iter().map(|field| field.name.of(&buf));
        names
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(left("GET"), ["Host", "If-Match"]);
    assert_eq!(left("HEAD"), left("GET"));
    let of_post = [
        "Host",
        "Range",
        "If-Range",
        "IF-None-Match",
        "If-Modified-Since",
        "If-Match",
    ];
    assert_eq!(left("POST"), of_post);
}

#[test]
fn what_a_head_says_of_a_page() {
    use Untouched::{Attachment, Charset, Encoded, NoTransform, Partial};
    let html = "Content-Type: text/html\r\n";
    let cases = [
        ("Content-Length: 5".to_owned(), None),
        ("Content-Type: application/xhtml+xml".to_owned(), None),
        ("Content-Type: text/html-x".to_owned(), None),
        (format!("{html}Content-Length: 0"), None),
        (format!("{html}X: y"), Some(None)),
        (format!("{html}Content-Encoding: identity"), Some(None)),
        (format!("{html}Content-Encoding: gzip"), Some(Some(Encoded))),
        (
            format!("{html}Content-Encoding: identity\r\nContent-Encoding: br"),
            Some(Some(Encoded)),
        ),
        (
            format!("{html}Content-Range: bytes 0-1/2"),
            Some(Some(Partial)),
        ),
        (
            format!("{html}Content-Disposition: Attachment; filename=a"),
            Some(Some(Attachment)),
        ),
        (format!("{html}Content-Disposition: inline"), Some(None)),
        (
            format!("{html}Cache-Control: no-cache\r\nCache-Control: max-age=1, No-Transform"),
            Some(Some(NoTransform)),
        ),
        (
            "Content-Type: Text/HTML ; a=b; Charset=\"Shift_JIS\"".to_owned(),
            Some(None),
        ),
        (
            "Content-Type: text/html; charset=nobody-knows".to_owned(),
            Some(None),
        ),
        (
            "Content-Type: text/html; charset=utf-16".to_owned(),
            Some(Some(Charset)),
        ),
        (
            "Content-Type: text/html; charset=UTF-16LE".to_owned(),
            Some(Some(Charset)),
        ),
        (
            "Content-Type: text/html; charset=iso-2022-jp".to_owned(),
            Some(Some(Charset)),
        ),
        (
            "Content-Type: text/html; charset=iso-2022-kr".to_owned(),
            Some(Some(Charset)),
        ),
        (
            "Content-Type: text/html; charset=utf-7".to_owned(),
            Some(Some(Charset)),
        ),
    ];
    for (fields, expected) in cases {
        let (buf, head) = response(&fields);
        let judged = judge_head(&buf, &head, false).map(Result::err);
        assert_eq!(judged, expected, "{fields}");
    }
}

#[test]
fn encodings_in_which_markup_is_ascii_are_read() {
    for charset in [
        "utf-8",
        "windows-1252",
        "iso-8859-15",
        "gb18030",
        "euc-jp",
        "euc-kr",
        "big5",
        "koi8-r",
    ] {
        let (buf, head) = response(&format!("Content-Type: text/html; charset={charset}"));
        assert!(
            matches!(judge_head(&buf, &head, false), Some(Ok(_))),
            "{charset}"
        );
    }
}

#[test]
fn the_body_is_looked_at_through_its_framing() {
    let (mut buf, head) = response("Transfer-Encoding: chunked");
    for (more, expected) in [
        ("1\r\n", Look::Unknown),
        (" \r\n1;a=b\r\n<", Look::Unknown),
        ("\r\n1\r\nh", Look::Html { mark_bytes: 0 }),
    ] {
        buf.extend_from_slice(more.as_bytes());
        assert_eq!(look_at_body(&buf, &head), expected, "{more:?}");
    }
    let (mut buf, head) = response("Content-Length: 2");
    assert_eq!(look_at_body(&buf, &head), Look::Unknown);
    buf.extend_from_slice(b"  <html>");
    assert_eq!(
        look_at_body(&buf, &head),
        Look::Other,
        "it ends before that"
    );
    let (mut buf, head) = response("Transfer-Encoding: chunked");
    buf.extend_from_slice(&b"1\r\n \r\n".repeat(SNIFF_BYTES_MAX));
    assert_eq!(
        look_at_body(&buf, &head),
        Look::Other,
        "one does not look for ever"
    );
}

#[test]
fn a_tag_is_markup_only_where_it_means_to_be() {
    assert_eq!(
        tag("/.ebbtide", None),
        b"<script src=\"/.ebbtide/notice.js\" async></script>"
    );
    assert_eq!(
        tag("/a\"&b", Some("c+/=")),
        b"<script src=\"/a&quot;&amp;b/notice.js\" async nonce=\"c+/=\"></script>"
    );
}
