//! The Network Block Device protocol, fixed newstyle, both sides, without I/O. The sections named
//! here are those of `doc/proto.md` of the NetworkBlockDevice project.
//!
//! Towards clients, Ebbtide is a server: [`ServerHandshake`], then [`Request::parse`] and the
//! writers of replies. Towards servers it is a client: [`ClientHandshake`], then [`Request::write`]
//! and [`ReplyReader`]. What is read and written on the disk itself passes by all of them: they say
//! how many bytes of it come next, and the caller moves those from socket to socket.
//!
//! TLS, extended headers, resizing, and contexts other than `base:allocation` are not spoken.

mod client_handshake;
mod coverage;
mod error_number;
mod export;
mod fault;
mod message;
mod outstanding;
mod reply;
mod reply_reader;
mod request;
mod server_handshake;

pub use client_handshake::{ClientGoal, ClientHandshake, ClientStep, Negotiated};
pub use error_number::ErrorNumber;
pub use export::{BlockSizes, Export, PAYLOAD_BYTES_MAX, transmission_flag};
pub use fault::{HandshakeFault, ReplyFault, RequestFault};
pub use message::{HANDSHAKE_BYTES_MAX, NAME_BYTES_MAX, Refusal};
pub use outstanding::Outstanding;
pub use reply::{
    CHUNK_HEAD_BYTES, SIMPLE_REPLY_BYTES, write_data_chunk_head, write_done_chunk, write_error,
    write_hole_chunk, write_simple_reply, write_status_chunk_head,
};
pub use reply_reader::{Content, ReplyHead, ReplyReader, ReplyStep};
pub use request::{BadRequestMagic, Command, REQUEST_BYTES, Request, command_flag};
pub use server_handshake::{ServerHandshake, ServerStep, WantedBy};

/// The one metadata context that is spoken (section "The `base:` metadata namespace").
pub const ALLOCATION_CONTEXT: &str = "base:allocation";
/// The number under which [`ServerHandshake`] gives it to clients.
pub const ALLOCATION_CONTEXT_ID: u32 = 1;

#[cfg(test)]
mod tests;
