//! Lines, and the bytes that may be in them.

use memchr::{memchr, memchr_iter};

use super::Reject;

const fn token_table() -> [bool; 256] {
    let mut table = [false; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        table[at] = byte.is_ascii_alphanumeric();
        at += 1;
    }
    let marks = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    table
}

static TOKEN: [bool; 256] = token_table();

/// May `byte` be in a token (RFC 9110, 5.6.2)?
pub(super) fn is_token_byte(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// Is there a byte that no field value may have (RFC 9110, 5.5)? Without an early exit, so that
/// the compiler can look at many bytes at once.
pub(super) fn has_control(text: &[u8]) -> bool {
    text.iter().fold(false, |found, &byte| {
        found | (((byte < 0x20) & (byte != b'\t')) | (byte == 0x7f))
    })
}

/// The reason to give for a malformed line: the byte that is never right, if there is one.
pub(super) fn blame(line: &[u8], otherwise: Reject) -> Reject {
    if memchr(b'\r', line).is_some() {
        Reject::BareCr
    } else if memchr(0, line).is_some() {
        Reject::NulInField
    } else {
        otherwise
    }
}

/// `text` without the spaces and tabs around it.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// What a search for the end of a head found.
pub(super) enum HeadEnd {
    /// The head, with its empty line, ends before this offset.
    At(usize),
    /// All lines so far are proper ones, but the empty line is still to come.
    NotYet,
    /// A line ends in a line feed alone; the line ends before this offset.
    BareLf(usize),
}

/// Looks for the end of the head that begins at `start`. Much cheaper than parsing, so that a
/// head that comes byte by byte costs little.
pub(super) fn find_head_end(buf: &[u8], start: usize) -> HeadEnd {
    let mut line_start = start;
    for found in memchr_iter(b'\n', &buf[start..]) {
        let end = start + found;
        if end == line_start || buf[end - 1] != b'\r' {
            return HeadEnd::BareLf(end + 1);
        }
        if end == line_start + 1 {
            return HeadEnd::At(end + 1);
        }
        line_start = end + 1;
    }
    HeadEnd::NotYet
}

/// One line at `start`, without its CRLF, and where the next one begins. `None` if it has no end.
pub(super) fn take_line(buf: &[u8], start: usize) -> Result<Option<(&[u8], usize)>, Reject> {
    let Some(length) = memchr(b'\n', &buf[start..]) else {
        return Ok(None);
    };
    let line = &buf[start..start + length];
    match line.split_last() {
        Some((b'\r', line)) => Ok(Some((line, start + length + 1))),
        _ => Err(Reject::BareLf),
    }
}
