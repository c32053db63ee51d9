//! One export of an NBD server, as its client: connecting, reading it in order, and seeing when its
//! server is gone. Whatever the server does, memory is bounded and each answer has its time.

use ebbtide_core::Millis;
use ebbtide_protocol::nbd::{
    self, ClientGoal, ClientHandshake, ClientStep, Command, Content, HandshakeFault, Negotiated,
    Refusal, ReplyReader, ReplyStep, Request,
};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// What one request asks for at most, in bytes.
const PIECE_BYTES: u32 = 256 * 1024;
/// Requests that are under way at the same time.
const PIECES_MAX: usize = 4;
/// What is read from the socket at once, in bytes.
const INPUT_BYTES: usize = 64 * 1024;
/// The same in the handshake.
const HANDSHAKE_INPUT_BYTES: usize = 4096;
const UNASKED: &str = "it sends what nobody has asked for";
/// How often a server is asked for a few bytes while nothing else is wanted of it: one that has vanished
/// closes nothing.
const SIGN_OF_LIFE_EVERY: Duration = Duration::from_secs(30);
/// How far behind its pace reading may catch up.
const CATCH_UP: Duration = Duration::from_millis(100);

/// Why a copy was not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// The server says that it does not have it.
    Absent,
    /// Something else, for people.
    Failed(String),
}

/// How long things may take.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    /// A connection must stand within this.
    pub connect: Duration,
    /// The handshake, and each answer, must be whole within this.
    pub response: Duration,
}

/// How fast is read.
pub(super) struct Pace<F> {
    bytes_per_second: F,
    due: Instant,
}

impl<F: Fn() -> u64> Pace<F> {
    pub fn new(bytes_per_second: F) -> Self {
        Self {
            bytes_per_second,
            due: Instant::now(),
        }
    }

    /// So much was asked for.
    pub fn asked(&mut self, bytes: u32) {
        let rate = (self.bytes_per_second)().max(1);
        let takes = Duration::from_secs_f64(f64::from(bytes) / rate as f64);
        let behind = Instant::now().checked_sub(CATCH_UP);
        self.due = behind.map_or(self.due, |behind| self.due.max(behind)) + takes;
    }

    /// When the next request is due.
    pub fn due(&self) -> Instant {
        self.due
    }
}

/// A connection to a server that is ready to be asked for one export.
pub(super) struct Export {
    stream: TcpStream,
    export: nbd::Export,
    replies: ReplyReader,
    /// What has come and was not looked at.
    input: Vec<u8>,
    limit: Duration,
    last_cookie: u64,
}

/// A part of the export that was asked for.
struct Piece {
    cookie: u64,
    offset: u64,
    bytes: Vec<u8>,
    asked: Instant,
}

impl Export {
    /// Connects and shakes hands.
    pub async fn open(address: SocketAddr, name: &str, limits: Limits) -> Result<Self, Unread> {
        let failed = |why: String| Unread::Failed(why);
        let connected = timeout(limits.connect, TcpStream::connect(address)).await;
        let mut stream = match connected {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => {
                let within = shown(limits.connect);
                return Err(failed(format!("it takes no connection within {within}")));
            }
        };
        // Requests are small and must not wait for each other.
        stream
            .set_nodelay(true)
            .map_err(|error| failed(error.to_string()))?;
        let agreed = timeout(limits.response, shake_hands(&mut stream, name)).await;
        let agreed = agreed.unwrap_or_else(|_| {
            let within = shown(limits.response);
            Err(failed(format!("its handshake is not over within {within}")))
        })?;
        Ok(Self {
            stream,
            export: agreed.export,
            replies: ReplyReader::new(&agreed),
            input: Vec::new(),
            limit: limits.response,
            last_cookie: 0,
        })
    }

    /// Its length, in bytes.
    pub fn size(&self) -> u64 {
        self.export.size
    }

    /// Reads a part, and gives its bytes out in order. An error says what the server did.
    pub async fn read(
        &mut self,
        part: Range<u64>,
        pace: &mut Pace<impl Fn() -> u64>,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), String> {
        let mut pieces = VecDeque::<Piece>::new();
        let mut next = part.start;
        loop {
            while let Some(piece) = pieces.pop_front_if(|piece| !self.is_owed(piece.cookie)) {
                take(&piece.bytes);
                // Hashing takes a while, and others have this thread too.
                tokio::task::yield_now().await;
            }
            let is_asked = next == part.end;
            let Some(oldest) = pieces.front() else {
                if is_asked {
                    return Ok(());
                }
                sleep_until(pace.due()).await;
                pieces.push_back(self.ask(&mut next, part.end, pace).await?);
                continue;
            };
            let late = oldest.asked + self.limit;
            let may_ask = !is_asked && pieces.len() < PIECES_MAX;
            tokio::select! {
                biased;
                came = more(&mut self.stream, &mut self.input, INPUT_BYTES) => {
                    came?;
                    self.sort(&mut pieces)?;
                }
                () = sleep_until(late) => {
                    let within = shown(self.limit);
                    return Err(format!("it has not answered a request within {within}"));
                }
                () = sleep_until(pace.due()), if may_ask => {
                    pieces.push_back(self.ask(&mut next, part.end, pace).await?);
                }
            }
        }
    }

    /// Waits until the server hangs up or sends something; returns which. May be given up at any time.
    pub async fn gone(&mut self) -> String {
        // Hundreds may be waited for.
        self.input.shrink_to_fit();
        match more(&mut self.stream, &mut self.input, 1).await {
            Ok(()) => UNASKED.into(),
            Err(why) => why,
        }
    }

