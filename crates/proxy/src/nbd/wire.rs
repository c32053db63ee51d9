//! A connection to a server, once requests may be sent: what it answers goes to the client under the
//! client's cookies. Data passes through a buffer that all connections of the worker share, or within
//! the kernel.

use super::join::Connected;
use super::ledger::{Ledger, UnderWay};
use crate::buffer::Outbox;
use crate::splice::Pipe;
use crate::upstream::Upstream;
use crate::worker::Worker;
use ebbtide_protocol::nbd::{
    ALLOCATION_CONTEXT_ID, Command, Content, ErrorNumber, Negotiated, ReplyFault, ReplyHead,
    ReplyReader, ReplyStep, Request, write_data_chunk_head, write_done_chunk, write_error,
    write_hole_chunk, write_simple_reply, write_status_chunk_head,
};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Data of which more than this is to come goes within the kernel, in bytes.
const SPLICE_BYTES_MIN: u32 = 64 * 1024;
/// Of block status so many extents are passed on: a server may tell of less than it was asked.
const EXTENTS_MAX: u32 = 4096;
/// The length of an extent.
const EXTENT_BYTES: u32 = 8;

/// Why a server is given up.
#[derive(Debug)]
pub(super) enum Loss {
    /// It closed the connection.
    Closed,
    /// The connection broke.
    Broken(io::Error),
    /// What it sent is no answer.
    Nonsense(ReplyFault),
    /// It did not answer in time.
    Silent,
    /// It says that it is shutting down.
    ShuttingDown,
    /// It could not read what another server could.
    CannotMend,
    /// Its copy is not the one that the session began on.
    OtherCopy,
    /// Its time is over.
    Over,
    /// An operator wants to see what happens then.
    Drill,
}

impl Loss {
    /// Whether what the server was asked for may be what it was lost over.
    pub fn is_suspect(&self) -> bool {
        match self {
            Self::Closed | Self::Broken(_) | Self::Nonsense(_) | Self::Silent => true,
            Self::ShuttingDown | Self::CannotMend | Self::OtherCopy => false,
            Self::Over | Self::Drill => false,
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("it closed the connection"),
            Self::Broken(error) => write!(f, "the connection broke: {error}"),
            Self::Nonsense(fault) => write!(f, "{fault}"),
            Self::Silent => f.write_str("it did not answer in time"),
            Self::ShuttingDown => f.write_str("it is shutting down"),
            Self::CannotMend => f.write_str("it failed to read what another server could"),
            Self::OtherCopy => f.write_str("its copy is no longer the one that was begun on"),
            Self::Over => f.write_str("its time is over"),
            Self::Drill => f.write_str("it was cut off for a drill"),
        }
    }
}

/// What goes to the client, in this order: what is in the pipe, then bytes.
#[derive(Default)]
pub(super) struct Down {
    pub outbox: Outbox,
    pipe: Option<Pipe>,
    /// Bytes that have gone.
    pub bytes: u64,
}

impl Down {
    /// Writes everything.
    pub fn poll_flush(
        &mut self,
        context: &mut Context<'_>,
        client: &mut TcpStream,
    ) -> Poll<io::Result<()>> {
        while let Some(pipe) = &mut self.pipe {
            if pipe.is_empty() {
                self.pipe = None;
                break;
            }
            self.bytes += ready!(pipe.poll_empty(context, client))? as u64;
        }
        let before = self.outbox.rest().len();
        let flushed = self.outbox.poll_flush(context, client);
        self.bytes += (before - self.outbox.rest().len()) as u64;
        flushed
    }

    /// Whether everything is written.
    pub fn is_empty(&self) -> bool {
        self.outbox.is_empty() && self.pipe.as_ref().is_none_or(Pipe::is_empty)
    }
}

/// Where the payload goes that is under way.
enum Sink {
    /// To the client.
    Client(UnderWay, u64),
    /// To what is mended: where the next byte belongs.
    Mend { id: u64, offset: u64, is_last: bool },
    /// To the client when it is whole; the bytes that are wanted.
    Status {
        id: u64,
        bytes: Vec<u8>,
        wanted: usize,
        is_last: bool,
    },
    /// Nowhere.
    Nowhere { id: u64, is_last: bool },
}

