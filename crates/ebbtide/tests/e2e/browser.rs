//! What users see, in a real browser: plain pages, strange ones, and a single-page application that
//! shows its own, while their service closes, the time changes, the time is up, and it opens again.
//!
//! `EBBTIDE_PICTURES=$PWD/docs/images` keeps pictures.

use crate::harness::{Ebbtide, Setup};
use ebbtide_testkit::{Browser, until};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// Keys, as WebDriver names them.
const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";

const PLAIN: &str = "<!doctype html><title>Orders</title><meta name=viewport content='width=device-width'>\
    <h1>Orders</h1><p><input autofocus> Customer<p>4711 Miller &amp; Sons";

const APPLICATION: &str = "<!doctype html><title>Terminal</title><h1>Terminal</h1><p id=own>-<p id=line>-\
    <script>window.told = []; addEventListener('ebbtide:notice', (event) => { event.preventDefault(); \
    told.push(event.detail.why); own.textContent = event.detail.why; });\
    addEventListener('ebbtide:message', (event) => { event.preventDefault(); window.message = event.detail.id;\
    own.textContent = 'message ' + event.detail.text; });\
    const socket = new WebSocket('ws://' + location.host + '/socket');\
    socket.onopen = () => line.textContent = 'connected';\
    socket.onclose = (event) => line.textContent = 'closed ' + event.code + ' ' + event.reason;</script>";

/// Records what it is told, and leaves it to the script to show it.
const RECORDING: &str = "<!doctype html><title>Orders</title><h1>Orders</h1><script>window.told = [];\
    addEventListener('ebbtide:notice', ({ detail }) => told.push(detail.why + ' ' + detail.notice?.message));\
    </script>";

/// Its rules mean to spoil whatever they reach.
const HOSTILE: &str = "<!doctype html><title>Orders</title><style>html { font-size: 40px; visibility: hidden }\
    div, section, dialog, p, button { display: none !important; color: red !important }\
    * { font: bold 30px serif !important; letter-spacing: 9px; text-transform: uppercase; direction: rtl !important;\
    --e-back: red; --e-ink: red; --e-card: red; --e-text: red; visibility: hidden !important }\
    html > div { all: unset !important; display: none !important; opacity: 0 !important; zoom: 3 !important;\
    transform: scale(3) !important; --e-back: red !important; --e-card: red !important }</style><h1>Orders</h1>";

const FRAMES: &str = "<!doctype html><title>Desk</title><h1>Desk</h1>\
    <iframe src=/plain width=600 height=300></iframe><iframe src=/strict width=600 height=300></iframe>";

const FRAMESET: &str = "<!doctype html><title>Desk</title><frameset cols='50%,50%'><frame src=/plain>\
    <frame src=/plain></frameset>";

/// An application with the pages above, which include the script themselves.
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
        "/recording" => (RECORDING, ""),
        "/hostile" => (HOSTILE, ""),
        "/frames" | "/frames-without" => (FRAMES, ""),
        "/frameset" => (FRAMESET, ""),
        "/text" => ("<!doctype html>no head, no body", ""),
        "/health" => ("ACTIVE", ""),
        _ => (PLAIN, ""),
    };
    let script = match first.contains("without") {
        true => "",
        false => "<script src=\"/.ebbtide/notice.js\" async></script>",
    };
    // Where the script is put into pages that do not have it.
    let page = page.replacen("<!doctype html>", &format!("<!doctype html>{script}"), 1);
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n{policy}\
         Connection: close\r\n\r\n{page}",
        page.len()
    );
    let _ = reader.into_inner().write_all(answer.as_bytes());
}

fn start(more: &str) -> Ebbtide {
    start_with("inject = false", &["web1"], more)
}

fn start_with(notice: &str, servers: &[&str], more: &str) -> Ebbtide {
    let mut setup = Setup::new(&[]).with(&format!("notice = {{ {notice} }}"));
    setup.pool += more;
    let servers = servers.iter();
    setup.servers = servers
        .map(|name| ((*name).into(), application()))
        .collect();
    Ebbtide::start(&setup)
}

fn close(ebbtide: &Ebbtide, within: &str, message: &str) {
    let close = ["close", "app", "--within", within, "--message", message];
    ebbtide.cli(&close).exits(0);
}

/// Keeps a picture, once nothing moves any more.
fn picture(browser: &Browser, name: &str) {
    if let Some(folder) = std::env::var_os("EBBTIDE_PICTURES") {
        let moving = "function() { return this.getRootNode().getAnimations().length }";
        until("nothing moves", LIMIT, || {
            (browser.inside("banner", moving)? == 0).then_some(())
        });
        browser.picture(&Path::new(&folder).join(name));
    }
}

