//! Users, made and changed by clicking: what comes of it is tried by signing in.

use super::audited;
use super::desk::{Desk, PASSWORD};
use crate::harness::{Ebbtide, Setup, models};
use ebbtide_api::Role;
use ebbtide_testkit::{BROWSER_LIMIT, Browser, Model, Scratch, until};
use serde_json::Value;
use std::time::{Duration, Instant};

const FIRST: &str = " first: spaces, ends & ünïcode ";
const SECOND: &str = "the second password";

fn with_anna(scratch: &Scratch) -> (Ebbtide, Desk, Vec<Model>) {
    let servers = models(1, scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let anna = Desk::sign_in(&ebbtide, "anna", Role::Admin);
    (ebbtide, anna, servers)
}

/// Somebody with a browser, who has not signed in yet.
fn somebody(anna: &Desk) -> Desk {
    Desk {
        browser: Browser::start("en"),
        home: anna.home.clone(),
    }
}

#[track_caller]
fn is_let_in(desk: &Desk, name: &str, password: &str, role: &str) {
    desk.sign_in_as(name, password);
    desk.wait_for_text(".who .name", name);
    desk.wait_for_text(".who .name", role);
}

#[track_caller]
fn is_kept_out(desk: &Desk, name: &str, password: &str) {
    desk.sign_in_as(name, password);
    desk.wait_for_text("#problem", "The name or the password is wrong");
}

fn type_password(desk: &Desk, first: &str, again: &str) {
    desk.fill("#p-password", first);
    desk.fill("#p-password_again", again);
}

#[test]
fn a_user_is_made_changed_and_removed_by_clicking() {
    let scratch = Scratch::new();
    let (ebbtide, anna, _servers) = with_anna(&scratch);
    let boris = somebody(&anna);
    anna.open("/access");
    anna.panel("/do/add-user");
    anna.fill("#p-name", "boris");
    anna.click("#p-role-operator");
    type_password(&anna, FIRST, "something else");
    anna.click("dialog button.main");
    anna.wait_for_text("dialog [role=alert]", "not the same both times");
    let typed = |id: &str| anna.run(&format!("return document.getElementById('{id}').value"));
    assert_eq!(
        (typed("p-name"), typed("p-password")),
        ("boris".into(), "".into())
    );
    assert!(anna.has("#p-role-operator:checked"));
    type_password(&anna, FIRST, FIRST);
    anna.fill("#p-reason", "joins the team");
    anna.send();
    anna.wait_until_told("the user boris has the role operator");
    anna.wait_for_text("#user-boris", "operator");
    let line = audited(&ebbtide, "user add");
    assert_eq!(
        (&line["who"], &line["target"], &line["reason"]),
        (&"anna".into(), &"boris".into(), &"joins the team".into())
    );
    is_kept_out(&boris, "boris", FIRST.trim());
    is_let_in(&boris, "boris", FIRST, "operator");
    anna.wait_for_text("#user-boris", "1 browser");

    anna.panel("/do/user-role?user=boris");
    anna.wait_for_text("dialog", "in 1 browser");
    anna.click("#p-role-viewer");
    anna.send();
    boris.wait_for_text("#pulse", "Signed out");
    is_let_in(&boris, "boris", FIRST, "viewer");

    anna.panel("/do/user-password?user=boris");
    type_password(&anna, SECOND, SECOND);
    anna.send();
    boris.wait_for_text("#pulse", "Signed out");
    is_kept_out(&boris, "boris", FIRST);
    is_let_in(&boris, "boris", SECOND, "viewer");

    anna.panel("/do/user-sign-out?user=boris");
    anna.send();
    boris.wait_for_text("#pulse", "Signed out");
    anna.wait_for_text("#user-boris", "nothing");
    is_let_in(&boris, "boris", SECOND, "viewer");

    anna.panel("/do/remove-user?user=boris");
    anna.send();
    anna.wait_without("#user-boris");
    boris.wait_for_text("#pulse", "Signed out");
    is_kept_out(&boris, "boris", SECOND);
    for action in ["user role", "user password", "user sign-out", "user remove"] {
        assert_eq!(audited(&ebbtide, action)["who"], "anna");
    }
    let log = ebbtide.cli(&["audit", "--json"]).exits(0).json();
    let lines = log["entries"].as_array().or(log.as_array()).unwrap();
    let by_file = |line: &&Value| line["from"] == "the file of users" && line["target"] == "boris";
    assert_eq!(lines.iter().find(by_file), None, "one line each");
}

#[test]
fn the_last_admin_stays_and_whoever_it_is_is_told_what_becomes_of_him() {
    let scratch = Scratch::new();
    let (ebbtide, anna, _servers) = with_anna(&scratch);
    anna.open("/access");
    anna.panel("/do/remove-user?user=anna");
    anna.wait_for_text("dialog [role=alert]", "only user with the role admin");
    anna.wait_for_text("dialog", "you are out at once");
    anna.click("dialog button.main");
    anna.wait_for_text(
        "dialog [role=alert]",
        "ebbtide user on the node's own machine",
    );
    anna.click("dialog [data-close]");
    anna.wait_for_text("#user-anna", "admin");

    let carla = Desk::sign_in(&ebbtide, "carla", Role::Admin);
    anna.wait_for_text("#user-carla", "admin");
    anna.panel("/do/user-role?user=anna");
    anna.wait_for_text("dialog", "you are signed out here, too");
    anna.click("#p-role-viewer");
    anna.send();
    anna.wait_for_text("#pulse", "Signed out");
    is_let_in(&anna, "anna", PASSWORD, "viewer");
    carla.open("/access");
    carla.wait_for_text("#user-anna", "viewer");
}

#[test]
fn an_old_sign_in_is_asked_again_before_somebody_is_let_in() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let mut setup = Setup::new(&servers);
    setup.more = "[admin.sign_in]\nfresh = \"10s\"\n".into();
    let ebbtide = Ebbtide::start(&setup);
    let anna = Desk::sign_in(&ebbtide, "anna", Role::Admin);
    let begun = Instant::now();
    until("the sign-in is not fresh any more", BROWSER_LIMIT, || {
        (begun.elapsed() > Duration::from_secs(11)).then_some(())
    });
    anna.open("/access");
    anna.panel("/do/add-user");
    anna.fill("#p-name", "boris");
    type_password(&anna, FIRST, FIRST);
    anna.click("dialog button.main");
    anna.wait_for_text("h1", "Your password again");
    let page = anna.run("return document.documentElement.outerHTML");
    assert!(!page.as_str().unwrap().contains("first"), "{page}");
    anna.give_password();
    anna.wait_for_text("main", "What you typed is still here, but for the password");
    anna.fill("#password", SECOND);
    anna.fill("#password_again", SECOND);
    anna.click("form button");
    anna.wait_for_text("main", "the user boris has the role viewer");
    is_let_in(&somebody(&anna), "boris", SECOND, "viewer");
}

