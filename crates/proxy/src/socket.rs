//! What is asked of every connection's socket, and of every listener's for its connections.

use crate::timer::duration;
use ebbtide_core::Millis;
use socket2::{SockRef, TcpKeepalive};
use std::os::fd::AsFd;
use std::time::Duration;

/// Bytes that may wait in the kernel without having been sent.
///
/// Otherwise a send buffer grows to megabytes and counts as writable again only when a third of it
/// is free: a slow peer that reads all the time would look idle for minutes, and be cut. With this
/// it is writable again after half of these bytes, so the limits on pauses see its progress.
const UNSENT_BYTES_MAX: u32 = 128 * 1024;

/// Between two signs of life that are asked for, and how many are waited for.
const PROBE_EVERY: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;

/// Sets what is the same for clients and servers: small writes leave at once, and being writable
/// follows the peer's reading. What a listener is set to, its connections inherit. A connection that
/// is gone already shows when it is read, and one without these still works.
pub(crate) fn tune(socket: &impl AsFd) {
    let socket = SockRef::from(socket);
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
}

/// A peer that has been silent for so long is asked for a sign of life; one that gives none, or takes
/// none of what it is sent, for half a minute longer is lost.
pub(crate) fn keep_alive(socket: &impl AsFd, silence: Millis) {
    let socket = SockRef::from(socket);
    let probes = TcpKeepalive::new()
        .with_time(duration(silence))
        .with_interval(PROBE_EVERY)
        .with_retries(PROBES);
    // A connection that is gone already shows when it is read, and one without these still works.
    let _ = socket.set_tcp_keepalive(&probes);
    let _ = socket.set_tcp_user_timeout(Some(duration(silence) + PROBE_EVERY * PROBES));
}

/// Makes the close of this connection a reset.
pub(crate) fn reset(socket: &impl AsFd) {
    // If this fails the connection is closed in the ordinary way, which is all that is left.
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
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
