//! Pages that stay up to date: by what others do, over a restart, and whatever happens.

use super::desk::Desk;
use super::pool_label;
use crate::harness::{Ebbtide, LIMIT, Setup, models, text};
use ebbtide_api::Role;
use ebbtide_testkit::{BROWSER_LIMIT, Client, Request, Scratch, until};
use serde_json::json;
use std::io::{BufRead, BufReader, Lines, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

#[test]
fn two_operators_see_what_the_other_does() {
    let scratch = Scratch::new();
    let servers = models(3, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let anna = Desk::sign_in(&ebbtide, "anna", Role::Operator);
    let boris = Desk::sign_in(&ebbtide, "boris", Role::Operator);
    let _users = ebbtide.users(6, "web1");
    for desk in [&anna, &boris] {
        desk.open("/");
    }
    anna.panel("/do/hold?server=app/web1");
    anna.fill("#p-reason", "new <b>memory</b>");
    // Boris looks at the same server, and is quicker.
    boris.panel("/do/drain?server=app/web1");
    boris.fill("#p-within", "1h");
    boris.send();
    anna.wait_for_text("#server-app-web1", "Draining");
    anna.click("dialog button.main");
    anna.wait_for_text("dialog .box", "Changed meanwhile");
    let told = anna.text("dialog .box");
    assert!(
        told.contains("being drained now, ") && told.contains("(by boris)"),
        "{told}"
    );
    assert_eq!(ebbtide.intent("web1"), "drain", "shown, not overwritten");
    let reason = anna.run("return document.querySelector('#p-reason').value");
    assert_eq!(
        reason, "new <b>memory</b>",
        "nothing that was typed is lost"
    );
    // Now she knows.
    anna.send();
    assert_eq!(ebbtide.intent("web1"), "hold");
    boris.wait_for_text("#server-app-web1", "On hold");

    anna.panel("/do/close?pool=app");
    boris.panel("/do/close?pool=app");
    for desk in [&anna, &boris] {
        desk.fill("#p-within", "1h");
    }
    boris.send();
    assert_eq!(pool_label(&ebbtide), "closing");
    anna.click("dialog button.main");
    anna.wait_for_text("dialog .box", "closing by boris");
}

#[test]
fn a_page_stays_as_it_is_where_somebody_is_at_work() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Operator);
    desk.open("/sessions");
    desk.fill("#f-find", "127");
    desk.run("document.querySelector('#f-find').setSelectionRange(1, 2)");
    let _users = ebbtide.users(3, "web1");
    desk.wait_for_text(".sum", "3 sessions");
    let state = desk.run(
        "const field = document.querySelector('#f-find');\
         return [document.activeElement === field, field.value, field.selectionStart].join()",
    );
    assert_eq!(state, "true,127,1");
    desk.open("/api");
    desk.click("main summary");
    ebbtide.cli(&["close", "app", "--within", "1h"]).exits(0);
    desk.wait_for(".alarm");
    assert!(
        desk.has("main details[open] dl, main details[open] p"),
        "what was opened stays open"
    );
}

#[test]
fn a_page_outlives_the_node() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let mut ebbtide = Ebbtide::start(&Setup::new(&servers));
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Operator);
    desk.open("/");
    desk.run("window.isOld = true");
    ebbtide.kill();
    desk.wait_for_text("#pulse", "Connection lost");
    ebbtide.start_again();
    desk.wait_until_told("restarted");
    assert_eq!(
        desk.run("return window.isOld ?? false"),
        false,
        "it is of the new program"
    );
    desk.wait_for("#pulse[data-state=live]");
    ebbtide.cli(&["hold", "app/web1"]).exits(0);
    desk.wait_for_text("#server-app-web1", "On hold");
}

/// Users who keep no cookie, until they are dropped: each of their requests begins a session, an event each.
struct Flood {
    requests: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    users: Vec<JoinHandle<()>>,
}

impl Flood {
    fn start(address: SocketAddr) -> Self {
        let (requests, stop) = (Arc::default(), Arc::default());
        let user = |_| {
            let (requests, stop) = (Arc::clone(&requests), Arc::clone(&stop));
            thread::spawn(move || flood(address, &requests, &stop))
        };
        Self {
            users: (0..2).map(user).collect(),
            requests,
            stop,
        }
    }

