//! HTTP/1.1 as a test reads it: one message at a time from a blocking socket, nothing assumed.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A connection and the bytes that were read from it but not used yet.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// The head of a message.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// The request or status line.
    pub first_line: String,
    /// The fields in their order, names in lower case.
    pub fields: Vec<(String, String)>,
}

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// This many bytes.
    Length(usize),
    /// Chunks, the last one empty.
    Chunked,
    /// To the end of the connection.
    UntilClose,
}

impl Head {
    /// The first field of that name, in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut all = self.fields.iter().filter(|(found, _)| found == name);
        all.next().map(|(_, value)| value.as_str())
    }

    /// Whether the field has that token, in a comma-separated list.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        let mut values = self.fields.iter().filter(|(found, _)| found == name);
        values.any(|(_, value)| {
            value
                .split(',')
                .any(|part| part.trim().eq_ignore_ascii_case(token))
        })
    }

    /// The word of the first line at `index`: method and target, or the status at 1.
    pub fn word(&self, index: usize) -> &str {
        self.first_line.split(' ').nth(index).unwrap_or("")
    }

    /// The status of an answer; 0 if that is not a number.
    pub fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or(0)
    }

    /// What the fields say of the body, if anything.
    pub fn framing(&self) -> Option<Framing> {
        if self.has_token("transfer-encoding", "chunked") {
            return Some(Framing::Chunked);
        }
        let length = self.field("content-length")?;
        length.parse().ok().map(Framing::Length)
    }

    /// The fields, one a line.
    pub(crate) fn lines(&self) -> String {
        let lines = self
            .fields
            .iter()
            .map(|(name, value)| format!("{name}: {value}\n"));
        lines.collect()
    }

    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(|_| malformed("a head that is not UTF-8"))?;
        let mut lines = text.split("\r\n");
        let first_line = lines.next().unwrap_or("").to_owned();
        let field = |line: &str| {
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| malformed(&format!("no field: {line:?}")))?;
            Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        let fields = lines.map(field).collect::<io::Result<_>>()?;
        Ok(Self { first_line, fields })
    }
}

impl Wire {
    /// Connects; every later wait on the connection has the same limit.
    pub fn connect(address: SocketAddr, limit: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, limit)?;
        Self::over(stream, limit)
    }

    /// Takes a connection that is there already.
    pub fn over(stream: TcpStream, limit: Duration) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        Ok(Self {
            stream,
            unread: Vec::new(),
        })
    }

    /// The connection itself.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads what comes next, some bytes; an empty answer is the end of the connection.
    pub fn read_some(&mut self) -> io::Result<Vec<u8>> {
        if self.unread.is_empty() {
            self.fill()?;
        }
        Ok(std::mem::take(&mut self.unread))
    }

    /// Reads to the end of the connection.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        while self.fill()? {}
        Ok(std::mem::take(&mut self.unread))
    }

    /// Whether the other side has closed the connection, or sent what nobody asked for.
    pub fn is_stale(&self) -> bool {
        if !self.unread.is_empty() || self.stream.set_nonblocking(true).is_err() {
            return true;
        }
        let quiet = matches!(self.stream.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        self.stream.set_nonblocking(false).is_err() || !quiet
    }

    /// Reads a head; `None` if the connection ends before its first byte.
    pub fn read_head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                let head = Head::parse(&self.unread[..end])?;
                self.unread.drain(..end + 4);
                return Ok(Some(head));
            }
            if !self.fill()? {
                return if self.unread.is_empty() {
                    Ok(None)
                } else {
                    Err(cut_off())
                };
            }
        }
    }

    /// Reads a body into `sink`; an early end is an `UnexpectedEof`.
    pub fn read_body(&mut self, framing: Framing, sink: &mut impl Write) -> io::Result<()> {
        match framing {
            Framing::Length(length) => self.read_length(length, sink),
            Framing::Chunked => self.read_chunks(sink),
            Framing::UntilClose => sink.write_all(&self.read_to_end()?),
        }
    }

    fn read_length(&mut self, length: usize, sink: &mut impl Write) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            if self.unread.is_empty() && !self.fill()? {
                return Err(cut_off());
            }
            let take = left.min(self.unread.len());
            sink.write_all(&self.unread[..take])?;
            self.unread.drain(..take);
            left -= take;
        }
        Ok(())
    }

    fn read_chunks(&mut self, sink: &mut impl Write) -> io::Result<()> {
        loop {
            let line = self.read_line()?;
            let digits = line.split(';').next().unwrap_or("").trim();
            let size = usize::from_str_radix(digits, 16)
                .map_err(|_| malformed(&format!("no chunk size: {line:?}")))?;
            if size == 0 {
                while !self.read_line()?.is_empty() {}
                return Ok(());
            }
            self.read_length(size, sink)?;
            if !self.read_line()?.is_empty() {
                return Err(malformed("a chunk longer than its size"));
            }
        }
    }

    fn read_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n") {
                let line = String::from_utf8_lossy(&self.unread[..end]).into_owned();
                self.unread.drain(..end + 2);
                return Ok(line);
            }
            if !self.fill()? {
                return Err(cut_off());
            }
        }
    }

    /// Reads more; `false` at the end of the connection.
    fn fill(&mut self) -> io::Result<bool> {
        let mut piece = [0; 65_536];
        let read = loop {
            match self.stream.read(&mut piece) {
                // A process that was stopped and goes on finds its waiting interrupted.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.unread.extend_from_slice(&piece[..read]);
        Ok(read > 0)
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the message breaks off")
}
