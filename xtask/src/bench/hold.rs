//! How long a hold and a return take to be acknowledged, through the socket that the command line uses.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Instant;

use super::connection::Connection;
use super::measure;
use super::peers::Running;
use super::rows::{Row, Work};
use super::statistics::Times;

/// Pairs of a hold and a return without load, in each round.
const QUIET_PAIRS: usize = 100;
/// Plain writes to the same disk, in each round.
const PLAIN_WRITES: usize = 100;
const PLAIN_BYTES: usize = 4096;

/// What the target is about.
pub const UNDER_LOAD: &str = "hold, under load";

/// One round: the disk alone, then without load, then for as long as there is load.
pub fn measure(
    ebbtide: &Running,
    scratch: &Path,
    seconds: u32,
    times: &mut Times,
) -> Result<(), String> {
    let mut operator = Connection::to_socket(&ebbtide.socket)?;
    let mut quiet = Vec::new();
    for _ in 0..QUIET_PAIRS {
        quiet.push(post(&mut operator, "hold")?);
        post(&mut operator, "ready")?;
    }
    let Work::Load(load) = Row::KeepAlive64.work() else {
        return Ok(());
    };
    let mut wrk = measure::wrk(ebbtide, &load, seconds, scratch)?;
    let started = wrk.stdout(Stdio::null()).spawn();
    let mut wrk = Load(started.map_err(|error| format!("cannot start wrk: {error}"))?);
    while wrk.goes_on() {
        times.add(UNDER_LOAD, post(&mut operator, "hold")?);
        times.add("ready, under load", post(&mut operator, "ready")?);
    }
    for time in quiet {
        times.add("hold, without load", time);
    }
    for time in plain_writes(scratch)? {
        // What the disk alone takes.
        times.add("the disk alone: 4 KiB and fdatasync", time);
    }
    Ok(())
}

/// A load that ends with us, if not by itself.
struct Load(Child);

impl Load {
    fn goes_on(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // It has mostly ended already, and then there is nothing to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Milliseconds that a command takes.
fn post(operator: &mut Connection<UnixStream>, command: &str) -> Result<f64, String> {
    let answer = operator.post(&format!("/api/v1/servers/app/web2/{command}"))?;
    Ok(answer.all_ms)
}

fn plain_writes(folder: &Path) -> Result<Vec<f64>, String> {
    let path = folder.join("plain");
    let write = || {
        let mut file = File::create(&path)?;
        let mut times = Vec::new();
        for _ in 0..PLAIN_WRITES {
            let begun = Instant::now();
            file.write_all(&[0; PLAIN_BYTES])?;
            file.sync_data()?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        fs::remove_file(&path)?;
        std::io::Result::Ok(times)
    };
    write().map_err(|error| format!("cannot write {}: {error}", path.display()))
}
