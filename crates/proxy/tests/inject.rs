//! Pages that are given the banner's script while a notice stands, and answers that are not.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;
use common::{House, Message, Server, Wire, clock, drain_notice, until};
use ebbtide_core::{Counter, Moment, PoolSlot};
use std::io::Read;

const TAG: &str = "<script src=\"/.ebbtide/notice.js\" async></script>";
const PAGE: &str = "<!doctype html><html><head>|<title>a</title></head><body>b</body></html>";
const HTML: &str = "Content-Type: text/html; charset=utf-8\r\n";

/// A house whose servers are being drained.
fn house(server: &Server) -> House {
    let mut house = House::new(&[server.address]);
    announce(&mut house, true);
    house
}

fn announce(house: &mut House, stands: bool) {
    let deadline = Moment(clock().moment.0 + 600_000);
    house.publish(|_, pool| {
        pool.servers[0].notice = drain_notice(deadline).filter(|_| stands);
    });
}

/// A server that answers every request with these fields and this body, of a length that it tells.
fn serving(fields: &'static str, body: impl Into<Vec<u8>>) -> Server {
    let body = body.into();
    Server::answering(move |wire, _| {
        let head = format!(
            "HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n",
            body.len()
        );
        wire.send([head.as_bytes(), &body].concat());
        true
    })
}

/// A browser that goes to a page, with these other fields.
fn navigate(client: &mut Wire, path: &str, more: &str) -> Message {
    client.send(format!(
        "GET {path} HTTP/1.1\r\nHost: app.example\r\nAccept: text/html,*/*\r\n{more}\r\n"
    ));
    client.answer()
}

/// The page with the script where its `|` is.
fn with_tag(page: &str) -> String {
    page.replacen('|', TAG, 1)
}

fn without_mark(page: &str) -> String {
    page.replacen('|', "", 1)
}

/// Such a page, as these fields come with it, is given to its user as it came, and counted so.
#[track_caller]
fn is_untouched(fields: &'static str, body: &[u8], counter: fn(&PoolSlot) -> &Counter) {
    let fields_sent = fields;
    let server = serving(fields_sent, body);
    let house = house(&server);
    let answer = navigate(&mut house.client(), "/", "");
    assert_eq!(answer.body, body, "{fields}");
    let length = body.len().to_string();
    assert_eq!(answer.field("content-length"), Some(length.as_str()));
    for line in fields.lines() {
        let (name, value) = line.split_once(": ").unwrap();
        assert_eq!(answer.field(name), Some(value), "{name}");
    }
    until("the count", || house.pool_sum(counter) == 1);
    assert_eq!(house.pool_sum(|slot| &slot.injected), 0);
}

#[test]
fn a_page_gets_the_script_while_a_message_stands_for_its_user() {
    let server = serving(HTML, without_mark(PAGE));
    let house = House::new(&[server.address]);
    let cookies = [0, 1].map(|_| house.client().get("/", "").cookie());
    let mut client = house.client();
    let mut page =
        |cookie: &str| navigate(&mut client, "/", &format!("Cookie: {cookie}\r\n")).text();
    assert_eq!(page(&cookies[0]), without_mark(PAGE));
    common::tell_all(&house, 7, "Please call 4455");
    assert_eq!(page(&cookies[0]), with_tag(PAGE));
    assert_eq!(page(&cookies[1]), with_tag(PAGE));
    // Whoever comes anew is told nothing.
    assert_eq!(page("a=b"), without_mark(PAGE));
    let mut dismissing = house.client();
    dismissing.send(format!(
        "POST /.ebbtide/dismiss?message=7 HTTP/1.1\r\nHost: a\r\nCookie: {}\r\nContent-Length: 0\r\n\r\n",
        cookies[0]
    ));
    assert_eq!(dismissing.answer().status(), 200);
    assert_eq!(page(&cookies[0]), without_mark(PAGE));
    assert_eq!(page(&cookies[1]), with_tag(PAGE));
}

