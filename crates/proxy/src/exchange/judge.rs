//! What failed before an answer: try once more, or say so. Promise 4 is kept here.

use super::{Attempts, Exchange, SERVERS_MAX, TRIES_MAX, Verdict, asking};
use crate::forward::Failure;
use crate::pages::Page;
use crate::upstream::Lane;
use ebbtide_core::{Fact, ServerKey};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How long a second try waits for its turn at a server: half a second, as most requests are answered
/// within that, and users wait.
const TURN_PAUSE: Duration = Duration::from_millis(5);
const TURN_LOOKS: u32 = 100;

impl Exchange<'_> {
    /// What to do about a failure before the answer: promise 4 is kept here.
    pub(super) fn judge(&mut self, failure: Failure, attempts: &mut Attempts) -> Verdict {
        let upload = attempts.upload.as_ref();
        let begun = upload.is_some_and(|upload| upload.begun);
        let slot = self.slot();
        match failure {
            // A kept connection was stale, and no byte has left: that says nothing of the server.
            Failure::Lost if !begun && attempts.reused => {
                attempts.fresh = true;
                Verdict::TryAgain
            }
            Failure::Lost if begun => {
                slot.broken.add(1);
                // A kept connection may have been closed just when the request was on its way.
                if !attempts.reused {
                    self.count_failure(|slot| &slot.lost);
                }
                let untouched = upload.is_some_and(|upload| !upload.touched);
                let repeatable = self.request.is_idempotent && untouched;
                if repeatable && attempts.sent < TRIES_MAX && self.routes.memory.spend_retry() {
                    return self.send_again(attempts);
                }
                Verdict::Give(Page::BrokenOff)
            }
            Failure::Lost | Failure::NotConnected => self.judge_unreachable(attempts),
            // It may only be busy. A session that has just begun may as well begin elsewhere; one
            // that has work there stays, until probes say that the server is down.
            Failure::ConnectTimeout if self.is_new() => self.judge_unreachable(attempts),
            Failure::ConnectTimeout => {
                self.tell_unreachable();
                Verdict::Give(Page::ServerTimeout)
            }
            Failure::Busy => Verdict::Give(Page::Busy),
            Failure::BadAnswer => {
                slot.broken.add(1);
                self.count_failure(|slot| &slot.lost);
                Verdict::Give(Page::BadAnswer)
            }
            Failure::ServerTimeout => {
                slot.timeouts.add(1);
                self.count_failure(|slot| &slot.lost);
                Verdict::Give(Page::ServerTimeout)
            }
            Failure::ClientTimeout => Verdict::Give(Page::RequestTimeout),
            Failure::BadBody(reject) => {
                self.connection.worker.slot().reject(reject.reason());
                Verdict::Give(Page::Rejected(reject))
            }
            Failure::Cut => Verdict::Give(Page::SessionOver),
            Failure::ClientGone => Verdict::CloseConnection,
        }
    }

    /// Before a request is sent a second time: waits, for a while, until no other request is in its
    /// second try at that server. One that kills every server it reaches has two tries; so it takes
    /// no innocent one along at its second server that was lost with its first.
    pub(super) async fn take_turn(&mut self, attempts: &mut Attempts) {
        attempts.turn = None;
        if attempts.sent == 0 {
            return;
        }
        let index = self.placed.as_ref().map_or(0, |placed| placed.index);
        let load = Arc::clone(&self.routes.pool.servers[index].load);
        for _ in 0..TURN_LOOKS {
            attempts.turn = load.second_try();
            let pause = tokio::time::sleep(TURN_PAUSE);
            if attempts.turn.is_some() || self.connection.watch.run(pause).await.is_err() {
                return;
            }
        }
    }

    /// Sends once more what was lost. A session that has just begun has nothing to lose by beginning
    /// elsewhere, unless only a kept connection was stale.
    fn send_again(&mut self, attempts: &mut Attempts) -> Verdict {
        let lane = Rc::clone(self.lane());
        lane.slot().retries.add(1);
        attempts.fresh = true;
        if self.is_new() && !attempts.reused {
            attempts.failed.push(lane.key);
            if self.move_elsewhere(&attempts.failed) {
                return Verdict::TryAgain;
            }
        }
        Verdict::TryAgainSoon
    }

    /// Whether the session began with this very request.
    fn is_new(&self) -> bool {
        self.placed.as_ref().is_some_and(|placed| placed.is_new)
    }

    /// Has the server probed now; returns the way to it.
    pub(super) fn tell_unreachable(&self) -> Rc<Lane> {
        let lane = Rc::clone(self.lane());
        lane.slot().connect_failures.add(1);
        self.count_failure(|slot| &slot.lost);
        self.connection.worker.tell(Fact::ConnectFailed {
            pool: self.routes.pool.key,
            server: lane.key,
        });
        lane
    }

    /// The server takes no connection: its session moves, past others that take none either.
    fn judge_unreachable(&mut self, attempts: &mut Attempts) -> Verdict {
        let lane = self.tell_unreachable();
        attempts.failed.push(lane.key);
        let may_move = attempts.failed.len() < SERVERS_MAX;
        if may_move && self.move_elsewhere(&attempts.failed) {
            lane.slot().retries.add(1);
            // What may be sent only once more is not risked on a connection that may be stale.
            attempts.fresh = attempts.sent > 0;
            return Verdict::TryAgain;
        }
        Verdict::Give(match attempts.sent {
            0 => Page::Unreachable,
            _ => Page::BrokenOff,
        })
    }

    /// Moves the session to another server by the newest snapshot; `false` if there is none.
    fn move_elsewhere(&mut self, excluded: &[ServerKey]) -> bool {
        let view = self.connection.worker.view();
        let Some(routes) = view.routes(self.connection.pool).map(Rc::clone) else {
            return false;
        };
        let now = self.connection.worker.now();
        let Some(placed) = &self.placed else {
            return false;
        };
        let asking = asking((self.connection, self.client), &routes, &view, now);
        let Ok(moved) = asking.move_away(&placed.session, excluded) else {
            return false;
        };
        (self.view, self.routes) = (view, routes);
        self.settle(moved, now);
        true
    }
}
