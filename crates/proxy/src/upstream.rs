//! Connections to servers: each worker keeps its own, one lane per server and address.

use ebbtide_core::{HttpSettings, Millis, ServerCounters, ServerKey, ServerSlot, ServerView};
use ebbtide_protocol::token::tag;
use rustix::net::RecvFlags;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::descriptors::Descriptors;
use crate::socket;
use crate::timer::{Interrupt, Watch, duration};

/// A worker's way to one server at one address.
pub(crate) struct Lane {
    pub key: ServerKey,
    /// `pool/server`.
    pub name: Arc<str>,
    /// The tag of `pool/server` in tokens.
    pub tag: u64,
    address: SocketAddr,
    worker: usize,
    counters: Arc<ServerCounters>,
    /// The latest used comes last and is used first, so that the others may grow old and go.
    idle: RefCell<Vec<Idle>>,
    open: Cell<u32>,
    /// Whether idle connections may be kept at all.
    kept: Cell<bool>,
    freed: Notify,
    descriptors: Rc<Descriptors>,
}

struct Idle {
    upstream: Upstream,
    expires: Instant,
}

/// A connection to a server.
pub(crate) struct Upstream {
    pub stream: TcpStream,
    pub lane: Rc<Lane>,
    /// It has carried an exchange before.
    pub reused: bool,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.lane.leave();
    }
}

/// What kind of connection a request needs.
#[derive(Clone, Copy)]
pub(crate) struct Wish {
    /// None that has been used before.
    pub fresh: bool,
    /// Ask the kernel too whether a kept one is sound, and not only what the runtime has heard: for
    /// requests that cannot be repeated.
    pub careful: bool,
}

/// Why there is no connection.
pub(crate) enum NoConnection {
    /// The server did not take one: no byte has left.
    Refused(io::Error),
    /// The server said nothing at all: it may be busy, or gone.
    Silent,
    /// All that may be open are in use.
    Busy,
    /// This machine has no room for one more (descriptors, ports).
    Exhausted(io::Error),
    /// The wait was cut.
    Cut,
}

impl Lane {
    /// This worker's counters for the server.
    pub fn slot(&self) -> &ServerSlot {
        self.counters.slot(self.worker)
    }

    /// An idle connection that is sound, as far as can be seen, if such a one will do.
    pub fn take_idle(self: &Rc<Self>, wish: Wish) -> Option<Upstream> {
        let mut idle = self.idle.borrow_mut();
        if wish.fresh || idle.is_empty() {
            return None;
        }
        let now = Instant::now();
        while let Some(Idle { upstream, expires }) = idle.pop() {
            if expires > now && upstream.is_quiet(wish.careful) {
                return Some(upstream);
            }
        }
        None
    }

    /// A connection, at the latest when the watch's timer runs out. At most `open_max` are open at a
    /// time; beyond that this waits for one to close or to come back.
    pub async fn connect(
        self: &Rc<Self>,
        open_max: u32,
        wish: Wish,
        watch: &mut Watch,
    ) -> Result<Upstream, NoConnection> {
        while self.open.get() >= open_max {
            if let Some(kept) = self.take_idle(wish) {
                return Ok(kept);
            }
            let closed = self.idle.borrow_mut().pop();
            if closed.is_none() {
                match watch.run(self.freed.notified()).await {
                    Ok(()) => {}
                    Err(Interrupt::Timeout) => return Err(NoConnection::Busy),
                    Err(Interrupt::Cut) => return Err(NoConnection::Cut),
                }
            }
        }
        if !self.descriptors.has_room() {
            return Err(NoConnection::Exhausted(io::Error::other(
                "this worker's share of open files is in use",
            )));
        }
        self.enter();
        let connected = watch.run(TcpStream::connect(self.address)).await;
        let failure = match connected {
            Ok(Ok(stream)) => {
                socket::tune(&stream);
                return Ok(Upstream {
                    stream,
                    lane: Rc::clone(self),
                    reused: false,
                });
            }
            Ok(Err(error)) if is_exhausted(&error) => NoConnection::Exhausted(error),
            Ok(Err(error)) => NoConnection::Refused(error),
            Err(Interrupt::Timeout) => NoConnection::Silent,
            Err(Interrupt::Cut) => NoConnection::Cut,
        };
        self.leave();
        Err(failure)
    }

    fn enter(&self) {
        self.open.set(self.open.get() + 1);
        self.descriptors.take();
        self.slot().connections.add(1);
    }

