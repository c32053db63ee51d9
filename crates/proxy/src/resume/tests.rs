//! What counts as a copy that can be known again, and what as the rest of it.

use super::*;
use ebbtide_protocol::http1::{Limits, Parsed, parse_request, parse_response};

fn head(text: &str) -> (Vec<u8>, ResponseHead) {
    let buf = text.replace('\n', "\r\n").into_bytes();
    let mut head = ResponseHead::default();
    let parsed = parse_response(&buf, &Limits::default(), false, &mut head);
    assert_eq!(parsed, Ok(Parsed::Complete), "{text}");
    (buf, head)
}

fn copy(text: &str) -> Option<Copy> {
    let (buf, head) = head(text);
    Copy::of(&buf, &head)
}

const WHOLE: &str =
    "HTTP/1.1 200 OK\nContent-Length: 1000\nETag: \"a\"\nContent-Type: text/plain\n\n";
const REST: &str = "HTTP/1.1 206 Partial Content\nContent-Length: 900\nETag: \"a\"\n\
                    Content-Type: text/plain\nContent-Range: bytes 100-999/1000\n\n";

#[test]
fn a_copy_is_known_by_a_strong_tag_and_a_length() {
    let whole = copy(WHOLE).expect("a copy");
    assert_eq!((whole.first, whole.end, whole.total), (0, 1000, 1000));
    assert_eq!(whole.entity_tag(), b"\"a\"");
    assert_eq!(whole.range(0), "bytes=0-");
    assert_eq!(
        (whole.range(100), whole.missing(100)),
        ("bytes=100-".into(), 900)
    );
    for (what, other) in [
        ("a weak tag", WHOLE.replace("\"a\"", "W/\"a\"")),
        ("no tag", WHOLE.replace("ETag", "X-Tag")),
        ("a tag without quotes", WHOLE.replace("\"a\"", "a")),
        (
            "a tag with a quote in it",
            WHOLE.replace("\"a\"", "\"a\"b\""),
        ),
        ("two tags", WHOLE.replace("\n\n", "\nETag: \"a\"\n\n")),
        ("no length", WHOLE.replace("Content-Length: 1000\n", "")),
        (
            "chunks",
            WHOLE.replace("Content-Length: 1000", "Transfer-Encoding: chunked"),
        ),
        ("nothing in it", WHOLE.replace("1000", "0")),
        ("another status", WHOLE.replace("200 OK", "203 X")),
        (
            "only a date",
            WHOLE.replace(
                "ETag: \"a\"",
                "Last-Modified: Sat, 01 Jan 2022 00:00:00 GMT",
            ),
        ),
    ] {
        assert_eq!(copy(&other), None, "{what}");
    }
}

#[test]
fn a_part_of_a_copy_is_asked_for_as_a_part() {
    let part = copy(&REST.replace("100-999", "100-299").replace("900", "200")).expect("a part");
    assert_eq!(
        (part.range(0), part.missing(0)),
        ("bytes=100-299".into(), 200)
    );
    assert_eq!(
        (part.range(150), part.missing(150)),
        ("bytes=250-299".into(), 50)
    );
    assert_eq!(copy(REST).expect("a part").range(1), "bytes=101-");
    for (what, other) in [
        ("a length that does not fit", REST.replace("900", "899")),
        ("an unknown total", REST.replace("/1000", "/*")),
        ("a total that is too small", REST.replace("/1000", "/999")),
        ("backwards", REST.replace("100-999", "999-100")),
        ("a sign", REST.replace("100-", "+100-")),
        ("another unit", REST.replace("bytes ", "lines ")),
        ("no range", REST.replace("Content-Range", "X-Range")),
        (
            "several parts",
            REST.replace("text/plain", "multipart/byteranges; boundary=x"),
        ),
    ] {
        assert_eq!(copy(&other), None, "{what}");
    }
}

