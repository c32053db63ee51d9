//! One measurement: a run of wrk, and the CPU time that the balancer took for it.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::peers::{LOAD_CORE, Running, write};
use super::rows::Load;
use crate::shell;

/// Linux counts CPU time for user space in hundredths of a second, on every architecture that we know.
pub const TICKS_PER_SECOND: f64 = 100.0;
/// What a POST carries.
const POST_BYTES: usize = 1024;

/// What one measurement gave.
#[derive(Clone, Copy)]
pub struct Measured {
    /// In the unit of its row.
    pub cost: f64,
    /// Requests per second, and the part of the balancer's core that they took, where there was load.
    pub rate: Option<(f64, f64)>,
}

/// Puts the load on the balancer, after a second to warm up; an error if any request went wrong.
pub fn measure(
    balancer: &Running,
    load: &Load,
    seconds: u32,
    scratch: &Path,
) -> Result<Measured, String> {
    run_load(&mut wrk(balancer, load, 1, scratch)?)?;
    let before = cpu_seconds(balancer.process.id())?;
    let done = run_load(&mut wrk(balancer, load, seconds, scratch)?)?;
    let spent = cpu_seconds(balancer.process.id())? - before;
    let wall = done.requests / done.requests_per_second;
    Ok(Measured {
        cost: spent * 1e6 / done.requests,
        rate: Some((done.requests_per_second, spent / wall)),
    })
}

/// wrk, ready to go.
pub fn wrk(
    balancer: &Running,
    load: &Load,
    seconds: u32,
    scratch: &Path,
) -> Result<Command, String> {
    let connections = format!("-c{}", load.connections);
    let duration = format!("-d{seconds}s");
    let mut wrk = shell::command(
        "taskset",
        &["-c", LOAD_CORE, "wrk", "-t1", &connections, &duration],
    );
    if let Some(cookie) = &balancer.cookie {
        wrk.args(["-H", &format!("Cookie: {cookie}")]);
    }
    if load.closes {
        wrk.args(["-H", "Connection: close"]);
    }
    if load.posts {
        let body = "x".repeat(POST_BYTES);
        let script = format!("wrk.method = \"POST\"\nwrk.body = \"{body}\"\n");
        wrk.args(["-s", &write(scratch, "post.lua", &script)?]);
    }
    wrk.arg(format!("http://127.0.0.1:{}{}", balancer.port, load.path));
    Ok(wrk)
}

#[derive(Debug, PartialEq)]
struct Done {
    requests: f64,
    requests_per_second: f64,
}

fn run_load(wrk: &mut Command) -> Result<Done, String> {
    parse_load(&shell::capture_text(wrk)?)
}

fn parse_load(report: &str) -> Result<Done, String> {
    let wrong = ["Socket errors:", "Non-2xx"];
    if let Some(line) = report
        .lines()
        .find(|line| wrong.iter().any(|start| line.trim().starts_with(start)))
    {
        return Err(format!(
            "requests went wrong, so the numbers mean nothing: {}",
            line.trim()
        ));
    }
    let requests = report
        .lines()
        .find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok());
    let rate = report.lines().find_map(|line| {
        line.trim()
            .strip_prefix("Requests/sec:")?
            .trim()
            .parse()
            .ok()
    });
    match (requests, rate) {
        (Some(requests), Some(requests_per_second)) if requests > 0.0 => Ok(Done {
            requests,
            requests_per_second,
        }),
        _ => Err(format!("wrk reported no requests:\n{report}")),
    }
}

/// User and system time of a process with all its threads.
pub fn cpu_seconds(process: u32) -> Result<f64, String> {
    let path = format!("/proc/{process}/stat");
    let stat = fs::read_to_string(&path)
        .map_err(|error| format!("the balancer has ended? {path}: {error}"))?;
    parse_cpu_ticks(&stat)
        .map(|ticks| ticks / TICKS_PER_SECOND)
        .ok_or_else(|| format!("{path} is not as expected"))
}

/// proc_pid_stat(5): fields 14 and 15. The second is a name that may hold anything, so count from its end.
pub fn parse_cpu_ticks(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let user: f64 = fields.get(11)?.parse().ok()?;
    let system: f64 = fields.get(12)?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "Running 5s test @ http://127.0.0.1:1/\n  1 threads and 64 connections\n  \
        200500 requests in 5.01s, 51.2MB read\nRequests/sec:  40019.96\nTransfer/sec:     10.2MB\n";

    #[test]
    fn a_report_of_wrk_is_read() {
        assert_eq!(
            parse_load(REPORT),
            Ok(Done {
                requests: 200500.0,
                requests_per_second: 40019.96
            })
        );
    }

    #[test]
    fn a_run_with_failed_requests_is_no_result() {
        assert!(parse_load(&format!("{REPORT}  Non-2xx or 3xx responses: 3\n")).is_err());
        assert!(
            parse_load(&format!(
                "{REPORT}  Socket errors: connect 0, read 1, write 0, timeout 0\n"
            ))
            .is_err()
        );
        assert!(parse_load("unable to connect\n").is_err());
    }

    #[test]
    fn cpu_time_is_read_past_a_strange_name() {
        let stat = "42 (a b) c) S 1 42 42 0 -1 4194560 100 0 0 0 150 250 7 8 20 0 1 0 100 0 0";
        assert_eq!(parse_cpu_ticks(stat), Some(400.0));
    }
}