#[test]
fn a_page_gets_the_script_while_a_notice_stands_and_no_longer() {
    let fields = "Content-Type: text/html\r\nETag: \"a\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nAccept-Ranges: bytes\r\nContent-MD5: x\r\nRepr-Digest: x\r\nCache-Control: max-age=60\r\nCache-Control: public\r\nExpires: 0\r\nX-Own: y\r\n";
    let server = serving(fields, without_mark(PAGE));
    let mut house = House::new(&[server.address]);
    let mut client = house.client();
    let before = navigate(&mut client, "/", "Accept-Encoding: gzip\r\n");
    assert_eq!(before.text(), without_mark(PAGE));
    announce(&mut house, true);
    let wishes = "Accept-Encoding: gzip\r\nIf-None-Match: \"a\"\r\nIf-Modified-Since: x\r\nRange: bytes=5-\r\nIf-Range: \"a\"\r\n";
    let during = navigate(&mut client, "/", wishes);
    assert_eq!(during.text(), with_tag(PAGE));
    assert!(during.complete);
    assert_eq!(during.field("transfer-encoding"), Some("chunked"));
    for gone in [
        "content-length",
        "etag",
        "last-modified",
        "accept-ranges",
        "content-md5",
        "repr-digest",
        "expires",
    ] {
        assert_eq!(during.field(gone), None, "{gone}");
    }
    let caching = during
        .fields
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("cache-control"));
    let caching: Vec<&str> = caching.map(|(_, value)| value.as_str()).collect();
    assert_eq!(caching, ["no-store"]);
    assert_eq!(during.field("x-own"), Some("y"));
    announce(&mut house, false);
    let after = navigate(&mut client, "/", "Accept-Encoding: gzip\r\n");
    assert_eq!(after.text(), without_mark(PAGE));
    assert_eq!(after.field("etag"), Some("\"a\""));
    assert!(after.field("last-modified").is_some());
    let log = server.log.lock().unwrap();
    let wish = |number: usize, name: &str| log[number].field(name).map(str::to_owned);
    assert_eq!(wish(1, "accept-encoding").as_deref(), Some("identity"));
    for gone in ["if-none-match", "if-modified-since", "range", "if-range"] {
        assert_eq!(wish(1, gone), None, "{gone}");
    }
    for number in [0, 2] {
        assert_eq!(wish(number, "accept-encoding").as_deref(), Some("gzip"));
    }
    until("the count", || house.pool_sum(|slot| &slot.injected) == 1);
}

#[test]
fn pages_of_every_framing_and_shape_get_the_script() {
    let shapes = [
        PAGE,
        "|<p>no head, no body",
        "<!doctype html>|only text",
        "<html>|<body>no head",
        "<head>|",
    ];
    for shape in shapes {
        let page = without_mark(shape);
        let server = Server::answering(move |wire, request| {
            match request.first_line.split(' ').nth(1).unwrap() {
                "/length" => {
                    let length = page.len();
                    wire.send(format!(
                        "HTTP/1.1 404 Not Found\r\n{HTML}Content-Length: {length}\r\n\r\n{page}"
                    ));
                }
                "/chunked" => {
                    wire.send(format!(
                        "HTTP/1.1 200 OK\r\n{HTML}Transfer-Encoding: chunked\r\n\r\n"
                    ));
                    for byte in page.bytes() {
                        wire.send([b"1\r\n", [byte].as_slice(), b"\r\n"].concat());
                    }
                    wire.send("0\r\nContent-Digest: x\r\n\r\n");
                }
                _ => {
                    wire.send(format!("HTTP/1.0 200 OK\r\n{HTML}\r\n{page}"));
                    return false;
                }
            }
            true
        });
        let house = house(&server);
        for path in ["/length", "/chunked", "/close", "/length"] {
            let mut client = house.client();
            let answer = navigate(&mut client, path, "");
            assert_eq!(answer.text(), with_tag(shape), "{path}");
            assert!(answer.complete);
            let form = format!(
                "POST {path} HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\nContent-Length: 3\r\n\r\na=b"
            );
            client.send(form);
            assert_eq!(client.answer().text(), with_tag(shape), "a form's {path}");
        }
    }
}

