//! Reading a server's replies.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;

use super::message::{self, Fields, NAME_BYTES_MAX};
use super::reply::{
    CHUNK_HEAD_BYTES, CHUNK_MAGIC, FLAG_DONE, SIMPLE_MAGIC, SIMPLE_REPLY_BYTES, kind,
};
use super::{Command, ErrorNumber, Negotiated, Outstanding, ReplyFault, Request};

/// An error chunk that is longer, with its words and all, is refused. In bytes, without the head.
const ERROR_BYTES_MAX: usize = NAME_BYTES_MAX + 1024;
/// The most extents in one chunk (section "Structured reply types").
const EXTENTS_MAX: u32 = 1 << 20;

/// Reads what one server answers, from the first byte of the transmission on. It is told of every
/// request that was sent, and reads heads only: of data it says how much follows, and the caller moves
/// it wherever it wants, and tells with [`ReplyReader::pass`] how much it has moved.
///
/// What it lets through answers what was asked, once, and wholly, unless it says that it failed.
#[derive(Debug)]
pub struct ReplyReader {
    structured_replies: bool,
    allocation_context: Option<u32>,
    outstanding: BTreeMap<u64, Outstanding>,
    /// The request that was answered last.
    answered: Option<Outstanding>,
    /// Of the payload that is under way.
    payload: Payload,
}

#[derive(Clone, Copy, Debug, Default)]
struct Payload {
    cookie: u64,
    /// Where in the export the next byte belongs, if it is data.
    offset: Option<u64>,
    /// Bytes to come.
    rest: u32,
    is_last: bool,
}

/// What [`ReplyReader::read`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyStep {
    /// More bytes are needed, or the payload must be moved first.
    NeedMore,
    /// A simple reply or a chunk, up to its payload.
    Head(ReplyHead),
}

/// A simple reply or a chunk, without its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyHead {
    /// The request that it is for.
    pub cookie: u64,
    /// What it says.
    pub content: Content,
    /// With it, and with its payload, the request is answered and forgotten.
    pub is_last: bool,
}

/// What a simple reply or a chunk says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// `length` bytes of data follow, which belong to `offset`.
    Data {
        /// In bytes from the start of the export.
        offset: u64,
        /// In bytes. 0 only for a read of nothing.
        length: u32,
    },
    /// `length` bytes from `offset` on are zeroes.
    Hole {
        /// In bytes from the start of the export.
        offset: u64,
        /// In bytes.
        length: u32,
    },
    /// So many extents of 8 bytes follow, of `base:allocation`, from the request's offset on. They are
    /// not looked at: how long they are together is not checked.
    Status {
        /// 1 to 2^20.
        extents: u32,
    },
    /// The request failed.
    Error {
        /// With what.
        error: ErrorNumber,
        /// Where, if that was said.
        offset: Option<u64>,
        /// In the server's words; may be empty. Control characters are gone.
        message: String,
    },
    /// Nothing more: the request succeeded if no error came before.
    Done,
}

impl ReplyReader {
    /// For a connection on which this was agreed on.
    pub fn new(agreed: &Negotiated) -> Self {
        ReplyReader {
            structured_replies: agreed.structured_replies,
            allocation_context: agreed.allocation_context,
            outstanding: BTreeMap::new(),
            answered: None,
            payload: Payload::default(),
        }
    }

