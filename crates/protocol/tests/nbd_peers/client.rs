//! A client that waits: our side of the wire, and as little else as possible.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::net::UnixStream;

use ebbtide_protocol::nbd::{
    ClientGoal, ClientHandshake, ClientStep, Command, Content, ErrorNumber, HandshakeFault,
    Negotiated, ReplyReader, ReplyStep, Request,
};

use crate::fill;

/// The handshake, until it comes to something; what came after it is returned too.
pub fn shake(
    stream: &mut UnixStream,
    goal: &ClientGoal,
) -> Result<(ClientStep, Vec<u8>), HandshakeFault> {
    let mut handshake = ClientHandshake::new(goal.clone());
    let (mut buffer, mut out) = (Vec::new(), Vec::new());
    loop {
        let step = handshake.advance(&buffer, &mut out);
        stream.write_all(&std::mem::take(&mut out)).unwrap();
        let (taken, step) = step?;
        buffer.drain(..taken);
        if step != ClientStep::NeedMore {
            return Ok((step, buffer));
        }
        assert!(fill(stream, &mut buffer), "the server hung up");
    }
}

/// The names that a server lists.
pub fn names(mut stream: UnixStream) -> Vec<String> {
    match shake(&mut stream, &ClientGoal::List) {
        Ok((ClientStep::Listed(names), _)) => names,
        other => panic!("no list: {other:?}"),
    }
}

/// A connection in transmission.
pub struct Client {
    stream: UnixStream,
    pub agreed: Negotiated,
    reader: ReplyReader,
    buffer: Vec<u8>,
}

/// All that came for one request.
#[derive(Debug, Default)]
pub struct Answer {
    /// In the order in which it came: where, and what.
    pub data: Vec<(u64, Vec<u8>)>,
    pub extents: Vec<u8>,
    pub error: Option<ErrorNumber>,
}

impl Client {
    pub fn connect(
        mut stream: UnixStream,
        name: &str,
        structured_replies: bool,
    ) -> Result<Self, HandshakeFault> {
        let goal = ClientGoal::Export {
            name: name.to_owned(),
            structured_replies,
            allocation: structured_replies,
        };
        let (step, buffer) = shake(&mut stream, &goal)?;
        let ClientStep::Ready(agreed) = step else {
            panic!("not ready: {step:?}");
        };
        Ok(Client {
            stream,
            agreed,
            reader: ReplyReader::new(&agreed),
            buffer,
        })
    }

    /// Sends all of them, and then waits for all replies.
    pub fn ask(&mut self, requests: &[(Request, &[u8])]) -> BTreeMap<u64, Answer> {
        let mut out = Vec::new();
        for (request, payload) in requests {
            assert_eq!(request.refusal(&self.agreed), None, "{request:?}");
            assert!(self.reader.expect(*request));
            request.write(&mut out);
            out.extend_from_slice(payload);
        }
        self.stream.write_all(&out).unwrap();
        let mut answers: BTreeMap<u64, Answer> = BTreeMap::new();
        while self.reader.outstanding().len() > 0 {
            let (taken, step) = self.reader.read(&self.buffer).unwrap();
            self.buffer.drain(..taken);
            let ReplyStep::Head(head) = step else {
                assert!(
                    fill(&mut self.stream, &mut self.buffer),
                    "the server hung up"
                );
                continue;
            };
            let payload = self.payload();
            let answer = answers.entry(head.cookie).or_default();
            match head.content {
                Content::Data { offset, .. } => answer.data.push((offset, payload)),
                Content::Hole { offset, length } => {
                    answer.data.push((offset, vec![0; length as usize]));
                }
                Content::Status { .. } => answer.extents = payload,
                Content::Error { error, .. } => answer.error = Some(error),
                Content::Done => {}
            }
        }
        assert!(self.buffer.is_empty(), "more was sent than was asked for");
        answers
    }

    fn payload(&mut self) -> Vec<u8> {
        let mut payload = Vec::new();
        while self.reader.payload_rest() > 0 {
            let count = self.buffer.len().min(self.reader.payload_rest() as usize);
            payload.extend(self.buffer.drain(..count));
            self.reader.pass(count as u32);
            if self.reader.payload_rest() > 0 {
                assert!(
                    fill(&mut self.stream, &mut self.buffer),
                    "the server hung up"
                );
            }
        }
        payload
    }

    /// The answer to one.
    pub fn ask_one(&mut self, request: Request, payload: &[u8]) -> Answer {
        self.ask(&[(request, payload)])
            .remove(&request.cookie)
            .unwrap()
    }

    /// All bytes of the export, sixteen requests at a time, of lengths that fit nothing.
    pub fn read_all(&mut self) -> Vec<u8> {
        let size = self.agreed.export.size;
        let mut bytes = vec![0xaa; size as usize];
        let mut offset = 0;
        while offset < size {
            let mut requests = Vec::new();
            while offset < size && requests.len() < 16 {
                let length = (size - offset).min(41_472) as u32;
                requests.push(request(Command::Read, offset, length));
                offset += u64::from(length);
            }
            let asked: Vec<(Request, &[u8])> =
                requests.iter().map(|request| (*request, &[][..])).collect();
            for answer in self.ask(&asked).into_values() {
                assert_eq!(answer.error, None);
                for (at, data) in answer.data {
                    bytes[at as usize..at as usize + data.len()].copy_from_slice(&data);
                }
            }
        }
        bytes
    }

    /// Says goodbye; the server must hang up.
    pub fn leave(mut self) {
        let mut out = Vec::new();
        request(Command::Disconnect, 0, 0).write(&mut out);
        self.stream.write_all(&out).unwrap();
        assert!(!fill(&mut self.stream, &mut self.buffer));
    }
}

/// A request whose cookie is made from where it is.
pub fn request(command: Command, offset: u64, length: u32) -> Request {
    Request {
        flags: 0,
        command,
        cookie: !offset,
        offset,
        length,
    }
}
