//! A thousand clients who send half a head, half a body, or read nothing, while a server is drained
//! and the configuration read anew: each is cut at its limit, and nobody else notices.

use crate::harness::{Ebbtide, LIMIT, Setup, models};
use ebbtide_testkit::{
    Client, Crowd, CrowdSettings, Framing, Ledger, Model, Request, Scratch, Wire, until,
};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{AddressFamily, SocketType, connect, socket};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime};

const USERS: usize = 40;
/// Who send half a head, and as many who send half a body; with the readers and the one who sends
/// on and on it is a thousand.
const SENDERS: usize = 470;
/// Who do not read: fewer, because the kernel holds up to some megabytes for each.
const READERS: usize = 59;
const HALF_HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: a";
const HALF_BODY: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf";
/// More than the buffers on its way can hold.
const DOWNLOAD_BYTES: usize = 16 << 20;

/// A thousand slow clients, all at the beginning of their wait.
struct Slow {
    senders: Vec<Wire>,
    readers: Vec<Wire>,
    trickler: Wire,
}

impl Slow {
    fn open(address: SocketAddr) -> Self {
        let open = |bytes: &[u8]| {
            let mut wire = Wire::over(connect_with_small_buffer(address), LIMIT).expect("a wire");
            wire.send(bytes).expect("some bytes");
            wire
        };
        let download = format!("GET /download?bytes={DOWNLOAD_BYTES} HTTP/1.1\r\nHost: a\r\n\r\n");
        let senders = (0..SENDERS).flat_map(|_| [open(HALF_HEAD), open(HALF_BODY)]);
        Self {
            senders: senders.collect(),
            readers: (0..READERS).map(|_| open(download.as_bytes())).collect(),
            trickler: Wire::over(
                open(HALF_HEAD).stream().try_clone().expect("a handle"),
                Duration::from_millis(100),
            )
            .expect("a shorter wait"),
        }
    }

    /// Waits until each is cut, and asserts how. So many others stay connected.
    fn are_cut(mut self, ebbtide: &Ebbtide, others: usize) {
        let answer = until("the one who sends on and on is cut", LIMIT, || {
            match self.trickler.read_head() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.trickler.send(b"a").expect("it is answered first");
                    None
                }
                answer => Some(answer),
            }
        });
        let answer = answer.expect("not a reset").expect("not silence");
        assert_eq!(answer.status(), 408);
        for mut wire in self.senders {
            let head = wire.read_head().expect("an answer, not a reset");
            assert_eq!(head.expect("an answer, not silence").status(), 408);
            assert!(wire.read_to_end().is_ok(), "then the end");
        }
        until("those who do not read are cut", LIMIT, || {
            (connected(ebbtide) <= others).then_some(())
        });
        for mut wire in self.readers {
            let head = wire.read_head().expect("a head").expect("a head");
            let framing = head.framing().expect("a length");
            assert_eq!(framing, Framing::Length(DOWNLOAD_BYTES));
            let cut = wire.read_body(framing, &mut std::io::sink());
            assert!(cut.is_err(), "all of it came");
        }
    }
}

/// How many clients are connected.
fn connected(ebbtide: &Ebbtide) -> usize {
    let metrics = Client::new(ebbtide.admin, LIMIT).send(&Request::get("/metrics"));
    let text = metrics.answer().text();
    let gauge = "ebbtide_client_connections ";
    let value = text.lines().find_map(|line| line.strip_prefix(gauge));
    value.expect("the gauge").parse().expect("a number")
}

/// A connection that takes little of what it is sent, so that a thousand of them do not take the
/// machine's memory for sockets.
fn connect_with_small_buffer(address: SocketAddr) -> TcpStream {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    set_socket_recv_buffer_size(&socket, 4096).expect("a small buffer");
    connect(&socket, &address).expect("a connection");
    socket.into()
}

/// Allows this process as many descriptors as it may have.
pub fn raise_descriptors() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("up to the hard limit");
}

