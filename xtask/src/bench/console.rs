//! What operators wait for at the console and the API, and what users notice of them: with many sessions, and
//! under many events.

use std::fs;
use std::io::BufRead;
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use super::connection::{Answer, Connection};
use super::idle::resident_bytes;
use super::measure::{Measured, cpu_seconds};
use super::peers::{self, BALANCER_CORE, LOAD_CORE, Origin, Peer, Process};
use super::rows::Row;
use super::statistics::{Sorted, Times};
use super::{Options, Suite};
use crate::shell;

/// Live sessions while pages are timed.
const SESSIONS: usize = 100_000;
/// Connections of the users without a cookie.
const CROWD: usize = 50;
/// Every page is asked for so often in a round.
const REPEATS: usize = 20;
/// Sessions that begin in a second under the flood; each also ends.
const FLOOD_PER_SECOND: u32 = 5_500;
/// How long these live.
const FLOOD_REUSE: Duration = Duration::from_secs(2);

/// The addresses that are timed, and what their rows are called: until the first byte, in all, and the size.
const PAGES: [(&str, [&str; 3]); 6] = [
    (
        "/sessions",
        [
            "Sessions page, first byte",
            "Sessions page",
            "Sessions page, KB",
        ],
    ),
    (
        NEXT,
        [
            "Sessions page, the next one, first byte",
            "Sessions page, the next one",
            "Sessions page, the next one, KB",
        ],
    ),
    (
        "/sessions?sort=user",
        [
            "Sessions page, by user, first byte",
            "Sessions page, by user",
            "Sessions page, by user, KB",
        ],
    ),
    (
        "/sessions?find=user-54321",
        [
            "Sessions page, one user, first byte",
            "Sessions page, one user",
            "Sessions page, one user, KB",
        ],
    ),
    (
        "/api/v1/sessions",
        [
            "API, 100 sessions, first byte",
            "API, 100 sessions",
            "API, 100 sessions, KB",
        ],
    ),
    (
        "/api/v1/sessions?user=user-54321",
        [
            "API, one user, first byte",
            "API, one user",
            "API, one user, KB",
        ],
    ),
];
/// Stands for where the Sessions page says that the next one is.
const NEXT: &str = "";

/// A node with its sessions.
pub struct Bench {
    seconds: Duration,
    _origin: Origin,
    node: Process,
    port: u16,
    flood_port: u16,
    socket: PathBuf,
    /// What binds the client that times proxying.
    cookie: String,
    /// What is no time: shown by a row of its own.
    amounts: Times,
}

impl Bench {
    pub fn start(options: &Options, scratch: &Path) -> Result<Self, String> {
        // All that we do is load: it stays away from the node's core.
        let own = std::process::id().to_string();
        shell::capture_text(&mut shell::command("taskset", &["-apc", LOAD_CORE, &own]))?;
        let origin = peers::start_origin(scratch)?;
        let (port, flood_port) = (peers::free_port()?, peers::free_port()?);
        let mut node = start_node(scratch, [port, flood_port], &origin.ports)?;
        let cookie = node.wait_until(|| {
            let answer = Connection::to_port(port)?.get("/")?;
            answer.cookie.ok_or_else(|| "no cookie was set".to_owned())
        })?;
        let before = resident_bytes(node.id())?;
        let mut crowd = Crowd::connect(port)?;
        for wave in 0..SESSIONS / CROWD {
            crowd.wave(|place| format!("Cookie: user=user-{}\r\n", wave * CROWD + place))?;
        }
        let mut amounts = Times::default();
        let grown = resident_bytes(node.id())? - before;
        amounts.add("memory of a session, bytes", grown / SESSIONS as f64);
        Ok(Self {
            seconds: Duration::from_secs(options.seconds.into()),
            _origin: origin,
            node,
            port,
            flood_port,
            socket: scratch.join("state/admin.sock"),
            cookie,
            amounts,
        })
    }

