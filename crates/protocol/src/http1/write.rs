//! Writing chunks.

/// The line before a chunk of `len` bytes (never 0). The data and a CRLF must follow.
pub fn write_chunk_head(out: &mut Vec<u8>, len: usize) {
    let _ = (out, len);
    unimplemented!()
}

/// The last chunk, the trailers, and the end of the message.
pub fn write_last_chunk<'a>(
    out: &mut Vec<u8>,
    trailers: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) {
    let _ = (out, trailers);
    unimplemented!()
}
