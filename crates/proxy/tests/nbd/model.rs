//! A server with one disk in memory, which answers as the test says, and lies if it is told to.

use ebbtide_protocol::nbd::{
    BlockSizes, Command, ErrorNumber, Export, Negotiated, REQUEST_BYTES, Request, ServerHandshake,
    ServerStep, transmission_flag, write_data_chunk_head, write_done_chunk, write_error,
    write_hole_chunk, write_simple_reply, write_status_chunk_head,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// What the server does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Answers it.
    Answer,
    /// Answers it in pieces, the last one first, with holes where there are zeroes.
    Pieces,
    /// Sends so many bytes of the answer and closes.
    Break(usize),
    /// The same of an answer in pieces.
    BreakPieces(usize),
    /// Never answers.
    Hang,
    /// Answers when the test lets it.
    Hold,
    /// Answers something that was not asked.
    WrongCookie,
    /// Fails.
    Fail(ErrorNumber),
    /// Sends so many bytes of the answer, and the others one by one.
    Trickle(usize),
    /// Dies, with all its connections.
    Die,
}

type Script = dyn Fn(&Request, usize) -> Act + Send + Sync;

pub struct Disk {
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    bytes: Vec<u8>,
    /// What it says its size is.
    size: AtomicU64,
    flags: AtomicU16,
    chunks: bool,
    script: Mutex<Box<Script>>,
    asked: Mutex<Vec<Request>>,
    connections: AtomicUsize,
    /// Those that are open; `None` while it is dead.
    open: Mutex<Option<Vec<TcpStream>>>,
    is_released: Mutex<bool>,
    released: Condvar,
}

pub const FLAGS: u16 = transmission_flag::HAS_FLAGS
    | transmission_flag::READ_ONLY
    | transmission_flag::SEND_FLUSH
    | transmission_flag::SEND_DF
    | transmission_flag::CAN_MULTI_CONN;

pub const WRITABLE: u16 = transmission_flag::HAS_FLAGS | transmission_flag::SEND_FLUSH;

impl Disk {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self::with(bytes, FLAGS, true)
    }

    pub fn with(bytes: Vec<u8>, flags: u16, chunks: bool) -> Self {
        let listener = TcpListener::bind(crate::common::free_address()).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            size: AtomicU64::new(bytes.len() as u64),
            bytes,
            flags: AtomicU16::new(flags),
            chunks,
            script: Mutex::new(Box::new(|_, _| Act::Answer)),
            asked: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: Mutex::new(Some(Vec::new())),
            is_released: Mutex::default(),
            released: Condvar::new(),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, state) = (stream.unwrap(), Arc::clone(&shared));
                let Some(open) = &mut *state.open.lock().unwrap() else {
                    continue;
                };
                open.push(stream.try_clone().unwrap());
                state.connections.fetch_add(1, Ordering::SeqCst);
                let state = Arc::clone(&state);
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Self { address, state }
    }

    /// What it does with each request, which it is given with its number among all of them.
    pub fn act(&self, script: impl Fn(&Request, usize) -> Act + Send + Sync + 'static) {
        *self.state.script.lock().unwrap() = Box::new(script);
    }

    /// What it says its size is, from the next connection on.
    pub fn claim_size(&self, size: u64) {
        self.state.size.store(size, Ordering::SeqCst);
    }

    /// What it says its flags are, from the next connection on.
    pub fn claim_flags(&self, flags: u16) {
        self.state.flags.store(flags, Ordering::SeqCst);
    }

    /// Lets it answer what it holds.
    pub fn release(&self) {
        *self.state.is_released.lock().unwrap() = true;
        self.state.released.notify_all();
    }

    /// Whether it has died.
    pub fn is_dead(&self) -> bool {
        self.state.open.lock().unwrap().is_none()
    }

    /// It takes connections again.
    pub fn return_to_life(&self) {
        *self.state.open.lock().unwrap() = Some(Vec::new());
    }

    /// Requests so far.
    pub fn asked(&self) -> Vec<Request> {
        self.state.asked.lock().unwrap().clone()
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
}

fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> bool {
    let mut piece = [0; 8192];
    match stream.read(&mut piece) {
        Ok(bytes) => {
            buffer.extend_from_slice(&piece[..bytes]);
            bytes > 0
        }
        Err(_) => false,
    }
}

fn serve(mut stream: TcpStream, state: &State) {
    stream.set_nodelay(true).unwrap();
    let mut buffer = Vec::new();
    let Some(agreed) = shake(&mut stream, &mut buffer, state) else {
        return;
    };
    while let Some((request, payload)) = next(&mut stream, &mut buffer) {
        if request.command == Command::Disconnect {
            return;
        }
        let number = {
            let mut asked = state.asked.lock().unwrap();
            asked.push(request);
            asked.len() - 1
        };
        let act = (state.script.lock().unwrap())(&request, number);
        if !act_out(&mut stream, state, &agreed, (&request, &payload), act) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
            return;
        }
    }
}