    fn pages(&mut self, times: &mut Times) -> Result<(), String> {
        let mut operator = Connection::to_socket(&self.socket)?;
        let next = next_of(&operator.get("/sessions")?)?;
        for (path, [first_byte, all, size]) in PAGES {
            let path = if path == NEXT { &next } else { path };
            let mut bytes = 0;
            for _ in 0..REPEATS {
                let answer = operator.get(path)?;
                times.add(first_byte, answer.first_byte_ms);
                times.add(all, answer.all_ms);
                bytes = answer.body.len();
            }
            self.amounts.add(size, bytes as f64 / 1e3);
        }
        let alone = self.proxying()?;
        let is_over = AtomicBool::new(false);
        let reloaded = thread::scope(|scope| {
            let reader = scope.spawn(|| reload(&self.socket, &is_over));
            let proxying = self.proxying();
            is_over.store(true, Relaxed);
            let pages = finish(reader)?;
            Ok::<_, String>((proxying?, pages))
        });
        let (reloaded, pages) = reloaded?;
        let rate = pages as f64 / self.seconds.as_secs_f64();
        self.amounts
            .add("Sessions page, reloaded without end, pages/s", rate);
        self.compare(
            "proxying, p99 while reloaded, times alone",
            &alone,
            &reloaded,
        );
        self.open_page()?;
        for time in alone {
            times.add("proxying, alone", time);
        }
        for time in reloaded {
            times.add("proxying, Sessions page reloaded without end", time);
        }
        Ok(())
    }

    /// What one Sessions page costs that stands open and is kept up to date, while nothing else happens.
    fn open_page(&mut self) -> Result<(), String> {
        let quiet = self.spent()?;
        let with_page = thread::scope(|scope| {
            let (stream, _reader) = listen(scope, &self.socket, "/live/sessions")?;
            let spent = self.spent();
            shut(&stream)?;
            spent
        })?;
        let percent = (with_page - quiet) / self.seconds.as_secs_f64() * 100.0;
        self.amounts
            .add("an open Sessions page, % of the node's core", percent);
        Ok(())
    }

    /// Seconds of CPU that the node takes while a measurement lasts.
    fn spent(&self) -> Result<f64, String> {
        let before = cpu_seconds(self.node.id())?;
        wait(self.seconds);
        Ok(cpu_seconds(self.node.id())? - before)
    }

    fn flood(&mut self, times: &mut Times) -> Result<(), String> {
        let alone = (self.operating()?, self.proxying()?);
        let before = resident_bytes(self.node.id())?;
        let is_over = AtomicBool::new(false);
        let meanwhile = thread::scope(|scope| {
            let crowd = scope.spawn(|| flood(self.flood_port, &is_over));
            // From then on as many sessions end as begin.
            wait(FLOOD_REUSE * 2);
            let meanwhile = self.under_events(scope);
            is_over.store(true, Relaxed);
            finish(crowd)?;
            meanwhile
        });
        let Meanwhile {
            operating,
            proxying,
            resident,
            heard,
        } = meanwhile?;
        self.told(&heard, before, resident);
        self.compare(
            "proxying, p99 under events, times without",
            &alone.1,
            &proxying,
        );
        let rows = [
            ("a look at the status, without events", alone.0.0),
            ("a look at the status, under events", operating.0),
            ("hold or ready, without events", alone.0.1),
            ("hold or ready, under events", operating.1),
            ("proxying, without events", alone.1),
            ("proxying, under events", proxying),
        ];
        for (what, all) in rows {
            all.into_iter().for_each(|time| times.add(what, time));
        }
        Ok(())
    }

