//! NBD pools beside servers that nothing stands before, servers that go away, and manifests.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::measure::{self, Measured};
use super::peers::{self, BALANCER_CORE, LOAD_CORE, Peer, Process};
use super::rows::{Row, Work};
use super::statistics::Times;
use super::{Options, Suite};
use crate::shell;

/// What is waited for when a server dies by `kill -9`, and when it is drained.
pub const KILLED: &str = "kill -9 of the server";
pub const DRAINED: &str = "drain of the server";
/// The same reads while nothing happens.
const QUIET: &str = "nothing happens";
const QUIET_FLOOR: &str = "nothing happens, through the epoll floor";
const QUIET_DIRECT: &str = "nothing happens, without a balancer";

const IMAGE_BYTES: usize = 1 << 30;
const BLOCK_BYTES: usize = 1 << 20;
const NAMES: [&str; 2] = ["s1", "s2"];
/// Servers that go, of each kind, in each round.
const PAUSES: usize = 10;
/// For so long small reads go on, and so late in it the server goes.
const READ_SECONDS: u32 = 2;
const GOES_AFTER: Duration = Duration::from_millis(1000);
const SMALL_DEPTH: u32 = 16;

/// Two servers with the same file, and Ebbtide before them.
pub struct Bench {
    seconds: u32,
    scratch: PathBuf,
    servers: Vec<Server>,
    ebbtide: Process,
    port: u16,
    /// What passes bytes on to the first server, and looks at none.
    floor: Process,
    floor_port: u16,
}

struct Server {
    port: u16,
    process: Process,
}

impl Bench {
    pub fn start(options: &Options, scratch: &Path) -> Result<Self, String> {
        write_image(scratch)?;
        let mut servers = Vec::new();
        for name in NAMES {
            let port = peers::free_port()?;
            let folder = scratch.join(name);
            ebbtide(&["manifest", &folder.display().to_string()])?;
            let process = start_server(port, &folder)?;
            servers.push(Server { port, process });
        }
        let port = peers::free_port()?;
        let ebbtide = start_ebbtide(scratch, port, [servers[0].port, servers[1].port])?;
        let floor_port = peers::free_port()?;
        let floor = peers::start_floor(floor_port, servers[0].port)?;
        let mut bench = Self {
            seconds: options.seconds,
            scratch: scratch.to_owned(),
            servers,
            ebbtide,
            port,
            floor,
            floor_port,
        };
        wait_for_disk(&mut bench.ebbtide, &uri(port))?;
        wait_for_disk(&mut bench.floor, &uri(floor_port))?;
        Ok(bench)
    }

    fn uri(&self, peer: Peer) -> String {
        uri(match peer {
            Peer::Direct => self.servers[0].port,
            Peer::Floor => self.floor_port,
            _ => self.port,
        })
    }

    /// What operators type.
    fn operate(&self, words: &[&str]) -> Result<(), String> {
        let socket = format!("unix:{}", self.scratch.join("state/admin.sock").display());
        ebbtide(&[&["--admin", &socket], words].concat())
    }

    /// The longest read of two seconds; after one of them, something is done.
    #[expect(
        clippy::disallowed_methods,
        reason = "the reads have no event that says that they are well under way"
    )]
    fn longest_read(
        &mut self,
        uri: &str,
        then: impl FnOnce(&mut Self) -> Result<(), String>,
    ) -> Result<f64, String> {
        let mut reads = fio(uri, 1, READ_SECONDS);
        let started = reads.stdout(Stdio::piped()).spawn();
        let reads = Reads(Some(
            started.map_err(|error| format!("cannot start fio: {error}"))?,
        ));
        std::thread::sleep(GOES_AFTER);
        then(self)?;
        Ok(reads.finish()?.longest_ms)
    }

    /// A session that must be on the first server, which then goes; after that all is as before.
    fn first_goes(
        &mut self,
        goes: impl FnOnce(&mut Self) -> Result<(), String>,
    ) -> Result<f64, String> {
        self.operate(&["hold", "disks/s2"])?;
        let longest = self.longest_read(&self.uri(Peer::Ebbtide), |bench| {
            bench.operate(&["ready", "disks/s2"])?;
            goes(bench)
        })?;
        self.operate(&["ready", "disks/s1"])?;
        self.operate(&["wait", "disks/s1", "--for", "ready", "--timeout", "15s"])?;
        Ok(longest)
    }

    fn kill_first(&mut self) -> Result<(), String> {
        let port = self.servers[0].port;
        self.servers[0].process.kill();
        self.servers[0].process = start_server(port, &self.scratch.join(NAMES[0]))?;
        Ok(())
    }
}