#[test]
fn old_clients_and_heads_are_served_right() {
    let server = Server::answering(|wire, request| {
        let page = without_mark(PAGE);
        let length = page.len();
        wire.send(format!(
            "HTTP/1.1 200 OK\r\n{HTML}ETag: \"a\"\r\nLast-Modified: x\r\nCache-Control: max-age=60\r\n\
             Content-Security-Policy: script-src 'none'\r\nX-Own: y\r\nContent-Length: {length}\r\n\r\n"
        ));
        if !request.first_line.starts_with("HEAD") {
            wire.send(page);
        }
        true
    });
    let house = house(&server);
    let mut old = house.client();
    old.send(
        "GET / HTTP/1.0\r\nHost: app.example\r\nAccept: text/html\r\nConnection: keep-alive\r\n\r\n",
    );
    let answer = old.answer();
    assert_eq!(answer.text(), with_tag(PAGE));
    let of_length = (
        answer.field("content-length"),
        answer.field("transfer-encoding"),
    );
    assert_eq!(of_length, (None, None));
    assert_eq!(answer.field("connection"), Some("close"));
    assert!(old.is_closed());
    let mut client = house.client();
    let cookie = client.get("/", "").cookie();
    let with_cookie = format!("Cookie: {cookie}\r\n");
    client.send(format!(
        "HEAD / HTTP/1.1\r\nHost: app.example\r\nAccept: text/html\r\nAccept-Encoding: br\r\n\
         If-None-Match: \"a\"\r\n{with_cookie}\r\n"
    ));
    assert_eq!(client.line().as_deref(), Some("HTTP/1.1 200 OK"));
    let mut of_head = Vec::new();
    while let Some(line) = client.line().filter(|line| !line.is_empty()) {
        of_head.push(line);
    }
    let page = navigate(&mut client, "/", &with_cookie);
    assert_eq!(page.text(), with_tag(PAGE));
    // Its framing aside, a page has the fields that its HEAD had.
    let of_page = page.fields.iter();
    let mut of_page: Vec<String> = of_page
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    of_page.retain(|line| line != "Transfer-Encoding: chunked");
    // Two clocks are read for it, and another second may have begun in between.
    let is_date = |line: &String| line.starts_with("Ebbtide-Session-Ends: ");
    assert!(of_page.iter().any(is_date) && of_head.iter().any(is_date));
    of_page.retain(|line| !is_date(line));
    of_head.retain(|line| !is_date(line));
    assert_eq!(of_head, of_page);
    assert!(
        of_head.contains(&"Cache-Control: no-store".to_owned()),
        "{of_head:?}"
    );
    let log = server.log.lock().unwrap();
    assert_eq!(log[2].field("accept-encoding"), Some("identity"));
    assert_eq!(log[2].field("if-none-match"), None);
    until("the pages are counted, and no head", || {
        let untouched = house.pool_sum(|slot| &slot.not_injected_policy);
        (house.pool_sum(|slot| &slot.injected), untouched) == (2, 0)
    });
}

#[test]
fn what_must_not_be_changed_is_not() {
    let page = without_mark(PAGE);
    let page = page.as_bytes();
    is_untouched(
        "Content-Type: text/html\r\nContent-Encoding: gzip\r\nETag: \"a\"\r\n",
        b"\x1f\x8b\x08\0<html>",
        |slot| &slot.not_injected_encoded,
    );
    is_untouched(
        "Content-Type: text/html\r\nContent-Disposition: attachment; filename=\"a.html\"\r\n",
        page,
        |slot| &slot.not_injected_attachment,
    );
    is_untouched(
        "Content-Type: text/html\r\nCache-Control: private, no-transform\r\n",
        page,
        |slot| &slot.not_injected_no_transform,
    );
    let utf_16: Vec<u8> = "\u{feff}<html>ü"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    is_untouched(
        "Content-Type: text/html; charset=utf-16\r\n",
        &utf_16,
        |slot| &slot.not_injected_charset,
    );
    // Its byte order mark says so, whatever its head says.
    for fields in [
        "Content-Type: text/html\r\nETag: W/\"a\"\r\n",
        "Content-Type: text/html; charset=utf-8\r\n",
    ] {
        is_untouched(fields, &utf_16, |slot| &slot.not_injected_charset);
    }
    for other in [
        b"{\"a\":1}".as_slice(),
        b" [1]",
        b"%PDF-1.7",
        b"\x89PNG\r\n\x1a\n",
        b"text",
    ] {
        is_untouched(
            "Content-Type: text/html\r\nETag: \"a\"\r\n",
            other,
            |slot| &slot.not_injected_not_html,
        );
    }
    is_untouched(
        "Content-Type: text/html\r\nContent-Security-Policy: script-src 'strict-dynamic' 'sha256-a='\r\n",
        page,
        |slot| &slot.not_injected_policy,
    );
}

