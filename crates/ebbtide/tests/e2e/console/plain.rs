//! In a browser with scripts switched off: page by page, and nothing is missing but the comfort.

use super::audited;
use super::desk::Desk;
use crate::harness::{Ebbtide, LIMIT, Setup, models, text};
use ebbtide_api::Role;
use ebbtide_testkit::{Browser, Scratch, until};

/// What the preview of a notice says in a place.
fn said(desk: &Desk, place: &str) -> String {
    desk.text(&format!("[data-say={place}]"))
}

#[test]
fn without_scripts_everything_goes_page_by_page() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let browser = Browser::start_without_scripts("en");
    let desk = Desk::sign_in_with(browser, &ebbtide, "anna", Role::Operator);
    let _users = ebbtide.users(4, "web1");
    assert!(desk.has("noscript .pulse"), "scripts are off");

    let go = |link: &str| {
        desk.open_still("/");
        desk.click(&format!("a[href=\"{link}\"]"));
        desk.wait_for("main form.panel");
    };
    let send = |expected: &str| {
        desk.click("main form.panel button.main");
        desk.wait_for_text("main h1", "Done");
        desk.wait_for_text("main", expected);
    };
    go("/do/hold?server=app/web1");
    assert!(desk.text("main").contains("go to web2"), "what it would do");
    desk.fill("#p-reason", "looks slow");
    send("app/web1 is on hold");
    let intent = ebbtide.server("web1")["intent"].clone();
    assert_eq!(
        (text(&intent["label"]), text(&intent["reason"])),
        ("hold".into(), "looks slow".into())
    );
    assert_eq!(audited(&ebbtide, "hold")["who"], "anna");

    go("/do/ready?server=app/web1");
    send("app/web1");
    assert_eq!(ebbtide.intent("web1"), "ready");

    go("/do/drain?server=app/web1");
    desk.fill("#p-within", "1h");
    desk.fill("#p-message", "Upgrade\nat <six>");
    send("app/web1");
    assert_eq!(ebbtide.intent("web1"), "drain");
    assert_eq!(
        ebbtide.server("web1")["intent"]["message"],
        "Upgrade\nat <six>"
    );
    // Done leads back to a page that is loaded anew by itself.
    desk.click("main a.button.main");
    desk.wait_for_text("#server-app-web1", "Draining");
    desk.wait_for_text("#server-app-web1", "web1");
    ebbtide.cli(&["ready", "app/web1"]).exits(0);
    until("the page is loaded anew", LIMIT * 3, || {
        desk.text("#server-app-web1 .standing")
            .contains("Ready")
            .then_some(())
    });
}

#[test]
fn what_users_will_see_is_told_alike_with_scripts_and_without() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let browser = Browser::start_without_scripts("en");
    let plain = Desk::sign_in_with(browser, &ebbtide, "anna", Role::Operator);
    let desk = Desk::sign_in(&ebbtide, "boris", Role::Operator);
    for what in ["close?pool=app", "drain?server=app/web1"] {
        for within in [
            "1s", "45s", "1m", "9m 5s", "10m", "90m", "91m", "2h 30m", "3d 4h",
        ] {
            let path = format!("/do/{what}&within={}", within.replace(' ', "%20"));
            for desk in [&plain, &desk] {
                desk.open_still(&path);
                desk.wait_for(".as-card");
            }
            for place in ["left", "title", "what", "more", "ok"] {
                let told = said(&plain, place);
                assert!(!told.is_empty(), "{place} of {path}");
                assert_eq!(told, said(&desk, place), "{place} of {path}");
            }
        }
    }
}
