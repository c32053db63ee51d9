//! What is to happen, each at its time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// No run puts in so much.
const PUTS_MAX: i64 = 1 << 32;

/// What is to happen: the earliest first and, of one moment, what was put in first.
pub(super) struct Queue<T> {
    /// When and as which it was put in, in one number, and its place among `waiting`.
    order: BinaryHeap<Reverse<(i64, u32)>>,
    waiting: Vec<Option<T>>,
    /// Places that are free.
    free: Vec<u32>,
    put: i64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            order: BinaryHeap::new(),
            waiting: Vec::new(),
            free: Vec::new(),
            put: 0,
        }
    }
}

impl<T> Queue<T> {
    pub fn put(&mut self, at: i64, happening: T) {
        self.put += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.waiting.push(None);
            self.waiting.len() as u32 - 1
        });
        self.waiting[place as usize] = Some(happening);
        self.order.push(Reverse((at * PUTS_MAX + self.put, place)));
    }

    /// What happens next, and when.
    pub fn next(&mut self) -> Option<(i64, T)> {
        let Reverse((when, place)) = self.order.pop()?;
        self.free.push(place);
        let happening = self.waiting[place as usize].take();
        Some((
            when.div_euclid(PUTS_MAX),
            happening.expect("a place in the order is taken"),
        ))
    }
}
