//! The transmission: requests from the client, answers from whichever server has its session.
//!
//! A planned move has two servers for a moment: one that is asked from now on, and one that still
//! answers what it was asked before. Each reply is passed on whole before another one begins.

use super::End;
use super::join::{Connected, Found, Goal};
use super::ledger::Ledger;
use super::pause::Pause;
use super::trial::Turn;
use super::wire::{Down, Wire};
use crate::flight::Phase;
use crate::routing::Placed;
use crate::timer::{Interrupt, Watch};
use crate::view::Routes;
use crate::worker::Worker;
use ebbtide_core::{
    Attachment, DoorPass, Fact, Identity, Millis, PoolKey, ServerKey, Session, Stay,
};
use ebbtide_protocol::nbd::{
    Command, Negotiated, PAYLOAD_BYTES_MAX, REQUEST_BYTES, Request, transmission_flag, write_error,
};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// Refusals of ours that may wait for the client to read them, in bytes.
const REFUSALS_BYTES_MAX: usize = 64 * 1024;
/// What one reading of requests brings at most, in bytes.
const REQUESTS_BYTES: usize = 4096;
/// Turns before others of the worker have theirs.
const TURNS_MAX: u32 = 16;

/// A session and its server, as the transmission begins and ends.
pub(super) struct Seat {
    pub routes: Rc<Routes>,
    pub placed: Placed,
    pub stay: Stay,
    pub goal: Goal,
    /// What the server's copy was known by when the session began; `None`: nothing can stand in.
    pub began_on: Option<Identity>,
    /// If that was not known yet: since when the copy is being read (`CopyView::watch`).
    pub watch: Option<u64>,
    /// The door that an operator has come through.
    pub door: Option<DoorPass>,
    /// What was agreed on with it.
    pub first: Negotiated,
}

/// A request's payload on its way to the server, or nowhere.
#[derive(Default)]
struct Upload {
    rest: u32,
    is_refused: bool,
}

/// A transmission.
pub(super) struct Carrier {
    pub(super) worker: Rc<Worker>,
    pub(super) pool: PoolKey,
    pub(super) session: Arc<Session>,
    pub(super) stay: Stay,
    pub(super) goal: Goal,
    pub(super) began_on: Option<Identity>,
    /// As in [`Seat`].
    pub(super) copy_watch: Option<u64>,
    /// The door that an operator has come through; it counts its connections.
    pub(super) door: Option<DoorPass>,
    pub(super) first: Negotiated,
    /// What was agreed on with the client.
    agreed: Negotiated,
    /// The server that is asked.
    pub(super) wire: Option<Wire>,
    /// One that still answers what it was asked before.
    pub(super) leaving: Option<Wire>,
    pub(super) ledger: Ledger,
    pub(super) turn_to_try: Turn,
    down: Down,
    /// Answers of ours, for when no reply is under way.
    pub(super) refusals: Vec<u8>,
    /// From the client, and not looked at.
    inbox: Vec<u8>,
    upload: Upload,
    /// The client sends no more.
    is_over: bool,
    /// The client does not read.
    pub(super) is_blocked: bool,
    pub(super) search: Option<Pin<Box<dyn Future<Output = Option<Found>>>>>,
    /// The generation of the snapshot that was looked at.
    pub(super) seen: u64,
    /// The session is to leave its server, sooner or later.
    pub(super) is_leaving: bool,
    /// When the present server must be left, whatever it still owes.
    pub(super) leave_by: Option<Pin<Box<Sleep>>>,
    /// The same of the one that was left.
    pub(super) left_by: Option<Pin<Box<Sleep>>>,
    /// When to search again.
    pub(super) retry: Option<Pin<Box<Sleep>>>,
    /// Servers that have failed lately, and when.
    pub(super) failed: Vec<(ServerKey, Instant)>,
    /// The session has no server to ask, or the one that it has now has not answered yet.
    pub(super) pause: Option<Pause>,
    /// Until when a server that can stand in is waited for.
    pub(super) patience: Option<Instant>,
    /// The servers that answered have been silent for no longer than this.
    pub(super) silence_max: Millis,
    pub(super) bytes_up: u64,
    /// The generation of the snapshot in which it was told that the copy is written; 0: not yet.
    write_told: u64,
    bytes_seen: u64,
    turns: u64,
}

