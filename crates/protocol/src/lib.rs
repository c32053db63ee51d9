//! The wire formats of Ebbtide: bytes in, bytes out. No sockets, no clock, no randomness.
//!
//! Everything that is parsed here comes from a stranger. Nothing in this crate panics on input,
//! and whatever could be read in two ways is refused ([`http1::Reject`]).

pub mod agent;
pub mod exporter;
pub mod exposition;
pub mod health;
pub mod html;
pub mod http1;
pub mod nbd;
pub mod proxy_protocol;
pub mod quote;
pub mod telnet;
pub mod token;
pub mod websocket;
