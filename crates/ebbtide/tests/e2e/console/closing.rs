//! Closing a pool, by clicking: with a deadline by the clock, changed on its way, and until it is upgraded.

use super::desk::Desk;
use super::{audited, pool, pool_label};
use crate::harness::{Ebbtide, LIMIT, Setup, models, text};
use ebbtide_api::Role;
use ebbtide_testkit::{Client, Request, Scratch, until};

/// What somebody is answered who comes anew.
fn stranger(ebbtide: &Ebbtide) -> u16 {
    let mut client = Client::new(ebbtide.address, LIMIT);
    client.send(&Request::get("/")).answer().head.status()
}

/// Types the day after tomorrow into the field for a moment; that moment.
fn type_moment(desk: &Desk) -> String {
    const TAB: &str = "\u{e004}";
    let moment = desk.run(
        "const at = new Date(Date.now() + 2 * 86400e3); at.setHours(20, 30, 0, 0);\
         const two = (number) => String(number).padStart(2, '0');\
         document.querySelector('#p-at').focus();\
         return [at.toISOString(), two(at.getMonth() + 1) + two(at.getDate()) + at.getFullYear()]",
    );
    for digit in text(&moment[1]).chars() {
        desk.browser.press(&digit.to_string());
    }
    desk.browser.press(TAB);
    for key in ["0", "8", "3", "0", "P"] {
        desk.browser.press(key);
    }
    text(&moment[0])
}

#[test]
fn a_pool_closes_by_the_clock_and_is_changed_on_its_way() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Operator);
    let (mut user, _) = ebbtide.user();
    desk.open("/maintenance");
    desk.panel("/do/close?pool=app");
    let moment = type_moment(&desk);
    desk.wait_for_text("#foretold .as-bar", "hr");
    desk.fill("#p-message", "Upgrade");
    desk.fill("#p-reason", "release 7");
    desk.send();
    let intent = pool(&ebbtide)["intent"].clone();
    assert_eq!(
        (&intent["label"], &intent["deadline"], &intent["blocks_new"]),
        (&"closing".into(), &moment.clone().into(), &true.into())
    );
    assert_eq!(audited(&ebbtide, "close")["reason"], "release 7");
    assert_eq!(stranger(&ebbtide), 503, "nobody new comes from now on");
    let own = user.send(&Request::get("/")).answer();
    assert_eq!(own.head.status(), 200, "who is in stays");
    desk.wait_for_text("#pool-app", "refused already");

    // Other words, and new ones come again: what is left empty stays.
    desk.panel("/do/close?pool=app");
    desk.fill("#p-message", "Later than you think");
    desk.click("#p-block_new-at-deadline");
    desk.send();
    let intent = pool(&ebbtide)["intent"].clone();
    assert_eq!(
        (
            &intent["message"],
            &intent["deadline"],
            &intent["blocks_new"]
        ),
        (
            &"Later than you think".into(),
            &moment.into(),
            &false.into()
        )
    );
    assert_eq!(stranger(&ebbtide), 200);
    desk.wait_for_text("#pool-app", "let in until then");

    desk.panel("/do/close?pool=app");
    desk.fill("#p-within", "0s");
    desk.send();
    assert_eq!(pool_label(&ebbtide), "closed");
    desk.wait_for_text("#pool-app", "Nobody.");
    desk.panel("/do/close?pool=app");
    desk.fill("#p-message", "It takes longer");
    desk.wait_for_text("#foretold .as-page", "It takes longer");
    desk.send();
    let intent = pool(&ebbtide)["intent"].clone();
    assert_eq!(
        (&intent["label"], &intent["message"]),
        (&"closed".into(), &"It takes longer".into())
    );
    desk.panel("/do/open?pool=app");
    desk.send();
    assert_eq!(pool_label(&ebbtide), "open");
    assert_eq!(stranger(&ebbtide), 200);
}

#[test]
fn a_pool_is_closed_until_it_is_upgraded() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let upgrade = "upgrade = { path = \"/version\", expect = \"^v2\\\\.\", probes = 3 }";
    let ebbtide = Ebbtide::start(&Setup::new(&servers).with(upgrade));
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Operator);
    let waits = || pool(&ebbtide)["intent"]["until_upgraded"].clone();
    desk.open("/maintenance");
    desk.panel("/do/close?pool=app");
    desk.fill("#p-within", "0s");
    desk.click("#p-until_upgraded");
    desk.send();
    assert_eq!(pool_label(&ebbtide), "closed");
    assert_eq!(waits(), true);
    desk.wait_for_text("#pool-app", "web1: still says \"v1.0\"");

    // It is taken back, and wanted again.
    for wanted in [false, true] {
        desk.panel("/do/close?pool=app");
        desk.click("#p-until_upgraded");
        desk.send();
        assert_eq!(waits(), wanted);
    }
    for server in &servers {
        server.upgrade("v2.0");
    }
    until("the pool opens by itself", LIMIT, || {
        (pool_label(&ebbtide) == "open").then_some(())
    });
    desk.wait_for_text("#pool-app h2", "Open");
    desk.wait_without(".alarm");
    assert_eq!(stranger(&ebbtide), 200);
}
