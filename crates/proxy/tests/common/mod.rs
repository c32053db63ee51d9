//! A data plane on real sockets, a snapshot made by hand, and servers that do as they are told.
#![allow(dead_code, reason = "each test file uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use ebbtide_core::{
    Candidates, Config, DoorId, DoorKeys, DoorSecret, Fact, ListenerConfig, Millis, Moment,
    MoveOrder, Moved, NodeCounters, Now, PoolConfig, PoolCounters, PoolKey, PoolView, Reason,
    ServerCounters, ServerKey, ServerLoad, ServerView, SessionId, SessionTable, Snapshot, Standing,
    TokenSecrets, WallTime,
};
use ebbtide_proxy::{AccessLogOptions, DataPlane, Options};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub const READY: Standing = Standing {
    admits_new: true,
    serves_own: true,
    reason: Reason::Ready,
};
pub const HELD: Standing = Standing {
    admits_new: false,
    serves_own: true,
    reason: Reason::Held,
};
pub const REPORTS_FULL: Standing = Standing {
    admits_new: false,
    serves_own: true,
    reason: Reason::ReportsFull,
};
pub const MAINTENANCE: Standing = Standing {
    admits_new: false,
    serves_own: false,
    reason: Reason::Maintenance,
};
pub const DOWN: Standing = Standing {
    admits_new: false,
    serves_own: false,
    reason: Reason::Down,
};

/// No wait in a test takes longer than this, unless something is wrong.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn clock() -> Now {
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let wall = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    Now {
        moment: Moment(boot.tv_sec * 1000 + boot.tv_nsec / 1_000_000),
        wall: WallTime((wall.tv_sec * 1000 + wall.tv_nsec / 1_000_000).unsigned_abs()),
    }
}

/// An address that no other test process uses: each has a loopback address of its own.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(18_000);
    let [_, a, b, c] = std::process::id().to_be_bytes();
    let port = NEXT.fetch_add(1, Ordering::Relaxed);
    (IpAddr::V4(Ipv4Addr::new(127, a | 1, b, c.max(1))), port).into()
}

/// An address where nothing listens.
pub fn dead_address() -> SocketAddr {
    free_address()
}

pub struct House {
    pub plane: Option<Arc<DataPlane>>,
    pub sessions: Arc<SessionTable>,
    pub node: Arc<NodeCounters>,
    pub snapshot: Snapshot,
    pub listen: SocketAddr,
    pub facts: Receiver<Fact>,
    workers: usize,
}

/// How a house is furnished.
pub struct Plan {
    pub workers: usize,
    pub servers: Vec<SocketAddr>,
    pub edit: fn(&mut PoolConfig),
    pub access_log: Option<AccessLogOptions>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            workers: 1,
            servers: Vec::new(),
            edit: |_| {},
            access_log: None,
        }
    }
}

impl House {
    pub fn new(servers: &[SocketAddr]) -> Self {
        Self::build(Plan {
            servers: servers.to_vec(),
            ..Plan::default()
        })
    }

    pub fn with(servers: &[SocketAddr], edit: fn(&mut PoolConfig)) -> Self {
        Self::build(Plan {
            servers: servers.to_vec(),
            edit,
            ..Plan::default()
        })
    }

