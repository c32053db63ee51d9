//! Accepting and serving connections.

use super::access::Peer;
use super::app::App;
use super::bind::{Admin, SocketFile};
use super::body_time::TimedBody;
use super::routes::router;
use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_io_timeout::TimeoutStream;
use tower_service::Service;

/// Connections at once on each listener. The operator's socket has its own, so that nobody on the
/// network can shut the operator out.
const CONNECTIONS_MAX: usize = 256;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer that takes nothing of its answer for so long gives its place to others.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
const HEAD_BYTES_MAX: usize = 32 * 1024;

impl Admin {
    /// Serves until the returned guard is dropped (which removes the socket's file) and the
    /// runtime ends.
    pub(crate) fn serve(self, app: App) -> io::Result<impl Sized + use<>> {
        let tcp = TcpListener::from_std(self.tcp)?;
        let unix = UnixListener::from_std(self.unix)?;
        let router = router(app, self.address);
        tokio::spawn(accept_tcp(tcp, router.clone()));
        tokio::spawn(accept_unix(unix, router));
        let guard: SocketFile = self.socket;
        Ok(guard)
    }
}

async fn accept_tcp(listener: TcpListener, router: Router) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, address)) => {
                let (peer, router) = (Peer::Tcp(address), router.clone());
                tokio::spawn(async move {
                    // Small answers should not wait for each other; without it they still come.
                    drop(stream.set_nodelay(true));
                    serve(stream, peer, router).await;
                    drop(permit);
                });
            }
            Err(error) => pause(&error).await,
        }
    }
}

async fn accept_unix(listener: UnixListener, router: Router) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (peer, router) = (unix_peer(&stream), router.clone());
                tokio::spawn(async move {
                    serve(stream, peer, router).await;
                    drop(permit);
                });
            }
            Err(error) => pause(&error).await,
        }
    }
}

/// No descriptors are left, most likely: others must be closed first.
async fn pause(error: &io::Error) {
    tracing::error!("the admin API cannot accept a connection: {error}");
    sleep(Duration::from_millis(100)).await;
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    router: Router,
) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        router.clone().call(request.map(TimedBody::new))
    });
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let stream = Box::pin(stream);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!("a connection to the admin API broke: {error}");
    }
}

/// Who is at the other end, as the kernel vouches.
fn unix_peer(stream: &UnixStream) -> Peer {
    let Ok(credentials) = stream.peer_cred() else {
        return Peer::Stranger;
    };
    let uid = credentials.uid();
    let own = rustix::process::geteuid();
    if uid != 0 && uid != own.as_raw() {
        return Peer::Stranger;
    }
    Peer::Unix(user_name(uid).unwrap_or_else(|| format!("uid:{uid}")))
}

/// The user's name, from the local list; directories of other kinds are not asked, since that
/// could take long.
fn user_name(uid: u32) -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// Whether `host` (a `Host` field) may name a listener at `address`. A page on a foreign site can
/// have its own name resolve to loopback (DNS rebinding); the field still tells that name.
pub(super) fn host_fits(host: &str, address: SocketAddr) -> bool {
    if !address.ip().is_loopback() {
        return true;
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || ["127.0.0.1", "::1"].contains(&name)
        || name == address.ip().to_string()
}
