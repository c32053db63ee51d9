//! The tables of a comparison, and the page that keeps them with the machine and the versions.

use std::fmt::Write;
use std::fs;

use super::measure::Measured;
use super::peers::{self, Peer};
use super::rows::{Row, Suite, Target};
use super::statistics::{Sorted, Times};
use super::{Options, Outcome};
use crate::shell;

/// One balancer and its measurements, round by round.
type Results = [(Peer, Vec<Measured>)];

/// Every row in Markdown: what it came to, and whether that is what was wanted.
pub fn tables(outcomes: &[(Row, Outcome)]) -> String {
    let mut text = String::new();
    for (row, outcome) in outcomes {
        let body = match outcome {
            Outcome::Compared(results) => compared(*row, results),
            Outcome::Timed(times) => timed(*row, times),
        };
        // Writing to a string does not fail.
        let _ = write!(text, "## {row}\n\n{body}\n");
    }
    text
}

fn compared(row: Row, results: &Results) -> String {
    let mut text = format!(
        "| balancer | {}, median | least to most | Ebbtide against it | {} | of its core |\n\
         |---|---:|---:|---:|---:|---:|\n",
        row.unit(),
        row.rate_unit()
    );
    for (peer, measurements) in results {
        let Some(cost) = Sorted::of(measurements.iter().map(|measured| measured.cost)) else {
            continue;
        };
        let against = match Sorted::of(ratios(results, &[*peer])) {
            Some(ratios) if *peer != Peer::Ebbtide => format!(
                "{:.2} ({:.2} to {:.2})",
                ratios.median(),
                ratios.least(),
                ratios.most()
            ),
            _ => "–".to_owned(),
        };
        let (rates, shares): (Vec<f64>, Vec<f64>) = measurements
            .iter()
            .filter_map(|measured| measured.rate)
            .unzip();
        let (rate, share) = match (Sorted::of(rates), Sorted::of(shares)) {
            (Some(rates), Some(shares)) => (
                format!("{:.0}", rates.median()),
                format!("{:.0} %", shares.median() * 100.0),
            ),
            _ => ("–".to_owned(), "–".to_owned()),
        };
        let _ = writeln!(
            text,
            "| {peer} | {:.1} | {:.1} to {:.1} | {against} | {rate} | {share} |",
            cost.median(),
            cost.least(),
            cost.most()
        );
    }
    for target in row.targets() {
        text += &verdict(row, target, results);
    }
    text
}

/// Ebbtide's figure by the best of the peers, in each round.
fn ratios(results: &Results, peers: &[Peer]) -> Vec<f64> {
    let Some((_, own)) = results.iter().find(|(peer, _)| *peer == Peer::Ebbtide) else {
        return Vec::new();
    };
    let best = |round: usize| {
        let of_peers = results.iter().filter(|(peer, _)| peers.contains(peer));
        let costs = of_peers.filter_map(|(_, all)| Some(all.get(round)?.cost));
        costs.min_by(f64::total_cmp)
    };
    let pairs = own.iter().enumerate();
    pairs
        .filter_map(|(round, measured)| Some(measured.cost / best(round)?))
        .collect()
}

fn verdict(row: Row, target: &Target, results: &Results) -> String {
    let (wanted, figures, limit) = match target {
        Target::Times(limit, peers) => (
            match peers {
                [peer] => format!("at most {limit:.2} × {peer}"),
                _ => format!("at most {limit:.2} × HAProxy"),
            },
            ratios(results, peers),
            *limit,
        ),
        // Of times, not of peers.
        Target::P99(..) => return String::new(),
        Target::Amount(limit) => {
            let own = results.iter().filter(|(peer, _)| *peer == Peer::Ebbtide);
            let costs = own.flat_map(|(_, all)| all.iter().map(|measured| measured.cost));
            (
                format!("at most {limit:.0} {}", row.unit()),
                costs.collect(),
                *limit,
            )
        }
    };
    match Sorted::of(figures) {
        Some(figures) => said(&wanted, figures.median(), limit),
        None => format!("\nTarget: {wanted}: not measured.\n"),
    }
}

pub fn said(wanted: &str, figure: f64, limit: f64) -> String {
    let outcome = if figure <= limit { "met" } else { "**missed**" };
    format!("\nTarget: {wanted}: {outcome} ({figure:.2}).\n")
}

fn timed(row: Row, times: &Times) -> String {
    let unit = row.unit();
    let mut text = format!(
        "| what | times | p50, {unit} | p99, {unit} | most, {unit} |\n|---|---:|---:|---:|---:|\n"
    );
    for what in times.kinds() {
        if let Some(times) = times.of(what) {
            let _ = writeln!(
                text,
                "| {what} | {} | {:.2} | {:.2} | {:.2} |",
                times.count(),
                times.percentile(50),
                times.percentile(99),
                times.most()
            );
        }
    }
    for target in row.targets() {
        if let Target::P99(what, limit) = target
            && let Some(times) = times.of(what)
        {
            let wanted = format!("{what}: at most {limit:.0} {} at p99", row.unit());
            text += &said(&wanted, times.percentile(99), *limit);
        }
    }
    text
}