impl Suite for Bench {
    fn measure(&mut self, row: Row, peer: Peer) -> Result<Measured, String> {
        let uri = self.uri(peer);
        let balancer = match peer {
            Peer::Floor => self.floor.id(),
            _ => self.ebbtide.id(),
        };
        let before = measure::cpu_seconds(balancer)?;
        let begun = Instant::now();
        let (amount, unit) = match (row.work(), peer) {
            (Work::NbdCopy, _) => {
                let words = ["-c", LOAD_CORE, "nbdcopy", &uri, "null:"];
                shell::capture_text(&mut shell::command("taskset", &words))?;
                (IMAGE_BYTES as f64 / 1e9, 1e3)
            }
            (Work::NbdSmall, _) => {
                let read = Reads::run(fio(&uri, SMALL_DEPTH, self.seconds))?;
                (read.count, 1e6)
            }
            (Work::Manifest, Peer::B3sum) => {
                let file = self.scratch.join("s1/disk").display().to_string();
                shell::capture_text(&mut shell::command("b3sum", &[&file]))?;
                (IMAGE_BYTES as f64 / 1e9, 1e3)
            }
            (Work::Manifest, _) => {
                let folder = self.scratch.join("s1").display().to_string();
                ebbtide(&["manifest", &folder, "--full"])?;
                (IMAGE_BYTES as f64 / 1e9, 1e3)
            }
            _ => return Err("is not of this comparison".to_owned()),
        };
        let wall = begun.elapsed().as_secs_f64();
        let spent = measure::cpu_seconds(balancer)? - before;
        let rate = match unit {
            1e3 => amount * 1e3 / wall,
            _ => amount / wall,
        };
        Ok(Measured {
            cost: wall * unit / amount,
            rate: (row != Row::Manifest).then_some((rate, spent / wall)),
        })
    }

    fn time(&mut self, _row: Row, times: &mut Times) -> Result<(), String> {
        for _ in 0..PAUSES {
            times.add(KILLED, self.first_goes(Self::kill_first)?);
            let drained =
                |bench: &mut Self| bench.operate(&["drain", "disks/s1", "--within", "10m"]);
            times.add(DRAINED, self.first_goes(drained)?);
            let quiet = [
                (QUIET, Peer::Ebbtide),
                (QUIET_FLOOR, Peer::Floor),
                (QUIET_DIRECT, Peer::Direct),
            ];
            for (what, peer) in quiet {
                times.add(what, self.longest_read(&self.uri(peer), |_| Ok(()))?);
            }
        }
        Ok(())
    }
}

fn uri(port: u16) -> String {
    format!("nbd://127.0.0.1:{port}/disk")
}

/// Waits until the disk can be had there.
fn wait_for_disk(process: &mut Process, uri: &str) -> Result<(), String> {
    process.wait_until(|| {
        shell::capture_text(&mut shell::command("nbdinfo", &["--size", uri])).map(|_| ())
    })
}

/// A file that is different everywhere, for both servers.
fn write_image(scratch: &Path) -> Result<(), String> {
    let write = || {
        for name in NAMES {
            fs::create_dir_all(scratch.join(name))?;
        }
        let path = scratch.join(NAMES[0]).join("disk");
        let mut file = fs::File::create(&path)?;
        let mut state = 1_u64;
        let mut block = vec![0; BLOCK_BYTES];
        for _ in 0..IMAGE_BYTES / BLOCK_BYTES {
            for word in block.chunks_exact_mut(8) {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                word.copy_from_slice(&state.to_be_bytes());
            }
            file.write_all(&block)?;
        }
        fs::hard_link(&path, scratch.join(NAMES[1]).join("disk"))
    };
    write().map_err(|error| format!("cannot write a disk to {}: {error}", scratch.display()))
}