impl Carrier {
    /// Begins with a server that is ready to be asked, and with what the client has sent already.
    pub fn new(
        worker: Rc<Worker>,
        seat: Seat,
        (connected, agreed): (Connected, Negotiated),
        inbox: Vec<u8>,
    ) -> Self {
        let config = &seat.routes.pool.config;
        Self {
            pool: seat.routes.pool.key,
            silence_max: config.http.response_timeout,
            stay: seat.stay,
            goal: seat.goal,
            began_on: seat.began_on,
            copy_watch: seat.watch,
            door: seat.door,
            first: seat.first,
            wire: Some(Wire::new(
                connected,
                seat.placed.session.epoch,
                agreed.structured_replies,
            )),
            session: seat.placed.session,
            agreed,
            worker,
            leaving: None,
            ledger: Ledger::default(),
            turn_to_try: Turn::default(),
            down: Down::default(),
            refusals: Vec::new(),
            inbox,
            upload: Upload::default(),
            is_over: false,
            is_blocked: false,
            search: None,
            seen: 0,
            is_leaving: false,
            leave_by: None,
            left_by: None,
            retry: None,
            failed: Vec::new(),
            pause: None,
            patience: None,
            bytes_up: 0,
            write_told: 0,
            bytes_seen: 0,
            turns: 0,
        }
    }

    /// Bytes that have gone to the client.
    pub fn bytes_down(&self) -> u64 {
        self.down.bytes
    }

    /// Carries requests and answers until one side, or time, ends it.
    pub async fn run(&mut self, client: &mut TcpStream, watch: &mut Watch) -> End {
        watch.set(self.silence_max);
        self.attach(watch);
        if let Some(wire) = &self.wire {
            wire.upstream.lane.slot().tunnels.add(1);
        }
        let end = poll_fn(|context| self.poll(context, client, watch)).await;
        for wire in [self.wire.take(), self.leaving.take()]
            .into_iter()
            .flatten()
        {
            self.close(wire);
        }
        end
    }

    /// Says what the session uses, and whether it may go on elsewhere.
    pub(super) fn attach(&self, watch: &Watch) {
        self.session.attach(Attachment {
            resource: self.goal.resource.clone(),
            began_on: self.began_on.clone(),
        });
        if self.began_on.is_some() {
            watch.flight.enter(Phase::Replica, &self.session);
        }
    }

