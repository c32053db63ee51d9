//! How long a hold and a return take to be acknowledged, through the socket that the command line uses.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::measure;
use super::peers::Running;
use super::rows::{Row, Work};
use super::statistics::Times;

/// Pairs of a hold and a return without load, in each round.
const QUIET_PAIRS: usize = 100;
/// Plain writes to the same disk, in each round.
const PLAIN_WRITES: usize = 100;
const PLAIN_BYTES: usize = 4096;
const ANSWER_SECONDS_MAX: u64 = 30;

/// What the target is about.
pub const UNDER_LOAD: &str = "hold, under load";

/// One round: the disk alone, then without load, then for as long as there is load.
pub fn measure(
    ebbtide: &Running,
    scratch: &Path,
    seconds: u32,
    times: &mut Times,
) -> Result<(), String> {
    let mut operator = Operator::connect(&ebbtide.socket)?;
    let mut quiet = Vec::new();
    for _ in 0..QUIET_PAIRS {
        quiet.push(operator.post("hold")?);
        operator.post("ready")?;
    }
    let Work::Load(load) = Row::KeepAlive64.work() else {
        return Ok(());
    };
    let mut wrk = measure::wrk(ebbtide, &load, seconds, scratch)?;
    let started = wrk.stdout(Stdio::null()).spawn();
    let mut wrk = Load(started.map_err(|error| format!("cannot start wrk: {error}"))?);
    while wrk.goes_on() {
        times.add(UNDER_LOAD, operator.post("hold")?);
        times.add("ready, under load", operator.post("ready")?);
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

/// A kept connection to the control API.
struct Operator {
    stream: UnixStream,
    reader: BufReader<UnixStream>,
}

impl Operator {
    fn connect(socket: &Path) -> Result<Self, String> {
        let open = || {
            let stream = UnixStream::connect(socket)?;
            stream.set_read_timeout(Some(Duration::from_secs(ANSWER_SECONDS_MAX)))?;
            let reader = BufReader::new(stream.try_clone()?);
            std::io::Result::Ok(Self { stream, reader })
        };
        open().map_err(|error| format!("cannot reach {}: {error}", socket.display()))
    }

    /// Milliseconds from the first byte of the command to the last byte of its answer.
    fn post(&mut self, command: &str) -> Result<f64, String> {
        let request = format!(
            "POST /api/v1/servers/app/web2/{command} HTTP/1.1\r\nHost: localhost\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        let begun = Instant::now();
        let sent = self.stream.write_all(request.as_bytes());
        let answer = sent.and_then(|()| self.answer());
        let took = begun.elapsed();
        match answer {
            Ok(first_line) if first_line.contains(" 200 ") => Ok(took.as_secs_f64() * 1e3),
            Ok(first_line) => Err(format!("{command} was answered {first_line}")),
            Err(error) => Err(format!("{command} was not answered: {error}")),
        }
    }

    fn answer(&mut self) -> std::io::Result<String> {
        let mut first_line = String::new();
        self.reader.read_line(&mut first_line)?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line)?;
            if line.trim_end().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body)?;
        Ok(first_line.trim_end().to_owned())
    }
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
