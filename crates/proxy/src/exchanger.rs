//! The memory that an exchange itself needs, lent like its buffers.
//!
//! Of all that a connection does, an exchange has the largest state by far. In the connection's own
//! task that memory would be there while the connection rests, too. So one future works off exchanges,
//! one after the other, for whichever connection has borrowed it; that one's task polls it.

use crate::buffer::Scratch;
use crate::connection::{Connection, Next};
use crate::exchange::exchange;
use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

/// What an exchange is made with; it has both while it goes on.
pub(crate) type Job = (Box<Connection>, Box<Scratch>);

/// Works off exchanges, for one connection at a time.
pub(crate) struct Exchanger {
    desk: Rc<Desk>,
    work: Pin<Box<dyn Future<Output = Infallible>>>,
}

/// Where jobs are laid down and picked up.
#[derive(Default)]
struct Desk {
    job: Cell<Option<Job>>,
    done: Cell<Option<(Job, Next)>>,
}

impl Exchanger {
    pub fn new() -> Self {
        let desk = Rc::new(Desk::default());
        Self {
            work: Box::pin(work(Rc::clone(&desk))),
            desk,
        }
    }

    /// Serves the request whose head is held in the scratch.
    pub async fn serve(&mut self, job: Job) -> (Job, Next) {
        self.desk.job.set(Some(job));
        poll_fn(|context| {
            let Poll::Pending = self.work.as_mut().poll(context);
            match self.desk.done.take() {
                Some(done) => Poll::Ready(done),
                None => Poll::Pending,
            }
        })
        .await
    }
}

async fn work(desk: Rc<Desk>) -> Infallible {
    loop {
        let (mut connection, mut scratch) = poll_fn(|_| match desk.job.take() {
            Some(job) => Poll::Ready(job),
            // Whoever brings the next one looks here first.
            None => Poll::Pending,
        })
        .await;
        let next = exchange(&mut connection, &mut scratch).await;
        desk.done.set(Some(((connection, scratch), next)));
    }
}
