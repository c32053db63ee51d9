//! A whole control plane for tests, with workers that only acknowledge.
#![allow(dead_code, reason = "every test file uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

use ebbtide_api::{Client, PREFIX, SOCKET_NAME};
use ebbtide_control::{
    Admin, Control, HttpUrl, Inbox, Options, Reloaded, SignInOptions, SignInSpans, Store,
    USERS_FILE, clock, inbox,
};
use ebbtide_core::{
    Config, Driver, Fact, ListenerConfig, Millis, MoveOrder, NodeCounters, PoolConfig,
    ServerConfig, SessionId, SessionTable, Snapshot,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A directory of a test's own, removed with it.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ebbtide-control-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A pool `app` of so many servers, `web1` and on, without health checks.
pub fn config(servers: u32) -> Config {
    let mut pool = PoolConfig::new("app");
    pool.health = None;
    pool.servers = (1..=servers)
        .map(|number| {
            let address = SocketAddr::from(([127, 0, 0, 1], 9000 + number as u16));
            ServerConfig::new(format!("web{number}"), address)
        })
        .collect();
    let bind = "127.0.0.1:8080".parse().unwrap();
    Config {
        listeners: vec![ListenerConfig {
            name: "web".into(),
            bind,
            pool: "app".into(),
            proxy_from: Vec::new(),
        }],
        pools: vec![pool],
    }
}

/// How long people stay signed in by default.
const SPANS: SignInSpans = SignInSpans {
    idle: Millis::from_secs(30 * 60),
    longest: Millis::from_secs(12 * 3600),
    fresh: Millis::from_secs(5 * 60),
};

fn sign_in(state: &Path, spans: SignInSpans) -> SignInOptions {
    let users = state.join(USERS_FILE);
    SignInOptions {
        // Where browsers would find a node of the tests.
        url: Some(HttpUrl::parse("https://console.example.com").unwrap()),
        users,
        spans,
        openid: None,
    }
}

/// A node whose workers only acknowledge.
pub struct Node {
    pub sessions: Arc<SessionTable>,
    pub snapshot: Arc<Mutex<Arc<Snapshot>>>,
    /// What workers were told to move.
    pub orders: Arc<Mutex<Vec<Arc<MoveOrder>>>>,
    pub address: SocketAddr,
    /// What the next reload reads.
    pub file: Arc<Mutex<Result<Config, String>>>,
    pub inbox: Inbox,
    pub control: Option<Control>,
    /// What names are looked up to be.
    pub names: Arc<Mutex<Result<Vec<SocketAddr>, String>>>,
    pub state: PathBuf,
}

impl Node {
    pub fn start(config: Config, scratch: &Scratch) -> Self {
        Self::with_workers(config, scratch, 1)
    }

    /// Only the first worker acknowledges.
    pub fn with_workers(config: Config, scratch: &Scratch, workers: usize) -> Self {
        Self::with(config, scratch, workers, SPANS)
    }

    /// Forced changes always ask for the password.
    pub fn never_fresh(config: Config, scratch: &Scratch) -> Self {
        let spans = SignInSpans {
            fresh: Millis(0),
            ..SPANS
        };
        Self::with(config, scratch, 1, spans)
    }

    fn with(config: Config, scratch: &Scratch, workers: usize, spans: SignInSpans) -> Self {
        let state = scratch.0.join("state");
        let mut store = Store::open(&state).unwrap();
        let admin = Admin::bind("127.0.0.1:0".parse().unwrap(), &state).unwrap();
        let address = admin.address();
        let sessions = Arc::<SessionTable>::default();
        let now = clock();
        let config = Arc::new(config);
        let driver = Driver::new(
            Arc::clone(&config),
            store.restore(now).unwrap(),
            Arc::clone(&sessions),
            "boot".into(),
            workers,
            now,
        );
        let (inbox, receiver) = inbox();
        let snapshot = Arc::new(Mutex::new(Arc::default()));
        let file = Arc::new(Mutex::new(Ok((*config).clone())));
        let told = Arc::<Mutex<Vec<Arc<MoveOrder>>>>::default();
        let orders = Arc::clone(&told);
        let names = Arc::new(Mutex::new(Ok(Vec::new())));
        let known = Arc::clone(&names);
        let (worker, newest, read) = (inbox.clone(), Arc::clone(&snapshot), Arc::clone(&file));
        let control = Control::start(Options {
            store,
            admin,
            driver,
            sessions: Arc::clone(&sessions),
            node: Arc::new(NodeCounters::new(workers)),
            inbox: receiver,
            publish: Box::new(move |snapshot| {
                let generation = snapshot.generation;
                *newest.lock().unwrap() = snapshot;
                let worker_number = 0;
                worker.fact(Fact::Acknowledged {
                    worker: worker_number,
                    generation,
                });
            }),
            move_sessions: Box::new(move |order| orders.lock().unwrap().push(order)),
            reload: Box::new(move || {
                let config = read.lock().unwrap().clone()?;
                Ok(Reloaded {
                    config: Arc::new(config),
                    webhooks: Vec::new(),
                    notes: Vec::new(),
                })
            }),
            webhooks: Vec::new(),
            resolver: Arc::new(move |_, _| {
                known.lock().unwrap().clone().map_err(std::io::Error::other)
            }),
            signin: sign_in(&state, spans),
            version: "0.0.0-test",
        })
        .unwrap();
        Self {
            sessions,
            snapshot,
            orders: told,
            address,
            file,
            inbox,
            names,
            control: Some(control),
            state,
        }
    }

    pub fn client(&self) -> Client {
        Client::unix(self.state.join(SOCKET_NAME))
    }

    pub fn over_tcp(&self, token: &str) -> Client {
        Client::tcp(self.address.to_string(), Some(token.to_owned()))
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.lock().unwrap())
    }

    /// Begins a session, as a worker would.
    pub fn begin_session(&self, id: u64, server: &str) {
        self.begin_session_of(id, "app", server);
    }

    /// The same of any pool.
    pub fn begin_session_of(&self, id: u64, pool: &str, server: &str) {
        let snapshot = self.snapshot();
        let pool = snapshot.pool_named(pool).unwrap();
        let view = pool.servers.iter().find(|view| *view.name == *server);
        let client = "192.0.2.7".parse().unwrap();
        let (id, view) = (SessionId(id), view.unwrap());
        self.sessions
            .begin(id, pool.key, view, client, None, clock())
            .unwrap();
    }

    pub fn stop(&mut self) {
        self.control.take().unwrap().stop();
    }

    /// One raw request over TCP; `fields` are whole lines. Returns the status and everything
    /// after the head.
    pub fn raw(&self, method: &str, path: &str, fields: &str, body: &str) -> (u16, String) {
        let (status, _, body) = self.whole(method, path, fields, body);
        (status, body)
    }

    /// The same with the answer's head, before the body.
    pub fn whole(
        &self,
        method: &str,
        path: &str,
        fields: &str,
        body: &str,
    ) -> (u16, String, String) {
        let stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let length = body.len();
        let host = match fields.to_ascii_lowercase().contains("host:") {
            true => String::new(),
            false => format!("Host: {}\r\n", self.address),
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: \
             {length}\r\n{fields}\r\n{body}"
        );
        exchange(stream, &request)
    }

    /// A whole request, as it is, over the UNIX socket: the status and the body of the answer.
    pub fn raw_unix(&self, request: &str) -> (u16, String) {
        let stream = UnixStream::connect(self.state.join(SOCKET_NAME)).unwrap();
        let (status, _, body) = exchange(stream, request);
        (status, body)
    }
}

fn exchange(mut stream: impl Read + Write, request: &str) -> (u16, String, String) {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), rest.to_owned())
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(control) = self.control.take() {
            control.stop();
        }
    }
}

/// The path of an endpoint.
pub fn api(path: &str) -> String {
    format!("{PREFIX}{path}")
}
