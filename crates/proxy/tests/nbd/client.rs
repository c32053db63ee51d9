//! A client that checks every byte: our side of the wire that is spoken with servers.

use crate::common::PATIENCE;
use ebbtide_protocol::nbd::{
    ClientGoal, ClientHandshake, ClientStep, Command, Content, ErrorNumber, HandshakeFault,
    Negotiated, ReplyReader, ReplyStep, Request,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

pub struct Client {
    pub stream: TcpStream,
    pub agreed: Negotiated,
    reader: ReplyReader,
    buffer: Vec<u8>,
    next: u64,
}

/// All that came for one request.
#[derive(Debug, Default)]
pub struct Answer {
    pub cookie: u64,
    pub bytes: Vec<u8>,
    pub error: Option<ErrorNumber>,
    /// Pieces of data and holes.
    pub pieces: usize,
}

pub fn shake(
    address: SocketAddr,
    goal: ClientGoal,
) -> (TcpStream, Result<ClientStep, HandshakeFault>) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut handshake = ClientHandshake::new(goal);
    let (mut buffer, mut out) = (Vec::new(), Vec::new());
    loop {
        let step = handshake.advance(&buffer, &mut out);
        stream.write_all(&std::mem::take(&mut out)).unwrap();
        match step {
            Ok((taken, ClientStep::NeedMore)) => drop(buffer.drain(..taken)),
            Ok((_, step)) => return (stream, Ok(step)),
            Err(fault) => return (stream, Err(fault)),
        }
        assert!(fill(&mut stream, &mut buffer), "hung up in the handshake");
    }
}

fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> bool {
    let mut piece = [0; 65536];
    let bytes = stream.read(&mut piece).unwrap_or(0);
    buffer.extend_from_slice(&piece[..bytes]);
    bytes > 0
}

pub fn goal(name: &str, structured_replies: bool) -> ClientGoal {
    ClientGoal::Export {
        name: name.into(),
        structured_replies,
        allocation: structured_replies,
    }
}

impl Client {
    pub fn connect(address: SocketAddr, structured_replies: bool) -> Self {
        Self::to(address, "disk", structured_replies)
    }

    /// Uses the export of this name.
    pub fn to(address: SocketAddr, name: &str, structured_replies: bool) -> Self {
        let (stream, step) = shake(address, goal(name, structured_replies));
        let Ok(ClientStep::Ready(agreed)) = step else {
            panic!("not ready: {step:?}");
        };
        Self {
            stream,
            agreed,
            reader: ReplyReader::new(&agreed),
            buffer: Vec::new(),
            next: 1 << 40,
        }
    }

    /// Sends a request; returns its cookie.
    pub fn ask(&mut self, command: Command, offset: u64, length: u32) -> u64 {
        self.ask_with(command, offset, length, 0, &[])
    }

    pub fn ask_with(
        &mut self,
        command: Command,
        offset: u64,
        length: u32,
        flags: u16,
        payload: &[u8],
    ) -> u64 {
        self.next += 1;
        let request = Request {
            flags,
            command,
            cookie: self.next,
            offset,
            length,
        };
        assert!(self.reader.expect(request));
        let mut out = Vec::new();
        request.write(&mut out);
        out.extend_from_slice(payload);
        self.stream.write_all(&out).unwrap();
        self.next
    }

    /// Asks for the beginning so many times, in one go.
    pub fn ask_often(&mut self, times: usize, length: u32) {
        let mut out = Vec::new();
        for _ in 0..times {
            self.next += 1;
            let request = Request {
                flags: 0,
                command: Command::Read,
                cookie: self.next,
                offset: 0,
                length,
            };
            assert!(self.reader.expect(request));
            request.write(&mut out);
        }
        self.stream.write_all(&out).unwrap();
    }

    /// The next answer that is whole; `None` when the connection ends. That of a read has all of its
    /// bytes, each once.
    pub fn answer(&mut self) -> Option<Answer> {
        let mut answers = std::collections::BTreeMap::<u64, Answer>::new();
        loop {
            let (taken, step) = self.reader.read(&self.buffer).expect("no nonsense");
            self.buffer.drain(..taken);
            let ReplyStep::Head(head) = step else {
                fill(&mut self.stream, &mut self.buffer).then_some(())?;
                continue;
            };
            let known = self.reader.outstanding().map(|known| *known.request());
            let request = known.into_iter().find(|known| known.cookie == head.cookie);
            let payload = self.payload()?;
            let answer = answers.entry(head.cookie).or_default();
            answer.cookie = head.cookie;
            match head.content {
                Content::Data { offset, length } => {
                    answer.pieces += 1;
                    let start = request.map_or(offset, |request| request.offset);
                    put(&mut answer.bytes, offset - start, &payload);
                    assert_eq!(payload.len(), length as usize);
                }
                Content::Hole { offset, length } => {
                    answer.pieces += 1;
                    let start = request.map_or(offset, |request| request.offset);
                    put(&mut answer.bytes, offset - start, &vec![0; length as usize]);
                }
                Content::Error { error, .. } => answer.error = Some(error),
                Content::Status { .. } => answer.bytes = payload,
                Content::Done => {}
            }
            if head.is_last {
                return answers.remove(&head.cookie);
            }
        }
    }

    fn payload(&mut self) -> Option<Vec<u8>> {
        let mut payload = Vec::new();
        while self.reader.payload_rest() > 0 {
            let count = self.buffer.len().min(self.reader.payload_rest() as usize);
            payload.extend(self.buffer.drain(..count));
            self.reader.pass(count as u32);
            if self.reader.payload_rest() > 0 {
                fill(&mut self.stream, &mut self.buffer).then_some(())?;
            }
        }
        Some(payload)
    }

    /// Reads some bytes.
    pub fn read(&mut self, offset: u64, length: u32) -> Vec<u8> {
        let cookie = self.ask(Command::Read, offset, length);
        let answer = self.answer().expect("an answer");
        assert_eq!((answer.cookie, answer.error), (cookie, None));
        answer.bytes
    }

    /// Reads everything, sixteen requests at a time.
    pub fn read_all(&mut self) -> Vec<u8> {
        const LENGTH: u32 = 50_000;
        let size = self.agreed.export.size;
        let mut offset = 0;
        let mut bytes = vec![0xaa; size as usize];
        let mut places = std::collections::BTreeMap::new();
        while offset < size || !places.is_empty() {
            while offset < size && places.len() < 16 {
                let length = LENGTH.min((size - offset) as u32);
                places.insert(self.ask(Command::Read, offset, length), offset as usize);
                offset += u64::from(length);
            }
            let answer = self.answer().expect("an answer");
            assert_eq!(answer.error, None);
            let place = places.remove(&answer.cookie).expect("asked");
            bytes[place..place + answer.bytes.len()].copy_from_slice(&answer.bytes);
        }
        bytes
    }

    /// Says that nothing more is coming.
    pub fn say_goodbye(&mut self) {
        let goodbye = Request {
            flags: 0,
            command: Command::Disconnect,
            cookie: 0,
            offset: 0,
            length: 0,
        };
        let mut out = Vec::new();
        goodbye.write(&mut out);
        self.stream.write_all(&out).unwrap();
    }

    /// Whether the connection has ended.
    pub fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && !fill(&mut self.stream, &mut self.buffer)
    }
}

fn put(bytes: &mut Vec<u8>, at: u64, piece: &[u8]) {
    let at = at as usize;
    if bytes.len() < at + piece.len() {
        bytes.resize(at + piece.len(), 0xaa);
    }
    bytes[at..at + piece.len()].copy_from_slice(piece);
}