    /// A request is sent, and its reply expected. False when one with the same cookie is outstanding:
    /// do not send it, their replies could not be told apart. [`Command::Disconnect`] has no reply.
    /// The caller bounds how many there may be.
    #[must_use]
    pub fn expect(&mut self, request: Request) -> bool {
        if request.command == Command::Disconnect {
            return true;
        }
        match self.outstanding.entry(request.cookie) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(Outstanding::new(request));
                true
            }
        }
    }

    /// What is not wholly answered, in the order of the cookies: to be asked again elsewhere when the
    /// server has gone.
    pub fn outstanding(&self) -> impl ExactSizeIterator<Item = &Outstanding> {
        self.outstanding.values()
    }

    /// The request that was answered last: for whoever does not take the answer.
    pub fn answered(&self) -> Option<&Outstanding> {
        self.answered.as_ref()
    }

    /// How many bytes of payload come next.
    pub fn payload_rest(&self) -> u32 {
        self.payload.rest
    }

    /// The data that is under way: whose it is, and which bytes of the export have not come. `None`
    /// between messages, and in block status.
    pub fn under_way(&self) -> Option<(u64, Range<u64>)> {
        let Payload {
            cookie,
            offset,
            rest,
            ..
        } = self.payload;
        let offset = offset.filter(|_| rest > 0)?;
        Some((cookie, offset..offset + u64::from(rest)))
    }

    /// So many bytes of the payload were moved; more than [`ReplyReader::payload_rest`] there are not.
    pub fn pass(&mut self, bytes: u32) {
        let bytes = bytes.min(self.payload.rest);
        self.payload.rest -= bytes;
        if let Some(offset) = &mut self.payload.offset {
            *offset += u64::from(bytes);
        }
        if self.payload.rest == 0 && self.payload.is_last {
            self.answered = self.outstanding.remove(&self.payload.cookie);
            self.payload.is_last = false;
        }
    }

    /// Reads the head at the front of `input`, which must not begin with payload: how many bytes are
    /// done with, and what it was. It never needs more than 6 KiB at once. After a fault, close.
    pub fn read(&mut self, input: &[u8]) -> Result<(usize, ReplyStep), ReplyFault> {
        if self.payload.rest > 0 {
            return Ok((0, ReplyStep::NeedMore));
        }
        let read = match Fields(input).u32() {
            None => None,
            Some(SIMPLE_MAGIC) => self.simple_reply(Fields(&input[4..]))?,
            Some(CHUNK_MAGIC) if self.structured_replies => self.chunk(Fields(&input[4..]))?,
            Some(_) => return Err(ReplyFault::BadMagic),
        };
        let Some((bytes, head, payload)) = read else {
            return Ok((0, ReplyStep::NeedMore));
        };
        if head.is_last {
            self.find(head.cookie)?.check_end()?;
        }
        self.payload = Payload {
            cookie: head.cookie,
            offset: match head.content {
                Content::Data { offset, .. } => Some(offset),
                _ => None,
            },
            rest: payload,
            is_last: head.is_last,
        };
        self.pass(0);
        Ok((bytes, ReplyStep::Head(head)))
    }

    fn find(&mut self, cookie: u64) -> Result<&mut Outstanding, ReplyFault> {
        let found = self.outstanding.get_mut(&cookie);
        found.ok_or(ReplyFault::UnknownCookie)
    }

    fn simple_reply(&mut self, mut fields: Fields<'_>) -> Read {
        let (Some(error), Some(cookie)) = (fields.u32(), fields.u64()) else {
            return Ok(None);
        };
        let structured_replies = self.structured_replies;
        let outstanding = self.find(cookie)?;
        let Request {
            command,
            offset,
            length,
            ..
        } = *outstanding.request();
        if structured_replies && command == Command::Read {
            return Err(ReplyFault::SimpleReplyToRead);
        }
        let (content, payload) = match (ErrorNumber::from_wire(error), command) {
            (Some(error), _) => {
                outstanding.failed(error, None)?;
                let message = String::new();
                let offset = None;
                (
                    Content::Error {
                        error,
                        offset,
                        message,
                    },
                    0,
                )
            }
            (None, Command::Read) => {
                outstanding.content(offset, length)?;
                (Content::Data { offset, length }, length)
            }
            (None, _) => (Content::Done, 0),
        };
        let is_last = true;
        let head = ReplyHead {
            cookie,
            content,
            is_last,
        };
        Ok(Some((SIMPLE_REPLY_BYTES, head, payload)))
    }

    fn chunk(&mut self, mut fields: Fields<'_>) -> Read {
        let (flags, kind) = (fields.u16(), fields.u16());
        let (Some(flags), Some(kind), Some(cookie), Some(length)) =
            (flags, kind, fields.u64(), fields.u32())
        else {
            return Ok(None);
        };
        let is_last = flags & FLAG_DONE != 0;
        let allocation_context = self.allocation_context;
        let outstanding = self.find(cookie)?;
        let command = outstanding.request().command;
        let content = match (kind, command) {
            (kind::NONE, _) => none(length, is_last)?,
            (kind::OFFSET_DATA, Command::Read) => data(outstanding, length, &mut fields)?,
            (kind::OFFSET_HOLE, Command::Read) => hole(outstanding, length, &mut fields)?,
            (kind::BLOCK_STATUS, Command::BlockStatus) => {
                status(outstanding, allocation_context, length, &mut fields)?
            }
            (kind, _) if kind & kind::ERROR_BIT != 0 => {
                error(outstanding, kind, length, &mut fields)?
            }
            _ => return Err(ReplyFault::UnexpectedChunk),
        };
        let Some((content, bytes, payload)) = content else {
            return Ok(None);
        };
        let head = ReplyHead {
            cookie,
            content,
            is_last,
        };
        Ok(Some((CHUNK_HEAD_BYTES + bytes, head, payload)))
    }
}

