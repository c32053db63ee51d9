//! Binding the admin API's two listeners, before anything else is started.

use ebbtide_api::SOCKET_NAME;
use std::fmt;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The admin API, bound but not serving yet.
pub struct Admin {
    pub(super) tcp: TcpListener,
    pub(super) unix: UnixListener,
    pub(super) address: SocketAddr,
    pub(super) socket: SocketFile,
}

/// The socket's file; removed with it.
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // If somebody has removed it already, that is what is wanted.
        drop(fs::remove_file(&self.0));
    }
}

/// Why the admin API cannot be bound.
#[derive(Debug)]
pub enum AdminError {
    /// The TCP address.
    Listen(SocketAddr, io::Error),
    /// The UNIX socket.
    Socket(PathBuf, io::Error),
    /// Somebody answers at the UNIX socket.
    Running(PathBuf),
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, error) => {
                write!(f, "the admin API cannot listen on {address}: {error}; ")?;
                f.write_str(match error.kind() {
                    io::ErrorKind::AddrInUse => {
                        "another program has this port: stop it, or set another admin.listen"
                    }
                    io::ErrorKind::PermissionDenied => {
                        "ports below 1024 need a privilege (CAP_NET_BIND_SERVICE): grant it, or \
                         set another admin.listen"
                    }
                    io::ErrorKind::AddrNotAvailable => {
                        "this machine has no such address: set another admin.listen"
                    }
                    _ => "set another admin.listen",
                })
            }
            Self::Socket(path, error) => write!(
                f,
                "the admin API's socket {} cannot be made: {error}; state_dir must be a directory \
                 that Ebbtide's user may write, and its path short (sockets' paths end at 107 \
                 bytes)",
                path.display()
            ),
            Self::Running(path) => write!(
                f,
                "another Ebbtide answers at {}; stop it, or set another state_dir",
                path.display()
            ),
        }
    }
}

impl std::error::Error for AdminError {}

impl Admin {
    /// Binds `listen` and the UNIX socket in `state_dir`, which must exist. A socket that a killed
    /// Ebbtide left behind is replaced; one where somebody answers is not.
    pub fn bind(listen: SocketAddr, state_dir: &Path) -> Result<Self, AdminError> {
        let path = state_dir.join(SOCKET_NAME);
        if UnixStream::connect(&path).is_ok() {
            return Err(AdminError::Running(path));
        }
        let listened = |error| AdminError::Listen(listen, error);
        let tcp = TcpListener::bind(listen).map_err(listened)?;
        tcp.set_nonblocking(true).map_err(listened)?;
        let address = tcp.local_addr().map_err(listened)?;
        let unix = bind_socket(&path).map_err(|error| AdminError::Socket(path.clone(), error))?;
        Ok(Self {
            tcp,
            unix,
            address,
            socket: SocketFile(path),
        })
    }

    /// The TCP address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Makes the socket under another name, so that it never stands there with a wider mode than 0600.
fn bind_socket(path: &Path) -> io::Result<UnixListener> {
    let fresh = path.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let unix = UnixListener::bind(&fresh)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))?;
    fs::rename(&fresh, path)?;
    unix.set_nonblocking(true)?;
    Ok(unix)
}
