//! The admin API: JSON over HTTP, on a TCP address and on a UNIX socket.

mod access;
mod answer;
mod app;
mod bind;
mod body_time;
mod changes;
mod console;
mod doors;
mod metrics;
mod moves;
mod openapi;
mod reads;
mod rebalance;
mod replicas;
mod routes;
mod serve;
mod sessions;
mod sought;
mod stream;
mod tell;
mod tokens;
mod users;

pub(crate) use access::{Caller, Peer, Via};
pub(crate) use app::{App, AppParts, LONG_MAX};
pub use bind::{Admin, AdminError};
pub use metrics::metrics_reference;
pub use openapi::openapi;
