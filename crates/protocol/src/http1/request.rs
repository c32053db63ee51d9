//! Parsing the head of a request.
use super::{Limits, Parsed, Reject, RequestHead};

/// Parses the head of a request at the front of `buf`. Bytes beyond the head are not looked at.
pub fn parse_request(
    buf: &[u8],
    limits: &Limits,
    head: &mut RequestHead,
) -> Result<Parsed, Reject> {
    let _ = (buf, limits, head);
    unimplemented!()
}
