//! The console, in a real browser: whatever is clicked is looked up through the API afterwards.

mod access;
mod again;
mod axe;
mod back;
mod closing;
mod deadline;
mod desk;
mod downloads;
mod files;
mod find;
mod guard;
mod keys;
mod live;
mod moves;
mod pictures;
mod plain;
mod public;
mod sign_out;
mod sizes;
mod spread;
mod tell;
mod text;
mod told;
mod users;

use crate::harness::{Ebbtide, LIMIT, Setup, models, text, timestamp};
pub use desk::{Desk, audited};
use ebbtide_api::Role;
use ebbtide_testkit::{Scratch, until};
use serde_json::Value;
use std::time::{Duration, SystemTime};

fn pool(ebbtide: &Ebbtide) -> Value {
    ebbtide.status()["pools"][0].clone()
}

fn pool_label(ebbtide: &Ebbtide) -> String {
    text(&pool(ebbtide)["intent"]["label"])
}

#[track_caller]
fn wait_for_intent(ebbtide: &Ebbtide, server: &str, intent: &str) {
    until(&format!("{server} is in {intent}"), LIMIT, || {
        (ebbtide.intent(server) == intent).then_some(())
    });
}

#[test]
fn a_server_is_held_and_returned_by_clicking() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Operator);
    let users: Vec<_> = (0..4).map(|_| ebbtide.user()).collect();

    desk.panel("/do/hold?server=app/web1");
    let told = desk.text("dialog");
    assert!(
        told.contains("New sessions") && told.contains("go to web2"),
        "{told}"
    );
    assert!(told.contains("go on until they end"), "{told}");
    assert_eq!(
        ebbtide.intent("web1"),
        "ready",
        "nothing is done by looking"
    );
    desk.fill("#p-reason", "kernel update");
    desk.send();
    desk.wait_until_told("app/web1 is on hold");
    let intent = ebbtide.server("web1")["intent"].clone();
    assert_eq!(
        (text(&intent["label"]), text(&intent["by"])),
        ("hold".into(), "anna".into())
    );
    assert_eq!(intent["reason"], "kernel update");
    assert_eq!(audited(&ebbtide, "hold")["who"], "anna");
    desk.wait_for_text("#server-app-web1", "On hold");

    desk.panel("/do/ready?server=app/web1");
    desk.send();
    assert_eq!(ebbtide.intent("web1"), "ready");
    desk.wait_for_text("#server-app-web1", "Ready");

    let epoch = |name: &str| ebbtide.server(name)["epoch"].as_u64().unwrap();
    let before = epoch("web2");
    desk.panel("/do/forget?server=app/web2");
    desk.send();
    assert_eq!(epoch("web2"), before + 1);
    drop(users);
}

#[test]
fn a_drain_is_begun_changed_and_ended_by_clicking() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Operator);
    let _users = ebbtide.users(4, "web1");

    desk.panel("/do/drain?server=app/web1");
    desk.fill("#p-within", "2h");
    desk.fill("#p-message", "Upgrade <b>tonight</b>");
    // What users will see is shown while it is written.
    desk.wait_for_text("#foretold .as-bar", "Your session ends in 2 hr 0 min");
    desk.wait_for_text("#foretold .as-message", "Upgrade <b>tonight</b>");
    desk.send();
    let intent = ebbtide.server("web1")["intent"].clone();
    assert_eq!(intent["label"], "drain");
    assert_eq!(intent["message"], "Upgrade <b>tonight</b>");
    let left = ebbtide
        .deadline("web1")
        .duration_since(SystemTime::now())
        .unwrap();
    assert!(
        left > Duration::from_secs(7000) && left <= Duration::from_secs(7200),
        "{left:?}"
    );

    desk.open("/servers/app/web1");
    desk.wait_for_text("main", "Draining");
    desk.wait_for(".chart .deadline");
    desk.wait_for_text("main", "Its users are told");
    let first = ebbtide.deadline("web1");
    desk.panel("/do/drain?server=app/web1&within=2h%2010m");
    desk.send();
    let second = ebbtide.deadline("web1");
    assert!(second > first, "ten minutes more");
    assert_eq!(
        ebbtide.server("web1")["intent"]["message"],
        "Upgrade <b>tonight</b>",
        "more time is no other message"
    );

    desk.panel("/do/maintenance?server=app/web1");
    assert!(desk.text("dialog").contains("ended at once"));
    desk.send();
    assert_eq!(ebbtide.intent("web1"), "maintenance");
    desk.wait_for_text("main", "Maintenance");
    assert_eq!(ebbtide.sessions("web1"), 0);
}

