//! One attempt at an exchange with a server: the request goes up while the answer comes down.

use crate::buffer::Scratch;
use crate::flight::Move;
use crate::relay::{Broken, Half};
use crate::timer::{Interrupt, Watch};
use ebbtide_core::{HttpSettings, Millis, ServerSlot, Session};
use ebbtide_protocol::http1::{
    Limits, Parsed, Reject, ResponseHead, Version, parse_response, write_interim,
};
use std::future::poll_fn;
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Interim answers that may wait for a client who does not read, in bytes.
const INTERIM_BYTES_MAX: usize = 64 * 1024;

/// An answer that another server can go on with waits so long for one that is down. One that is merely
/// slow to say that it is well has sent something by then.
const PATIENCE_WHEN_DOWN: Millis = Millis(500);

/// Why an attempt ended without a final answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The server did not take the connection: no byte has left.
    NotConnected,
    /// The server did not answer the wish to connect in time: no byte has left.
    ConnectTimeout,
    /// There is no connection to be had, for no fault of the server's.
    Busy,
    /// The connection broke before a byte of an answer.
    Lost,
    /// The answer cannot be understood, or broke off within its head.
    BadAnswer,
    /// The server took too long.
    ServerTimeout,
    /// The client took too long with its body.
    ClientTimeout,
    /// The client is gone.
    ClientGone,
    /// The client's body is malformed.
    BadBody(Reject),
    /// The session, or its server, is over.
    Cut,
}

/// Why an answer's body did not get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFailure {
    /// The server broke off, or its framing is wrong.
    Server,
    /// Nothing moved for too long.
    Timeout,
    /// The client is gone.
    ClientGone,
    /// The session, or its server, is over.
    Cut,
    /// An operator wants it from another server.
    Wanted(Move),
}

/// Where the bytes of an exchange are counted while they pass.
pub(crate) struct Meter<'a> {
    pub server: &'a ServerSlot,
    pub session: Option<&'a Session>,
}

impl Meter<'_> {
    /// Counts what has passed since the last time.
    pub fn count(&self, upload: &mut Half, download: Option<&mut Half>) {
        let up = upload.uncounted();
        let down = download.map_or(0, Half::uncounted);
        self.server.bytes_up.add(up);
        self.server.bytes_down.add(down);
        if let Some(session) = self.session {
            session.add_bytes(up + down);
        }
    }
}

/// The two connections of an exchange, and what lies between them.
pub(crate) struct Forward<'a> {
    pub client: &'a mut TcpStream,
    pub server: &'a mut TcpStream,
    pub watch: &'a mut Watch,
    pub meter: Meter<'a>,
    pub scratch: &'a mut Scratch,
    pub http: &'a HttpSettings,
    pub limits: Limits,
    pub upload: &'a mut Half,
    pub state: UploadState,
    /// The client waits for a 100 before it sends its body.
    pub expecting: bool,
    /// An interim answer has come: the request has arrived, and is not sent again.
    pub arrived: bool,
    /// It is for the rest of an answer, which others may have too.
    pub is_for_rest: bool,
    pub request_is_head: bool,
    pub client_version: Version,
    /// When the server had the request, as far as it has it.
    pub asked: Option<Instant>,
    /// When its answer's body had to be waited for.
    pub waited: Option<Instant>,
}

/// How far the request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UploadState {
    /// On its way.
    Going,
    /// The server has all of it.
    Done,
    /// It is not going to be finished.
    GivenUp,
}