/// What a server that owes answers has done since some time.
struct Window {
    since: Instant,
    bytes: u64,
    answers: u64,
}

/// A connection to a server.
pub(super) struct Wire {
    pub upstream: Upstream,
    pub agreed: Negotiated,
    reader: ReplyReader,
    out: Outbox,
    /// The beginning of a head.
    inbox: Vec<u8>,
    sink: Sink,
    /// The server's epoch when the session went there.
    pub epoch: u32,
    pub began: Instant,
    /// When it was last heard from, or first asked.
    pub heard: Instant,
    window: Window,
    /// Requests that it has answered.
    pub answers: u64,
    /// Its last answer was not taken.
    is_refused: bool,
    /// Answers are in chunks towards the client.
    in_chunks: bool,
}

impl Wire {
    /// A connection that carries the answers of a client that takes them in chunks or not.
    pub fn new(connected: Connected, epoch: u32, in_chunks: bool) -> Self {
        let now = Instant::now();
        Self {
            reader: ReplyReader::new(&connected.agreed),
            agreed: connected.agreed,
            upstream: connected.upstream,
            out: Outbox::default(),
            inbox: Vec::new(),
            sink: Sink::Nowhere {
                id: 0,
                is_last: false,
            },
            epoch,
            began: now,
            heard: now,
            window: Window {
                since: now,
                bytes: 0,
                answers: 0,
            },
            answers: 0,
            is_refused: false,
            in_chunks,
        }
    }

    /// Whether it owes an answer.
    pub fn is_asked(&self) -> bool {
        self.reader.outstanding().len() > 0
    }

    /// Whether the client has the beginning of a piece of data of which more is to come.
    pub fn is_within_payload(&self) -> bool {
        self.reader.payload_rest() > 0 && matches!(self.sink, Sink::Client(..))
    }

    /// Sends what is to be sent next; what needs no server goes to the client. What a server was lost
    /// with is sent only if this one `may_try`.
    pub fn ask(&mut self, ledger: &mut Ledger, down: &mut Down, may_try: bool) {
        let was_asked = self.is_asked();
        ledger.send(
            &mut self.reader,
            &mut self.out.bytes,
            &mut down.outbox.bytes,
            (&self.agreed, may_try),
        );
        if !was_asked && self.is_asked() {
            self.forgive(Instant::now());
        }
    }

    /// Its silence counts from now on.
    pub fn forgive(&mut self, now: Instant) {
        self.heard = now;
        self.window = Window {
            since: now,
            bytes: 0,
            answers: self.answers,
        };
    }

    /// Whether it has sent less than this and finished nothing within `span`.
    pub fn is_trickling(&mut self, now: Instant, span: Duration, bytes_min: u64) -> bool {
        if now < self.window.since + span {
            return false;
        }
        let is_trickling = self.window.bytes < bytes_min && self.window.answers == self.answers;
        self.window = Window {
            since: now,
            bytes: 0,
            answers: self.answers,
        };
        is_trickling
    }

    /// Writes bytes of a request's payload.
    pub fn write(&mut self, bytes: &[u8]) {
        self.out.bytes.extend_from_slice(bytes);
    }

