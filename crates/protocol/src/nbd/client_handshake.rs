//! The handshake with a server, to which this is the client (section "Newstyle negotiation").

use super::ALLOCATION_CONTEXT;
use super::export::{BlockSizes, Export, transmission_flag};
use super::fault::HandshakeFault;
use super::message::{
    self, DATA_BYTES_MAX, FIXED_NEWSTYLE, Fields, GREETING_BYTES, GREETING_MAGIC, NO_ZEROES,
    OLDSTYLE_MAGIC, OPTION_MAGIC, REPLY_HEAD_BYTES, REPLY_MAGIC, Refusal, ZEROES_BYTES, info,
    option, reply, write_option,
};

/// The most exports that a server's list may have.
const EXPORTS_MAX: usize = 10_000;
/// The most replies to any other option.
const REPLIES_MAX: usize = 100;

/// What is wanted of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientGoal {
    /// To use an export.
    Export {
        /// Its name; an empty one is the default export.
        name: String,
        /// Ask for structured replies.
        structured_replies: bool,
        /// Ask for `base:allocation`, which needs structured replies.
        allocation: bool,
    },
    /// To know the names of its exports. The connection ends after that.
    List,
}

/// What both sides know when the transmission begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The export.
    pub export: Export,
    /// Reads are answered in chunks.
    pub structured_replies: bool,
    /// The number of `base:allocation` on this connection, if it was chosen: block status may be
    /// asked for.
    pub allocation_context: Option<u32>,
}

/// What [`ClientHandshake::advance`] came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientStep {
    /// Send what was written; more bytes are needed.
    NeedMore,
    /// The transmission begins: requests may be sent.
    Ready(Negotiated),
    /// The names of the exports. Send what was written, which says goodbye, and close.
    Listed(Vec<String>),
}

/// The handshake with one server, until there is an export or a list.
///
/// Give [`ClientHandshake::advance`] what the server sent, and send what it writes.
#[derive(Debug)]
pub struct ClientHandshake {
    goal: ClientGoal,
    state: State,
    no_zeroes: bool,
    /// Replies to the present option.
    replies: usize,
    structured_replies: bool,
    allocation_context: Option<u32>,
    /// What `GO` has told so far.
    size_and_flags: Option<(u64, u16)>,
    block_sizes: Option<BlockSizes>,
    names: Vec<String>,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Greeting,
    /// The final reply to this option.
    Reply(u32),
    /// The answer to `EXPORT_NAME`, which has no head.
    ExportName,
    Over,
}

impl ClientHandshake {
    /// Begins with the server's greeting.
    pub fn new(goal: ClientGoal) -> Self {
        ClientHandshake {
            goal,
            state: State::Greeting,
            no_zeroes: false,
            replies: 0,
            structured_replies: false,
            allocation_context: None,
            size_and_flags: None,
            block_sizes: None,
            names: Vec::new(),
        }
    }

