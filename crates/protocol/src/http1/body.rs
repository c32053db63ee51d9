//! Decoding a body as it comes.

use super::field::{FieldKind, parse_fields};
use super::line::is_token_byte;
use super::{Field, Framing, Reject};

/// The longest extension of one chunk, in bytes. Nothing in use is longer than a signature.
const CHUNK_EXTENSION_BYTES_MAX: usize = 256;
/// A chunk size has no more digits than a `u64`, leading zeros included.
const CHUNK_SIZE_DIGITS_MAX: u8 = 16;
/// The longest trailer section, in bytes.
const TRAILER_BYTES_MAX: usize = 8 * 1024;
/// The most trailer fields.
const TRAILER_FIELDS_MAX: usize = 100;

/// Fields that change how a message is framed, routed, authorized, cached or understood, and so
/// come too late in a trailer (RFC 9110, 6.5.1). Those that are a [`FieldKind`] are not listed.
const NEVER_TRAILERS: [&[u8]; 24] = [
    b"age",
    b"authorization",
    b"cache-control",
    b"content-encoding",
    b"content-range",
    b"content-type",
    b"date",
    b"expires",
    b"forwarded",
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"if-unmodified-since",
    b"location",
    b"max-forwards",
    b"pragma",
    b"range",
    b"retry-after",
    b"trailer",
    b"vary",
    b"via",
    b"warning",
    b"www-authenticate",
];

/// What [`BodyDecoder::decode`] found at the front of its input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyStep {
    /// `data` bytes of content are at `input[skip..skip + data]`; call again with what follows.
    Data {
        /// Framing bytes before the content.
        skip: usize,
        /// Content bytes; never 0.
        data: usize,
    },
    /// All of `input` was framing, or it was empty; more is needed.
    More {
        /// Framing bytes: all of the input.
        skip: usize,
    },
    /// The message is complete. Trailers, if any, are in [`BodyDecoder::trailers`].
    Done {
        /// Framing bytes that were the last of the message; what follows is the next one's.
        skip: usize,
    },
}

/// Finds the content of one message's body, piece by piece, however it is split on the way.
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
    /// The trailer section as it came; empty, and without memory, when there is none.
    trailer: Vec<u8>,
    trailer_fields: Vec<Field>,
}

/// Where in the body the next byte is (chunked: RFC 9112, 7.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Done,
    /// Until the peer closes.
    UntilClose,
    /// In a body of known length, with this many bytes to come (never 0).
    Length(u64),
    /// In a chunk size, after so many digits.
    Size {
        size: u64,
        digits: u8,
    },
    /// In a chunk extension, `bytes` long so far; `named` once its name has begun.
    Extension {
        size: u64,
        bytes: usize,
        named: bool,
    },
    /// Before the line feed after a chunk size.
    SizeLf {
        size: u64,
    },
    /// In a chunk's data, with this many bytes to come (never 0).
    Data(u64),
    /// Before the carriage return after a chunk's data.
    DataCr,
    /// Before the line feed after a chunk's data.
    DataLf,
    /// At the start of a trailer line, or of the empty line that ends the message.
    TrailerStart,
    /// In a trailer line.
    TrailerLine,
    /// Before the last line feed of the message.
    FinalLf,
}

const SIZE_START: State = State::Size { size: 0, digits: 0 };

impl BodyDecoder {
    /// A decoder for one message.
    pub fn new(framing: Framing) -> Self {
        BodyDecoder {
            state: match framing {
                Framing::None | Framing::Length(0) => State::Done,
                Framing::Length(bytes) => State::Length(bytes),
                Framing::Chunked => SIZE_START,
                Framing::UntilClose => State::UntilClose,
            },
            trailer: Vec::new(),
            trailer_fields: Vec::new(),
        }
    }

    /// Looks at the bytes at the front of `input`; never goes beyond the message's end.
    pub fn decode(&mut self, input: &[u8]) -> Result<BodyStep, Reject> {
        let mut skip = 0;
        loop {
            let rest = (input.len() - skip) as u64;
            let data = match self.state {
                State::Done => return Ok(BodyStep::Done { skip }),
                _ if rest == 0 => return Ok(BodyStep::More { skip }),
                State::UntilClose => rest,
                State::Length(bytes) => {
                    let data = bytes.min(rest);
                    self.state = match bytes - data {
                        0 => State::Done,
                        left => State::Length(left),
                    };
                    data
                }
                State::Data(bytes) => {
                    let data = bytes.min(rest);
                    self.state = match bytes - data {
                        0 => State::DataCr,
                        left => State::Data(left),
                    };
                    data
                }
                _ => {
                    self.state = self.framing_byte(input[skip])?;
                    skip += 1;
                    continue;
                }
            };
            let data = data as usize;
            return Ok(BodyStep::Data { skip, data });
        }
    }

