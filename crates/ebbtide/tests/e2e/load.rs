//! Measured load: a real exporter, processors that the test keeps busy, and where new users go.

use crate::harness::{Ebbtide, LIMIT, Setup, models};
use ebbtide_testkit::{Scratch, free_address, until};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Prometheus' node_exporter, which tells of the machine that the test runs on.
struct NodeExporter {
    child: Child,
    address: SocketAddr,
}

impl NodeExporter {
    fn start() -> Self {
        let address = free_address();
        let child = Command::new("prometheus-node-exporter")
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus-node-exporter is installed");
        Self { child, address }
    }
}

impl Drop for NodeExporter {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Keeps every processor busy until it is dropped.
struct Burner(Arc<AtomicBool>);

impl Burner {
    fn start() -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        for _ in 0..cores {
            let is_over = Arc::clone(&is_over);
            std::thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(is_over)
    }
}

impl Drop for Burner {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The page of a machine that has nothing to do: an hour more of that each time that it is asked.
fn idle_machine() -> SocketAddr {
    exporter(|count| {
        let idle = count * 3600;
        format!(
            "node_cpu_seconds_total{{cpu=\"0\",mode=\"idle\"}} {idle}\n\
             node_cpu_seconds_total{{cpu=\"0\",mode=\"user\"}} 1\n\
             node_memory_MemTotal_bytes 1000\nnode_memory_MemAvailable_bytes 990\n"
        )
    })
}

/// Answers with a page, by how often it was asked.
fn exporter(page: impl Fn(u32) -> String + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (count, stream) in (1..).zip(listener.incoming()) {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            while lines.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {
                line.clear();
            }
            let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned() + &page(count);
            drop(stream.write_all(answer.as_bytes()));
        }
    });
    address
}

fn machine(ebbtide: &Ebbtide, name: &str) -> Value {
    ebbtide.server(name)["machine"].clone()
}

/// What Prometheus would read.
fn metrics(ebbtide: &Ebbtide) -> String {
    let socket = ebbtide.state_dir().join("admin.sock");
    let output = Command::new("curl")
        .args(["--silent", "--fail", "--unix-socket"])
        .arg(socket)
        .arg("http://localhost/metrics")
        .output();
    String::from_utf8(output.expect("curl is installed").stdout).unwrap()
}

#[test]
fn new_users_go_where_the_machine_is_less_busy_and_by_sessions_when_nobody_knows() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let exporter = NodeExporter::start();
    let idle = idle_machine();
    let mut setup = Setup::new(&servers)
        .with("balance = \"least-load\"")
        .with(&format!(
            "load = {{ exporter = \"http://{}/metrics\", every = \"2s\", timeout = \"2s\" }}",
            exporter.address
        ));
    let second = setup.servers.pop().unwrap();
    setup.more = format!(
        "[pools.app.servers.web2]\naddress = \"{}\"\nexporter = \"http://{idle}/metrics\"\n",
        second.1
    );
    let ebbtide = Ebbtide::start(&setup);
    let _burner = Burner::start();
    until(
        "web1's machine is busy, and web2's is not",
        LIMIT * 4,
        || {
            let loads =
                ["web1", "web2"].map(|name| machine(&ebbtide, name)["load_percent"].as_u64());
            matches!(loads, [Some(60..), Some(..5)]).then_some(())
        },
    );
    let users: Vec<_> = (0..10).map(|_| ebbtide.user()).collect();
    for (_, page) in &users {
        assert_eq!(page.server, "web2", "{:?}", ebbtide.status());
    }
    let shown = ebbtide.cli(&["status"]).exits(0).out;
    assert!(shown.contains("LOAD"), "{shown}");
    let read = metrics(&ebbtide);
    let told = "ebbtide_server_metrics{pool=\"app\",server=\"web1\"} 1";
    assert!(read.contains(told), "{read}");

    drop(exporter);
    until("web1 has no metrics", LIMIT * 4, || {
        let lost = machine(&ebbtide, "web1");
        let why = lost["no_metrics"].as_str()?;
        why.contains("connection refused").then_some(())
    });
    until("sessions decide", LIMIT * 4, || {
        let (_, page) = ebbtide.user();
        (page.server == "web1").then_some(())
    });
    let web1 = ebbtide.server("web1");
    assert_eq!(web1["health"]["state"], "up", "it is not down");
    assert_eq!(web1["standing"]["reason"], "ready");
    let shown = ebbtide.cli(&["status"]).exits(0).out;
    assert!(shown.contains("no metrics"), "{shown}");
    let told = "ebbtide_server_metrics{pool=\"app\",server=\"web1\"} 0";
    assert!(metrics(&ebbtide).contains(told));
}

#[test]
fn sessions_on_a_windows_machine_count_against_what_the_server_may_have() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    // Two users are on it.
    let windows =
        exporter(|_| include_str!("../../../protocol/tests/pages/windows_exporter.txt").to_owned());
    let load = format!(
        "load = {{ exporter = \"http://{windows}/metrics\", by = \"sessions\", sessions_max = 8, \
         every = \"2s\", timeout = \"2s\" }}"
    );
    let mut setup = Setup::new(&servers).with(&load).with("peak_load = 80");
    let second = setup.servers.pop().unwrap();
    setup.more = format!(
        "[pools.app.servers.web2]\naddress = \"{}\"\nmax_sessions = 4\n",
        second.1
    );
    let ebbtide = Ebbtide::start(&setup);
    let loads = || ["web1", "web2"].map(|name| machine(&ebbtide, name)["load_percent"].as_u64());
    until("both loads are known", LIMIT * 4, || {
        (loads() == [Some(25), Some(50)]).then_some(())
    });
    let set = ["server", "set", "app/web2", "max_sessions=2"];
    ebbtide.cli(&set).exits(0);
    until("web2 has as many as it may", LIMIT * 4, || {
        (ebbtide.reason("web2") == "over-peak").then_some(())
    });
    let over = machine(&ebbtide, "web2")["over_peak"].clone();
    let why = "its load is 100 %, above its peak load of 80 %; it takes new sessions again at 72 %";
    assert_eq!(over, why);
    let shown = ebbtide.cli(&["status"]).exits(0).out;
    assert!(shown.contains(why), "{shown}");
    assert_eq!(loads()[0], Some(25));
}