/// Where the element is, how large, and in which colours and letters.
#[track_caller]
fn look(browser: &Browser, id: &str) -> String {
    let look = "function() { const { x, y, width, height } = this.getBoundingClientRect();\
        const of = getComputedStyle(this); return [x, y, width, height, of.color, of.backgroundColor, of.font,\
        of.visibility, of.direction, of.textTransform, of.letterSpacing].join(' ') }";
    let look = browser.inside(id, look).expect("it is there");
    look.as_str().expect("a text").to_owned()
}

/// How many there are of it.
fn count(told: &str, what: &str) -> usize {
    told.matches(what).count()
}

/// Waits until the pop-up has gone.
fn dismiss(browser: &Browser) {
    browser.press(ESCAPE);
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
        "This service closes in 19 minutes",
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
        "This service closes in 1 hr 59 min",
        "Later.",
    ]);
    dismiss(&browser);
    ebbtide.cli(&["open", "app"]).exits(0);
    browser.wait_for(&["Called off", "You can go on working."]);
    browser.wait_without("Called off");

    // Nobody is told of two minutes who has less, nor of a time without its seconds.
    close(&ebbtide, "110s", "Soon.");
    browser.wait_for(&["alertdialog: Service notice", "closes in 1 min ", "sec"]);
    let end = "function() { return /\\d+:\\d\\d:\\d\\d/.test(this.textContent) }";
    assert_eq!(browser.inside("end", end), Some(true.into()));
    close(&ebbtide, "50s", "Now.");
    browser.wait_for(&["alertdialog: New time", "Now."]);
    dismiss(&browser);
    // In the last minute, too, it can be put out of the way, by keyboard as well.
    let width = "function() { return this.getBoundingClientRect().width }";
    assert_eq!(browser.inside("banner", width), Some(1000.into()));
    picture(&browser, "notice-last-minute.png");
    browser.press(TAB);
    browser.press(TAB);
    browser.press(ENTER);
    browser.wait_for(&["button: Show"]);
    let small = browser.inside("banner", width).expect("a banner");
    assert!(small.as_f64().expect("a width") < 300.0, "{small}");
    picture(&browser, "notice-hidden.png");
    browser.press(ENTER);
    browser.wait_for(&["button: Hide", "button: Details"]);
}

#[test]
fn users_learn_that_it_is_closed_and_when_it_opens() {
    let ebbtide = start("");
    let browser = Browser::start("en");
    browser.open(&url(&ebbtide, "/plain"));
    let close = [
        "close",
        "app",
        "--within",
        "5s",
        "--for",
        "2h",
        "--message",
        "Upgrade.",
    ];
    ebbtide.cli(&close).exits(0);
    let told = browser.wait_for(&[
        "alertdialog: Your session has ended",
        "The service is closed.",
        "Upgrade.",
        "Expected to open again: ",
        "button: OK",
    ]);
    assert!(!told.contains("button: Reload"), "in vain: {told}");
    picture(&browser, "notice-ended.png");
    // What they have not saved they can still copy.
    dismiss(&browser);
    browser.wait_for(&[
        "region: Service notice",
        "Your session has ended",
        "textbox",
    ]);
    ebbtide.cli(&["open", "app"]).exits(0);
    let told = browser.wait_for(&[
        "alertdialog: The service is open again",
        "button: Reload the page",
    ]);
    assert!(!told.contains("is closed"), "{told}");
    picture(&browser, "notice-open-again.png");
    browser.press(TAB);
    browser.press(ENTER);
    until("the page is loaded anew", LIMIT, || {
        (!browser.told().contains("open again")).then_some(())
    });
}

