//! The way of large bodies: from socket to socket within the kernel, through a pipe (splice(2)).
//! Their bytes never come into this program, which is most of what they cost otherwise.

use crate::descriptors::Descriptors;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Less than this to come is copied, in bytes: it is in the buffer after one reading more.
const SPLICE_BYTES_MIN: u64 = 16 * 1024;
/// What a pipe holds, in bytes. With the 64 KiB that a pipe has at first, a body takes as many system
/// calls as copying it.
const PIPE_BYTES: usize = 1024 * 1024;
/// Pipes of all workers together. Linux lets a user have 64 MiB in pipes, as a rule, and makes any
/// further one tiny, whatever it is for: these are 48 MiB.
const PIPES_MAX: usize = 48;

/// A worker's pipes.
pub(crate) struct Pipes {
    /// Empty ones, for later.
    idle: RefCell<Vec<Ends>>,
    /// All, lent or not.
    open: Cell<u64>,
    open_max: u64,
    /// The system does not splice: all is copied.
    refused: Cell<bool>,
    descriptors: Rc<Descriptors>,
}

struct Ends {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipes {
    /// No pipes yet, for one of so many workers; they will count in `descriptors`, and use few.
    pub fn new(descriptors: Rc<Descriptors>, workers: usize) -> Self {
        let share = PIPES_MAX / workers.max(1);
        Self {
            idle: RefCell::default(),
            open: Cell::new(0),
            open_max: descriptors.pipes_max().min(share as u64),
            refused: Cell::new(false),
            descriptors,
        }
    }

    /// Lends an empty pipe for a body of which `bytes` are to come, if it is worth one, and there
    /// is one.
    pub fn lend(self: &Rc<Self>, bytes: u64) -> Option<Pipe> {
        if bytes < SPLICE_BYTES_MIN || self.refused.get() {
            return None;
        }
        let kept = self.idle.borrow_mut().pop();
        let ends = match kept {
            Some(ends) => ends,
            None => self.open()?,
        };
        Some(Pipe {
            ends: Some(ends),
            filled: 0,
            pipes: Rc::clone(self),
        })
    }

    fn open(&self) -> Option<Ends> {
        if self.open.get() >= self.open_max || !self.descriptors.has_room() {
            return None;
        }
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        // A user may have only so much in pipes.
        fcntl_setpipe_size(&write, PIPE_BYTES).ok()?;
        self.open.set(self.open.get() + 1);
        (0..2).for_each(|_| self.descriptors.take());
        Some(Ends { read, write })
    }

    fn take_back(&self, ends: Ends, is_empty: bool) {
        if is_empty {
            self.idle.borrow_mut().push(ends);
            return;
        }
        drop(ends);
        self.open.set(self.open.get() - 1);
        (0..2).for_each(|_| self.descriptors.give_back());
    }
}

/// A pipe that is lent. What it holds belongs to one body: if any of it is left in the end, the
/// pipe is closed, so that it can reach nobody else.
pub(crate) struct Pipe {
    /// There until it is dropped.
    ends: Option<Ends>,
    filled: usize,
    pipes: Rc<Pipes>,
}

impl Drop for Pipe {
    fn drop(&mut self) {
        if let Some(ends) = self.ends.take() {
            self.pipes.take_back(ends, self.filled == 0);
        }
    }
}

impl Pipe {
    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Takes at most `bytes_max` from `source` into the empty pipe. 0 means that the peer has closed
    /// its side; [`io::ErrorKind::Unsupported`], with nothing taken, that the system does not do it.
    pub fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        source: &TcpStream,
        bytes_max: u64,
    ) -> Poll<io::Result<usize>> {
        let Some(ends) = self.ends.as_ref().filter(|_| self.filled == 0) else {
            return Poll::Ready(Err(io::ErrorKind::InvalidInput.into()));
        };
        let bytes_max = usize::try_from(bytes_max).map_or(PIPE_BYTES, |max| max.min(PIPE_BYTES));
        let filled = loop {
            ready!(source.poll_read_ready(context))?;
            let take = || step(splice(source, None, &ends.write, None, bytes_max, HOW));
            if let Some(done) = settled(source.try_io(Interest::READABLE, take)) {
                break done;
            }
        };
        match filled {
            Ok(bytes) => self.filled = bytes,
            Err(ref error) if error.kind() == io::ErrorKind::Unsupported => {
                self.pipes.refused.set(true);
            }
            Err(_) => {}
        }
        Poll::Ready(filled)
    }

    /// Gives `sink` some of what it holds; returns how many bytes.
    pub fn poll_empty(
        &mut self,
        context: &mut Context<'_>,
        sink: &TcpStream,
    ) -> Poll<io::Result<usize>> {
        let Some(ends) = &self.ends else {
            return Poll::Ready(Err(io::ErrorKind::InvalidInput.into()));
        };
        let emptied = loop {
            ready!(sink.poll_write_ready(context))?;
            let give = || step(splice(&ends.read, None, sink, None, self.filled, HOW));
            if let Some(done) = settled(sink.try_io(Interest::WRITABLE, give)) {
                break done;
            }
        };
        match emptied {
            Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Ok(bytes) => self.filled -= bytes,
            Err(_) => {}
        }
        Poll::Ready(emptied)
    }
}

const HOW: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);

/// The ways in which systems say that they do not splice become one.
fn step(spliced: Result<usize, Errno>) -> io::Result<usize> {
    spliced.map_err(|errno| match errno {
        Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM => {
            io::ErrorKind::Unsupported.into()
        }
        other => other.into(),
    })
}

/// What came of it, unless it is to be tried again.
fn settled(spliced: io::Result<usize>) -> Option<io::Result<usize>> {
    use io::ErrorKind::{Interrupted, WouldBlock};
    let again = |error: &io::Error| matches!(error.kind(), Interrupted | WouldBlock);
    (!spliced.as_ref().is_err_and(again)).then_some(spliced)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipes() -> Rc<Pipes> {
        Rc::new(Pipes::new(Rc::new(Descriptors::of_one_of(1)), 1))
    }

    #[test]
    fn a_small_body_gets_no_pipe() {
        let pipes = pipes();
        assert!(pipes.lend(SPLICE_BYTES_MIN - 1).is_none());
        assert!(pipes.lend(SPLICE_BYTES_MIN).is_some());
    }

    #[test]
    fn there_are_only_so_many_and_empty_ones_are_lent_again() {
        let pipes = pipes();
        let lent: Vec<_> = std::iter::from_fn(|| pipes.lend(u64::MAX)).collect();
        assert_eq!(lent.len() as u64, pipes.open_max);
        drop(lent);
        assert_eq!(pipes.open.get(), pipes.open_max);
        assert!(pipes.lend(u64::MAX).is_some());
    }

    #[test]
    fn what_is_left_in_a_pipe_reaches_nobody_else() {
        let pipes = pipes();
        let mut pipe = pipes.lend(u64::MAX).expect("a pipe");
        pipe.filled = 1;
        drop(pipe);
        assert_eq!((pipes.open.get(), pipes.idle.borrow().len()), (0, 0));
    }
}
