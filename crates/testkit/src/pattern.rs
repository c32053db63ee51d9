//! Large bodies whose every byte is known from its position, so that nothing has to be kept to
//! check them.

use std::io::{self, Write};
use std::sync::OnceLock;

/// A prime, so that the pattern does not line up with anybody's buffers.
const PERIOD: usize = 65_521;

fn period() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let mut state = 0x2545_f491_u32;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[0]
        };
        // Twice, so that any window of one period is one slice.
        let once: Vec<u8> = (0..PERIOD).map(|_| next()).collect();
        [once.as_slice(), once.as_slice()].concat()
    })
}

/// The next bytes of the pattern from `offset` on; `length` at most 65,521.
pub fn pattern(offset: usize, length: usize) -> &'static [u8] {
    let begin = offset % PERIOD;
    &period()[begin..begin + length.min(PERIOD)]
}

/// Compares all that is written to it with the pattern.
#[derive(Debug, Default)]
pub struct PatternCheck {
    /// Bytes so far.
    pub bytes: usize,
    /// Where the first wrong byte may be found, to the piece.
    pub wrong_near: Option<usize>,
}

impl Write for PatternCheck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.chunks(PERIOD) {
            if piece != pattern(self.bytes, piece.len()) && self.wrong_near.is_none() {
                self.wrong_near = Some(self.bytes);
            }
            self.bytes += piece.len();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