    /// The state after one more byte of chunked framing.
    fn framing_byte(&mut self, byte: u8) -> Result<State, Reject> {
        match (self.state, byte) {
            (State::Size { size, digits }, _) => after_size(size, digits, byte),
            (State::Extension { size, bytes, named }, _) => {
                after_extension(size, bytes, named, byte)
            }
            (State::SizeLf { size: 0 }, b'\n') => Ok(State::TrailerStart),
            (State::SizeLf { size }, b'\n') => Ok(State::Data(size)),
            (State::SizeLf { .. }, _) => Err(Reject::BareCr),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(SIZE_START),
            (State::DataCr | State::DataLf, _) => Err(Reject::ChunkDataWithoutCrlf),
            (State::TrailerStart, b'\r') => Ok(State::FinalLf),
            (State::TrailerStart | State::TrailerLine, _) => self.trailer_byte(byte),
            (State::FinalLf, b'\n') => {
                parse_fields(
                    &self.trailer,
                    0,
                    TRAILER_FIELDS_MAX,
                    &mut self.trailer_fields,
                )
                .map_err(|_| Reject::BadTrailer)?;
                Ok(State::Done)
            }
            (State::FinalLf, _) => Err(Reject::BareCr),
            // These have no framing bytes, and `decode` does not come here with them.
            (State::Done | State::UntilClose | State::Length(_) | State::Data(_), _) => {
                Ok(self.state)
            }
        }
    }

    fn trailer_byte(&mut self, byte: u8) -> Result<State, Reject> {
        if self.trailer.len() == TRAILER_BYTES_MAX {
            return Err(Reject::TrailerTooLarge);
        }
        let line_ends = self.trailer.last() == Some(&b'\r');
        self.trailer.push(byte);
        match byte {
            b'\n' if line_ends => Ok(State::TrailerStart),
            b'\n' => Err(Reject::BareLf),
            _ => Ok(State::TrailerLine),
        }
    }

    /// Was the end of the message seen?
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The peer closed. Fine when that is how the message ends, or when it had ended already;
    /// [`Reject::Truncated`] otherwise.
    pub fn finish(&mut self) -> Result<(), Reject> {
        match self.state {
            State::Done | State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            _ => Err(Reject::Truncated),
        }
    }

    /// Content bytes still to come, when `Content-Length` told how many there are.
    pub fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Done => Some(0),
            State::Length(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The trailer fields, once the message is done, without those that may not be trailers.
    pub fn trailers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let allowed = self.trailer_fields.iter().filter(|field| {
            let name = field.name.of(&self.trailer);
            field.kind == FieldKind::Other
                && !NEVER_TRAILERS
                    .iter()
                    .any(|never| name.eq_ignore_ascii_case(never))
        });
        allowed.map(|field| (field.name.of(&self.trailer), field.value.of(&self.trailer)))
    }
}

fn after_size(size: u64, digits: u8, byte: u8) -> Result<State, Reject> {
    match (byte, (byte as char).to_digit(16)) {
        (_, Some(_)) if digits == CHUNK_SIZE_DIGITS_MAX => Err(Reject::BadChunkSize),
        (_, Some(digit)) => Ok(State::Size {
            size: size << 4 | u64::from(digit),
            digits: digits + 1,
        }),
        (b'\r', _) if digits > 0 => Ok(State::SizeLf { size }),
        (b';', _) if digits > 0 => Ok(State::Extension {
            size,
            bytes: 0,
            named: false,
        }),
        (b'\n', _) if digits > 0 => Err(Reject::BareLf),
        _ => Err(Reject::BadChunkSize),
    }
}

fn after_extension(size: u64, bytes: usize, named: bool, byte: u8) -> Result<State, Reject> {
    match byte {
        b'\r' if named => return Ok(State::SizeLf { size }),
        b'\n' => return Err(Reject::BareLf),
        _ if bytes == CHUNK_EXTENSION_BYTES_MAX => return Err(Reject::ChunkExtensionTooLong),
        b' ' | b'\t' => {}
        _ if !named && !is_token_byte(byte) => return Err(Reject::BadChunkExtension),
        0..=0x1f | 0x7f => return Err(Reject::BadChunkExtension),
        _ => {}
    }
    Ok(State::Extension {
        size,
        bytes: bytes + 1,
        named: named || is_token_byte(byte),
    })
}
