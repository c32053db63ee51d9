//! Requests (section "Request message").

use super::export::{Export, transmission_flag};
use super::message::Fields;
use super::{ErrorNumber, Negotiated, RequestFault};

/// The length of a request without its payload, in bytes.
pub const REQUEST_BYTES: usize = 28;
const MAGIC: u32 = 0x2560_9513;

/// Bits of [`Request::flags`] (section "Command flags").
pub mod command_flag {
    /// Answered only when the data is on stable storage.
    pub const FUA: u16 = 1 << 0;
    /// Zeroes that take up room.
    pub const NO_HOLE: u16 = 1 << 1;
    /// A read that is answered in one piece.
    pub const DF: u16 = 1 << 2;
    /// One extent for each context.
    pub const REQ_ONE: u16 = 1 << 3;
    /// Zeroes only if that is faster than writing them.
    pub const FAST_ZERO: u16 = 1 << 4;
}

/// What is to be done (section "Request types").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Read.
    Read,
    /// Write what follows the request.
    Write,
    /// Goodbye; there is no reply.
    Disconnect,
    /// Put what was written on stable storage.
    Flush,
    /// The bytes are no longer needed.
    Trim,
    /// The bytes will be read soon.
    Cache,
    /// Write zeroes.
    WriteZeroes,
    /// Tell what is allocated.
    BlockStatus,
    /// Something else, which is answered with [`ErrorNumber::Invalid`].
    Other(u16),
}

impl Command {
    fn from_wire(number: u16) -> Self {
        match number {
            0 => Command::Read,
            1 => Command::Write,
            2 => Command::Disconnect,
            3 => Command::Flush,
            4 => Command::Trim,
            5 => Command::Cache,
            6 => Command::WriteZeroes,
            7 => Command::BlockStatus,
            _ => Command::Other(number),
        }
    }

    fn to_wire(self) -> u16 {
        match self {
            Command::Read => 0,
            Command::Write => 1,
            Command::Disconnect => 2,
            Command::Flush => 3,
            Command::Trim => 4,
            Command::Cache => 5,
            Command::WriteZeroes => 6,
            Command::BlockStatus => 7,
            Command::Other(number) => number,
        }
    }

    /// Whether it may change what is stored.
    pub fn is_write(self) -> bool {
        matches!(self, Command::Write | Command::Trim | Command::WriteZeroes)
    }
}

/// A request without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Bits of [`command_flag`].
    pub flags: u16,
    /// What is to be done.
    pub command: Command,
    /// The client's name for it, which its reply bears.
    pub cookie: u64,
    /// Where, in bytes from the start of the export.
    pub offset: u64,
    /// For how many bytes.
    pub length: u32,
}

/// What should be a request does not begin like one: nobody can say where the next one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRequestMagic;

impl std::fmt::Display for BadRequestMagic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a request does not begin like one")
    }
}

impl std::error::Error for BadRequestMagic {}

impl Request {
    /// Reads the request at the front of `input`; it is [`REQUEST_BYTES`] long, and
    /// [`Request::payload_bytes`] follow it. `None` when more bytes are needed.
    pub fn parse(input: &[u8]) -> Result<Option<Self>, BadRequestMagic> {
        let mut fields = Fields(input);
        if fields.u32().is_some_and(|magic| magic != MAGIC) {
            return Err(BadRequestMagic);
        }
        Ok(Self::after_magic(fields))
    }

    fn after_magic(mut fields: Fields<'_>) -> Option<Self> {
        Some(Request {
            flags: fields.u16()?,
            command: Command::from_wire(fields.u16()?),
            cookie: fields.u64()?,
            offset: fields.u64()?,
            length: fields.u32()?,
        })
    }

    /// Writes it, [`REQUEST_BYTES`] long.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC.to_be_bytes());
        out.extend_from_slice(&self.flags.to_be_bytes());
        out.extend_from_slice(&self.command.to_wire().to_be_bytes());
        out.extend_from_slice(&self.cookie.to_be_bytes());
        out.extend_from_slice(&self.offset.to_be_bytes());
        out.extend_from_slice(&self.length.to_be_bytes());
    }

    /// How many bytes follow it, also if it is refused: they must be read before the next one. Up to
    /// 4 GiB, so close the connection where that is more than can be meant well
    /// ([`PAYLOAD_BYTES_MAX`](super::PAYLOAD_BYTES_MAX), section "Size constraints").
    pub fn payload_bytes(&self) -> u32 {
        match self.command {
            Command::Write => self.length,
            _ => 0,
        }
    }

    /// The byte after the last one that it is about; `None` where there is no such number.
    pub fn end(&self) -> Option<u64> {
        self.offset.checked_add(u64::from(self.length))
    }

    /// Why it is answered with an error without asking any server, if what was agreed on with the
    /// client has no room for it (sections "Request types", "Error values" and "Size constraints").
    /// `None` also for [`Command::Disconnect`], which has no reply.
    pub fn fault(&self, agreed: &Negotiated) -> Option<RequestFault> {
        let export = &agreed.export;
        let needs = match self.command {
            Command::Read | Command::Write => 0,
            Command::Disconnect => return None,
            Command::Flush => transmission_flag::SEND_FLUSH,
            Command::Trim => transmission_flag::SEND_TRIM,
            Command::Cache => transmission_flag::SEND_CACHE,
            Command::WriteZeroes => transmission_flag::SEND_WRITE_ZEROES,
            Command::BlockStatus if agreed.allocation_context.is_some() => 0,
            Command::BlockStatus | Command::Other(_) => return Some(RequestFault::UnknownCommand),
        };
        if self.command.is_write() && export.has(transmission_flag::READ_ONLY) {
            return Some(RequestFault::ReadOnly);
        }
        let is_whole_flush = self.command != Command::Flush || (self.offset, self.length) == (0, 0);
        let is_offered = export.has(needs) && self.flags & !self.flags_allowed(export) == 0;
        if !is_offered || !is_whole_flush {
            return Some(RequestFault::NotOffered);
        }
        let has_payload = matches!(self.command, Command::Read | Command::Write);
        if has_payload && self.length > export.payload_bytes_max() {
            return Some(RequestFault::TooLong);
        }
        if !export.is_aligned(self.offset) || !export.is_aligned(u64::from(self.length)) {
            return Some(RequestFault::Unaligned);
        }
        match self.end().is_some_and(|end| end <= export.size) {
            true => None,
            false if matches!(self.command, Command::Write | Command::WriteZeroes) => {
                Some(RequestFault::WritePastEnd)
            }
            false => Some(RequestFault::PastEnd),
        }
    }

    /// The error of [`Request::fault`].
    pub fn refusal(&self, agreed: &Negotiated) -> Option<ErrorNumber> {
        self.fault(agreed).map(RequestFault::error)
    }

    fn flags_allowed(&self, export: &Export) -> u16 {
        let offered = |flag: u16, by: u16| if export.has(by) { flag } else { 0 };
        let own = match self.command {
            Command::Read => offered(command_flag::DF, transmission_flag::SEND_DF),
            Command::WriteZeroes => {
                let fast_zero = transmission_flag::SEND_FAST_ZERO;
                command_flag::NO_HOLE | offered(command_flag::FAST_ZERO, fast_zero)
            }
            Command::BlockStatus => command_flag::REQ_ONE,
            _ => 0,
        };
        own | offered(command_flag::FUA, transmission_flag::SEND_FUA)
    }
}
