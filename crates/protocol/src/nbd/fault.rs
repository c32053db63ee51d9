//! Why a peer's bytes were refused.

use std::fmt;

use super::ErrorNumber;
use super::message::Refusal;

/// Why a handshake came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandshakeFault {
    /// A magic number is wrong: the peer does not speak NBD, or has lost its place.
    BadMagic,
    /// A server that only speaks the oldstyle handshake, without names of exports.
    Oldstyle,
    /// A server that is not fixed newstyle cannot be asked what was to be asked.
    NotFixed,
    /// A client set flags that nobody offered: the connection must be dropped (section "Client flags").
    UnknownClientFlags,
    /// An option or a reply has more data than is read or skipped.
    TooLong,
    /// A client sent more options than one connection may, or a server more replies to one option.
    TooMany,
    /// A client asked for an export by `NBD_OPT_EXPORT_NAME`, and by a name that cannot be one: there
    /// is no way to tell it.
    BadName,
    /// A reply is to another option than the one that was sent, or of a type that it cannot have.
    UnexpectedReply,
    /// The data of a reply is not what its type says.
    BadReply,
    /// A server's block sizes or transmission flags are not valid.
    BadExport,
    /// The server refused what was asked for, and said why.
    Refused {
        /// Its kind, if it is a known one.
        refusal: Option<Refusal>,
        /// In the server's words; may be empty. Control characters are gone.
        message: String,
    },
}

impl HandshakeFault {
    /// A stable label, for metrics and logs.
    pub fn reason(&self) -> &'static str {
        self.describe().0
    }

    #[rustfmt::skip] // one line for each reason reads as the table that it is
    fn describe(&self) -> (&'static str, &'static str) {
        match self {
            HandshakeFault::BadMagic => ("bad-magic", "the peer does not speak NBD"),
            HandshakeFault::Oldstyle => ("oldstyle", "the server only speaks the oldstyle handshake"),
            HandshakeFault::NotFixed => ("not-fixed", "the server does not speak the fixed newstyle handshake"),
            HandshakeFault::UnknownClientFlags => ("unknown-client-flags", "the client set unknown flags"),
            HandshakeFault::TooLong => ("too-long", "an option or a reply is too long"),
            HandshakeFault::TooMany => ("too-many", "there are too many options or replies"),
            HandshakeFault::BadName => ("bad-name", "the name of the export is not valid"),
            HandshakeFault::UnexpectedReply => ("unexpected-reply", "a reply does not belong to what was asked"),
            HandshakeFault::BadReply => ("bad-reply", "a reply is malformed"),
            HandshakeFault::BadExport => ("bad-export", "the server's description of the export is not valid"),
            HandshakeFault::Refused { refusal, .. } => match refusal {
                Some(refusal) => refusal.describe(),
                None => ("refused", "the server refused with an unknown code"),
            },
        }
    }
}

impl fmt::Display for HandshakeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.describe().1)?;
        match self {
            HandshakeFault::Refused { message, .. } if !message.is_empty() => {
                write!(f, " ({message})")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for HandshakeFault {}

/// Why a request is answered with an error without asking any server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestFault {
    /// A command that does not exist, or block status without a context that was agreed on.
    UnknownCommand,
    /// A command or a flag that the client was not offered, or a flush of a part.
    NotOffered,
    /// It would change what is read-only.
    ReadOnly,
    /// Its data is longer than agreed on.
    TooLong,
    /// It does not begin and end at the border of a block.
    Unaligned,
    /// It goes beyond the end of the export.
    PastEnd,
    /// The same of a write.
    WritePastEnd,
}

impl RequestFault {
    /// The error that the client gets (section "Error values").
    pub fn error(self) -> ErrorNumber {
        match self {
            RequestFault::ReadOnly => ErrorNumber::NotPermitted,
            RequestFault::WritePastEnd => ErrorNumber::NoSpace,
            _ => ErrorNumber::Invalid,
        }
    }

    /// A stable label, for metrics.
    pub fn reason(self) -> &'static str {
        match self {
            RequestFault::UnknownCommand => "nbd-unknown-command",
            RequestFault::NotOffered => "nbd-not-offered",
            RequestFault::ReadOnly => "nbd-read-only",
            RequestFault::TooLong => "nbd-too-long",
            RequestFault::Unaligned => "nbd-unaligned",
            RequestFault::PastEnd | RequestFault::WritePastEnd => "nbd-past-end",
        }
    }
}

