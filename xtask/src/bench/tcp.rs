//! TCP pools beside HAProxy: many bytes, and many small round trips.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::measure::{self, Measured};
use super::peers::{self, BALANCER_CORE, LOAD_CORE, Peer, Process, Running};
use super::rows::{Row, Work};
use super::statistics::Times;
use super::{Options, Suite};
use crate::shell;

const BYTES_PER_GB: f64 = 1e9;
const ECHO_SECONDS_MAX: u64 = 1;

/// The processes of a comparison.
pub struct Bench {
    seconds: u32,
    _server: Process,
    running: Vec<Running>,
}

impl Bench {
    pub fn start(options: &Options, rows: &[Row], scratch: &Path) -> Result<Self, String> {
        let origin = peers::free_port()?;
        let program = load_program()?;
        let mut server = peers::spawn(LOAD_CORE, &[&program, "serve", &origin.to_string()])?;
        server.wait_until(|| echo(origin))?;
        let mut running = Vec::new();
        for peer in super::needed(options, rows) {
            running.push(start(peer, scratch, origin).map_err(|why| format!("{peer}: {why}"))?);
        }
        Ok(Self {
            seconds: options.seconds,
            _server: server,
            running,
        })
    }
}

impl Suite for Bench {
    fn measure(&mut self, row: Row, peer: Peer) -> Result<Measured, String> {
        let balancer = self.running.iter().find(|running| running.peer == peer);
        let (Some(balancer), Work::Tcp { kind, connections }) = (balancer, row.work()) else {
            return Err("is not of this comparison".to_owned());
        };
        load(balancer.port, kind, connections, 1)?;
        let before = measure::cpu_seconds(balancer.process.id())?;
        let done = load(balancer.port, kind, connections, self.seconds)?;
        let spent = measure::cpu_seconds(balancer.process.id())? - before;
        let wall = f64::from(self.seconds);
        let (cost, rate) = match kind {
            "echo" => (spent * 1e6 / done, done / wall),
            _ => (spent * 1e3 / (done / BYTES_PER_GB), done / wall / 1e6),
        };
        Ok(Measured {
            cost,
            rate: Some((rate, spent / wall)),
        })
    }

    fn time(&mut self, _row: Row, _times: &mut Times) -> Result<(), String> {
        Ok(())
    }
}

fn load_program() -> Result<String, String> {
    Ok(peers::release_binary("examples/tcp_load")?
        .display()
        .to_string())
}

/// How much was done: bytes or round trips.
fn load(port: u16, kind: &str, connections: u32, seconds: u32) -> Result<f64, String> {
    let program = load_program()?;
    let mut command = shell::command("taskset", &["-c", LOAD_CORE, &program, kind]);
    command.args([
        port.to_string(),
        connections.to_string(),
        seconds.to_string(),
    ]);
    let said = shell::capture_text(&mut command)?;
    match said.trim().parse() {
        Ok(done) if done > 0.0 => Ok(done),
        _ => Err(format!("the load said {said:?}")),
    }
}

fn start(peer: Peer, scratch: &Path, origin: u16) -> Result<Running, String> {
    let port = peers::free_port()?;
    let mut process = match peer {
        Peer::Ebbtide => start_ebbtide(scratch, port, origin)?,
        Peer::Haproxy => start_haproxy(scratch, port, origin, "")?,
        Peer::HaproxySplice => start_haproxy(scratch, port, origin, "option splice-auto")?,
        Peer::Floor => peers::start_floor(port, origin)?,
        Peer::Nginx | Peer::Direct | Peer::B3sum => return Err("has no TCP pool".to_owned()),
    };
    process.wait_until(|| echo(port))?;
    Ok(Running {
        peer,
        process,
        port,
        socket: PathBuf::new(),
        cookie: None,
    })
}

fn start_ebbtide(scratch: &Path, port: u16, origin: u16) -> Result<Process, String> {
    let state = scratch.join(format!("state-{port}"));
    let configuration = format!(
        r#"state_dir = {state:?}
workers = 1

[admin]
listen = "127.0.0.1:{admin}"

[listeners.connections]
bind = "127.0.0.1:{port}"
pool = "app"

[pools.app]
protocol = "tcp"
health = false

[pools.app.servers]
server1 = "127.0.0.1:{origin}"
"#,
        admin = peers::free_port()?,
    );
    let file = peers::write(scratch, &format!("ebbtide-{port}.toml"), &configuration)?;
    let program = peers::ebbtide_binary()?.display().to_string();
    peers::spawn(
        BALANCER_CORE,
        &[&program, "run", "--log", "warn", "-c", &file],
    )
}

fn start_haproxy(scratch: &Path, port: u16, origin: u16, option: &str) -> Result<Process, String> {
    let configuration = format!(
        "global
    nbthread 1
    maxconn 8192
    maxpipes 1024
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    {option}
frontend connections
    bind 127.0.0.1:{port}
    default_backend app
backend app
    balance leastconn
    server server1 127.0.0.1:{origin}
"
    );
    let file = peers::write(scratch, &format!("haproxy-{port}.cfg"), &configuration)?;
    peers::spawn(BALANCER_CORE, &["haproxy", "-db", "-f", &file])
}

/// One round trip.
fn echo(port: u16) -> Result<(), String> {
    let go = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(ECHO_SECONDS_MAX)))?;
        stream.write_all(b"e.")?;
        stream.read_exact(&mut [0])
    };
    go().map_err(|error| error.to_string())
}
