//! What is asked of every connection's socket.

use socket2::SockRef;
use tokio::net::TcpStream;

/// Bytes that may wait in the kernel without having been sent.
///
/// Otherwise a send buffer grows to megabytes and counts as writable again only when a third of it
/// is free: a slow peer that reads all the time would look idle for minutes, and be cut. With this
/// it is writable again after half of these bytes, so the limits on pauses see its progress.
const UNSENT_BYTES_MAX: u32 = 128 * 1024;

/// Sets what is the same for clients and servers: small writes leave at once, and being writable
/// follows the peer's reading. A connection that is gone already shows when it is read, and one
/// without these still works.
pub(crate) fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
}
