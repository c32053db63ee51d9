//! Signing out, by clicking: here, and everywhere.

use super::desk::Desk;
use crate::harness::{Ebbtide, LIMIT, Setup, models, text};
use ebbtide_api::Role;
use ebbtide_testkit::{Browser, Client, Request, Scratch};
use serde_json::Value;

/// In how many browsers she is signed in, by the API.
fn browsers(ebbtide: &Ebbtide, secret: &str) -> Value {
    let request = Request::get("/api/v1/users").with("Authorization", &format!("Bearer {secret}"));
    let answer = Client::new(ebbtide.admin, LIMIT).send(&request).answer();
    let users: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let mut users = users["users"].as_array().into_iter().flatten();
    let anna = users.find(|user| user["name"] == "anna");
    anna.expect("she is known")["browsers"].clone()
}

/// Opens what leads out, and goes by this form.
fn leave(desk: &Desk, action: &str) {
    desk.click(".leave summary");
    desk.click(&format!("form[action=\"{action}\"] button"));
    desk.wait_for("#password");
}

#[test]
fn somebody_signs_out_here_and_everywhere_by_clicking() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let add = ["token", "add", "ci", "--role", "admin", "--json"];
    let token = text(&ebbtide.cli(&add).exits(0).json()["secret"]);
    let browsers = || browsers(&ebbtide, &token);
    let first = Desk::sign_in(&ebbtide, "anna", Role::Operator);
    let again = || Desk::sign_in_again(Browser::start("en"), &ebbtide, "anna");
    let (second, third) = (again(), again());
    let boris = Desk::sign_in(&ebbtide, "boris", Role::Viewer);
    assert_eq!(browsers(), 3);
    leave(&first, "/sign-out");
    assert_eq!(browsers(), 2);
    second.open("/");

    leave(&second, "/sign-out/everywhere");
    assert_eq!(browsers(), 0);
    third.wait_for_text("#pulse", "Signed out");
    let status = "return fetch('/api/v1/status').then((answer) => answer.status)";
    assert_eq!(third.run(status), 401);
    assert_eq!(boris.run(status), 200, "nobody else is signed out");
    third.click(".told a");
    third.fill("#name", "anna");
    third.give_password();
    third.wait_for("#pulse[data-state=live]");
    assert_eq!(browsers(), 1);
}
