//! What both sides of the handshake have in common: numbers, bounds, and reading them.

/// The longest name of an export, in bytes (section "Conventions": the longest string).
pub const NAME_BYTES_MAX: usize = 4096;
/// A message that is longer, without its head, is never kept.
pub(super) const DATA_BYTES_MAX: usize = 2 * NAME_BYTES_MAX + 64;
/// How much of the handshake must be kept until it is understood, in bytes, at most: whoever offers
/// so many bytes at once is never asked for more before some of them are taken.
pub const HANDSHAKE_BYTES_MAX: usize = REPLY_HEAD_BYTES + DATA_BYTES_MAX;

/// `NBDMAGIC`, with which every server begins.
pub(super) const GREETING_MAGIC: u64 = 0x4e42_444d_4147_4943;
/// `IHAVEOPT`, of the newstyle greeting and of every option.
pub(super) const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
/// In the place of the second magic number: an oldstyle server.
pub(super) const OLDSTYLE_MAGIC: u64 = 0x0000_4202_8186_1253;
pub(super) const REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;

/// Both magic numbers and the handshake flags.
pub(super) const GREETING_BYTES: usize = 18;
/// Magic number, option, length.
pub(super) const OPTION_HEAD_BYTES: usize = 16;
/// Magic number, option, type, length.
pub(super) const REPLY_HEAD_BYTES: usize = 20;
/// After the reply to `EXPORT_NAME`, unless both sides can do without.
pub(super) const ZEROES_BYTES: usize = 124;

/// Sections "Handshake flags" and "Client flags": the same bits in both.
pub(super) const FIXED_NEWSTYLE: u16 = 1 << 0;
pub(super) const NO_ZEROES: u16 = 1 << 1;

/// Section "Option types".
pub(super) mod option {
    pub const EXPORT_NAME: u32 = 1;
    pub const ABORT: u32 = 2;
    pub const LIST: u32 = 3;
    pub const STARTTLS: u32 = 5;
    pub const INFO: u32 = 6;
    pub const GO: u32 = 7;
    pub const STRUCTURED_REPLY: u32 = 8;
    pub const LIST_META_CONTEXT: u32 = 9;
    pub const SET_META_CONTEXT: u32 = 10;
}

/// Section "Option reply types".
pub(super) mod reply {
    pub const ACK: u32 = 1;
    pub const SERVER: u32 = 2;
    pub const INFO: u32 = 3;
    pub const META_CONTEXT: u32 = 4;
    pub const ERROR_BIT: u32 = 1 << 31;
}

/// Types of information (section "Option reply types", `NBD_REP_INFO`).
pub(super) mod info {
    pub const EXPORT: u16 = 0;
    pub const NAME: u16 = 1;
    pub const BLOCK_SIZE: u16 = 3;
}

/// Why a server does not do what an option asks for (section "Option reply types").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Refusal {
    /// The option is not known here.
    Unsupported = 1,
    /// The option is known, but not for everybody.
    Policy = 2,
    /// The option is malformed.
    Invalid = 3,
    /// Not on this platform.
    Platform = 4,
    /// Not without TLS.
    TlsRequired = 5,
    /// No such export.
    Unknown = 6,
    /// The server goes away.
    ShuttingDown = 7,
    /// Not without asking for block sizes.
    BlockSizeRequired = 8,
    /// Too large to be processed.
    TooBig = 9,
}

impl Refusal {
    pub(super) fn to_wire(self) -> u32 {
        reply::ERROR_BIT | self as u32
    }

    pub(super) fn from_wire(kind: u32) -> Option<Self> {
        match kind & !reply::ERROR_BIT {
            1 => Some(Refusal::Unsupported),
            2 => Some(Refusal::Policy),
            3 => Some(Refusal::Invalid),
            4 => Some(Refusal::Platform),
            5 => Some(Refusal::TlsRequired),
            6 => Some(Refusal::Unknown),
            7 => Some(Refusal::ShuttingDown),
            8 => Some(Refusal::BlockSizeRequired),
            9 => Some(Refusal::TooBig),
            _ => None,
        }
    }

    #[rustfmt::skip] // one line for each reason reads as the table that it is
    pub(super) fn describe(self) -> (&'static str, &'static str) {
        match self {
            Refusal::Unsupported => ("unsupported", "the server does not know the option"),
            Refusal::Policy => ("policy", "the server does not allow it"),
            Refusal::Invalid => ("invalid", "the server takes the option for malformed"),
            Refusal::Platform => ("platform", "the server's platform does not allow it"),
            Refusal::TlsRequired => ("tls-required", "the server wants TLS"),
            Refusal::Unknown => ("unknown", "the server has no such export"),
            Refusal::ShuttingDown => ("shutting-down", "the server is shutting down"),
            Refusal::BlockSizeRequired => ("block-size-required", "the server wants its block sizes to be asked for"),
            Refusal::TooBig => ("too-big", "the server takes the option for too large"),
        }
    }
}

/// Reads numbers and strings from the front of a message that is whole. `None` where it is too short.
pub(super) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// A length of 32 bits and a string of that length.
    pub fn string(&mut self) -> Option<&'a str> {
        let count = self.u32()?;
        string(self.bytes(usize::try_from(count).ok()?)?)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }
}

/// A string as section "Conventions" wants them: UTF-8, no NUL, not too long.
pub(super) fn string(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    (text.len() <= NAME_BYTES_MAX && !text.contains('\0')).then_some(text)
}

/// A text for people, from whoever sent it: what cannot be shown is left out.
pub(super) fn display(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(NAME_BYTES_MAX)]);
    text.chars().filter(|c| !c.is_control()).collect()
}

/// Writes an option, as a client.
pub(super) fn write_option(out: &mut Vec<u8>, option: u32, data: &[u8]) {
    out.extend_from_slice(&OPTION_MAGIC.to_be_bytes());
    out.extend_from_slice(&option.to_be_bytes());
    out.extend_from_slice(&(data.len() as u32).to_be_bytes());
    out.extend_from_slice(data);
}

/// Writes a reply to an option, as a server.
pub(super) fn write_reply(out: &mut Vec<u8>, option: u32, kind: u32, data: &[&[u8]]) {
    let length: usize = data.iter().map(|part| part.len()).sum();
    out.extend_from_slice(&REPLY_MAGIC.to_be_bytes());
    out.extend_from_slice(&option.to_be_bytes());
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&(length as u32).to_be_bytes());
    data.iter().for_each(|part| out.extend_from_slice(part));
}
