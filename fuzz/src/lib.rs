//! What must hold for any bytes whatever. Each target is a plain function that panics when it does
//! not: libFuzzer calls it (`fuzz_targets/`), and so do the tests of every build (`stable`).
//!
//! The targets of the wire code read everything twice, here and with hyper. Two programs that
//! disagree about where a message ends are how requests are smuggled, so the end of each message
//! is compared to the byte: before its last byte hyper must still wait, after it it must be done.
//! hyper may refuse what is accepted here. It may never understand it in another way. And since
//! hyper forgives much itself, whatever is accepted is also held against the letter of the rules.

mod body;
mod configuration;
mod health;
mod letter;
mod pipeline;
mod response;
mod round_trip;
mod second;
pub mod stable;
mod token;
mod understood;

pub use body::body;
pub use configuration::configuration;
pub use health::health;
pub use pipeline::{pipeline, request};
pub use response::response;
pub use round_trip::round_trip;
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
pub const TARGETS: [Target; 8] = [
    Target::new("request", request, "http"),
    Target::new("response", response, "http"),
    Target::new("body", body, "http"),
    Target::new("round_trip", round_trip, "http"),
    Target::new("pipeline", pipeline, "http"),
    Target::new("health", health, "health"),
    Target::new("token", token, "token"),
    Target::new("configuration", configuration, "configuration"),
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