    /// With those who listen, and those who never read what they asked for.
    fn under_events<'scope>(
        &self,
        scope: &'scope thread::Scope<'scope, '_>,
    ) -> Result<Meanwhile, String> {
        let (mut deaf, mut open) = (Vec::new(), Vec::new());
        for path in ["/api/v1/events", "/live/events?kind=all"] {
            open.push(listen(scope, &self.socket, path)?);
            let mut connection = Connection::to_socket(&self.socket)?;
            connection.send(&listening(path))?;
            deaf.push(connection);
        }
        let (operating, proxying) = (self.operating()?, self.proxying()?);
        let resident = resident_bytes(self.node.id())?;
        let mut heard = Vec::new();
        for (stream, reader) in open {
            shut(&stream)?;
            heard.push(finish(reader)?);
        }
        Ok(Meanwhile {
            operating,
            proxying,
            resident,
            heard,
        })
    }

    /// What listeners heard, and what that took of memory.
    fn told(&mut self, heard: &[Heard], before: f64, after: f64) {
        let mut add = |what, amount| self.amounts.add(what, amount);
        if let [api, page] = heard {
            let seconds = api.lasted.as_secs_f64();
            add(
                "events/s, as the API's stream numbers them",
                (api.newest - api.first) as f64 / seconds,
            );
            add(
                "events that its listener missed, %",
                100.0 * api.missed as f64 / (api.newest - api.first) as f64,
            );
            add(
                "pages/s of an open Events page",
                page.pages as f64 / page.lasted.as_secs_f64(),
            );
            add(
                "bytes/s of an open Events page, KB",
                page.bytes as f64 / page.lasted.as_secs_f64() / 1e3,
            );
        }
        add("resident memory before the events, MB", before / 1e6);
        add("resident memory under the events, MB", after / 1e6);
    }

    fn compare(&mut self, what: &'static str, without: &[f64], with: &[f64]) {
        let p99 =
            |times: &[f64]| Sorted::of(times.iter().copied()).map(|times| times.percentile(99));
        if let (Some(without), Some(with)) = (p99(without), p99(with)) {
            self.amounts.add(what, with / without);
        }
    }

    /// Milliseconds of requests one after the other, for as long as a measurement takes.
    fn proxying(&self) -> Result<Vec<f64>, String> {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nCookie: {}\r\n\r\n",
            self.cookie
        );
        let mut client = Connection::to_port(self.port)?;
        let end = Instant::now() + self.seconds;
        let mut times = Vec::new();
        while Instant::now() < end {
            let begun = Instant::now();
            client.send(&request)?;
            times.push(client.answer(begun)?.all_ms);
        }
        Ok(times)
    }

    /// The same of an operator's requests.
    fn operating(&self) -> Result<Operating, String> {
        let mut operator = Connection::to_socket(&self.socket)?;
        let end = Instant::now() + self.seconds;
        let (mut looks, mut changes) = (Vec::new(), Vec::new());
        while Instant::now() < end {
            looks.push(operator.get("/api/v1/status")?.all_ms);
            for change in ["hold", "ready"] {
                let path = format!("/api/v1/servers/app/web2/{change}");
                changes.push(operator.post(&path)?.all_ms);
            }
        }
        Ok((looks, changes))
    }
}

/// Milliseconds of looks at the status, and of changes.
type Operating = (Vec<f64>, Vec<f64>);

/// What was measured under events.
struct Meanwhile {
    operating: Operating,
    proxying: Vec<f64>,
    resident: f64,
    heard: Vec<Heard>,
}

impl Suite for Bench {
    fn measure(&mut self, _row: Row, _peer: Peer) -> Result<Measured, String> {
        Err("has nothing to be compared with".to_owned())
    }

    fn time(&mut self, row: Row, times: &mut Times) -> Result<(), String> {
        match row {
            Row::ConsolePages => self.pages(times),
            Row::ConsoleFlood => self.flood(times),
            // What the rows before it have noted in this round.
            _ => {
                times.append(std::mem::take(&mut self.amounts));
                Ok(())
            }
        }
    }
}

fn start_node(scratch: &Path, ports: [u16; 2], origin: &[u16; 2]) -> Result<Process, String> {
    let state = scratch.join("state");
    fs::create_dir_all(&state)
        .map_err(|error| format!("cannot make {}: {error}", state.display()))?;
    let configuration = format!(
        r#"state_dir = "{state}"
workers = 1

[admin]
listen = "127.0.0.1:{admin}"

[listeners.web]
bind = "127.0.0.1:{web}"
pool = "app"

[listeners.flood]
bind = "127.0.0.1:{flood}"
pool = "flood"

[pools.app]
protocol = "http"
sticky = {{ reuse = "12h" }}
user = {{ cookie = "user" }}
health = false

[pools.app.servers]
web1 = "127.0.0.1:{first}"
web2 = "127.0.0.1:{second}"

[pools.flood]
protocol = "http"
sticky = {{ reuse = "{reuse}s" }}
health = false

[pools.flood.servers]
web1 = "127.0.0.1:{first}"
"#,
        state = state.display(),
        admin = peers::free_port()?,
        web = ports[0],
        flood = ports[1],
        first = origin[0],
        second = origin[1],
        reuse = FLOOD_REUSE.as_secs(),
    );
    let file = peers::write(scratch, "console.toml", &configuration)?;
    let program = peers::ebbtide_binary()?.display().to_string();
    peers::spawn(
        BALANCER_CORE,
        &[&program, "run", "--log", "warn", "-c", &file],
    )
}

