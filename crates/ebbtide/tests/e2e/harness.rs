//! A running Ebbtide, its configuration file and its command line.

use ebbtide_testkit::{Client, Model, Page, Request, Scratch, free_address, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, SystemTime};

/// How long anything may take that is not a deadline of the test's own.
pub const LIMIT: Duration = Duration::from_secs(15);

/// Probes often, so that tests are short, but forgives a busy machine: a server that lives must
/// not count as down because the machine was slow.
pub const HEALTH: &str = "health = { path = \"/health\", expect = \"ACTIVE\", every = \"200ms\", \
                          timeout = \"5s\", fall = 3, rise = 2 }\n";

/// What stands in the configuration file, beside `state_dir` and `admin`.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Lines at the top of the file.
    pub top: String,
    /// What the servers of `app` speak.
    pub protocol: &'static str,
    /// Lines of `[pools.app]`.
    pub pool: String,
    /// Names and addresses of the servers of `app`.
    pub servers: Vec<(String, SocketAddr)>,
    /// Whole tables after it.
    pub more: String,
}

impl Setup {
    /// These servers, probed as [`HEALTH`] says.
    pub fn new(servers: &[Model]) -> Self {
        Self {
            top: String::new(),
            protocol: "http",
            pool: HEALTH.into(),
            servers: servers
                .iter()
                .map(|model| (model.name.clone(), model.address))
                .collect(),
            more: String::new(),
        }
    }

    /// The same with one more line in `[pools.app]`.
    pub fn with(mut self, line: &str) -> Self {
        self.pool += line;
        self.pool += "\n";
        self
    }

    /// The same with other lines in `[pools.app]`.
    pub fn pool(mut self, lines: &str) -> Self {
        self.pool = lines.into();
        self
    }
}

/// A running Ebbtide; it dies with this value.
#[derive(Debug)]
pub struct Ebbtide {
    /// Where users connect.
    pub address: SocketAddr,
    /// Where the control API listens on TCP.
    pub admin: SocketAddr,
    /// Holds the file, the state and the logs.
    pub scratch: Scratch,
    child: Option<Child>,
}

/// How a command of the command line went.
#[derive(Debug)]
pub struct Ran {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    /// The output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Asserts the exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }
}

impl Ebbtide {
    /// Starts it and waits until every server has been probed and users are let in.
    pub fn start(setup: &Setup) -> Self {
        let mut ebbtide = Self::prepare(setup);
        ebbtide.run(&mut ebbtide.command());
        ebbtide.wait_until_probed();
        ebbtide
    }

    /// Writes the file, starts nothing.
    pub fn prepare(setup: &Setup) -> Self {
        let ebbtide = Self {
            address: free_address(),
            admin: free_address(),
            scratch: Scratch::new(),
            child: None,
        };
        ebbtide.configure(setup);
        ebbtide
    }

    /// Writes the configuration file anew.
    pub fn configure(&self, setup: &Setup) {
        fs::write(self.file(), self.configuration(setup)).expect("the file can be written");
    }

    /// The configuration file's text.
    pub fn configuration(&self, setup: &Setup) -> String {
        let servers: String = setup
            .servers
            .iter()
            .map(|(name, address)| format!("{name} = \"{address}\"\n"))
            .collect();
        format!(
            "state_dir = {:?}\n{}\n[admin]\nlisten = \"{}\"\n\n[listeners.web]\nbind = \"{}\"\n\
             pool = \"app\"\n\n[pools.app]\nprotocol = \"{}\"\n{}\n[pools.app.servers]\n{servers}\n{}",
            self.state_dir(),
            setup.top,
            self.admin,
            self.address,
            setup.protocol,
            setup.pool,
            setup.more,
        )
    }

    /// The configuration file.
    pub fn file(&self) -> PathBuf {
        self.scratch.join("ebbtide.toml")
    }

    /// The state directory.
    pub fn state_dir(&self) -> PathBuf {
        self.scratch.join("state")
    }

