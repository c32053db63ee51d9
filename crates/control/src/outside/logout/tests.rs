//! Logout calls against servers that record, refuse and hang.

use super::*;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// What a server saw, and leave to answer.
struct Recorder {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    /// How many requests wait for their answer at this moment.
    open: watch::Receiver<usize>,
    leave: Arc<Semaphore>,
}

impl Recorder {
    /// A server that answers `status` to each request for which there is leave.
    async fn start(status: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let (count, open) = watch::channel(0);
        let leave = Arc::new(Semaphore::new(0));
        let recorder = Self {
            address,
            requests: Arc::clone(&requests),
            open,
            leave: Arc::clone(&leave),
        };
        tokio::spawn(async move {
            let count = Arc::new(count);
            while let Ok((mut stream, _)) = listener.accept().await {
                let (requests, count, leave) = (
                    Arc::clone(&requests),
                    Arc::clone(&count),
                    Arc::clone(&leave),
                );
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        stream.read_buf(&mut request).await.unwrap();
                    }
                    let text = String::from_utf8(request).unwrap();
                    requests.lock().unwrap().push(text);
                    count.send_modify(|open| *open += 1);
                    leave.acquire().await.unwrap().forget();
                    count.send_modify(|open| *open -= 1);
                    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                    drop(stream.write_all(answer.as_bytes()).await);
                });
            }
        });
        recorder
    }

    fn call(&self, pool: &str, user: usize, concurrency: u32) -> Call {
        Call {
            pool: pool.into(),
            server: self.address,
            rule: LogoutCall {
                method: "POST".into(),
                path: "/logout?all=1".into(),
                timeout: Millis::from_secs(3600),
                concurrency,
            },
            cookies: format!("JSESSIONID=user{user}").into_bytes().into(),
        }
    }
}

struct Desk {
    calls: mpsc::UnboundedSender<Call>,
    tally: Arc<Tally>,
}

impl Desk {
    fn start() -> Self {
        let (calls, receiver) = mpsc::unbounded_channel();
        let tally = Arc::<Tally>::default();
        let kept = Arc::clone(&tally);
        tokio::spawn(async move { run(receiver, &Waiting::default(), &kept).await });
        Self { calls, tally }
    }

    fn send(&self, call: Call) {
        assert!(self.calls.send(call).is_ok());
    }

    async fn counted(&self, pool: &str, outcome: &'static str, count: u64) {
        let key = (pool.to_owned(), outcome);
        while self.tally.read().get(&key).copied().unwrap_or(0) != count {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn every_user_is_logged_out_once_and_never_more_at_a_time_than_allowed() {
    let server = Recorder::start("303 See Other").await;
    let desk = Desk::start();
    for user in 0..100 {
        desk.send(server.call("app", user, 4));
    }
    let mut open = server.open.clone();
    for done in 0..100 {
        let now = *open
            .wait_for(|open| *open == 4.min(100 - done))
            .await
            .unwrap();
        assert!(now <= 4);
        server.leave.add_permits(1);
        desk.counted("app", DONE, done as u64 + 1).await;
        assert!(*server.open.borrow() <= 4);
    }
    let requests = server.requests.lock().unwrap();
    let users: BTreeSet<&str> = requests
        .iter()
        .filter_map(|request| {
            request
                .split("\r\n")
                .find(|line| line.starts_with("Cookie: "))
        })
        .collect();
    assert_eq!((requests.len(), users.len()), (100, 100));
    let first = format!(
        "POST /logout?all=1 HTTP/1.1\r\nHost: {}\r\nUser-Agent: ebbtide-logout\r\nContent-Length: \
         0\r\nConnection: close\r\nCookie: JSESSIONID=user0\r\n\r\n",
        server.address
    );
    assert!(requests.contains(&first));
}

#[tokio::test]
async fn a_server_that_hangs_delays_no_other_pool() {
    let hanging = Recorder::start("200 OK").await;
    let healthy = Recorder::start("200 OK").await;
    healthy.leave.add_permits(50);
    let desk = Desk::start();
    for user in 0..50 {
        desk.send(hanging.call("slow", user, 2));
        desk.send(healthy.call("app", user, 2));
    }
    desk.counted("app", DONE, 50).await;
    assert!(desk.tally.read().keys().all(|(pool, _)| pool == "app"));
    assert!(hanging.requests.lock().unwrap().len() <= 2);
}

#[tokio::test]
async fn servers_of_one_pool_take_turns() {
    let (one, other) = (
        Recorder::start("200 OK").await,
        Recorder::start("200 OK").await,
    );
    let desk = Desk::start();
    for user in 0..10 {
        desk.send(one.call("app", user, 1));
    }
    desk.send(other.call("app", 10, 1));
    for server in [&one, &other] {
        server
            .open
            .clone()
            .wait_for(|open| *open == 1)
            .await
            .unwrap();
        server.leave.add_permits(1);
    }
    desk.counted("app", DONE, 2).await;
    assert_eq!(other.requests.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn what_came_of_a_call_is_counted() {
    let refusing = Recorder::start("500 Internal Server Error").await;
    refusing.leave.add_permits(1);
    let gone = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let hanging = Recorder::start("200 OK").await;
    let desk = Desk::start();
    desk.send(refusing.call("app", 1, 1));
    desk.counted("app", REFUSED, 1).await;
    let mut call = refusing.call("app", 2, 1);
    call.server = gone;
    desk.send(call);
    desk.counted("app", FAILED, 1).await;
    let mut call = hanging.call("app", 3, 1);
    call.rule.timeout = Millis(1);
    desk.send(call);
    desk.counted("app", TIMEOUT, 1).await;
}

#[test]
fn only_so_many_calls_wait() {
    let waiting = Waiting::default();
    for _ in 0..WAITING_MAX {
        assert!(waiting.enter());
    }
    assert!(!waiting.enter());
    waiting.leave();
    assert!(waiting.enter());
}
