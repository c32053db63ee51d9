//! Parsing the head of a response.
use super::{Limits, Parsed, Reject, ResponseHead};

/// Parses the head of a response at the front of `buf`. Bytes beyond the head are not looked at.
pub fn parse_response(
    buf: &[u8],
    limits: &Limits,
    request_is_head: bool,
    head: &mut ResponseHead,
) -> Result<Parsed, Reject> {
    let _ = (buf, limits, request_is_head, head);
    unimplemented!()
}
