//! The balancers and the origin: their configurations for the same work, and their processes.
//!
//! All have a pool of two servers that nothing probes, connections kept on both sides, sticky clients, the same four
//! forwarded fields to add (`X-Forwarded-For`, `-Proto`, `-Host`, `Via`), and no access log.

use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::rows::Suite;
use crate::shell;

pub const BALANCER_CORE: &str = "0";
/// The core that the origin and the load share.
pub const LOAD_CORE: &str = "1";
const ANSWER_BYTES: usize = 128;
/// The answers that are files, by their paths.
const FILES: [(&str, usize); 2] = [("10k", 10 * 1024), ("1m", 1024 * 1024)];
const START_SECONDS_MAX: u64 = 15;
const READ_SECONDS_MAX: u64 = 5;

/// A balancer that is measured.
#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
pub enum Peer {
    Ebbtide,
    Haproxy,
    /// With bodies spliced through the kernel
    HaproxySplice,
    Nginx,
    /// No balancer: a bare epoll loop that looks at nothing
    Floor,
    /// No balancer: the server itself
    Direct,
    /// The program that BLAKE3 comes with
    B3sum,
}

impl Peer {
    pub const ALL: [Self; 7] = [
        Self::Ebbtide,
        Self::Haproxy,
        Self::HaproxySplice,
        Self::Nginx,
        Self::Floor,
        Self::Direct,
        Self::B3sum,
    ];

    /// Does it bind its clients by a cookie?
    fn sets_cookie(self) -> bool {
        matches!(self, Self::Ebbtide | Self::Haproxy | Self::HaproxySplice)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ebbtide => "Ebbtide",
            Self::Haproxy => "HAProxy",
            Self::HaproxySplice => "HAProxy, splice",
            Self::Nginx => "nginx",
            Self::Floor => "epoll floor",
            Self::Direct => "without a balancer",
            Self::B3sum => "b3sum",
        })
    }
}

/// A process that ends with us.
pub struct Process(Child);

