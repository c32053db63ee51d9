//! Both ends of TCP connections, for `cargo xtask bench tcp`.
//!
//! `tcp_load serve PORT` listens; the first byte of a connection says what it is for.
//! `tcp_load down|up|echo PORT CONNECTIONS SECONDS` opens connections, uses them for so long, and prints
//! how many bytes have come or gone (`down`, `up`) or how many round trips of 64 bytes there were (`echo`).
//! Each end is one thread with one epoll.

use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

const BLOCK_BYTES: usize = 256 * 1024;
const ECHO_BYTES: usize = 64;
const EVENTS_MAX: usize = 256;
const LISTENER: u64 = u64::MAX;

/// What an end does when its socket is ready.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    /// A server's that has not been told yet.
    Unknown,
    Send,
    Receive,
    /// Send back what comes.
    Echo,
    /// Send 64 bytes whenever 64 have come.
    Ask,
}

impl Part {
    fn flags(self) -> EventFlags {
        match self {
            Self::Send => EventFlags::OUT,
            _ => EventFlags::IN,
        }
    }
}

struct Connection {
    stream: TcpStream,
    part: Part,
    /// What has come of the present round trip, in bytes.
    came: usize,
}

/// An end of many connections.
struct End {
    epoll: OwnedFd,
    connections: Vec<Option<Connection>>,
    block: Vec<u8>,
    /// Bytes, or round trips.
    done: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", port] => serve(port.parse()?)?,
        [kind @ ("down" | "up" | "echo"), port, connections, seconds] => {
            let seconds = Duration::from_secs(seconds.parse()?);
            let done = load(kind, port.parse()?, connections.parse()?, seconds)?;
            println!("{done}");
        }
        _ => {
            return Err(
                "usage: tcp_load serve PORT | down|up|echo PORT CONNECTIONS SECONDS".into(),
            );
        }
    }
    Ok(())
}

fn serve(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    listener.set_nonblocking(true)?;
    let mut end = End::new()?;
    epoll::add(
        &end.epoll,
        &listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    loop {
        for place in end.wait(None)? {
            match place {
                LISTENER => end.accept(&listener)?,
                place => end.turn(place as usize)?,
            }
        }
    }
}

fn load(kind: &str, port: u16, connections: usize, time: Duration) -> io::Result<u64> {
    let mut end = End::new()?;
    for _ in 0..connections {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.write_all(&kind.as_bytes()[..1])?;
        let part = match kind {
            "down" => Part::Receive,
            "up" => Part::Send,
            _ => Part::Ask,
        };
        if part == Part::Ask {
            stream.write_all(&[b'.'; ECHO_BYTES])?;
        }
        end.add(stream, part)?;
    }
    let deadline = Instant::now() + time;
    while Instant::now() < deadline {
        let rest = deadline.saturating_duration_since(Instant::now());
        for place in end.wait(Some(rest))? {
            end.turn(place as usize)?;
        }
        if end.connections.iter().any(Option::is_none) {
            return Err(io::Error::other(
                "a connection has ended: the figures mean nothing",
            ));
        }
    }
    Ok(end.done)
}

impl End {
    fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            connections: Vec::new(),
            block: vec![b'.'; BLOCK_BYTES],
            done: 0,
        })
    }

    /// Those that are ready.
    fn wait(&self, time: Option<Duration>) -> io::Result<Vec<u64>> {
        let empty = Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        };
        let mut events = [empty; EVENTS_MAX];
        let time = time.map(|time| Timespec {
            tv_sec: time.as_secs() as i64,
            tv_nsec: i64::from(time.subsec_nanos()),
        });
        let count = epoll::wait(&self.epoll, &mut events[..], time.as_ref())?;
        Ok(events[..count]
            .iter()
            .map(|event| event.data.u64())
            .collect())
    }

    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        loop {
            match listener.accept() {
                Ok((stream, _)) => self.add(stream, Part::Unknown)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn add(&mut self, stream: TcpStream, part: Part) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let place = EventData::new_u64(self.connections.len() as u64);
        epoll::add(&self.epoll, &stream, place, part.flags())?;
        self.connections.push(Some(Connection {
            stream,
            part,
            came: 0,
        }));
        Ok(())
    }

    /// A socket is ready; one that has ended is forgotten.
    fn turn(&mut self, place: usize) -> io::Result<()> {
        let Some(connection) = &mut self.connections[place] else {
            return Ok(());
        };
        let before = connection.part;
        match connection.go_on(&mut self.block) {
            Ok(done) => self.done += done,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => {
                self.connections[place] = None;
                return Ok(());
            }
        }
        if connection.part != before {
            let data = EventData::new_u64(place as u64);
            epoll::modify(
                &self.epoll,
                &connection.stream,
                data,
                connection.part.flags(),
            )?;
        }
        Ok(())
    }
}

impl Connection {
    /// Once; how many bytes or round trips that was.
    fn go_on(&mut self, block: &mut [u8]) -> io::Result<u64> {
        if self.part == Part::Unknown {
            self.part = match read(&mut self.stream, &mut block[..1]).map(|_| block[0])? {
                b'd' => Part::Send,
                b'u' => Part::Receive,
                _ => Part::Echo,
            };
            block[0] = b'.';
            return Ok(0);
        }
        match self.part {
            Part::Send => self.stream.write(block).map(|bytes| bytes as u64),
            Part::Receive => read(&mut self.stream, block).map(|bytes| bytes as u64),
            Part::Echo => {
                let bytes = read(&mut self.stream, block)?;
                self.stream.write_all(&block[..bytes])?;
                Ok(0)
            }
            Part::Ask | Part::Unknown => {
                self.came += read(&mut self.stream, &mut block[..ECHO_BYTES - self.came])?;
                if self.came < ECHO_BYTES {
                    return Ok(0);
                }
                self.came = 0;
                self.stream.write_all(&block[..ECHO_BYTES])?;
                Ok(1)
            }
        }
    }
}

fn read(stream: &mut TcpStream, into: &mut [u8]) -> io::Result<usize> {
    match stream.read(into)? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        bytes => Ok(bytes),
    }
}