    /// The same, and asks for a sign of life now and then.
    pub async fn watch(&mut self) -> String {
        loop {
            tokio::select! {
                biased;
                why = self.gone() => return why,
                () = sleep(SIGN_OF_LIFE_EVERY) => {}
            }
            let part = 0..self.size().min(u64::from(self.smallest()));
            let mut at_once = Pace::new(|| u64::MAX);
            if let Err(why) = self.read(part, &mut at_once, |_| {}).await {
                return why;
            }
        }
    }

    fn smallest(&self) -> u32 {
        self.export.block_sizes.map_or(512, |sizes| sizes.minimum)
    }

    fn is_owed(&self, cookie: u64) -> bool {
        let mut outstanding = self.replies.outstanding();
        outstanding.any(|outstanding| outstanding.request().cookie == cookie)
    }

    /// Asks for what comes next.
    async fn ask(
        &mut self,
        next: &mut u64,
        end: u64,
        pace: &mut Pace<impl Fn() -> u64>,
    ) -> Result<Piece, String> {
        let most = PIECE_BYTES.min(self.export.payload_bytes_max());
        // Its longest payload is no shorter than its smallest block.
        let most = most - most % self.smallest();
        let length = (end - *next).min(u64::from(most)) as u32;
        self.last_cookie += 1;
        let request = Request {
            flags: 0,
            command: Command::Read,
            cookie: self.last_cookie,
            offset: *next,
            length,
        };
        let is_new = self.replies.expect(request);
        debug_assert!(is_new, "cookies are given once");
        let mut bytes = Vec::with_capacity(nbd::REQUEST_BYTES);
        request.write(&mut bytes);
        match timeout(self.limit, self.stream.write_all(&bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("it takes no more requests".into()),
        }
        pace.asked(length);
        let piece = Piece {
            cookie: request.cookie,
            offset: *next,
            bytes: vec![0; length as usize],
            asked: Instant::now(),
        };
        *next += u64::from(length);
        Ok(piece)
    }

    /// Puts what has come where it belongs.
    fn sort(&mut self, pieces: &mut VecDeque<Piece>) -> Result<(), String> {
        let mut at = 0;
        loop {
            let input = &self.input[at..];
            if let Some((cookie, part)) = self.replies.under_way() {
                let count = input.len().min((part.end - part.start) as usize);
                if count == 0 {
                    break;
                }
                put(pieces, cookie, part.start, &input[..count]);
                self.replies.pass(count as u32);
                at += count;
                continue;
            }
            let (taken, step) = self
                .replies
                .read(input)
                .map_err(|fault| fault.to_string())?;
            at += taken;
            match step {
                ReplyStep::NeedMore => break,
                ReplyStep::Head(head) => {
                    if let Content::Error { error, message, .. } = head.content {
                        return Err(match message.as_str() {
                            "" => format!("it answers {}", error.name()),
                            said => format!("it answers {} ({said})", error.name()),
                        });
                    }
                }
            }
        }
        self.input.drain(..at);
        Ok(())
    }
}

/// Whoever goes says goodbye, if there is room for it.
impl Drop for Export {
    fn drop(&mut self) {
        let mut bytes = Vec::with_capacity(nbd::REQUEST_BYTES);
        let goodbye = Request {
            flags: 0,
            command: Command::Disconnect,
            cookie: self.last_cookie + 1,
            offset: 0,
            length: 0,
        };
        goodbye.write(&mut bytes);
        // A server that does not hear it sees the connection end.
        drop(self.stream.try_write(&bytes));
    }
}

/// What comes for a piece; what does not come is zeroes, as a hole is.
fn put(pieces: &mut VecDeque<Piece>, cookie: u64, offset: u64, bytes: &[u8]) {
    let piece = pieces.iter_mut().find(|piece| piece.cookie == cookie);
    let Some(piece) = piece else { return };
    // Replies outside of what was asked for were refused.
    let start = (offset - piece.offset) as usize;
    piece.bytes[start..start + bytes.len()].copy_from_slice(bytes);
}

/// Reads once from the server, into so much room at least; an error says that it is gone.
async fn more(stream: &mut TcpStream, input: &mut Vec<u8>, room: usize) -> Result<(), String> {
    input.reserve(room);
    match stream.read_buf(input).await {
        Ok(0) => Err("it closed the connection".into()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

async fn shake_hands(stream: &mut TcpStream, name: &str) -> Result<Negotiated, Unread> {
    let failed = |why: String| Unread::Failed(why);
    let mut handshake = ClientHandshake::new(ClientGoal::Export {
        name: name.to_owned(),
        structured_replies: true,
        allocation: false,
    });
    let (mut input, mut out) = (Vec::new(), Vec::new());
    loop {
        let step = handshake.advance(&input, &mut out);
        let sent = stream.write_all(&out).await;
        out.clear();
        let (taken, step) = step.map_err(|fault| match &fault {
            HandshakeFault::Refused {
                refusal: Some(Refusal::Unknown),
                ..
            } => Unread::Absent,
            _ => failed(fault.to_string()),
        })?;
        sent.map_err(|error| failed(error.to_string()))?;
        input.drain(..taken);
        match step {
            ClientStep::NeedMore => {
                more(stream, &mut input, HANDSHAKE_INPUT_BYTES)
                    .await
                    .map_err(failed)?;
            }
            ClientStep::Ready(agreed) if input.is_empty() => return Ok(agreed),
            ClientStep::Ready(_) | ClientStep::Listed(_) => {
                return Err(failed(UNASKED.into()));
            }
        }
    }
}

fn shown(span: Duration) -> Millis {
    Millis(span.as_millis() as u64)
}
