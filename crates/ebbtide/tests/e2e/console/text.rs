//! Whatever others have written is text on every page.

use super::desk::Desk;
use crate::harness::{Ebbtide, LIMIT, Setup, models, page};
use ebbtide_api::Role;
use ebbtide_testkit::{Client, Scratch};

const EVIL: &str =
    "<img src=x onerror=document.title='taken'>\"'><script>document.title='taken'</script>";

const NAME: &str = "<img/src=x/onerror=document.title='taken'>";

#[test]
fn markup_stays_text_wherever_it_comes_from() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let setup = Setup::new(&servers)
        .with("user = { cookie = \"user\" }")
        .with(&format!("contact = {EVIL:?}"));
    let ebbtide = Ebbtide::start(&setup);
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Operator);
    let mut user = Client::new(ebbtide.address, LIMIT);
    user.jar.insert("user".into(), NAME.into());
    // A server whose users have left is in maintenance at once: this one has a user.
    let name = page(&mut user).server;
    let server = format!("app/{name}");
    let told = ["--message", EVIL, "--reason", EVIL];
    let drain = ["drain", &server, "--within", "1h"];
    let close = ["close", "app", "--within", "2h"];
    for command in [drain, close] {
        ebbtide.cli(&[&command[..], &told].concat()).exits(0);
    }

    let pages = [
        ("/", EVIL),
        (&*format!("/servers/{server}"), EVIL),
        ("/sessions", NAME),
        ("/maintenance", EVIL),
        ("/audit", EVIL),
        ("/events", "pool-intent"),
    ];
    for (page, shown) in pages {
        desk.open(page);
        desk.wait_for_text("main", shown);
        let strange = desk.run("return document.querySelectorAll('main img, main script').length");
        assert_eq!(strange, 0, "{page}");
        assert_ne!(desk.run("return document.title"), "taken", "{page}");
    }
    desk.open("/");
    desk.panel(&format!("/do/drain?server={server}"));
    let strange = "return document.querySelectorAll('dialog img, dialog script').length";
    desk.wait_for_text("dialog .as-message", EVIL);
    assert_eq!(desk.run(strange), 0);
    desk.fill("#p-message", &format!("{EVIL} again"));
    desk.wait_for_text("dialog .as-message", "again");
    assert_eq!(desk.run(strange), 0);
    // What is asked for in an address is text as well.
    desk.open("/sessions?find=%3Cimg%20src%3Dx%3E&sort=%3Cimg%3E&after=%3Cimg%3E");
    assert_eq!(
        desk.run("return document.querySelectorAll('main img').length"),
        0
    );
    assert_eq!(
        desk.run("return document.querySelector('#f-find').value"),
        "<img src=x>"
    );
}
