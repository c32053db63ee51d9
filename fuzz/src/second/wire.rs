//! A connection in memory, of which a chosen part has arrived.

use hyper::rt::{Read, ReadBufCursor, Write};
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// What hyper may read of a connection; what it writes goes nowhere.
#[derive(Clone)]
pub(super) struct Wire(Rc<RefCell<State>>);

struct State {
    bytes: Vec<u8>,
    read: usize,
    arrived: usize,
    closed: bool,
}

impl Wire {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Wire(Rc::new(RefCell::new(State {
            bytes: bytes.to_vec(),
            read: 0,
            arrived: 0,
            closed: false,
        })))
    }

    /// Lets all bytes before `end` arrive.
    pub(super) fn arrive(&self, end: usize) {
        let mut state = self.0.borrow_mut();
        state.arrived = state.bytes.len().min(end).max(state.arrived);
    }

    /// The other side sends no more.
    pub(super) fn close(&self) {
        self.0.borrow_mut().closed = true;
    }
}

impl Read for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.0.borrow_mut();
        let end = state.arrived.min(state.read + buffer.remaining());
        if end == state.read {
            return match state.closed {
                true => Poll::Ready(Ok(())),
                false => Poll::Pending,
            };
        }
        buffer.put_slice(&state.bytes[state.read..end]);
        state.read = end;
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A future that is driven by hand.
pub(super) struct Task {
    /// `None` once it is done.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    flag: Arc<Flag>,
}

impl Task {
    pub(super) fn new(future: impl Future<Output = ()> + 'static) -> Self {
        Task {
            future: Some(Box::pin(future)),
            flag: Arc::new(Flag(AtomicBool::new(false))),
        }
    }

    /// Polls it once, and then for as long as something woke it.
    pub(super) fn poll(&mut self) {
        let waker = Waker::from(self.flag.clone());
        let mut context = Context::from_waker(&waker);
        while let Some(future) = &mut self.future {
            if future.as_mut().poll(&mut context).is_ready() {
                self.future = None;
            } else if !self.flag.0.swap(false, Ordering::Relaxed) {
                return;
            }
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.future.is_none()
    }

    /// Was it woken since it was polled?
    pub(super) fn is_woken(&self) -> bool {
        self.future.is_some() && self.flag.0.load(Ordering::Relaxed)
    }
}