    fn leave(&self) {
        self.open.set(self.open.get() - 1);
        self.descriptors.give_back();
        self.slot().connections.sub_one();
        self.freed.notify_one();
    }

    fn close_idle(&self) {
        self.kept.set(false);
        let idle = self.idle.take();
        drop(idle);
    }

    fn sweep(&self, now: Instant) {
        let expired: Vec<Idle> = {
            let mut idle = self.idle.borrow_mut();
            idle.extract_if(.., |idle| {
                idle.expires <= now || !idle.upstream.is_quiet(false)
            })
            .collect()
        };
        drop(expired);
    }
}

impl Upstream {
    /// Gives the connection back for another request, from `now` on. `server_keeps_s` is what the server
    /// said of how long it keeps idle connections; we are a second ahead of it.
    pub fn give_back(
        mut self,
        http: &HttpSettings,
        workers: usize,
        server_keeps_s: Option<u32>,
        now: Instant,
    ) {
        let lane = Rc::clone(&self.lane);
        let idle_max = share(http.upstream_idle_max, workers) as usize;
        let ours = http.upstream_idle_timeout;
        let keep = server_keeps_s.map_or(ours, |seconds| {
            ours.min(Millis::from_secs(u64::from(seconds.saturating_sub(1))))
        });
        let mut idle = lane.idle.borrow_mut();
        if lane.kept.get() && idle.len() < idle_max && keep.0 > 0 {
            self.reused = true;
            idle.push(Idle {
                upstream: self,
                expires: now + duration(keep),
            });
            lane.freed.notify_one();
        }
    }

    /// Whether the server has neither closed it nor said anything out of turn.
    fn is_quiet(&self, careful: bool) -> bool {
        let mut byte = [0];
        let nothing = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        if !self
            .stream
            .try_read(&mut byte)
            .is_err_and(|error| nothing(&error))
        {
            return false;
        }
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        !careful
            || rustix::net::recv(&self.stream, &mut byte, flags)
                .is_err_and(|error| error == rustix::io::Errno::AGAIN)
    }
}

/// A worker's part of a limit that holds for all workers together; at least 1.
pub(crate) fn share(all: u32, workers: usize) -> u32 {
    (all / u32::try_from(workers.max(1)).unwrap_or(u32::MAX)).max(1)
}

/// Whether the connection failed for want of something on this machine.
fn is_exhausted(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let local = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::ADDRNOTAVAIL,
    ];
    let number = error.raw_os_error();
    local
        .iter()
        .any(|errno| Some(errno.raw_os_error()) == number)
}

/// All lanes of a worker.
pub(crate) struct Lanes {
    all: HashMap<(ServerKey, SocketAddr), Rc<Lane>>,
    descriptors: Rc<Descriptors>,
}

impl Lanes {
    /// No lanes yet; their connections will count in `descriptors`.
    pub fn new(descriptors: Rc<Descriptors>) -> Self {
        Self {
            all: HashMap::new(),
            descriptors,
        }
    }

    /// The lane to this server.
    pub fn lane(&mut self, pool: &str, server: &ServerView, worker: usize) -> Rc<Lane> {
        let lane = self
            .all
            .entry((server.key, server.address))
            .or_insert_with(|| {
                let name = format!("{pool}/{}", server.name);
                Rc::new(Lane {
                    key: server.key,
                    tag: tag(&name),
                    name: name.into(),
                    address: server.address,
                    worker,
                    counters: Arc::clone(&server.counters),
                    idle: RefCell::default(),
                    open: Cell::new(0),
                    kept: Cell::new(true),
                    freed: Notify::new(),
                    descriptors: Rc::clone(&self.descriptors),
                })
            });
        Rc::clone(lane)
    }

    /// Keeps idle connections only in the lanes `kept`: those of other servers are closed now.
    pub fn keep_only<'a>(&mut self, kept: impl Iterator<Item = &'a Rc<Lane>>) {
        let kept: HashSet<(ServerKey, SocketAddr)> =
            kept.map(|lane| (lane.key, lane.address)).collect();
        for (place, lane) in &self.all {
            match kept.contains(place) {
                true => lane.kept.set(true),
                false => lane.close_idle(),
            }
        }
        // A lane that nobody else holds belongs to a server that is gone.
        self.all.retain(|_, lane| Rc::strong_count(lane) > 1);
    }

    /// Closes idle connections that have grown too old or were closed by their servers.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.all.values().for_each(|lane| lane.sweep(now));
    }

    /// Closes all idle connections, for good.
    pub fn close(&mut self) {
        self.all.drain().for_each(|(_, lane)| lane.close_idle());
    }
}
