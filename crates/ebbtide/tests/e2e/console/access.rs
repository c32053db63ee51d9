//! For everybody: what axe-core finds wrong with a page, by the rules of WCAG 2.2 A and AA and its own
//! best practices, in light and dark, on a phone and a wide screen.

use super::axe::faults;
use super::desk::Desk;
use crate::harness::{Ebbtide, Setup, models};
use ebbtide_api::Role;
use ebbtide_testkit::Scratch;

const PAGES: &[&str] = &[
    "/",
    "/servers/app/web1",
    "/sessions?pool=app",
    "/maintenance",
    "/replicas",
    "/events?kind=all",
    "/audit",
    "/node",
    "/access",
    "/sessions?ended=1",
    "/api",
];
const PANELS: &[&str] = &[
    "drain",
    "maintenance",
    "set",
    "forget",
    "tell",
    "door",
    "ready",
    "all-at-once",
];
const OTHERS: &[&str] = &[
    "rebalance?pool=app",
    "rotate",
    "add-token",
    "remove-token?name=ci",
    "add-user",
    "user-role?user=anna",
    "user-password?user=anna",
    "user-sign-out?user=anna",
    "remove-user?user=anna",
];

#[track_caller]
fn judge(desk: &Desk, what: &str) {
    let faults = faults(desk);
    assert!(faults.is_empty(), "{what}: {faults:?}");
}

#[test]
fn every_page_can_be_used_by_everybody() {
    let scratch = Scratch::new();
    let servers = models(3, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Admin);
    let _users = ebbtide.users(8, "web1");
    ebbtide
        .cli(&[
            "drain",
            "app/web1",
            "--within",
            "1h",
            "--message",
            "Upgrade",
        ])
        .exits(0);
    ebbtide.cli(&["hold", "app/web2"]).exits(0);
    ebbtide.cli(&["door", "app/web3"]).exits(0);
    ebbtide
        .cli(&["token", "add", "ci", "--role", "viewer"])
        .exits(0);
    for scheme in ["light", "dark"] {
        desk.browser.prefer("prefers-color-scheme", scheme);
        for page in PAGES {
            desk.open(page);
            judge(&desk, &format!("{page}, {scheme}"));
        }
        for what in PANELS {
            desk.browser
                .open(&format!("{}/do/{what}?server=app/web1", desk.home));
            judge(&desk, &format!("{what}, {scheme}"));
        }
        for what in OTHERS {
            desk.browser.open(&format!("{}/do/{what}", desk.home));
            judge(&desk, &format!("{what}, {scheme}"));
        }
        let own = format!("{}/sign-in/password", desk.home);
        desk.browser.open(&own);
        judge(&desk, &format!("a password of one's own, {scheme}"));
        desk.open("/");
        desk.panel("/do/close?pool=app");
        judge(&desk, &format!("the panel for closing, {scheme}"));
    }
    ebbtide.cli(&["close", "app", "--within", "1h"]).exits(0);
    desk.browser.be_a_phone();
    for page in [
        "/",
        "/servers/app/web1",
        "/sessions",
        "/maintenance",
        "/access",
    ] {
        desk.open(page);
        desk.wait_for(".alarm");
        judge(&desk, &format!("{page} on a phone"));
        let wide = desk.run("return document.documentElement.scrollWidth > innerWidth");
        assert_eq!(wide, false, "{page} is not wider than a phone");
    }
}

#[test]
fn the_keyboard_is_enough() {
    const ENTER: &str = "\u{e007}";
    const ESCAPE: &str = "\u{e00c}";
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Operator);
    desk.open("/");
    let focus = "document.querySelector('a[href=\"/do/hold?server=app/web1\"]').focus()";
    desk.run(focus);
    desk.browser.press(ENTER);
    desk.wait_for("dialog[open] #p-reason:focus");
    desk.browser.press(ESCAPE);
    desk.wait_without("dialog[open]");
    let is_back = "return document.activeElement.getAttribute('href')";
    assert_eq!(desk.run(is_back), "/do/hold?server=app/web1");
    desk.browser.press(ENTER);
    desk.wait_for("dialog[open] #p-reason:focus");
    desk.browser.press(ENTER);
    desk.wait_without("dialog[open]");
    assert_eq!(ebbtide.intent("web1"), "hold");
    desk.open("/sessions");
    desk.browser.press("/");
    desk.wait_for("#f-find:focus");
}