    /// What its log says so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.scratch.join("log")).unwrap_or_default()
    }

    /// `ebbtide run -c FILE`, not started yet.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ebbtide"));
        command.arg("run").arg("-c").arg(self.file());
        command
    }

    /// Starts `command` as this Ebbtide and waits until it answers its operator and its users.
    #[track_caller]
    pub fn run(&mut self, command: &mut Command) {
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.scratch.join("log"));
        let log = log.expect("a log file");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the program starts");
        until("Ebbtide answers its operator", LIMIT, || {
            let gone = child.try_wait().expect("it is a child");
            assert!(gone.is_none(), "it ended at once, {gone:?}: {}", self.log());
            (self.cli(&["status", "--json"]).code == 0).then_some(())
        });
        until("Ebbtide answers its users", LIMIT, || {
            TcpStream::connect(self.address).ok()
        });
        self.child = Some(child);
    }

    /// Waits until it has its own opinion of every server.
    pub fn wait_until_probed(&self) {
        until("every server is probed", LIMIT, || {
            let pools = self.status();
            let mut servers = pools["pools"]
                .as_array()?
                .iter()
                .flat_map(|pool| pool["servers"].as_array().cloned().unwrap_or_default());
            servers
                .all(|server| {
                    !matches!(
                        server["health"]["state"].as_str(),
                        Some("unproven" | "starting")
                    )
                })
                .then_some(())
        });
    }

    /// The process's number.
    pub fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().expect("it runs"))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it runs");
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it runs");
        child.wait().expect("it is a child");
    }

    /// Starts it again with the same file and state.
    pub fn start_again(&mut self) {
        self.run(&mut self.command());
    }

    /// Waits for its own end.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let child = self.child.as_mut().expect("it runs");
        until("Ebbtide has stopped", LIMIT, || {
            child.try_wait().expect("it is a child")
        })
    }

    /// Whether the process is still there.
    pub fn is_alive(&mut self) -> bool {
        let child = self.child.as_mut();
        child.is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Runs a command of the command line against it.
    pub fn cli(&self, arguments: &[&str]) -> Ran {
        let output = self.cli_command(arguments).output();
        let output = output.expect("the program starts");
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The same, not started yet.
    pub fn cli_command(&self, arguments: &[&str]) -> Command {
        let socket = self.state_dir().join("admin.sock");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ebbtide"));
        command
            .args(arguments)
            .arg("--admin")
            .arg(format!("unix:{}", socket.display()))
            .stdin(Stdio::null());
        command
    }

    /// `ebbtide status --json`.
    pub fn status(&self) -> Value {
        self.cli(&["status", "--json"]).exits(0).json()
    }

    /// What `status` says of `app/name`.
    #[track_caller]
    pub fn server(&self, name: &str) -> Value {
        let status = self.status();
        let pools = status["pools"].as_array().expect("pools");
        let pool = pools
            .iter()
            .find(|pool| pool["name"] == "app")
            .expect("app");
        let servers = pool["servers"].as_array().expect("servers");
        let found = servers.iter().find(|server| server["name"] == name);
        found
            .unwrap_or_else(|| panic!("no {name} in {status}"))
            .clone()
    }

    /// The intent of `app/name`.
    pub fn intent(&self, name: &str) -> String {
        text(&self.server(name)["intent"]["label"])
    }

    /// The reason behind the standing of `app/name`.
    pub fn reason(&self, name: &str) -> String {
        text(&self.server(name)["standing"]["reason"])
    }

    /// The deadline of `app/name`.
    #[track_caller]
    pub fn deadline(&self, name: &str) -> SystemTime {
        timestamp(&self.server(name)["intent"]["deadline"])
    }

    /// The sessions of `app/name`, as `status` counts them.
    pub fn sessions(&self, name: &str) -> u64 {
        let sessions = self.server(name)["sessions"].clone();
        let count = |kind: &str| sessions[kind].as_u64().expect("a count");
        count("active") + count("idle")
    }

    /// Waits until `app/name` stands as it does for this reason.
    #[track_caller]
    pub fn wait_for_reason(&self, name: &str, reason: &str) {
        until(&format!("app/{name} is {reason}"), LIMIT, || {
            (self.reason(name) == reason).then_some(())
        });
    }

    /// A user who has come by, and the page that the user was given.
    pub fn user(&self) -> (Client, Page) {
        let mut client = Client::new(self.address, LIMIT);
        let page = page(&mut client);
        (client, page)
    }

    /// So many users, each with a session, and those of `server` apart from the others.
    pub fn users(&self, count: usize, server: &str) -> [Vec<(Client, Page)>; 2] {
        let users = (0..count).map(|_| self.user());
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            users.partition(|(_, page)| page.server == server);
        assert!(!here.is_empty(), "nobody was sent to {server}");
        [here, elsewhere]
    }
}

impl Drop for Ebbtide {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log of Ebbtide:\n{}", self.log());
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// `web1`, `web2` and so on; all write to the same ledger.
pub fn models(count: usize, scratch: &Scratch) -> Vec<Model> {
    let ledger = scratch.join("ledger");
    (1..=count)
        .map(|number| Model::start(&format!("web{number}"), &ledger))
        .collect()
}

/// Asks for the page and expects to get it.
#[track_caller]
pub fn page(client: &mut Client) -> Page {
    let answer = client.send(&Request::get("/")).answer();
    let page = Page::parse(&answer.body);
    page.unwrap_or_else(|| panic!("no page: {} {}", answer.head.first_line, answer.text()))
}

/// A JSON string.
#[track_caller]
pub fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value}"))
        .to_owned()
}

/// A point in time in JSON.
#[track_caller]
pub fn timestamp(value: &Value) -> SystemTime {
    let stamp: ebbtide_api::Timestamp = text(value).parse().expect("a timestamp");
    SystemTime::UNIX_EPOCH + Duration::from_millis(stamp.0)
}

/// The events since it was started, as `ebbtide events --json` prints them.
#[derive(Debug)]
pub struct Events {
    child: Child,
    file: PathBuf,
}

impl Events {
    /// Begins to listen, and returns when it hears: `app/web1` is reset until that is heard.
    pub fn follow(ebbtide: &Ebbtide) -> Self {
        let file = ebbtide.scratch.join("events");
        let out = File::create(&file).expect("a file for the events");
        let mut command = ebbtide.cli_command(&["events", "--json"]);
        let child = command.stdout(out).spawn().expect("the program starts");
        let events = Self { child, file };
        until("the events are heard", LIMIT, || {
            ebbtide.cli(&["server", "reset", "app/web1"]).exits(0);
            (!events.all().is_empty()).then_some(())
        });
        events
    }

    /// Waits for the first event of that kind, of that server, that has all those fields.
    #[track_caller]
    pub fn wait_for(&self, server: &str, kind: &str, fields: &[(&str, &str)]) -> Value {
        until(
            &format!("event {kind} {fields:?} of {server}"),
            LIMIT,
            || {
                self.all().into_iter().find(|event| {
                    event["server"] == server
                        && event["kind"] == kind
                        && fields.iter().all(|(name, value)| event[*name] == *value)
                })
            },
        )
    }

    /// All that was heard so far.
    pub fn all(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.file).unwrap_or_default();
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        lines.collect()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
