//! `ebbtide agent`, asked by HAProxy, whose protocol it is.

use crate::harness::LIMIT;
use crate::real_servers::Foreign;
use ebbtide_testkit::{Scratch, free_address, until};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn ebbtide(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ebbtide"));
    command.args(words);
    command
}

/// An agent, and where it keeps its hold.
pub struct Agent {
    address: SocketAddr,
    state: PathBuf,
    _process: Foreign,
}

impl Agent {
    fn start(scratch: &Scratch, words: &[&str]) -> Self {
        Self::start_at(free_address(), scratch, words)
    }

    /// One that answers here.
    pub fn start_at(address: SocketAddr, scratch: &Scratch, words: &[&str]) -> Self {
        let state = scratch.join("agent");
        let mut command = ebbtide(&["agent", "--every", "1s", "--listen", &address.to_string()]);
        command.arg("--state-dir").arg(&state).args(words);
        Self {
            address,
            state,
            _process: Foreign::start(&mut command, address),
        }
    }

    /// What is typed on the server's own console.
    pub fn console(&self, words: &[&str]) -> Output {
        let mut command = ebbtide(&["agent"]);
        command.args(words).arg("--state-dir").arg(&self.state);
        command.output().unwrap()
    }

    /// Waits until balancers are told this.
    fn says(&self, part: &str) {
        until(part, LIMIT, || self.line().contains(part).then_some(()));
    }

    /// What a balancer gets.
    fn line(&self) -> String {
        let mut line = String::new();
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.read_to_string(&mut line).unwrap();
        line
    }
}

/// HAProxy with one server, which an agent speaks for.
struct Haproxy {
    socket: PathBuf,
    _process: Foreign,
}

impl Haproxy {
    fn start(scratch: &Scratch, server: SocketAddr, agent: SocketAddr) -> Self {
        let address = free_address();
        let socket = scratch.join("haproxy.sock");
        let text = format!(
            "global\n stats socket {}\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5s\n \
             timeout server 5s\nfrontend f\n bind {address}\n default_backend app\nbackend app\n \
             server web1 {server} weight 100 check inter 100ms agent-check agent-addr {} agent-port {} \
             agent-inter 100ms\n",
            socket.display(),
            agent.ip(),
            agent.port()
        );
        let file = scratch.join("haproxy.cfg");
        fs::write(&file, text).unwrap();
        let process = Foreign::start(Command::new("haproxy").arg("-f").arg(file), address);
        Self {
            socket,
            _process: process,
        }
    }

    /// What it says of the server: standing, weight, and what became of asking the agent.
    fn server(&self) -> Vec<String> {
        let columns = ["status", "weight", "agent_status"];
        let stat = stat(&self.socket);
        let mut lines = stat.lines().map(fields);
        let names = lines.next().unwrap();
        let server = lines.find(|line| line[..2] == ["app", "web1"]).unwrap();
        let place = |column| names.iter().position(|name| *name == column).unwrap();
        let told = columns.map(|column| server[place(column)].to_owned());
        told.to_vec()
    }

    fn comes_to(&self, what: &str, is_there: impl Fn(&[String]) -> bool) {
        until(what, LIMIT, || is_there(&self.server()).then_some(()));
    }
}

/// The fields of a line of comma-separated values, where some are in quotes.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut is_quoted = false;
    for character in line.chars() {
        match character {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(String::new()),
            other => fields.last_mut().unwrap().push(other),
        }
    }
    fields
}

fn stat(socket: &Path) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(b"show stat\n").unwrap();
    let mut stat = String::new();
    stream.read_to_string(&mut stat).unwrap();
    stat
}

#[test]
fn haproxy_hears_load_hold_and_ready_of_an_agent() {
    let scratch = Scratch::new();
    let agent = Agent::start(&scratch, &[]);
    agent.says("#processor ");
    let server = TcpListener::bind(free_address()).unwrap();
    let haproxy = Haproxy::start(&scratch, server.local_addr().unwrap(), agent.address);
    haproxy.comes_to(
        "the agent is understood, and the weight its share",
        |told| {
            let weight: u32 = told[1].parse().unwrap();
            told[0] == "UP" && told[2] == "L7OK" && (1..=100).contains(&weight)
        },
    );
    let held = agent.console(&["hold", "--reason", "new disks"]);
    assert!(held.status.success(), "{held:?}");
    haproxy.comes_to("the server is drained", |told| told[0] == "DRAIN (agent)");
    assert!(agent.line().contains("#on hold: new disks, processor "));
    let ready = agent.console(&["ready"]);
    assert!(ready.status.success(), "{ready:?}");
    haproxy.comes_to("the server is up again", |told| told[0] == "UP");
}

#[test]
fn connections_of_a_port_fill_a_server() {
    let scratch = Scratch::new();
    let server = TcpListener::bind(free_address()).unwrap();
    let address = server.local_addr().unwrap();
    let port = address.port().to_string();
    let agent = Agent::start(&scratch, &["--sessions-port", &port, "--sessions-max", "2"]);
    agent.says("0 of 2 sessions");
    let users = [(); 2].map(|()| {
        let user = TcpStream::connect(address).unwrap();
        (server.accept().unwrap(), user)
    });
    agent.says("2 of 2 sessions");
    assert!(
        agent.line().starts_with("up ready 0% #"),
        "{}",
        agent.line()
    );
    drop(users);
    agent.says("0 of 2 sessions");
}

#[test]
fn a_balancer_that_says_much_and_never_closes_keeps_nobody_waiting() {
    let scratch = Scratch::new();
    let agent = Agent::start(&scratch, &[]);
    let mute: Vec<_> = (0..600)
        .map(|_| {
            let mut stream = TcpStream::connect(agent.address).unwrap();
            // The agent may have hung up by now.
            let _ = stream.write_all(&[b'x'; 100_000]);
            stream
        })
        .collect();
    assert!(agent.line().starts_with("up ready"), "{}", agent.line());
    drop(mute);
}

#[test]
fn bad_arguments_of_an_agent_are_refused_in_words() {
    let scratch = Scratch::new();
    let agent = Agent::start(&scratch, &[]);
    let taken = ebbtide(&["agent", "--listen", &agent.address.to_string()])
        .arg("--state-dir")
        .arg(&agent.state)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&taken.stderr).into_owned();
    assert_eq!(taken.status.code(), Some(1));
    assert!(
        text.contains("choose another address with --listen"),
        "{text}"
    );
    for (words, part) in [
        (["--every", "10ms"], "it can be 1s to 1m"),
        (["--sessions-max", "0"], "--sessions-max"),
        (["--sessions-max", "4"], "--sessions-port"),
        (["--sessions-port", "70000"], "--sessions-port"),
        (["--listen", "nowhere"], "--listen"),
    ] {
        let refused = ebbtide(&["agent"]).args(words).output().unwrap();
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{text}");
        assert!(text.contains(part), "{text}");
    }
    for words in [["show"], ["hold"], ["ready"]] {
        let lost = ebbtide(&["agent"])
            .args(words)
            .arg("--state-dir")
            .arg(scratch.join("agnet"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&lost.stderr).into_owned();
        assert_eq!(lost.status.code(), Some(1), "{words:?}: {text}");
        assert!(text.contains("there is no directory"), "{text}");
    }
    let shown = agent.console(&["show", "--json"]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["hold"], false);
}