#[test]
fn what_is_no_page_is_neither_changed_nor_counted() {
    let cases = [
        (
            "HTTP/1.1 206 Partial Content\r\nContent-Type: text/html\r\nContent-Range: bytes 0-5/9\r\nContent-Length: 6\r\n\r\n",
            "<html>",
        ),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Type: text/html\r\nETag: \"a\"\r\n\r\n",
            "",
        ),
        (
            "HTTP/1.1 204 No Content\r\nContent-Type: text/html\r\nETag: \"a\"\r\n\r\n",
            "",
        ),
        (
            "HTTP/1.1 302 Found\r\nContent-Type: text/html\r\nETag: \"a\"\r\nLocation: /x\r\nContent-Length: 6\r\n\r\n",
            "<html>",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: \"a\"\r\nContent-Length: 0\r\n\r\n",
            "",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nETag: \"a\"\r\nContent-Length: 6\r\n\r\n",
            "<html>",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: application/xhtml+xml\r\nETag: \"a\"\r\nContent-Length: 6\r\n\r\n",
            "<html>",
        ),
        (
            "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 6\r\n\r\n",
            "<html>",
        ),
    ];
    for (head, body) in cases {
        let server = Server::answering(move |wire, _| {
            wire.send([head, body].concat());
            true
        });
        let house = house(&server);
        let answer = navigate(&mut house.client(), "/", "");
        assert_eq!(answer.text(), body, "{head}");
        assert!(answer.field("etag").is_some() || answer.status() == 206);
        let partial = u64::from(answer.status() == 206);
        let counted = || house.pool_sum(|slot| &slot.not_injected_partial);
        assert_eq!(
            (house.pool_sum(|slot| &slot.injected), counted()),
            (0, partial)
        );
    }
    // What scripts ask for is not changed, and asked for as they do.
    let server = serving("Content-Type: text/html\r\n", without_mark(PAGE));
    let house = house(&server);
    let fetch = "Sec-Fetch-Dest: empty\r\nAccept-Encoding: gzip\r\nRange: bytes=0-\r\n";
    let answer = navigate(&mut house.client(), "/", fetch);
    assert_eq!(answer.text(), without_mark(PAGE));
    let log = server.log.lock().unwrap();
    let wishes = (log[0].field("accept-encoding"), log[0].field("range"));
    assert_eq!(wishes, (Some("gzip"), Some("bytes=0-")));
}

#[test]
fn a_pool_without_injection_changes_nothing() {
    let server = serving(HTML, without_mark(PAGE));
    let mut house = House::with(&[server.address], |pool| pool.notice.inject = false);
    announce(&mut house, true);
    let answer = navigate(&mut house.client(), "/", "");
    assert_eq!(answer.text(), without_mark(PAGE));
    assert!(answer.field("content-length").is_some());
}

#[test]
fn policies_admit_the_script_and_what_it_asks() {
    let script = "app.example/.ebbtide/notice.js";
    let asks = "app.example/.ebbtide/";
    let nonced = TAG.replace(" async", " async nonce=\"r4nd\"");
    let cases = [
        ("default-src 'self'", "default-src 'self'".to_owned(), TAG),
        ("script-src 'none'", format!("script-src {script}"), TAG),
        (
            "default-src 'none'",
            format!("default-src 'none'; script-src {script}; connect-src {asks}"),
            TAG,
        ),
        (
            "script-src 'nonce-r4nd' 'strict-dynamic'",
            "script-src 'nonce-r4nd' 'strict-dynamic'".to_owned(),
            &nonced,
        ),
        (
            "script-src 'nonce-r4nd', script-src cdn.example",
            format!("script-src 'nonce-r4nd', script-src cdn.example {script}"),
            &nonced,
        ),
    ];
    for (policy, expected, tag) in cases {
        let server = Server::answering(move |wire, _| {
            let page = without_mark(PAGE);
            wire.send(format!(
                "HTTP/1.1 200 OK\r\n{HTML}Content-Security-Policy: {policy}\r\nContent-Security-Policy-Report-Only: default-src 'none'\r\nContent-Security-Policy: img-src *\r\nContent-Length: {}\r\n\r\n{page}",
                page.len()
            ));
            true
        });
        let house = house(&server);
        let answer = navigate(&mut house.client(), "/", "");
        assert_eq!(answer.text(), PAGE.replacen('|', tag, 1), "{policy}");
        let named = |wanted: &str| {
            let fields = answer.fields.iter();
            let found = fields.filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found
                .map(|(_, value)| value.replace(",script", ", script"))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            named("content-security-policy"),
            [expected.as_str(), "img-src *"]
        );
        let watched = named("content-security-policy-report-only");
        assert_eq!(watched, ["default-src 'none'"]);
    }
}