    pub fn build(plan: Plan) -> Self {
        let listen = free_address();
        let mut pool = PoolConfig::new("app");
        pool.balance = ebbtide_core::Balance::RoundRobin;
        (plan.edit)(&mut pool);
        let views = plan
            .servers
            .iter()
            .enumerate()
            .map(|(index, address)| ServerView {
                key: ServerKey(index as u32),
                name: format!("web{}", index + 1).into(),
                address: *address,
                weight: 1,
                max_sessions: None,
                peak_load: None,
                exporter: None,
                share: 100,
                public_url: None,
                epoch: 1,
                standing: READY,
                epoch_reason: ebbtide_core::EndReason::Forgotten,
                notice: None,
                load: Arc::new(ServerLoad::default()),
                counters: Arc::new(ServerCounters::new(plan.workers)),
            });
        let views: Vec<ServerView> = views.collect();
        let view = PoolView {
            key: PoolKey(0),
            intent: ebbtide_core::PoolIntent::Open,
            since: None,
            config: Arc::new(pool.clone()),
            pages: Default::default(),
            line: Default::default(),
            replicas: Arc::default(),
            removed: Vec::new(),
            candidates: Candidates::of(&views),
            servers: views,
            counters: Arc::new(PoolCounters::new(plan.workers)),
        };
        let snapshot = Snapshot {
            generation: 1,
            config: Arc::new(Config {
                listeners: vec![listener("web", listen)],
                pools: vec![pool],
            }),
            pools: vec![Arc::new(view)],
            token_secrets: TokenSecrets {
                current: [7; 32],
                previous: None,
            },
            doors: Arc::default(),
        };
        Self::start(plan, snapshot, listen)
    }

    fn start(plan: Plan, snapshot: Snapshot, listen: SocketAddr) -> Self {
        let (tell, facts) = channel();
        let tell = Mutex::new(tell);
        let sessions = Arc::new(SessionTable::default());
        let node = Arc::new(NodeCounters::new(plan.workers));
        let options = Options {
            workers: plan.workers,
            clock,
            sessions: Arc::clone(&sessions),
            node: Arc::clone(&node),
            facts: Arc::new(move |fact| {
                let _ = tell.lock().unwrap().send(fact);
            }),
            access_log: plan.access_log,
        };
        let plane = DataPlane::start(options, Arc::new(snapshot.clone())).expect("it starts");
        let house = Self {
            plane: Some(Arc::new(plane)),
            sessions,
            node,
            snapshot,
            listen,
            facts,
            workers: plan.workers,
        };
        house.await_acknowledged();
        house
    }

    pub fn plane(&self) -> &DataPlane {
        self.plane.as_ref().expect("not stopped yet")
    }

    /// Publishes the snapshot as `edit` makes it, and waits until every worker works from it.
    pub fn publish(&mut self, edit: impl FnOnce(&mut Config, &mut PoolView)) {
        let mut config = (*self.snapshot.config).clone();
        let mut pool = (*self.snapshot.pools[0]).clone();
        edit(&mut config, &mut pool);
        pool.candidates = Candidates::of(&pool.servers);
        self.snapshot.config = Arc::new(config);
        self.snapshot.pools = vec![Arc::new(pool)];
        self.snapshot.generation += 1;
        self.plane().publish(Arc::new(self.snapshot.clone()));
        self.await_acknowledged();
    }

    /// Gives a server another standing.
    pub fn stand(&mut self, server: usize, standing: Standing) {
        self.publish(|_, pool| pool.servers[server].standing = standing);
    }

    fn await_acknowledged(&self) {
        let mut missing: BTreeSet<usize> = (0..self.workers).collect();
        while !missing.is_empty() {
            let fact = self
                .facts
                .recv_timeout(PATIENCE)
                .expect("an acknowledgement");
            if let Fact::Acknowledged { worker, generation } = fact
                && generation == self.snapshot.generation
            {
                missing.remove(&worker);
            }
        }
    }

    /// Has a session move from one server to another, or to any.
    pub fn order(&self, id: SessionId, from: u32, to: Option<u32>, cut: bool) {
        let order = MoveOrder {
            from: ServerKey(from),
            sessions: [id].into(),
            to: to.map(ServerKey),
            cut,
        };
        self.plane().move_sessions(&Arc::new(order));
    }

    /// The next move that is told of.
    pub fn next_move(&self) -> Moved {
        loop {
            let fact = self.facts.recv_timeout(PATIENCE).expect("a move");
            if let Fact::Moved(moved) = fact {
                return moved;
            }
        }
    }

    pub fn stop(&mut self, grace: Millis) -> usize {
        let plane = self.plane.take().expect("not stopped yet");
        Arc::into_inner(plane)
            .expect("held by nobody else")
            .stop(grace)
    }

