//! The deadline of a drain: chosen, moved, told of in other words, and come.

use super::desk::Desk;
use super::wait_for_intent;
use crate::harness::{Ebbtide, Setup, models};
use ebbtide_api::Role;
use ebbtide_testkit::Scratch;
use std::time::{Duration, SystemTime};

/// Asserts that the drain of `web1` has about so much left: less by what clicking took.
#[track_caller]
fn has_left(ebbtide: &Ebbtide, minutes: u64) {
    let left = ebbtide.deadline("web1").duration_since(SystemTime::now());
    let left = left.expect("it is to come").as_secs();
    assert!(
        left <= minutes * 60 && left + 300 > minutes * 60,
        "{left} s left, and not {minutes} min"
    );
}

#[test]
fn a_deadline_is_chosen_moved_told_of_in_other_words_and_kept() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Operator);
    let users = ebbtide.users(4, "web1");
    desk.panel("/do/drain?server=app/web1");
    desk.click("dialog [data-fill=p-within][data-value=\"4h\"]");
    desk.wait_for_text("#foretold .as-bar", "4 hr 0 min");
    desk.fill("#p-message", "Upgrade");
    desk.send();
    has_left(&ebbtide, 240);

    desk.click("#server-app-web1 h3 a");
    desk.wait_for_text("main", "Its users are told");
    let quick = |words: &str| {
        let link = format!(
            "const links = [...document.querySelectorAll('main a[data-panel]')];\
             const link = links.find((link) => link.textContent === {words:?});\
             return link?.getAttribute('href')"
        );
        let link = desk.run(&link);
        desk.panel(link.as_str().expect("it is offered"));
    };
    quick("30 minutes more");
    desk.send();
    has_left(&ebbtide, 270);
    assert_eq!(ebbtide.server("web1")["intent"]["message"], "Upgrade");

    desk.wait_for_text("main .lead.warn", "4h 29m");
    let before = ebbtide.deadline("web1");
    quick("Tell users something else");
    let refused = desk.run("return document.querySelector('dialog .box.bad')?.textContent ?? null");
    assert!(refused.is_null(), "nothing is refused yet: {refused}");
    desk.fill("#p-message", "Upgrade, and new <i>disks</i>");
    desk.wait_for_text("#foretold .as-message", "Upgrade, and new <i>disks</i>");
    desk.send();
    // However long that was written, the deadline is where it was.
    let after = ebbtide.deadline("web1");
    let moved = after
        .duration_since(before)
        .unwrap_or_else(|error| error.duration());
    assert!(moved < Duration::from_millis(50), "{moved:?}");
    let told = "Upgrade, and new <i>disks</i>";
    assert_eq!(ebbtide.server("web1")["intent"]["message"], told);
    desk.wait_for_text("blockquote", told);

    // Less, nothing is told any more, and what comes after the deadline comes by itself.
    desk.panel("/do/drain?server=app/web1");
    desk.fill("#p-within", "tomorrow");
    desk.click("dialog button.main");
    desk.wait_for_text("dialog [role=alert]", "\"tomorrow\" is no time");
    desk.fill("#p-message", "");
    desk.fill("#p-within", "10s");
    desk.send();
    let intent = ebbtide.server("web1")["intent"].clone();
    assert_eq!(intent["label"], "drain", "it has ten seconds");
    assert!(intent["message"].is_null(), "{intent}");
    assert!(ebbtide.deadline("web1") < SystemTime::now() + Duration::from_secs(11));
    wait_for_intent(&ebbtide, "web1", "maintenance");
    desk.wait_for_text("main .standing.big", "Maintenance");
    assert_eq!(ebbtide.sessions("web1"), 0);
    drop(users);
}
