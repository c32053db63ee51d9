//! Bytes both ways between two connections. Little is copied, through a buffer that all connections of
//! the worker share, so that one that rests holds no memory; much goes from socket to socket within
//! the kernel.

use super::telnet::Telnet;
use crate::buffer::Outbox;
use crate::splice::Pipe;
use crate::timer::{Interrupt, Watch};
use crate::worker::Worker;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Readings in a row that fill the shared buffer before the kernel is asked to do it: a flow of so
/// much is no conversation.
const FULL_READINGS_MIN: u8 = 2;
/// A pipe that brings fewer bytes was not worth it.
const LITTLE_BYTES: usize = 16 * 1024;

/// A server that ends a connection so soon, and without a word, does not want it.
const AT_ONCE: Duration = Duration::from_secs(1);

/// How the bytes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlowEnd {
    /// Both sides closed.
    Closed,
    /// One side broke.
    Broken,
    /// Something else ended it.
    Interrupted(Interrupt),
}

/// What has just moved, in bytes.
pub(super) struct Moved {
    /// Towards the server.
    pub up: u64,
    /// Towards the client.
    pub down: u64,
}

/// Both directions of a connection.
#[derive(Default)]
pub(super) struct Both {
    up: Flow,
    down: Flow,
    /// The server ended it at once, without a word.
    pub ended_at_once: bool,
}

/// One direction.
#[derive(Default)]
struct Flow {
    /// What was read and could not be written at once.
    left: Outbox,
    pipe: Option<Pipe>,
    /// Who tells the user of notices in between.
    telnet: Option<Box<Telnet>>,
    full_readings: u8,
    bytes: u64,
    unseen: u64,
    source_closed: bool,
    done: bool,
}

