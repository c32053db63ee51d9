//! Sick servers by the traffic that workers count, as the control plane judges them: a crowd of them is
//! held, the pool's minimum is kept, and the operator's word is the last one.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod support;

use ebbtide_api::{HoldRequest, PoolStatus, ServerStatus};
use ebbtide_control::clock;
use ebbtide_core::{Config, Millis, window_at};
use std::time::{Duration, Instant};
use support::{Node, Scratch, config};

/// Longer than anything takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
/// Shorter than an operator would have it, so that a test sees many.
const WINDOW: Millis = Millis(500);

/// A pool of so many servers, of which at least so many take new sessions, and all others may be held.
fn watched(servers: u32, minimum: u32) -> Config {
    let mut config = config(servers);
    let pool = &mut config.pools[0];
    pool.minimum = minimum;
    pool.outliers.acts = true;
    pool.outliers.window = WINDOW;
    pool.outliers.requests = 5;
    pool.outliers.share_max = 100;
    pool.outliers.hold = Millis::from_secs(600);
    config
}

/// Each server is asked by twenty users; those that are named fail so many of them.
fn serve(node: &Node, failing: &[(&str, u64)]) {
    let window = window_at(clock().moment, WINDOW);
    for server in &node.snapshot().pool_named("app").unwrap().servers {
        let fails = failing.iter().find(|(name, _)| *name == &*server.name);
        let fails = fails.map_or(0, |(_, users)| *users);
        let slot = server.counters.slot(0);
        slot.responses[1].add(20 - fails);
        slot.responses[4].add(fails);
        (0..fails).for_each(|user| slot.note_failing(window, user));
        (0..20).for_each(|_| {
            slot.note_latency(Duration::from_millis(20));
        });
    }
}

/// Users go on coming until the pool is so.
async fn until(
    node: &Node,
    failing: &[(&str, u64)],
    what: &str,
    is_so: impl Fn(&PoolStatus) -> bool,
) -> PoolStatus {
    let client = node.client();
    let began = Instant::now();
    loop {
        serve(node, failing);
        let pool = client.pool("app").await.unwrap();
        if is_so(&pool) {
            return pool;
        }
        assert!(began.elapsed() < LIMIT, "not {what}: {pool:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn server<'a>(pool: &'a PoolStatus, name: &str) -> &'a ServerStatus {
    pool.servers
        .iter()
        .find(|server| server.name == name)
        .unwrap()
}

/// The servers that are held as sick.
fn held(pool: &PoolStatus) -> Vec<&str> {
    let sick = pool.servers.iter();
    let sick = sick.filter(|server| server.standing.reason == "sick");
    sick.map(|server| server.name.as_str()).collect()
}

/// Why a server that is sick takes new sessions all the same.
fn spared<'a>(pool: &'a PoolStatus, name: &str) -> Option<&'a str> {
    server(pool, name).sickness.as_ref()?.spared.as_deref()
}

async fn ready(node: &Node, name: &str) -> String {
    let body = HoldRequest::default();
    node.client().ready("app", name, &body).await.unwrap().text
}

#[tokio::test]
async fn a_sick_crowd_is_held_and_goes_on_serving_its_own() {
    let scratch = Scratch::new();
    let node = Node::start(watched(7, 1), &scratch);
    node.begin_session(5, "web5");
    let failing = [("web2", 12), ("web5", 20), ("web6", 9)];
    let pool = until(&node, &failing, "held", |pool| held(pool).len() == 3).await;
    assert_eq!(held(&pool), ["web2", "web5", "web6"]);
    assert_eq!(pool.admitting, 4);
    let web5 = server(&pool, "web5");
    assert!(!web5.standing.admits_new && web5.standing.serves_own);
    assert_eq!(web5.sessions.active, 1);
    let sickness = web5.sickness.as_ref().unwrap();
    assert!(sickness.held_ms.is_some(), "{sickness:?}");
    assert!(sickness.words.contains("answered 5xx"), "{sickness:?}");
    // When they serve their own well again, nobody is held any more.
    let pool = until(&node, &[], "well", |pool| held(pool).is_empty()).await;
    assert_eq!(pool.admitting, 7);
}

#[tokio::test]
async fn what_all_servers_do_is_nobodys_illness() {
    let scratch = Scratch::new();
    let node = Node::start(watched(3, 1), &scratch);
    let all = [("web1", 10), ("web2", 10), ("web3", 10)];
    let fails = |pool: &PoolStatus| {
        let servers = pool.servers.iter();
        let mut errors = servers.map(|server| server.traffic.as_ref().map_or(0, |it| it.errors));
        errors.all(|errors| errors >= 10)
    };
    let pool = until(&node, &all, "judged", fails).await;
    assert_eq!(held(&pool), [""; 0]);
    assert!(pool.servers.iter().all(|server| server.sickness.is_none()));
}

#[tokio::test]
async fn the_minimum_is_kept_and_the_operators_ready_is_the_last_word() {
    let scratch = Scratch::new();
    let node = Node::start(watched(5, 4), &scratch);
    let failing = [("web1", 20), ("web2", 12)];
    let pool = until(&node, &failing, "spared", |pool| {
        held(pool) == ["web1"] && spared(pool, "web2").is_some()
    })
    .await;
    let why = spared(&pool, "web2").unwrap();
    assert_eq!(why, "the pool needs 4 that take new sessions");
    assert_eq!(pool.admitting, 4);

    // The one that is held comes back by the operator's word, and stays though it fails as before: now
    // the pool can spare the other one.
    let done = ready(&node, "web1").await;
    assert!(done.contains("it was held as sick"), "{done}");
    let pool = until(&node, &failing, "the other one held", |pool| {
        held(pool) == ["web2"] && spared(pool, "web1").is_some()
    })
    .await;
    let why = spared(&pool, "web1").unwrap();
    assert_eq!(why, "an operator said that it is ready");
    let done = ready(&node, "web2").await;
    assert!(done.contains("it was held as sick"), "{done}");
    let both = |pool: &PoolStatus| {
        ["web1", "web2"]
            .iter()
            .all(|name| spared(pool, name).is_some())
    };
    let pool = until(&node, &failing, "both left alone", both).await;
    assert_eq!((held(&pool).len(), pool.admitting), (0, 5));
}
