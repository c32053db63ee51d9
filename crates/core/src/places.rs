//! Places that a server's own health page tells: they last until the next probe tells anew.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Marks a bound in [`Places::until`].
const BOUNDED: u64 = 1 << 32;
/// More places than this are no bound.
pub(crate) const PLACES_MAX: u64 = i32::MAX as u64;

/// How many new sessions a server may be given before it is probed again.
#[derive(Debug, Default)]
pub struct Places {
    /// Sessions that were ever admitted, modulo 2^32.
    admitted: AtomicU32,
    /// With [`BOUNDED`]: none is admitted once `admitted` has come so far. 0: no bound.
    until: AtomicU64,
}

impl Places {
    /// Sessions that were ever admitted; begins anew after the greatest number. A probe notes it when
    /// it begins.
    pub fn admitted(&self) -> u32 {
        self.admitted.load(Relaxed)
    }

    /// A page said that there are so many places, or nothing of that; `admitted` is what there was when
    /// it was asked for. Sessions that have come since may have been counted by the page or not: they
    /// are taken off.
    pub(crate) fn tell(&self, places: Option<u64>, admitted: u32) {
        let places = places.filter(|places| *places <= PLACES_MAX);
        let until = places.map(|places| BOUNDED | u64::from(admitted.wrapping_add(places as u32)));
        self.until.store(until.unwrap_or(0), Relaxed);
    }

    /// Places that are left; `None` if no page has said.
    pub fn left(&self) -> Option<u32> {
        self.left_after(self.admitted())
    }

    fn left_after(&self, admitted: u32) -> Option<u32> {
        let until = self.until.load(Relaxed);
        let left = (until as u32).wrapping_sub(admitted).cast_signed();
        (until & BOUNDED > 0).then(|| u32::try_from(left).unwrap_or(0))
    }

    /// Takes one, if there is one; exact over all workers.
    pub(crate) fn try_take(&self) -> bool {
        let more = |admitted: u32| {
            let is_free = self.left_after(admitted).is_none_or(|left| left > 0);
            is_free.then(|| admitted.wrapping_add(1))
        };
        self.admitted.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    /// Gives one back that was taken for nothing.
    pub(crate) fn give_back(&self) {
        self.admitted.fetch_sub(1, Relaxed);
    }

    /// The same places, for a new epoch.
    pub(crate) fn again(&self) -> Self {
        Self {
            admitted: self.admitted().into(),
            until: self.until.load(Relaxed).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(places: &Places) -> usize {
        (0..100).take_while(|_| places.try_take()).count()
    }

    #[test]
    fn what_a_page_tells_lasts_until_the_next_one() {
        let places = Places::default();
        assert_eq!((taken(&places), places.left()), (100, None));
        places.tell(Some(3), places.admitted());
        assert_eq!((taken(&places), places.left()), (3, Some(0)));
        places.give_back();
        assert_eq!((taken(&places), places.left()), (1, Some(0)));
        places.tell(None, places.admitted());
        assert_eq!((taken(&places), places.left()), (100, None));
    }

    #[test]
    fn sessions_that_came_while_the_page_was_asked_for_are_taken_off() {
        let places = Places::default();
        let before = places.admitted();
        for _ in 0..5 {
            assert!(places.try_take());
        }
        places.tell(Some(7), before);
        assert_eq!(taken(&places), 2);
        places.tell(Some(3), before);
        assert_eq!(
            (taken(&places), places.left()),
            (0, Some(0)),
            "more than there are"
        );
    }

    #[test]
    fn a_number_beyond_all_servers_is_no_bound_and_counting_goes_round() {
        let places = Places::default();
        for many in [u64::MAX, 1_000_000_000_000_000_000, PLACES_MAX + 1] {
            places.tell(Some(many), 0);
            assert_eq!(places.left(), None);
        }
        places.tell(Some(PLACES_MAX), 0);
        assert_eq!(places.left(), Some(i32::MAX as u32));
        places.admitted.store(u32::MAX, Relaxed);
        places.tell(Some(2), u32::MAX);
        assert_eq!((taken(&places), places.admitted()), (2, 1));
        assert_eq!((taken(&places.again()), places.left()), (0, Some(0)));
    }
}
