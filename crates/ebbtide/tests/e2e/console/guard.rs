//! What the guard refuses, in plain words and with what force would do, and what is forced.

use super::audited;
use super::desk::Desk;
use crate::harness::{Ebbtide, Setup, models};
use ebbtide_api::Role;
use ebbtide_testkit::Scratch;
use serde_json::Value;

/// The newest line of this action: it was forced, by her.
#[track_caller]
fn was_forced(ebbtide: &Ebbtide, action: &str) {
    let line = audited(ebbtide, action);
    let told = (&line["forced"], &line["who"]);
    assert_eq!(told, (&true.into(), &"anna".into()), "{line}");
}

/// Sends the panel's form without the tick that it takes: the browser keeps it.
#[track_caller]
fn try_without_force(desk: &Desk) {
    desk.click("dialog button.main");
    desk.wait_for("dialog #p-force:invalid");
}

#[test]
fn the_last_server_is_held_and_drained_by_force_only() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Operator);
    ebbtide.cli(&["hold", "app/web2"]).exits(0);
    let users = ebbtide.users(2, "web1");
    desk.wait_for_text("#server-app-web2", "On hold");
    for what in ["hold", "drain"] {
        desk.panel(&format!("/do/{what}?server=app/web1"));
        let told = desk.text("dialog .box");
        for part in [
            "The guard refuses this.",
            "Without web1 no server takes new sessions",
            "app needs at least 1",
            "Whoever comes new is turned away until a server takes new sessions again.",
        ] {
            assert!(told.contains(part), "{part:?} is not in {told:?}");
        }
        desk.wait_for_text("#foretold", "web2 (on hold)");
        try_without_force(&desk);
        assert_eq!(ebbtide.intent("web1"), "ready");
        desk.click("#p-force");
        desk.send();
        assert_eq!(ebbtide.intent("web1"), what);
        was_forced(&ebbtide, what);
        desk.panel("/do/ready?server=app/web1");
        desk.send();
        assert_eq!(ebbtide.intent("web1"), "ready");
        desk.wait_for("a[href=\"/do/hold?server=app/web1\"]");
    }
    drop(users);
}

#[test]
fn the_last_server_gets_no_peak_load_of_0_but_by_force() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Operator);
    let peak = || ebbtide.server("web1")["peak_load"].clone();
    ebbtide.cli(&["hold", "app/web2"]).exits(0);
    desk.panel("/do/set?server=app/web1");
    desk.fill("#p-peak_load", "0");
    desk.click("dialog button.main");
    desk.wait_for_text(
        "dialog .box",
        "no server would take new sessions of this pool",
    );
    let told = desk.text("dialog .box");
    assert!(told.contains("may be turned away"), "{told}");
    try_without_force(&desk);
    assert_eq!(peak(), Value::Null);
    desk.click("#p-force");
    desk.send();
    assert_eq!(peak(), 0);
    was_forced(&ebbtide, "server set");
    desk.wait_for_text("#server-app-web1", "Peak load 0");

    desk.panel("/do/set?server=app/web1");
    desk.click("#p-peak_load_back");
    desk.fill("#p-max_sessions", "9");
    desk.send();
    assert_eq!(peak(), Value::Null);
    assert_eq!(ebbtide.server("web1")["max_sessions"], 9);
    desk.panel("/do/set?server=app/web1");
    desk.click("#p-reset");
    desk.send();
    assert_eq!(ebbtide.server("web1")["max_sessions"], Value::Null);
}

#[test]
fn a_server_with_sessions_is_removed_by_force_only() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let mut setup = Setup::new(&servers);
    setup.servers.truncate(1);
    let ebbtide = Ebbtide::start(&setup);
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Operator);
    desk.panel("/do/add?pool=app");
    desk.fill("#p-name", "web9");
    desk.fill("#p-address", &servers[1].address.to_string());
    desk.fill("#p-weight", "7");
    desk.fill("#p-reason", "Christmas");
    desk.send();
    ebbtide.wait_for_reason("web9", "ready");
    assert_eq!(ebbtide.server("web9")["weight"], 7);
    assert_eq!(audited(&ebbtide, "server add")["reason"], "Christmas");

    let users = ebbtide.users(8, "web2");
    desk.panel("/do/remove?server=app/web9");
    desk.wait_for_text("dialog .box", "web9 still has");
    desk.wait_for_text("dialog .box", "what is open there goes on until it ends");
    try_without_force(&desk);
    assert_eq!(ebbtide.intent("web9"), "ready");
    desk.click("#p-force");
    desk.send();
    was_forced(&ebbtide, "server remove");
    let admits = |name: &str| {
        let status = ebbtide.status();
        let servers = status["pools"][0]["servers"].as_array().cloned();
        let mut servers = servers.into_iter().flatten();
        let found = servers.find(|server| server["name"] == name);
        found.map(|server| server["standing"]["admits_new"].clone())
    };
    assert_ne!(admits("web9"), Some(true.into()));
    assert_eq!(admits("web1"), Some(true.into()));
    drop(users);
}
