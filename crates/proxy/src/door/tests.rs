use super::*;
use ebbtide_protocol::http1::{Limits, Parsed, parse_request};

fn head(text: &str) -> RequestHead {
    let mut head = RequestHead::default();
    let parsed = parse_request(text.as_bytes(), &Limits::default(), &mut head);
    assert!(matches!(parsed, Ok(Parsed::Complete)));
    head
}

#[test]
fn a_field_is_taken_however_it_is_written() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nx-admin_session: 1\r\nX-Admin-Session: 2\r\nX-Admin: 3\r\n\r\n";
    let mut head = head(text);
    take_field(text.as_bytes(), &mut head, "X-Admin-Session");
    let left: Vec<_> = head
        .fields
        .iter()
        .map(|field| field.value.of(text.as_bytes()))
        .collect();
    assert!(left.contains(&b"3".as_slice()));
    assert!(!left.contains(&b"1".as_slice()) && !left.contains(&b"2".as_slice()));
}

#[test]
fn forms_of_other_sites_are_not_ours() {
    let own = |fields: &str| {
        let text = format!("POST / HTTP/1.1\r\nHost: a:80\r\nContent-Length: 0\r\n{fields}\r\n");
        is_own_form(text.as_bytes(), &head(&text), false)
    };
    assert!(own(""));
    assert!(own("Origin: http://a:80\r\n"));
    assert!(own(
        "Origin: https://a:80\r\nSec-Fetch-Site: same-origin\r\n"
    ));
    for wrong in [
        "Origin: null\r\n",
        "Origin: http://b\r\n",
        "Origin: http://a:81\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\nOrigin: http://a:80\r\n",
    ] {
        assert!(!own(wrong), "{wrong}");
    }
    let in_front = "Origin: https://app.example\r\nX-Forwarded-Host: app.example\r\n";
    assert!(!own(in_front), "anybody may say so");
    let text = format!("POST / HTTP/1.1\r\nHost: a:80\r\nContent-Length: 0\r\n{in_front}\r\n");
    assert!(is_own_form(text.as_bytes(), &head(&text), true));
}

#[test]
fn forms_are_decoded() {
    let form = b"action=switch&server=web+2%2f%C3%A4%zz&user=";
    assert_eq!(form::text(form, b"action").as_deref(), Some("switch"));
    assert_eq!(
        form::text(form, b"server").as_deref(),
        Some("web 2/\u{e4}%zz")
    );
    assert_eq!(form::text(form, b"user").as_deref(), Some(""));
    assert_eq!(form::text(form, b"ser"), None);
    assert_eq!(form::text(b"a=%ff", b"a"), None);
}

#[test]
fn nobody_is_led_to_another_site() {
    let local = |path: &str| form::local_path(Some(path.to_owned()));
    assert_eq!(local("/app/list?a=b#c"), "/app/list?a=b#c");
    for wrong in [
        "",
        "app",
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "/a\r\nSet-Cookie: b",
        "/a b",
        "\t//evil",
    ] {
        assert_eq!(local(wrong), "/", "{wrong}");
    }
    assert_eq!(form::local_path(None), "/");
}