    /// Reads what the server sent, writes what is to be sent next, and says how many bytes are done
    /// with and what came of them. Give it the rest again, with what comes after; it never needs more
    /// than [`HANDSHAKE_BYTES_MAX`](super::HANDSHAKE_BYTES_MAX) at once. After a fault, send what was
    /// written, which may be a goodbye, and close.
    pub fn advance(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(usize, ClientStep), HandshakeFault> {
        let mut taken = 0;
        loop {
            let rest = &input[taken..];
            let read = match self.state {
                State::Greeting => self.greeting(rest, out)?,
                State::Reply(option) => self.reply(option, rest, out)?,
                State::ExportName => self.export_name(rest)?,
                State::Over => None,
            };
            match read {
                None => return Ok((taken, ClientStep::NeedMore)),
                Some((bytes, step)) => {
                    taken += bytes;
                    if let Some(step) = step {
                        self.state = State::Over;
                        return Ok((taken, step));
                    }
                }
            }
        }
    }

    fn greeting(&mut self, input: &[u8], out: &mut Vec<u8>) -> Read {
        let mut fields = Fields(input);
        match fields.u64() {
            None => return Ok(None),
            Some(GREETING_MAGIC) => {}
            Some(_) => return Err(HandshakeFault::BadMagic),
        }
        match fields.u64() {
            None => return Ok(None),
            Some(OPTION_MAGIC) => {}
            Some(OLDSTYLE_MAGIC) => return Err(HandshakeFault::Oldstyle),
            Some(_) => return Err(HandshakeFault::BadMagic),
        }
        let Some(flags) = fields.u16() else {
            return Ok(None);
        };
        let common = flags & (FIXED_NEWSTYLE | NO_ZEROES);
        let is_fixed = flags & FIXED_NEWSTYLE != 0;
        self.no_zeroes = flags & NO_ZEROES != 0;
        if !is_fixed && self.goal == ClientGoal::List {
            return Err(HandshakeFault::NotFixed);
        }
        out.extend_from_slice(&u32::from(common).to_be_bytes());
        match (&self.goal, is_fixed) {
            (ClientGoal::List, _) => self.ask(option::LIST, &[], out),
            (ClientGoal::Export { .. }, false) => self.ask_export_name(out),
            (
                ClientGoal::Export {
                    structured_replies: true,
                    ..
                },
                true,
            ) => {
                self.ask(option::STRUCTURED_REPLY, &[], out);
            }
            (ClientGoal::Export { .. }, true) => self.ask_go(out),
        }
        Ok(Some((GREETING_BYTES, None)))
    }

    fn ask(&mut self, option: u32, data: &[u8], out: &mut Vec<u8>) {
        write_option(out, option, data);
        self.replies = 0;
        self.state = State::Reply(option);
    }

    fn ask_go(&mut self, out: &mut Vec<u8>) {
        let mut data = self.name_with_length();
        data.extend_from_slice(&1u16.to_be_bytes());
        data.extend_from_slice(&info::BLOCK_SIZE.to_be_bytes());
        self.ask(option::GO, &data, out);
    }

    fn ask_contexts(&mut self, out: &mut Vec<u8>) {
        let mut data = self.name_with_length();
        data.extend_from_slice(&1u32.to_be_bytes());
        data.extend_from_slice(&(ALLOCATION_CONTEXT.len() as u32).to_be_bytes());
        data.extend_from_slice(ALLOCATION_CONTEXT.as_bytes());
        self.ask(option::SET_META_CONTEXT, &data, out);
    }

    fn ask_export_name(&mut self, out: &mut Vec<u8>) {
        write_option(out, option::EXPORT_NAME, self.name().as_bytes());
        self.state = State::ExportName;
    }

    fn name(&self) -> &str {
        match &self.goal {
            ClientGoal::Export { name, .. } => name,
            ClientGoal::List => "",
        }
    }

    fn name_with_length(&self) -> Vec<u8> {
        let length = (self.name().len() as u32).to_be_bytes();
        [&length, self.name().as_bytes()].concat()
    }

    fn reply(&mut self, option: u32, input: &[u8], out: &mut Vec<u8>) -> Read {
        let mut fields = Fields(input);
        match fields.u64() {
            None => return Ok(None),
            Some(REPLY_MAGIC) => {}
            Some(_) => return Err(HandshakeFault::BadMagic),
        }
        let head = (fields.u32(), fields.u32(), fields.u32());
        let (Some(to), Some(kind), Some(length)) = head else {
            return Ok(None);
        };
        if to != option {
            return Err(HandshakeFault::UnexpectedReply);
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > DATA_BYTES_MAX {
            return Err(HandshakeFault::TooLong);
        }
        let Some(data) = fields.bytes(length) else {
            return Ok(None);
        };
        self.replies += 1;
        let replies_max = match option {
            option::LIST => EXPORTS_MAX,
            _ => REPLIES_MAX,
        };
        if self.replies > replies_max {
            return Err(HandshakeFault::TooMany);
        }
        let step = match kind {
            reply::ACK => self.acknowledged(option, data, out)?,
            _ if kind & reply::ERROR_BIT != 0 => {
                self.refused(option, kind, data, out)?;
                None
            }
            _ => {
                self.told(option, kind, data)?;
                None
            }
        };
        Ok(Some((REPLY_HEAD_BYTES + length, step)))
    }

    /// One of several replies to an option.
    fn told(&mut self, option: u32, kind: u32, data: &[u8]) -> Result<(), HandshakeFault> {
        let known = match (option, kind) {
            (option::LIST, reply::SERVER) => {
                let mut fields = Fields(data);
                fields.string().map(|name| self.names.push(name.to_owned()))
            }
            (option::SET_META_CONTEXT, reply::META_CONTEXT) => {
                let mut fields = Fields(data);
                fields.u32().map(|id| {
                    if fields.0 == ALLOCATION_CONTEXT.as_bytes() {
                        self.allocation_context = Some(id);
                    }
                })
            }
            (option::GO, reply::INFO) => self.information(data),
            _ => return Err(HandshakeFault::UnexpectedReply),
        };
        known.ok_or(HandshakeFault::BadReply)
    }

    /// `None` when it is not what its type says. Types that were not asked for are ignored.
    fn information(&mut self, data: &[u8]) -> Option<()> {
        let mut fields = Fields(data);
        match fields.u16()? {
            info::EXPORT => self.size_and_flags = Some((fields.u64()?, fields.u16()?)),
            info::BLOCK_SIZE => {
                self.block_sizes = Some(BlockSizes {
                    minimum: fields.u32()?,
                    preferred: fields.u32()?,
                    payload_max: fields.u32()?,
                });
            }
            _ => return Some(()),
        }
        fields.0.is_empty().then_some(())
    }

    fn acknowledged(
        &mut self,
        option: u32,
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<ClientStep>, HandshakeFault> {
        if !data.is_empty() {
            return Err(HandshakeFault::BadReply);
        }
        match (option, &self.goal) {
            (option::LIST, _) => {
                write_option(out, option::ABORT, &[]);
                return Ok(Some(ClientStep::Listed(std::mem::take(&mut self.names))));
            }
            (option::STRUCTURED_REPLY, ClientGoal::Export { allocation, .. }) => {
                self.structured_replies = true;
                match allocation {
                    true => self.ask_contexts(out),
                    false => self.ask_go(out),
                }
            }
            (option::SET_META_CONTEXT, _) => self.ask_go(out),
            _ => {
                let (size, flags) = self.size_and_flags.ok_or(HandshakeFault::UnexpectedReply)?;
                let export = Export {
                    size,
                    flags,
                    block_sizes: self.block_sizes,
                };
                return self.ready(export).map(Some);
            }
        }
        Ok(None)
    }

    /// An error: what it was about can be done without, or is the end.
    fn refused(
        &mut self,
        option: u32,
        kind: u32,
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), HandshakeFault> {
        let refusal = Refusal::from_wire(kind);
        let must_leave = matches!(refusal, Some(Refusal::ShuttingDown | Refusal::TlsRequired));
        match option {
            option::STRUCTURED_REPLY if !must_leave => self.ask_go(out),
            option::SET_META_CONTEXT if !must_leave => {
                // Contexts that came before an error do not count.
                self.allocation_context = None;
                self.ask_go(out);
            }
            option::GO if refusal == Some(Refusal::Unsupported) => self.ask_export_name(out),
            _ => {
                // Section "Termination of the session during option haggling".
                write_option(out, option::ABORT, &[]);
                self.state = State::Over;
                return Err(HandshakeFault::Refused {
                    refusal,
                    message: message::display(data),
                });
            }
        }
        Ok(())
    }

    fn export_name(&mut self, input: &[u8]) -> Read {
        let mut fields = Fields(input);
        let (Some(size), Some(flags)) = (fields.u64(), fields.u16()) else {
            return Ok(None);
        };
        let zeroes = if self.no_zeroes { 0 } else { ZEROES_BYTES };
        if fields.bytes(zeroes).is_none() {
            return Ok(None);
        }
        let export = Export {
            size,
            flags,
            block_sizes: None,
        };
        let step = self.ready(export)?;
        Ok(Some((10 + zeroes, Some(step))))
    }

    fn ready(&self, export: Export) -> Result<ClientStep, HandshakeFault> {
        let sizes_are_valid = export.block_sizes.is_none_or(|sizes| sizes.are_valid());
        if !export.has(transmission_flag::HAS_FLAGS) || !sizes_are_valid {
            return Err(HandshakeFault::BadExport);
        }
        Ok(ClientStep::Ready(Negotiated {
            export,
            structured_replies: self.structured_replies,
            allocation_context: self.allocation_context,
        }))
    }
}

/// The bytes that are done with, and the end if this was it; `None` when more bytes are needed.
type Read = Result<Option<(usize, Option<ClientStep>)>, HandshakeFault>;