/// The bytes that are done with, what they were, and how many of payload follow; `None` when more
/// bytes are needed.
type Read = Result<Option<(usize, ReplyHead, u32)>, ReplyFault>;

/// What a chunk says, the bytes of its payload that are done with, and how many follow; `None` when
/// more bytes are needed. What can be refused by the head alone is refused at once.
type ReadChunk = Result<Option<(Content, usize, u32)>, ReplyFault>;

fn none(length: u32, is_last: bool) -> ReadChunk {
    match (length, is_last) {
        (0, true) => Ok(Some((Content::Done, 0, 0))),
        (0, false) => Err(ReplyFault::UnexpectedChunk),
        _ => Err(ReplyFault::BadChunkLength),
    }
}

fn data(outstanding: &mut Outstanding, length: u32, fields: &mut Fields<'_>) -> ReadChunk {
    let length = length.checked_sub(8).filter(|length| *length > 0);
    let length = length.ok_or(ReplyFault::BadChunkLength)?;
    let Some(offset) = fields.u64() else {
        return Ok(None);
    };
    outstanding.content(offset, length)?;
    Ok(Some((Content::Data { offset, length }, 8, length)))
}

fn hole(outstanding: &mut Outstanding, length: u32, fields: &mut Fields<'_>) -> ReadChunk {
    if length != 12 {
        return Err(ReplyFault::BadChunkLength);
    }
    let (Some(offset), Some(length)) = (fields.u64(), fields.u32()) else {
        return Ok(None);
    };
    if length == 0 {
        return Err(ReplyFault::BadChunkLength);
    }
    outstanding.content(offset, length)?;
    Ok(Some((Content::Hole { offset, length }, 12, 0)))
}

fn status(
    outstanding: &mut Outstanding,
    allocation_context: Option<u32>,
    length: u32,
    fields: &mut Fields<'_>,
) -> ReadChunk {
    let extents = match length.checked_sub(4) {
        Some(bytes) if bytes > 0 && bytes % 8 == 0 && bytes / 8 <= EXTENTS_MAX => bytes / 8,
        _ => return Err(ReplyFault::BadChunkLength),
    };
    let Some(context) = fields.u32() else {
        return Ok(None);
    };
    if allocation_context != Some(context) {
        return Err(ReplyFault::UnknownContext);
    }
    outstanding.status(extents)?;
    Ok(Some((Content::Status { extents }, 4, extents * 8)))
}

/// Error chunks of unknown types begin like the known ones; what else they have is skipped.
fn error(
    outstanding: &mut Outstanding,
    kind: u16,
    length: u32,
    fields: &mut Fields<'_>,
) -> ReadChunk {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let least = if kind == kind::ERROR_OFFSET { 14 } else { 6 };
    if !(least..=ERROR_BYTES_MAX).contains(&length) {
        return Err(ReplyFault::BadChunkLength);
    }
    let Some(payload) = fields.bytes(length) else {
        return Ok(None);
    };
    let mut fields = Fields(payload);
    let mut read = || {
        let (error, message_bytes) = (fields.u32()?, fields.u16()?);
        let message = fields.bytes(usize::from(message_bytes))?;
        let offset = match kind {
            kind::ERROR_OFFSET => Some(fields.u64()?),
            _ => None,
        };
        Some((error, message, offset))
    };
    let (error, message, offset) = read().ok_or(ReplyFault::BadChunkLength)?;
    if message.len() > NAME_BYTES_MAX {
        return Err(ReplyFault::BadChunkLength);
    }
    let error = ErrorNumber::from_wire(error).ok_or(ReplyFault::NoError)?;
    outstanding.failed(error, offset)?;
    let message = message::display(message);
    let content = Content::Error {
        error,
        offset,
        message,
    };
    Ok(Some((content, length, 0)))
}
