//! `floor PORT ORIGIN_PORT`: the least work that a balancer can have, for `cargo xtask bench`.
//!
//! One thread, one epoll, one connection to the origin for each of a client. What comes from one side is written to
//! the other, and nobody looks at it: what a balancer costs beyond this is what it does with the bytes.

use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

/// What is read at a time.
const READ_BYTES: usize = 16 * 1024;
const EVENTS_MAX: usize = 256;
/// The listener's event; those of connections are their places in the list, doubled, and their sides.
const LISTENER: u64 = u64::MAX;

/// One of the two connections that belong together.
struct Side {
    stream: TcpStream,
    /// What came from the other side and did not fit into this one yet; mostly nothing.
    unsent: Vec<u8>,
}

/// The client's connection, and ours to the origin.
type Pair = [Side; 2];

struct Relay {
    epoll: OwnedFd,
    listener: TcpListener,
    origin_port: u16,
    pairs: Vec<Option<Pair>>,
    free: Vec<usize>,
    buffer: Vec<u8>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, origin_port] = &arguments[..] else {
        return Err("usage: floor PORT ORIGIN_PORT".into());
    };
    let listener = TcpListener::bind(("127.0.0.1", port.parse()?))?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let data = EventData::new_u64(LISTENER);
    epoll::add(&epoll, &listener, data, EventFlags::IN)?;
    let mut relay = Relay {
        epoll,
        listener,
        origin_port: origin_port.parse()?,
        pairs: Vec::new(),
        free: Vec::new(),
        buffer: vec![0; READ_BYTES],
    };
    relay.run()?;
    Ok(())
}

impl Relay {
    fn run(&mut self) -> io::Result<()> {
        let empty = Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        };
        let mut events = [empty; EVENTS_MAX];
        loop {
            let count = epoll::wait(&self.epoll, &mut events[..], None)?;
            for event in &events[..count] {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    place => self.turn(place as usize / 2, place as usize % 2),
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let client = match self.listener.accept() {
                Ok((client, _)) => client,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            // The origin is on this machine, so this does not wait for long.
            let server = TcpStream::connect(("127.0.0.1", self.origin_port))?;
            let at = self.free.pop().unwrap_or(self.pairs.len());
            for (side, stream) in [&client, &server].into_iter().enumerate() {
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                epoll::add(&self.epoll, stream, place(at, side), EventFlags::IN)?;
            }
            let pair = [client, server].map(|stream| Side {
                stream,
                unsent: Vec::new(),
            });
            match self.pairs.get_mut(at) {
                Some(free) => *free = Some(pair),
                None => self.pairs.push(Some(pair)),
            }
        }
    }

    /// Something has happened on a side of a pair; where one side ends, both do.
    fn turn(&mut self, at: usize, side: usize) {
        let Some(pair) = &mut self.pairs[at] else {
            return;
        };
        let moved = send_rest(&self.epoll, pair, at, side)
            .and_then(|()| relay(&self.epoll, pair, at, side, &mut self.buffer));
        if moved.is_err() {
            self.pairs[at] = None;
            self.free.push(at);
        }
    }
}

/// Reads once from `side`, and writes that to the other.
fn relay(
    epoll: &OwnedFd,
    pair: &mut Pair,
    at: usize,
    side: usize,
    buffer: &mut [u8],
) -> io::Result<()> {
    if !pair[1 - side].unsent.is_empty() {
        return Ok(());
    }
    let bytes = match pair[side].stream.read(buffer) {
        Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
        Err(error) => return Err(error),
    };
    let other = &mut pair[1 - side];
    let written = write(&mut other.stream, &buffer[..bytes])?;
    if written < bytes {
        other.unsent.extend_from_slice(&buffer[written..bytes]);
        watch(epoll, pair, at)?;
    }
    Ok(())
}

/// Writes what did not fit into `side` before.
fn send_rest(epoll: &OwnedFd, pair: &mut Pair, at: usize, side: usize) -> io::Result<()> {
    let Side { stream, unsent } = &mut pair[side];
    if unsent.is_empty() {
        return Ok(());
    }
    let written = write(stream, unsent)?;
    unsent.drain(..written);
    watch(epoll, pair, at)
}

/// Waits on each side for what can be done next: nothing is read for a side that has bytes to take.
fn watch(epoll: &OwnedFd, pair: &Pair, at: usize) -> io::Result<()> {
    for side in 0..2 {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, pair[1 - side].unsent.is_empty());
        flags.set(EventFlags::OUT, !pair[side].unsent.is_empty());
        epoll::modify(epoll, &pair[side].stream, place(at, side), flags)?;
    }
    Ok(())
}

/// Writes what fits.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match stream.write(bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        written => written,
    }
}

fn place(at: usize, side: usize) -> EventData {
    EventData::new_u64((at * 2 + side) as u64)
}
