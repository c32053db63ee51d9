//! Connecting to a server's copy of a resource: the handshake as its client, and what it must come to.

use crate::buffer::Outbox;
use crate::flight::Flight;
use crate::socket;
use crate::timer::{Interrupt, Watch};
use crate::upstream::{Lane, NoConnection, Upstream, Wish, share};
use crate::view::Routes;
use crate::worker::Worker;
use ebbtide_core::{Fact, Identity, Millis, Place, PoolKey, ServerKey};
use ebbtide_protocol::nbd::{
    ClientGoal, ClientHandshake, ClientStep, Export, HandshakeFault, Negotiated, transmission_flag,
};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::ready;
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Between two rounds in search of a server that can stand in.
const PAUSE: Duration = Duration::from_millis(100);
/// What one reading of a handshake brings at most, in bytes.
const READ_BYTES: usize = 4096;
/// Flags that another server has to have if the client was told of them.
const PROMISES: u16 = transmission_flag::SEND_CACHE | transmission_flag::SEND_DF;

/// What a session wants of its server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Goal {
    /// The export's name.
    pub resource: String,
    pub structured_replies: bool,
    /// `base:allocation`.
    pub allocation: bool,
}

/// A server that is ready to be asked.
pub(super) struct Connected {
    pub upstream: Upstream,
    pub agreed: Negotiated,
}

/// Why a server cannot be asked.
pub(super) enum NotConnected {
    /// The session's time is over.
    Cut,
    /// This machine has no room for one more connection.
    Exhausted,
    /// It could not be connected to, or came to nothing; for the log.
    Failed(String),
    /// It says that it does not have the resource, or not for us; for the log.
    Refused(String),
}

/// Connects to a server, within the pool's limit for that.
pub(super) async fn connect(
    worker: &Worker,
    pool: &Routes,
    lane: &Rc<Lane>,
    goal: &Goal,
    watch: &mut Watch,
) -> Result<Connected, NotConnected> {
    let config = &pool.pool.config;
    watch.set(config.http.connect_timeout);
    let wish = Wish {
        fresh: true,
        careful: false,
    };
    let open_max = share(config.http.connections_max, worker.workers);
    let upstream = match lane.connect(open_max, wish, watch).await {
        Ok(upstream) => upstream,
        Err(NoConnection::Refused(error)) => return Err(NotConnected::Failed(error.to_string())),
        Err(NoConnection::Silent) => return Err(failed("it takes no connection")),
        Err(NoConnection::Cut) => return Err(NotConnected::Cut),
        Err(NoConnection::Busy) => return Err(NotConnected::Exhausted),
        Err(NoConnection::Exhausted(error)) => {
            tracing::warn!("cannot connect to {}: {error}", lane.name);
            return Err(NotConnected::Exhausted);
        }
    };
    socket::keep_alive(&upstream.stream, config.tcp.keepalive);
    shake_hands(worker, upstream, goal, watch).await
}

fn failed(why: &str) -> NotConnected {
    NotConnected::Failed(why.to_owned())
}

async fn shake_hands(
    worker: &Worker,
    mut upstream: Upstream,
    goal: &Goal,
    watch: &mut Watch,
) -> Result<Connected, NotConnected> {
    let mut handshake = ClientHandshake::new(ClientGoal::Export {
        name: goal.resource.clone(),
        structured_replies: goal.structured_replies,
        allocation: goal.allocation,
    });
    let (mut input, mut out) = (Vec::new(), Outbox::default());
    loop {
        let step = handshake.advance(&input, &mut out.bytes);
        let sent = watch.run(send(&mut upstream.stream, &mut out)).await;
        let step = match step {
            Ok((taken, step)) => {
                input.drain(..taken);
                step
            }
            Err(fault @ HandshakeFault::Refused { .. }) => {
                return Err(NotConnected::Refused(fault.to_string()));
            }
            Err(fault) => {
                worker.slot().reject_answer(fault.reason());
                return Err(NotConnected::Failed(fault.to_string()));
            }
        };
        check(sent)?;
        match step {
            ClientStep::Ready(_) if !input.is_empty() => {
                return Err(failed("it answers before it was asked"));
            }
            ClientStep::Ready(agreed) => return Ok(Connected { upstream, agreed }),
            ClientStep::Listed(_) => return Err(failed("it answered what was not asked")),
            ClientStep::NeedMore => {}
        }
        let read = read_more(&mut upstream.stream, &mut input);
        if check(watch.run(read).await)? == 0 {
            return Err(failed("it closed the connection in the handshake"));
        }
    }
}

fn check<T>(done: Result<io::Result<T>, Interrupt>) -> Result<T, NotConnected> {
    match done {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(NotConnected::Failed(error.to_string())),
        Err(Interrupt::Timeout) => Err(failed("it took too long over the handshake")),
        Err(Interrupt::Cut) => Err(NotConnected::Cut),
    }
}

/// Reads once; 0 at the end.
pub(super) async fn read_more(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<usize> {
    poll_fn(|context| {
        let mut piece = [0; READ_BYTES];
        let mut room = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut *stream).poll_read(context, &mut room))?;
        input.extend_from_slice(room.filled());
        Ok(room.filled().len()).into()
    })
    .await
}

