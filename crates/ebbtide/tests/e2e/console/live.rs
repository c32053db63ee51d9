//! Pages that stay up to date: by what others do, over a restart, and whatever happens.

use super::desk::Desk;
use super::pool_label;
use crate::harness::{Ebbtide, LIMIT, Setup, models, text};
use ebbtide_api::Role;
use ebbtide_testkit::{BROWSER_LIMIT, Client, Request, Scratch, until};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
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
    // Boris looks at the same server, and is quicker.
    boris.panel("/do/drain?server=app/web1");
    boris.fill("#p-within", "1h");
    boris.send();
    anna.wait_for_text("#server-app-web1", "Draining");
    anna.click("dialog button.main");
    anna.wait_for_text("dialog .box", "Changed meanwhile");
    let told = anna.text("dialog .box");
    assert!(told.contains("drain by boris"), "{told}");
    assert_eq!(ebbtide.intent("web1"), "drain", "shown, not overwritten");
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

/// Whatever happens, a page is sent a few times a second at most.
#[test]
fn many_events_make_few_pages() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Operator);
    desk.open("/events?kind=all");
    let token = ebbtide
        .cli(&["token", "add", "watcher", "--role", "viewer", "--json"])
        .exits(0)
        .json();
    let mut stream = TcpStream::connect(ebbtide.admin).unwrap();
    let request = format!(
        "GET /live/events?kind=all HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n\
         Authorization: Bearer {}\r\n\r\n",
        ebbtide.admin,
        text(&token["secret"])
    );
    let begun = Instant::now();
    stream.write_all(request.as_bytes()).unwrap();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    assert!(lines.next().unwrap().contains("200"));
    // Everybody who keeps no cookie begins a session: an event each.
    let mut client = Client::new(ebbtide.address, LIMIT);
    for _ in 0..3000 {
        client.jar.clear();
        assert_eq!(client.send(&Request::get("/")).answer().head.status(), 200);
    }
    ebbtide.cli(&["hold", "app/web1"]).exits(0);
    let (mut pages, mut bytes) = (0, 0);
    for line in lines {
        pages += u32::from(line == "event: page");
        bytes += line.len();
        if line.contains("intent ready → hold") {
            break;
        }
    }
    let most = begun.elapsed().as_millis() / Duration::from_millis(300).as_millis() + 2;
    assert!(
        u128::from(pages) <= most,
        "{pages} pages, {most} would be the most"
    );
    assert!(
        bytes < 200_000 * pages as usize,
        "{bytes} bytes in {pages} pages"
    );
    desk.wait_for_text("main", "intent ready → hold");
    let rows = desk.run("return document.querySelectorAll('.events li').length");
    assert!(rows.as_u64().unwrap() <= 150, "{rows}");
    until("the page takes clicks", BROWSER_LIMIT, || {
        desk.click("a[href=\"/node\"]");
        desk.has("#n-facts").then_some(())
    });
}