    fn events(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// The flood goes on while this is done.
    #[track_caller]
    fn during<T>(&self, what: impl FnOnce() -> T) -> T {
        let before = self.events();
        let done = what();
        let after = self.events();
        assert!(after > before, "nothing happened after {before} events");
        done
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        let ended = self.users.drain(..).all(|user| user.join().is_ok());
        assert!(ended || thread::panicking(), "every request was answered");
    }
}

fn flood(address: SocketAddr, requests: &AtomicU64, stop: &AtomicBool) {
    let mut client = Client::new(address, LIMIT);
    while !stop.load(Relaxed) {
        client.jar.clear();
        assert_eq!(client.send(&Request::get("/")).answer().head.status(), 200);
        requests.fetch_add(1, Relaxed);
    }
}

/// Another open page, as a browser gets it: how many times it was drawn, and its bytes.
struct Watcher {
    lines: Lines<BufReader<TcpStream>>,
    begun: Instant,
}

impl Watcher {
    fn open(ebbtide: &Ebbtide) -> Self {
        let add = ["token", "add", "watcher", "--role", "viewer", "--json"];
        let token = ebbtide.cli(&add).exits(0).json();
        let mut stream = TcpStream::connect(ebbtide.admin).unwrap();
        let request = format!(
            "GET /live/events?kind=all HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n\
             Authorization: Bearer {}\r\n\r\n",
            ebbtide.admin,
            text(&token["secret"])
        );
        let begun = Instant::now();
        stream.write_all(request.as_bytes()).unwrap();
        let mut lines = BufReader::new(stream).lines();
        assert!(lines.next().unwrap().unwrap().contains("200"));
        Self { lines, begun }
    }

    /// Reads on until a page says this; there were not too many by then, nor too large ones.
    fn read_until(self, last: &'static str) -> JoinHandle<()> {
        thread::spawn(move || {
            let (mut pages, mut bytes) = (0, 0);
            for line in self.lines.map_while(Result::ok) {
                pages += u32::from(line == "event: page");
                bytes += line.len();
                if line.contains(last) {
                    break;
                }
            }
            let pause = Duration::from_millis(300);
            let most = self.begun.elapsed().as_millis() / pause.as_millis() + 2;
            assert!(u128::from(pages) <= most, "{pages} pages, at most {most}");
            let bytes_max = 200_000 * pages as usize;
            assert!(bytes < bytes_max, "{bytes} bytes in {pages} pages");
        })
    }
}

/// What the browser keeps in memory of the page: its nodes, those that are shown no more among them.
fn nodes(desk: &Desk) -> u64 {
    let browser = &desk.browser;
    browser.devtools("HeapProfiler.collectGarbage", &json!({}));
    let counted = browser.devtools("Memory.getDOMCounters", &json!({}));
    counted["nodes"].as_u64().expect("a number")
}

/// Whatever happens, a page is sent a few times a second at most, and somebody can work with it.
#[test]
fn many_events_make_few_pages_and_clicks_count_meanwhile() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Operator);
    let watcher = Watcher::open(&ebbtide).read_until("intent ready → drain");
    desk.open("/events?kind=all");
    let flood = Flood::start(ebbtide.address);
    until("the page is full", BROWSER_LIMIT, || {
        let rows = desk.run("return document.querySelectorAll('.events li').length");
        (rows.as_u64()? >= 100).then_some(())
    });
    // What was shown before is let go of.
    let full = nodes(&desk);
    let latest = || desk.run("return document.querySelector('.events li').id");
    for _ in 0..5 {
        let shown = latest();
        until("the page is drawn anew", BROWSER_LIMIT, || {
            (latest() != shown).then_some(())
        });
    }
    let later = nodes(&desk);
    assert!(later < 2 * full, "{later} nodes in memory, {full} before");

    flood.during(|| {
        desk.click("nav a[href=\"/\"]");
        desk.panel("/do/hold?server=app/web1");
    });
    flood.during(|| {
        desk.fill("#p-reason", "in the middle of it");
        desk.send();
    });
    let intent = ebbtide.server("web1")["intent"].clone();
    assert_eq!(
        (&intent["label"], &intent["reason"]),
        (&"hold".into(), &"in the middle of it".into())
    );
    flood.during(|| desk.wait_for_text("#server-app-web1", "On hold"));
    flood.during(|| {
        desk.panel("/do/ready?server=app/web1");
        desk.send();
    });
    assert_eq!(ebbtide.intent("web1"), "ready");
    flood.during(|| desk.wait_for_text("#server-app-web1", "Ready"));

    desk.click("nav a[href=\"/events\"]");
    desk.wait_for_text("main", "intent hold → ready");
    desk.choose("#e-kind", "all");
    flood.during(|| desk.wait_for_text(".events", "session"));
    until("there was a flood", BROWSER_LIMIT, || {
        (flood.events() > 5000).then_some(())
    });
    drop(flood);
    let drain = ["drain", "app/web2", "--within", "1h"];
    ebbtide.cli(&drain).exits(0);
    desk.wait_for_text("main", "intent ready → drain");
    watcher.join().expect("few pages");
    let rows = desk.run("return document.querySelectorAll('.events li').length");
    assert!(rows.as_u64().unwrap() <= 150, "{rows}");
}
