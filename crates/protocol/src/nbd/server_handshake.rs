//! The handshake with a client, to which this is the server (section "Newstyle negotiation").

use super::export::{Export, transmission_flag};
use super::fault::HandshakeFault;
use super::message::{
    self, DATA_BYTES_MAX, FIXED_NEWSTYLE, Fields, GREETING_MAGIC, NO_ZEROES, OPTION_HEAD_BYTES,
    OPTION_MAGIC, Refusal, ZEROES_BYTES, info, option, reply, write_reply,
};
use super::{ALLOCATION_CONTEXT, ALLOCATION_CONTEXT_ID, Negotiated};

/// An option that is too long to be kept is skipped up to here, in bytes; a longer one ends the
/// connection.
const SKIPPED_BYTES_MAX: usize = 64 * 1024;
/// A client that lists the exports asks for each of them, so there may be many.
const OPTIONS_MAX: u32 = 10_000;

/// The handshake with one client, until it has an export or leaves.
///
/// Give [`ServerHandshake::advance`] what the client sent, send what it writes, and answer what it
/// asks for with one of the other methods.
#[derive(Debug)]
pub struct ServerHandshake {
    state: State,
    options: u32,
    no_zeroes: bool,
    structured_replies: bool,
    /// The export for which the client chose [`ALLOCATION_CONTEXT`].
    allocation_of: Option<String>,
    /// Why options were refused.
    refused: Vec<&'static str>,
}

#[derive(Debug)]
enum State {
    ClientFlags,
    /// Before an option, or in one that is not whole yet.
    Option,
    /// In the data of a refused option, with so many bytes to come.
    Skipping(usize),
    /// The caller is to answer.
    Asked(Asked),
    Over,
}

#[derive(Debug)]
enum Asked {
    Export {
        option: u32,
        name: String,
        asks_name: bool,
        asks_block_sizes: bool,
    },
    List,
    Contexts {
        option: u32,
        name: String,
    },
}

/// What [`ServerHandshake::advance`] came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerStep {
    /// More bytes are needed, or an answer.
    NeedMore,
    /// The client wants this export: answer with [`ServerHandshake::offer`] or
    /// [`ServerHandshake::refuse`].
    Wants {
        /// Its name; an empty one is the default export.
        export: String,
        /// What it wants it for.
        by: WantedBy,
    },
    /// The client wants the names of all exports: answer with [`ServerHandshake::list`] or
    /// [`ServerHandshake::refuse`].
    List,
    /// The client wants [`ALLOCATION_CONTEXT`] of this export: answer with
    /// [`ServerHandshake::contexts`] or [`ServerHandshake::refuse`].
    WantsContexts {
        /// The export's name.
        export: String,
    },
    /// The client leaves: send what was written, and close.
    Aborted,
}

/// Which option asks for an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantedBy {
    /// `NBD_OPT_INFO`: it only wants to know.
    Info,
    /// `NBD_OPT_GO`: it wants to use it.
    Go,
    /// `NBD_OPT_EXPORT_NAME`: it wants to use it, and can be told of no error.
    ExportName,
}

impl ServerHandshake {
    /// Writes the greeting.
    pub fn new(out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(&GREETING_MAGIC.to_be_bytes());
        out.extend_from_slice(&OPTION_MAGIC.to_be_bytes());
        out.extend_from_slice(&(FIXED_NEWSTYLE | NO_ZEROES).to_be_bytes());
        ServerHandshake {
            state: State::ClientFlags,
            options: 0,
            no_zeroes: false,
            structured_replies: false,
            allocation_of: None,
            refused: Vec::new(),
        }
    }

