//! The table of a comparison, and the page that keeps it with the machine and the versions.

use std::fs;

use super::measure::{CONNECTIONS, Measured};
use super::peers::{self, Peer};
use crate::shell;

/// A Markdown table: medians, with the spread, and each balancer against HAProxy.
pub fn table(results: &[(Peer, Vec<Measured>)]) -> String {
    let cpu = |measurements: &[Measured]| {
        sorted(
            measurements
                .iter()
                .map(|measured| measured.cpu_us_per_request),
        )
    };
    let haproxy = results
        .iter()
        .find(|(peer, _)| *peer == Peer::Haproxy)
        .map(|(_, all)| median(&cpu(all)));
    let mut lines = vec![
        "| balancer | CPU per request, µs | least to most | × HAProxy | requests/s |".to_owned(),
        "|---|---:|---:|---:|---:|".to_owned(),
    ];
    for (peer, measurements) in results {
        let cpu = cpu(measurements);
        let rate = median(&sorted(
            measurements
                .iter()
                .map(|measured| measured.requests_per_second),
        ));
        let relative = haproxy.map_or("–".to_owned(), |haproxy| {
            format!("{:.2}", median(&cpu) / haproxy)
        });
        let (least, most) = (cpu[0], cpu[cpu.len() - 1]);
        lines.push(format!(
            "| {peer} | {:.1} | {least:.1} to {most:.1} | {relative} | {rate:.0} |",
            median(&cpu)
        ));
    }
    lines.join("\n")
}

/// bench/RESULTS.md.
pub fn page(rounds: u32, seconds: u32, table: &str) -> Result<String, String> {
    Ok(format!(
        "# Results

Written by `cargo xtask bench --rounds {rounds} --seconds {seconds}` on {date}.

Work: HTTP/1.1 keep-alive on both sides, 128-byte answers, sticky clients, {CONNECTIONS} connections, the same four
forwarded fields added, no access log. The balancer alone on core 0; origin (nginx) and load (wrk) on core 1. Medians of
{rounds} interleaved rounds of {seconds} s; CPU time of the balancer's process from /proc.

{table}

- machine: {machine}
- Ebbtide: {ebbtide}
- HAProxy: {haproxy}
- nginx: {nginx}
- wrk: {wrk}
",
        date = first_line("date", &["-u", "+%F"])?,
        machine = machine()?,
        ebbtide = ebbtide_version()?,
        haproxy = first_line("haproxy", &["-v"])?,
        nginx = first_line("nginx", &["-v"])?,
        wrk = first_line("wrk", &["-v"])?,
    ))
}

fn machine() -> Result<String, String> {
    let info = fs::read_to_string("/proc/cpuinfo")
        .map_err(|error| format!("cannot read /proc/cpuinfo: {error}"))?;
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
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

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Of sorted values, at least one.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_compared_with_haproxy() {
        let measured = |cpu_us_per_request| Measured {
            cpu_us_per_request,
            requests_per_second: 1000.0,
        };
        let results = [
            (
                Peer::Ebbtide,
                vec![measured(12.0), measured(9.0), measured(10.0)],
            ),
            (Peer::Haproxy, vec![measured(19.0), measured(21.0)]),
        ];
        let table = table(&results);
        assert!(
            table.contains("| Ebbtide | 10.0 | 9.0 to 12.0 | 0.50 | 1000 |"),
            "{table}"
        );
        assert!(
            table.contains("| HAProxy | 20.0 | 19.0 to 21.0 | 1.00 | 1000 |"),
            "{table}"
        );
    }
}
