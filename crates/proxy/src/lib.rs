//! The data plane of Ebbtide: listeners, workers, HTTP, TCP, NBD.
//!
//! One thread per worker, each with its own runtime, listening sockets, connections to servers and
//! view of the published [`Snapshot`](ebbtide_core::Snapshot). Workers share nothing on the way of
//! a request but the session's own entry. The request's life is listed at the top of `exchange.rs`.

mod accept;
mod access_log;
mod buffer;
mod connection;
mod descriptors;
mod door;
mod ending;
mod exchange;
mod exchanger;
mod flight;
mod forward;
mod gate;
mod inject;
mod listeners;
mod nbd;
mod notice;
mod pages;
mod plane;
mod proxied;
mod relay;
mod reserved;
mod resume;
mod routing;
mod socket;
mod splice;
mod tcp;
mod timer;
mod tunnel;
mod upstream;
mod view;
mod wall;
mod who;
mod worker;

pub use access_log::{AccessLogOptions, LogFormat};
/// Where the banner's script goes into a page: public for what throws bytes at it.
pub use inject::{Insertion, Look, Outcome, Released, look};
pub use listeners::StartError;
pub use plane::{DataPlane, Options};