impl Forward<'_> {
    /// Sends the request and waits for the final answer's head, which is then at the front of the
    /// scratch's `outbound`. Interim answers are passed on.
    pub async fn await_answer(&mut self, has_body: bool) -> Result<(), Failure> {
        self.asked = Some(self.watch.set(match has_body {
            true => self.http.body_timeout,
            false => self.http.response_timeout,
        }));
        poll_fn(|context| self.poll_answer(context)).await
    }

    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if let Err(failure) = self.poll_upload(context) {
            return Poll::Ready(Err(failure));
        }
        loop {
            match self.scratch.to_client.poll_flush(context, self.client) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Failure::ClientGone)),
                Poll::Pending if self.scratch.to_client.rest().len() > INTERIM_BYTES_MAX => break,
                Poll::Pending => {}
            }
            let outbound = &mut self.scratch.outbound;
            let read = outbound.poll_fill(context, self.server, self.limits.head_bytes);
            match read {
                Poll::Ready(Ok(bytes)) if bytes > 0 => {}
                Poll::Ready(_) => return Poll::Ready(Err(self.server_closed())),
                Poll::Pending => break,
            }
            match self.take_heads() {
                Ok(true) => return Poll::Ready(Ok(())),
                Ok(false) => {}
                Err(_) => return Poll::Ready(Err(Failure::BadAnswer)),
            }
        }
        match self.watch.poll(context) {
            None if self.is_for_rest && self.watch.flight.is_stranded() => {
                Poll::Ready(Err(Failure::ServerTimeout))
            }
            None => Poll::Pending,
            Some(Interrupt::Cut) => Poll::Ready(Err(Failure::Cut)),
            Some(Interrupt::Timeout) => Poll::Ready(Err(self.who_is_late())),
        }
    }

    /// Waits for more of the answer, whose head lies at the front of `outbound`, until it is enough, or
    /// as much as `bytes_max`, or all that comes. What is left of the request goes up meanwhile.
    pub async fn await_body(
        &mut self,
        bytes_max: usize,
        is_enough: impl Fn(&[u8], &ResponseHead) -> bool,
    ) -> Result<(), Failure> {
        self.watch.set(self.http.body_timeout);
        poll_fn(|context| {
            if self.poll_upload(context).is_err() {
                self.state = UploadState::GivenUp;
            }
            let Scratch {
                outbound, response, ..
            } = &mut *self.scratch;
            while outbound.filled().len() < bytes_max && !is_enough(outbound.filled(), response) {
                match outbound.poll_fill(context, self.server, bytes_max) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Ok(())),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Failure::BadAnswer)),
                    Poll::Pending => {
                        return match self.watch.poll(context) {
                            None => Poll::Pending,
                            Some(Interrupt::Cut) => Poll::Ready(Err(Failure::Cut)),
                            Some(Interrupt::Timeout) => Poll::Ready(Err(Failure::ServerTimeout)),
                        };
                    }
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    fn server_closed(&self) -> Failure {
        match self.scratch.outbound.is_empty() && !self.arrived {
            true => Failure::Lost,
            false => Failure::BadAnswer,
        }
    }

    fn who_is_late(&self) -> Failure {
        let awaits_client = self.state == UploadState::Going && self.upload.starved;
        // A client that waits for a 100 is not late: the server is, which has not sent it.
        let awaits_100 = self.expecting && !self.upload.touched;
        match awaits_client && !awaits_100 {
            true => Failure::ClientTimeout,
            false => Failure::ServerTimeout,
        }
    }

    /// Parses what the server has sent; whether the final head is there.
    fn take_heads(&mut self) -> Result<bool, Reject> {
        let Scratch {
            outbound,
            response,
            to_client,
            ..
        } = &mut *self.scratch;
        loop {
            let head = outbound.filled();
            match parse_response(head, &self.limits, self.request_is_head, response)? {
                Parsed::Partial => return Ok(false),
                Parsed::Complete if response.status >= 200 || response.status == 101 => {
                    return Ok(true);
                }
                Parsed::Complete => {
                    if self.client_version == Version::Http11 {
                        write_interim(&mut to_client.bytes, head, response);
                    }
                    self.expecting &= response.status != 100;
                    self.arrived = true;
                    outbound.consume(response.head_bytes);
                }
            }
        }
    }

    /// Moves the request on. A server that does not take it any more may have answered already, so
    /// that is no failure yet.
    fn poll_upload(&mut self, context: &mut Context<'_>) -> Result<(), Failure> {
        if self.state != UploadState::Going {
            return Ok(());
        }
        let Scratch {
            inbound, to_server, ..
        } = &mut *self.scratch;
        let polled = self.upload.poll(
            context,
            (&mut *self.client, inbound),
            (&mut *self.server, to_server),
        );
        let had_body = self.upload.touched;
        match polled {
            Poll::Ready(Ok(())) => {
                self.state = UploadState::Done;
                if had_body {
                    self.asked = Some(self.watch.set(self.http.response_timeout));
                }
            }
            Poll::Ready(Err(Broken::Sink)) => self.state = UploadState::GivenUp,
            Poll::Ready(Err(Broken::Source)) => return Err(Failure::ClientGone),
            Poll::Ready(Err(Broken::Malformed(reject))) => return Err(Failure::BadBody(reject)),
            Poll::Pending => {
                if std::mem::take(&mut self.upload.moved) && had_body {
                    self.watch.set(self.http.body_timeout);
                    self.meter.count(self.upload, None);
                }
            }
        }
        Ok(())
    }

    /// Passes the answer on, while what is left of the request still goes up. If another server
    /// `can_resume` it, one that is down is not waited for.
    pub async fn relay_answer(
        &mut self,
        download: &mut Half,
        can_resume: bool,
    ) -> Result<(), BodyFailure> {
        let mut waited = None;
        poll_fn(|context| {
            if self.poll_upload(context).is_err() {
                self.state = UploadState::GivenUp;
            }
            let Scratch {
                outbound,
                to_client,
                ..
            } = &mut *self.scratch;
            let polled = download.poll(
                context,
                (&mut *self.server, outbound),
                (&mut *self.client, to_client),
            );
            match polled {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(Broken::Sink)) => {
                    return Poll::Ready(Err(BodyFailure::ClientGone));
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Err(BodyFailure::Server)),
                Poll::Pending => {}
            }
            if can_resume && let Some(wish) = self.watch.flight.take_wish() {
                return Poll::Ready(Err(BodyFailure::Wanted(wish)));
            }
            let in_haste = can_resume && download.starved && self.watch.flight.is_stranded();
            let has_moved = std::mem::take(&mut download.moved);
            let is_first = waited.is_none();
            if has_moved || waited != Some(in_haste) {
                waited = Some(in_haste);
                let limit = self.http.body_timeout;
                let now = self.watch.set(match in_haste {
                    true => limit.min(PATIENCE_WHEN_DOWN),
                    false => limit,
                });
                self.waited = self.waited.or(Some(now));
                if has_moved || is_first {
                    download.heard = Some(now);
                    self.meter.count(self.upload, Some(&mut *download));
                }
            }
            match self.watch.poll(context) {
                None => Poll::Pending,
                Some(Interrupt::Cut) => Poll::Ready(Err(BodyFailure::Cut)),
                Some(Interrupt::Timeout) => Poll::Ready(Err(BodyFailure::Timeout)),
            }
        })
        .await
    }
}
