//! A tunnel: after the server's 101, bytes both ways until both sides are done.
//!
//! A WebSocket whose time is over is not just cut: both sides are told so, by a close frame between
//! two frames of the other's, and have a moment to answer it.

use crate::buffer::{Buffer, Outbox, Scratch};
use crate::timer::{Interrupt, Watch};
use ebbtide_core::Millis;
use ebbtide_protocol::websocket::{Frames, GOING_AWAY, Sender, write_close};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

/// How long both sides of a WebSocket may take to say goodbye. With what the control plane and the
/// worker need before it, it ends well within the second that a deadline may be outlived.
const GOODBYE: Millis = Millis(400);

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
struct Flow {
    bytes: u64,
    /// Those of them that nobody has been told of.
    unseen: u64,
    source_closed: bool,
    done: bool,
    moved: bool,
    /// Where its frames are, if it is a WebSocket's.
    frames: Option<Frames>,
    /// The close frame, once the tunnel's time is over.
    close: Option<Outbox>,
}

impl Flow {
    fn new(frames: Option<Frames>) -> Self {
        Self {
            bytes: 0,
            unseen: 0,
            source_closed: false,
            done: false,
            moved: false,
            frames,
            close: None,
        }
    }

    /// Copies what there is; ready when the source has closed and the sink has been told.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        (source, buffer): (&mut TcpStream, &mut Buffer),
        sink: &mut TcpStream,
    ) -> Poll<io::Result<()>> {
        while !self.done {
            if !buffer.is_empty() {
                ready!(self.poll_copy(context, buffer, usize::MAX, sink))?;
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

    fn take_unseen(&mut self) -> u64 {
        std::mem::take(&mut self.unseen)
    }

    /// Writes some of what has been read, at most `bytes_max`.
    fn poll_copy(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
        bytes_max: usize,
        sink: &mut TcpStream,
    ) -> Poll<io::Result<()>> {
        let filled = buffer.filled();
        let next = &filled[..bytes_max.min(filled.len())];
        let bytes = ready!(Pin::new(sink).poll_write(context, next))?;
        if bytes == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        if let Some(frames) = &mut self.frames {
            frames.pass(&next[..bytes]);
        }
        buffer.consume(bytes);
        self.bytes += bytes as u64;
        self.unseen += bytes as u64;
        Poll::Ready(Ok(()))
    }

    /// Says goodbye to the sink: finishes the frame under way, sends a close frame made of `words`,
    /// and drops what else comes, up to the source's own close. Ready when that is done, or cannot be.
    fn poll_goodbye(
        &mut self,
        context: &mut Context<'_>,
        (source, buffer): (&mut TcpStream, &mut Buffer),
        sink: &mut TcpStream,
        words: &str,
    ) -> Poll<io::Result<()>> {
        loop {
            let Some(frames) = self.frames.as_mut().filter(|frames| !frames.is_lost()) else {
                return Poll::Ready(Ok(()));
            };
            if self.close.is_none() && frames.is_at_boundary() {
                self.close = Some(match frames.is_closed() {
                    true => Outbox::default(),
                    false => close_frame(frames.sender(), words),
                });
            }
            if let Some(close) = &mut self.close {
                ready!(close.poll_flush(context, sink))?;
                frames.pass(buffer.filled());
                buffer.consume(buffer.filled().len());
                if frames.is_closed() || frames.is_lost() {
                    return Poll::Ready(Ok(()));
                }
            }
            if buffer.is_empty() {
                if self.source_closed {
                    return Poll::Ready(Ok(()));
                }
                self.source_closed = ready!(buffer.poll_fill(context, source, 0))? == 0;
            } else {
                let frame = frames.to_boundary(buffer.filled());
                ready!(self.poll_copy(context, buffer, frame, sink))?;
            }
        }
    }
}

/// The close frame that goes the same way as a sender's frames.
fn close_frame(sender: Sender, words: &str) -> Outbox {
    let mut close = Outbox::default();
    // A mask protects what stands between a browser's script and the server (RFC 6455, 10.3): our
    // words are not a script's, so it may be any.
    let mask = (sender == Sender::Client).then_some([0x65, 0x62, 0x62, 0x21]);
    write_close(&mut close.bytes, GOING_AWAY, words, mask);
    close
}

/// What has just moved in a tunnel.
pub(crate) struct Moved {
    /// Some of it came from the user.
    pub by_user: bool,
    /// Bytes, both ways.
    pub bytes: u64,
}

/// What a tunnel carries, beside bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carries {
    WebSocket,
    Other,
}

/// Runs a tunnel between two connections. What either side has sent already is in the scratch, the
/// head of the 101 is in its outbox. `words` are what users of a WebSocket are told when its time is
/// over; `seen` hears of what moves. Returns how it ended and the bytes towards server and client.
pub(crate) async fn tunnel(
    (client, server): (&mut TcpStream, &mut TcpStream),
    watch: &mut Watch,
    scratch: &mut Scratch,
    (carries, silence_max): (Carries, Millis),
    mut seen: impl FnMut(Moved),
    words: impl FnOnce() -> String,
) -> (TunnelEnd, u64, u64) {
    let Scratch {
        inbound,
        outbound,
        to_client,
        ..
    } = scratch;
    let frames = |sender| (carries == Carries::WebSocket).then(|| Frames::new(sender));
    let mut up = Flow::new(frames(Sender::Client));
    let mut down = Flow::new(frames(Sender::Server));
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
                let by_user = std::mem::take(&mut up.moved);
                if by_user | std::mem::take(&mut down.moved) {
                    watch.set(silence_max);
                    let bytes = up.take_unseen() + down.take_unseen();
                    seen(Moved { by_user, bytes });
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
    let bytes = up.take_unseen() + down.take_unseen();
    seen(Moved {
        by_user: false,
        bytes,
    });
    if end == TunnelEnd::Cut && carries == Carries::WebSocket {
        let flows = (&mut up, &mut down);
        say_goodbye((client, server), watch, scratch, flows, &words()).await;
    }
    (end, up.bytes, down.bytes)
}

/// Tells both sides of a WebSocket that its time is over, for as long as [`GOODBYE`].
async fn say_goodbye(
    (client, server): (&mut TcpStream, &mut TcpStream),
    watch: &mut Watch,
    scratch: &mut Scratch,
    (up, down): (&mut Flow, &mut Flow),
    words: &str,
) {
    let Scratch {
        inbound,
        outbound,
        to_client,
        ..
    } = scratch;
    watch.set(GOODBYE);
    poll_fn(|context| {
        let begun = to_client.poll_flush(context, client);
        let upwards = up.poll_goodbye(context, (&mut *client, inbound), server, words);
        let downwards = match begun {
            Poll::Ready(Ok(())) => {
                down.poll_goodbye(context, (&mut *server, outbound), client, words)
            }
            other => other,
        };
        // Only time ends this early: that it is cut is known.
        let is_late = watch.poll(context) == Some(Interrupt::Timeout);
        match is_late || (upwards.is_ready() && downwards.is_ready()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}