    /// Whether the client may write, as far as it was told.
    pub(super) fn may_write(&self) -> bool {
        !self.agreed.export.has(transmission_flag::READ_ONLY)
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
        client: &mut TcpStream,
        watch: &mut Watch,
    ) -> Poll<End> {
        for _ in 0..TURNS_MAX {
            let turns = self.turns;
            let turned = self
                .look(watch)
                .and_then(|()| self.poll_search(context, watch))
                .and_then(|()| self.poll_down(context, client))
                .and_then(|()| self.poll_up(context, client));
            self.count();
            if let Err(end) = turned {
                return Poll::Ready(end);
            }
            if self.is_over && self.ledger.is_empty() && self.is_all_said() {
                return Poll::Ready(End::Closed);
            }
            match watch.poll(context) {
                Some(Interrupt::Cut) => return Poll::Ready(End::Cut),
                Some(Interrupt::Timeout) => {
                    if let Err(end) = self.check_silence(watch) {
                        return Poll::Ready(end);
                    }
                    self.turn();
                }
                None if turns == self.turns => return self.poll_times(context),
                None => {}
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether the client takes answers in chunks.
    pub(super) fn in_chunks(&self) -> bool {
        self.agreed.structured_replies
    }

    /// Gives back memory that is not in use.
    pub(super) fn rest(&mut self) {
        for bytes in [
            &mut self.down.outbox.bytes,
            &mut self.inbox,
            &mut self.refusals,
        ] {
            if bytes.is_empty() {
                *bytes = Vec::new();
            }
        }
    }

    /// Something has happened: there may be more to do.
    pub(super) fn turn(&mut self) {
        self.turns += 1;
    }

    fn is_all_said(&self) -> bool {
        self.refusals.is_empty() && self.down.is_empty()
    }

    /// Whether a reply has begun that has not ended: nothing else may go to the client.
    fn is_within_reply(&self) -> bool {
        let is_within = |wire: &Option<Wire>| wire.as_ref().is_some_and(Wire::is_within_payload);
        is_within(&self.wire) || is_within(&self.leaving) || self.ledger.is_within_payload()
    }

    /// Counts what has gone to the client since the last time.
    fn count(&mut self) {
        let bytes = self.down.bytes - std::mem::replace(&mut self.bytes_seen, self.down.bytes);
        if bytes == 0 {
            return;
        }
        self.session.add_bytes(bytes);
        if let Some(wire) = &self.wire {
            wire.upstream.lane.slot().bytes_down.add(bytes);
        }
    }

    /// Passes answers on, as far as the client takes them.
    fn poll_down(&mut self, context: &mut Context<'_>, client: &mut TcpStream) -> Result<(), End> {
        loop {
            match self.down.poll_flush(context, client) {
                Poll::Ready(Ok(())) if self.is_blocked => {
                    self.is_blocked = false;
                    self.forgive_silence();
                }
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Err(End::Broken),
                Poll::Pending => {
                    self.is_blocked = true;
                    if self.wire.is_some() {
                        // Whoever does not read waits for no server.
                        self.end_pause();
                    }
                    return Ok(());
                }
            }
            if !self.refusals.is_empty() && !self.is_within_reply() {
                self.down.outbox.bytes.append(&mut self.refusals);
            } else if !self.poll_wires(context)? {
                return Ok(());
            }
            self.turn();
        }
    }

    /// Reads from a server whose turn it is; `false` if nothing came.
    fn poll_wires(&mut self, context: &mut Context<'_>) -> Result<bool, End> {
        for is_leaving in [true, false] {
            let (this, other) = match is_leaving {
                true => (&mut self.leaving, &self.wire),
                false => (&mut self.wire, &self.leaving),
            };
            let is_others_turn = other.as_ref().is_some_and(Wire::is_within_payload)
                || (is_leaving && self.ledger.is_within_payload());
            let Some(wire) = this.as_mut().filter(|_| !is_others_turn) else {
                continue;
            };
            match wire.poll_read(context, &self.worker, &mut self.ledger, &mut self.down) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => {
                    if is_leaving && !wire.is_asked() {
                        self.has_left();
                    } else if !is_leaving {
                        self.end_pause();
                    }
                    return Ok(true);
                }
                Poll::Ready(Err(loss)) => {
                    self.lose(is_leaving, &loss)?;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Takes requests, and sends them on.
    fn poll_up(&mut self, context: &mut Context<'_>, client: &mut TcpStream) -> Result<(), End> {
        loop {
            if !self.poll_ask(context)? || self.is_over {
                return Ok(());
            }
            if !self.inbox.is_empty() && self.has_room() {
                let inbox = std::mem::take(&mut self.inbox);
                let taken = self.take(&inbox)?;
                self.inbox.extend_from_slice(&inbox[taken..]);
                if taken > 0 {
                    self.turn();
                    continue;
                }
            }
            if !self.has_room() || self.is_over || !self.poll_read(context, client)? {
                return Ok(());
            }
            self.turn();
        }
    }

    /// Sends what is to be sent; `false` if a server does not take it.
    fn poll_ask(&mut self, context: &mut Context<'_>) -> Result<bool, End> {
        let is_free = !self.ledger.is_mending()
            || !self.leaving.as_ref().is_some_and(Wire::is_within_payload);
        let may_try = self.poll_turn(context);
        for is_leaving in [true, false] {
            let wire = match is_leaving {
                true => &mut self.leaving,
                false => &mut self.wire,
            };
            let Some(wire) = wire else { continue };
            if !is_leaving && is_free && self.upload.rest == 0 {
                wire.ask(&mut self.ledger, &mut self.down, may_try);
            }
            match wire.poll_flush(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Pending => return Ok(false),
                Poll::Ready(Err(loss)) => {
                    self.lose(is_leaving, &loss)?;
                    self.turn();
                }
            }
        }
        Ok(true)
    }

    /// Whether the present server may be asked for something that another one was lost with.
    fn poll_turn(&mut self, context: &mut Context<'_>) -> bool {
        let wants = self.ledger.wants_trial();
        // A client that does not read must not keep others waiting.
        if self.is_blocked || !(wants || self.ledger.is_on_trial()) {
            self.turn_to_try.pass_on();
        }
        let Some(wire) = self.wire.as_ref().filter(|_| wants && !self.is_blocked) else {
            return false;
        };
        let server = (self.pool, wire.upstream.lane.key);
        self.turn_to_try.poll(context, &self.worker.turns, server)
    }

    fn has_room(&self) -> bool {
        self.ledger.has_room() && self.refusals.len() < REFUSALS_BYTES_MAX
    }

    /// Reads from the client; `false` if nothing came.
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        client: &mut TcpStream,
    ) -> Result<bool, End> {
        let worker = Rc::clone(&self.worker);
        let mut shared = worker.copy_buffer.borrow_mut();
        let kept = self.inbox.len();
        let room = match self.upload.rest {
            0 => kept + REQUESTS_BYTES,
            _ => shared.len(),
        };
        let room = room.min(shared.len());
        let mut room = ReadBuf::new(&mut shared[kept..room]);
        match Pin::new(client).poll_read(context, &mut room) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Err(_)) => return Err(End::Broken),
            Poll::Ready(Ok(())) => {}
        }
        let read = room.filled().len();
        if read == 0 {
            self.is_over = true;
            return Ok(true);
        }
        self.session.touch(worker.now().moment);
        shared[..kept].copy_from_slice(&self.inbox);
        let bytes = &shared[..kept + read];
        let taken = self.take(bytes)?;
        self.inbox.clear();
        self.inbox.extend_from_slice(&bytes[taken..]);
        Ok(true)
    }

    /// Takes what came from the client, as far as there is room; returns how much is done with.
    fn take(&mut self, bytes: &[u8]) -> Result<usize, End> {
        let mut taken = 0;
        loop {
            let rest = &bytes[taken..];
            if self.upload.rest > 0 {
                let piece = &rest[..rest.len().min(self.upload.rest as usize)];
                if piece.is_empty() {
                    return Ok(taken);
                }
                self.upload.rest -= piece.len() as u32;
                taken += piece.len();
                self.upload(piece);
                continue;
            }
            if !self.has_room() || self.is_over {
                return Ok(taken);
            }
            match Request::parse(rest) {
                Ok(None) => return Ok(taken),
                Ok(Some(request)) => {
                    taken += REQUEST_BYTES;
                    self.request(request)?;
                }
                Err(_) => {
                    self.worker.slot().reject("nbd-bad-request-magic");
                    return Err(End::Broken);
                }
            }
        }
    }

    /// Has the copy taken for another one than it is known to be, whenever that is known.
    fn tell_of_write(&mut self) {
        let view = self.worker.view();
        let server = self.session.server;
        let resource = view
            .routes(self.pool)
            .and_then(|routes| routes.pool.replicas.resource(&self.goal.resource));
        let copy = resource.and_then(|resource| resource.copy(server));
        let is_known = copy.is_some_and(|copy| copy.knowledge.identity().is_some());
        let generation = view.snapshot.generation;
        if self.write_told == 0 || (is_known && self.write_told != generation) {
            self.write_told = generation;
            self.worker.tell(Fact::CopyWritten {
                pool: self.pool,
                server,
                resource: self.goal.resource.clone(),
            });
        }
    }

    fn upload(&mut self, piece: &[u8]) {
        if self.upload.is_refused {
            return;
        }
        if let Some(wire) = &mut self.wire {
            wire.write(piece);
            wire.upstream.lane.slot().bytes_up.add(piece.len() as u64);
            self.bytes_up += piece.len() as u64;
            self.session.add_bytes(piece.len() as u64);
        }
    }

    fn request(&mut self, request: Request) -> Result<(), End> {
        if request.command == Command::Disconnect {
            self.is_over = true;
            return Ok(());
        }
        self.session.count_request();
        let payload = request.payload_bytes();
        if payload > PAYLOAD_BYTES_MAX.max(self.agreed.export.payload_bytes_max()) {
            self.worker.slot().reject("nbd-payload-too-long");
            return Err(End::Broken);
        }
        let fault = request.fault(&self.agreed);
        self.upload = Upload {
            rest: payload,
            is_refused: fault.is_some(),
        };
        if let Some(fault) = fault {
            self.worker.slot().reject(fault.reason());
            let structured = self.agreed.structured_replies;
            let (cookie, error) = (request.cookie, fault.error());
            let why = format!("refused by Ebbtide: {fault}");
            write_error(&mut self.refusals, structured, cookie, error, &why);
            return Ok(());
        }
        if request.command.is_write() {
            self.tell_of_write();
        }
        self.ledger.take(request);
        if let (true, Some(wire)) = (payload > 0, &mut self.wire) {
            // What follows is the request's own.
            wire.ask(&mut self.ledger, &mut self.down, false);
        }
        Ok(())
    }
}
