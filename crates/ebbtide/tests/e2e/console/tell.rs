//! What an operator says to single users, by clicking.

use super::desk::{Desk, audited};
use crate::harness::{Ebbtide, Setup, models};
use ebbtide_api::Role;
use ebbtide_testkit::{Client, Request, Scratch};
use serde_json::Value;

const EVIL: &str = "<img src=x onerror=document.title='taken'>";

/// What the page of a user is told.
fn message(user: &mut Client) -> Value {
    let answer = user.send(&Request::get("/.ebbtide/session")).answer();
    let json: Value = serde_json::from_str(&answer.text()).expect("JSON");
    json["message"]["text"].clone()
}

#[test]
fn users_are_told_something_by_clicking() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Operator);
    let (mut anton, _) = ebbtide.user();
    let listed = ebbtide.cli(&["sessions", "--json"]).exits(0).json();
    let id = listed["sessions"][0]["id"]
        .as_str()
        .expect("a session")
        .to_owned();
    let (mut berta, _) = ebbtide.user();

    desk.open("/sessions?pool=app");
    desk.panel(&format!("/do/tell?id={id}"));
    desk.wait_for_text("#foretold .as-title", "Message from the operators");
    desk.wait_for_text("#foretold", "on their next page");
    desk.fill("#p-message", EVIL);
    desk.wait_for_text("#foretold .as-message", EVIL);
    assert_eq!(
        desk.run("return document.querySelectorAll('dialog img').length"),
        0
    );
    desk.fill("#p-reason", "ticket 7");
    assert_eq!(
        message(&mut anton),
        Value::Null,
        "nothing is said by looking"
    );
    desk.send();
    desk.wait_until_told(&format!("left for session {id}"));
    assert_eq!(message(&mut anton), EVIL);
    assert_eq!(message(&mut berta), Value::Null);
    let line = audited(&ebbtide, "sessions tell");
    assert_eq!(
        (&line["who"], &line["reason"]),
        (&"anna".into(), &"ticket 7".into())
    );

    // What cannot be said is refused, and stays in the form.
    desk.panel(&format!("/do/tell?id={id}"));
    desk.fill("#p-lasting", "2d");
    desk.fill("#p-message", "Hello");
    desk.click("dialog button.main");
    desk.wait_for_text("dialog [role=alert]", "1m to 24h");
    desk.wait_for_text("dialog .as-message", "Hello");
    desk.click("dialog [data-close]");
    assert_eq!(message(&mut anton), EVIL);

    desk.open("/sessions?pool=app");
    desk.click("a[href^=\"/do/tell?pool=app\"]");
    desk.wait_for("dialog[open] h1");
    desk.fill("#p-message", "To all of these.");
    desk.send();
    desk.wait_until_told("left for 2 sessions");
    assert_eq!(message(&mut berta), "To all of these.");

    // Who is left of a drain.
    ebbtide
        .cli(&["drain", "app/web1", "--within", "1h", "--force"])
        .exits(0);
    desk.open("/servers/app/web1");
    desk.wait_for_text("main", "Who is left");
    desk.panel("/do/tell?pool=app&server=web1");
    desk.fill("#p-message", "You are the last ones.");
    desk.send();
    desk.wait_until_told("left for 2 sessions");
    assert_eq!(message(&mut anton), "You are the last ones.");
}