/// Writes everything.
pub(super) async fn send(stream: &mut TcpStream, out: &mut Outbox) -> io::Result<()> {
    poll_fn(|context| out.poll_flush(context, stream)).await
}

/// Tells of a connection that was not to be had.
pub(super) fn complain(worker: &Worker, pool: PoolKey, lane: &Lane, none: &NotConnected) {
    match none {
        NotConnected::Cut | NotConnected::Exhausted => {}
        NotConnected::Refused(why) => tracing::warn!("{}: {why}", lane.name),
        NotConnected::Failed(why) => {
            tracing::debug!("{} cannot be used: {why}", lane.name);
            lane.slot().connect_failures.add(1);
            let server = lane.key;
            worker.tell(Fact::ConnectFailed { pool, server });
        }
    }
}

/// Whether a server shows the size that its copy is known by; if not, it is told of.
pub(super) fn has_known_size(
    worker: &Worker,
    (pool, lane): (PoolKey, &Lane),
    resource: &str,
    known: Option<&Identity>,
    export: &Export,
) -> bool {
    if known.is_none_or(|known| known.size == export.size) {
        return true;
    }
    tracing::warn!(
        "{}: shows {} bytes of `{resource}`, and another size is known of it",
        lane.name,
        export.size
    );
    worker.tell(Fact::CopyContradicted {
        pool,
        server: lane.key,
        resource: resource.to_owned(),
        size: export.size,
    });
    false
}

/// What a server does not keep of what the client was promised in the name of the first one.
fn broken_promise(first: &Negotiated, here: &Negotiated) -> Option<&'static str> {
    let (was, is) = (&first.export, &here.export);
    let minimum = |export: &Export| export.block_sizes.map_or(1, |sizes| sizes.minimum);
    let kept = [
        (was.size == is.size, "its size"),
        (is.has(was.flags & PROMISES), "CACHE or DF"),
        (minimum(is) <= minimum(was), "reads of so small blocks"),
        (
            is.payload_bytes_max() >= was.payload_bytes_max(),
            "reads of so many bytes",
        ),
        (
            here.structured_replies >= first.structured_replies,
            "structured replies",
        ),
        (
            here.allocation_context.is_some() >= first.allocation_context.is_some(),
            "block status",
        ),
    ];
    kept.into_iter()
        .find_map(|(is_kept, what)| (!is_kept).then_some(what))
}

/// A search for a server that can stand in.
pub(super) struct Search {
    pub worker: Rc<Worker>,
    pub flight: Rc<Flight>,
    pub pool: PoolKey,
    pub goal: Goal,
    /// What was agreed on with the server that the session began on.
    pub first: Negotiated,
    /// What its copy was known by.
    pub began_on: Identity,
    /// Servers that have just failed, or are to be left: they are asked last.
    pub avoid: Vec<ServerKey>,
    /// The only ones that will do.
    pub only: Option<Vec<ServerKey>>,
    /// Until when to go on searching; `None`: every server is asked once.
    pub until: Option<Instant>,
}

/// A server that stands in.
pub(super) struct Found {
    pub connected: Connected,
    pub place: Place,
}

impl Search {
    /// Finds one; `None` if there is none, or the session's time is over.
    pub async fn run(mut self) -> Option<Found> {
        let mut watch = Watch::new(Rc::clone(&self.flight), Millis(0));
        let mut tried = std::mem::take(&mut self.avoid);
        loop {
            let Some((place, lane, routes)) = self.next(&tried) else {
                let until = self.until.filter(|until| Instant::now() < *until)?;
                tokio::time::sleep_until(until.min(Instant::now() + PAUSE)).await;
                tried.clear();
                continue;
            };
            let (worker, pool) = (&self.worker, self.pool);
            match connect(worker, &routes, &lane, &self.goal, &mut watch).await {
                Ok(connected) if self.is_right(&lane, &connected) => {
                    return Some(Found { connected, place });
                }
                Ok(_) => {}
                Err(NotConnected::Cut) => return None,
                Err(none) => complain(worker, pool, &lane, &none),
            }
            tried.push(lane.key);
        }
    }

    /// The least busy server that may stand in by the newest snapshot, and a place there.
    fn next(&self, tried: &[ServerKey]) -> Option<(Place, Rc<Lane>, Rc<Routes>)> {
        let view = self.worker.view();
        let routes = view.routes(self.pool)?;
        let (server, place) = routes.pool.take_place(
            &self.goal.resource,
            &self.began_on,
            (tried, self.only.as_deref()),
            self.worker.roll(),
        )?;
        let lane = &routes.lanes[routes.index_of(server.key)?];
        Some((place, Rc::clone(lane), Rc::clone(routes)))
    }

    fn is_right(&self, lane: &Lane, connected: &Connected) -> bool {
        let export = &connected.agreed.export;
        let (place, name) = ((self.pool, lane), self.goal.resource.as_str());
        if !has_known_size(&self.worker, place, name, Some(&self.began_on), export) {
            return false;
        }
        let broken = broken_promise(&self.first, &connected.agreed);
        if let Some(what) = broken {
            tracing::warn!(
                "{}: does not offer of `{name}` what its client was offered elsewhere: {what}",
                lane.name
            );
        }
        broken.is_none()
    }
}
