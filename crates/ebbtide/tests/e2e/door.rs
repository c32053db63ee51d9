//! Doors, from the command line to the server: an operator works inside while users see the gate.

use crate::harness::{Ebbtide, LIMIT, Setup, models, page, text};
use ebbtide_testkit::{Client, Request, Scratch, until};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// Opens a door with the command line; its path and number.
fn open(ebbtide: &Ebbtide, arguments: &[&str]) -> (String, String) {
    let all = [&["door", "app/web1"], arguments, &["--json"]].concat();
    let door = ebbtide.cli(&all).exits(0).json();
    assert!(text(&door["urls"][0]).ends_with(&text(&door["path"])));
    (text(&door["path"]), text(&door["id"]))
}

fn status(client: &mut Client, path: &str) -> u16 {
    let answer = client.send(&Request::get(path)).answer();
    answer.head.status()
}

#[test]
fn an_operator_works_on_a_closed_pool_while_users_see_the_gate() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    ebbtide.cli(&["close", "app", "--within", "0s"]).exits(0);
    ebbtide
        .cli(&["maintenance", "app/web1", "--force"])
        .exits(0);
    let (path, id) = open(&ebbtide, &["--for", "5m"]);
    let mut operator = Client::new(ebbtide.address, LIMIT);
    assert_eq!(status(&mut operator, &path), 303);
    assert_eq!(page(&mut operator).server, "web1");
    let mut user = Client::new(ebbtide.address, LIMIT);
    assert_eq!(status(&mut user, "/"), 503);
    assert_eq!(status(&mut user, &path), 403, "the address was used");
    assert_eq!((ebbtide.sessions("web1"), ebbtide.sessions("web2")), (0, 0));
    let doors = ebbtide.cli(&["door", "list", "--json"]).exits(0).json();
    assert_eq!(text(&doors["doors"][0]["id"]), id);
    ebbtide.cli(&["door", "close", &id]).exits(0);
    assert_eq!(status(&mut operator, "/"), 403);
    ebbtide.cli(&["door", "close", &id]).exits(1);
    until("the audit log tells it", LIMIT, || {
        let audit = ebbtide.cli(&["audit"]).exits(0).out;
        let told = ["is open for 5m", "entered", "had been used", "is closed"];
        told.iter().all(|words| audit.contains(words)).then_some(())
    });
}

#[test]
fn a_restart_ends_doors() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let mut ebbtide = Ebbtide::start(&Setup::new(&servers));
    ebbtide.cli(&["close", "app", "--within", "0s"]).exits(0);
    let (path, _) = open(&ebbtide, &[]);
    let (unused, _) = open(&ebbtide, &[]);
    let mut operator = Client::new(ebbtide.address, LIMIT);
    assert_eq!(status(&mut operator, &path), 303);
    assert_eq!(page(&mut operator).server, "web1");
    ebbtide.kill();
    ebbtide.start_again();
    operator.disconnect();
    assert_eq!(status(&mut operator, "/"), 503);
    assert_eq!(status(&mut operator, &unused), 404);
    let doors = ebbtide.cli(&["door", "list", "--json"]).exits(0).json();
    assert_eq!(doors["doors"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_destination_pool_admits_nobody_but_through_doors() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let setup = Setup::new(&servers).with("balance = \"door-only\"");
    let ebbtide = Ebbtide::start(&setup);
    ebbtide.wait_for_reason("web1", "door-only");
    let mut user = Client::new(ebbtide.address, LIMIT);
    assert_eq!(status(&mut user, "/"), 503);
    assert_eq!(status(&mut user, "/.ebbtide/health"), 503);
    ebbtide.cli(&["maintenance", "app/web1"]).exits(0);
    let (path, _) = open(&ebbtide, &[]);
    assert_eq!(status(&mut user, &path), 303);
    assert_eq!(page(&mut user).server, "web1");
}

#[test]
fn credentials_are_read_only_from_a_file_of_its_owner() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let file = scratch.join("credentials");
    fs::write(&file, "operator:hush\n").expect("written");
    let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("set");
    mode(0o644);
    let line = format!(
        "door = {{ credentials = \"default\", credentials_file = {file:?}, \
         admin_field = \"X-Admin-Session: 1\" }}"
    );
    let ebbtide = Ebbtide::prepare(&Setup::new(&servers).with(&line));
    let config = ebbtide.file();
    let check = ["check", config.to_str().expect("text")];
    let refused = ebbtide.cli(&check).exits(2);
    assert!(
        refused.err.contains("can be read by others"),
        "{}",
        refused.err
    );
    mode(0o600);
    let good = ebbtide.cli(&check).exits(0);
    assert!(!format!("{}{}", good.out, good.err).contains("hush"));
    fs::write(&file, "no colon").expect("written");
    let refused = ebbtide.cli(&check).exits(2);
    assert!(refused.err.contains("user:password"), "{}", refused.err);
}

#[test]
fn a_door_is_refused_that_makes_no_sense() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    for (arguments, words, code) in [
        (vec!["door", "app/web9"], "web9", 1),
        (vec!["door", "app/web1", "--for", "13h"], "1m to 12h", 2),
        (vec!["door", "app/web1", "--for", "5s"], "1m to 12h", 2),
        (vec!["door", "app/web1", "--as-admin"], "admin_field", 2),
        (vec!["door", "close", "7"], "sixteen digits", 1),
    ] {
        let refused = ebbtide.cli(&arguments).exits(code);
        assert!(refused.err.contains(words), "{}", refused.err);
    }
}
