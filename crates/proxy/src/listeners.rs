//! Binding listeners: all or nothing, and never beside another program.

use crate::socket::tune;
use ebbtide_core::{Config, ListenerConfig};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};

/// Connections that the kernel holds for a listener until they are accepted.
const BACKLOG: i32 = 4096;

/// Why the data plane could not start, or could not take a configuration.
#[derive(Debug)]
pub enum StartError {
    /// A listener could not be bound.
    Listener {
        /// Its name in the configuration.
        name: String,
        /// Its address.
        bind: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// A worker's thread or runtime could not be made.
    Worker(io::Error),
    /// The access log could not be opened.
    AccessLog {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener { name, bind, error } => {
                write!(f, "listener {name} cannot listen on {bind}: {error}; ")?;
                advise(f, *bind, error.kind())
            }
            Self::Worker(error) => write!(
                f,
                "a worker cannot be started: {error}; look at the limits on threads and open files (ulimit -u, ulimit -n)"
            ),
            Self::AccessLog { path, error } => write!(
                f,
                "the access log {} cannot be opened: {error}; its directory must exist and be writable",
                path.display()
            ),
        }
    }
}

/// What to do about a listener that cannot be bound.
fn advise(f: &mut fmt::Formatter<'_>, bind: SocketAddr, kind: io::ErrorKind) -> fmt::Result {
    match kind {
        io::ErrorKind::AddrInUse => write!(
            f,
            "another program has this port (`ss -ltnp 'sport = :{}'` shows which): stop it or choose another port",
            bind.port()
        ),
        io::ErrorKind::PermissionDenied if bind.port() < 1024 => f.write_str(
            "ports below 1024 are privileged: give the program CAP_NET_BIND_SERVICE or choose a port above 1023",
        ),
        io::ErrorKind::AddrNotAvailable => write!(
            f,
            "{} is not an address of this machine (`ip addr` lists them): choose one of its own, or 0.0.0.0 for all",
            bind.ip()
        ),
        _ => f.write_str("check the address and the system's limits"),
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listener { error, .. } | Self::AccessLog { error, .. } | Self::Worker(error) => {
                Some(error)
            }
        }
    }
}

/// The listening sockets of the node: which are served, and which are bound for a configuration
/// that is yet to be published.
#[derive(Default)]
pub(crate) struct Listeners {
    served: BTreeSet<SocketAddr>,
    /// One socket per worker; bound, but not listening, so that no client ends up there.
    prepared: BTreeMap<SocketAddr, Vec<Socket>>,
}

impl Listeners {
    /// Binds what `config` names and is not bound yet. On an error nothing has changed.
    pub fn prepare(&mut self, config: &Config, workers: usize) -> Result<(), StartError> {
        let mut new = BTreeMap::new();
        for listener in &config.listeners {
            let bind = listener.bind;
            let known = self.served.contains(&bind)
                || self.prepared.contains_key(&bind)
                || new.contains_key(&bind);
            if !known {
                new.insert(bind, self.bind(listener, workers)?);
            }
        }
        let wanted: BTreeSet<SocketAddr> = config.listeners.iter().map(|l| l.bind).collect();
        self.prepared.retain(|bind, _| wanted.contains(bind));
        self.prepared.append(&mut new);
        Ok(())
    }

    fn bind(&self, listener: &ListenerConfig, workers: usize) -> Result<Vec<Socket>, StartError> {
        let bind = listener.bind;
        let explain = |error| StartError::Listener {
            name: listener.name.clone(),
            bind,
            error,
        };
        // Sockets that share a port would silently share it with another program of the same user
        // too; so ask for the port alone first, unless we are on it ourselves.
        let is_ours = self
            .served
            .iter()
            .any(|served| served.port() == bind.port());
        if !is_ours {
            let alone = socket(bind, false).map_err(explain)?;
            alone.listen(1).map_err(explain)?;
        }
        (0..workers)
            .map(|_| socket(bind, true).map_err(explain))
            .collect()
    }

    /// The configuration is published: its listeners begin to listen. Returns the sockets that are
    /// new, one per worker, by address. What is not in it any more is forgotten here.
    pub fn publish(
        &mut self,
        config: &Config,
        workers: usize,
    ) -> Vec<BTreeMap<SocketAddr, TcpListener>> {
        let mut shares: Vec<_> = (0..workers).map(|_| BTreeMap::new()).collect();
        let wanted: BTreeSet<SocketAddr> = config.listeners.iter().map(|l| l.bind).collect();
        if wanted == self.served {
            return shares;
        }
        if let Err(error) = self.prepare(config, workers) {
            tracing::error!("{error}");
        }
        for (bind, sockets) in std::mem::take(&mut self.prepared) {
            for (share, socket) in shares.iter_mut().zip(sockets) {
                match socket.listen(BACKLOG) {
                    Ok(()) => {
                        share.insert(bind, TcpListener::from(socket));
                        self.served.insert(bind);
                    }
                    Err(error) => tracing::error!("cannot listen on {bind}: {error}"),
                }
            }
        }
        self.served.retain(|bind| wanted.contains(bind));
        shares
    }
}

fn socket(bind: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(bind), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    if bind.is_ipv6() {
        // One address, one listener: IPv4 clients of a wildcard are asked for by 0.0.0.0.
        socket.set_only_v6(true)?;
    }
    tune(&socket);
    socket.bind(&bind.into())?;
    Ok(socket)
}
