//! The one timer of a connection, and what may interrupt its waiting.

use crate::flight::Flight;
use ebbtide_core::Millis;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// A timer that is re-armed lazily: moving its target later costs no more than storing it, so that
/// a busy connection hardly ever touches the runtime's timers.
struct Timer {
    sleep: Pin<Box<Sleep>>,
    target: Instant,
}

impl Timer {
    fn new(span: Millis) -> Self {
        let target = Instant::now() + duration(span);
        Self {
            sleep: Box::pin(tokio::time::sleep_until(target)),
            target,
        }
    }

    fn set(&mut self, span: Millis) -> Instant {
        let now = Instant::now();
        self.target = now + duration(span);
        if self.sleep.deadline() > self.target || self.sleep.is_elapsed() {
            self.sleep.as_mut().reset(self.target);
        }
        now
    }

    fn poll(&mut self, context: &mut Context<'_>) -> bool {
        while self.sleep.as_mut().poll(context).is_ready() {
            if Instant::now() >= self.target {
                return true;
            }
            self.sleep.as_mut().reset(self.target);
        }
        false
    }
}

/// A span as the runtime takes it.
pub(crate) fn duration(span: Millis) -> Duration {
    Duration::from_millis(span.0)
}

/// Why a wait ended before what was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// The timer ran out.
    Timeout,
    /// The exchange may not go on: its session or its server is gone, or the program stops.
    Cut,
}

/// What watches over every wait of a connection.
pub(crate) struct Watch {
    timer: Timer,
    pub flight: Rc<Flight>,
}

impl Watch {
    /// Watches a connection; the timer runs out after `span`.
    pub fn new(flight: Rc<Flight>, span: Millis) -> Self {
        Self {
            timer: Timer::new(span),
            flight,
        }
    }

    /// The timer runs out after `span` from now; returns that.
    pub fn set(&mut self, span: Millis) -> Instant {
        self.timer.set(span)
    }

    /// Whether to stop waiting; if not, the task is woken when that changes.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Option<Interrupt> {
        // Time comes first: who says goodbye after a cut still has a limit.
        if self.timer.poll(context) {
            return Some(Interrupt::Timeout);
        }
        if self.flight.is_cut() {
            return Some(Interrupt::Cut);
        }
        self.flight.register(context.waker());
        None
    }

    /// Waits for `future`, unless interrupted.
    pub async fn run<F: Future>(&mut self, future: F) -> Result<F::Output, Interrupt> {
        let mut future = pin!(future);
        poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => match self.poll(context) {
                Some(interrupt) => Poll::Ready(Err(interrupt)),
                None => Poll::Pending,
            },
        })
        .await
    }
}
