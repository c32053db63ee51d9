//! The status page for users, on the pool's own listener.

use crate::harness::{Ebbtide, LIMIT, Setup, models};
use ebbtide_testkit::{Answer, Client, Request, Scratch};
use serde_json::Value;

fn ask(ebbtide: &Ebbtide, accept: &str) -> Answer {
    let request = Request::get("/.ebbtide/status").with("Accept", accept);
    let mut client = Client::new(ebbtide.address, LIMIT);
    let answer = client.send(&request).answer();
    assert!(client.jar.is_empty(), "looking begins no session");
    answer
}

fn state(ebbtide: &Ebbtide) -> Value {
    let answer = ask(ebbtide, "application/json");
    assert_eq!(answer.head.status(), 200);
    serde_json::from_slice(&answer.body).expect("JSON")
}

#[test]
fn anybody_sees_whether_the_service_is_open() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let setup = Setup::new(&servers).with("contact = \"<b>ext.</b> 4455\"");
    let ebbtide = Ebbtide::start(&setup);
    assert_eq!(
        ask(&ebbtide, "text/html").head.status(),
        404,
        "not unless it is wanted"
    );
    ebbtide.configure(&setup.with("status_page = true"));
    ebbtide.cli(&["reload"]).exits(0);
    assert_eq!(state(&ebbtide)["state"], "open");

    // Somebody is in, so that closing takes its time.
    let _user = ebbtide.user();
    let planned = [
        "close",
        "app",
        "--within",
        "2h",
        "--block-new",
        "at-deadline",
        "--for",
        "1h",
    ];
    ebbtide.cli(&planned).exits(0);
    let told = state(&ebbtide);
    assert_eq!(told["state"], "planned");
    assert!(
        told["closes"].is_string() && told["expected_end"].is_string(),
        "{told}"
    );
    ebbtide
        .cli(&[
            "close",
            "app",
            "--block-new",
            "now",
            "--message",
            "<i>Upgrade</i>",
        ])
        .exits(0);
    assert_eq!(state(&ebbtide)["state"], "closing");
    let page = ask(&ebbtide, "text/html").text();
    assert!(
        page.contains("&lt;i&gt;Upgrade&lt;/i&gt;") && page.contains("&lt;b&gt;ext."),
        "{page}"
    );
    assert!(
        !page.contains("web1") && !page.contains("127.0."),
        "nothing of servers: {page}"
    );

    ebbtide.cli(&["close", "app", "--within", "0s"]).exits(0);
    assert_eq!(state(&ebbtide)["state"], "closed");
    assert!(
        ask(&ebbtide, "text/plain")
            .text()
            .starts_with("Down for maintenance\n")
    );
    ebbtide.cli(&["open", "app"]).exits(0);
    assert_eq!(state(&ebbtide)["message"], Value::Null);
}