impl fmt::Display for RequestFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RequestFault::UnknownCommand => "there is no such command here",
            RequestFault::NotOffered => "it was not offered",
            RequestFault::ReadOnly => "this export is read-only",
            RequestFault::TooLong => "it is longer than was agreed on",
            RequestFault::Unaligned => "it does not keep to the borders of blocks",
            RequestFault::PastEnd | RequestFault::WritePastEnd => "it goes beyond the end",
        })
    }
}

impl std::error::Error for RequestFault {}

/// Why a server's replies were refused. The connection to it ends: nobody can say what its next bytes
/// are, or whether they are true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyFault {
    /// What should be a reply does not begin like one of the kind that was agreed on.
    BadMagic,
    /// A reply to nothing that is outstanding, or one more after the last.
    UnknownCookie,
    /// A simple reply to a read where structured ones were agreed on.
    SimpleReplyToRead,
    /// A chunk of a type that does not exist, or that its command cannot have.
    UnexpectedChunk,
    /// A chunk whose length does not fit its type.
    BadChunkLength,
    /// Data, a hole or an error outside what was asked for.
    OutsideRequest,
    /// Data or a hole where there was one before.
    Overlap,
    /// The last chunk came, and no error, but not all of the data.
    Incomplete,
    /// More than one piece for a read that was to be answered in one (`NBD_CMD_FLAG_DF`).
    Fragmented,
    /// Pieces in such disorder that they are no longer kept count of.
    TooManyPieces,
    /// An error chunk whose error is 0.
    NoError,
    /// Block status of a context that was not agreed on.
    UnknownContext,
    /// Block status twice for one context.
    RepeatedContext,
    /// More or fewer extents than were asked for (`NBD_CMD_FLAG_REQ_ONE`).
    BadExtents,
}

impl ReplyFault {
    /// A stable label, for metrics and logs.
    pub fn reason(&self) -> &'static str {
        self.describe().0
    }

    #[rustfmt::skip] // one line for each reason reads as the table that it is
    fn describe(&self) -> (&'static str, &'static str) {
        match self {
            ReplyFault::BadMagic => ("bad-magic", "a reply does not begin like one"),
            ReplyFault::UnknownCookie => ("unknown-cookie", "a reply is to no outstanding request"),
            ReplyFault::SimpleReplyToRead => ("simple-reply-to-read", "a read was not answered in chunks"),
            ReplyFault::UnexpectedChunk => ("unexpected-chunk", "a chunk is of a type that the request cannot have"),
            ReplyFault::BadChunkLength => ("bad-chunk-length", "a chunk has a length that its type cannot have"),
            ReplyFault::OutsideRequest => ("outside-request", "a chunk is about bytes that were not asked for"),
            ReplyFault::Overlap => ("overlap", "two chunks are about the same bytes"),
            ReplyFault::Incomplete => ("incomplete", "a reply ended without all that was asked for"),
            ReplyFault::Fragmented => ("fragmented", "a reply that was to be one piece came in several"),
            ReplyFault::TooManyPieces => ("too-many-pieces", "a reply came in too many pieces out of order"),
            ReplyFault::NoError => ("no-error", "an error chunk has no error"),
            ReplyFault::UnknownContext => ("unknown-context", "block status is of a context that was not agreed on"),
            ReplyFault::RepeatedContext => ("repeated-context", "block status came twice for one context"),
            ReplyFault::BadExtents => ("bad-extents", "block status has not as many extents as were asked for"),
        }
    }
}

impl fmt::Display for ReplyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.describe().1)
    }
}

impl std::error::Error for ReplyFault {}
