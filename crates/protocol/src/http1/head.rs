//! What a parsed head says, as ranges into the buffer it was parsed from.

use super::field::FieldKind;

/// Bounds on a head. Chunked trailers have bounds of their own.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest head, in bytes, with its empty line and the empty lines before it.
    pub head_bytes: usize,
    /// The most fields in a head; also the most options that `Connection` may name.
    pub fields: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            head_bytes: 32 * 1024,
            fields: 100,
        }
    }
}

/// A range of the buffer that a head was parsed from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes of this range; `buf` is the buffer that was parsed. Empty if it does not fit.
    pub fn of<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        buf.get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }

    /// Heads are bounded far below 4 GiB by [`Limits::head_bytes`], so offsets fit in 32 bits.
    pub(super) fn new(start: usize, end: usize) -> Span {
        Span {
            start: start as u32,
            end: end as u32,
        }
    }
}

/// The two versions that are spoken here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
}

/// Where the body of a message ends (RFC 9112, section 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Framing {
    /// There is no body, and the message says nothing of one.
    #[default]
    None,
    /// `Content-Length`, in bytes; may be 0.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Until the server closes the connection; responses only.
    UntilClose,
}

/// One field line.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The name as it was written.
    pub name: Span,
    /// The value, without the white space around it.
    pub value: Span,
    pub(super) kind: FieldKind,
}

/// Whether a head was all there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parsed {
    /// The whole head was there and is sound.
    Complete,
    /// What is there is sound so far; parse again, from the same start, when more has come.
    Partial,
}

/// The head of a request. Meant to be used again and again: parsing clears it and keeps its
/// memory, so that nothing is allocated in steady state.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    /// Bytes that the head took, with its empty line and any empty lines before it.
    pub head_bytes: usize,
    /// The method, as written: methods are case-sensitive.
    pub method: Span,
    /// Path and query, or `*` for `OPTIONS *`. Absolute-form is already reduced to its path and
    /// query, and may then lack the path's first `/` (be empty, or begin with `?`).
    pub target: Span,
    /// The authority of an absolute-form target, otherwise the value of `Host`.
    pub authority: Option<Span>,
    /// The client's version.
    pub version: Version,
    /// The fields, in order.
    pub fields: Vec<Field>,
    /// How the body ends: `None`, `Length` or `Chunked`.
    pub framing: Framing,
    /// May the connection be used again, after the rules for version and `Connection`?
    pub keep_alive: bool,
    /// The value of `Upgrade`, when `Connection` names it, the version is 1.1 and there is no body.
    pub upgrade: Option<Span>,
    /// The client waits for `100 Continue` before it sends its body.
    pub expect_continue: bool,
    /// The options that `Connection` names, other than those that are acted upon here.
    pub(super) connection: Vec<Span>,
}

impl RequestHead {
    /// Empties the head and keeps its memory.
    pub fn clear(&mut self) {
        let (mut fields, mut connection) = (
            std::mem::take(&mut self.fields),
            std::mem::take(&mut self.connection),
        );
        fields.clear();
        connection.clear();
        *self = RequestHead {
            fields,
            connection,
            ..RequestHead::default()
        };
    }
}

/// The head of a response. Reused like [`RequestHead`].
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    /// Bytes that the head took, with its empty line.
    pub head_bytes: usize,
    /// 100 to 999. 1xx other than 101 are interim: forward them and parse again.
    pub status: u16,
    /// The reason phrase; may be empty.
    pub reason: Span,
    /// The server's version.
    pub version: Version,
    /// The fields, in order.
    pub fields: Vec<Field>,
    /// How the body ends.
    pub framing: Framing,
    /// May the connection to the server be used again?
    pub keep_alive: bool,
    /// A 101 with `Connection: upgrade` and `Upgrade`: from here on the connection is a tunnel.
    pub upgrade: bool,
    /// `Keep-Alive: timeout=N`, in seconds: the server closes an idle connection after that.
    pub keep_alive_timeout_s: Option<u32>,
    /// The options that `Connection` names, other than those that are acted upon here.
    pub(super) connection: Vec<Span>,
}

impl ResponseHead {
    /// Empties the head and keeps its memory.
    pub fn clear(&mut self) {
        let (mut fields, mut connection) = (
            std::mem::take(&mut self.fields),
            std::mem::take(&mut self.connection),
        );
        fields.clear();
        connection.clear();
        *self = ResponseHead {
            fields,
            connection,
            ..ResponseHead::default()
        };
    }
}