#[test]
fn pages_and_languages_of_all_kinds_show_the_same() {
    let ebbtide = start("");
    let browser = Browser::start("en");
    let open = |path: &str| {
        browser.run("try { sessionStorage.clear() } catch {}");
        browser.open(&url(&ebbtide, path));
    };
    let parts = ["alertdialog: Service notice", "This service closes in 1"];
    open("/plain");
    close(&ebbtide, "20m", "Soon.");
    browser.wait_for(&parts);
    let looks = |names: [&str; 4]| names.map(|name| look(&browser, name));
    let plain = looks(["banner", "left", "title", "message"]);
    open("/hostile");
    browser.wait_for(&parts);
    assert_eq!(looks(["banner", "left", "title", "message"]), plain);
    // In all windows and frames of a page it is shown once.
    for path in ["/frames", "/frames-without", "/frameset", "/text"] {
        open(path);
        let told = browser.wait_for(&["alertdialog: Service notice"]);
        let pop_ups = count(&told, "alertdialog:");
        dismiss(&browser);
        let told = browser.wait_for(&["region: Service notice"]);
        let shown = (pop_ups, count(&told, "region: Service notice"));
        assert_eq!(shown, (1, 1), "{path}: {told}");
    }
    for (language, parts) in [
        (
            "es-MX,es",
            ["Aviso del servicio", "Este servicio cierra en 1"],
        ),
        (
            "ja,en",
            ["サービスからのお知らせ", "分でこのサービスは停止します"],
        ),
        ("zh-CN,zh", ["服务通知", "分钟后关闭"]),
        ("fr-CH,fr", ["Avis de service", "Ce service ferme dans 1"]),
        (
            "xx,de",
            ["Hinweis zum Dienst", "Dieser Dienst schließt in 1"],
        ),
        ("xx", ["Service notice", "This service closes in 1"]),
    ] {
        browser.speak(language);
        open("/plain");
        browser.wait_for(&parts);
    }
    browser.prefer("forced-colors", "active");
    close(&ebbtide, "50s", "Now.");
    browser.wait_for(&["alertdialog: New time"]);
    dismiss(&browser);
    let edges = "function() { const of = getComputedStyle(this); const canvas = document.createElement('i');\
        canvas.style.color = 'Canvas'; document.body.append(canvas); return of.borderBottomWidth + ' ' +\
        (of.backgroundColor === getComputedStyle(canvas).color) }";
    assert_eq!(browser.inside("banner", edges), Some("6px true".into()));
    picture(&browser, "notice-forced-colours.png");
}

#[test]
fn a_drain_is_told_to_the_users_of_its_server_and_they_are_reminded() {
    let notice = "inject = false, reminders = [\"30m\", \"10m\"]";
    let ebbtide = start_with(notice, &["web1", "web2"], "");
    let browser = Browser::start("en");
    browser.open(&url(&ebbtide, "/recording"));
    let session = "const asked = new XMLHttpRequest(); asked.open('GET', '/.ebbtide/session', false); asked.send();\
        return JSON.parse(asked.responseText).server";
    let own = browser.run(session);
    let own = own.as_str().expect("a server");
    let other = match own {
        "app/web1" => "app/web2",
        _ => "app/web1",
    };
    let drain = |server: &str, within: &str, message: &str| {
        let drain = [
            "drain",
            server,
            "--within",
            within,
            "--message",
            message,
            "--force",
        ];
        ebbtide.cli(&drain).exits(0);
    };
    drain(other, "40m", "Theirs.");
    drain(own, "1803s", "Yours.");
    browser.wait_for(&[
        "alertdialog: Service notice",
        "Your session ends in ",
        "Yours.",
        "begin again on another server",
    ]);
    dismiss(&browser);
    // Half an hour before the end, three seconds later.
    browser.wait_for(&[
        "alertdialog: Service notice",
        "Your session ends in 29 minutes",
    ]);
    dismiss(&browser);
    drain(own, "603s", "Yours.");
    browser.wait_for(&["alertdialog: New time"]);
    dismiss(&browser);
    browser.wait_for(&["alertdialog: Service notice", "Your session ends in 9 min "]);
    ebbtide.cli(&["ready", other]).exits(0);
    drain(own, "5s", "Yours.");
    let told = browser.wait_for(&[
        "alertdialog: Your session has ended",
        "button: Reload the page",
    ]);
    assert!(!told.contains("closed"), "{told}");
    let expected = [
        "notice", "reminder", "changed", "reminder", "changed", "ended",
    ];
    let expected = expected.map(|why| match why {
        "ended" => "ended undefined".to_owned(),
        why => format!("{why} Yours."),
    });
    assert_eq!(browser.run("return told.join()"), expected.join(","));
}

