//! One direction of a body: decoded from one connection, framed anew for the other.

use crate::buffer::{Buffer, Outbox};
use crate::inject::{Insertion, Outcome};
use crate::splice::{Pipe, Pipes};
use ebbtide_protocol::http1::{
    BodyDecoder, BodyStep, Framing, Reject, write_chunk_head, write_last_chunk,
};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Chunks are gathered up to this many bytes before they are written.
const CHUNKS_BYTES: usize = 16 * 1024;

/// Why a body did not get through.
#[derive(Debug)]
pub(crate) enum Broken {
    /// Reading failed, or the sender closed too early.
    Source,
    /// Writing failed.
    Sink,
    /// The sender's framing is wrong.
    Malformed(Reject),
}

/// One direction of an exchange: a head that lies in an outbox, then a body that follows it.
pub(crate) struct Half {
    decoder: BodyDecoder,
    chunked: bool,
    /// All content bytes, where this is known from the start and goes out as it comes in.
    length: u64,
    /// Content bytes at the front of the buffer that may be written as they are.
    ready: usize,
    decoded: bool,
    /// What is wrong with what comes next; what came before it is passed on first.
    malformed: Option<Reject>,
    /// What is put into a page on its way.
    insertion: Option<Box<Insertion>>,
    /// Content bytes that have been written, or are about to be.
    pub bytes: u64,
    /// How many of these have been counted.
    counted: u64,
    /// When something moved last, as far as that was looked at.
    pub heard: Option<Instant>,
    /// Any byte at all has been written.
    pub begun: bool,
    /// Any byte of the body has been taken out of the buffer.
    pub touched: bool,
    /// Something moved since this was last reset.
    pub moved: bool,
    /// What it waits for now is the sender.
    pub starved: bool,
}

impl Half {
    /// A body that comes as `source` says and goes out as `sink` says.
    pub fn new(source: Framing, sink: Framing) -> Self {
        Self {
            decoder: BodyDecoder::new(source),
            chunked: sink == Framing::Chunked,
            length: match source {
                Framing::Length(bytes) if sink == source => bytes,
                _ => 0,
            },
            ready: 0,
            decoded: false,
            malformed: None,
            insertion: None,
            bytes: 0,
            counted: 0,
            heard: None,
            begun: false,
            touched: false,
            moved: false,
            starved: false,
        }
    }

    /// Has this put into the body, of which the length out is then not known.
    pub fn insert(&mut self, insertion: Option<Box<Insertion>>) {
        debug_assert!(
            insertion.is_none() || self.length == 0,
            "what goes through a pipe is not changed"
        );
        self.insertion = insertion;
    }

    /// What became of the insertion, if there is one.
    pub fn outcome(&self) -> Option<Outcome> {
        self.insertion.as_ref().map(|insertion| insertion.outcome())
    }

    /// Borrows a pipe for what is still to come into the buffer, if that is much and goes through
    /// unchanged.
    pub fn lend_pipe(&self, pipes: &Rc<Pipes>, buffer: &mut Buffer) {
        let missing = self.left().saturating_sub(buffer.filled().len() as u64);
        buffer.pipe = buffer.pipe.take().or_else(|| pipes.lend(missing));
    }

    /// Content bytes that have not been counted; now they have.
    pub fn uncounted(&mut self) -> u64 {
        self.bytes - std::mem::replace(&mut self.counted, self.bytes)
    }

    /// Content bytes that have not been written, where their number is known.
    fn left(&self) -> u64 {
        self.length.saturating_sub(self.bytes)
    }

    /// Moves what can be moved; ready when all of it has been written.
    pub fn poll(
        &mut self,
        context: &mut Context<'_>,
        (source, buffer): (&mut TcpStream, &mut Buffer),
        (sink, outbox): (&mut TcpStream, &mut Outbox),
    ) -> Poll<Result<(), Broken>> {
        loop {
            self.starved = false;
            self.decode(buffer, outbox);
            if self.ready > 0 || !outbox.is_empty() {
                ready!(self.poll_write(context, buffer, sink, outbox)).map_err(|_| Broken::Sink)?;
                continue;
            }
            if let Some(reject) = self.malformed {
                return Poll::Ready(Err(Broken::Malformed(reject)));
            }
            if self.decoded {
                return Poll::Ready(Ok(()));
            }
            if let Some(pipe) = &mut buffer.pipe {
                let is_through = ready!(self.poll_splice(context, source, pipe, sink))?;
                if !is_through {
                    self.decoder = BodyDecoder::new(Framing::Length(self.left()));
                    buffer.pipe = None;
                    continue;
                }
                return Poll::Ready(Ok(()));
            }
            self.starved = true;
            let read = ready!(buffer.poll_fill(context, source, 0));
            self.moved = true;
            match read {
                Ok(0) | Err(_) => self.source_closed(outbox, read.is_ok())?,
                Ok(_) => {}
            }
        }
    }

