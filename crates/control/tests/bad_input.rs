//! What others send that a node asks: exporters, agents and health pages that say nonsense. Each server is
//! shown with its mark and the reason, its sessions go on, and none is down that is not.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod support;

use ebbtide_api::ServerStatus;
use ebbtide_core::{
    AgentSettings, Config, Found, HealthCheck, HealthSettings, LoadMeasure, LoadSettings, Millis,
    ServerConfig, SessionId,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};
use support::{Node, Scratch, config};

/// Longer than anything takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Gives everybody who connects to this address `says` so many times, for as long as the test runs; `asks`:
/// after a request.
fn serve(address: SocketAddr, asks: bool, says: Vec<u8>, times: usize) -> SocketAddr {
    let listener = TcpListener::bind(address).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = [0; 4096];
            let has_asked = !asks || stream.read(&mut request).is_ok();
            // Whoever has read enough hangs up.
            let mut left = if has_asked { times } else { 0 };
            while left > 0 && stream.write_all(&says).is_ok() {
                left -= 1;
            }
        }
    });
    address
}

fn page(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n{body}").into_bytes()
}

/// Has a session begin on every server, and waits until all are as they should be; each still has its
/// session then, and none is down.
async fn all_become(config: Config, is_so: impl Fn(usize, &ServerStatus) -> bool) {
    let scratch = Scratch::new();
    let names: Vec<String> = config.pools[0]
        .servers
        .iter()
        .map(|s| s.name.clone())
        .collect();
    let node = Node::start(config, &scratch);
    for (id, name) in (1..).zip(&names) {
        node.begin_session(id, name);
    }
    let client = node.client();
    let began = Instant::now();
    loop {
        let pool = client.pool("app").await.unwrap();
        let wrong = (0..)
            .zip(&pool.servers)
            .find(|(row, server)| !is_so(*row, server));
        let Some((_, wrong)) = wrong else {
            for (id, server) in (1..).zip(&pool.servers) {
                assert_ne!(server.health.state, "down", "{server:?}");
                assert!(server.standing.serves_own, "{server:?}");
                let found = node.sessions.find(SessionId(id));
                assert!(matches!(found, Found::Live(_)), "{server:?}");
            }
            return;
        };
        assert!(began.elapsed() < LIMIT, "{wrong:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn exporters_that_say_nonsense_are_a_mark_at_their_servers() {
    let memory = "node_memory_MemAvailable_bytes 7e9\nnode_memory_MemTotal_bytes 1e10\n";
    let line = "some_metric{a=\"b\"} 1\n".repeat(1000).into_bytes();
    let cases = [
        (page("<html><body>It works!</body></html>"), 1, "no metrics"),
        (page(&memory.replace("1e10", "-1e10")), 1, "negative"),
        (page(&memory.replace("7e9", "NaN")), 1, "NaN"),
        (page("node_load1 0.5\n"), 1, "how much memory"),
        (page("some_metric 1\n"), 1, "do not tell what is looked for"),
        // A hundred megabytes.
        ([page(""), line].concat(), 5_000, "longer than 8 MiB"),
        (b"HTTP/1.1 503 Busy\r\n\r\n".to_vec(), 1, "answered 503"),
    ];
    let mut config = config(cases.len() as u32 + 1);
    let pool = &mut config.pools[0];
    pool.load = Some(LoadSettings {
        exporter: "http://{host}/metrics".into(),
        by: LoadMeasure::Memory,
        sessions_max: None,
        every: Millis(100),
        timeout: Millis::from_secs(30),
    });
    // The last one is well, though its clock is off by half a century.
    let well = (page(memory), 1, "");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    for (server, (says, times, _)) in pool.servers.iter_mut().zip(cases.iter().chain([&well])) {
        let exporter = serve(any, true, says.clone(), *times);
        server.exporter = Some(format!("http://{exporter}/metrics"));
    }
    all_become(config, |row, server| {
        let machine = server.machine.as_ref().unwrap();
        let is_marked = |why: &str| {
            let told = machine.no_metrics.as_ref();
            told.is_some_and(|told| told.contains(why)) && machine.load_percent.is_none()
        };
        let is_so = cases
            .get(row)
            .map_or(machine.load_percent == Some(30), |case| is_marked(case.2));
        is_so && server.standing.admits_new
    })
    .await;
}

#[tokio::test]
async fn agents_that_say_nonsense_are_a_mark_at_their_servers() {
    let megabyte = [b"drain ".repeat(180_000), b"\n".to_vec()].concat();
    let cases: [(&[u8], Option<&str>, &str); 6] = [
        (&megabyte, Some("longer than 4096 bytes"), "ready"),
        (
            b"hello there, how are you\n",
            Some("no word of an agent"),
            "ready",
        ),
        (b"\xff\x00\xfe\n", Some("no word of an agent"), "ready"),
        // Of contradictory words the last one counts, and unknown ones are passed over.
        (b"drain ready hello\n", None, "ready"),
        (b"ready maint drain\n", None, "agent-drain"),
        (b"down 0% up 50%\n", None, "ready"),
    ];
    let mut config = config(cases.len() as u32);
    let pool = &mut config.pools[0];
    // All at one port, at addresses of their own.
    let mut port = 0;
    for (number, (server, (says, ..))) in (1..).zip(pool.servers.iter_mut().zip(&cases)) {
        let agent = SocketAddr::from(([127, 0, 6, number], port));
        port = serve(agent, false, says.to_vec(), 1).port();
        let address = SocketAddr::from(([127, 0, 6, number], 9000));
        *server = ServerConfig::new(server.name.clone(), address);
    }
    pool.agent = Some(AgentSettings {
        port,
        every: Millis(100),
        timeout: Millis::from_secs(30),
    });
    all_become(config, |row, server| {
        let agent = server.agent.as_ref().unwrap();
        let (_, mark, stands) = cases[row];
        let is_marked = match (mark, &agent.no_agent) {
            (Some(why), Some(told)) => told.contains(why),
            (mark, told) => mark.is_none() && told.is_none() && agent.age_ms.is_some(),
        };
        is_marked && server.standing.reason == stands
    })
    .await;
}

#[tokio::test]
async fn health_pages_with_any_number_take_no_server_down() {
    let huge = "ACTIVE - 1000000000000000000 Sessions Available";
    let cases = [
        ("ACTIVE - Sessions Available", "ready"),
        ("ACTIVE", "ready"),
        (huge, "ready"),
        ("ACTIVE - -5 Sessions Available", "reports-full"),
        ("ACTIVE - 0 Sessions Available", "reports-full"),
        ("ALL SESSIONS IN USE", "reports-full"),
    ];
    let mut config = config(cases.len() as u32);
    let pool = &mut config.pools[0];
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    for (server, (says, _)) in pool.servers.iter_mut().zip(cases) {
        let address = serve(any, true, page(says), 1);
        *server = ServerConfig::new(server.name.clone(), address);
    }
    pool.health = Some(HealthSettings {
        every: Millis(100),
        check: HealthCheck::Http {
            path: "/".into(),
            host: None,
            status: vec![(200, 299)],
            expect: Some("ACTIVE".into()),
        },
        ..HealthSettings::defaults()
    });
    all_become(config, |row, server| server.standing.reason == cases[row].1).await;
}