/// bench/RESULTS.md as it was, with these rows measured anew.
pub fn page(before: &str, options: &Options, tables: &str) -> Result<String, String> {
    let (name, how, versions) = about(options.suite)?;
    let part = format!(
        "# {name}

Written by `cargo xtask bench {suite} --rounds {rounds} --seconds {seconds}` on {date}. Figures are
medians of {rounds} interleaved rounds; a ratio is taken within each round, and its median is shown.
{how}

{tables}
## Where: {name}

- machine: {machine}
- Ebbtide: {ebbtide}
{versions}",
        suite = options.suite,
        rounds = options.rounds,
        seconds = options.seconds,
        date = first_line("date", &["-u", "+%F"])?,
        machine = machine()?,
        ebbtide = ebbtide_version()?,
    );
    Ok(with_part(before, name, &part))
}

/// What the part of a suite is called, how it is measured, and with which programs.
fn about(suite: Suite) -> Result<(&'static str, &'static str, String), String> {
    let mut versions = String::new();
    let programs: &[&str] = match suite {
        Suite::Http => &["haproxy", "nginx", "wrk"],
        Suite::Tcp => &["haproxy"],
        Suite::Nbd => &["nbdkit", "nbdcopy", "fio", "b3sum"],
        Suite::Exporters => &["prometheus-node-exporter"],
        Suite::Console => &["nginx"],
    };
    for program in programs {
        let version = match *program {
            "haproxy" | "nginx" | "wrk" => "-v",
            _ => "--version",
        };
        let _ = writeln!(
            versions,
            "- {program}: {}",
            first_line(program, &[version])?
        );
    }
    let (name, how) = match suite {
        Suite::Http => ("HTTP pools", HTTP),
        Suite::Tcp => ("TCP pools", TCP),
        Suite::Nbd => ("NBD pools and manifests", NBD),
        Suite::Exporters => ("Balancing", BALANCING),
        Suite::Console => ("The console", CONSOLE),
    };
    Ok((name, how, versions))
}

const HTTP: &str = "
Every balancer has one worker, alone on core 0; the origin (nginx, one process, which serves files with
sendfile) and the load (wrk, one thread) share core 1. CPU time is that of the balancer's process with
all its threads (each balancer is one process), from /proc. Where a balancer takes well under 100 % of
its core, origin and load set the rate, and the cost is that of a balancer that often has little to do;
the same holds for its peers.

All have a pool of two servers that nothing probes, connections kept on both sides, the same four
forwarded fields to add, and no access log. Ebbtide and HAProxy stick by cookie, all requests with the
valid cookie of one session; nginx sticks by the client's address. The work is HTTP/1.1 in clear. The
epoll floor is no balancer: it has a connection to one server for each of a client, and writes to one
side what came from the other without looking at it.

The targets are those of docs/performance.md.";

const TCP: &str = "
Every balancer has one worker, alone on core 0; the server and the load (xtask/examples/tcp_load.rs, a
thread with an epoll each) share core 1. CPU time is that of the balancer's process, from /proc. All
have a pool of one server that nothing probes, and no log of connections. HAProxy is measured as it
comes and with `option splice-auto`.";

const NBD: &str = "
Ebbtide has one worker, alone on core 0; the server (nbdkit, its file plugin, the file in the page
cache) and the client share core 1, also where they talk without a balancer. The epoll floor is no
balancer: it passes on what comes, on core 0, and does not look at it. Disks are read in order by
nbdcopy, and in small parts by fio. For the longest wait, fio reads 4 KiB at a time, one after the
other, for two seconds; meanwhile the server goes, or nothing happens. The longest of its reads is taken
each time, so it has in it what the machine does to any read: every read wakes the other core four
times, as through the epoll floor. Digests are made on all cores, of a file
in the page cache, by `ebbtide manifest --full` and by b3sum.";

const BALANCING: &str = "
Choosing a server is measured by `cargo bench -p ebbtide-core`, as often as there are rounds: the medians of
its medians. That it allocates nothing is a test of ebbtide-core.

For the exporters Ebbtide is on core 0, with one worker, a pool of so many servers, nobody to serve, and
nothing else to probe. A thread answers for all exporters, at an address each, with what a node_exporter of
this machine has answered to it last, byte for byte, a page of each second. CPU time is that of each of the
node's threads, from /proc, beside a node that has the same pool without `load`.";

const CONSOLE: &str = "
A node with one worker, all its threads on core 0: worker, control thread and the threads that look through
sessions share it. The origin (nginx), users, operators and whoever listens share core 1. A pool has 100,000
live sessions, each with a user's name. Proxying is timed by one client that asks again as soon as it is
answered; operators use the UNIX socket. *Reloaded without end* is one reader that asks for the
Sessions page again as soon as it has it.

