//! Whom the prober asks, and whose answers count.

use super::*;
use crate::inbox::{InboxReceiver, inbox};
use ebbtide_core::{
    Config, Driver, HealthCheck, Millis, Now, PoolConfig, Restored, ServerConfig, SessionTable,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const HOUR: Millis = Millis::from_secs(3600);

/// A snapshot of one pool, whose servers are probed by HTTP.
fn snapshot(every: Millis, servers: &[(&str, SocketAddr)]) -> Arc<Snapshot> {
    let mut pool = PoolConfig::new("app");
    pool.health = Some(HealthSettings {
        every,
        timeout: HOUR,
        check: HealthCheck::Http {
            path: "/".into(),
            host: None,
            status: vec![(200, 200)],
            expect: None,
        },
        ..HealthSettings::defaults()
    });
    let servers = servers.iter();
    pool.servers = servers
        .map(|(name, at)| ServerConfig::new(*name, *at))
        .collect();
    let config = Config {
        listeners: Vec::new(),
        pools: vec![pool],
    };
    let sessions = Arc::<SessionTable>::default();
    let (restored, boot, now) = (Restored::default(), "boot".into(), Now::default());
    Driver::new(Arc::new(config), restored, sessions, boot, 0, now).snapshot()
}

struct Running {
    snapshots: watch::Sender<Arc<Snapshot>>,
    now: mpsc::UnboundedSender<ServerName>,
    results: InboxReceiver,
}

impl Running {
    fn start(first: Arc<Snapshot>) -> Self {
        let (snapshots, receiver) = watch::channel(first);
        let (now, hurry) = mpsc::unbounded_channel();
        let (inbox, results) = inbox();
        tokio::spawn(run(receiver, hurry, inbox));
        Self {
            snapshots,
            now,
            results,
        }
    }

    async fn result(&mut self) -> (String, ProbeOutcome) {
        let mut batch = Vec::new();
        self.results.take(&mut batch).await;
        assert_eq!(batch.len(), 1);
        match batch.pop() {
            Some(Message::Told(Input::Probed {
                server, outcome, ..
            })) => (server.to_string(), outcome),
            _ => panic!("not a result"),
        }
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Takes one probe's request and leaves it without an answer.
async fn asked(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_buf(&mut request).await.unwrap();
    }
    stream
}

async fn answer(mut stream: TcpStream) {
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
}

fn good(name: &str) -> (String, ProbeOutcome) {
    (name.to_owned(), ProbeOutcome::Good { places: None })
}

#[tokio::test]
async fn every_server_is_probed_at_once_at_first_and_again_when_asked() {
    let (one, at_one) = listen().await;
    let (two, at_two) = listen().await;
    let servers = [("web1", at_one), ("web2", at_two)];
    let mut prober = Running::start(snapshot(HOUR, &servers));
    let (first, second) = (asked(&one).await, asked(&two).await);
    answer(second).await;
    assert_eq!(prober.result().await, good("app/web2"));
    // One that is being probed is probed once more after that, not twice at once.
    prober.now.send(ServerName::new("app", "web1")).unwrap();
    prober.now.send(ServerName::new("app", "web2")).unwrap();
    answer(asked(&two).await).await;
    assert_eq!(prober.result().await, good("app/web2"));
    answer(first).await;
    assert_eq!(prober.result().await, good("app/web1"));
    answer(asked(&one).await).await;
    assert_eq!(prober.result().await, good("app/web1"));
}

#[tokio::test]
async fn servers_are_probed_in_their_turns() {
    let (one, at_one) = listen().await;
    let mut prober = Running::start(snapshot(Millis(1), &[("web1", at_one)]));
    for _ in 0..3 {
        answer(asked(&one).await).await;
        assert_eq!(prober.result().await, good("app/web1"));
    }
}

#[tokio::test]
async fn the_answer_of_an_old_address_does_not_count_for_the_new_one() {
    let (old, at_old) = listen().await;
    let (new, at_new) = listen().await;
    let mut prober = Running::start(snapshot(HOUR, &[("web1", at_old)]));
    let mut stale = asked(&old).await;
    prober
        .snapshots
        .send_replace(snapshot(HOUR, &[("web1", at_new)]));
    let fresh = asked(&new).await;
    // The old probe is given up: its connection closes.
    assert_eq!(stale.read(&mut [0]).await.unwrap_or(0), 0);
    answer(fresh).await;
    assert_eq!(prober.result().await, good("app/web1"));
}

#[tokio::test]
async fn a_server_that_is_gone_is_asked_no_more_and_one_that_stays_is_not_disturbed() {
    let (gone, at_gone) = listen().await;
    let (stays, at_stays) = listen().await;
    let servers = [("web1", at_gone), ("web2", at_stays)];
    let mut prober = Running::start(snapshot(HOUR, &servers));
    let mut given_up = asked(&gone).await;
    let pending = asked(&stays).await;
    prober.snapshots.send_replace(snapshot(HOUR, &servers[1..]));
    assert_eq!(given_up.read(&mut [0]).await.unwrap_or(0), 0);
    answer(pending).await;
    assert_eq!(prober.result().await, good("app/web2"));
}

#[tokio::test(start_paused = true)]
async fn large_pools_are_spread_over_the_time_between_two_probes() {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let names: Vec<String> = (0..1000).map(|number| format!("web{number}")).collect();
    let servers: Vec<_> = names.iter().map(|name| (&**name, nowhere)).collect();
    let mut prober = Prober::default();
    prober.follow(&snapshot(Millis(10_000), &servers));
    let start = Instant::now();
    let dues: Vec<u128> = prober
        .queue
        .keys()
        .map(|(due, _)| due.duration_since(start).as_millis())
        .collect();
    assert_eq!(dues.len(), 1000);
    assert!((0..1000).all(|index| dues[index].abs_diff(index as u128 * 10) <= 1));
}

#[test]
fn jitter_is_a_tenth_at_most() {
    let second = Duration::from_secs(1);
    for _ in 0..1000 {
        let span = jittered(second);
        assert!((second.mul_f64(0.9)..=second.mul_f64(1.1)).contains(&span));
    }
}
