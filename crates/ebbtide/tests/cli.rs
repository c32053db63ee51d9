//! The command line from outside: what it prints, and its exit codes.

use ebbtide_testkit::{Scratch, free_address, until};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(15);

/// How a command went.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }
}

impl Ran {
    #[track_caller]
    fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The program, where no configuration and no demo is found.
fn program(scratch: &Scratch, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ebbtide"));
    command
        .args(arguments)
        .current_dir(scratch.path())
        .env("TMPDIR", scratch.path())
        .env_remove("EBBTIDE_ADMIN")
        .env_remove("EBBTIDE_TOKEN")
        .env_remove("EBBTIDE_LOG")
        .stdin(Stdio::null());
    command
}

fn run(scratch: &Scratch, arguments: &[&str]) -> Ran {
    program(scratch, arguments)
        .output()
        .expect("the program starts")
        .into()
}

/// A node with two servers that count as well although nobody is there. Sessions are short: only
/// after `reuse` can a node that has just started know that nobody comes back with an old token.
struct Node {
    scratch: Scratch,
    admin: SocketAddr,
    child: Child,
}

impl Node {
    fn start() -> Self {
        let (scratch, admin) = (Scratch::new(), free_address());
        std::fs::write(scratch.join("ebbtide.toml"), configuration(&scratch, admin))
            .expect("the file can be written");
        let child = program(&scratch, &["run", "-c", "ebbtide.toml", "--log", "error"])
            .stdout(Stdio::null())
            .spawn()
            .expect("the program starts");
        let node = Self {
            scratch,
            admin,
            child,
        };
        until("the node answers", LIMIT, || {
            (node.cli(&["status"]).code == Some(0)).then_some(())
        });
        node
    }