    pub fn client(&self) -> Client {
        Client::connect(self.listen)
    }

    /// The live sessions.
    pub fn live(&self) -> Vec<Arc<ebbtide_core::Session>> {
        self.sessions.list(&self.snapshot, None, 1000, |_| true)
    }

    pub fn pool_sum(&self, of: impl Fn(&ebbtide_core::PoolSlot) -> &ebbtide_core::Counter) -> u64 {
        self.snapshot.pools[0].counters.sum(of)
    }

    pub fn server_sum(
        &self,
        server: usize,
        of: impl Fn(&ebbtide_core::ServerSlot) -> &ebbtide_core::Counter,
    ) -> u64 {
        self.snapshot.pools[0].servers[server].counters.sum(of)
    }
}

pub fn listener(name: &str, bind: SocketAddr) -> ListenerConfig {
    ListenerConfig {
        name: name.into(),
        bind,
        pool: "app".into(),
        proxy_from: Vec::new(),
    }
}

/// A message as it was read.
#[derive(Clone, Debug, Default)]
pub struct Message {
    pub first_line: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The framing was kept to the end.
    pub complete: bool,
}

impl Message {
    pub fn status(&self) -> u16 {
        let status = self.first_line.split(' ').nth(1).unwrap_or_default();
        status.parse().unwrap_or(0)
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self
            .fields
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The `name=value` of the cookie that it sets.
    pub fn cookie(&self) -> String {
        let value = self.field("set-cookie").expect("a cookie");
        value.split(';').next().unwrap_or_default().to_owned()
    }
}

/// One end of a connection that reads and writes HTTP, plainly.
pub struct Wire {
    pub stream: TcpStream,
    reader: BufReader<TcpStream>,
}

pub type Client = Wire;

impl Wire {
    pub fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).expect("a connection"))
    }

    pub fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        Self { stream, reader }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("sent");
    }

    /// `GET path`, with a cookie if there is one.
    pub fn get(&mut self, path: &str, cookie: &str) -> Message {
        self.send(get(path, cookie));
        self.answer()
    }

    /// Reads an answer; interim ones are messages of their own.
    pub fn answer(&mut self) -> Message {
        self.message(false).expect("an answer")
    }

    /// Reads a message; `None` if the peer closed before one began.
    pub fn message(&mut self, is_request: bool) -> Option<Message> {
        let mut message = Message {
            first_line: self.line()?,
            ..Message::default()
        };
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').expect("a field");
            message
                .fields
                .push((name.to_owned(), value.trim().to_owned()));
        }
        self.body(&mut message, is_request);
        Some(message)
    }

    fn body(&mut self, message: &mut Message, is_request: bool) {
        let status = message.status();
        if !is_request && (status < 200 || status == 204 || status == 304) {
            message.complete = true;
        } else if let Some(length) = message.field("content-length") {
            let length: u64 = length.parse().expect("a length");
            let read = (&mut self.reader)
                .take(length)
                .read_to_end(&mut message.body);
            message.complete = read.is_ok() && message.body.len() as u64 == length;
        } else if message.field("transfer-encoding").is_some() {
            message.complete = self.chunks(&mut message.body).is_some();
        } else if is_request {
            message.complete = true;
        } else {
            message.complete = self.reader.read_to_end(&mut message.body).is_ok();
        }
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> Option<()> {
        loop {
            let line = self.line()?;
            let size = u64::from_str_radix(line.split(';').next()?, 16).ok()?;
            if size == 0 {
                while !self.line()?.is_empty() {}
                return Some(());
            }
            let read = (&mut self.reader).take(size).read_to_end(body).ok()?;
            if read as u64 != size {
                return None;
            }
            self.line()?;
        }
    }

    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(bytes) if bytes > 0 => line.strip_suffix("\r\n").map(str::to_owned),
            _ => None,
        }
    }

    /// Reads a line that ends as it likes, with its end.
    pub fn line_of_any_end(&mut self) -> Option<String> {
        let mut line = String::new();
        let bytes = self.reader.read_line(&mut line).ok()?;
        (bytes > 0).then_some(line)
    }

    pub fn exactly(&mut self, bytes: usize) -> Vec<u8> {
        let mut data = vec![0; bytes];
        self.reader.read_exact(&mut data).expect("bytes");
        data
    }

    /// Whether the peer has closed, in whatever way, and nothing more came.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            Ok(_) => rest.is_empty(),
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    /// Closes with a reset.
    pub fn reset(self) {
        let stream = socket2::SockRef::from(&self.stream);
        stream.set_linger(Some(Duration::ZERO)).unwrap();
    }
}