#[test]
fn the_guard_says_what_force_would_do() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Operator);
    ebbtide.cli(&["hold", "app/web2"]).exits(0);
    desk.wait_for_text("#server-app-web2", "On hold");

    desk.panel("/do/maintenance?server=app/web1");
    let told = desk.text("dialog .box");
    assert!(
        told.contains("Without web1 no server takes new sessions"),
        "{told}"
    );
    assert!(told.contains("turned away"), "{told}");
    // Without the tick the browser does not send it.
    desk.click("dialog button.main");
    desk.wait_for("dialog #p-force:invalid");
    assert_eq!(ebbtide.intent("web1"), "ready");
    desk.click("#p-force");
    desk.send();
    assert_eq!(ebbtide.intent("web1"), "maintenance");
    let line = audited(&ebbtide, "maintenance");
    assert_eq!(
        (&line["forced"], &line["who"]),
        (&true.into(), &"anna".into())
    );
}

#[test]
fn servers_are_added_limited_and_removed_by_clicking() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let mut setup = Setup::new(&servers);
    setup.servers.truncate(1);
    let ebbtide = Ebbtide::start(&setup);
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Operator);

    desk.panel("/do/add?pool=app");
    desk.fill("#p-name", "web9");
    desk.fill("#p-address", "nowhere");
    desk.click("dialog button.main");
    desk.wait_for_text("dialog .box", "has no port");
    assert_eq!(
        desk.run("return document.querySelector('#p-name').value"),
        "web9"
    );
    desk.fill("#p-address", &servers[1].address.to_string());
    desk.fill("#p-max_sessions", "50");
    desk.send();
    ebbtide.wait_for_reason("web9", "ready");
    assert_eq!(ebbtide.server("web9")["max_sessions"], 50);

    desk.panel("/do/set?server=app/web9");
    desk.fill("#p-peak_load", "0");
    desk.fill("#p-max_sessions", "");
    desk.fill("#p-weight", "3");
    desk.send();
    let web9 = ebbtide.server("web9");
    assert_eq!(
        (&web9["peak_load"], &web9["weight"]),
        (&0.into(), &3.into())
    );
    assert_eq!(web9["max_sessions"], Value::Null);
    desk.wait_for_text("#server-app-web9", "Peak load 0");

    desk.panel("/do/remove?server=app/web9");
    desk.send();
    desk.wait_without("#server-app-web9");
    assert_eq!(pool(&ebbtide)["servers"].as_array().unwrap().len(), 1);
}

#[test]
fn a_pool_is_closed_and_opened_by_clicking() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers).with("contact = \"ext. <4455>\""));
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Operator);
    let _users = ebbtide.users(3, "web1");

    desk.open("/maintenance");
    desk.panel("/do/close?pool=app");
    desk.fill("#p-within", "1h");
    desk.fill("#p-message", "Upgrade.\nPlease save your work.");
    desk.fill("#p-lasting", "2h");
    desk.click("#p-block_new-at-deadline");
    desk.wait_for_text("#foretold .as-page", "ext. <4455>");
    desk.wait_for_text("#foretold .as-card", "Expected to open again");
    desk.send();
    let intent = pool(&ebbtide)["intent"].clone();
    assert_eq!(
        (text(&intent["label"]), &intent["blocks_new"]),
        ("closing".into(), &false.into())
    );
    assert_eq!(intent["message"], "Upgrade.\nPlease save your work.");
    let ends = timestamp(&intent["deadline"]);
    assert_eq!(
        timestamp(&intent["expected_end"]),
        ends + Duration::from_secs(7200)
    );

    // Whoever looks at whatever sees it, and gets there from there.
    for page in [
        "/",
        "/servers/app/web1",
        "/sessions",
        "/replicas",
        "/events",
        "/audit",
        "/node",
        "/api",
    ] {
        desk.open(page);
        desk.wait_for_text(".alarm", "app is closing");
    }
    desk.click(".alarm a");
    desk.wait_for_text("#pool-app", "Who is still in");
    desk.panel("/do/open?pool=app");
    desk.send();
    assert_eq!(pool_label(&ebbtide), "open");
    desk.wait_without(".alarm");

    desk.panel("/do/close?pool=app");
    desk.fill("#p-within", "0s");
    desk.send();
    assert_eq!(pool_label(&ebbtide), "closed");
    desk.wait_for_text(".alarm", "app is closed");
    desk.panel("/do/open?pool=app");
    desk.send();
    assert_eq!(pool_label(&ebbtide), "open");
}

