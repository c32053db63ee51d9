//! How long a session had no server to ask: what operators are told of a move, and of a failure.
//!
//! A pause begins when the server was lost (if it was given up for its silence: when it was last heard
//! from, or first asked after that), or, when a session is moved in order, when the old server is
//! asked no more. It ends with the first answer of the next one; or as soon as that can be asked, if
//! nothing waits for it or the client does not read. A move in order has no pause to speak of: the old
//! server serves until the next one has been connected to. What it still owes then is its own to
//! answer, and no pause.

use super::carry::Carrier;
use super::wire::{Loss, Wire};
use ebbtide_core::{Fact, Moved, ServerKey};
use tokio::time::Instant;

/// A pause that is not over.
#[derive(Debug)]
pub(super) struct Pause {
    since: Instant,
    /// The server that was asked before.
    from: ServerKey,
    /// It was lost; otherwise the session was to leave it.
    is_failure: bool,
}

impl Pause {
    /// The old server is asked no more.
    pub fn planned(from: ServerKey) -> Self {
        Self {
            since: Instant::now(),
            from,
            is_failure: false,
        }
    }

    /// The server was lost.
    pub fn after(loss: &Loss, lost: &Wire, from: ServerKey) -> Self {
        Self {
            since: match loss {
                Loss::Silent => lost.heard,
                _ => Instant::now(),
            },
            from,
            is_failure: !matches!(loss, Loss::Over),
        }
    }
}

impl Carrier {
    /// The server has answered, or can be asked and nobody waits.
    pub(super) fn end_pause(&mut self) {
        let Some(pause) = self.pause.take() else {
            return;
        };
        let span = pause.since.elapsed();
        let view = self.worker.view();
        if let Some(routes) = view.routes(self.pool) {
            let slot = routes.pool.counters.slot(self.worker.index);
            match pause.is_failure {
                true => &slot.pauses_failure,
                false => &slot.pauses_move,
            }
            .record(span);
        }
        self.worker.tell(Fact::Moved(Moved {
            session: self.session.id,
            from: pause.from,
            to: self.session.server,
            pause: span,
        }));
    }
}
