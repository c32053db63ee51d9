//! `cargo xtask bench`: CPU per request of Ebbtide and its peers, for the same work, interleaved.
//!
//! The balancer has core 0 to itself; origin and load share core 1. CPU time comes from /proc, because on a small
//! machine it says more than the rate: the rate is as much the origin's and the load's as the balancer's. Rounds are
//! interleaved, so that a machine that slows down slows every balancer down.

mod measure;
mod peers;
mod report;

use std::fs;
use std::path::{Path, PathBuf};

use crate::shell;
use crate::system_packages::{self, FOR_BENCH};
use measure::{Measured, Work};
use peers::{Peer, Running};

/// What can be asked of a comparison.
#[derive(clap::Args)]
pub struct Options {
    /// Measurements of each balancer; the medians are shown
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds of load in each measurement
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Measure only this one (repeatable); bench/RESULTS.md is then left as it is
    #[arg(long)]
    only: Vec<Peer>,
}

const RESULTS: &str = "bench/RESULTS.md";

/// A folder for configurations and state, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("ebbtide-bench-{}", std::process::id()));
        fs::create_dir_all(&path)
            .map_err(|error| format!("cannot make {}: {error}", path.display()))?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("left behind: {}: {error}", self.0.display());
        }
    }
}

/// Measures, prints, and writes the results.
pub fn run(options: &Options) -> Result<(), String> {
    system_packages::require(FOR_BENCH)?;
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        return Err(
            "the comparison needs two cores: one for the balancer, one for origin and load"
                .to_owned(),
        );
    }
    let peers: Vec<Peer> = Peer::ALL
        .into_iter()
        .filter(|peer| selected(options, *peer))
        .collect();
    if peers.contains(&Peer::Ebbtide) {
        peers::build_ebbtide()?;
    }
    let scratch = Scratch::new()?;
    let origin = peers::start_origin(scratch.path())?;
    let mut running = Vec::new();
    for peer in peers {
        running.push(peers::start(peer, scratch.path(), &origin.ports)?);
    }
    let results = measure_all(options, &running)?;
    let table = report::table(&results);
    println!("{table}");
    if options.only.is_empty() {
        let page = report::page(options.rounds, options.seconds, &table)?;
        fs::write(shell::root().join(RESULTS), page)
            .map_err(|error| format!("cannot write {RESULTS}: {error}"))?;
        println!("wrote {RESULTS}");
    }
    Ok(())
}

fn selected(options: &Options, peer: Peer) -> bool {
    options.only.is_empty() || options.only.contains(&peer)
}

/// Every round measures every balancer once.
fn measure_all(
    options: &Options,
    running: &[Running],
) -> Result<Vec<(Peer, Vec<Measured>)>, String> {
    let mut results: Vec<(Peer, Vec<Measured>)> = running
        .iter()
        .map(|balancer| (balancer.peer, Vec::new()))
        .collect();
    for round in 1..=options.rounds {
        for (balancer, (_, measurements)) in running.iter().zip(&mut results) {
            let work = Work {
                port: balancer.port,
                seconds: options.seconds,
                cookie: balancer.cookie.as_deref(),
            };
            let measured = measure::measure(&balancer.process, &work)
                .map_err(|error| format!("{}: {error}", balancer.peer))?;
            eprintln!(
                "round {round}: {}: {:.1} µs",
                balancer.peer, measured.cpu_us_per_request
            );
            measurements.push(measured);
        }
    }
    Ok(results)
}
