//! Sessions that are looked for, by clicking, and what is done to those that are found.

use super::desk::Desk;
use crate::harness::{Ebbtide, LIMIT, Setup, models, page};
use ebbtide_api::Role;
use ebbtide_testkit::{Client, Model, Scratch, until};
use std::io::Write;
use std::net::TcpStream;

/// Somebody at the list of sessions, in a pool of two servers with users who have names.
struct Scene {
    ebbtide: Ebbtide,
    desk: Desk,
    /// Of the user `busy`, who is at work all the time: the answer never comes.
    _busy: TcpStream,
    _servers: Vec<Model>,
    _scratch: Scratch,
}

impl Scene {
    /// Berta, Zora and twice Anton are idle.
    fn begin() -> Self {
        let scratch = Scratch::new();
        let servers = models(2, &scratch);
        let setup = Setup::new(&servers)
            .with("user = { cookie = \"user\" }")
            .with("sticky = { active = \"1s\" }");
        let ebbtide = Ebbtide::start(&setup);
        for name in ["berta", "anton", "zora", "anton"] {
            let mut client = Client::new(ebbtide.address, LIMIT);
            client.jar.insert("user".into(), name.into());
            page(&mut client);
        }
        let mut busy = TcpStream::connect(ebbtide.address).unwrap();
        let request = "GET /hang HTTP/1.1\r\nHost: app\r\nCookie: user=busy\r\n\r\n";
        busy.write_all(request.as_bytes()).unwrap();
        until("all others are idle", LIMIT, || {
            let counts = ["web1", "web2"].map(|name| ebbtide.server(name)["sessions"].clone());
            let numbers = |kind: &str| counts.each_ref().map(|one| one[kind].as_u64());
            let sum = |kind: &str| numbers(kind).into_iter().flatten().sum::<u64>();
            ((sum("active"), sum("idle")) == (1, 4)).then_some(())
        });
        let desk = Desk::sign_in(&ebbtide, "anna", Role::Operator);
        desk.click("nav a[href=\"/sessions\"]");
        Self {
            ebbtide,
            desk,
            _busy: busy,
            _servers: servers,
            _scratch: scratch,
        }
    }

    /// Waits until so many are found.
    #[track_caller]
    fn finds(&self, sessions: u64) {
        let said = match sessions {
            1 => "1 session".to_owned(),
            some => format!("{some} sessions"),
        };
        until(&format!("{said} are found"), LIMIT, || {
            (self.desk.text(".sum") == said).then_some(())
        });
    }

    /// How many there are, by the API.
    fn left(&self) -> u64 {
        self.ebbtide.sessions("web1") + self.ebbtide.sessions("web2")
    }
}

#[test]
fn sessions_are_found_by_user_server_and_address() {
    let scene = Scene::begin();
    let desk = &scene.desk;
    scene.finds(5);
    for (words, sessions) in [("ANTON", 2), ("127.0.0.", 5), ("10.1.2.3", 0), ("", 5)] {
        desk.fill("#f-find", words);
        scene.finds(sessions);
    }
    desk.choose("#f-pool", "app");
    desk.wait_for("#f-server");
    desk.choose("#f-server", "web2");
    scene.finds(scene.ebbtide.sessions("web2"));
    desk.choose("#f-server", "");
    scene.finds(5);
    desk.click("#f-active");
    scene.finds(1);
    desk.wait_for_text("tbody", "busy");
    desk.click("#f-active");
    scene.finds(5);
    desk.click("thead a[href*=\"sort=user\"]");
    let users =
        "return [...document.querySelectorAll('td.user')].map((cell) => cell.textContent).join()";
    until("they are sorted by user", LIMIT, || {
        (desk.run(users) == "anton,anton,berta,busy,zora").then_some(())
    });
}

#[test]
fn the_sessions_of_a_user_are_ended_and_then_all_that_are_idle() {
    let scene = Scene::begin();
    let desk = &scene.desk;
    desk.fill("#f-find", "anton");
    scene.finds(2);
    desk.click("a[href^=\"/do/end?\"][href*=\"find=anton\"]");
    desk.wait_for_text("#foretold", "Sessions that end");
    desk.send();
    assert_eq!(scene.left(), 3);
    scene.finds(0);
    desk.fill("#f-find", "");
    scene.finds(3);
    // What is ended is said to be some pool's, or somebody's: not simply everything.
    assert!(!desk.has("form a[href^=\"/do/end?\"]"));
    desk.choose("#f-pool", "app");
    desk.click("form a[href^=\"/do/end?\"]");
    desk.wait_for("#p-idle");
    desk.click("#p-idle");
    until("it is foretold how many are idle", LIMIT, || {
        let told = desk.text("#foretold");
        told.ends_with("Sessions that end\n2").then_some(())
    });
    desk.send();
    scene.finds(1);
    assert_eq!(scene.left(), 1);
    desk.wait_for_text("tbody", "busy");
}