#[test]
fn a_page_that_breaks_off_does_not_look_complete() {
    // Before and after the place of the script.
    for sent in ["<!doctype html><!-- ", "<!doctype html><head><title>"] {
        let server = Server::answering(move |wire, request| {
            match request.first_line.contains("/length") {
                true => wire.send(format!(
                    "HTTP/1.1 200 OK\r\n{HTML}Content-Length: 1000\r\n\r\n{sent}"
                )),
                false => wire.send(format!(
                    "HTTP/1.1 200 OK\r\n{HTML}Transfer-Encoding: chunked\r\n\r\nff\r\n{sent}"
                )),
            }
            false
        });
        let house = house(&server);
        for path in ["/length", "/chunked"] {
            let answer = navigate(&mut house.client(), path, "");
            assert_eq!(
                (answer.status(), answer.complete),
                (200, false),
                "{path} {sent}"
            );
            let mut old = house.client();
            old.send(format!("GET {path} HTTP/1.0\r\nAccept: text/html\r\n\r\n"));
            let mut all = Vec::new();
            assert!(
                old.stream.read_to_end(&mut all).is_err(),
                "it ends with a reset"
            );
        }
    }
    // Before it could be told what it is, nothing has been sent: that is answered as other failures.
    let server = Server::answering(|wire, _| {
        wire.send(format!(
            "HTTP/1.1 200 OK\r\n{HTML}Content-Length: 10\r\n\r\n"
        ));
        wire.stream.shutdown(std::net::Shutdown::Write).unwrap();
        false
    });
    let house = house(&server);
    let answer = navigate(&mut house.client(), "/", "");
    assert!(!answer.complete || answer.status() == 502);
}

/// The most memory that this process has used so far, in bytes.
fn memory_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.unwrap().split_ascii_whitespace().nth(1).unwrap();
    kilobytes.parse::<u64>().unwrap() * 1024
}

#[test]
fn a_large_page_passes_through_little_memory() {
    const PATTERN: &[u8; 11] = b"<p>\"'>-- \xc3\xa9";
    const BLOCKS: usize = 290;
    let block = PATTERN.repeat(65_536);
    let body_bytes = block.len() * BLOCKS;
    let server = Server::answering(move |wire, _| {
        let length = body_bytes + 6;
        wire.send(format!(
            "HTTP/1.1 200 OK\r\n{HTML}Content-Length: {length}\r\n\r\n<head>"
        ));
        (0..BLOCKS).for_each(|_| wire.send(&block));
        true
    });
    let house = house(&server);
    let mut client = house.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n");
    while !client.line().unwrap().is_empty() {}
    let front = format!("<head>{TAG}");
    let expected = PATTERN.repeat(10_000);
    let mut read = 0;
    loop {
        let size = usize::from_str_radix(&client.line().unwrap(), 16).unwrap();
        let piece = client.exactly(size);
        client.line();
        if size == 0 {
            break;
        }
        let of_front = front.len().saturating_sub(read).min(size);
        assert_eq!(
            &piece[..of_front],
            &front.as_bytes()[read.min(front.len())..][..of_front]
        );
        let at = (read + of_front - front.len()) % PATTERN.len();
        let rest = &piece[of_front..];
        assert!(
            rest == &expected[at..at + rest.len()],
            "as it came, after {read}"
        );
        read += size;
    }
    assert_eq!(read, front.len() + body_bytes, "200 MB");
    let peak = memory_peak();
    assert!(peak < 100_000_000, "{peak} bytes of memory");
}
