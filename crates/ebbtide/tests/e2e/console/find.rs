//! Sessions that are looked for, by clicking, and what is done to those that are found.

use super::desk::Desk;
use crate::harness::{Ebbtide, LIMIT, Setup, models, page};
use ebbtide_api::Role;
use ebbtide_testkit::{Client, Scratch, until};
use std::io::Write;
use std::net::TcpStream;

#[test]
fn sessions_are_found_by_user_server_and_address_and_only_the_idle_ones_are_ended() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let setup = Setup::new(&servers)
        .with("user = { cookie = \"user\" }")
        .with("sticky = { active = \"1s\" }");
    let ebbtide = Ebbtide::start(&setup);
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Operator);
    for name in ["berta", "anton", "zora", "anton"] {
        let mut client = Client::new(ebbtide.address, LIMIT);
        client.jar.insert("user".into(), name.into());
        page(&mut client);
    }
    // Somebody who is at work all the time: the answer never comes.
    let mut busy = TcpStream::connect(ebbtide.address).unwrap();
    let request = format!(
        "GET /hang HTTP/1.1\r\nHost: {}\r\nCookie: user=busy\r\n\r\n",
        ebbtide.address
    );
    busy.write_all(request.as_bytes()).unwrap();
    until("all others are idle", LIMIT, || {
        let counts = ["web1", "web2"].map(|name| ebbtide.server(name)["sessions"].clone());
        let sum = |kind: &str| {
            counts
                .iter()
                .filter_map(|one| one[kind].as_u64())
                .sum::<u64>()
        };
        ((sum("active"), sum("idle")) == (1, 4)).then_some(())
    });

    let finds = |sessions: u64| {
        let said = match sessions {
            1 => "1 session".to_owned(),
            some => format!("{some} sessions"),
        };
        until(&format!("{said} are found"), LIMIT, || {
            (desk.text(".sum") == said).then_some(())
        });
    };
    desk.click("nav a[href=\"/sessions\"]");
    finds(5);
    desk.fill("#f-find", "ANTON");
    finds(2);
    desk.fill("#f-find", "127.0.0.");
    finds(5);
    desk.fill("#f-find", "10.1.2.3");
    finds(0);
    desk.fill("#f-find", "");
    finds(5);
    desk.choose("#f-pool", "app");
    desk.wait_for("#f-server");
    desk.choose("#f-server", "web2");
    finds(ebbtide.sessions("web2"));
    desk.choose("#f-server", "");
    finds(5);
    desk.click("#f-active");
    finds(1);
    desk.wait_for_text("tbody", "busy");
    desk.click("#f-active");
    finds(5);
    desk.click("thead a[href*=\"sort=user\"]");
    let users =
        "return [...document.querySelectorAll('td.user')].map((cell) => cell.textContent).join()";
    until("they are sorted by user", LIMIT, || {
        (desk.run(users) == "anton,anton,berta,busy,zora").then_some(())
    });

    // Those of one user, then all that are idle.
    let left = || ebbtide.sessions("web1") + ebbtide.sessions("web2");
    desk.fill("#f-find", "anton");
    finds(2);
    desk.click("a[href^=\"/do/end?\"][href*=\"find=anton\"]");
    desk.wait_for_text("#foretold", "Sessions that end");
    desk.send();
    assert_eq!(left(), 3);
    finds(0);
    desk.fill("#f-find", "");
    finds(3);
    desk.click("form a[href^=\"/do/end?\"]");
    desk.wait_for("#p-idle");
    desk.click("#p-idle");
    until("it is foretold how many are idle", LIMIT, || {
        let told = desk.text("#foretold");
        told.ends_with("Sessions that end\n2").then_some(())
    });
    desk.send();
    finds(1);
    assert_eq!(left(), 1);
    desk.wait_for_text("tbody", "busy");
    drop(busy);
}
