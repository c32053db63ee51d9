//! A tunnel: after the server's 101, bytes both ways until both sides are done.

use crate::buffer::{Buffer, Scratch};
use crate::timer::{Interrupt, Watch};
use ebbtide_core::Millis;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

/// How a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TunnelEnd {
    /// Both sides closed.
    Closed,
    /// One side broke.
    Broken,
    /// Silence for too long.
    Silent,
    /// The session is over.
    Cut,
}

/// One direction of a tunnel.
#[derive(Default)]
struct Flow {
    bytes: u64,
    source_closed: bool,
    done: bool,
    moved: bool,
}

impl Flow {
    /// Copies what there is; ready when the source has closed and the sink has been told.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        (source, buffer): (&mut TcpStream, &mut Buffer),
        sink: &mut TcpStream,
    ) -> Poll<io::Result<()>> {
        while !self.done {
            if !buffer.is_empty() {
                match ready!(Pin::new(&mut *sink).poll_write(context, buffer.filled()))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    bytes => {
                        buffer.consume(bytes);
                        self.bytes += bytes as u64;
                    }
                }
            } else if self.source_closed {
                ready!(Pin::new(&mut *sink).poll_shutdown(context))?;
                self.done = true;
            } else {
                self.source_closed = ready!(buffer.poll_fill(context, source, 0))? == 0;
            }
            self.moved = true;
        }
        Poll::Ready(Ok(()))
    }
}

/// Runs a tunnel between two connections. What either side has sent already is in the scratch, the
/// head of the 101 is in its outbox. Returns how it ended and the bytes towards server and client.
pub(crate) async fn tunnel(
    (client, server): (&mut TcpStream, &mut TcpStream),
    watch: &mut Watch,
    scratch: &mut Scratch,
    silence_max: Millis,
) -> (TunnelEnd, u64, u64) {
    let Scratch {
        inbound,
        outbound,
        to_client,
        ..
    } = scratch;
    let (mut up, mut down) = (Flow::default(), Flow::default());
    watch.set(silence_max);
    let end = poll_fn(|context| {
        let begun = to_client.poll_flush(context, client);
        let upwards = up.poll(context, (&mut *client, inbound), server);
        let downwards = match begun {
            Poll::Ready(Ok(())) => down.poll(context, (&mut *server, outbound), client),
            other => other,
        };
        let end = match (upwards, downwards) {
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => TunnelEnd::Broken,
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => TunnelEnd::Closed,
            _ => {
                if std::mem::take(&mut up.moved) | std::mem::take(&mut down.moved) {
                    watch.set(silence_max);
                }
                match watch.poll(context) {
                    None => return Poll::Pending,
                    Some(Interrupt::Timeout) => TunnelEnd::Silent,
                    Some(Interrupt::Cut) => TunnelEnd::Cut,
                }
            }
        };
        Poll::Ready(end)
    })
    .await;
    (end, up.bytes, down.bytes)
}
