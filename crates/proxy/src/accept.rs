//! Accepting connections.

use crate::connection::Connection;
use crate::flight::Flight;
use crate::worker::Worker;
use crate::{nbd, proxied, tcp};
use ebbtide_core::{PoolKey, Protocol};
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How long to wait after the system refused to hand out a connection.
const PAUSE: Duration = Duration::from_millis(50);
/// How often at most the log speaks of that.
const COMPLAINT_PERIOD: Duration = Duration::from_secs(60);

/// The accepting end of one listener in one worker. Dropping it takes what is in the backlog and
/// then closes the socket; the connections live on.
pub(crate) struct Acceptor {
    pool: Rc<Cell<PoolKey>>,
    _stop: oneshot::Sender<()>,
}

impl Acceptor {
    /// Connections from now on go to this pool.
    pub fn lead_to(&self, pool: PoolKey) {
        self.pool.set(pool);
    }
}

/// Starts to accept on `listener`, which is bound to `bind`, for `pool`.
pub(crate) fn start(
    worker: &Rc<Worker>,
    listener: std::net::TcpListener,
    bind: SocketAddr,
    pool: PoolKey,
) -> io::Result<Acceptor> {
    let listener = TcpListener::from_std(listener)?;
    let pool = Rc::new(Cell::new(pool));
    let (stop, stopped) = oneshot::channel();
    worker.acceptor_opened();
    tokio::task::spawn_local(accept(
        Rc::clone(worker),
        (listener, bind),
        Rc::clone(&pool),
        stopped,
    ));
    Ok(Acceptor { pool, _stop: stop })
}

async fn accept(
    worker: Rc<Worker>,
    (listener, bind): (TcpListener, SocketAddr),
    pool: Rc<Cell<PoolKey>>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut complained: Option<Instant> = None;
    let mut complain = |what: &dyn std::fmt::Display| {
        if complained.is_none_or(|at| at.elapsed() >= COMPLAINT_PERIOD) {
            complained = Some(Instant::now());
            tracing::warn!("cannot accept connections: {what}");
        }
    };
    loop {
        // Those who wait in the backlog are served as soon as others have gone.
        if !worker.descriptors.has_room_for_client() {
            complain(&"the share of open files for clients is in use (ulimit -n)");
            tokio::select! {
                _ = &mut stopped => break,
                () = tokio::time::sleep(PAUSE) => continue,
            }
        }
        let accepted = tokio::select! {
            biased;
            _ = &mut stopped => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, client)) => serve(&worker, stream, client, (bind, pool.get())),
            // The client has given up already.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                complain(&error);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    empty_backlog(&worker, listener, (bind, pool.get()));
    worker.acceptor_closed();
}

/// Takes the connections that the kernel holds already: their clients believe them to stand.
fn empty_backlog(worker: &Rc<Worker>, listener: TcpListener, way: (SocketAddr, PoolKey)) {
    let Ok(listener) = listener.into_std() else {
        return;
    };
    while let Ok((stream, client)) = listener.accept() {
        let stream = stream
            .set_nonblocking(true)
            .and_then(|()| TcpStream::from_std(stream));
        if let Ok(stream) = stream {
            serve(worker, stream, client, way);
        }
    }
}

/// Serves a connection; `way` is the listener that it came by, and the pool that this leads to.
fn serve(worker: &Rc<Worker>, stream: TcpStream, client: SocketAddr, way: (SocketAddr, PoolKey)) {
    let view = worker.view();
    let behind_proxies = view
        .listeners
        .get(&way.0)
        .is_some_and(|way| !way.proxies.is_empty());
    let guest = Guest {
        flight: worker.connection_opened(),
        worker: Rc::clone(worker),
        stream,
        client,
        local: None,
    };
    if behind_proxies {
        tokio::task::spawn_local(async move {
            if let Some(guest) = proxied::introduce(guest, way.0).await {
                start_serving(guest, way);
            }
        });
    } else {
        start_serving(guest, way);
    }
}

/// A client who has been let in.
pub(crate) struct Guest {
    pub worker: Rc<Worker>,
    pub flight: Rc<Flight>,
    pub stream: TcpStream,
    pub client: SocketAddr,
    /// Where the client connected to, if a proxy has told.
    pub local: Option<SocketAddr>,
}

fn start_serving(guest: Guest, way: (SocketAddr, PoolKey)) {
    let view = guest.worker.view();
    let protocol = view.routes(way.1).map(|routes| routes.pool.config.protocol);
    match protocol {
        Some(Protocol::Tcp) => tokio::task::spawn_local(tcp::serve(guest, way.1)),
        Some(Protocol::Nbd) => tokio::task::spawn_local(nbd::serve(guest, way.1)),
        Some(Protocol::Http) | None => {
            tokio::task::spawn_local(Box::new(Connection::new(guest, way)).serve())
        }
    };
}
