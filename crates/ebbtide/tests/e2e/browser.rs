//! What users see, in a real browser: a plain page, one under a strict policy, and a single-page
//! application that shows its own, while their service closes, the time changes, and the time is up.
//!
//! `EBBTIDE_PICTURES=docs/images` keeps pictures.

use crate::harness::{Ebbtide, Setup};
use ebbtide_testkit::{Browser, until};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

const PLAIN: &str = "<!doctype html><title>Orders</title><meta name=viewport content='width=device-width'>\
    <h1>Orders</h1><p><input autofocus> Customer<p>4711 Miller &amp; Sons";

const APPLICATION: &str = "<!doctype html><title>Terminal</title><h1>Terminal</h1><p id=own>-<p id=line>-\
    <script>window.told = []; addEventListener('ebbtide:notice', (event) => { event.preventDefault(); \
    told.push(event.detail.why); own.textContent = event.detail.why; });\
    const socket = new WebSocket('ws://' + location.host + '/socket');\
    socket.onopen = () => line.textContent = 'connected';\
    socket.onclose = (event) => line.textContent = 'closed ' + event.code + ' ' + event.reason;</script>";

/// An application with the pages above, each of which includes the script itself.
fn application() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in socket.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

fn serve(stream: TcpStream) {
    let mut head = [0; 16 * 1024];
    let bytes = stream.peek(&mut head).unwrap_or(0);
    if head[..bytes].starts_with(b"GET /socket") {
        let Ok(mut socket) = tokio_tungstenite::tungstenite::accept(stream) else {
            return;
        };
        while socket.read().is_ok() {}
        return;
    }
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    if reader.read_line(&mut first).is_err() {
        return;
    }
    let mut line = String::from("-");
    while !line.trim().is_empty() {
        line.clear();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
    }
    let (page, policy) = match first.split(' ').nth(1).unwrap_or_default() {
        "/strict" => (
            PLAIN,
            "Content-Security-Policy: default-src 'none'; script-src 'self'; connect-src 'self'; \
             base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'\r\n",
        ),
        "/application" => (APPLICATION, ""),
        "/health" => ("ACTIVE", ""),
        _ => (PLAIN, ""),
    };
    let page = format!("{page}<script src=\"/.ebbtide/notice.js\" async></script>");
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n{policy}\
         Connection: close\r\n\r\n{page}",
        page.len()
    );
    let _ = reader.into_inner().write_all(answer.as_bytes());
}

fn start(more: &str) -> Ebbtide {
    let servers = vec![("web1".into(), application())];
    let mut setup = Setup::new(&[]).with("notice = { inject = false }");
    setup.pool += more;
    setup.servers = servers;
    Ebbtide::start(&setup)
}

fn close(ebbtide: &Ebbtide, within: &str, message: &str) {
    let close = ["close", "app", "--within", within, "--message", message];
    ebbtide.cli(&close).exits(0);
}

fn picture(browser: &Browser, name: &str) {
    if let Some(folder) = std::env::var_os("EBBTIDE_PICTURES") {
        browser.picture(&Path::new(&folder).join(name));
    }
}

/// Waits until the pop-up has gone.
fn dismiss(browser: &Browser) {
    browser.press("\u{e00c}");
    browser.wait_without("alertdialog:");
}

fn url(ebbtide: &Ebbtide, path: &str) -> String {
    format!("http://{}{path}", ebbtide.address)
}

#[test]
fn users_see_a_closing_its_changes_and_its_end() {
    let ebbtide = start("");
    let browser = Browser::start("en-GB,en");
    browser.open(&url(&ebbtide, "/plain"));
    close(&ebbtide, "20m", "The <b>database</b> moves & grows.");
    let told = browser.wait_for(&[
        "alertdialog: Service notice",
        "The <b>database</b> moves & grows.",
        "This service closes in 20 minutes",
        "Save your work",
    ]);
    assert!(told.contains("you cannot come back"), "{told}");
    picture(&browser, "notice.png");
    dismiss(&browser);
    browser.wait_for(&["region: Service notice", "This service closes in "]);
    // Where they were, they are again; and on the next page the pop-up does not come back.
    assert_eq!(
        browser.run("return document.activeElement.tagName"),
        "INPUT"
    );
    browser.open(&url(&ebbtide, "/strict"));
    let told = browser.wait_for(&["region: Service notice", "This service closes in "]);
    assert!(!told.contains("alertdialog"), "{told}");

    close(&ebbtide, "2h", "Later.");
    browser.wait_for(&[
        "alertdialog: New time",
        "This service closes in 2 hours",
        "Later.",
    ]);
    dismiss(&browser);
    ebbtide.cli(&["open", "app"]).exits(0);
    browser.wait_for(&["Called off", "You can go on working."]);
    browser.wait_without("Called off");

    close(&ebbtide, "5s", "Now.");
    browser.wait_for(&["alertdialog: Your session has ended", "button: Reload"]);
    picture(&browser, "notice-ended.png");
}

#[test]
fn the_banner_fits_the_dark_a_phone_and_a_language() {
    let ebbtide = start("");
    let browser = Browser::start("de-AT,de");
    browser.prefer("dark");
    browser.be_a_phone();
    browser.open(&url(&ebbtide, "/strict"));
    close(&ebbtide, "20m", "Die Datenbank zieht um.");
    browser.wait_for(&[
        "alertdialog: Hinweis zum Dienst",
        "Dieser Dienst schließt in 20 Minuten",
    ]);
    picture(&browser, "notice-phone-dark.png");
    dismiss(&browser);
    browser.wait_for(&["region: Hinweis zum Dienst", "button: Ausblenden"]);
    picture(&browser, "notice-banner-phone-dark.png");
}

#[test]
fn an_application_shows_its_own_and_its_socket_is_closed_in_time() {
    let ebbtide = start("");
    let browser = Browser::start("en");
    browser.open(&url(&ebbtide, "/application"));
    browser.wait_for(&["connected"]);
    close(&ebbtide, "30m", "Bye.");
    browser.wait_for(&["StaticText: notice"]);
    close(&ebbtide, "40m", "Bye.");
    browser.wait_for(&["StaticText: changed"]);
    ebbtide.cli(&["open", "app"]).exits(0);
    browser.wait_for(&["StaticText: cancelled"]);
    close(&ebbtide, "5s", "Bye.");
    let told = browser.wait_for(&["StaticText: ended", "closed 1001 Bye."]);
    assert!(!told.contains("alertdialog"), "{told}");
    until("it was told once of each", LIMIT, || {
        let told = browser.run("return told.join(' ')");
        (told == "notice changed cancelled notice ended").then_some(())
    });
}

#[test]
fn who_gets_no_stream_asks_instead() {
    let ebbtide = start("limits = { event_streams = 0 }\n");
    let browser = Browser::start("fr");
    browser.open(&url(&ebbtide, "/plain"));
    close(&ebbtide, "20m", "Bientôt.");
    browser.wait_for(&["alertdialog: Avis de service", "Bientôt."]);
}
