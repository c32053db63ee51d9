//! `stable TARGET SECONDS SEED INPUTS`: a target's corpus and then mutations of it, on any toolchain, for
//! when there is no libFuzzer. `cargo xtask fuzz` runs it.

use ebbtide_fuzz::stable::{Mutations, corpus, folder};
use ebbtide_fuzz::{TARGETS, Target};
use std::error::Error;
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Inputs between two looks at the clock.
const BATCH: u64 = 256;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, seconds, seed, inputs] = &arguments[..] else {
        return Err("usage: stable TARGET SECONDS SEED INPUTS".into());
    };
    let target = TARGETS.iter().find(|target| target.name == name);
    let target = target.ok_or_else(|| format!("no target is called {name}"))?;
    let limits = (Duration::from_secs(seconds.parse()?), inputs.parse()?);
    run(target, limits, seed.parse()?)
}

/// Until something is found, the time is over, or so many inputs have been tried.
fn run(
    target: &Target,
    (time, inputs): (Duration, u64),
    seed: u64,
) -> Result<ExitCode, Box<dyn Error>> {
    let begun = Instant::now();
    let committed = corpus(target)?;
    for input in &committed {
        if !holds(target, input)? {
            return Ok(ExitCode::FAILURE);
        }
    }
    let mut mutations = Mutations::new(target, seed)?;
    let mut tried = 0;
    while begun.elapsed() < time && tried < inputs {
        for _ in 0..BATCH {
            if !holds(target, &mutations.next_input())? {
                return Ok(ExitCode::FAILURE);
            }
        }
        tried += BATCH;
    }
    println!(
        "ok  {}: {} committed inputs and {tried} mutations of them (seed {seed})",
        target.name,
        committed.len()
    );
    Ok(ExitCode::SUCCESS)
}

/// Keeps an input that makes the target panic.
fn holds(target: &Target, input: &[u8]) -> Result<bool, Box<dyn Error>> {
    if catch_unwind(|| (target.run)(input)).is_ok() {
        return Ok(true);
    }
    let folder = folder("artifacts").join(target.name);
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("stable");
    std::fs::write(&path, input)?;
    println!("FAILED  {}: the input is {}", target.name, path.display());
    Ok(false)
}
