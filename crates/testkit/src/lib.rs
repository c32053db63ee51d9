//! What tests need around Ebbtide: servers that die, hang and lie as told, and clients that account
//! for every request.
//!
//! It reads HTTP by itself, and plainly: were it to share the product's codec, both would be wrong
//! together and no test would see it. Threads and blocking sockets throughout, so that nothing
//! retries, pools or hides a reset behind a test's back.
//!
//! And a [simulator](sim): a whole node in one process, from one seed, in simulated time.

mod browser;
mod client;
mod crowd;
mod model;
mod pattern;
mod place;
mod process;
pub mod sim;
mod tunnel;
mod wait;
mod wire;

pub use browser::{BROWSER_LIMIT, Browser};
pub use client::{Answer, Client, Outcome, Request};
pub use crowd::{Anomaly, Crowd, CrowdSettings, Ledger, Move};
pub use model::{Page, serve_if_asked};
pub use pattern::{PatternCheck, pattern};
pub use place::{Scratch, free_address};
pub use process::{Model, processed};
pub use tunnel::{Tunnel, TunnelEnd};
pub use wait::until;
pub use wire::{Framing, Head, Wire};
