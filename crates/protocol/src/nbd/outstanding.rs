//! A request that is not wholly answered.

use std::ops::Range;

use super::coverage::Coverage;
use super::{Command, ErrorNumber, ReplyFault, Request, command_flag};

/// A request that was sent, and what has come of its reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outstanding {
    request: Request,
    /// Of a read; empty for everything else.
    coverage: Coverage,
    /// Data and holes so far.
    has_content: bool,
    has_status: bool,
    error: Option<ErrorNumber>,
}

impl Outstanding {
    pub(super) fn new(request: Request) -> Self {
        let end = match request.command {
            // A server answers a read beyond the last number with an error, and this needs no room.
            Command::Read => request.end().unwrap_or(request.offset),
            _ => request.offset,
        };
        Outstanding {
            request,
            coverage: Coverage::new(request.offset, end),
            has_content: false,
            has_status: false,
            error: None,
        }
    }

    /// The request as it was sent.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The first error that came, if one did: the reply goes on, but the request failed.
    pub fn error(&self) -> Option<ErrorNumber> {
        self.error
    }

    /// The bytes of a read of which neither data nor a hole was announced, in order. Of announced
    /// data, what has not come is [`ReplyReader::under_way`](super::ReplyReader::under_way).
    pub fn missing(&self) -> impl Iterator<Item = Range<u64>> {
        self.coverage.missing()
    }

    /// A piece of a read's answer.
    pub(super) fn content(&mut self, offset: u64, length: u32) -> Result<(), ReplyFault> {
        if self.request.flags & command_flag::DF != 0 && self.has_content {
            return Err(ReplyFault::Fragmented);
        }
        self.has_content = true;
        self.coverage.add(offset, length)
    }

    /// Block status of the one context.
    pub(super) fn status(&mut self, extents: u32) -> Result<(), ReplyFault> {
        if self.has_status {
            return Err(ReplyFault::RepeatedContext);
        }
        if self.request.flags & command_flag::REQ_ONE != 0 && extents != 1 {
            return Err(ReplyFault::BadExtents);
        }
        self.has_status = true;
        Ok(())
    }

    pub(super) fn failed(&mut self, error: ErrorNumber, at: Option<u64>) -> Result<(), ReplyFault> {
        let (start, length) = (self.request.offset, u64::from(self.request.length));
        // Section "Structured reply types", `NBD_REPLY_TYPE_ERROR_OFFSET`.
        if at.is_some_and(|at| at < start || at - start >= length) {
            return Err(ReplyFault::OutsideRequest);
        }
        self.error.get_or_insert(error);
        Ok(())
    }

    /// Whether the reply may end here: nothing is missing, or an error was told.
    pub(super) fn check_end(&self) -> Result<(), ReplyFault> {
        let is_complete = match self.request.command {
            Command::BlockStatus => self.has_status,
            _ => self.coverage.is_complete(),
        };
        match is_complete || self.error.is_some() {
            true => Ok(()),
            false => Err(ReplyFault::Incomplete),
        }
    }
}