    /// Moves all the rest through the pipe; `false` if the system does not do that.
    fn poll_splice(
        &mut self,
        context: &mut Context<'_>,
        source: &TcpStream,
        pipe: &mut Pipe,
        sink: &TcpStream,
    ) -> Poll<Result<bool, Broken>> {
        while self.left() > 0 {
            self.starved = pipe.is_empty();
            if pipe.is_empty() {
                let read = ready!(pipe.poll_fill(context, source, self.left()));
                match read {
                    Ok(bytes) if bytes > 0 => (self.touched, self.moved) = (true, true),
                    Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                        return Poll::Ready(Ok(false));
                    }
                    _ => return Poll::Ready(Err(Broken::Source)),
                }
            } else {
                let written = ready!(pipe.poll_empty(context, sink)).map_err(|_| Broken::Sink)?;
                self.moved = true;
                self.bytes += written as u64;
            }
        }
        self.decoded = true;
        Poll::Ready(Ok(true))
    }

    fn source_closed(&mut self, outbox: &mut Outbox, orderly: bool) -> Result<(), Broken> {
        if !orderly || self.decoder.finish().is_err() {
            return Err(Broken::Source);
        }
        self.finish(outbox);
        Ok(())
    }

    fn finish(&mut self, outbox: &mut Outbox) {
        self.decoded = true;
        if self.outcome() == Some(Outcome::Looking) {
            let rest = self.insertion.as_mut().map(|insertion| insertion.end());
            self.bytes += put(&rest.unwrap_or_default(), self.chunked, outbox);
        }
        if self.chunked {
            // They may be sums over the page as it was.
            let holds = self.insertion.is_none();
            let trailers = self.decoder.trailers().filter(|_| holds);
            write_last_chunk(&mut outbox.bytes, trailers);
        }
    }

    /// Decodes what is in the buffer, as far as there is room for it.
    fn decode(&mut self, buffer: &mut Buffer, outbox: &mut Outbox) {
        while self.ready == 0
            && !self.decoded
            && self.malformed.is_none()
            && outbox.rest().len() < CHUNKS_BYTES
        {
            let step = match self.decoder.decode(buffer.filled()) {
                Ok(step) => step,
                Err(reject) => {
                    self.malformed = Some(reject);
                    break;
                }
            };
            let (BodyStep::Data { skip, .. } | BodyStep::More { skip } | BodyStep::Done { skip }) =
                step;
            buffer.consume(skip);
            self.touched |= skip > 0;
            match step {
                BodyStep::Data { data, .. } if self.outcome() == Some(Outcome::Looking) => {
                    self.look_through(buffer, data, outbox);
                }
                BodyStep::Data { data, .. } if self.chunked => {
                    self.bytes += put(&[&buffer.filled()[..data]], true, outbox);
                    buffer.consume(data);
                    self.touched = true;
                }
                BodyStep::Data { data, .. } => self.ready = data,
                BodyStep::More { .. } => break,
                BodyStep::Done { .. } => self.finish(outbox),
            }
        }
    }

    /// Passes what has come on to where the place for the insertion is looked for.
    fn look_through(&mut self, buffer: &mut Buffer, bytes: usize, outbox: &mut Outbox) {
        let piece = &buffer.filled()[..bytes];
        let insertion = self.insertion.as_mut();
        let released = insertion.and_then(|insertion| insertion.take(piece));
        self.bytes += put(&released.unwrap_or_default(), self.chunked, outbox);
        buffer.consume(bytes);
        self.touched = true;
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
        sink: &mut TcpStream,
        outbox: &mut Outbox,
    ) -> Poll<io::Result<()>> {
        let (head, body) = (outbox.rest(), &buffer.filled()[..self.ready]);
        let sink = Pin::new(sink);
        let written = match (head.is_empty(), body.is_empty()) {
            (false, true) => ready!(sink.poll_write(context, head))?,
            (true, _) => ready!(sink.poll_write(context, body))?,
            (false, false) => {
                let both = [IoSlice::new(head), IoSlice::new(body)];
                ready!(sink.poll_write_vectored(context, &both))?
            }
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        (self.begun, self.moved) = (true, true);
        let of_head = written.min(head.len());
        let of_body = written - of_head;
        outbox.advance(of_head);
        buffer.consume(of_body);
        self.touched |= of_body > 0;
        self.ready -= of_body;
        self.bytes += of_body as u64;
        Poll::Ready(Ok(()))
    }
}

/// Puts content into the outbox, as one chunk if that is how the body goes out; how much it is.
fn put(parts: &[&[u8]], chunked: bool, outbox: &mut Outbox) -> u64 {
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    if bytes == 0 {
        return 0;
    }
    if chunked {
        write_chunk_head(&mut outbox.bytes, bytes);
    }
    for part in parts {
        outbox.bytes.extend_from_slice(part);
    }
    if chunked {
        outbox.bytes.extend_from_slice(b"\r\n");
    }
    bytes as u64
}