fn next(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(Request, Vec<u8>)> {
    loop {
        if let Some(request) = Request::parse(buffer).unwrap() {
            let end = REQUEST_BYTES + request.payload_bytes() as usize;
            while buffer.len() < end {
                fill(stream, buffer).then_some(())?;
            }
            let payload = buffer.drain(..end).skip(REQUEST_BYTES).collect();
            return Some((request, payload));
        }
        fill(stream, buffer).then_some(())?;
    }
}

fn act_out(
    stream: &mut TcpStream,
    state: &State,
    agreed: &Negotiated,
    (request, _payload): (&Request, &[u8]),
    act: Act,
) -> bool {
    let is_in_pieces = matches!(act, Act::Pieces | Act::BreakPieces(_));
    let mut out = answer(request, state, agreed, is_in_pieces);
    match act {
        Act::Answer | Act::Pieces => {}
        Act::Break(bytes) | Act::BreakPieces(bytes) => {
            let _ = stream.write_all(&out[..bytes.min(out.len())]);
            return false;
        }
        Act::Hang => return true,
        Act::Trickle(bytes) => {
            let _ = stream.write_all(&out[..bytes]);
            return out[bytes..].iter().all(|byte| {
                #[expect(clippy::disallowed_methods, reason = "the server's pace")]
                std::thread::sleep(std::time::Duration::from_millis(20));
                stream.write_all(&[*byte]).is_ok()
            });
        }
        Act::Die => {
            let open = state.open.lock().unwrap().take();
            for stream in open.into_iter().flatten() {
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
            return false;
        }
        Act::Hold => {
            let mut is_released = state.is_released.lock().unwrap();
            while !*is_released {
                is_released = state.released.wait(is_released).unwrap();
            }
        }
        Act::WrongCookie => {
            let wrong = Request {
                cookie: !request.cookie,
                ..*request
            };
            out = answer(&wrong, state, agreed, false);
        }
        Act::Fail(error) => {
            out.clear();
            write_error(
                &mut out,
                agreed.structured_replies,
                request.cookie,
                error,
                "as told",
            );
        }
    }
    stream.write_all(&out).is_ok()
}

fn shake(stream: &mut TcpStream, buffer: &mut Vec<u8>, state: &State) -> Option<Negotiated> {
    let export = Export {
        size: state.size.load(Ordering::SeqCst),
        flags: state.flags.load(Ordering::SeqCst),
        block_sizes: Some(BlockSizes {
            minimum: 1,
            preferred: 4096,
            payload_max: 32 << 20,
        }),
    };
    let mut out = Vec::new();
    let mut handshake = ServerHandshake::new(&mut out);
    loop {
        let (taken, step) = handshake.advance(buffer, &mut out).unwrap();
        buffer.drain(..taken);
        let mut agreed = None;
        match &step {
            ServerStep::NeedMore => {
                stream.write_all(&std::mem::take(&mut out)).ok()?;
                fill(stream, buffer).then_some(())?;
            }
            ServerStep::Wants { .. } => agreed = handshake.offer(&mut out, &export),
            ServerStep::WantsContexts { .. } => handshake.contexts(&mut out, state.chunks),
            ServerStep::List => handshake.list(&mut out, ["disk"]),
            ServerStep::Aborted => return None,
        }
        if agreed.is_some() {
            stream.write_all(&out).ok()?;
            return agreed;
        }
    }
}

fn answer(request: &Request, state: &State, agreed: &Negotiated, is_in_pieces: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let (cookie, structured) = (request.cookie, agreed.structured_replies);
    if let Some(error) = request.refusal(agreed) {
        write_error(&mut out, structured, cookie, error, "not like this");
        return out;
    }
    let start = request.offset as usize;
    let data = &state.bytes[start..start + request.length as usize];
    match request.command {
        Command::Read if structured && is_in_pieces => pieces(&mut out, request, data),
        Command::Read if structured => {
            write_data_chunk_head(&mut out, cookie, request.offset, request.length, true);
            out.extend_from_slice(data);
        }
        Command::Read => {
            write_simple_reply(&mut out, cookie);
            out.extend_from_slice(data);
        }
        Command::BlockStatus => {
            let context = agreed.allocation_context.unwrap();
            write_status_chunk_head(&mut out, cookie, context, 1, true);
            out.extend_from_slice(&request.length.to_be_bytes());
            out.extend_from_slice(&0u32.to_be_bytes());
        }
        _ if structured => write_done_chunk(&mut out, cookie),
        _ => write_simple_reply(&mut out, cookie),
    }
    out
}

fn pieces(out: &mut Vec<u8>, request: &Request, data: &[u8]) {
    const PIECE: usize = 16 * 1024;
    for (index, piece) in data.chunks(PIECE).enumerate().rev() {
        let offset = request.offset + (index * PIECE) as u64;
        let length = piece.len() as u32;
        if piece.iter().all(|byte| *byte == 0) {
            write_hole_chunk(out, request.cookie, offset, length, index == 0);
        } else {
            write_data_chunk_head(out, request.cookie, offset, length, index == 0);
            out.extend_from_slice(piece);
        }
    }
}