pub fn get(path: &str, cookie: &str) -> String {
    let cookie = match cookie {
        "" => String::new(),
        cookie => format!("Cookie: {cookie}\r\n"),
    };
    format!("GET {path} HTTP/1.1\r\nHost: test\r\n{cookie}\r\n")
}

/// A server: each connection is handled by `script` on a thread of its own, with its number.
pub struct Server {
    pub address: SocketAddr,
    pub log: Arc<Mutex<Vec<Message>>>,
}

impl Server {
    pub fn scripted(
        script: impl Fn(usize, Wire, &Mutex<Vec<Message>>) + Send + Sync + 'static,
    ) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let script = Arc::new(script);
        let seen = Arc::clone(&log);
        std::thread::spawn(move || {
            for (number, stream) in socket.incoming().enumerate() {
                let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
                std::thread::spawn(move || script(number, Wire::new(stream.unwrap()), &seen));
            }
        });
        Self { address, log }
    }

    /// A server that answers every request with its name and keeps the connection.
    pub fn named(name: &'static str) -> Self {
        Self::scripted(move |_, mut wire, log| {
            while let Some(request) = wire.message(true) {
                log.lock().unwrap().push(request);
                wire.send(ok(name));
            }
        })
    }

    /// A server that does this with each request; the wire is closed when it returns `false`.
    pub fn answering(answer: impl Fn(&mut Wire, &Message) -> bool + Send + Sync + 'static) -> Self {
        Self::scripted(move |_, mut wire, log| {
            while let Some(request) = wire.message(true) {
                log.lock().unwrap().push(request.clone());
                if !answer(&mut wire, &request) {
                    break;
                }
            }
        })
    }

    /// The first lines of the requests that it has seen.
    pub fn seen(&self) -> Vec<String> {
        let log = self.log.lock().unwrap();
        log.iter()
            .map(|request| request.first_line.clone())
            .collect()
    }
}

pub fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Waits until `done`, which something else brings about soon.
pub fn until(what: &str, done: impl Fn() -> bool) {
    let end = std::time::Instant::now() + PATIENCE;
    while !done() {
        assert!(std::time::Instant::now() < end, "{what} did not come about");
        std::thread::yield_now();
    }
}

/// What the users of a server are told that is drained until `deadline`.
pub fn drain_notice(deadline: ebbtide_core::Moment) -> Option<Arc<ebbtide_core::Notice>> {
    Some(Arc::new(ebbtide_core::Notice {
        kind: ebbtide_core::NoticeKind::Drain,
        deadline,
        message: None,
        reminders: Vec::new(),
    }))
}

/// The keys of the door with this number.
/// Leaves the user of every session of the house a message, told apart by `at`.
pub fn tell_all(house: &House, at: u64, text: &str) {
    let message = Arc::new(ebbtide_core::Message {
        at: WallTime(at),
        text: text.into(),
        ends: clock().moment.plus(Millis::from_secs(600)),
    });
    for session in house.live() {
        assert!(house.sessions.leave_message(session.id, &message));
    }
}

pub fn door_keys(number: u64) -> DoorKeys {
    DoorKeys {
        id: DoorId(number),
        entry: DoorSecret([0xab; 16]),
        cookie: DoorSecret([0xcd; 16]),
        form: DoorSecret([0xef; 16]),
    }
}
