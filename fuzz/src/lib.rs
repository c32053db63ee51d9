//! What must hold for any bytes whatever. Each target is a plain function that panics when it does
//! not: libFuzzer calls it (`fuzz_targets/`), and so do the tests of every build (`stable`).
//!
//! The targets of HTTP/1 read everything twice, here and with hyper. Two programs that
//! disagree about where a message ends are how requests are smuggled, so the end of each message
//! is compared to the byte: before its last byte hyper must still wait, after it it must be done.
//! hyper may refuse what is accepted here. It may never understand it in another way. And since
//! hyper forgives much itself, whatever is accepted is also held against the letter of the rules.

mod agent;
mod body;
mod configuration;
mod exporter;
mod health;
mod inject;
mod letter;
mod nbd_client;
mod nbd_server;
mod pipeline;
mod proxy_protocol;
mod response;
mod round_trip;
mod second;
pub mod stable;
mod telnet;
mod token;
mod understood;

pub use agent::agent;
pub use body::body;
pub use configuration::configuration;
pub use exporter::exporter;
pub use health::health;
pub use inject::inject;
pub use nbd_client::nbd_client;
pub use nbd_server::nbd_server;
pub use pipeline::{pipeline, request};
pub use proxy_protocol::proxy_protocol;
pub use response::response;
pub use round_trip::round_trip;
pub use telnet::telnet;
pub use token::token;

/// One function to throw bytes at.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Of the function, its program in `fuzz_targets/` and its folder in `corpus/`.
    pub name: &'static str,
    /// Panics when something does not hold for these bytes.
    pub run: fn(&[u8]),
    /// The file in `dictionaries/` with words that get deeper.
    pub dictionary: &'static str,
}

/// All targets.
pub const TARGETS: [Target; 15] = [
    Target::new("request", request, "http"),
    Target::new("response", response, "http"),
    Target::new("body", body, "http"),
    Target::new("round_trip", round_trip, "http"),
    Target::new("pipeline", pipeline, "http"),
    Target::new("health", health, "health"),
    Target::new("exporter", exporter, "exporter"),
    Target::new("agent", agent, "agent"),
    Target::new("inject", inject, "html"),
    Target::new("token", token, "token"),
    Target::new("configuration", configuration, "configuration"),
    Target::new("proxy_protocol", proxy_protocol, "proxy_protocol"),
    Target::new("telnet", telnet, "telnet"),
    Target::new("nbd_server", nbd_server, "nbd_server"),
    Target::new("nbd_client", nbd_client, "nbd_client"),
];

impl Target {
    const fn new(name: &'static str, run: fn(&[u8]), dictionary: &'static str) -> Self {
        Target {
            name,
            run,
            dictionary,
        }
    }
}
