//! Writing replies (sections "Simple reply message" and "Structured reply chunk message").

use super::ErrorNumber;
use super::message::NAME_BYTES_MAX;

/// The length of a simple reply without its payload, in bytes.
pub const SIMPLE_REPLY_BYTES: usize = 16;
/// The length of a chunk without its payload, in bytes.
pub const CHUNK_HEAD_BYTES: usize = 20;

pub(super) const SIMPLE_MAGIC: u32 = 0x6744_6698;
pub(super) const CHUNK_MAGIC: u32 = 0x668e_33ef;
/// The last chunk of its reply.
pub(super) const FLAG_DONE: u16 = 1 << 0;

/// Section "Structured reply types".
pub(super) mod kind {
    pub const NONE: u16 = 0;
    pub const OFFSET_DATA: u16 = 1;
    pub const OFFSET_HOLE: u16 = 2;
    pub const BLOCK_STATUS: u16 = 5;
    pub const ERROR: u16 = ERROR_BIT | 1;
    pub const ERROR_OFFSET: u16 = ERROR_BIT | 2;
    pub const ERROR_BIT: u16 = 1 << 15;
}

/// Writes a simple reply without an error: after one to a read, its data must follow.
pub fn write_simple_reply(out: &mut Vec<u8>, cookie: u64) {
    simple(out, cookie, 0);
}

/// Writes that a request failed, in the form that was agreed on. A chunk also says why, in words for
/// people; it is the last of its reply.
pub fn write_error(
    out: &mut Vec<u8>,
    structured_replies: bool,
    cookie: u64,
    error: ErrorNumber,
    message: &str,
) {
    if !structured_replies {
        return simple(out, cookie, error.to_wire());
    }
    let message = &message[..message.floor_char_boundary(NAME_BYTES_MAX)];
    chunk(out, cookie, kind::ERROR, 6 + message.len() as u32, true);
    out.extend_from_slice(&error.to_wire().to_be_bytes());
    out.extend_from_slice(&(message.len() as u16).to_be_bytes());
    out.extend_from_slice(message.as_bytes());
}

/// Writes the head of a chunk of data; `length` bytes of data must follow, and there is at least one.
/// `length` is at most `u32::MAX - 8`.
pub fn write_data_chunk_head(
    out: &mut Vec<u8>,
    cookie: u64,
    offset: u64,
    length: u32,
    is_last: bool,
) {
    chunk(
        out,
        cookie,
        kind::OFFSET_DATA,
        length.saturating_add(8),
        is_last,
    );
    out.extend_from_slice(&offset.to_be_bytes());
}

/// Writes a chunk that says that `length` bytes are zeroes; there is at least one.
pub fn write_hole_chunk(out: &mut Vec<u8>, cookie: u64, offset: u64, length: u32, is_last: bool) {
    chunk(out, cookie, kind::OFFSET_HOLE, 12, is_last);
    out.extend_from_slice(&offset.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
}

/// Writes the head of a chunk of block status; so many extents of 8 bytes must follow, a length and a
/// status each. There is at least one, and at most 2^20.
pub fn write_status_chunk_head(
    out: &mut Vec<u8>,
    cookie: u64,
    context: u32,
    extents: u32,
    is_last: bool,
) {
    let length = extents.saturating_mul(8).saturating_add(4);
    chunk(out, cookie, kind::BLOCK_STATUS, length, is_last);
    out.extend_from_slice(&context.to_be_bytes());
}

/// Writes the chunk that ends a reply and has nothing else to say.
pub fn write_done_chunk(out: &mut Vec<u8>, cookie: u64) {
    chunk(out, cookie, kind::NONE, 0, true);
}

fn simple(out: &mut Vec<u8>, cookie: u64, error: u32) {
    out.extend_from_slice(&SIMPLE_MAGIC.to_be_bytes());
    out.extend_from_slice(&error.to_be_bytes());
    out.extend_from_slice(&cookie.to_be_bytes());
}

fn chunk(out: &mut Vec<u8>, cookie: u64, kind: u16, length: u32, is_last: bool) {
    let flags = if is_last { FLAG_DONE } else { 0 };
    out.extend_from_slice(&CHUNK_MAGIC.to_be_bytes());
    out.extend_from_slice(&flags.to_be_bytes());
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&cookie.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
}