    /// Writes what is to be sent. Ready when nothing is left.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Loss>> {
        self.out
            .poll_flush(context, &mut self.upstream.stream)
            .map_err(Loss::Broken)
    }

    /// Says goodbye, if that can be done at once, and closes.
    pub fn leave(mut self) {
        let goodbye = Request {
            flags: 0,
            command: Command::Disconnect,
            cookie: 0,
            offset: 0,
            length: 0,
        };
        goodbye.write(&mut self.out.bytes);
        // Who does not take it sees the end of the connection.
        let _ = self.upstream.stream.try_write(self.out.rest());
    }

    /// Gives back what it has not answered; `is_suspect`: the server was lost, maybe over that.
    pub fn give_back(self, ledger: &mut Ledger, is_suspect: bool) {
        let to_client = match self.sink {
            Sink::Client(under_way, _) => Some(under_way),
            _ => None,
        };
        let lost = is_suspect.then_some(self.upstream.lane.key);
        ledger.take_back(&self.reader, to_client, self.is_refused, lost);
    }

    /// Reads once, and passes on what came. Call it only when the client has taken everything.
    pub fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        worker: &Worker,
        ledger: &mut Ledger,
        down: &mut Down,
    ) -> Poll<Result<(), Loss>> {
        if let Some(done) = self.poll_splice(context, worker, ledger, down) {
            return done;
        }
        let mut shared = worker.copy_buffer.borrow_mut();
        let kept = self.inbox.len();
        let mut room = ReadBuf::new(&mut shared[kept..]);
        ready!(Pin::new(&mut self.upstream.stream).poll_read(context, &mut room))
            .map_err(Loss::Broken)?;
        let read = room.filled().len();
        if read == 0 {
            return Poll::Ready(Err(Loss::Closed));
        }
        shared[..kept].copy_from_slice(&self.inbox);
        self.hear(read);
        let bytes = &shared[..kept + read];
        let taken = self.digest(bytes, ledger, &mut down.outbox.bytes)?;
        self.inbox.clear();
        self.inbox.extend_from_slice(&bytes[taken..]);
        Poll::Ready(Ok(()))
    }

    fn hear(&mut self, bytes: usize) {
        self.heard = Instant::now();
        self.window.bytes += bytes as u64;
    }

    /// Takes a pipe full of data that is on its way to the client; `None`: it is to be copied.
    fn poll_splice(
        &mut self,
        context: &mut Context<'_>,
        worker: &Worker,
        ledger: &mut Ledger,
        down: &mut Down,
    ) -> Option<Poll<Result<(), Loss>>> {
        let rest = self.reader.payload_rest();
        if !self.is_within_payload() || rest < SPLICE_BYTES_MIN || !self.inbox.is_empty() {
            return None;
        }
        let mut pipe = worker.pipes.lend(u64::from(rest))?;
        match pipe.poll_fill(context, &self.upstream.stream, u64::from(rest)) {
            Poll::Pending => Some(Poll::Pending),
            Poll::Ready(Ok(0)) => Some(Poll::Ready(Err(Loss::Closed))),
            Poll::Ready(Ok(bytes)) => {
                down.pipe = Some(pipe);
                self.hear(bytes);
                // No more than `rest` was asked for.
                self.passed(bytes as u32, ledger, &mut down.outbox.bytes);
                Some(Poll::Ready(Ok(())))
            }
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Unsupported => None,
            Poll::Ready(Err(error)) => Some(Poll::Ready(Err(Loss::Broken(error)))),
        }
    }

    /// Goes through what came; returns how much of it is done with. The rest is less than a head.
    fn digest(
        &mut self,
        bytes: &[u8],
        ledger: &mut Ledger,
        client: &mut Vec<u8>,
    ) -> Result<usize, Loss> {
        let mut taken = 0;
        loop {
            let rest = &bytes[taken..];
            let payload = self.reader.payload_rest() as usize;
            if payload > 0 {
                let piece = &rest[..payload.min(rest.len())];
                if piece.is_empty() {
                    return Ok(taken);
                }
                self.deliver(piece, ledger, client);
                taken += piece.len();
                continue;
            }
            match self.reader.read(rest).map_err(Loss::Nonsense)? {
                (_, ReplyStep::NeedMore) => return Ok(taken),
                (head_bytes, ReplyStep::Head(head)) => {
                    taken += head_bytes;
                    self.head(head, ledger, client)?;
                }
            }
        }
    }

    /// A simple reply or a chunk begins.
    fn head(
        &mut self,
        head: ReplyHead,
        ledger: &mut Ledger,
        client: &mut Vec<u8>,
    ) -> Result<(), Loss> {
        let ReplyHead {
            cookie: id,
            content,
            is_last,
        } = head;
        if ledger.is_mend(id) {
            self.mend_head(id, &content, is_last)?;
        } else {
            self.client_head(id, content, is_last, ledger, client)?;
        }
        if self.reader.payload_rest() == 0 {
            self.end_of_payload(ledger, client);
        }
        Ok(())
    }

    fn mend_head(&mut self, id: u64, content: &Content, is_last: bool) -> Result<(), Loss> {
        let offset = match content {
            Content::Data { offset, .. } => *offset,
            // They are zeroes already.
            Content::Hole { .. } | Content::Done => 0,
            Content::Status { .. } | Content::Error { .. } => {
                self.is_refused = is_last;
                return Err(Loss::CannotMend);
            }
        };
        self.sink = Sink::Mend {
            id,
            offset,
            is_last,
        };
        Ok(())
    }

    fn client_head(
        &mut self,
        id: u64,
        content: Content,
        is_last: bool,
        ledger: &mut Ledger,
        client: &mut Vec<u8>,
    ) -> Result<(), Loss> {
        self.sink = Sink::Nowhere { id, is_last };
        let Some(asked) = ledger.get(id).filter(|asked| !asked.answered) else {
            return Ok(());
        };
        let cookie = asked.request.cookie;
        if let Content::Status { extents } = content {
            let wanted = (extents.min(EXTENTS_MAX) * EXTENT_BYTES) as usize;
            let bytes = Vec::with_capacity(wanted);
            self.sink = Sink::Status {
                id,
                bytes,
                wanted,
                is_last,
            };
            return Ok(());
        }
        if let Content::Error {
            error: ErrorNumber::ShuttingDown,
            ..
        } = content
        {
            self.is_refused = is_last;
            return Err(Loss::ShuttingDown);
        }
        asked.touched = true;
        match content {
            Content::Data { offset, length } => {
                match (self.in_chunks, length) {
                    (true, 0) => write_done_chunk(client, cookie),
                    (true, _) => write_data_chunk_head(client, cookie, offset, length, is_last),
                    (false, _) => write_simple_reply(client, cookie),
                }
                self.sink = Sink::Client(UnderWay { is_last }, id);
            }
            Content::Hole { offset, length } => {
                write_hole_chunk(client, cookie, offset, length, is_last);
            }
            Content::Error { error, message, .. } => {
                // It ends the answer, whatever the server still has to say of it.
                asked.answered = true;
                write_error(client, self.in_chunks, cookie, error, &message);
            }
            Content::Done if self.in_chunks => write_done_chunk(client, cookie),
            Content::Done | Content::Status { .. } => write_simple_reply(client, cookie),
        }
        Ok(())
    }

    /// Data or block status.
    fn deliver(&mut self, piece: &[u8], ledger: &mut Ledger, client: &mut Vec<u8>) {
        match &mut self.sink {
            Sink::Client(..) => client.extend_from_slice(piece),
            Sink::Mend { id, offset, .. } => {
                // The reader let nothing through that is outside of what was asked.
                if let Some(place) = ledger.mend_place(*id, *offset) {
                    let bytes = piece.len().min(place.len());
                    place[..bytes].copy_from_slice(&piece[..bytes]);
                }
                *offset += piece.len() as u64;
            }
            Sink::Status { bytes, wanted, .. } => {
                let missing = *wanted - bytes.len();
                bytes.extend_from_slice(&piece[..piece.len().min(missing)]);
            }
            Sink::Nowhere { .. } => {}
        }
        // A payload is at most 4 GiB long.
        self.passed(piece.len() as u32, ledger, client);
    }

    fn passed(&mut self, bytes: u32, ledger: &mut Ledger, client: &mut Vec<u8>) {
        self.reader.pass(bytes);
        if self.reader.payload_rest() == 0 {
            self.end_of_payload(ledger, client);
        }
    }

    /// A simple reply or a chunk is whole.
    fn end_of_payload(&mut self, ledger: &mut Ledger, client: &mut Vec<u8>) {
        let sink = std::mem::replace(
            &mut self.sink,
            Sink::Nowhere {
                id: 0,
                is_last: false,
            },
        );
        let (id, is_last) = match sink {
            Sink::Mend { is_last, .. } => {
                if is_last {
                    ledger.mended(client);
                    self.answers += 1;
                }
                return;
            }
            Sink::Status {
                id, bytes, is_last, ..
            } => {
                if let Some(asked) = ledger.get(id) {
                    asked.touched = true;
                    let extents = (bytes.len() as u32) / EXTENT_BYTES;
                    let context = ALLOCATION_CONTEXT_ID;
                    write_status_chunk_head(
                        client,
                        asked.request.cookie,
                        context,
                        extents,
                        is_last,
                    );
                    client.extend_from_slice(&bytes);
                }
                (id, is_last)
            }
            Sink::Client(UnderWay { is_last }, id) | Sink::Nowhere { id, is_last } => (id, is_last),
        };
        if is_last {
            ledger.finish(id);
            self.answers += 1;
        }
    }
}
