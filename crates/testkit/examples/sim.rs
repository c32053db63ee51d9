//! Plays many seeds of the simulator, or tells the story of one: what `cargo xtask sim` runs.

use ebbtide_testkit::sim::{History, shortest, simulate};
use std::process::ExitCode;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "usage: sim FROM COUNT | sim SEED";

fn main() -> ExitCode {
    let numbers: Option<Vec<u64>> = std::env::args().skip(1).map(|n| n.parse().ok()).collect();
    match numbers.as_deref() {
        Some([seed]) => tell(*seed),
        Some([from, count]) => sweep(*from, *count),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn sweep(from: u64, count: u64) -> ExitCode {
    let began = Instant::now();
    let mut steps = 0;
    for seed in from..from.saturating_add(count) {
        match simulate(seed) {
            Ok(passed) => steps += passed.steps,
            Err(_) => return tell(seed),
        }
    }
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    println!(
        "{count} seeds from {from} on, {steps} steps: every promise was kept; {:.0} seeds a minute",
        count as f64 / minutes
    );
    ExitCode::SUCCESS
}

fn tell(seed: u64) -> ExitCode {
    let History {
        failure,
        planned,
        lines,
    } = shortest(seed);
    for line in lines {
        println!("{line}");
    }
    match failure {
        None => {
            println!("seed {seed}: {planned} planned actions, every promise was kept");
            ExitCode::SUCCESS
        }
        Some(failure) => {
            println!("seed {seed} fails, {planned} planned actions are needed for it");
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}