fn start_server(port: u16, folder: &Path) -> Result<Process, String> {
    let file = folder.join("disk").display().to_string();
    let port_word = port.to_string();
    let words = [
        "nbdkit",
        "-f",
        "-r",
        "-i",
        "127.0.0.1",
        "-p",
        &port_word,
        "file",
        &file,
    ];
    let mut process = peers::spawn(LOAD_CORE, &words)?;
    process.wait_until(|| {
        let connected = TcpStream::connect(("127.0.0.1", port));
        connected.map(|_| ()).map_err(|error| error.to_string())
    })?;
    Ok(process)
}

fn start_ebbtide(scratch: &Path, port: u16, servers: [u16; 2]) -> Result<Process, String> {
    let configuration = format!(
        r#"state_dir = {state:?}
workers = 1

[admin]
listen = "127.0.0.1:{admin}"

[listeners.disks]
bind = "127.0.0.1:{port}"
pool = "disks"

[pools.disks]
protocol = "nbd"
health = {{ every = "200ms", timeout = "5s" }}
manifest = {manifest:?}
manifest_every = "1s"

[pools.disks.resources.disk]

[pools.disks.servers]
s1 = "127.0.0.1:{first}"
s2 = "127.0.0.1:{second}"
"#,
        state = scratch.join("state"),
        manifest = scratch.join("{server}/manifest.json"),
        admin = peers::free_port()?,
        first = servers[0],
        second = servers[1],
    );
    let file = peers::write(scratch, "ebbtide.toml", &configuration)?;
    let program = peers::ebbtide_binary()?.display().to_string();
    peers::spawn(
        BALANCER_CORE,
        &[&program, "run", "--log", "warn", "-c", &file],
    )
}

/// Runs the program, which must succeed.
fn ebbtide(words: &[&str]) -> Result<(), String> {
    shell::capture_text(&mut shell::command(peers::ebbtide_binary()?, words)).map(|_| ())
}

/// fio, ready to go: random reads of 4 KiB, so many at a time.
fn fio(uri: &str, depth: u32, seconds: u32) -> std::process::Command {
    let mut command = shell::command("taskset", &["-c", LOAD_CORE, "fio"]);
    command.args([
        "--name=read",
        "--ioengine=nbd",
        "--rw=randread",
        "--bs=4k",
        "--thread",
    ]);
    command.args(["--time_based", "--output-format=json", "--size=1g"]);
    command.args([
        format!("--uri={uri}"),
        format!("--iodepth={depth}"),
        format!("--runtime={seconds}"),
    ]);
    command
}

/// fio at work, which ends with us.
struct Reads(Option<Child>);

struct Read {
    count: f64,
    longest_ms: f64,
}

impl Reads {
    fn run(mut command: std::process::Command) -> Result<Read, String> {
        parse(&shell::capture_text(&mut command)?)
    }

    fn finish(mut self) -> Result<Read, String> {
        let Some(child) = self.0.take() else {
            return Err("fio has been waited for".to_owned());
        };
        let output = child
            .wait_with_output()
            .map_err(|error| format!("cannot wait for fio: {error}"))?;
        if !output.status.success() {
            return Err(format!("fio failed: {}", output.status));
        }
        parse(&String::from_utf8_lossy(&output.stdout))
    }
}

impl Drop for Reads {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // It may have ended already, and then there is nothing to end.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The figures of the reads in fio's report, which has those of reads first.
fn parse(report: &str) -> Result<Read, String> {
    let after = |from: &str, name: &str| {
        let found = from.split_once(&format!("\"{name}\" :"))?.1;
        Some(found.to_owned())
    };
    let number = |from: &str, name: &str| {
        let text = after(from, name)?;
        let end = text.find([',', '\n', '}'])?;
        text[..end].trim().parse::<f64>().ok()
    };
    let read = after(report, "read");
    let figures = read.and_then(|read| {
        Some(Read {
            count: number(&read, "total_ios")?,
            longest_ms: number(&after(&read, "clat_ns")?, "max")? / 1e6,
        })
    });
    figures.ok_or_else(|| format!("fio reported no reads:\n{report}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_fio_is_read() {
        let report = r#"{ "jobs" : [ { "read" : { "total_ios" : 120,
            "slat_ns" : { "min" : 1, "max" : 7 },
            "clat_ns" : { "min" : 100, "max" : 2500000, "mean" : 3 } },
            "write" : { "total_ios" : 0 } } ] }"#;
        let read = parse(report).unwrap();
        assert_eq!((read.count, read.longest_ms), (120.0, 2.5));
        assert!(parse("fio: failed").is_err());
    }
}