    /// Finds the node by `./ebbtide.toml`.
    fn cli(&self, arguments: &[&str]) -> Ran {
        run(&self.scratch, arguments)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(scratch: &Scratch, admin: SocketAddr) -> String {
    format!(
        "state_dir = {:?}\n[admin]\nlisten = \"{admin}\"\n[listeners.web]\nbind = \"{}\"\n\
         pool = \"app\"\n[pools.app]\nhealth = false\n\
         sticky = {{ reuse = \"1s\" }}\n[pools.app.servers]\n\
         web1 = \"127.0.0.1:9\"\nweb2 = \"127.0.0.2:9\"\n",
        scratch.join("state"),
        free_address()
    )
}

#[test]
fn check_counts_or_shows_the_mistakes() {
    let scratch = Scratch::new();
    let file = scratch.join("some.toml");
    let good = configuration(&scratch, "127.0.0.1:7070".parse().unwrap());
    std::fs::write(&file, &good).unwrap();
    let ran = run(&scratch, &["check", "some.toml"]).exits(0);
    assert_eq!(ran.out, "ok: 1 listener, 1 pool, 2 servers\n");
    let ran = run(&scratch, &["check", "some.toml", "--json"]).exits(0);
    assert_eq!(ran.json()["servers"], 2);
    std::fs::write(&file, good.replace("pool =", "pol =")).unwrap();
    let ran = run(&scratch, &["check", "some.toml"]).exits(2);
    assert!(ran.err.contains("some.toml:6:1"), "{ran:?}");
    assert!(ran.err.contains("did you mean `pool`?"), "{ran:?}");
    let ran = run(&scratch, &["check", "--json", "some.toml"]).exits(2);
    assert_eq!(ran.json()["error"]["kind"], "invalid");
    let mistake = &ran.json()["mistakes"][0];
    assert_eq!(mistake["file"], "some.toml");
    assert_eq!(
        (&mistake["line"], &mistake["column"]),
        (&6.into(), &1.into())
    );
    let message = mistake["message"].as_str().unwrap();
    assert!(
        message.contains("`pol`") && message.contains("`pool`"),
        "{message}"
    );
    let pages = "pages = { closed = \"closed.html\" }\n[pools.app.servers]";
    std::fs::write(&file, good.replace("[pools.app.servers]", pages)).unwrap();
    let ran = run(&scratch, &["check", "some.toml"]).exits(2);
    assert!(ran.err.contains("some.toml:10:20"), "{ran:?}");
    assert!(ran.err.contains("closed.html cannot be read"), "{ran:?}");
    std::fs::write(scratch.join("closed.html"), "{{ mesage }}").unwrap();
    let ran = run(&scratch, &["check", "some.toml"]).exits(2);
    assert!(ran.err.contains("some.toml:10:20"), "{ran:?}");
    assert!(ran.err.contains("did you mean `{{message}}`?"), "{ran:?}");
    let page = "{{ message }} {{began}} var x = {{a: 1}}; {{";
    std::fs::write(scratch.join("closed.html"), page).unwrap();
    run(&scratch, &["check", "some.toml"]).exits(0);
    let ran = run(&scratch, &["check", "missing.toml"]).exits(2);
    assert!(ran.err.contains("cannot read missing.toml"), "{ran:?}");
}

#[test]
fn wrong_usage_exits_2() {
    let scratch = Scratch::new();
    for (arguments, says) in [
        (&["drain", "app/web1"][..], "--within"),
        (&["drain", "app/web1", "--within", "10"], "has no unit"),
        (&["hold", "web1"], "POOL/SERVER"),
        (&["wait", "app/web1", "--for", "godot"], "godot"),
        (&["sessions", "end", "12"], "sixteen"),
        (&["sessions", "tell", "--user", "bob"], "--message"),
        (&["sessions", "tell", "12", "--message", "x"], "sixteen"),
        (&["close", "app", "--at", "18:30"], "YYYY-MM-DDThh:mm"),
        (&["close", "app", "--within", "-5m"], "is not a duration"),
        (&["server", "set", "app/web1", "colour=red"], "weight"),
        (&["server", "set", "app/web1", "weight=0"], "1 to 1000"),
        (&["status", "--admin", "10.0.0.1:7070"], "http://"),
        (&["run", "-c", "x", "--log", "loud"], "expected error"),
    ] {
        let ran = run(&scratch, arguments).exits(2);
        assert!(ran.err.contains(says), "{says:?}: {ran:?}");
        let mut with_json = arguments.to_vec();
        with_json.push("--json");
        let ran = run(&scratch, &with_json).exits(2);
        assert_eq!(ran.json()["error"]["kind"], "usage");
        let message = ran.json()["error"]["message"].to_string();
        assert!(message.contains(says), "{says:?}: {ran:?}");
    }
    let ran = run(&scratch, &["--json"]).exits(2);
    assert_eq!(ran.json()["error"]["kind"], "usage");
    assert!(!ran.out.contains("internal-docs"), "{ran:?}");
}

#[test]
fn values_that_the_node_refuses_are_wrong_usage_too() {
    let node = Node::start();
    for arguments in [
        &["drain", "app/web1", "--within", "0s"][..],
        &["drain", "app/web1", "--within", "8d"],
        &[
            "drain",
            "app/web1",
            "--message",
            "Other words, but of what?",
        ],
        &["server", "add", "app/web3", "127.0.0.1"],
        &["close", "app", "--at", "2999-12-24T18:30+01:00"],
        &["sessions", "end", "--idle"],
        &["sessions", "tell", "--idle", "--message", "Hello"],
        &["sessions", "tell", "--message", "Hello"],
        &["close", "app", "--within", "1m", "--message", "a\tb"],
    ] {
        let ran = node.cli(arguments).exits(2);
        assert!(ran.err.starts_with("ebbtide: "), "{ran:?}");
    }
}

#[test]
fn of_two_nodes_none_is_chosen_and_a_hint_leads_to_the_one_that_was() {
    let node = Node::start();
    let directory = node.scratch.join("ebbtide-demo-1");
    std::fs::create_dir(&directory).unwrap();
    let socket = directory.join("admin.sock");
    let _listening = UnixListener::bind(&socket).unwrap();
    let ran = node.cli(&["status"]).exits(2);
    let own = format!("unix:{}", node.scratch.join("state/admin.sock").display());
    assert!(ran.err.contains(&own), "{ran:?}");
    assert!(ran.err.contains(&socket.display().to_string()), "{ran:?}");
    let drain = ["drain", "app/web1", "--within", "1m", "--admin", &own];
    let ran = node.cli(&drain).exits(0);
    let hint = format!("--for drained --timeout 1m10s --admin {own}");
    assert!(ran.out.contains(&hint), "{ran:?}");
}

/// Leads the first connection at `gate` on to `socket`; after it nobody is there any more.
fn pass_one(gate: &Path, socket: PathBuf) -> JoinHandle<()> {
    let listener = UnixListener::bind(gate).expect("the socket can be made");
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("somebody comes");
        drop(listener);
        let mut node = UnixStream::connect(socket).expect("the node is there");
        let (mut from_client, mut to_node) = (
            client.try_clone().expect("a second handle"),
            node.try_clone().expect("a second handle"),
        );
        let asking = std::thread::spawn(move || {
            // Whoever hangs up has all that it wanted.
            let _ = std::io::copy(&mut from_client, &mut to_node);
            let _ = to_node.shutdown(Shutdown::Both);
        });
        let _ = std::io::copy(&mut node, &mut client);
        asking.join().expect("the copy ends");
    })
}

#[test]
fn a_wait_for_a_drain_that_nobody_wants_fails_and_one_for_a_node_that_is_gone_times_out() {
    let node = Node::start();
    let ran = node.cli(&["wait", "app/web1", "--for", "drained"]).exits(1);
    assert!(
        ran.err.contains("app/web1 is ready: nobody drains it"),
        "{ran:?}"
    );
    node.cli(&["hold", "app/web1"]).exits(0);
    let gate = node.scratch.join("gate.sock");
    let passing = pass_one(&gate, node.scratch.join("state/admin.sock"));
    let admin = format!("unix:{}", gate.display());
    let wait = ["wait", "app/web1", "--for", "ready", "--timeout", "1s"];
    let ran = run(&node.scratch, &[&wait[..], &["--admin", &admin]].concat()).exits(3);
    passing.join().unwrap();
    assert!(ran.err.contains("the time is up"), "{ran:?}");
    assert!(!ran.err.contains("change"), "{ran:?}");
}

#[test]
fn no_node_exits_1_and_says_where_it_was_looked_for() {
    let scratch = Scratch::new();
    let ran = run(&scratch, &["status"]).exits(1);
    assert!(ran.err.contains("/var/lib/ebbtide/admin.sock"), "{ran:?}");
    let nobody = format!("http://{}", free_address());
    let ran = run(&scratch, &["status", "--admin", &nobody]).exits(1);
    assert!(ran.err.contains(&nobody["http://".len()..]), "{ran:?}");
}

#[test]
fn a_guard_exits_4_and_force_gets_past_it() {
    let node = Node::start();
    node.cli(&["hold", "app/web1", "--reason", "new disk"])
        .exits(0);
    let ran = node.cli(&["hold", "app/web2"]).exits(4);
    assert!(ran.err.contains("--force"), "{ran:?}");
    let ran = node.cli(&["hold", "app/web2", "--json"]).exits(4);
    assert_eq!(ran.json()["error"]["kind"], "guarded");
    node.cli(&["hold", "app/web2", "--force"]).exits(0);
    node.cli(&["hold", "app/web9"]).exits(1);
    let audit = node.cli(&["audit"]).exits(0).out;
    assert!(audit.contains("new disk"), "{audit}");
    assert!(audit.contains("hold (forced)"), "{audit}");
}

#[test]
fn waiting_exits_0_when_it_has_come_and_3_when_the_time_is_up() {
    let node = Node::start();
    let ran = node.cli(&["drain", "app/web1", "--within", "90m"]).exits(0);
    assert!(ran.out.contains("sessions: 0"), "{ran:?}");
    assert!(
        ran.out
            .contains("ebbtide wait app/web1 --for drained --timeout 1h45m"),
        "{ran:?}"
    );
    node.cli(&["wait", "app/web1", "--for", "drained", "--timeout", "10s"])
        .exits(0);
    let ran = node
        .cli(&["wait", "app/web1", "--for", "ready", "--timeout", "200ms"])
        .exits(3);
    assert!(ran.err.contains("app/web1 is not ready yet"), "{ran:?}");
    node.cli(&["ready", "app/web1"]).exits(0);
    node.cli(&["wait", "app/web1", "--for", "ready"]).exits(0);
}

#[test]
fn closing_says_what_changed_and_what_did_not() {
    let node = Node::start();
    let close = [
        "close",
        "app",
        "--within",
        "1h",
        "--block-new",
        "at-deadline",
    ];
    let ran = node.cli(&close).exits(0);
    assert!(
        ran.out.starts_with("pool app is closing: 1h from now; 0"),
        "{ran:?}"
    );
    let ran = node.cli(&["close", "app"]).exits(0);
    assert!(ran.out.contains("nothing was changed, "), "{ran:?}");
    let message = "Back at six.\r\nSorry.";
    let ran = node.cli(&["close", "app", "--message", message]).exits(0);
    assert!(ran.out.contains("the deadline stays, "), "{ran:?}");
    let status = node.cli(&["status", "--json"]).exits(0).json();
    assert_eq!(
        status["pools"][0]["intent"]["message"],
        "Back at six.\nSorry."
    );
    let page = node.cli(&["status"]).exits(0).out;
    assert!(page.contains(": Back at six. Sorry."), "{page}");
    node.cli(&["open", "app"]).exits(0);
    let ran = node.cli(&["open", "app"]).exits(0);
    assert!(
        ran.out.contains("was open already, nothing was changed"),
        "{ran:?}"
    );
}

#[test]
fn a_server_that_was_added_is_not_shown_so_while_the_file_names_it() {
    let node = Node::start();
    let add = ["server", "add", "app/web3", "127.0.0.3:9"];
    node.cli(&add).exits(0);
    let is_marked = || {
        let page = node.cli(&["status"]).exits(0).out;
        page.contains("added live")
    };
    assert!(is_marked());
    let file = node.scratch.join("ebbtide.toml");
    let before = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{before}web3 = \"127.0.0.4:9\"\n")).unwrap();
    let ran = node.cli(&["reload"]).exits(0);
    let counts = "app/web3 is in the file now, at 127.0.0.4:9, and that counts";
    assert!(ran.out.contains(counts), "{ran:?}");
    assert!(!is_marked());
    std::fs::write(&file, before).unwrap();
    let ran = node.cli(&["reload"]).exits(0);
    let goes_on =
        "goes on as it was added live, at 127.0.0.3:9; to remove it: ebbtide server remove";
    assert!(ran.out.contains(goes_on), "{ran:?}");
    assert!(is_marked());
}

