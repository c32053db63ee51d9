//! Agents on the servers, asked by a node: our own, and others in the words of HAProxy's agent-check.

use crate::agent::Agent;
use crate::harness::{Ebbtide, Events, LIMIT, Setup, models, page};
use ebbtide_testkit::{Model, Scratch, free_address, until};
use serde_json::Value;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// An agent that says whatever the test wants.
struct FakeAgent {
    says: Arc<Mutex<Option<Vec<u8>>>>,
}

impl FakeAgent {
    fn start(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let says = Arc::new(Mutex::new(Some(b"up ready 100%\n".to_vec())));
        let fake = Self {
            says: Arc::clone(&says),
        };
        std::thread::spawn(move || {
            let mut unanswered: Vec<TcpStream> = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let says = says.lock().unwrap().clone();
                match says {
                    // Whoever has read enough hangs up.
                    Some(says) => drop(stream.write_all(&says)),
                    None => unanswered.push(stream),
                }
            }
        });
        fake
    }

    fn says(&self, line: &[u8]) {
        *self.says.lock().unwrap() = Some(line.to_vec());
    }

    fn never_answers(&self) {
        *self.says.lock().unwrap() = None;
    }
}

/// Another address of this machine's loopback network than the one that all servers have.
fn another_host(address: SocketAddr) -> SocketAddr {
    let IpAddr::V4(host) = address.ip() else {
        panic!("{address} is an IPv4 address");
    };
    let [first, second, third, fourth] = host.octets();
    SocketAddr::new([first, second ^ 0x80, third, fourth].into(), address.port())
}

/// What is known of the agent of `app/name`.
fn agent_of(ebbtide: &Ebbtide, name: &str) -> Value {
    ebbtide.server(name)["agent"].clone()
}

fn wait_for_wish(ebbtide: &Ebbtide, name: &str, wish: &str) {
    until(&format!("the agent of {name} says {wish}"), LIMIT, || {
        let agent = agent_of(ebbtide, name);
        (agent["wish"] == wish && agent["age_ms"].is_number()).then_some(())
    });
}

fn asking(port: u16) -> String {
    format!("agent = {{ port = {port}, every = \"500ms\", timeout = \"10s\" }}")
}

#[test]
fn a_hold_at_a_servers_own_console_keeps_new_users_off_until_it_is_ready() {
    let scratch = Scratch::new();
    let mut servers = models(1, &scratch);
    let elsewhere = another_host(free_address());
    servers.push(Model::start_at("web2", elsewhere, &scratch.join("ledger")));
    let port = free_address().port();
    let agent = Agent::start_at(
        SocketAddr::new(servers[0].address.ip(), port),
        &scratch,
        &[],
    );
    let _other = FakeAgent::start(SocketAddr::new(elsewhere.ip(), port));
    let ebbtide = Ebbtide::start(&Setup::new(&servers).with(&asking(port)));
    for name in ["web1", "web2"] {
        wait_for_wish(&ebbtide, name, "ready");
    }
    let [mut on_web1, _on_web2] = ebbtide.users(6, "web1");

    let held = agent.console(&["hold", "--reason", "new disks"]);
    assert!(held.status.success(), "{held:?}");
    ebbtide.wait_for_reason("web1", "agent-drain");
    let web1 = ebbtide.server("web1");
    let remark = web1["agent"]["remark"].as_str().unwrap();
    assert!(remark.starts_with("on hold: new disks"), "{web1}");
    let shown = ebbtide.cli(&["status"]).exits(0).out;
    assert!(
        shown.contains("its agent says drain: on hold: new disks"),
        "{shown}"
    );
    for _ in 0..4 {
        assert_eq!(ebbtide.user().1.server, "web2");
    }
    for (user, _) in &mut on_web1 {
        assert_eq!(page(user).server, "web1", "who is there stays");
    }
    let refused = ebbtide.cli(&["hold", "app/web2"]).exits(4);
    assert!(refused.err.contains("web1: agent-drain"), "{refused:?}");

    let ready = agent.console(&["ready"]);
    assert!(ready.status.success(), "{ready:?}");
    ebbtide.wait_for_reason("web1", "ready");
    until("new users reach web1 again", LIMIT, || {
        (ebbtide.user().1.server == "web1").then_some(())
    });
}

#[test]
fn what_agents_say_counts_and_what_is_no_word_of_theirs_does_not() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let port = free_address().port();
    let agent = FakeAgent::start(SocketAddr::new(servers[0].address.ip(), port));
    let setup = Setup::new(&servers).with(&asking(port).replace("10s", "500ms"));
    let ebbtide = Ebbtide::start(&setup);
    let events = Events::follow(&ebbtide);
    for (line, reason) in [
        (&b"drain\n"[..], "agent-drain"),
        (b"READY,5%\tmaxconn:40\r\n", "ready"),
        (b"maint\n", "agent-maint"),
        (b"drain some unknown words maint ready\n", "ready"),
        (b"0%\n", "agent-full"),
        (b"50%\n", "ready"),
    ] {
        agent.says(line);
        ebbtide.wait_for_reason("web1", reason);
    }
    let told = agent_of(&ebbtide, "web1");
    assert_eq!(
        (&told["weight_percent"], &told["max_sessions"]),
        (&50.into(), &40.into())
    );
    // The only server there is goes on, as the last resort.
    agent.says(b"fail # no license\n");
    let why = "its agent says fail: no license";
    events.wait_for(
        "app/web1",
        "standing",
        &[("to", "last-resort"), ("why", why)],
    );
    assert_eq!(ebbtide.server("web1")["health"]["state"], "down");
    agent.says(b"up\n");
    ebbtide.wait_for_reason("web1", "ready");

    let megabyte = [b"drain ".repeat(180_000), b"\n".to_vec()].concat();
    for (line, why) in [
        (&megabyte[..], "longer than 4096 bytes"),
        (b"", "hangs up without a word"),
        (b"drain", "before the end of its line"),
        (b"\xff\xfe\x00 drain\xff\n", "no word of an agent"),
        (b"SSH-2.0-OpenSSH_10.0\r\n", "no word of an agent"),
    ] {
        agent.says(line);
        no_agent(&ebbtide, why);
        agent.says(b"up\n");
        until("the agent answers", LIMIT, || {
            agent_of(&ebbtide, "web1")["no_agent"]
                .is_null()
                .then_some(())
        });
    }
    agent.never_answers();
    no_agent(&ebbtide, "no whole line within 500ms");
    assert_eq!(ebbtide.user().1.server, "web1", "none of it had an effect");
    let shown = ebbtide.cli(&["status"]).exits(0).out;
    assert!(shown.contains("no agent: "), "{shown}");
}

fn no_agent(ebbtide: &Ebbtide, why: &str) {
    until(&format!("there is no agent: {why}"), LIMIT, || {
        let agent = agent_of(ebbtide, "web1");
        agent["no_agent"].as_str()?.contains(why).then_some(())
    });
}
