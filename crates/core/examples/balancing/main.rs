//! Prints docs/balancing.md and its picture: what the simulation of the policies shows. It is run by
//! `cargo xtask docs`.

mod picture;
#[path = "../../tests/balancing/simulation.rs"]
mod simulation;

use ebbtide_core::Millis;
use simulation::{PARTS, POLICIES, SLOW_START, Spread};
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
    include_str!("page.txt")
        .replace("{{rows}}\n", &rows.collect::<String>())
        .replace("{{returning}}\n", &returning())
}

/// What a server that returns is given, at once and slowly, in each part of the time.
fn returning() -> String {
    let row = |policy: &str, how: &str, slow_start| {
        let (_, balance) = POLICIES
            .into_iter()
            .find(|(name, _)| *name == policy)
            .expect("it is a policy");
        let given = simulation::play_return(balance, slow_start);
        let cells = given
            .iter()
            .map(|share| format!(" {:.0} % |", share * 100.0));
        format!("| `{policy}`, {how} |{}\n", cells.collect::<String>())
    };
    let mut text = String::new();
    let parts = (1..=PARTS).map(|part| format!(" {part} |"));
    text += &format!("| hundred sessions |{}\n", parts.collect::<String>());
    text += &format!("|---|{}\n", "---|".repeat(PARTS));
    for policy in ["least-sessions", "least-load", "round-robin"] {
        text += &row(policy, "at once", Millis(0));
        text += &row(policy, "slowly", SLOW_START);
    }
    text
}
