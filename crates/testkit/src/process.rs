//! A model server as a process of its own, so that it can be killed and stopped for real.

use crate::client::{Client, Request};
use crate::model::ASKED;
use crate::place::free_address;
use crate::wait::until;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const START_MAX: Duration = Duration::from_secs(10);

/// A running model server; it dies with this value, or with the test.
///
/// The process is the test's own program, started again: the test crate's root must have a test
/// called `model_process` that begins with [`serve_if_asked`](crate::serve_if_asked).
#[derive(Debug)]
pub struct Model {
    /// Its name, as its page says it.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    ledger: PathBuf,
    child: Child,
}

impl Model {
    /// Starts a server that records its requests in the file `ledger`, which servers may share.
    pub fn start(name: &str, ledger: &Path) -> Self {
        Self::start_at(name, free_address(), ledger)
    }

    /// The same, at this address.
    pub fn start_at(name: &str, address: SocketAddr, ledger: &Path) -> Self {
        Self {
            name: name.into(),
            address,
            ledger: ledger.into(),
            child: spawn(name, address, ledger),
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().expect("the model server runs");
        self.child.wait().expect("the model server is a child");
    }

    /// Starts it again after its death, at the same address, with an empty memory.
    pub fn start_again(&mut self) {
        let _ = self.child.wait();
        self.child = spawn(&self.name, self.address, &self.ledger);
    }

    /// Whether the process is still there.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// `SIGSTOP`: the kernel still takes connections, the process does nothing. Returns when every
    /// thread has stopped, which can be some time after the signal was sent: each stops by itself.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        until("every thread of the server has stopped", START_MAX, || {
            self.is_stopped().then_some(())
        });
    }

    fn is_stopped(&self) -> bool {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id()));
        tasks.expect("the model server runs").flatten().all(|task| {
            let status = fs::read_to_string(task.path().join("status"));
            status.is_ok_and(|text| text.contains("\nState:\tT"))
        })
    }

    /// `SIGCONT`.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Sets what `/health` says from now on.
    pub fn say(&self, health: &str) {
        self.put("/model/health", health);
    }

    /// Sets what `/version` says from now on.
    pub fn upgrade(&self, version: &str) {
        self.put("/model/version", version);
    }

    /// Sets how pages behave from now on: `normal`, `hang` or `close`. `/health` stays as it is.
    pub fn behave(&self, mode: &str) {
        self.put("/model/mode", mode);
    }

    fn put(&self, target: &str, body: &str) {
        let request = Request {
            method: "PUT",
            ..Request::post(target, body.as_bytes())
        };
        let answer = Client::new(self.address, START_MAX).send(&request).answer();
        assert_eq!(answer.head.status(), 200);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the model server runs");
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(name: &str, address: SocketAddr, ledger: &Path) -> Child {
    let program = std::env::current_exe().expect("a test knows its own program");
    let mut child = Command::new(program)
        .args(["--exact", "model_process", "--nocapture"])
        .env(ASKED, format!("{name} {address} {}", ledger.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("a test can start its own program again");
    until(
        "the model server answers (is there a test `model_process`?)",
        START_MAX,
        || {
            let gone = child.try_wait().expect("the model server is a child");
            assert!(gone.is_none(), "the model server ended at once: {gone:?}");
            TcpStream::connect(address).ok()
        },
    );
    child
}

/// What the servers of a ledger have received: `server`, `id`, `method` and `target` of each
/// request that had an `X-Request`, in the order of arrival.
pub fn processed(ledger: &Path) -> Vec<[String; 4]> {
    let text = fs::read_to_string(ledger).unwrap_or_default();
    let line = |line: &str| {
        let mut words = line.split(' ').map(String::from);
        let mut word = || words.next().unwrap_or_default();
        [word(), word(), word(), word()]
    };
    text.lines().map(line).collect()
}
