//! A kept HTTP connection that is asked one thing after the other, and how long the answers take.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

const ANSWER_SECONDS_MAX: u64 = 30;

/// One end of a connection.
pub struct Connection<S: Read + Write>(BufReader<S>);

/// A 200 with its whole body.
pub struct Answer {
    /// The cookie that came with it, without attributes.
    pub cookie: Option<String>,
    pub body: Vec<u8>,
    /// From the first byte of the request to the first of the answer.
    pub first_byte_ms: f64,
    /// And to its last.
    pub all_ms: f64,
}

impl Connection<UnixStream> {
    /// To the socket of the control API.
    pub fn to_socket(socket: &Path) -> Result<Self, String> {
        let open = || {
            let stream = UnixStream::connect(socket)?;
            stream.set_read_timeout(Some(Duration::from_secs(ANSWER_SECONDS_MAX)))?;
            io::Result::Ok(Self(BufReader::new(stream)))
        };
        open().map_err(|error| format!("cannot reach {}: {error}", socket.display()))
    }
}

impl Connection<TcpStream> {
    /// To a port of this machine.
    pub fn to_port(port: u16) -> Result<Self, String> {
        let open = || {
            let stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(ANSWER_SECONDS_MAX)))?;
            io::Result::Ok(Self(BufReader::new(stream)))
        };
        open().map_err(|error| format!("cannot reach port {port}: {error}"))
    }
}

impl<S: Read + Write> Connection<S> {
    pub fn get(&mut self, path: &str) -> Result<Answer, String> {
        self.ask(
            "GET",
            path,
            &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        )
    }

    pub fn post(&mut self, path: &str) -> Result<Answer, String> {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        self.ask("POST", path, &request)
    }

    fn ask(&mut self, method: &str, path: &str, request: &str) -> Result<Answer, String> {
        let begun = Instant::now();
        let asked = self.send(request).and_then(|()| self.answer(begun));
        asked.map_err(|error| format!("{method} {path}: {error}"))
    }

    /// Sends a request as it stands; its answer is taken later.
    pub fn send(&mut self, request: &str) -> Result<(), String> {
        let sent = self.0.get_mut().write_all(request.as_bytes());
        sent.map_err(|error| format!("not sent: {error}"))
    }

    /// The next answer; an error if it is no 200.
    pub fn answer(&mut self, begun: Instant) -> Result<Answer, String> {
        let (first_line, answer) = self
            .read(begun)
            .map_err(|error| format!("not answered: {error}"))?;
        match first_line.contains(" 200 ") {
            true => Ok(answer),
            false => Err(format!("answered {first_line}")),
        }
    }

    fn read(&mut self, begun: Instant) -> io::Result<(String, Answer)> {
        let mut first_line = String::new();
        self.0.read_line(&mut first_line)?;
        let first_byte_ms = begun.elapsed().as_secs_f64() * 1e3;
        let (mut length, mut cookie) = (0, None);
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap_or(0);
            } else if name.eq_ignore_ascii_case("set-cookie") {
                cookie = value.trim().split(';').next().map(str::to_owned);
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        let answer = Answer {
            cookie,
            body,
            first_byte_ms,
            all_ms: begun.elapsed().as_secs_f64() * 1e3,
        };
        Ok((first_line.trim_end().to_owned(), answer))
    }

    /// What comes, for whoever reads it himself.
    pub fn into_reader(self) -> BufReader<S> {
        self.0
    }
}
