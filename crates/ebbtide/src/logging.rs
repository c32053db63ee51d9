//! What a long-running command says on standard error.

use crate::cli::Log;
use std::io::{self, IsTerminal};
use tracing_subscriber::filter::EnvFilter;

/// From now on, what is at least as urgent as `--log` says is told; `level` where it says nothing.
pub fn start(log: &Log, level: &str, json: bool) {
    let filter = EnvFilter::new(log.log.as_deref().unwrap_or(level));
    let coloured = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(coloured)
        .with_target(false);
    if json {
        subscriber.json().init();
    } else {
        subscriber.init();
    }
}