#[test]
fn servers_come_change_and_go_while_it_runs() {
    let node = Node::start();
    node.cli(&["server", "add", "app/web3", "127.0.0.3:9", "--weight", "2"])
        .exits(0);
    node.cli(&["server", "set", "app/web3", "weight=3", "max_sessions=500"])
        .exits(0);
    let server = || {
        let status = node.cli(&["status", "--json"]).exits(0).json();
        status["pools"][0]["servers"][2].clone()
    };
    assert_eq!(server()["weight"], 3);
    assert_eq!(server()["max_sessions"], 500);
    node.cli(&["server", "set", "app/web3", "max_sessions=none"])
        .exits(0);
    assert_eq!(server()["max_sessions"], serde_json::Value::Null);
    for (set, peak) in [("0", 0.into()), ("back", serde_json::Value::Null)] {
        let set = format!("peak_load={set}");
        node.cli(&["server", "set", "app/web3", &set]).exits(0);
        assert_eq!(server()["peak_load"], peak);
    }
    let ran = node.cli(&["server", "set", "app/web3", "peak_load=60"]);
    assert!(ran.err.contains("pool app has no `load`"), "{ran:?}");
    for wrong in ["peak_load=101", "peak_load=half", "peek_load=1"] {
        node.cli(&["server", "set", "app/web3", wrong]).exits(2);
    }
    let page = node.cli(&["status"]).exits(0).out;
    assert!(page.contains("added live"), "{page}");
    node.cli(&["server", "reset", "app/web3"]).exits(0);
    assert_eq!(server()["weight"], 2);
    node.cli(&["server", "remove", "app/web3"]).exits(0);
    assert_eq!(server(), serde_json::Value::Null);
}

