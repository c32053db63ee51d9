//! Decoding a body as it comes.
use super::{Framing, Reject};

/// What [`BodyDecoder::decode`] found at the front of its input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyStep {
    /// `data` bytes of content are at `input[skip..skip + data]`; call again with what follows.
    Data {
        /// Framing bytes before the content.
        skip: usize,
        /// Content bytes; never 0.
        data: usize,
    },
    /// All of `input` was framing, or it was empty; more is needed.
    More {
        /// Framing bytes: all of the input.
        skip: usize,
    },
    /// The message is complete. Trailers, if any, are in [`BodyDecoder::trailers`].
    Done {
        /// Framing bytes that were the last of the message; what follows is the next one's.
        skip: usize,
    },
}

/// Finds the content of one message's body, piece by piece, however it is split on the way.
#[derive(Debug)]
pub struct BodyDecoder {
    framing: Framing,
}

impl BodyDecoder {
    /// A decoder for one message.
    pub fn new(framing: Framing) -> Self {
        BodyDecoder { framing }
    }

    /// Looks at the bytes at the front of `input`; never goes beyond the message's end.
    pub fn decode(&mut self, input: &[u8]) -> Result<BodyStep, Reject> {
        let _ = (input, self.framing);
        unimplemented!()
    }

    /// Was the end of the message seen?
    pub fn is_done(&self) -> bool {
        unimplemented!()
    }

    /// The peer closed. Fine when that is how the message ends, or when it had ended already;
    /// [`Reject::Truncated`] otherwise.
    pub fn finish(&mut self) -> Result<(), Reject> {
        unimplemented!()
    }

    /// Content bytes still to come, when `Content-Length` tells.
    pub fn remaining(&self) -> Option<u64> {
        unimplemented!()
    }

    /// The trailer fields, once the message is done, without those that may not be trailers.
    pub fn trailers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        std::iter::empty()
    }
}
