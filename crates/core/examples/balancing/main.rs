//! Prints docs/balancing.md and its picture: what the simulation of the policies shows. It is run by
//! `cargo xtask docs`.

mod picture;
#[path = "../../tests/balancing/simulation.rs"]
mod simulation;

use simulation::{POLICIES, Spread};
use std::process::ExitCode;

const USAGE: &str = "usage: balancing page | balancing picture";

fn main() -> ExitCode {
    let spreads = POLICIES.map(|(policy, balance)| (policy, simulation::play(balance)));
    match std::env::args().nth(1).as_deref() {
        Some("page") => print!("{}", page(&spreads)),
        Some("picture") => print!("{}", picture::draw(&spreads)),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// The page, with the table of what each policy came to.
fn page(spreads: &[(&str, Spread)]) -> String {
    let rows = spreads.iter().map(|(policy, spread)| {
        let Spread {
            maximum_over_mean,
            worst,
            ..
        } = spread;
        format!("| `{policy}` | {maximum_over_mean:.2} | {worst:.2} |\n")
    });
    include_str!("page.md").replace("{{rows}}\n", &rows.collect::<String>())
}
