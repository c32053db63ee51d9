//! HTTP/1 (RFC 9110, RFC 9112): heads and bodies, both ways, without I/O.
//!
//! One interpretation only. Two readers of one message that disagree about where it ends are how
//! requests are smuggled, so a message that could be read in two ways is refused, and what is
//! forwarded is written anew from what was parsed, never copied as it came.

mod body;
mod field;
mod forward;
mod head;
mod line;
mod reject;
mod request;
mod response;
mod write;

pub use body::{BodyDecoder, BodyStep};
pub use forward::{
    CONSOLE_COOKIE, CONSOLE_WAY_COOKIE, Forwarding, ResponseEdit, SESSION_ENDS, cookie, cookies,
    forwarded_for, is_forwarded_https, is_of_console, write_interim, write_request, write_response,
};
pub use head::{Field, Framing, Limits, Parsed, RequestHead, ResponseHead, Span, Version};
pub use reject::Reject;
pub use request::parse_request;
pub use response::parse_response;
pub use write::{write_chunk_head, write_last_chunk};
