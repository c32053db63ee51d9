//! The one way in which tests wait: for a condition, with a limit.

use std::time::{Duration, Instant};

/// Asks `condition` again and again until it gives something; panics with `what` after `limit`.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        #[expect(
            clippy::disallowed_methods,
            reason = "the pause between two questions, not a guess at when the answer comes"
        )]
        std::thread::sleep(Duration::from_millis(10));
    }
}
