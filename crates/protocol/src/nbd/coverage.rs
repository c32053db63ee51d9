//! Which bytes of a read have come.

use std::ops::Range;

use super::ReplyFault;

/// Pieces that are kept count of beyond the first gap. Servers send in order, or nearly so.
const PIECES_MAX: usize = 256;

/// Which bytes of a range are there. A server that sends them in order costs no memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    start: u64,
    end: u64,
    /// Everything before it is there.
    front: u64,
    /// In order, apart from each other, and after `front` with a gap.
    pieces: Vec<Range<u64>>,
}

impl Coverage {
    /// Nothing is there yet. `start <= end`.
    pub fn new(start: u64, end: u64) -> Self {
        Coverage {
            start,
            end,
            front: start,
            pieces: Vec::new(),
        }
    }

    /// One more piece, which must be inside and new.
    pub fn add(&mut self, offset: u64, length: u32) -> Result<(), ReplyFault> {
        let end = offset.checked_add(u64::from(length));
        let end = end.filter(|end| *end <= self.end);
        let (Some(end), true) = (end, offset >= self.start) else {
            return Err(ReplyFault::OutsideRequest);
        };
        // Pieces that end before this one begins stay before it.
        let at = self.pieces.partition_point(|piece| piece.end <= offset);
        let next_begins = self.pieces.get(at).map_or(u64::MAX, |piece| piece.start);
        if offset < self.front || end > next_begins {
            return Err(ReplyFault::Overlap);
        }
        let touches_last = at > 0 && self.pieces[at - 1].end == offset;
        let touches_next = end == next_begins && at < self.pieces.len();
        match (touches_last, touches_next) {
            (true, true) => self.pieces[at - 1].end = self.pieces.remove(at).end,
            (true, false) => self.pieces[at - 1].end = end,
            (false, true) => self.pieces[at].start = offset,
            (false, false) if offset == self.front => self.front = end,
            (false, false) if self.pieces.len() == PIECES_MAX => {
                return Err(ReplyFault::TooManyPieces);
            }
            (false, false) => self.pieces.insert(at, offset..end),
        }
        if self
            .pieces
            .first()
            .is_some_and(|first| first.start == self.front)
        {
            self.front = self.pieces.remove(0).end;
        }
        Ok(())
    }

    /// Is everything there?
    pub fn is_complete(&self) -> bool {
        self.front == self.end
    }

    /// What is not there, in order.
    pub fn missing(&self) -> impl Iterator<Item = Range<u64>> {
        let ends = self
            .pieces
            .iter()
            .map(|piece| piece.start)
            .chain([self.end]);
        let starts = std::iter::once(self.front).chain(self.pieces.iter().map(|piece| piece.end));
        starts
            .zip(ends)
            .map(|(start, end)| start..end)
            .filter(|gap| !gap.is_empty())
    }
}