impl Flow {
    /// Moves what there is; ready when the source has closed and the sink has been told.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        source: &mut TcpStream,
        sink: &mut TcpStream,
        worker: &Worker,
    ) -> Poll<io::Result<()>> {
        while !self.done {
            if let Some(telnet) = &mut self.telnet {
                telnet.speak(&mut self.left.bytes);
            }
            ready!(self.poll_flush(context, sink))?;
            if self.source_closed {
                ready!(Pin::new(&mut *sink).poll_shutdown(context))?;
                self.done = true;
            } else if self.full_readings >= FULL_READINGS_MIN {
                ready!(self.poll_splice(context, source, worker))?;
            } else {
                ready!(self.poll_copy(context, source, sink, worker))?;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what was taken from the source already.
    fn poll_flush(
        &mut self,
        context: &mut Context<'_>,
        sink: &mut TcpStream,
    ) -> Poll<io::Result<()>> {
        while let Some(pipe) = &mut self.pipe {
            if pipe.is_empty() {
                // It is of use to others while this flow waits.
                self.pipe = None;
                break;
            }
            let bytes = ready!(pipe.poll_empty(context, sink))?;
            self.count(bytes);
        }
        let before = self.left.rest().len();
        let flushed = self.left.poll_flush(context, sink);
        self.count(before - self.left.rest().len());
        flushed
    }

    /// Reads once, and writes as much of it as the sink takes.
    fn poll_copy(
        &mut self,
        context: &mut Context<'_>,
        source: &mut TcpStream,
        sink: &mut TcpStream,
        worker: &Worker,
    ) -> Poll<io::Result<()>> {
        let mut shared = worker.copy_buffer.borrow_mut();
        let mut room = ReadBuf::new(&mut shared);
        ready!(Pin::new(source).poll_read(context, &mut room))?;
        let is_full = room.remaining() == 0;
        let read = room.filled();
        self.full_readings = match is_full && self.telnet.is_none() {
            true => self.full_readings.saturating_add(1),
            false => 0,
        };
        self.source_closed = read.is_empty();
        if read.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if let Some(telnet) = &mut self.telnet {
            telnet.weave(read, &mut self.left.bytes);
            return Poll::Ready(Ok(()));
        }
        let written = match Pin::new(sink).poll_write(context, read) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        self.left.bytes.extend_from_slice(&read[written..]);
        self.count(written);
        Poll::Ready(Ok(()))
    }

    /// Takes a pipe full. Without a pipe, and where it brings little, it is copied again.
    fn poll_splice(
        &mut self,
        context: &mut Context<'_>,
        source: &mut TcpStream,
        worker: &Worker,
    ) -> Poll<io::Result<()>> {
        let Some(mut pipe) = worker.pipes.lend(u64::MAX) else {
            self.full_readings = 0;
            return Poll::Ready(Ok(()));
        };
        match ready!(pipe.poll_fill(context, source, u64::MAX)) {
            Ok(bytes) => {
                self.source_closed = bytes == 0;
                if bytes < LITTLE_BYTES {
                    self.full_readings = 0;
                }
                self.pipe = Some(pipe);
            }
            Err(error) if error.kind() == io::ErrorKind::Unsupported => self.full_readings = 0,
            Err(error) => return Poll::Ready(Err(error)),
        }
        Poll::Ready(Ok(()))
    }

    fn count(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.unseen += bytes as u64;
    }

    /// Writes what was taken from the source, tells the sink that no more comes, and drops what else
    /// the source sends until it closes too. Ready when that is done, or cannot be.
    fn poll_farewell(
        &mut self,
        context: &mut Context<'_>,
        source: &mut TcpStream,
        sink: &mut TcpStream,
        worker: &Worker,
    ) -> Poll<io::Result<()>> {
        if !self.done {
            ready!(self.poll_flush(context, sink))?;
            ready!(Pin::new(&mut *sink).poll_shutdown(context))?;
            self.done = true;
        }
        while !self.source_closed {
            let mut shared = worker.copy_buffer.borrow_mut();
            let mut room = ReadBuf::new(&mut shared);
            ready!(Pin::new(&mut *source).poll_read(context, &mut room))?;
            self.source_closed = room.filled().is_empty();
        }
        Poll::Ready(Ok(()))
    }
}

impl Both {
    /// Bytes so far, towards the server and towards the client.
    pub fn bytes(&self) -> (u64, u64) {
        (self.up.bytes, self.down.bytes)
    }

    /// Notices are written into what the server sends.
    pub fn tell_by_telnet(&mut self) {
        self.down.telnet = Some(Box::new(Telnet::new()));
    }

    /// What the server is sent before the client's first byte.
    pub fn begin_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.up.left.bytes);
    }

    /// Carries bytes between `client` and `server`, connected since `began`, until both have closed, one breaks, or the watch
    /// ends it; `seen` hears of what has moved.
    pub async fn run(
        &mut self,
        (client, server, began): (&mut TcpStream, &mut TcpStream, Instant),
        watch: &mut Watch,
        worker: &Worker,
        mut seen: impl FnMut(&mut Watch, Moved),
    ) -> FlowEnd {
        poll_fn(|context| {
            if let Some(telnet) = &mut self.down.telnet {
                let now = worker.now();
                telnet.look(context, watch.flight.notice(), now);
                telnet.hear(watch.flight.said(now.moment));
            }
            let up = self.up.poll(context, client, server, worker);
            let down = self.down.poll(context, server, client, worker);
            let moved = Moved {
                up: std::mem::take(&mut self.up.unseen),
                down: std::mem::take(&mut self.down.unseen),
            };
            if moved.up + moved.down > 0 {
                seen(watch, moved);
            }
            let is_refused = self.down.source_closed || matches!(down, Poll::Ready(Err(_)));
            if is_refused && self.down.bytes == 0 && !self.up.source_closed {
                self.ended_at_once |= began.elapsed() < AT_ONCE;
            }
            match (up, down) {
                (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => Poll::Ready(FlowEnd::Broken),
                (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(FlowEnd::Closed),
                _ => match watch.poll(context) {
                    Some(interrupt) => Poll::Ready(FlowEnd::Interrupted(interrupt)),
                    None => Poll::Pending,
                },
            }
        })
        .await
    }

    /// Ends both directions in order, until the watch's timer runs out.
    pub async fn say_farewell(
        &mut self,
        (client, server): (&mut TcpStream, &mut TcpStream),
        watch: &mut Watch,
        worker: &Worker,
    ) {
        if let Some(telnet) = &mut self.down.telnet {
            telnet.say_end(&mut self.down.left.bytes);
        }
        poll_fn(|context| {
            let up = self.up.poll_farewell(context, client, server, worker);
            let down = self.down.poll_farewell(context, server, client, worker);
            // Only time ends this early: that it is cut is known.
            let is_late = watch.poll(context) == Some(Interrupt::Timeout);
            match is_late || (up.is_ready() && down.is_ready()) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}
