//! A sign-in that ends, or is not fresh any more, in the middle of something: nothing typed is lost, and
//! nothing is done behind anybody's back.

use super::audited;
use super::desk::Desk;
use crate::harness::{Ebbtide, Setup, models};
use ebbtide_api::Role;
use ebbtide_testkit::{BROWSER_LIMIT, Scratch, until};
use std::time::{Duration, Instant};

#[test]
fn what_was_typed_outlives_the_sign_in() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Operator);
    desk.open("/");
    desk.panel("/do/hold?server=app/web1");
    desk.fill("#p-reason", "a long & good <reason>");
    ebbtide.cli(&["user", "sign-out", "anna"]).exits(0);
    desk.wait_for_text("#pulse", "Signed out");
    desk.click("dialog button.main");
    desk.wait_for("#password");
    assert_eq!(ebbtide.intent("web1"), "ready");
    desk.fill("#name", "anna");
    desk.give_password();
    desk.wait_for_text("main", "a long & good <reason>");
    assert_eq!(ebbtide.intent("web1"), "ready", "not behind her back");
    desk.click("form button");
    desk.wait_for_text("main", "app/web1 is on hold");
    assert_eq!(
        ebbtide.server("web1")["intent"]["reason"],
        "a long & good <reason>"
    );
}

#[test]
fn a_forced_change_asks_for_the_password_again() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let mut setup = Setup::new(&servers);
    setup.more = "[admin.sign_in]\nfresh = \"10s\"\n".into();
    let ebbtide = Ebbtide::start(&setup);
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Operator);
    let begun = Instant::now();
    until("the sign-in is not fresh any more", BROWSER_LIMIT, || {
        (begun.elapsed() > Duration::from_secs(11)).then_some(())
    });
    desk.panel("/do/maintenance?server=app/web1");
    desk.click("#p-force");
    desk.click("dialog button.main");
    desk.wait_for("#password");
    assert_eq!(ebbtide.intent("web1"), "ready");
    desk.give_password();
    desk.wait_for_text("main", "What you typed is still here");
    desk.click("form button");
    desk.wait_for_text("main", "app/web1 is in maintenance");
    assert_eq!(audited(&ebbtide, "maintenance")["forced"], true);
}
