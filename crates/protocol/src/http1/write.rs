//! Pieces that heads and bodies are written from.

/// Appends a decimal number.
pub(super) fn put_decimal(out: &mut Vec<u8>, number: u64) {
    put_digits(out, number, 10);
}

/// Appends `name: value` and a line end.
pub(super) fn put_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Enough for the digits of a `u64` in base 10 or more.
const DIGITS_MAX: usize = 20;

fn put_digits(out: &mut Vec<u8>, number: u64, base: u64) {
    let mut digits = [0; DIGITS_MAX];
    let mut start = digits.len();
    let mut rest = number;
    loop {
        start -= 1;
        digits[start] = b"0123456789abcdef"[(rest % base) as usize];
        rest /= base;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// The line before a chunk of `len` bytes. The data and a CRLF must follow. `len` must not be 0:
/// that would end the message.
pub fn write_chunk_head(out: &mut Vec<u8>, len: usize) {
    debug_assert!(len > 0, "an empty chunk ends the message");
    put_digits(out, len as u64, 16);
    out.extend_from_slice(b"\r\n");
}

/// The last chunk, the trailers, and the end of the message.
pub fn write_last_chunk<'a>(
    out: &mut Vec<u8>,
    trailers: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        put_field(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}
