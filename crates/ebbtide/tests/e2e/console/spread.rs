//! Rebalancing a pool: the plan first, then it is done, and can be stopped.

use super::audited;
use super::desk::Desk;
use super::pool;
use crate::harness::{Ebbtide, LIMIT, Setup, models};
use ebbtide_api::Role;
use ebbtide_testkit::{Scratch, until};

#[test]
fn a_pool_is_rebalanced_and_that_is_stopped_by_clicking() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers).with("sticky = { active = \"1s\" }"));
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Operator);
    ebbtide.cli(&["hold", "app/web2"]).exits(0);
    let users: Vec<_> = (0..200).map(|_| ebbtide.user()).collect();
    ebbtide.cli(&["ready", "app/web2"]).exits(0);
    until("all of them are idle", LIMIT, || {
        (ebbtide.server("web1")["sessions"]["idle"] == 200).then_some(())
    });
    desk.open("/");
    desk.panel("/do/rebalance?pool=app");
    let told = desk.text("#foretold");
    assert!(
        told.contains("100 sessions at most, in about 10s"),
        "{told}"
    );
    assert!(
        told.contains("web1: 200 sessions, its share is 100: 100 idle"),
        "{told}"
    );
    assert!(
        told.contains("web2: 0 sessions, its share is 100: none is"),
        "{told}"
    );
    desk.fill("#p-rate", "1");
    desk.wait_for_text("#foretold", "in about 1m 40s");
    assert_eq!(ebbtide.sessions("web1"), 200, "it is only a plan");
    desk.fill("#p-reason", "after the maintenance");
    desk.send();
    desk.wait_for_text("#pool-app", "Being rebalanced");
    assert_eq!(
        audited(&ebbtide, "rebalance")["reason"],
        "after the maintenance"
    );

    desk.panel("/do/stop-rebalance?pool=app");
    desk.send();
    assert!(pool(&ebbtide)["rebalance"].is_null());
    let left = ebbtide.sessions("web1");
    assert!(left > 100, "it was stopped in the middle: {left}");

    desk.panel("/do/rebalance?pool=app");
    desk.fill("#p-rate", "1000");
    desk.send();
    until("no server has more than its share", LIMIT, || {
        let is_over = pool(&ebbtide)["rebalance"].is_null();
        (is_over && ebbtide.sessions("web1") == 100).then_some(())
    });
    drop(users);
}
