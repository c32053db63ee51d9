//! `cargo xtask sim`: many seeds of the simulator, or the story of one.

use std::process::ExitCode;

use crate::shell;

/// Which seeds to play.
#[derive(clap::Args)]
pub struct Options {
    /// How many seeds to play
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Play only this one, and tell what happens in it
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
}

/// Builds the simulator as users would run the program, and plays.
pub fn run(options: &Options) -> Result<ExitCode, String> {
    let numbers = match options.seed {
        Some(seed) => vec![seed.to_string()],
        None => vec![options.from.to_string(), options.seeds.to_string()],
    };
    let mut command = shell::cargo(&[
        "run",
        "--quiet",
        "--release",
        "--package",
        "ebbtide-testkit",
        "--example",
        "sim",
        "--",
    ]);
    shell::stream(command.args(numbers)).map(shell::exit_code)
}