// tidy: allow(long-function): one list, a line or two for each misfit
#[test]
fn only_the_very_rest_of_the_very_copy_fits() {
    let whole = copy(WHOLE).expect("a copy");
    let check = |text: &str| {
        let (buf, head) = head(text);
        whole.check(&buf, &head, 100)
    };
    assert_eq!(check(REST), Ok(()));
    let dated = REST.replace("\n\n", "\nLast-Modified: Sat, 01 Jan 2022 00:00:00 GMT\n\n");
    assert_eq!(check(&dated), Ok(()), "only one says a date");
    for (what, other, misfit) in [
        ("all of it", WHOLE.to_owned(), Misfit::Status),
        ("an error", WHOLE.replace("200 OK", "500 X"), Misfit::Status),
        (
            "a failed condition",
            WHOLE.replace("200 OK", "412 X"),
            Misfit::Differs,
        ),
        (
            "nothing satisfiable",
            WHOLE.replace("200 OK", "416 X"),
            Misfit::Status,
        ),
        (
            "another tag",
            REST.replace("\"a\"", "\"b\""),
            Misfit::Differs,
        ),
        (
            "a weak tag",
            REST.replace("\"a\"", "W/\"a\""),
            Misfit::Differs,
        ),
        ("no tag", REST.replace("ETag", "X-Tag"), Misfit::Differs),
        (
            "two tags",
            REST.replace("\n\n", "\nETag: \"a\"\n\n"),
            Misfit::Differs,
        ),
        (
            "compressed",
            REST.replace("\n\n", "\nContent-Encoding: gzip\n\n"),
            Misfit::Differs,
        ),
        (
            "another kind",
            REST.replace("text/plain", "text/html"),
            Misfit::Differs,
        ),
        (
            "another total",
            REST.replace("/1000", "/1001"),
            Misfit::Differs,
        ),
        (
            "too early",
            REST.replace("100-999", "99-998"),
            Misfit::Range,
        ),
        (
            "too late",
            REST.replace("100-999", "101-999").replace("900", "899"),
            Misfit::Range,
        ),
        (
            "too short",
            REST.replace("100-999", "100-998").replace("900", "899"),
            Misfit::Range,
        ),
        (
            "a length that does not fit",
            REST.replace("900", "901"),
            Misfit::Range,
        ),
        (
            "no length",
            REST.replace("Content-Length: 900\n", ""),
            Misfit::Range,
        ),
        (
            "an unknown total",
            REST.replace("/1000", "/*"),
            Misfit::Range,
        ),
        (
            "no range",
            REST.replace("Content-Range", "X-Range"),
            Misfit::Range,
        ),
        (
            "several parts",
            REST.replace("text/plain", "multipart/byteranges; boundary=x"),
            Misfit::Range,
        ),
    ] {
        assert_eq!(check(&other), Err(misfit), "{what}");
    }
}

#[test]
fn what_both_say_must_agree() {
    let dated = |text: &str, second: u32| {
        text.replace(
            "\n\n",
            &format!("\nLast-Modified: Sat, 01 Jan 2022 00:00:0{second} GMT\n\n"),
        )
    };
    let whole = copy(&dated(WHOLE, 1)).expect("a copy");
    let check = |text: &str| {
        let (buf, head) = head(text);
        whole.check(&buf, &head, 100)
    };
    assert_eq!(check(&dated(REST, 1)), Ok(()));
    assert_eq!(check(&dated(REST, 2)), Err(Misfit::Differs));
    assert_eq!(check(REST), Ok(()));
}

#[test]
fn the_conditions_of_the_client_are_taken_out() {
    let buf = b"GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=1-2\r\nIF-Match: \"x\"\r\nIf-Range: \"x\"\r\n\
                If-None-Match: *\r\nAccept: b\r\nIf-Modified-Since: x\r\nIf-Unmodified-Since: x\r\n\r\n";
    let mut head = RequestHead::default();
    parse_request(buf, &Limits::default(), &mut head).expect("a request");
    forget_conditions(buf, &mut head);
    let left: Vec<_> = head.fields.iter().map(|field| field.name.of(buf)).collect();
    assert_eq!(left, [b"Host".as_slice(), b"Accept"]);
}
