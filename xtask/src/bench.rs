//! `cargo xtask bench http`: Ebbtide and its peers at the same work, interleaved.
//!
//! The balancer has core 0 to itself; origin and load share core 1. CPU time comes from /proc, because on a small
//! machine it says more than the rate: the rate is as much the origin's and the load's as the balancer's. Rounds are
//! interleaved, so that a machine that slows down slows every balancer down.

mod hold;
mod idle;
mod measure;
mod page;
mod peers;
mod rows;
mod statistics;

use std::fs;
use std::path::{Path, PathBuf};

use crate::shell;
use crate::system_packages::{self, FOR_BENCH};
use hold::Holds;
use measure::Measured;
use peers::{Origin, Peer, Running};
use rows::{Row, Work};

/// What can be asked of a comparison.
#[derive(clap::Args)]
pub struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// HTTP pools, beside nginx and HAProxy
    Http(HttpOptions),
}

#[derive(clap::Args)]
struct HttpOptions {
    /// Measurements of each balancer in each row; the medians are shown
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds of load in each measurement
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Measure only this balancer (repeatable); bench/RESULTS.md is then left as it is
    #[arg(long)]
    only: Vec<Peer>,
    /// Measure only this row (repeatable); bench/RESULTS.md is then left as it is
    #[arg(long)]
    row: Vec<Row>,
}

const RESULTS: &str = "bench/RESULTS.md";
/// Room for [`idle::CONNECTIONS`] and all else; what we start inherits it.
const DESCRIPTORS: usize = 20_000;

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

/// Everything that one row gave: each balancer's measurements, round by round, or the holds.
pub(super) enum Outcome {
    Compared(Vec<(Peer, Vec<Measured>)>),
    Held(Holds),
}

/// Measures, prints, and writes the results.
pub fn run(options: &Options) -> Result<(), String> {
    let What::Http(options) = &options.what;
    system_packages::require(FOR_BENCH)?;
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        return Err(
            "the comparison needs two cores: one for the balancer, one for origin and load"
                .to_owned(),
        );
    }
    raise_descriptors()?;
    let rows: Vec<Row> = Row::ALL
        .into_iter()
        .filter(|row| options.row.is_empty() || options.row.contains(row))
        .collect();
    for peer in needed(options, &rows) {
        peers::build(peer)?;
    }
    let scratch = Scratch::new()?;
    let outcomes = Bench::start(options, &rows, scratch.path())?.measure_all(&rows)?;
    let tables = page::tables(&outcomes);
    println!("{tables}");
    if options.only.is_empty() && options.row.is_empty() {
        let page = page::page(options.rounds, options.seconds, &tables)?;
        fs::write(shell::root().join(RESULTS), page)
            .map_err(|error| format!("cannot write {RESULTS}: {error}"))?;
        println!("wrote {RESULTS}");
    }
    Ok(())
}

/// The peers that are asked for, and have a part in these rows.
fn needed(options: &HttpOptions, rows: &[Row]) -> Vec<Peer> {
    let selected = |peer: &Peer| options.only.is_empty() || options.only.contains(peer);
    let in_rows = |peer: &Peer| rows.iter().any(|row| row.peers().contains(peer));
    let mut peers = Peer::ALL.to_vec();
    peers.retain(|peer| selected(peer) && in_rows(peer));
    peers
}

/// Raises our own limit of open files.
fn raise_descriptors() -> Result<(), String> {
    let own = std::process::id().to_string();
    let limit = format!("--nofile={DESCRIPTORS}:");
    shell::capture_text(&mut shell::command("prlimit", &["--pid", &own, &limit])).map(|_| ())
}

/// The processes of a comparison, and where they keep their files.
struct Bench<'a> {
    options: &'a HttpOptions,
    scratch: &'a Path,
    origin: Origin,
    running: Vec<Running>,
}

impl<'a> Bench<'a> {
    fn start(options: &'a HttpOptions, rows: &[Row], scratch: &'a Path) -> Result<Self, String> {
        let origin = peers::start_origin(scratch)?;
        let mut running = Vec::new();
        for peer in needed(options, rows) {
            running.push(peers::start(peer, scratch, &origin.ports)?);
        }
        Ok(Self {
            options,
            scratch,
            origin,
            running,
        })
    }

    /// Every round measures every row, and in it every balancer, once.
    fn measure_all(&self, rows: &[Row]) -> Result<Vec<(Row, Outcome)>, String> {
        let mut outcomes: Vec<(Row, Outcome)> =
            rows.iter().map(|row| (*row, self.nothing(*row))).collect();
        for round in 1..=self.options.rounds {
            for (row, outcome) in &mut outcomes {
                eprintln!("round {round} of {}: {row}", self.options.rounds);
                self.measure_row(*row, outcome)?;
            }
        }
        Ok(outcomes)
    }

    fn nothing(&self, row: Row) -> Outcome {
        if row == Row::Hold {
            return Outcome::Held(Holds::default());
        }
        let measured = self.running.iter().map(|balancer| balancer.peer);
        let of_row = measured.filter(|peer| row.peers().contains(peer));
        Outcome::Compared(of_row.map(|peer| (peer, Vec::new())).collect())
    }

    fn measure_row(&self, row: Row, outcome: &mut Outcome) -> Result<(), String> {
        match outcome {
            Outcome::Held(holds) => match self.find(Peer::Ebbtide) {
                Some(ebbtide) => holds.measure(ebbtide, self.scratch, self.options.seconds),
                None => Ok(()),
            },
            Outcome::Compared(results) => {
                for (peer, measurements) in results {
                    let measured = self
                        .measure(row, *peer)
                        .map_err(|error| format!("{peer}, {row}: {error}"))?;
                    eprintln!("    {peer}: {:.1} {}", measured.cost, row.unit());
                    measurements.push(measured);
                }
                Ok(())
            }
        }
    }

    fn measure(&self, row: Row, peer: Peer) -> Result<Measured, String> {
        match (row.work(), self.find(peer)) {
            (Work::Load(load), Some(balancer)) => {
                measure::measure(balancer, &load, self.options.seconds, self.scratch)
            }
            // A process that has worked would have memory left over for the connections.
            _ => idle::measure(&peers::start(peer, self.scratch, &self.origin.ports)?),
        }
    }

    fn find(&self, peer: Peer) -> Option<&Running> {
        self.running.iter().find(|balancer| balancer.peer == peer)
    }
}
