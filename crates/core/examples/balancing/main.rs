//! Prints docs/balancing.md and its picture: what the simulation of the policies shows. It is run by
//! `cargo xtask docs`.

mod picture;
#[path = "../../tests/balancing/simulation.rs"]
mod simulation;

use simulation::{POLICIES, Spread};
use std::process::ExitCode;

const USAGE: &str = "usage: balancing page | balancing picture";

fn main() -> ExitCode {
    let spreads = POLICIES.map(|(policy, balance)| (policy, simulation::play(balance, false)));
    match std::env::args().nth(1).as_deref() {
        Some("page") => {
            let weighted = POLICIES.map(|(_, balance)| simulation::play(balance, true));
            print!("{}", page(&spreads, &weighted));
        }
        Some("picture") => print!("{}", picture::draw(&spreads)),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// The page, with the table of what each policy came to.
fn page(spreads: &[(&str, Spread)], weighted: &[Spread]) -> String {
    let rows = spreads
        .iter()
        .zip(weighted)
        .map(|((policy, spread), weighted)| {
            format!(
                "| `{policy}` | {:.2} | {:.2} | {:.2} |\n",
                spread.maximum_over_mean, spread.worst, weighted.maximum_over_mean
            )
        });
    include_str!("page.txt").replace("{{rows}}\n", &rows.collect::<String>())
}
