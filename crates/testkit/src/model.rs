//! The model server: a page with a login session kept in its own memory, and every kind of bad
//! behaviour that a test can ask for by path or switch on from outside.
//!
//! | path | what it does |
//! |---|---|
//! | `/` | the page: who answers, the login session and its count of requests |
//! | `/cookies` | the cookies that arrived |
//! | `/fields` | the fields that arrived, one a line, names in lower case |
//! | `/health` | what it was told to say, `ACTIVE` at first; never the truth on its own account |
//! | `/version` | what it was told to say, `v1.0` at first |
//! | `/slow?ms=N` | the page, after a while |
//! | `/hang` | nothing, ever |
//! | `/close` | closes without an answer |
//! | `/cut?chunked=0\|1` | dies in the middle of a body |
//! | `/poison?ms=N` | the whole process dies, after a while |
//! | `/download?bytes=N&pause_ms=M&chunked=0\|1` | so much of the pattern, with pauses |
//! | `/upload` | checks a body against the pattern |
//! | `/echo` | switches protocols, then sends everything back |
//! | `PUT /model/health`, `PUT /model/version`, `PUT /model/mode` | what to say; `normal`, `hang`, `close`, `fail` (500) or `dawdle` (more than half a second) for all pages |

use crate::pattern::{PatternCheck, pattern};
use crate::wire::{Framing, Head, Wire};
use rustix::net::listen;
use rustix::process::{Signal, getpid, kill_process};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Set for a process that is to be a model server: `name address ledger`.
pub(crate) const ASKED: &str = "EBBTIDE_TEST_MODEL";
/// How long a server that dawdles takes for a page.
const DAWDLE_MS: u64 = 600;
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Connections that may wait to be accepted.
const QUEUE: i32 = 4096;

/// The page of a model server, as its user reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The server that answered.
    pub server: String,
    /// The login session in that server's memory.
    pub login: String,
    /// Requests of that login so far, this one among them.
    pub count: u64,
    /// The request's `X-Request`, so that a swapped answer is noticed.
    pub id: String,
}

impl Page {
    /// Reads a page; `None` if it is none.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        let value = |name| {
            let mut pairs = text
                .trim_end()
                .split(' ')
                .filter_map(|word| word.split_once('='));
            let (_, value) = pairs.find(|(found, _)| *found == name)?;
            Some(value.to_owned())
        };
        Some(Self {
            server: value("server")?,
            login: value("login")?,
            count: value("count")?.parse().ok()?,
            id: value("id")?,
        })
    }
}

/// Becomes a model server and does not return, if this process was started as one.
pub fn serve_if_asked() {
    let Ok(asked) = std::env::var(ASKED) else {
        return;
    };
    let mut words = asked.split(' ').map(String::from);
    let mut word = || words.next().expect("name, address and ledger");
    let (name, address, ledger) = (word(), word(), word());
    end_with_parent();
    let listener = TcpListener::bind(&address).expect("the model server's address is free");
    // The 128 of the standard library overflow when hundreds connect at once to a busy machine, and
    // whoever is left out waits for seconds.
    listen(&listener, QUEUE).expect("a longer queue of connections");
    let ledger = OpenOptions::new().append(true).create(true).open(ledger);
    let server = Arc::new(Server {
        name,
        ledger: ledger.expect("the ledger can be written"),
        state: Mutex::default(),
    });
    for stream in listener.incoming().flatten() {
        let server = Arc::clone(&server);
        thread::spawn(move || server.serve(stream));
    }
}

/// The other end of standard input is the test: when it is gone, so is its server.
fn end_with_parent() {
    thread::spawn(|| {
        let _ = io::stdin().read(&mut [0]);
        let _ = die();
    });
}

struct Server {
    name: String,
    /// One line for each request that arrived, written before anything is answered, so that it
    /// outlives a `kill -9`.
    ledger: File,
    state: Mutex<State>,
}