/// Where the Sessions page says that the next one is.
fn next_of(page: &Answer) -> Result<String, String> {
    let text = String::from_utf8_lossy(&page.body);
    let found = text
        .split("href=\"")
        .filter_map(|rest| rest.split_once('"'))
        .find(|(_, rest)| rest.starts_with(" rel=\"next\""));
    let (next, _) = found.ok_or("the Sessions page has no next page: are the sessions there?")?;
    Ok(next.replace("&amp;", "&"))
}

/// Users without a cookie, so that each of their requests begins a session.
struct Crowd(Vec<Connection<TcpStream>>);

impl Crowd {
    fn connect(port: u16) -> Result<Self, String> {
        let connections = (0..CROWD).map(|_| Connection::to_port(port));
        Ok(Self(connections.collect::<Result<_, _>>()?))
    }

    /// A request on each connection, with these fields besides.
    fn wave(&mut self, fields: impl Fn(usize) -> String) -> Result<(), String> {
        let begun = Instant::now();
        for (place, connection) in self.0.iter_mut().enumerate() {
            let fields = fields(place);
            connection.send(&format!(
                "GET / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"
            ))?;
        }
        for connection in &mut self.0 {
            let answer = connection.answer(begun)?;
            answer.cookie.ok_or("a request began no session")?;
        }
        Ok(())
    }
}

/// Begins sessions in even waves until it is over.
fn flood(port: u16, is_over: &AtomicBool) -> Result<(), String> {
    let mut crowd = Crowd::connect(port)?;
    let pause = Duration::from_secs(1) * CROWD as u32 / FLOOD_PER_SECOND;
    let mut next = Instant::now();
    while !is_over.load(Relaxed) {
        crowd.wave(|_| String::new())?;
        next += pause;
        wait(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a rate is a matter of time, and nothing is waited for"
)]
fn wait(time: Duration) {
    thread::sleep(time);
}

/// Asks for the Sessions page again and again; how often.
fn reload(socket: &Path, is_over: &AtomicBool) -> Result<u32, String> {
    let mut reader = Connection::to_socket(socket)?;
    let mut pages = 0;
    while !is_over.load(Relaxed) {
        reader.get("/sessions")?;
        pages += 1;
    }
    Ok(pages)
}

/// What a listener was sent.
#[derive(Default)]
struct Heard {
    lasted: Duration,
    /// Numbers of events.
    first: u64,
    newest: u64,
    missed: u64,
    pages: u32,
    bytes: usize,
}

fn listening(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
}

type Reader<'scope> = ScopedJoinHandle<'scope, Result<Heard, String>>;

/// Listens until the stream that is returned is shut down.
fn listen<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    socket: &Path,
    path: &'static str,
) -> Result<(UnixStream, Reader<'scope>), String> {
    let mut connection = Connection::to_socket(socket)?;
    connection.send(&listening(path))?;
    let reader = connection.into_reader();
    let stream = reader.get_ref().try_clone();
    let stream = stream.map_err(|error| format!("cannot listen: {error}"))?;
    Ok((stream, scope.spawn(move || hear(reader))))
}

fn shut(stream: &UnixStream) -> Result<(), String> {
    let shut = stream.shutdown(Shutdown::Both);
    shut.map_err(|error| format!("cannot stop listening: {error}"))
}

fn hear(reader: impl BufRead) -> Result<Heard, String> {
    let begun = Instant::now();
    let mut heard = Heard::default();
    for line in reader.lines() {
        let line = line.map_err(|error| format!("cannot listen on: {error}"))?;
        heard.bytes += line.len() + 1;
        if let Some(number) = line.strip_prefix("id: ") {
            heard.newest = number.parse().unwrap_or(0);
            heard.lasted = begun.elapsed();
            if heard.first == 0 {
                heard.first = heard.newest;
            }
        } else if line == "event: page" {
            heard.pages += 1;
            heard.lasted = begun.elapsed();
        } else if let Some((_, count)) = line.split_once("\"kind\":\"missed\",\"count\":") {
            let digits = count.trim_end_matches('}');
            heard.missed += digits.parse::<u64>().unwrap_or(0);
        }
    }
    Ok(heard)
}

fn finish<T>(thread: ScopedJoinHandle<Result<T, String>>) -> Result<T, String> {
    let done = thread.join();
    done.unwrap_or_else(|_| Err("a thread of the load has panicked".to_owned()))
}
