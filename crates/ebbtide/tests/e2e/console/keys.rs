//! Who may get at the node: tokens, users, and the key of sessions.

use super::audited;
use super::desk::Desk;
use crate::harness::{Ebbtide, LIMIT, Setup, models, page};
use ebbtide_api::Role;
use ebbtide_testkit::{Client, Request, Scratch};

/// What the API answers to whoever shows this token.
fn status_with(ebbtide: &Ebbtide, secret: &str) -> u16 {
    let bearer = format!("Bearer {secret}");
    let request = Request::get("/api/v1/status").with("Authorization", &bearer);
    let answer = Client::new(ebbtide.admin, LIMIT).send(&request).answer();
    answer.head.status()
}

#[test]
fn a_token_is_made_shown_once_and_removed_by_clicking() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Admin);
    desk.open("/access");
    desk.panel("/do/add-token");
    desk.fill("#p-name", "ci");
    desk.click("#p-role-operator");
    desk.fill("#p-reason", "for the nightly job");
    desk.click("dialog button.main");
    desk.wait_for_text("dialog .links", "ebb_");
    let secret = desk.text("dialog .links code");
    assert_eq!(status_with(&ebbtide, &secret), 200);
    let listed = ebbtide.cli(&["token", "list", "--json"]).exits(0).json();
    let tokens = listed["tokens"].as_array().or(listed.as_array()).unwrap();
    assert_eq!(
        (&tokens[0]["name"], &tokens[0]["role"]),
        (&"ci".into(), &"operator".into())
    );
    let line = audited(&ebbtide, "token add");
    assert_eq!(
        (&line["who"], &line["reason"]),
        (&"anna".into(), &"for the nightly job".into())
    );

    desk.click("dialog [data-close]");
    desk.wait_for_text("#token-ci", "operator");
    desk.open("/access");
    let everything = desk.run("return document.documentElement.outerHTML");
    assert!(!everything.as_str().unwrap().contains(&secret), "only once");
    desk.panel("/do/add-token");
    desk.fill("#p-name", "ci");
    desk.click("dialog button.main");
    desk.wait_for_text("dialog .box", "there is a token ci already");
    desk.click("dialog [data-close]");

    desk.panel("/do/remove-token?name=ci");
    desk.send();
    desk.wait_without("#token-ci");
    assert_eq!(status_with(&ebbtide, &secret), 401);
    assert_eq!(audited(&ebbtide, "token remove")["who"], "anna");
}

#[test]
fn users_are_seen_and_a_new_key_ends_no_session() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Admin);
    let vera = Desk::sign_in(&ebbtide, "vera", Role::Viewer);
    desk.open("/access");
    desk.wait_for_text("#user-anna", "(you)");
    desk.wait_for_text("#user-vera", "viewer");
    desk.wait_for_text("#user-vera", "1 browser");
    ebbtide.cli(&["user", "sign-out", "vera"]).exits(0);
    desk.wait_for_text("#user-vera", "nothing");
    vera.wait_for_text("#pulse", "Signed out");

    let (mut user, first) = ebbtide.user();
    desk.panel("/do/rotate");
    desk.send();
    assert_eq!(audited(&ebbtide, "rotate")["who"], "anna");
    assert_eq!(page(&mut user).server, first.server);
    let sessions = ebbtide.sessions("web1") + ebbtide.sessions("web2");
    assert_eq!(sessions, 1, "it is the same session");
}

#[test]
fn access_is_for_administrators() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let desk = Desk::sign_in(&ebbtide, "boris", Role::Operator);
    assert!(!desk.has("nav a[href=\"/access\"]"));
    desk.browser.open(&format!("{}/access", desk.home));
    desk.wait_for_text("body", "needs the role admin");
    desk.browser.open(&format!("{}/do/add-token", desk.home));
    desk.wait_for_text("main", "needs the role admin");
    desk.open("/");
    let answer = desk.run(
        "const csrf = document.querySelector('[name=csrf]').value; const request = new XMLHttpRequest();\
         request.open('POST', '/do/add-token', false);\
         request.setRequestHeader('Content-Type', 'application/x-www-form-urlencoded');\
         request.send('name=mine&role=admin&csrf=' + csrf); return request.status",
    );
    assert_eq!(answer, 403);
    let line = audited(&ebbtide, "refused");
    assert_eq!(line["who"], "boris");
    let listed = ebbtide.cli(&["token", "list", "--json"]).exits(0).out;
    assert!(!listed.contains("mine"), "{listed}");
    let stream = desk.run(
        "const request = new XMLHttpRequest(); request.open('GET', '/live/access', true);\
         return new Promise((done) => { request.onprogress = () => { done(request.responseText); request.abort(); };\
         request.send(); })",
    );
    let stream = stream.as_str().unwrap_or_default();
    assert!(!stream.contains("a-tokens"), "{stream}");
}
