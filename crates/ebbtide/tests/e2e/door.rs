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
    let (closed, id) = open(&ebbtide, &[]);
    ebbtide.cli(&["door", "close", &id]).exits(0);
    ebbtide.kill();
    ebbtide.start_again();
    operator.disconnect();
    ebbtide.cli(&["open", "app"]).exits(0);
    let over = operator.send(&Request::get("/")).answer();
    assert_eq!(over.head.status(), 403, "nobody becomes a user by that");
    assert_eq!(page(&mut operator).server, "web1", "but by the next one");
    for address in [path, unused, closed] {
        assert_eq!(status(&mut operator, &address), 403);
    }
    let doors = ebbtide.cli(&["door", "list", "--json"]).exits(0).json();
    assert_eq!(doors["doors"].as_array().map(Vec::len), Some(0));
    let ended = until("the audit log tells it", LIMIT, || {
        let audit = ebbtide.cli(&["audit"]).exits(0).out;
        let ended = audit.matches("is over: Ebbtide was started again").count();
        (ended > 0).then_some(ended)
    });
    assert_eq!(ended, 2, "of those that were open, and once");
    ebbtide.kill();
    ebbtide.start_again();
    ebbtide.cli(&["open", "app"]).exits(0);
    let audit = ebbtide.cli(&["audit"]).exits(0).out;
    assert_eq!(audit.matches("was started again").count(), 2, "{audit}");
}

#[test]
fn the_audit_log_of_a_door_is_in_order() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    for _ in 0..5 {
        let (path, id) = open(&ebbtide, &[]);
        let mut operator = Client::new(ebbtide.address, LIMIT);
        assert_eq!(status(&mut operator, &path), 303);
        ebbtide.cli(&["door", "close", &id]).exits(0);
        let audit = ebbtide.cli(&["audit"]).exits(0).out;
        let lines: Vec<&str> = audit.lines().filter(|line| line.contains(&id)).collect();
        let place = |words: &str| lines.iter().position(|line| line.contains(words));
        let (opened, entered) = (place("is open for"), place("entered"));
        let closed = place("is closed");
        assert!(entered.is_some() && opened.is_some(), "{audit}");
        let newest_first = closed < entered && entered < opened;
        let oldest_first = opened < entered && entered < closed;
        assert!(newest_first || oldest_first, "{audit}");
    }
}

#[test]
fn a_destination_pool_admits_nobody_but_through_doors() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let setup = Setup::new(&servers).with("balance = \"door-only\"");
    let ebbtide = Ebbtide::start(&setup);
    ebbtide.wait_for_reason("web1", "door-only");
    let mut user = Client::new(ebbtide.address, LIMIT);
    let refused = user.send(&Request::get("/")).answer();
    assert_eq!(refused.head.status(), 403);
    let said = refused.text();
    assert!(said.contains("for operators only"), "{said}");
    assert_eq!(status(&mut user, "/.ebbtide/health"), 503);
    ebbtide.cli(&["close", "app", "--within", "0s"]).exits(0);
    assert_eq!(
        status(&mut user, "/"),
        403,
        "it will not be back for them either"
    );
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

/// What `ebbtide check` says of a pool with this line, with this in the environment: its exit code
/// and its errors.
fn checked(line: &str, secret: Option<&str>) -> (i32, String) {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let ebbtide = Ebbtide::prepare(&Setup::new(&servers).with(line));
    let config = ebbtide.file();
    let mut command = ebbtide.cli_command(&["check", config.to_str().expect("text")]);
    match secret {
        Some(secret) => command.env("DOOR_LOGIN", secret),
        None => command.env_remove("DOOR_LOGIN"),
    };
    let output = command.output().expect("the program starts");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.code().unwrap_or(-1), said)
}

/// That it is refused for one reason, which is said with its place in the file.
#[track_caller]
fn is_refused(line: &str, secret: Option<&str>, words: &[&str]) {
    let (code, said) = checked(line, secret);
    assert_eq!(code, 2, "{line}: {said}");
    assert_eq!(said.matches("error: ").count(), 1, "{line}: {said}");
    for words in words.iter().chain(&["ebbtide.toml:"]) {
        assert!(
            said.contains(words),
            "{words:?} is not in what {line} gets: {said}"
        );
    }
    assert!(!said.contains("hush"), "{said}");
}

#[test]
fn credentials_come_from_the_environment() {
    let line = "door = { credentials = \"default\", credentials_env = \"DOOR_LOGIN\" }";
    assert_eq!(checked(line, Some("operator:hush")).0, 0);
    is_refused(line, None, &["the environment has no DOOR_LOGIN"]);
    is_refused(line, Some(""), &["DOOR_LOGIN is empty"]);
    is_refused(line, Some("hush"), &["not `user:password`"]);
    is_refused(line, Some("a:hush\nb:hush"), &["more than one line"]);
    let neither = "door = { credentials = \"default\" }";
    is_refused(neither, None, &["credentials_file", "credentials_env"]);
    let both = "door = { credentials = \"default\", credentials_env = \"DOOR_LOGIN\", \
                credentials_file = \"/nowhere\" }";
    is_refused(
        both,
        Some("a:hush"),
        &["one of two places", "the second one"],
    );
    let unused = "door = { credentials = \"ask\", credentials_env = \"DOOR_LOGIN\" }";
    is_refused(unused, Some("a:hush"), &["credentials that nobody uses"]);
}

#[test]
fn credentials_come_from_an_ordinary_file() {
    let scratch = Scratch::new();
    let line = |path: &std::path::Path| {
        format!("door = {{ credentials = \"default\", credentials_file = {path:?} }}")
    };
    let pipe = scratch.join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo starts").success());
    is_refused(&line(&pipe), None, &["pipe is no ordinary file"]);
    let directory = scratch.join("directory");
    fs::create_dir(&directory).expect("made");
    is_refused(&line(&directory), None, &["directory is no ordinary file"]);
    is_refused(&line(&scratch.join("nothing")), None, &["cannot be read"]);
    let open = scratch.join("open");
    fs::write(&open, "a:hush").expect("written");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).expect("set");
    is_refused(&line(&open), None, &["mode 0644", "chmod 600"]);
    let long = scratch.join("long");
    fs::write(&long, "hush:".repeat(300)).expect("written");
    fs::set_permissions(&long, fs::Permissions::from_mode(0o600)).expect("set");
    is_refused(&line(&long), None, &["longer than 1024 bytes"]);
}

#[test]
fn the_administrators_field_is_one_that_users_cannot_need() {
    let field = |field: &str| format!("door = {{ admin_field = \"{field}\" }}");
    assert_eq!(checked(&field("X-Admin-Session: 1"), None).0, 0);
    is_refused(
        &field("X-Admin-Session"),
        None,
        &["a name, a colon and a value"],
    );
    is_refused(&field("X Admin: 1"), None, &["a name, a colon and a value"]);
    is_refused(
        &field("X-Admin: \u{e4}"),
        None,
        &["a name, a colon and a value"],
    );
    for reserved in [
        "Host",
        "cookie",
        "X_Forwarded_For",
        "X-Forwarded-Proto",
        "Keep-Alive",
        "Sec-WebSocket-Key",
        "If-None-Match",
        "Range",
        "Accept",
        "Origin",
    ] {
        let line = field(&format!("{reserved}: 1"));
        is_refused(&line, None, &[reserved, "is reserved"]);
    }
    let line = format!(
        "user = {{ header = \"X-Remote-User\" }}\n{}",
        field("x-remote_user: root")
    );
    is_refused(&line, None, &["x-remote_user", "names the pool's users"]);
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
