use super::*;
use ebbtide_core::ServerConfig;

fn question(bind: &str) -> Question {
    let server = ServerConfig::new("web", ([0, 0, 0, 0], 8080).into());
    Question {
        entry: NameConfig {
            name: "web".into(),
            host: "web.internal".into(),
            port: 8080,
            every: Millis(30_000),
            leave_within: Millis(60_000),
            server,
        },
        listeners: [ListenerConfig {
            name: "front".into(),
            bind: bind.parse().unwrap(),
            pool: "app".into(),
            proxy_from: Vec::new(),
        }]
        .into(),
        admin: ([127, 0, 0, 1], 9900).into(),
    }
}

/// What comes of an answer with these hosts.
async fn answer(bind: &str, hosts: &'static [&'static str]) -> (Vec<String>, Vec<String>) {
    let resolver: Resolver = Arc::new(move |host, port| {
        assert_eq!(host, "web.internal");
        let addresses = hosts
            .iter()
            .map(|host| SocketAddr::new(host.parse().unwrap(), port));
        Ok(addresses.collect())
    });
    let answer = look_up(&question(bind), resolver).await.unwrap();
    let hosts = |addresses: &mut dyn Iterator<Item = SocketAddr>| {
        addresses.map(|address| address.ip().to_string()).collect()
    };
    let own = hosts(&mut answer.own.iter().map(|(address, _)| *address));
    (hosts(&mut answer.addresses.iter().copied()), own)
}

#[tokio::test]
async fn what_leads_back_here_is_told_apart() {
    let hosts = &["192.0.2.1", "127.0.0.1", "0.0.0.0", "::ffff:127.0.0.1"];
    let (others, own) = answer("127.0.0.1:8080", hosts).await;
    assert_eq!(others, ["192.0.2.1"]);
    assert_eq!(own, ["127.0.0.1", "0.0.0.0", "::ffff:127.0.0.1"]);
    // Who listens at every address of this machine is reached by any of them, and by no other.
    let (others, own) = answer("0.0.0.0:8080", &["192.0.2.1", "127.1.2.3"]).await;
    assert_eq!(
        (others, own),
        (vec!["192.0.2.1".into()], vec!["127.1.2.3".into()])
    );
    let (others, own) = answer("0.0.0.0:9090", &["192.0.2.1", "127.0.0.1"]).await;
    assert_eq!(
        (others.len(), own.len()),
        (2, 0),
        "another port is another program"
    );
}

#[tokio::test]
async fn a_name_that_is_none_is_told_in_words() {
    let resolver: Resolver = Arc::new(|_, _| Err(io::Error::other("no such name")));
    let failed = look_up(&question("127.0.0.1:8080"), resolver).await;
    assert_eq!(failed, Err("no such name".to_owned()));
    let resolver: Resolver = Arc::new(|_, _| panic!("a test of a resolver that panics"));
    let failed = look_up(&question("127.0.0.1:8080"), resolver).await;
    assert_eq!(failed, Err("the resolver failed".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_hangs_is_given_up_in_time() {
    let (leave, left) = std::sync::mpsc::channel::<()>();
    let left = std::sync::Mutex::new(left);
    let resolver: Resolver = Arc::new(move |_, _| {
        let _ = left.lock().unwrap().recv();
        Ok(Vec::new())
    });
    let failed = look_up(&question("127.0.0.1:8080"), resolver).await;
    assert_eq!(failed, Err("no answer within 10s".to_owned()));
    drop(leave);
}

#[test]
fn the_system_knows_this_machine() {
    let found = system_resolver()("localhost", 80).unwrap();
    assert!(
        found.iter().all(|address| address.ip().is_loopback()),
        "{found:?}"
    );
    assert!(!found.is_empty());
}