struct State {
    health: String,
    version: String,
    mode: String,
    logins: BTreeMap<String, u64>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            health: "ACTIVE".into(),
            version: "v1.0".into(),
            mode: "normal".into(),
            logins: BTreeMap::new(),
        }
    }
}

impl Server {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves one connection until either side has had enough.
    fn serve(&self, stream: TcpStream) {
        let Ok(mut wire) = Wire::over(stream, WAIT_MAX) else {
            return;
        };
        while let Ok(Some(head)) = wire.read_head() {
            self.record(&head);
            let mode = self.state().mode.clone();
            let is_page =
                !head.word(1).starts_with("/health") && !head.word(1).starts_with("/model");
            let go_on = match mode.as_str() {
                "hang" if is_page => hang(&mut wire),
                "close" if is_page => Ok(false),
                "fail" if is_page => fail(&head, &mut wire),
                "dawdle" if is_page => {
                    pause(DAWDLE_MS);
                    self.answer(&head, &mut wire)
                }
                _ => self.answer(&head, &mut wire),
            };
            if !matches!(go_on, Ok(true)) {
                break;
            }
        }
        let _ = wire.stream().shutdown(Shutdown::Both);
    }

    fn record(&self, head: &Head) {
        if let Some(id) = head.field("x-request") {
            let line = format!("{} {id} {} {}\n", self.name, head.word(0), head.word(1));
            (&self.ledger)
                .write_all(line.as_bytes())
                .expect("the ledger can be written");
        }
    }