    /// Reads what the client sent, answers what needs nobody else, and says how many bytes of it are
    /// done with and what came of it. Give it the rest again, with what comes after; it never needs
    /// more than [`HANDSHAKE_BYTES_MAX`](super::HANDSHAKE_BYTES_MAX) at once. After a fault, close.
    pub fn advance(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(usize, ServerStep), HandshakeFault> {
        let mut taken = 0;
        loop {
            let rest = &input[taken..];
            match self.state {
                State::ClientFlags => {
                    let Some(flags) = Fields(rest).u32() else {
                        return Ok((taken, ServerStep::NeedMore));
                    };
                    self.client_flags(flags)?;
                    taken += 4;
                }
                State::Skipping(bytes) => {
                    let skipped = bytes.min(rest.len());
                    taken += skipped;
                    if skipped < bytes {
                        self.state = State::Skipping(bytes - skipped);
                        return Ok((taken, ServerStep::NeedMore));
                    }
                    self.state = State::Option;
                }
                State::Option => {
                    let (bytes, step) = self.option(rest, out)?;
                    taken += bytes;
                    match step {
                        Some(step) => return Ok((taken, step)),
                        None => continue,
                    }
                }
                State::Asked(_) | State::Over => return Ok((taken, ServerStep::NeedMore)),
            }
        }
    }

    /// A client that does not say that it knows the fixed newstyle may use it all the same.
    fn client_flags(&mut self, flags: u32) -> Result<(), HandshakeFault> {
        if flags & !u32::from(FIXED_NEWSTYLE | NO_ZEROES) != 0 {
            return Err(HandshakeFault::UnknownClientFlags);
        }
        self.no_zeroes = flags & u32::from(NO_ZEROES) != 0;
        self.state = State::Option;
        Ok(())
    }

    /// The bytes of the option at the front that are done with; `None` when there may be another.
    fn option(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(usize, Option<ServerStep>), HandshakeFault> {
        let mut fields = Fields(input);
        let need_more = Ok((0, Some(ServerStep::NeedMore)));
        match fields.u64() {
            None => return need_more,
            Some(OPTION_MAGIC) => {}
            Some(_) => return Err(HandshakeFault::BadMagic),
        }
        let (Some(option), Some(length)) = (fields.u32(), fields.u32()) else {
            return need_more;
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > SKIPPED_BYTES_MAX {
            return Err(HandshakeFault::TooLong);
        }
        if length > DATA_BYTES_MAX {
            self.count_option()?;
            self.skip(option, length, out)?;
            return Ok((OPTION_HEAD_BYTES, None));
        }
        let Some(data) = fields.bytes(length) else {
            return need_more;
        };
        self.count_option()?;
        let step = self.whole_option(option, data, out)?;
        Ok((OPTION_HEAD_BYTES + length, step))
    }

    fn count_option(&mut self) -> Result<(), HandshakeFault> {
        self.options += 1;
        match self.options > OPTIONS_MAX {
            true => Err(HandshakeFault::TooMany),
            false => Ok(()),
        }
    }

    fn skip(
        &mut self,
        option: u32,
        length: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), HandshakeFault> {
        let refusal = match option {
            option::EXPORT_NAME => return Err(HandshakeFault::BadName),
            option::ABORT..=option::LIST | option::STARTTLS..=option::SET_META_CONTEXT => {
                Refusal::TooBig
            }
            _ => Refusal::Unsupported,
        };
        self.refuse_option(option, refusal, out);
        self.state = State::Skipping(length);
        Ok(())
    }

    fn whole_option(
        &mut self,
        option: u32,
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<ServerStep>, HandshakeFault> {
        let asked = match option {
            option::EXPORT_NAME => {
                let name = message::string(data).ok_or(HandshakeFault::BadName)?;
                Ok(Some(Asked::Export {
                    option,
                    name: name.to_owned(),
                    asks_name: false,
                    asks_block_sizes: false,
                }))
            }
            option::ABORT => {
                write_reply(out, option, reply::ACK, &[]);
                self.state = State::Over;
                return Ok(Some(ServerStep::Aborted));
            }
            option::LIST if data.is_empty() => Ok(Some(Asked::List)),
            option::INFO | option::GO => read_wish(option, data).map(Some),
            option::STRUCTURED_REPLY if data.is_empty() => {
                self.structured_replies = true;
                Ok(None)
            }
            option::LIST_META_CONTEXT | option::SET_META_CONTEXT => self.meta_context(option, data),
            option::LIST | option::STRUCTURED_REPLY => Err(Refusal::Invalid),
            // TLS among them: section "Server-side requirements", mode NOTLS.
            _ => Err(Refusal::Unsupported),
        };
        match asked {
            Ok(Some(asked)) => {
                let step = asked.step();
                self.state = State::Asked(asked);
                return Ok(Some(step));
            }
            Ok(None) => write_reply(out, option, reply::ACK, &[]),
            Err(refusal) => self.refuse_option(option, refusal, out),
        }
        Ok(None)
    }

    fn refuse_option(&mut self, option: u32, refusal: Refusal, out: &mut Vec<u8>) {
        self.refused.push(match refusal {
            Refusal::Unsupported if option == option::STARTTLS => "nbd-tls",
            Refusal::Unsupported => "nbd-unknown-option",
            Refusal::TooBig => "nbd-option-too-long",
            _ => "nbd-bad-option",
        });
        write_reply(out, option, refusal.to_wire(), &[]);
    }

    /// Why options were refused since the last call, as stable labels for metrics.
    pub fn take_refused(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.refused)
    }

    /// `None` when no context that there is was asked for. Namespaces that are not known are ignored.
    fn meta_context(&mut self, option: u32, data: &[u8]) -> Result<Option<Asked>, Refusal> {
        let is_set = option == option::SET_META_CONTEXT;
        if is_set {
            // What was chosen before is gone, even if this fails.
            self.allocation_of = None;
        }
        if !self.structured_replies {
            return Err(Refusal::Invalid);
        }
        let mut fields = Fields(data);
        let name = fields.string().ok_or(Refusal::Invalid)?.to_owned();
        let queries = fields.u32().ok_or(Refusal::Invalid)?;
        let mut is_wanted = !is_set && queries == 0;
        for _ in 0..queries {
            let query = fields.string().ok_or(Refusal::Invalid)?;
            is_wanted |= query == ALLOCATION_CONTEXT || (!is_set && query == "base:");
        }
        if !fields.0.is_empty() {
            return Err(Refusal::Invalid);
        }
        Ok(is_wanted.then_some(Asked::Contexts { option, name }))
    }

    /// Whether the client takes structured replies, as far as it has said.
    pub fn structured_replies(&self) -> bool {
        self.structured_replies
    }

    /// Answers [`ServerStep::Wants`] with the export. With what was agreed on if the client uses it
    /// from now on: what comes next are its requests. Of its flags, those that cannot be kept are
    /// not offered. Does nothing when nothing of the kind was asked.
    pub fn offer(&mut self, out: &mut Vec<u8>, export: &Export) -> Option<Negotiated> {
        let State::Asked(Asked::Export {
            option,
            name,
            asks_name,
            asks_block_sizes,
        }) = &self.state
        else {
            return None;
        };
        let mut flags = export.flags & transmission_flag::KNOWN | transmission_flag::HAS_FLAGS;
        if !self.structured_replies {
            flags &= !transmission_flag::SEND_DF;
        }
        let export = Export { flags, ..*export };
        let (size, flags) = (export.size.to_be_bytes(), flags.to_be_bytes());
        if *option == option::EXPORT_NAME {
            out.extend_from_slice(&size);
            out.extend_from_slice(&flags);
            let zeroes = if self.no_zeroes { 0 } else { ZEROES_BYTES };
            out.resize(out.len() + zeroes, 0);
        } else {
            let mut tell = |kind: u16, parts: [&[u8]; 3]| {
                let kind = kind.to_be_bytes();
                let [first, second, third] = parts;
                write_reply(out, *option, reply::INFO, &[&kind, first, second, third]);
            };
            tell(info::EXPORT, [&size, &flags, &[]]);
            if *asks_name {
                tell(info::NAME, [name.as_bytes(), &[], &[]]);
            }
            if let (true, Some(sizes)) = (*asks_block_sizes, export.block_sizes) {
                let (minimum, preferred) = (sizes.minimum, sizes.preferred);
                let parts = [minimum, preferred, sizes.payload_max].map(u32::to_be_bytes);
                tell(info::BLOCK_SIZE, parts.each_ref().map(<[u8; 4]>::as_slice));
            }
            write_reply(out, *option, reply::ACK, &[]);
        }
        let is_allocation = self.allocation_of.as_ref() == Some(name);
        let is_only_info = *option == option::INFO;
        self.state = if is_only_info {
            State::Option
        } else {
            State::Over
        };
        (!is_only_info).then_some(Negotiated {
            export,
            structured_replies: self.structured_replies,
            allocation_context: is_allocation.then_some(ALLOCATION_CONTEXT_ID),
        })
    }

    /// Answers [`ServerStep::List`]. Names that are no strings in the sense of section "Conventions"
    /// are left out. Does nothing when nothing of the kind was asked.
    pub fn list<'a>(&mut self, out: &mut Vec<u8>, names: impl IntoIterator<Item = &'a str>) {
        if !matches!(self.state, State::Asked(Asked::List)) {
            return;
        }
        for name in names {
            if message::string(name.as_bytes()).is_some() {
                let length = (name.len() as u32).to_be_bytes();
                write_reply(
                    out,
                    option::LIST,
                    reply::SERVER,
                    &[&length, name.as_bytes()],
                );
            }
        }
        write_reply(out, option::LIST, reply::ACK, &[]);
        self.state = State::Option;
    }

    /// Answers [`ServerStep::WantsContexts`]: whether the export has [`ALLOCATION_CONTEXT`]. Does
    /// nothing when nothing of the kind was asked.
    pub fn contexts(&mut self, out: &mut Vec<u8>, has_allocation: bool) {
        let State::Asked(Asked::Contexts { option, name }) = &mut self.state else {
            return;
        };
        let option = *option;
        if has_allocation {
            let is_set = option == option::SET_META_CONTEXT;
            // In a list the number is reserved.
            let id = if is_set { ALLOCATION_CONTEXT_ID } else { 0 };
            let data: [&[u8]; 2] = [&id.to_be_bytes(), ALLOCATION_CONTEXT.as_bytes()];
            write_reply(out, option, reply::META_CONTEXT, &data);
            if is_set {
                self.allocation_of = Some(std::mem::take(name));
            }
        }
        write_reply(out, option, reply::ACK, &[]);
        self.state = State::Option;
    }

    /// Answers whatever was asked with a refusal and a reason for people. False when the client cannot
    /// be told ([`WantedBy::ExportName`]), so that the connection must be closed.
    pub fn refuse(&mut self, out: &mut Vec<u8>, refusal: Refusal, message: &str) -> bool {
        let option = match &self.state {
            State::Asked(Asked::Export { option, .. } | Asked::Contexts { option, .. }) => *option,
            State::Asked(Asked::List) => option::LIST,
            _ => return true,
        };
        if option == option::EXPORT_NAME {
            self.state = State::Over;
            return false;
        }
        let message = &message[..message.floor_char_boundary(message::NAME_BYTES_MAX)];
        write_reply(out, option, refusal.to_wire(), &[message.as_bytes()]);
        self.state = State::Option;
        true
    }
}

impl Asked {
    fn step(&self) -> ServerStep {
        match self {
            Asked::Export { option, name, .. } => ServerStep::Wants {
                export: name.clone(),
                by: match *option {
                    option::INFO => WantedBy::Info,
                    option::GO => WantedBy::Go,
                    _ => WantedBy::ExportName,
                },
            },
            Asked::List => ServerStep::List,
            Asked::Contexts { name, .. } => ServerStep::WantsContexts {
                export: name.clone(),
            },
        }
    }
}

/// The data of `INFO` and `GO`: a name, and what information is wanted.
fn read_wish(option: u32, data: &[u8]) -> Result<Asked, Refusal> {
    let mut fields = Fields(data);
    let name = fields.string().ok_or(Refusal::Invalid)?.to_owned();
    let count = fields.u16().ok_or(Refusal::Invalid)?;
    let (mut asks_name, mut asks_block_sizes) = (false, false);
    for _ in 0..count {
        match fields.u16().ok_or(Refusal::Invalid)? {
            info::NAME => asks_name = true,
            info::BLOCK_SIZE => asks_block_sizes = true,
            _ => {}
        }
    }
    match fields.0.is_empty() {
        true => Ok(Asked::Export {
            option,
            name,
            asks_name,
            asks_block_sizes,
        }),
        false => Err(Refusal::Invalid),
    }
}