#[test]
fn the_banner_fits_the_dark_a_phone_and_a_language() {
    let ebbtide = start("");
    let browser = Browser::start("de-AT,de");
    browser.prefer("prefers-color-scheme", "dark");
    browser.be_a_phone();
    browser.open(&url(&ebbtide, "/strict"));
    close(&ebbtide, "20m", "Die Datenbank zieht um.");
    browser.wait_for(&[
        "alertdialog: Hinweis zum Dienst",
        "Dieser Dienst schließt in 19 Minuten",
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
    ebbtide.cli(&["open", "app"]).exits(0);
    browser.wait_for(&["StaticText: reopened"]);
}

#[test]
fn who_gets_no_stream_asks_instead() {
    let ebbtide = start("limits = { event_streams = 0 }\n");
    let browser = Browser::start("fr");
    browser.open(&url(&ebbtide, "/plain"));
    close(&ebbtide, "20m", "Bientôt.");
    browser.wait_for(&["alertdialog: Avis de service", "Bientôt."]);
}

/// What the page's user is told by an operator, as its own script would ask.
fn message(browser: &Browser) -> serde_json::Value {
    browser.run(
        "const asked = new XMLHttpRequest(); asked.open('GET', '/.ebbtide/session', false); asked.send();\
         return JSON.parse(asked.responseText).message?.text ?? null",
    )
}

/// Leaves all users of the pool a message.
fn tell(ebbtide: &Ebbtide, text: &str) {
    let tell = ["sessions", "tell", "--of", "app", "--message", text];
    let ran = ebbtide.cli(&tell).exits(0);
    assert!(ran.out.contains("the message was left for"), "{ran:?}");
}

#[test]
fn an_operators_message_is_shown_and_once_dismissed_it_stays_so() {
    let ebbtide = start_with("inject = true", &["web1"], "");
    let browser = Browser::start("en");
    browser.open(&url(&ebbtide, "/plain"));
    tell(&ebbtide, "<b>Please</b> call\n4455");
    let told = browser.wait_for(&[
        "alertdialog: Message from the operators",
        "<b>Please</b> call",
        "4455",
        "button: OK",
    ]);
    assert!(!told.contains("region: Service notice"), "{told}");
    picture(&browser, "message.png");
    // The next message takes its place.
    tell(&ebbtide, "Never mind.");
    let told = browser.wait_for(&["alertdialog: Message from the operators", "Never mind."]);
    assert_eq!(count(&told, "alertdialog:"), 1, "{told}");
    assert!(!told.contains("4455"), "{told}");
    // By keyboard; and they are where they were.
    browser.press(TAB);
    browser.press(TAB);
    browser.press(ENTER);
    browser.wait_without("alertdialog:");
    let focus = browser.run("return document.activeElement.tagName");
    assert_eq!(focus, "INPUT");
    until("it has been dismissed", LIMIT, || {
        message(&browser).is_null().then_some(())
    });
    let has_script = "return document.querySelectorAll('script[src*=notice]').length";
    browser.open(&url(&ebbtide, "/without"));
    assert_eq!(browser.run(has_script), 0, "the next page is as it comes");

    // It comes with the next page where none with the script was open.
    tell(&ebbtide, "Are you there?");
    browser.open(&url(&ebbtide, "/without"));
    assert_eq!(browser.run(has_script), 1);
    browser.wait_for(&["alertdialog: Message from the operators", "Are you there?"]);
    dismiss(&browser);
    until("it has been dismissed", LIMIT, || {
        message(&browser).is_null().then_some(())
    });

    // Beside a notice there is one pop-up at a time, and none is dismissed unread.
    browser.open(&url(&ebbtide, "/strict"));
    close(&ebbtide, "20m", "Upgrade.");
    browser.wait_for(&["alertdialog: Service notice", "Upgrade."]);
    tell(&ebbtide, "Only you.");
    browser.press(ESCAPE);
    browser.wait_for(&["alertdialog: Message from the operators", "Only you."]);
    close(&ebbtide, "2h", "Later.");
    let told = browser.wait_for(&["alertdialog: New time", "Later."]);
    assert_eq!(count(&told, "alertdialog:"), 1, "{told}");
    browser.press(ESCAPE);
    browser.wait_for(&["alertdialog: Message from the operators", "Only you."]);
    assert_eq!(message(&browser), "Only you.");
    dismiss(&browser);
    browser.wait_for(&["region: Service notice", "This service closes in "]);
    until("it has been dismissed", LIMIT, || {
        message(&browser).is_null().then_some(())
    });
}

#[test]
fn a_message_that_its_user_dismissed_stays_so_although_nobody_learns_of_it() {
    let ebbtide = start("");
    let browser = Browser::start("de");
    browser.open(&url(&ebbtide, "/plain"));
    browser.run("window.fetch = () => Promise.reject(new Error('offline'))");
    tell(&ebbtide, "Bitte 4455 anrufen.");
    browser.wait_for(&[
        "alertdialog: Nachricht der Betreiber",
        "Bitte 4455 anrufen.",
    ]);
    dismiss(&browser);
    assert_eq!(message(&browser), "Bitte 4455 anrufen.");
    browser.open(&url(&ebbtide, "/recording"));
    close(&ebbtide, "20m", "Später.");
    let told = browser.wait_for(&["alertdialog: Hinweis zum Dienst", "Später."]);
    assert!(!told.contains("Nachricht"), "{told}");
}

#[test]
fn an_application_shows_a_message_itself() {
    let ebbtide = start("");
    let browser = Browser::start("en");
    browser.open(&url(&ebbtide, "/application"));
    browser.wait_for(&["connected"]);
    tell(&ebbtide, "Please call 4455.");
    let told = browser.wait_for(&["StaticText: message Please call 4455."]);
    assert!(!told.contains("alertdialog"), "{told}");
    assert_eq!(message(&browser), "Please call 4455.");
    browser.run("fetch('/.ebbtide/dismiss?message=' + window.message, { method: 'POST' })");
    until("it has been dismissed", LIMIT, || {
        message(&browser).is_null().then_some(())
    });
}