    /// Answers one request; `false` ends the connection.
    fn answer(&self, head: &Head, wire: &mut Wire) -> io::Result<bool> {
        if head.has_token("expect", "100-continue") {
            wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let framing = head.framing().unwrap_or(Framing::Length(0));
        let (path, query) = head.word(1).split_once('?').unwrap_or((head.word(1), ""));
        if path == "/upload" {
            let mut check = PatternCheck::default();
            wire.read_body(framing, &mut check)?;
            let text = format!("bytes={} wrong_near={:?}\n", check.bytes, check.wrong_near);
            return reply(wire, head, "", text.as_bytes());
        }
        let mut body = Vec::new();
        wire.read_body(framing, &mut body)?;
        match path {
            "/health" => {
                let text = self.state().health.clone();
                reply(wire, head, "", text.as_bytes())
            }
            "/version" => {
                let text = self.state().version.clone();
                reply(wire, head, "", text.as_bytes())
            }
            "/cookies" => reply(
                wire,
                head,
                "",
                head.field("cookie").unwrap_or("").as_bytes(),
            ),
            "/fields" => reply(wire, head, "", head.lines().as_bytes()),
            "/model/health" => {
                self.state().health = String::from_utf8_lossy(&body).into_owned();
                reply(wire, head, "", b"")
            }
            "/model/version" => {
                self.state().version = String::from_utf8_lossy(&body).into_owned();
                reply(wire, head, "", b"")
            }
            "/model/mode" => {
                self.state().mode = String::from_utf8_lossy(&body).into_owned();
                reply(wire, head, "", b"")
            }
            "/hang" => hang(wire),
            "/close" => Ok(false),
            "/poison" => {
                pause(number(query, "ms"));
                die()
            }
            "/cut" => cut(wire, number(query, "chunked") == 1),
            "/download" => download(wire, query),
            "/echo" => echo(wire, head),
            "/slow" => {
                pause(number(query, "ms"));
                self.page(wire, head)
            }
            _ => self.page(wire, head),
        }
    }

    fn page(&self, wire: &mut Wire, head: &Head) -> io::Result<bool> {
        let (login, count, known) = self.log_in(head);
        let id = head.field("x-request").unwrap_or("-");
        let text = format!("server={} login={login} count={count} id={id}\n", self.name);
        let cookie = format!("Set-Cookie: login={login}; Path=/; HttpOnly\r\n");
        reply(
            wire,
            head,
            if known { "" } else { &cookie },
            text.as_bytes(),
        )
    }

    /// Finds the login session that the cookie names, or begins one.
    fn log_in(&self, head: &Head) -> (String, u64, bool) {
        let cookies = head.fields.iter().filter(|(name, _)| name == "cookie");
        let mut pairs = cookies.flat_map(|(_, value)| value.split("; "));
        let named = pairs.find_map(|pair| pair.strip_prefix("login="));
        let mut state = self.state();
        if let Some((login, count)) = named.and_then(|login| {
            let count = state.logins.get_mut(login)?;
            *count += 1;
            Some((login, *count))
        }) {
            return (login.to_owned(), count, true);
        }
        let login = format!(
            "{}.{}.{}",
            self.name,
            std::process::id(),
            state.logins.len()
        );
        state.logins.insert(login.clone(), 1);
        (login, 1, false)
    }
}

/// An error of the application's own.
fn fail(head: &Head, wire: &mut Wire) -> io::Result<bool> {
    wire.read_body(
        head.framing().unwrap_or(Framing::Length(0)),
        &mut io::sink(),
    )?;
    wire.send(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")?;
    Ok(true)
}

fn reply(wire: &mut Wire, request: &Head, fields: &str, body: &[u8]) -> io::Result<bool> {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{fields}\r\n");
    let body = if request.word(0) == "HEAD" { b"" } else { body };
    wire.send(&[head.as_bytes(), body].concat())?;
    Ok(!request.has_token("connection", "close"))
}

/// `kill -9` by its own hand: without the core dump of an abort, which takes its time.
fn die() -> io::Result<bool> {
    kill_process(getpid(), Signal::KILL)?;
    Ok(false)
}

/// Says nothing until the other side has gone.
fn hang(wire: &mut Wire) -> io::Result<bool> {
    while !wire.read_some()?.is_empty() {}
    Ok(false)
}

fn cut(wire: &mut Wire, chunked: bool) -> io::Result<bool> {
    let head = if chunked {
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n"
    } else {
        "HTTP/1.1 200 OK\r\nContent-Length: 2048\r\n\r\n"
    };
    wire.send(&[head.as_bytes(), pattern(0, 1024)].concat())?;
    Ok(false)
}

fn download(wire: &mut Wire, query: &str) -> io::Result<bool> {
    let total = usize::try_from(number(query, "bytes")).expect("64 bits");
    let chunked = number(query, "chunked") == 1;
    let framing = if chunked {
        "Transfer-Encoding: chunked".to_owned()
    } else {
        format!("Content-Length: {total}")
    };
    wire.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n").as_bytes())?;
    let mut sent = 0;
    while sent < total {
        let piece = pattern(sent, (total - sent).min(60_000));
        sent += piece.len();
        if chunked {
            let size = format!("{:x}\r\n", piece.len());
            wire.send(&[size.as_bytes(), piece, b"\r\n"].concat())?;
        } else {
            wire.send(piece)?;
        }
        pause(number(query, "pause_ms"));
    }
    if chunked {
        wire.send(b"0\r\n\r\n")?;
    }
    Ok(true)
}

fn echo(wire: &mut Wire, head: &Head) -> io::Result<bool> {
    let protocol = head.field("upgrade").unwrap_or("echo");
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n\r\n"
    );
    wire.send(answer.as_bytes())?;
    loop {
        let piece = wire.read_some()?;
        if piece.is_empty() {
            return Ok(false);
        }
        wire.send(&piece)?;
    }
}

/// The value of `name` in a query; 0 where it is not.
fn number(query: &str, name: &str) -> u64 {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .find(|(found, _)| *found == name)
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0)
}

#[expect(
    clippy::disallowed_methods,
    reason = "slowness is what is being modelled, nothing waits for it to be over"
)]
fn pause(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}
