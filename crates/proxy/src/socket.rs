//! What is asked of every connection's socket, and of every listener's for its connections.

use socket2::SockRef;
use std::os::fd::AsFd;

/// Bytes that may wait in the kernel without having been sent.
///
/// Otherwise a send buffer grows to megabytes and counts as writable again only when a third of it
/// is free: a slow peer that reads all the time would look idle for minutes, and be cut. With this
/// it is writable again after half of these bytes, so the limits on pauses see its progress.
const UNSENT_BYTES_MAX: u32 = 128 * 1024;

/// Sets what is the same for clients and servers: small writes leave at once, and being writable
/// follows the peer's reading. What a listener is set to, its connections inherit. A connection that
/// is gone already shows when it is read, and one without these still works.
pub(crate) fn tune(socket: &impl AsFd) {
    let socket = SockRef::from(socket);
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn connections_inherit_it_from_their_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        tune(&listener);
        let address = listener.local_addr().expect("its address");
        let _client = TcpStream::connect(address).expect("a connection");
        let (accepted, _) = listener.accept().expect("its other end");
        let accepted = SockRef::from(&accepted);
        assert!(accepted.tcp_nodelay().expect("an option"));
        let unsent_max = accepted.tcp_notsent_lowat().expect("an option");
        assert_eq!(unsent_max, UNSENT_BYTES_MAX);
    }
}