/// The limits of the slow are so long.
fn setup(servers: &[Model], limit: &str) -> Setup {
    Setup::new(servers).with(&format!(
        "timeouts = {{ head = \"{limit}\", body = \"{limit}\", idle = \"30s\" }}"
    ))
}

/// A server is drained and the file read anew. Returns the deadline.
fn drain_and_reload(ebbtide: &Ebbtide, setup: &Setup, within: &str) -> SystemTime {
    ebbtide
        .cli(&["drain", "app/web1", "--within", within])
        .exits(0);
    let deadline = ebbtide.deadline("web1");
    ebbtide.configure(&setup.clone().with("contact = \"ext. 4455\""));
    ebbtide.cli(&["reload"]).exits(0);
    deadline
}

fn wait_for_drained(ebbtide: &Ebbtide) {
    ebbtide
        .cli(&["wait", "app/web1", "--for", "drained", "--timeout", "15s"])
        .exits(0);
}

fn assert_unhindered(ledger: &Ledger, deadline: SystemTime) {
    assert!(ledger.anomalies.is_empty(), "{:?}", ledger.anomalies);
    assert_eq!(ledger.reconnects, 0, "connections were closed");
    for moved in &ledger.moves {
        assert!(
            moved.from == "web1" && moved.at >= deadline,
            "{moved:?}, web1 until {deadline:?}"
        );
    }
}

#[test]
fn a_thousand_slow_clients_are_cut_at_their_limits_and_hinder_nobody() {
    raise_descriptors();
    let scratch = Scratch::new();
    let servers = models(3, &scratch);
    let setup = setup(&servers, "2s");
    let ebbtide = Ebbtide::start(&setup);
    let crowd = Crowd::start(CrowdSettings::new(ebbtide.address, USERS));
    let users = crowd.users_at("web1");
    assert!(users > 0);
    let slow = Slow::open(ebbtide.address);
    let deadline = drain_and_reload(&ebbtide, &setup, "6s");
    slow.are_cut(&ebbtide, USERS);
    wait_for_drained(&ebbtide);
    until("web1's users are elsewhere", LIMIT, || {
        (crowd.users_at("web1") == 0).then_some(())
    });
    let ledger = crowd.stop();
    assert_unhindered(&ledger, deadline);
    assert_eq!(ledger.moves.len(), users, "{:?}", ledger.moves);
}

/// How long others wait: alone; while a thousand slow clients come; while these are there, through
/// a drain and a reload; while they are cut. A figure, not a test:
/// `cargo test --release -p ebbtide --test e2e -- --ignored --nocapture figure_of_slow_clients`
#[test]
#[ignore = "measures; what it prints depends on the machine"]
fn figure_of_slow_clients() {
    raise_descriptors();
    let scratch = Scratch::new();
    let servers = models(3, &scratch);
    let setup = setup(&servers, "8s");
    let ebbtide = Ebbtide::start(&setup);
    let crowd = Crowd::start(CrowdSettings::new(ebbtide.address, USERS));
    let came = || crowd.ledger().waits.len();
    crowd.go_on_for(60);
    let alone = came();
    let slow = Slow::open(ebbtide.address);
    crowd.go_on_for(5);
    let all_there = came();
    let deadline = drain_and_reload(&ebbtide, &setup, "12s");
    crowd.go_on_for(30);
    let before_cut = came();
    slow.are_cut(&ebbtide, USERS);
    wait_for_drained(&ebbtide);
    let ledger = crowd.stop();
    assert_unhindered(&ledger, deadline);
    for (name, waits) in [
        ("alone", &ledger.waits[..alone]),
        ("while they come", &ledger.waits[alone..all_there]),
        ("while they are there", &ledger.waits[all_there..before_cut]),
        ("while they are cut", &ledger.waits[before_cut..]),
    ] {
        let mut waits = waits.to_vec();
        waits.sort();
        let at = |percent: usize| waits.get(waits.len() * percent / 100);
        println!(
            "{name}: {} requests, p50 {:?}, p90 {:?}, p99 {:?}, longest {:?}",
            waits.len(),
            at(50),
            at(90),
            at(99),
            waits.last()
        );
    }
}
