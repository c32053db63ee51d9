//! How a server comes back, as operators see it: verified or forced, slowly or at once, and sick no more.

use super::audited;
use super::desk::Desk;
use crate::harness::{Ebbtide, LIMIT, Setup, models};
use ebbtide_api::Role;
use ebbtide_testkit::{Crowd, CrowdSettings, Scratch, until};

#[test]
fn a_server_is_let_in_without_being_verified_and_takes_all_at_once_by_clicking() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let setup = Setup::new(&servers)
        .with("slow_start = \"1h\"")
        .with("verify = { path = \"/version\", expect = \"^v2\", probes = 1, within = \"1s\" }");
    let ebbtide = Ebbtide::start(&setup);
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Operator);
    ebbtide.cli(&["maintenance", "app/web2"]).exits(0);
    desk.open("/");
    desk.panel("/do/ready?server=app/web2");
    desk.wait_for_text("#foretold", "takes sessions after 1 good probe");
    desk.send();
    ebbtide.wait_for_reason("web2", "unverified");
    desk.wait_for_text("#server-app-web2", "Did not show that it is well");
    desk.wait_for_text("#server-app-web2", "stays out, for it was not verified");
    desk.open("/servers/app/web2");
    desk.wait_for_text(".remarks .bad", "stays out, for it was not verified");

    desk.panel("/do/ready?server=app/web2");
    desk.click("#p-force");
    desk.wait_for_text("#foretold", "without having been verified");
    desk.send();
    ebbtide.wait_for_reason("web2", "ready");
    assert_eq!(audited(&ebbtide, "ready")["forced"], true);

    assert_eq!(ebbtide.server("web2")["returning"]["share_percent"], 5);
    desk.wait_for_text(".remarks", "returns slowly: 5 % of its new sessions now");
    desk.panel("/do/all-at-once?server=app/web2");
    desk.send();
    assert!(ebbtide.server("web2")["returning"].is_null());
    desk.wait_without("a[href=\"/do/all-at-once?server=app/web2\"]");
}

#[test]
fn a_sick_server_says_why_and_ready_takes_it_back() {
    let scratch = Scratch::new();
    let servers = models(3, &scratch);
    let outliers = "outliers = { window = \"2s\", requests = 5, hold = \"10m\" }";
    let ebbtide = Ebbtide::start(&Setup::new(&servers).with(outliers));
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Operator);
    let crowd = Crowd::start(CrowdSettings {
        post_every: 0,
        ..CrowdSettings::new(ebbtide.address, 12)
    });
    servers[1].behave("fail");
    until("web2 is sick", LIMIT * 4, || {
        (ebbtide.reason("web2") == "sick").then_some(())
    });
    desk.wait_for_text("#server-app-web2", "Sick: much of its traffic fails");
    desk.wait_for_text("#server-app-web2", "answered 5xx");
    desk.wait_for_text("#server-app-web2", "or until you say Ready");
    desk.open("/servers/app/web2");
    desk.wait_for_text(".facts", "requests lately");
    desk.panel("/do/ready?server=app/web2");
    desk.wait_for_text("#foretold", "it was held as sick");
    desk.send();
    ebbtide.wait_for_reason("web2", "ready");
    assert_eq!(audited(&ebbtide, "ready")["who"], "anna");
    crowd.stop();
}
