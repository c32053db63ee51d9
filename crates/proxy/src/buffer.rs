//! Memory that a connection borrows while it serves a request.

use crate::exchanger::Exchanger;
use crate::splice::Pipe;
use ebbtide_protocol::http1::{RequestHead, ResponseHead};
use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The first size of a buffer, in bytes.
const BUFFER_BYTES: usize = 16 * 1024;
/// The size that a buffer grows to for a large body, in bytes.
const BODY_BUFFER_BYTES: usize = 64 * 1024;
/// Less room than this makes a buffer grow, in bytes.
const ROOM_BYTES_MIN: usize = 4 * 1024;

/// Bytes that have been read and not yet been used. The head of a message can be held at the
/// front, so that what was parsed stays readable while the body flows through behind it.
pub(crate) struct Buffer {
    data: Vec<u8>,
    held: (usize, usize),
    start: usize,
    end: usize,
    /// It has been filled to its end: more room would have been of use.
    was_full: bool,
    /// The way past it, for what is still to come of a large body.
    pub pipe: Option<Pipe>,
}

impl Buffer {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            data: vec![0; BUFFER_BYTES],
            held: (0, 0),
            start: 0,
            end: 0,
            was_full: false,
            pipe: None,
        }
    }

    /// What has been read and not yet used.
    pub fn filled(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    /// Whether there is nothing to use.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Marks the first `bytes` as used.
    pub fn consume(&mut self, bytes: usize) {
        self.start = (self.start + bytes).min(self.end);
        if self.start == self.end {
            self.start = self.held.1;
            self.end = self.held.1;
        }
    }

    /// Holds the first `bytes`: used, but still readable through [`Buffer::held`].
    pub fn hold(&mut self, bytes: usize) {
        self.held = (self.start, self.start + bytes);
        self.consume(bytes);
    }

    /// What is held.
    pub fn held(&self) -> &[u8] {
        &self.data[self.held.0..self.held.1]
    }

    /// Lets go of what was held.
    pub fn release(&mut self) {
        self.pipe = None;
        self.held = (0, 0);
        self.consume(0);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        (self.held, self.start, self.end) = ((0, 0), 0, 0);
        (self.was_full, self.pipe) = (false, None);
    }

    /// Reads once from `stream`. 0 means that the peer has closed its side, or that the buffer has
    /// `bytes_max` and is full; a body, of which each piece is used before the next, has no bound (0).
    pub fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut TcpStream,
        bytes_max: usize,
    ) -> Poll<io::Result<usize>> {
        // A head alone is no reason to grow: a large body may come past the buffer.
        if self.was_full && bytes_max == 0 && self.data.len() < BODY_BUFFER_BYTES {
            self.data.resize(self.data.len() * 2, 0);
        }
        self.make_room(bytes_max);
        let mut room = ReadBuf::new(&mut self.data[self.end..]);
        ready!(Pin::new(stream).poll_read(context, &mut room))?;
        let bytes = room.filled().len();
        self.was_full = room.remaining() == 0;
        self.end += bytes;
        Poll::Ready(Ok(bytes))
    }

    fn make_room(&mut self, bytes_max: usize) {
        let room = self.data.len() - self.end;
        if room >= ROOM_BYTES_MIN {
            return;
        }
        let base = self.held.1;
        if self.start > base {
            self.data.copy_within(self.start..self.end, base);
            self.end -= self.start - base;
            self.start = base;
        }
        let wanted = bytes_max.max(base) + ROOM_BYTES_MIN;
        if self.data.len() - self.end < ROOM_BYTES_MIN && self.data.len() < wanted {
            self.data.resize((self.data.len() * 2).min(wanted), 0);
        }
    }
}

/// Bytes on their way out.
#[derive(Default)]
pub(crate) struct Outbox {
    pub bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    /// What has not been written yet.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Whether everything has been written.
    pub fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Marks the first `bytes` of the rest as written.
    pub fn advance(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.is_empty() {
            self.clear();
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
    }

    /// Writes all of it.
    pub fn poll_flush(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut TcpStream,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            match ready!(Pin::new(&mut *stream).poll_write(context, self.rest()))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.advance(bytes),
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// What one request needs. Idle connections have none; it is lent by the worker.
pub(crate) struct Scratch {
    /// From the client; the request's head is held in it.
    pub inbound: Buffer,
    pub request: RequestHead,
    pub to_server: Outbox,
    /// From the server.
    pub outbound: Buffer,
    pub response: ResponseHead,
    pub to_client: Outbox,
    /// The value of our own `Set-Cookie`.
    pub cookie: Vec<u8>,
    /// Absent before the first exchange, and during each.
    pub exchanger: Option<Exchanger>,
}

impl Scratch {
    fn new() -> Box<Self> {
        Box::new(Self {
            inbound: Buffer::new(),
            request: RequestHead::default(),
            to_server: Outbox::default(),
            outbound: Buffer::new(),
            response: ResponseHead::default(),
            to_client: Outbox::default(),
            cookie: Vec::new(),
            exchanger: None,
        })
    }

    fn buffer_bytes(&self) -> usize {
        self.inbound.data.len() + self.outbound.data.len()
    }
}

/// The scratches that a worker has to lend.
#[derive(Default)]
pub(crate) struct Scratches {
    #[expect(
        clippy::vec_box,
        reason = "they are lent in their boxes, and never moved"
    )]
    kept: RefCell<Vec<Box<Scratch>>>,
    /// Of the buffers of those that are kept.
    bytes: Cell<usize>,
}

/// Memory of scratches that are kept for later, in bytes: 1,024 as they are made, 256 that have
/// carried large bodies both ways. What is more is given back to the system.
const SCRATCHES_BYTES_MAX: usize = 32 * 1024 * 1024;

impl Scratches {
    /// Lends one.
    pub fn take(&self) -> Box<Scratch> {
        let Some(scratch) = self.kept.borrow_mut().pop() else {
            return Scratch::new();
        };
        self.bytes.set(self.bytes.get() - scratch.buffer_bytes());
        scratch
    }

    /// Takes one back.
    pub fn give_back(&self, mut scratch: Box<Scratch>) {
        let bytes = self.bytes.get() + scratch.buffer_bytes();
        if bytes <= SCRATCHES_BYTES_MAX {
            self.bytes.set(bytes);
            scratch.inbound.clear();
            scratch.outbound.clear();
            scratch.to_server.clear();
            scratch.to_client.clear();
            self.kept.borrow_mut().push(scratch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_that_is_kept_is_bounded() {
        let scratches = Scratches::default();
        let many = SCRATCHES_BYTES_MAX / (2 * BUFFER_BYTES) + 1;
        let lent: Vec<_> = (0..many).map(|_| scratches.take()).collect();
        for scratch in lent {
            scratches.give_back(scratch);
        }
        assert_eq!(scratches.kept.borrow().len(), many - 1);
        let mut grown = scratches.take();
        grown.outbound.data.resize(BODY_BUFFER_BYTES, 0);
        scratches.give_back(grown);
        assert_eq!(scratches.kept.borrow().len(), many - 2);
        for _ in 1..many - 1 {
            drop(scratches.take());
        }
        assert_eq!(scratches.bytes.get(), 0);
    }
}