#[test]
fn a_token_lets_its_holder_do_what_its_role_may() {
    let node = Node::start();
    let secret = node
        .cli(&["token", "add", "eve", "--role", "viewer"])
        .exits(0)
        .out;
    let remote = |arguments: &[&str], token: &str| -> Ran {
        let mut command = program(&node.scratch, arguments);
        command
            .env("EBBTIDE_ADMIN", format!("http://{}", node.admin))
            .env("EBBTIDE_TOKEN", token);
        command.output().unwrap().into()
    };
    remote(&["status"], secret.trim()).exits(0);
    let ran = remote(&["hold", "app/web1", "--json"], secret.trim()).exits(1);
    assert_eq!(ran.json()["error"]["kind"], "forbidden");
    let ran = remote(&["status", "--json"], "ebb_wrong").exits(1);
    assert_eq!(ran.json()["error"]["kind"], "unauthorized");
    assert!(node.cli(&["token", "list"]).exits(0).out.contains("viewer"));
    node.cli(&["token", "remove", "eve"]).exits(0);
    remote(&["status"], secret.trim()).exits(1);
}

#[test]
fn a_reload_prints_the_difference_or_the_mistake() {
    let node = Node::start();
    let file = node.scratch.join("ebbtide.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{good}web3 = \"127.0.0.3:9\"\n")).unwrap();
    let ran = node.cli(&["reload"]).exits(0);
    assert!(ran.out.contains("web3"), "{ran:?}");
    let hook = "[webhooks.ops]\nurl = \"http://127.0.0.1:9/\"\n";
    std::fs::write(&file, format!("{good}web3 = \"127.0.0.3:9\"\n{hook}")).unwrap();
    let ran = node.cli(&["reload"]).exits(0);
    assert_eq!(
        ran.out,
        "the configuration was read again: 1 change\n  + webhooks.ops\n"
    );
    let audit = node.cli(&["audit"]).exits(0).out;
    assert!(audit.contains("+ webhooks.ops"), "{audit}");
    std::fs::write(&file, format!("{good}web4 = \"127.0.0.1\"\n")).unwrap();
    // Even a mistaken file leads to the node that runs by it.
    let ran = node.cli(&["reload"]).exits(2);
    assert!(ran.err.contains("ebbtide.toml:13:8"), "{ran:?}");
    assert!(ran.err.contains("has no port"), "{ran:?}");
}

#[test]
fn every_document_can_be_printed_and_every_command_has_an_example() {
    let scratch = Scratch::new();
    for document in ["settings", "schema", "openapi", "cli", "metrics"] {
        let ran = run(&scratch, &["internal-docs", document]).exits(0);
        assert!(ran.out.len() > 500, "{document}: {ran:?}");
    }
    let page = run(&scratch, &["internal-docs", "cli"]).out;
    for section in page.split("\n## ").skip(1) {
        let is_group = section.contains("<COMMAND>") && !section.starts_with("`ebbtide`");
        assert!(
            is_group || section.contains("  ebbtide ") || section.contains("ebbtide demo"),
            "no example in {section}"
        );
    }
}
