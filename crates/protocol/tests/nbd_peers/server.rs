//! A server that waits: our side of the wire, over an image in memory.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use ebbtide_protocol::nbd::{
    Command, ErrorNumber, Export, Negotiated, Refusal, Request, ServerHandshake, ServerStep,
    transmission_flag, write_data_chunk_head, write_done_chunk, write_error, write_hole_chunk,
    write_simple_reply, write_status_chunk_head,
};

use crate::fill;

/// Status is told for pieces of this size.
const BLOCK: usize = 4096;
const HOLE_AND_ZERO: u32 = 3;

/// An export called `disk`, served to everybody until the test ends.
pub struct Server {
    pub address: String,
    pub image: Arc<Mutex<Vec<u8>>>,
}

impl Server {
    pub fn start(image: Vec<u8>, flags: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let image = Arc::new(Mutex::new(image));
        let shared = Arc::clone(&image);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let image = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream.unwrap(), &image, flags));
            }
        });
        Server { address, image }
    }

    pub fn uri(&self, name: &str) -> String {
        format!("nbd://{}/{name}", self.address)
    }
}

fn serve(mut stream: TcpStream, image: &Mutex<Vec<u8>>, flags: u16) {
    stream.set_nodelay(true).unwrap();
    let export = Export {
        size: image.lock().unwrap().len() as u64,
        flags,
        block_sizes: Some(ebbtide_protocol::nbd::BlockSizes {
            minimum: 1,
            preferred: BLOCK as u32,
            payload_max: 1 << 20,
        }),
    };
    let mut buffer = Vec::new();
    if let Some(agreed) = shake(&mut stream, &mut buffer, &export) {
        transmit(&mut stream, &mut buffer, image, &agreed);
    }
}

fn shake(stream: &mut TcpStream, buffer: &mut Vec<u8>, export: &Export) -> Option<Negotiated> {
    let mut out = Vec::new();
    let mut handshake = ServerHandshake::new(&mut out);
    loop {
        let (taken, step) = handshake.advance(buffer, &mut out).unwrap();
        buffer.drain(..taken);
        let mut agreed = None;
        let mut goes_on = true;
        match &step {
            ServerStep::NeedMore => {
                stream.write_all(&std::mem::take(&mut out)).ok()?;
                goes_on = fill(stream, buffer);
            }
            ServerStep::Wants { export: name, .. } if name == "disk" => {
                agreed = handshake.offer(&mut out, export);
            }
            ServerStep::Wants { .. } => {
                goes_on = handshake.refuse(&mut out, Refusal::Unknown, "there is only disk");
            }
            ServerStep::WantsContexts { .. } => handshake.contexts(&mut out, true),
            ServerStep::List => handshake.list(&mut out, ["disk"]),
            ServerStep::Aborted => goes_on = false,
        }
        if agreed.is_some() || !goes_on {
            // Whoever says goodbye need not wait for the answer.
            stream.write_all(&out).ok()?;
            return agreed;
        }
    }
}

fn transmit(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    image: &Mutex<Vec<u8>>,
    agreed: &Negotiated,
) {
    loop {
        let Some(request) = Request::parse(buffer).unwrap() else {
            match fill(stream, buffer) {
                true => continue,
                false => return,
            }
        };
        let end = ebbtide_protocol::nbd::REQUEST_BYTES + request.payload_bytes() as usize;
        while buffer.len() < end {
            assert!(fill(stream, buffer), "the client hung up in the middle");
        }
        let message: Vec<u8> = buffer.drain(..end).collect();
        if request.command == Command::Disconnect {
            return;
        }
        let payload = &message[ebbtide_protocol::nbd::REQUEST_BYTES..];
        let mut image = image.lock().unwrap();
        let out = answer(&request, payload, &mut image, agreed);
        drop(image);
        stream.write_all(&out).unwrap();
    }
}

fn answer(request: &Request, payload: &[u8], image: &mut [u8], agreed: &Negotiated) -> Vec<u8> {
    let mut out = Vec::new();
    let (cookie, structured) = (request.cookie, agreed.structured_replies);
    if let Some(error) = request.refusal(agreed) {
        write_error(&mut out, structured, cookie, error, "not like this");
        return out;
    }
    let start = request.offset as usize;
    let range = start..start + request.length as usize;
    match request.command {
        Command::Read if structured => read_in_chunks(&mut out, request, &image[range]),
        Command::Read => {
            write_simple_reply(&mut out, cookie);
            out.extend_from_slice(&image[range]);
        }
        Command::BlockStatus => status(&mut out, request, &image[range], agreed),
        Command::Write => image[range].copy_from_slice(payload),
        Command::WriteZeroes | Command::Trim => image[range].fill(0),
        Command::Flush => {}
        _ => {
            let error = ErrorNumber::Invalid;
            write_error(&mut out, structured, cookie, error, "what is that?");
        }
    }
    if out.is_empty() {
        match structured {
            true => write_done_chunk(&mut out, cookie),
            false => write_simple_reply(&mut out, cookie),
        }
    }
    out
}

/// In pieces, the last one first: chunks may come in any order.
fn read_in_chunks(out: &mut Vec<u8>, request: &Request, data: &[u8]) {
    let is_whole = request.flags & ebbtide_protocol::nbd::command_flag::DF != 0;
    let piece_bytes = if is_whole { data.len() } else { 16 * 1024 };
    let pieces = data.chunks(piece_bytes.max(1)).enumerate();
    for (index, piece) in pieces.rev() {
        let offset = request.offset + (index * piece_bytes) as u64;
        let length = piece.len() as u32;
        if !is_whole && piece.iter().all(|byte| *byte == 0) {
            write_hole_chunk(out, request.cookie, offset, length, index == 0);
        } else {
            write_data_chunk_head(out, request.cookie, offset, length, index == 0);
            out.extend_from_slice(piece);
        }
    }
}

fn status(out: &mut Vec<u8>, request: &Request, data: &[u8], agreed: &Negotiated) {
    let mut extents: Vec<(u32, u32)> = Vec::new();
    // Blocks as they lie on the disk.
    let first = BLOCK - request.offset as usize % BLOCK;
    let (head, rest) = data.split_at(first.min(data.len()));
    for block in std::iter::once(head).chain(rest.chunks(BLOCK)) {
        let is_zero = block.iter().all(|byte| *byte == 0);
        let state = if is_zero { HOLE_AND_ZERO } else { 0 };
        match extents.last_mut() {
            Some((length, last)) if *last == state => *length += block.len() as u32,
            _ => extents.push((block.len() as u32, state)),
        }
    }
    if request.flags & ebbtide_protocol::nbd::command_flag::REQ_ONE != 0 {
        extents.truncate(1);
    }
    let context = agreed.allocation_context.unwrap();
    write_status_chunk_head(out, request.cookie, context, extents.len() as u32, true);
    for (length, state) in extents {
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&state.to_be_bytes());
    }
}

/// What a disk that is only read says of itself.
pub const READ_ONLY: u16 = transmission_flag::HAS_FLAGS
    | transmission_flag::READ_ONLY
    | transmission_flag::SEND_DF
    | transmission_flag::CAN_MULTI_CONN;
/// What a disk that is written to says of itself.
pub const WRITABLE: u16 = transmission_flag::HAS_FLAGS
    | transmission_flag::SEND_FLUSH
    | transmission_flag::SEND_FUA
    | transmission_flag::SEND_TRIM
    | transmission_flag::SEND_WRITE_ZEROES
    | transmission_flag::CAN_MULTI_CONN;