impl Process {
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        // It may have ended already, and then there is nothing to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Looks until there is what is wanted; an error if the process ends, or after some time.
    #[expect(
        clippy::disallowed_methods,
        reason = "another program's start has no event to wait for"
    )]
    pub fn wait_until<T>(
        &mut self,
        mut look: impl FnMut() -> Result<T, String>,
    ) -> Result<T, String> {
        let deadline = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
        loop {
            let seen = match look() {
                Ok(found) => return Ok(found),
                Err(seen) => seen,
            };
            if let Ok(Some(status)) = self.0.try_wait() {
                return Err(format!("ended at once ({status}); see its complaint above"));
            }
            if Instant::now() > deadline {
                return Err(format!("not ready within {START_SECONDS_MAX} s: {seen}"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A balancer at work.
pub struct Running {
    pub peer: Peer,
    pub process: Process,
    pub port: u16,
    /// The UNIX socket of the control API, where there is one.
    pub socket: PathBuf,
    /// What a sticky client would send back.
    pub cookie: Option<String>,
}

/// The servers behind the balancers: one process, two addresses.
pub struct Origin {
    _process: Process,
    pub ports: [u16; 2],
}

/// Builds the program as users run it, and what else is measured or measures, in the same way.
pub fn build(peers: &[Peer], suite: Suite) -> Result<(), String> {
    let floor = (peers.contains(&Peer::Floor) || suite == Suite::Nbd).then_some("floor");
    let load = (suite == Suite::Tcp).then_some("tcp_load");
    for example in floor.into_iter().chain(load) {
        cargo_build(&["--package", "xtask", "--example", example])?;
    }
    cargo_build(&["--bin", "ebbtide"])
}

fn cargo_build(arguments: &[&str]) -> Result<(), String> {
    let status = shell::stream(shell::cargo(&["build", "--release"]).args(arguments))?;
    match status.success() {
        true => Ok(()),
        false => Err("Ebbtide does not build: mend that first".to_owned()),
    }
}

pub fn ebbtide_binary() -> Result<PathBuf, String> {
    release_binary("ebbtide")
}

/// Next to our own binary, so that a target folder elsewhere is found as well.
pub fn release_binary(name: &str) -> Result<PathBuf, String> {
    let own =
        std::env::current_exe().map_err(|error| format!("cannot find our own binary: {error}"))?;
    let target = own
        .ancestors()
        .nth(2)
        .ok_or("our own binary is not in a target folder")?;
    Ok(target.join("release").join(name))
}

pub fn start_origin(scratch: &Path) -> Result<Origin, String> {
    let ports = [free_port()?, free_port()?];
    for (name, bytes) in FILES {
        write(scratch, name, &"x".repeat(bytes))?;
    }
    let http = format!(
        "sendfile on; tcp_nopush on; open_file_cache max=16;
    server {{ listen 127.0.0.1:{}; listen 127.0.0.1:{}; default_type text/plain; root {};
        location = / {{ return 200 \"{}\"; }} }}",
        ports[0],
        ports[1],
        scratch.display(),
        "x".repeat(ANSWER_BYTES)
    );
    let mut process = start_nginx(scratch, "origin", LOAD_CORE, &http)?;
    wait_for_answer(&mut process, ports[0]).map_err(|error| format!("origin: {error}"))?;
    Ok(Origin {
        _process: process,
        ports,
    })
}

pub fn start(peer: Peer, scratch: &Path, origin: &[u16; 2]) -> Result<Running, String> {
    let port = free_port()?;
    let mut process = match peer {
        Peer::Ebbtide => start_ebbtide(scratch, port, origin)?,
        Peer::Haproxy => start_haproxy(scratch, port, origin, "")?,
        Peer::HaproxySplice => start_haproxy(scratch, port, origin, "option splice-response")?,
        Peer::Nginx => start_nginx(
            scratch,
            &format!("peer-{port}"),
            BALANCER_CORE,
            &nginx_balancer(port, origin),
        )?,
        Peer::Floor => start_floor(port, origin[0])?,
        Peer::Direct | Peer::B3sum => return Err("has no HTTP pool".to_owned()),
    };
    let cookie = wait_for_answer(&mut process, port).map_err(|error| format!("{peer}: {error}"))?;
    if cookie.is_none() && peer.sets_cookie() {
        return Err(format!(
            "{peer} set no cookie, so its clients would not be sticky"
        ));
    }
    Ok(Running {
        peer,
        process,
        port,
        socket: scratch.join(format!("state-{port}/admin.sock")),
        cookie,
    })
}

fn start_ebbtide(scratch: &Path, port: u16, origin: &[u16; 2]) -> Result<Process, String> {
    let state = scratch.join(format!("state-{port}"));
    fs::create_dir_all(&state)
        .map_err(|error| format!("cannot make {}: {error}", state.display()))?;
    let configuration = format!(
        r#"state_dir = "{state}"
workers = 1

[admin]
listen = "127.0.0.1:{admin}"

[listeners.web]
bind = "127.0.0.1:{port}"
pool = "app"

[pools.app]
protocol = "http"
balance = "least-sessions"
# A token that is older than a quarter of this is renewed with every answer, as wrk keeps none.
sticky = {{ reuse = "12h" }}
health = false

[pools.app.servers]
web1 = "127.0.0.1:{first}"
web2 = "127.0.0.1:{second}"
"#,
        state = state.display(),
        admin = free_port()?,
        first = origin[0],
        second = origin[1],
    );
    let file = write(scratch, &format!("ebbtide-{port}.toml"), &configuration)?;
    let program = ebbtide_binary()?.display().to_string();
    spawn(
        BALANCER_CORE,
        &[&program, "run", "--log", "warn", "-c", &file],
    )
}

pub fn start_floor(port: u16, origin: u16) -> Result<Process, String> {
    let program = release_binary("examples/floor")?.display().to_string();
    spawn(
        BALANCER_CORE,
        &[&program, &port.to_string(), &origin.to_string()],
    )
}

fn start_haproxy(
    scratch: &Path,
    port: u16,
    origin: &[u16; 2],
    option: &str,
) -> Result<Process, String> {
    let configuration = format!(
        "global
    nbthread 1
    maxconn 8192
    maxpipes 64
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option http-keep-alive
    http-reuse always
    {option}
frontend web
    bind 127.0.0.1:{port}
    default_backend app
backend app
    balance leastconn
    cookie SRV insert indirect nocache
    option forwardfor
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request set-header Via \"1.1 haproxy\"
    server web1 127.0.0.1:{} cookie web1
    server web2 127.0.0.1:{} cookie web2
",
        origin[0], origin[1]
    );
    let file = write(scratch, &format!("haproxy-{port}.cfg"), &configuration)?;
    spawn(BALANCER_CORE, &["haproxy", "-db", "-f", &file])
}

fn nginx_balancer(port: u16, origin: &[u16; 2]) -> String {
    format!(
        "upstream app {{ ip_hash; server 127.0.0.1:{}; server 127.0.0.1:{}; keepalive 1024; \
         keepalive_requests 1000000000; }}
    proxy_max_temp_file_size 0; proxy_buffer_size 16k; proxy_buffers 16 32k; proxy_busy_buffers_size 64k;
    server {{ listen 127.0.0.1:{port};
        location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header Via \"1.1 nginx\"; }} }}",
        origin[0], origin[1]
    )
}

/// One nginx, as a single process. Its own folders, so that it needs no root and meets no other nginx.
fn start_nginx(scratch: &Path, name: &str, core: &str, http: &str) -> Result<Process, String> {
    let own = scratch.join(format!("nginx-{name}"));
    fs::create_dir_all(&own).map_err(|error| format!("cannot make {}: {error}", own.display()))?;
    let own = own.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String = temporary
        .iter()
        .map(|kind| format!("{kind}_temp_path {own}/{kind};\n    "))
        .collect();
    let configuration = format!(
        "daemon off;\nmaster_process off;\npid {own}/pid;\nerror_log stderr error;\n\
         events {{ worker_connections 16000; }}\nhttp {{\n    access_log off;\n    \
         keepalive_requests 1000000000;\n    {temporary}{http}\n}}\n"
    );
    let file = write(scratch, &format!("nginx-{name}.conf"), &configuration)?;
    spawn(
        core,
        &["nginx", "-e", "stderr", "-p", &own.to_string(), "-c", &file],
    )
}

pub fn spawn(core: &str, words: &[&str]) -> Result<Process, String> {
    let program = shell::find_program(words[0])
        .unwrap_or_else(|| words[0].into())
        .display()
        .to_string();
    let mut command = shell::command("taskset", &["-c", core, &program]);
    // taskset becomes the program, so the process that we hold is the one to measure.
    let child = command
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    child
        .map(Process)
        .map_err(|error| format!("cannot start {program}: {error}"))
}

pub fn write(scratch: &Path, name: &str, text: &str) -> Result<String, String> {
    let path = scratch.join(name);
    fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(path.display().to_string())
}

/// A port that was free a moment ago.
pub fn free_port() -> Result<u16, String> {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    address
        .map(|address| address.port())
        .map_err(|error| format!("no free port: {error}"))
}

/// Asks until the answer is the origin's; returns the cookie that came with it.
fn wait_for_answer(process: &mut Process, port: u16) -> Result<Option<String>, String> {
    process.wait_until(|| {
        let answer = ask(port).map_err(|error| error.to_string())?;
        match is_origin_answer(&answer) {
            true => Ok(cookie(&answer)),
            false => Err(answer),
        }
    })
}

fn ask(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(READ_SECONDS_MAX)))?;
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The origin's 200 with its whole body, and not a balancer's page about having no server yet.
pub fn is_origin_answer(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 200") && answer.contains(&"x".repeat(ANSWER_BYTES))
}

fn cookie(answer: &str) -> Option<String> {
    let fields = answer.split("\r\n").filter_map(|line| line.split_once(':'));
    let mut cookies = fields.filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    cookies.find_map(|(_, value)| Some(value.trim().split(';').next()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_taken_without_its_attributes() {
        let answer =
            "HTTP/1.1 200 OK\r\nServer: a\r\nset-cookie: SRV=web1; path=/; HttpOnly\r\n\r\nx";
        assert_eq!(cookie(answer).as_deref(), Some("SRV=web1"));
        assert_eq!(cookie("HTTP/1.1 200 OK\r\n\r\nx"), None);
    }

    #[test]
    fn a_page_of_the_balancer_is_not_the_origins_answer() {
        let body = "x".repeat(ANSWER_BYTES);
        assert!(is_origin_answer(&format!("HTTP/1.1 200 OK\r\n\r\n{body}")));
        assert!(!is_origin_answer(&format!(
            "HTTP/1.1 503 Busy\r\n\r\n{body}"
        )));
        assert!(!is_origin_answer("HTTP/1.1 200 OK\r\n\r\nwait"));
    }
}
