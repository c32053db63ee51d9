//! PostgreSQL, whose users stay for hours with what only their own server knows: a transaction, a
//! temporary table.

use crate::harness::{Ebbtide, LIMIT};
use crate::real_servers::Foreign;
use crate::tcp::{Conversation, run, server_in_use, setup};
use ebbtide_testkit::{Scratch, free_address, until};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::SystemTime;

/// The user that root starts PostgreSQL as, which refuses root: `nobody`.
const NOBODY: u32 = 65_534;

/// A program of PostgreSQL's server, of the newest version that is installed.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let found = versions
        .flatten()
        .map(|version| version.path().join("bin").join(name));
    let found = found.filter(|path| path.exists()).max();
    found.unwrap_or_else(|| panic!("{name} is missing; `cargo xtask test` installs it"))
}

/// The command, as a user that is not root.
fn humble(command: &mut Command) -> &mut Command {
    match rustix::process::geteuid().is_root() {
        true => command.uid(NOBODY).gid(NOBODY),
        false => command,
    }
}

/// PostgreSQL, which lets everybody in as `anna`.
fn postgres(scratch: &Scratch, name: &str) -> Foreign {
    let address = free_address();
    let data = scratch.join(name);
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    if rustix::process::geteuid().is_root() {
        chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let mut initdb = Command::new(program("initdb"));
    initdb.args([
        "--no-sync",
        "--auth=trust",
        "--username=anna",
        "--locale=C",
        "-D",
    ]);
    run(humble(initdb.arg(&data)));
    fs::write(data.join("pg_hba.conf"), "host all all 127.0.0.0/8 trust\n").unwrap();
    let mut command = Command::new(program("postgres"));
    command
        .arg("-D")
        .arg(&data)
        .args(["-h", &address.ip().to_string()])
        .args(["-p", &address.port().to_string()])
        .args(["-c", "unix_socket_directories=", "-c", "fsync=off"])
        .stderr(Stdio::null());
    Foreign::start(humble(&mut command), address)
}

fn psql(address: SocketAddr) -> Command {
    let mut command = Command::new("psql");
    command
        .args(["-X", "-q", "-A", "-t", "-U", "anna", "-d", "postgres"])
        .args(["-h", &address.ip().to_string()])
        .args(["-p", &address.port().to_string()]);
    command
}

/// Begins what only the present server knows of.
fn begin(ebbtide: &Ebbtide) -> Conversation {
    let mut session = Conversation::begin(&mut psql(ebbtide.address));
    session.say("BEGIN; CREATE TABLE orders (amount int); INSERT INTO orders VALUES (17);\n");
    session.say("SELECT 'begun ' || sum(amount) FROM orders;\n");
    session.hear("begun 17");
    session
}

/// What a server says that is asked without Ebbtide in between.
fn ask(server: &Foreign, query: &str) -> String {
    let said = psql(server.address).args(["-c", query]).output().unwrap();
    assert!(said.status.success(), "{said:?}");
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

fn index(name: &str) -> usize {
    usize::from(name == "web2")
}

#[test]
fn a_transaction_ends_well_within_a_drain_and_is_undone_after_it() {
    let scratch = Scratch::new();
    let servers = ["web1", "web2"].map(|name| postgres(&scratch, name));
    let named = [("web1", servers[0].address), ("web2", servers[1].address)];
    let ebbtide = Ebbtide::start(&setup(&named, ""));

    // In time: it is committed, and the drain is over before its deadline.
    let mut session = begin(&ebbtide);
    let name = server_in_use(&ebbtide);
    let server = format!("app/{name}");
    ebbtide.cli(&["drain", &server, "--within", "10m"]).exits(0);
    let mut other = begin(&ebbtide);
    let others = ["web2", "web1"][index(name)];
    assert_eq!(
        ebbtide.sessions(others),
        1,
        "who comes now is led elsewhere"
    );
    session.say(
        "INSERT INTO orders VALUES (25); COMMIT;\nSELECT 'sum ' || sum(amount) FROM orders;\n",
    );
    session.hear("sum 42");
    session.say("\\q\n");
    session.wait_for_end();
    ebbtide.wait_for_reason(name, "maintenance");
    assert_eq!(
        ask(&servers[index(name)], "SELECT sum(amount) FROM orders"),
        "42"
    );

    // Too late: psql is told, and the server undoes what was not committed.
    ebbtide.cli(&["ready", &server]).exits(0);
    ebbtide.wait_for_reason(name, "ready");
    let others_server = format!("app/{others}");
    ebbtide
        .cli(&["drain", &others_server, "--within", "3s"])
        .exits(0);
    let deadline = ebbtide.deadline(others);
    other.say("INSERT INTO orders VALUES (1);\nSELECT 'still ' || sum(amount) FROM orders;\n");
    other.hear("still 18");
    ebbtide.wait_for_reason(others, "maintenance");
    assert!(SystemTime::now() >= deadline);
    other.say("SELECT 'never';\n");
    other.wait_for_end();
    assert!(!other.has_heard("never"));
    let at_others = &servers[index(others)];
    until("the server has undone it", LIMIT, || {
        let open = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'";
        (ask(at_others, open) == "0").then_some(())
    });
    assert_eq!(
        ask(
            at_others,
            "SELECT count(*) FROM pg_tables WHERE tablename = 'orders'"
        ),
        "0"
    );
}