#[test]
fn somebody_changes_his_own_password_with_scripts_and_without() {
    let scratch = Scratch::new();
    let (ebbtide, anna, _servers) = with_anna(&scratch);
    let here = Desk::sign_in(&ebbtide, "vera", Role::Viewer);
    let there = somebody(&anna);
    is_let_in(&there, "vera", PASSWORD, "viewer");
    let change = |desk: &Desk, present: &str, new: &str| {
        desk.click("a[href=\"/sign-in/password\"]");
        desk.fill("#password", present);
        desk.fill("#new", new);
        desk.fill("#again", new);
        desk.click("form button");
    };
    change(&here, "wrong wrong wrong", FIRST);
    here.wait_for_text("#problem", "The present password is wrong");
    here.open("/");
    change(&here, PASSWORD, FIRST);
    here.wait_for_text("main", "vera has another password");
    there.wait_for_text("#pulse", "Signed out");
    here.click("main a");
    here.wait_for_text(".who .name", "vera");
    assert_eq!(audited(&ebbtide, "user password")["who"], "vera");
    is_kept_out(&there, "vera", PASSWORD);

    let plain = Desk {
        browser: Browser::start_without_scripts("en"),
        home: anna.home.clone(),
    };
    is_let_in(&plain, "vera", FIRST, "viewer");
    change(&plain, FIRST, SECOND);
    plain.wait_for_text("main", "vera has another password");
    here.wait_for_text("#pulse", "Signed out");
    is_let_in(&there, "vera", SECOND, "viewer");
}

#[test]
fn passwords_stand_in_no_address_and_forms_work_without_scripts() {
    let scratch = Scratch::new();
    let (_ebbtide, anna, _servers) = with_anna(&scratch);
    anna.open("/access");
    anna.panel("/do/add-user");
    type_password(&anna, FIRST, FIRST);
    // What it would do is foretold anew.
    anna.fill("#p-name", "boris");
    let asked = until("the form is foretold", BROWSER_LIMIT, || {
        let asked = anna.run(
            "return performance.getEntriesByType('resource').map((one) => one.name)\
             .filter((name) => name.includes('name=boris')).join(' ')",
        );
        asked
            .as_str()
            .filter(|asked| !asked.is_empty())
            .map(str::to_owned)
    });
    assert!(
        !["first", "password", "csrf"]
            .iter()
            .any(|secret| asked.contains(secret)),
        "{asked}"
    );

    let plain = Desk {
        browser: Browser::start_without_scripts("en"),
        home: anna.home.clone(),
    };
    is_let_in(&plain, "anna", PASSWORD, "admin");
    plain.open_still("/access");
    plain.click("a[href=\"/do/add-user\"]");
    plain.fill("#p-name", "boris");
    type_password(&plain, "too short", "too short");
    plain.click("main form.panel button.main");
    plain.wait_for_text("main [role=alert]", "at least 12");
    let typed = |id: &str| plain.run(&format!("return document.getElementById('{id}').value"));
    assert_eq!(
        (typed("p-name"), typed("p-password")),
        ("boris".into(), "".into())
    );
    type_password(&plain, FIRST, FIRST);
    plain.click("main form.panel button.main");
    plain.wait_for_text("main", "the user boris has the role viewer");
    is_let_in(&somebody(&anna), "boris", FIRST, "viewer");
}
