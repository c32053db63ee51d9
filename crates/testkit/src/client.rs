//! A keep-alive client that never retries and says exactly how each request ended.

use crate::wire::{Framing, Head, Wire};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// One user's browser: at most one connection, and a cookie jar.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    limit: Duration,
    wire: Option<Wire>,
    /// Cookies by name.
    pub jar: BTreeMap<String, String>,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: &'static str,
    /// Path and query.
    pub target: String,
    /// Fields beside `Host`, `Cookie` and `Content-Length`.
    pub fields: Vec<(String, String)>,
    /// Sent with its length, if not empty.
    pub body: Vec<u8>,
}

/// An answer that came whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status line and fields.
    pub head: Head,
    /// The whole body.
    pub body: Vec<u8>,
}

/// How a request ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// With a whole answer, of whatever status.
    Answered(Answer),
    /// No connection came about.
    Unreachable(String),
    /// The connection that was kept alive had been closed without a word.
    ClosedWhileIdle,
    /// The connection ended before any byte of an answer.
    ClosedUnanswered(String),
    /// The answer broke off.
    Truncated(String),
    /// No answer within the client's limit.
    TimedOut,
}

impl Request {
    /// A `GET`.
    pub fn get(target: &str) -> Self {
        Self {
            method: "GET",
            target: target.into(),
            fields: Vec::new(),
            body: Vec::new(),
        }
    }

    /// A `POST` with a body.
    pub fn post(target: &str, body: &[u8]) -> Self {
        Self {
            method: "POST",
            body: body.into(),
            ..Self::get(target)
        }
    }

    /// The same with one more field.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    fn write(&self, host: SocketAddr, jar: &BTreeMap<String, String>) -> Vec<u8> {
        let mut text = format!(
            "{} {} HTTP/1.1\r\nHost: {host}\r\n",
            self.method, self.target
        );
        if !jar.is_empty() {
            let pairs: Vec<_> = jar
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            text += &format!("Cookie: {}\r\n", pairs.join("; "));
        }
        for (name, value) in &self.fields {
            text += &format!("{name}: {value}\r\n");
        }
        if !self.body.is_empty() || self.method == "POST" {
            text += &format!("Content-Length: {}\r\n", self.body.len());
        }
        [text.as_bytes(), b"\r\n", &self.body].concat()
    }
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Outcome {
    /// The answer, where one is certain to come.
    #[track_caller]
    pub fn answer(self) -> Answer {
        match self {
            Self::Answered(answer) => answer,
            other => panic!("no answer: {other:?}"),
        }
    }
}

impl Client {
    /// A client without a connection yet; no wait of it lasts longer than `limit`.
    pub fn new(address: SocketAddr, limit: Duration) -> Self {
        Self {
            address,
            limit,
            wire: None,
            jar: BTreeMap::new(),
        }
    }

    /// Asks once. The connection is kept unless the answer says otherwise.
    pub fn send(&mut self, request: &Request) -> Outcome {
        let kept = self.wire.take();
        let (mut wire, reused) = match kept {
            Some(wire) if wire.is_stale() => return Outcome::ClosedWhileIdle,
            Some(wire) => (wire, true),
            None => match Wire::connect(self.address, self.limit) {
                Ok(wire) => (wire, false),
                Err(error) => return Outcome::Unreachable(error.to_string()),
            },
        };
        // A server may refuse and close while the body is still on its way: its answer counts.
        let sent = wire.send(&request.write(self.address, &self.jar));
        let head = match read_final_head(&mut wire) {
            Ok(Some(head)) => head,
            Ok(None) if reused => return Outcome::ClosedUnanswered("on a kept connection".into()),
            Ok(None) => return Outcome::ClosedUnanswered("at once".into()),
            Err(error) => return failed_before_answer(&error, sent),
        };
        self.take_cookies(&head);
        let framing = answer_framing(request.method, &head);
        let mut body = Vec::new();
        if let Err(error) = wire.read_body(framing, &mut body) {
            let what = format!("{} after {} bytes of body", describe(&error), body.len());
            return Outcome::Truncated(what);
        }
        let keep = framing != Framing::UntilClose && !head.has_token("connection", "close");
        self.wire = keep.then_some(wire);
        Outcome::Answered(Answer { head, body })
    }

    /// Closes the connection, if there is one.
    pub fn disconnect(&mut self) {
        self.wire = None;
    }

    /// Whether a connection is kept.
    pub fn has_connection(&self) -> bool {
        self.wire.is_some()
    }

    /// Whether a connection is kept and still open at the other side.
    pub fn is_connected(&self) -> bool {
        self.wire.as_ref().is_some_and(|wire| !wire.is_stale())
    }

    fn take_cookies(&mut self, head: &Head) {
        let set = head.fields.iter().filter(|(name, _)| name == "set-cookie");
        for (_, cookie) in set {
            let pair = cookie.split(';').next().unwrap_or("");
            let Some((name, value)) = pair.split_once('=') else {
                continue;
            };
            if cookie.to_ascii_lowercase().contains("max-age=0") {
                self.jar.remove(name);
            } else {
                self.jar.insert(name.into(), value.into());
            }
        }
    }
}

/// Passes over interim answers, but not over 101, which is the last one in HTTP.
fn read_final_head(wire: &mut Wire) -> io::Result<Option<Head>> {
    loop {
        match wire.read_head()? {
            Some(head) if (100..200).contains(&head.status()) && head.status() != 101 => {}
            other => return Ok(other),
        }
    }
}

fn answer_framing(method: &str, head: &Head) -> Framing {
    if method == "HEAD" || matches!(head.status(), 101 | 204 | 304) {
        return Framing::Length(0);
    }
    head.framing().unwrap_or(Framing::UntilClose)
}

fn failed_before_answer(error: &io::Error, sent: io::Result<()>) -> Outcome {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Outcome::TimedOut,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
            Outcome::Truncated(format!("in the head: {error}"))
        }
        _ => Outcome::ClosedUnanswered(format!("{error}; sending: {sent:?}")),
    }
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "silence".into(),
        _ => error.to_string(),
    }
}
