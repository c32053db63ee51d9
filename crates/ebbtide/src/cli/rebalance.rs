//! `ebbtide rebalance`.

use super::{Pool, Why};
use clap::Args;

/// What a rebalance would do, or that it is done.
#[derive(Debug, Args)]
pub struct Rebalance {
    #[command(flatten)]
    pub pool: Pool,
    /// Do it
    #[arg(long, conflicts_with = "stop")]
    pub go: bool,
    /// Stop one that is under way
    #[arg(long)]
    pub stop: bool,
    /// Only idle sessions: it never takes others, so this says what is done anyway
    #[arg(long)]
    pub idle_only: bool,
    /// Sessions that are forgotten in a second, such as 10/s; 1/s to 1000/s
    #[arg(long, value_name = "RATE", value_parser = rate, default_value = "10/s")]
    pub rate: u32,
    #[command(flatten)]
    pub why: Why,
}

fn rate(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text).parse().ok();
    number
        .filter(|rate| (1..=1000).contains(rate))
        .ok_or_else(|| format!("`{text}` is no rate: expected 1/s to 1000/s"))
}
