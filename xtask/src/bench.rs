//! `cargo xtask bench http|tcp|nbd`: Ebbtide and its peers at the same work, interleaved; `exporters`: what
//! balancing costs; `console`: what operators wait for, and what users notice of them.
//!
//! The balancer has core 0 to itself; origin and load share core 1. CPU time comes from /proc, because on a small
//! machine it says more than the rate: the rate is as much the origin's and the load's as the balancer's. Rounds are
//! interleaved, so that a machine that slows down slows every balancer down.

mod connection;
mod console;
mod exporters;
mod hold;
mod http;
mod idle;
mod measure;
mod nbd;
mod page;
mod peers;
mod rows;
mod statistics;
mod tcp;

use std::fs;
use std::path::{Path, PathBuf};

use crate::shell;
use crate::system_packages::{self, FOR_BENCH};
use measure::Measured;
use peers::Peer;
use rows::{Row, Work};
use statistics::Times;

/// What can be asked of a comparison.
#[derive(clap::Args)]
pub struct Options {
    /// http: beside nginx and HAProxy; tcp: beside HAProxy; nbd: beside servers without a balancer; exporters:
    /// asking a thousand of them, and choosing a server; console: alone, with many sessions and events
    #[arg(value_enum)]
    suite: rows::Suite,
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

/// Everything that one row gave: each balancer's measurements, round by round, or times of Ebbtide's.
pub(super) enum Outcome {
    Compared(Vec<(Peer, Vec<Measured>)>),
    Timed(Times),
}

/// The rows of one kind of pool, and the processes that they need.
trait Suite {
    /// One balancer, once.
    fn measure(&mut self, row: Row, peer: Peer) -> Result<Measured, String>;

    /// One round of a row that has times.
    fn time(&mut self, row: Row, times: &mut Times) -> Result<(), String>;
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
    raise_descriptors()?;
    let rows: Vec<Row> = Row::ALL
        .into_iter()
        .filter(|row| row.suite() == options.suite)
        .filter(|row| options.row.is_empty() || options.row.contains(row))
        .collect();
    peers::build(&needed(options, &rows), options.suite)?;
    let scratch = Scratch::new()?;
    let tables = match options.suite {
        rows::Suite::Exporters => exporters::measure(options, scratch.path())?,
        _ => compare(options, &rows, scratch.path())?,
    };
    println!("{tables}");
    if options.only.is_empty() && options.row.is_empty() {
        let path = shell::root().join(RESULTS);
        let before = fs::read_to_string(&path).unwrap_or_default();
        let page = page::page(&before, options, &tables)?;
        fs::write(path, page).map_err(|error| format!("cannot write {RESULTS}: {error}"))?;
        println!("wrote {RESULTS}");
    }
    Ok(())
}

/// Measures Ebbtide beside its peers; the tables in Markdown.
fn compare(options: &Options, rows: &[Row], scratch: &Path) -> Result<String, String> {
    let mut suite: Box<dyn Suite> = match options.suite {
        rows::Suite::Http => Box::new(http::Bench::start(options, rows, scratch)?),
        rows::Suite::Tcp => Box::new(tcp::Bench::start(options, rows, scratch)?),
        rows::Suite::Nbd => Box::new(nbd::Bench::start(options, scratch)?),
        rows::Suite::Console => Box::new(console::Bench::start(options, scratch)?),
        rows::Suite::Exporters => return Err("is compared with nothing".to_owned()),
    };
    let outcomes = measure_all(options, rows, &mut *suite)?;
    Ok(page::tables(&outcomes))
}

/// Every round measures every row, and in it every balancer, once.
fn measure_all(
    options: &Options,
    rows: &[Row],
    suite: &mut dyn Suite,
) -> Result<Vec<(Row, Outcome)>, String> {
    let peers = needed(options, rows);
    let nothing = |row: &Row| match row.work() {
        Work::Hold | Work::NbdPause | Work::Console => Outcome::Timed(Times::default()),
        _ => {
            let of_row = peers.iter().filter(|peer| row.peers().contains(peer));
            Outcome::Compared(of_row.map(|peer| (*peer, Vec::new())).collect())
        }
    };
    let mut outcomes: Vec<(Row, Outcome)> = rows.iter().map(|row| (*row, nothing(row))).collect();
    for round in 1..=options.rounds {
        for (row, outcome) in &mut outcomes {
            eprintln!("round {round} of {}: {row}", options.rounds);
            match outcome {
                Outcome::Timed(times) => suite.time(*row, times)?,
                Outcome::Compared(results) => {
                    for (peer, measurements) in results {
                        let measured = suite
                            .measure(*row, *peer)
                            .map_err(|error| format!("{peer}, {row}: {error}"))?;
                        eprintln!("    {peer}: {:.1} {}", measured.cost, row.unit());
                        measurements.push(measured);
                    }
                }
            }
        }
    }
    Ok(outcomes)
}

/// The peers that are asked for, and have a part in these rows.
fn needed(options: &Options, rows: &[Row]) -> Vec<Peer> {
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
