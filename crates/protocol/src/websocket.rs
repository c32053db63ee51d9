//! WebSocket frames (RFC 6455, section 5), as far as a proxy must know them that wants to say
//! goodbye in the middle of a tunnel: where a frame ends, and what a close frame looks like.
//!
//! [`Frames`] follows one direction. It holds no payload and refuses nothing: bytes that cannot be
//! frames only make it lose track, and from then on nobody may insert anything.

/// The server is going away (RFC 6455, section 7.4.1).
pub const GOING_AWAY: u16 = 1001;
/// The longest reason that a close frame has room for, in bytes (section 5.5: a control frame has at
/// most 125, of which two are the code).
pub const REASON_BYTES_MAX: usize = 123;

/// The longest header: two bytes, eight of length, four of mask.
const HEADER_BYTES_MAX: usize = 14;
const CLOSE: u8 = 8;

/// Who sends in the direction that is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The client: its frames are masked (section 5.3).
    Client,
    /// The server: its frames are not.
    Server,
}

/// Where one direction of a WebSocket connection is: at a boundary between frames, or in one.
#[derive(Clone, Debug)]
pub struct Frames {
    sender: Sender,
    header: [u8; HEADER_BYTES_MAX],
    /// Bytes of the header under way that are there.
    header_bytes: usize,
    /// Bytes of the payload under way that are still to come.
    payload_rest: u64,
    /// The frame under way, or the last, is a close frame.
    is_close: bool,
    is_lost: bool,
}

impl Frames {
    /// Follows a direction from its first byte on.
    pub fn new(sender: Sender) -> Self {
        Self {
            sender,
            header: [0; HEADER_BYTES_MAX],
            header_bytes: 0,
            payload_rest: 0,
            is_close: false,
            is_lost: false,
        }
    }

    /// Whose frames these are.
    pub fn sender(&self) -> Sender {
        self.sender
    }

    /// Takes note of the bytes that come next.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.is_lost {
            bytes = &bytes[self.step(bytes)..];
        }
    }

    /// How many of the bytes that come next belong to the frame under way: 0 at a boundary, all of
    /// them while its end is not among them.
    pub fn to_boundary(&self, bytes: &[u8]) -> usize {
        let mut ahead = self.clone();
        let mut taken = 0;
        while taken < bytes.len() && !ahead.is_at_boundary() && !ahead.is_lost {
            taken += ahead.step(&bytes[taken..]);
        }
        taken
    }

    /// Whether a frame may begin here.
    pub fn is_at_boundary(&self) -> bool {
        !self.is_lost && self.header_bytes == 0 && self.payload_rest == 0
    }

    /// Whether the last frame was a close frame, and is whole: its sender sends no other.
    pub fn is_closed(&self) -> bool {
        self.is_close && self.is_at_boundary()
    }

    /// Whether these were no frames: nothing is known any more.
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Takes a payload's rest or one byte of a header; how many bytes that was. Headers are short.
    fn step(&mut self, bytes: &[u8]) -> usize {
        if self.payload_rest > 0 {
            let taken = usize::try_from(self.payload_rest)
                .unwrap_or(usize::MAX)
                .min(bytes.len());
            self.payload_rest -= taken as u64;
            return taken;
        }
        // After a close frame there are no frames (section 5.5.1).
        if self.is_closed() {
            self.is_lost = true;
            return bytes.len();
        }
        self.header[self.header_bytes] = bytes[0];
        self.header_bytes += 1;
        self.read_header();
        1
    }

    fn read_header(&mut self) {
        let header = &self.header[..self.header_bytes];
        let [first, second, extended @ ..] = header else {
            return;
        };
        let (opcode, is_final, length) = (first & 0x0f, first & 0x80 != 0, second & 0x7f);
        let is_masked = second & 0x80 != 0;
        let is_control = opcode >= CLOSE;
        // No extension has ever been given one of the other opcodes, nor the bits RSV2 and RSV3.
        let is_known = matches!(opcode, 0..=2 | CLOSE..=10) && first & 0x30 == 0;
        if !is_known
            || is_masked != (self.sender == Sender::Client)
            || (is_control && (!is_final || length > 125))
        {
            self.is_lost = true;
            return;
        }
        let length_bytes = match length {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask_bytes = if is_masked { 4 } else { 0 };
        if extended.len() < length_bytes + mask_bytes {
            return;
        }
        let big_endian = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        self.payload_rest = match length_bytes {
            0 => u64::from(length),
            _ => extended[..length_bytes].iter().fold(0, big_endian),
        };
        // The highest bit of a length is never set (section 5.2).
        self.is_lost = self.payload_rest >> 63 == 1;
        self.is_close = opcode == CLOSE;
        self.header_bytes = 0;
    }
}

/// Writes a close frame with a reason, which is cut where it does not fit; as a client's with a mask.
pub fn write_close(out: &mut Vec<u8>, code: u16, reason: &str, mask: Option<[u8; 4]>) {
    let reason = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
    let payload = code.to_be_bytes().into_iter().chain(reason.bytes());
    // At most 125: it fits into the seven bits.
    let length = (2 + reason.len()) as u8;
    match mask {
        None => {
            out.extend([0x80 | CLOSE, length]);
            out.extend(payload);
        }
        Some(mask) => {
            out.extend([0x80 | CLOSE, 0x80 | length]);
            out.extend(mask);
            out.extend(
                payload
                    .zip(mask.iter().cycle())
                    .map(|(byte, key)| byte ^ key),
            );
        }
    }
}

#[cfg(test)]
mod tests;
