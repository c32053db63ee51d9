//! Servers that come from a name, with a resolver that the test controls.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod support;

use ebbtide_api::{PoolStatus, RemoveQuery};
use ebbtide_core::{Config, Millis, NameConfig, ServerConfig};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use support::{Node, Scratch, config};

/// Longer than anything takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A pool `app` of `web1` and the name `web`.
fn with_name() -> Config {
    let mut config = config(1);
    config.pools[0].names.push(NameConfig {
        name: "web".into(),
        host: "web.internal".into(),
        port: 80,
        every: Millis(20),
        leave_within: Millis::from_secs(3600),
        server: ServerConfig::new("web", ([0, 0, 0, 0], 80).into()),
    });
    config
}

/// Waits until the pool is so.
async fn until(node: &Node, what: &str, is_so: impl Fn(&PoolStatus) -> bool) -> PoolStatus {
    let client = node.client();
    let began = Instant::now();
    loop {
        let pool = client.pool("app").await.unwrap();
        if is_so(&pool) {
            return pool;
        }
        assert!(began.elapsed() < LIMIT, "not {what}: {pool:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The servers by the name, as `name=address`.
fn servers(pool: &PoolStatus) -> Vec<String> {
    let of_name = pool
        .servers
        .iter()
        .filter(|server| server.of_name.is_some());
    of_name
        .map(|server| format!("{}={}", server.name, server.address))
        .collect()
}

fn has(node: &Node, hosts: &[u8]) {
    let addresses = hosts
        .iter()
        .map(|host| SocketAddr::from(([10, 0, 0, *host], 80)));
    *node.names.lock().unwrap() = Ok(addresses.collect());
}

#[tokio::test]
async fn servers_come_and_go_with_the_addresses_of_a_name() {
    let scratch = Scratch::new();
    let mut node = Node::start(with_name(), &scratch);
    until(&node, "told of", |pool| pool.names[0].trouble.is_some()).await;
    has(&node, &[1, 2]);
    let pool = until(&node, "there", |pool| servers(pool).len() == 2).await;
    assert_eq!(servers(&pool), ["web-1=10.0.0.1:80", "web-2=10.0.0.2:80"]);

    // Failures and nothing leave them as they are, with a mark.
    for (answer, trouble) in [
        (
            Err("no such name".to_owned()),
            "cannot be looked up: no such name",
        ),
        (Ok(Vec::new()), "has no address"),
        (
            Ok(vec!["127.0.0.1:8080".parse().unwrap()]),
            "leads back here, to listener web",
        ),
    ] {
        *node.names.lock().unwrap() = answer;
        let pool = until(&node, trouble, |pool| {
            let told = pool.names[0].trouble.as_ref();
            told.is_some_and(|told| told.contains(trouble))
        });
        assert_eq!(servers(&pool.await).len(), 2);
    }
    has(&node, &[1, 2]);
    until(&node, "well", |pool| pool.names[0].trouble.is_none()).await;
    let client = node.client();
    let query = RemoveQuery::default();
    let refused = client
        .remove_server("app", "web-2", &query)
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("would come again"),
        "{refused}"
    );

    // With a session it leaves by a drain, without one it is gone at once; another node knows them.
    node.begin_session(7, "web-1");
    has(&node, &[3]);
    let pool = until(&node, "following", |pool| {
        let here = servers(pool);
        here.len() == 2 && here[1] == "web-3=10.0.0.3:80"
    })
    .await;
    let web1 = pool
        .servers
        .iter()
        .find(|server| server.name == "web-1")
        .unwrap();
    assert_eq!(
        (web1.intent.label.as_str(), web1.intent.by.as_deref()),
        ("drain", Some("dns"))
    );
    drop(client);
    node.stop();

    let mut node = Node::start(with_name(), &scratch);
    *node.names.lock().unwrap() = Err("no such name".to_owned());
    let pool = until(&node, "asked", |pool| pool.names[0].trouble.is_some()).await;
    assert_eq!(servers(&pool), ["web-1=10.0.0.1:80", "web-3=10.0.0.3:80"]);
    node.stop();
}

#[tokio::test]
async fn a_name_with_everything_is_bounded() {
    let scratch = Scratch::new();
    let node = Node::start(with_name(), &scratch);
    let all = (0..10_000_u16).map(|host| {
        let [high, low] = host.to_be_bytes();
        SocketAddr::from(([10, 1, high, low], 80))
    });
    *node.names.lock().unwrap() = Ok(all.collect());
    let pool = until(&node, "full", |pool| servers(pool).len() == 256).await;
    let told = pool.names[0].trouble.clone().unwrap();
    assert_eq!(told, "has 10000 addresses, of which 256 are used");
}