#[test]
fn sessions_are_found_sorted_and_ended_by_clicking() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Operator);
    let users: Vec<_> = (0..60).map(|_| ebbtide.user()).collect();
    assert_eq!(ebbtide.sessions("web1"), 60);

    desk.open("/sessions");
    desk.wait_for_text(".sum", "60 sessions");
    let rows = || desk.run("return document.querySelectorAll('tbody tr').length");
    assert_eq!(rows(), 50);
    desk.click("a[rel=next]");
    desk.wait_for_text(".pager", "First page");
    assert_eq!(rows(), 10);
    desk.open("/sessions?pool=app&sort=began");
    let first = || desk.run("return document.querySelector('tbody tr').id");
    let oldest = text(&first());
    desk.click("th[aria-sort=ascending] a");
    desk.wait_for("th[aria-sort=descending]");
    assert_ne!(text(&first()), oldest);
    let id = oldest.trim_start_matches("session-").to_owned();
    desk.fill("#f-find", &id);
    desk.wait_for_text(".sum", "1 session");
    desk.panel(&format!("/do/end?id={id}"));
    desk.fill("#p-reason", "asked for it");
    desk.send();
    desk.wait_for_text(".sum", "0 sessions");
    assert_eq!(ebbtide.sessions("web1"), 59);
    assert_eq!(audited(&ebbtide, "sessions end")["reason"], "asked for it");

    // It is found among those that have ended, where there is nothing to click.
    desk.click("#f-ended");
    desk.wait_for_text(".sum", "1 session ended lately");
    desk.wait_for_text(&format!("#session-{id}"), "ended by an operator");
    assert!(!desk.has("tbody [data-panel]"));

    desk.open("/sessions?pool=app&server=web1");
    desk.panel("/do/end?pool=app&server=web1");
    desk.send();
    desk.wait_for_text(".sum", "0 sessions");
    assert_eq!(ebbtide.sessions("web1"), 0);
    drop(users);
}

#[test]
fn a_door_is_opened_and_closed_by_clicking() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Admin);
    desk.panel("/do/door?server=app/web1");
    desk.click("dialog button.main");
    desk.wait_for_text("dialog .links", "/.ebbtide/enter?key=");
    let doors = || ebbtide.cli(&["door", "list", "--json"]).exits(0).json();
    let number = |doors: &Value| {
        let doors = doors["doors"].as_array().or(doors.as_array()).unwrap();
        doors.len()
    };
    assert_eq!(number(&doors()), 1);
    desk.click("dialog [data-close]");
    desk.open("/node");
    desk.click("a[href^=\"/do/close-door\"]");
    desk.wait_for("dialog[open] h1");
    desk.send();
    assert_eq!(number(&doors()), 0);

    ebbtide.configure(&Setup::new(&servers).with("contact = \"ext. 1\""));
    desk.panel("/do/reload");
    desk.click("dialog button.main");
    desk.wait_for_text("dialog", "Done");
    desk.wait_for_text("dialog", "contact");
    assert_eq!(audited(&ebbtide, "reload")["who"], "anna");
}

#[test]
fn whoever_may_only_look_has_nothing_to_click() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let desk = Desk::sign_in(&ebbtide, "vera", Role::Viewer);
    for page in [
        "/",
        "/servers/app/web1",
        "/sessions",
        "/maintenance",
        "/node",
    ] {
        desk.open(page);
        assert!(!desk.has("[data-panel]"), "{page}");
    }
    // The address itself, from the page's own script.
    let answer = desk.run(
        "const csrf = document.querySelector('[name=csrf]').value; const request = new XMLHttpRequest();\
         request.open('POST', '/do/hold', false);\
         request.setRequestHeader('Content-Type', 'application/x-www-form-urlencoded');\
         request.send('server=app/web1&csrf=' + csrf); return request.status",
    );
    assert_eq!(answer, 403);
    wait_for_intent(&ebbtide, "web1", "ready");
}