For the events, users without a cookie begin 5,500 sessions a second in a second pool, which end 2 s
later: two events each. Meanwhile a listener of the API's events and an open Events page read all that
they are sent, and one more of each never reads. What is *meanwhile* has the work of proxying these users
in it, too.";

/// The page with one of its parts exchanged; parts begin with a heading of the first level.
fn with_part(before: &str, name: &str, part: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    for line in before.lines() {
        match parts.last_mut() {
            Some(last) if !line.starts_with("# ") => *last += &format!("{line}\n"),
            _ => parts.push(format!("{line}\n")),
        }
    }
    let heading = format!("# {name}\n");
    let place = parts.iter().position(|part| part.starts_with(&heading));
    match place {
        Some(place) => parts[place] = part.to_owned(),
        None => parts.push(part.to_owned()),
    }
    let parts: Vec<&str> = parts.iter().map(|part| part.trim_end()).collect();
    parts.join("\n\n") + "\n"
}

fn machine() -> Result<String, String> {
    let info = fs::read_to_string("/proc/cpuinfo")
        .map_err(|error| format!("cannot read /proc/cpuinfo: {error}"))?;
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    // A suite may have put us on one core.
    let cores = first_line("nproc", &["--all"])?;
    let kernel = first_line("uname", &["-sr"])?;
    Ok(format!(
        "{}, {cores} cores, {kernel}",
        model.map_or("processor without a name", |(_, name)| name)
    ))
}

fn ebbtide_version() -> Result<String, String> {
    let program = peers::ebbtide_binary()?.display().to_string();
    let commit = first_line(
        "git",
        &["-c", "safe.directory=*", "describe", "--always", "--dirty"],
    )?;
    Ok(format!(
        "{} at {commit}",
        first_line(&program, &["--version"])?
    ))
}

/// The first line that a program says, on whichever output, and whatever it exits with (`wrk -v` exits with 1).
fn first_line(program: &str, arguments: &[&str]) -> Result<String, String> {
    let found = shell::find_program(program).unwrap_or_else(|| program.into());
    let output = shell::capture(&mut shell::command(found, arguments))?;
    let text = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&text)
        .lines()
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(costs: &[f64]) -> Vec<Measured> {
        let measured = |cost: &f64| Measured {
            cost: *cost,
            rate: Some((1000.0, 0.5)),
        };
        costs.iter().map(measured).collect()
    }

    #[test]
    fn medians_are_shown_and_ratios_are_taken_within_a_round() {
        let results = [
            (Peer::Ebbtide, measured(&[12.0, 9.0, 10.0])),
            (Peer::Haproxy, measured(&[24.0, 10.0, 20.0])),
        ];
        let table = compared(Row::KeepAlive64, &results);
        let ebbtide = "| Ebbtide | 10.0 | 9.0 to 12.0 | – | 1000 | 50 % |";
        assert!(table.contains(ebbtide), "{table}");
        let haproxy = "| HAProxy | 20.0 | 10.0 to 24.0 | 0.50 (0.50 to 0.90) | 1000 | 50 % |";
        assert!(table.contains(haproxy), "{table}");
        assert!(table.contains("0.80 × HAProxy: met (0.50)"), "{table}");
    }

    #[test]
    fn the_better_of_two_haproxies_counts() {
        let results = [
            (Peer::Ebbtide, measured(&[9.0])),
            (Peer::Haproxy, measured(&[20.0])),
            (Peer::HaproxySplice, measured(&[10.0])),
        ];
        let table = compared(Row::Body1M, &results);
        assert!(
            table.contains("0.65 × HAProxy: **missed** (0.90)"),
            "{table}"
        );
    }

    #[test]
    fn the_floor_is_compared_with_like_a_peer() {
        let results = [
            (Peer::Ebbtide, measured(&[12.0])),
            (Peer::Haproxy, measured(&[20.0])),
            (Peer::Floor, measured(&[10.0])),
        ];
        let table = compared(Row::KeepAlive64, &results);
        let floor = "| epoll floor | 10.0 | 10.0 to 10.0 | 1.20 (1.20 to 1.20) | 1000 | 50 % |";
        assert!(table.contains(floor), "{table}");
        assert!(
            table.contains("1.15 × epoll floor: **missed** (1.20)"),
            "{table}"
        );
        assert!(table.contains("0.80 × HAProxy: met (0.60)"), "{table}");
    }

    #[test]
    fn a_part_is_exchanged_and_the_others_stay() {
        let page = with_part("# A\n\none\n\n# B\n\ntwo\n", "A", "# A\n\nthree\n");
        assert_eq!(page, "# A\n\nthree\n\n# B\n\ntwo\n");
        let page = with_part(&page, "C", "# C\n\nfour\n");
        assert_eq!(page, "# A\n\nthree\n\n# B\n\ntwo\n\n# C\n\nfour\n");
    }

    #[test]
    fn what_was_not_measured_is_not_met() {
        let table = compared(Row::NewConnections, &[(Peer::Ebbtide, measured(&[9.0]))]);
        assert!(table.contains("1.00 × nginx: not measured"), "{table}");
    }
}
