//! The register of a worker's client connections: what each is about, and how to cut it.

use crate::timer::duration;
use ebbtide_core::{
    Door, EndReason, Message, Moment, MoveOrder, Notice, PoolIntent, PoolView, Protocol, Reason,
    ServerKey, Session, Snapshot, WallTime,
};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use tokio::time::Instant;

/// What a client connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Waiting for a request, or reading its head.
    Between,
    /// A request is being served.
    Exchange,
    /// A tunnel is open.
    Tunnel,
    /// A tunnel is open that can go on with another server: its own task sees to that.
    Replica,
    /// A stream of events is open.
    Events,
}

/// One client connection, as the rest of its worker sees it.
#[derive(Debug)]
pub(crate) struct Flight {
    number: u64,
    phase: Cell<Phase>,
    session: RefCell<Option<Arc<Session>>>,
    /// What the users of a tunnel were told last.
    notice: RefCell<Option<Arc<Notice>>>,
    /// The operator's message to them that was seen last, by its time.
    heard: Cell<Option<WallTime>>,
    /// The door that its request has come through.
    door: RefCell<Option<Arc<Door>>>,
    cut: Cell<bool>,
    /// Its server is down, and others are not.
    stranded: Cell<bool>,
    /// What is in flight is an answer that another server can go on with.
    movable: Cell<bool>,
    /// An operator wants it on another server.
    wish: Cell<Option<Move>>,
    /// When it is cut, if it goes on until then.
    ends: Cell<Option<Instant>>,
    waker: RefCell<Option<Waker>>,
}

/// To another server, although nothing is wrong with the present one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    /// To which; `None`: to any that can stand in.
    pub to: Option<ServerKey>,
    /// The connection to the present one is cut first.
    pub cut: bool,
}

impl Flight {
    /// Enters a phase for a session.
    pub fn enter(&self, phase: Phase, session: &Arc<Session>) {
        self.phase.set(phase);
        self.ends.set(None);
        self.stranded.set(false);
        self.session.replace(Some(Arc::clone(session)));
    }

    /// Enters a phase for no session in particular.
    pub fn enter_alone(&self, phase: Phase) {
        self.phase.set(phase);
        self.ends.set(None);
        self.stranded.set(false);
        self.session.take();
        self.door.take();
    }

    /// Notes the door that the request has come through.
    pub fn pass(&self, door: &Arc<Door>) {
        self.door.replace(Some(Arc::clone(door)));
    }

    /// Whether the request has come through a door.
    pub fn is_behind_door(&self) -> bool {
        self.door.borrow().is_some()
    }

    /// Notes what the users of a tunnel are told, and wakes it if that is new.
    pub fn note(&self, notice: Option<&Arc<Notice>>) {
        let before = self.notice.replace(notice.cloned());
        if before.as_ref() != notice {
            self.wake();
        }
    }

    /// What the users of a tunnel are told.
    pub fn notice(&self) -> Option<Arc<Notice>> {
        self.notice.borrow().clone()
    }

    /// What an operator says to the user of the session.
    pub fn said(&self, now: Moment) -> Option<Arc<Message>> {
        self.session.borrow().as_ref()?.message(now)
    }

    /// Wakes what can tell its user if an operator's message to them is another one now, or none.
    fn hear(&self, now: Moment) {
        if matches!(self.phase.get(), Phase::Events | Phase::Tunnel) {
            let heard = self.said(now).map(|message| message.at);
            if self.heard.replace(heard) != heard {
                self.wake();
            }
        }
    }

    /// The operator's words in what the users of a tunnel were told last.
    pub fn message(&self) -> Option<String> {
        self.notice.borrow().as_ref()?.message.clone()
    }

    /// Wants what is in flight on another server, if it is one of these sessions and can go on there.
    fn ask_to_move(&self, order: &MoveOrder) {
        let session = self.session.borrow();
        let is_meant = session.as_ref().is_some_and(|session| {
            session.server == order.from && order.sessions.contains(&session.id)
        });
        if is_meant && (self.movable.get() || self.phase.get() == Phase::Replica) {
            let MoveOrder { to, cut, .. } = *order;
            self.wish.set(Some(Move { to, cut }));
            self.wake();
        }
    }

    /// Notes whether another server could go on with the answer that is in flight.
    pub fn let_move(&self, movable: bool) {
        self.movable.set(movable);
        self.wish.take();
    }

    /// Takes up the wish for another server, if there is one.
    pub fn take_wish(&self) -> Option<Move> {
        self.wish.take()
    }

    /// Whether what is in flight may not go on.
    pub fn is_cut(&self) -> bool {
        self.cut.get()
    }

    /// Whether it was cut for nothing but its server's time being over. Then it may go on elsewhere,
    /// and is cut no more.
    pub fn leave(&self) -> bool {
        let leaves = self.is_late(Instant::now()) && !self.is_over();
        if leaves {
            self.cut.set(false);
            self.ends.set(None);
        }
        leaves
    }

    /// Whether its server is down, and another one admits sessions.
    pub fn is_stranded(&self) -> bool {
        self.stranded.get()
    }

    /// Remembers whom to wake.
    pub fn register(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    fn cut(&self) {
        self.cut.set(true);
        self.wake();
    }

    /// Whether its session was ended in a way that ends what is in flight too. A user who logs out
    /// elsewhere, is forgotten, or whose server is down or no longer in the file does not lose an
    /// answer that is on its way. A tunnel is the binding itself: it ends with it, except that a
    /// reload closes nothing that it does not have to.
    fn is_over(&self) -> bool {
        if self.phase.get() == Phase::Events {
            return false;
        }
        let session = self.session.borrow();
        let Some(reason) = session.as_ref().and_then(|session| session.ended()) else {
            return false;
        };
        match reason {
            EndReason::ServerGone | EndReason::ServerRemoved => false,
            // Its task moves it, or ends it.
            _ if self.phase.get() == Phase::Replica && reason == EndReason::Deadline => false,
            // At a deadline, exchanges have a moment to finish: see `leave_misplaced`.
            EndReason::LoggedOut | EndReason::Forgotten | EndReason::Deadline => {
                self.phase.get() == Phase::Tunnel
            }
            EndReason::EndedByOperator
            | EndReason::Expired
            | EndReason::Idle
            | EndReason::Disconnected
            | EndReason::ResourceMaintenance => true,
        }
    }

    /// Ends what its server may not serve any more: after a deadline nothing goes on, a raised epoch
    /// ends tunnels. A tunnel ends at once; an exchange may finish within the pool's `end_grace`, as
    /// what was accepted before a deadline is answered if that can be. Returns when it must have.
    pub fn leave_misplaced(&self, snapshot: &Snapshot) -> Option<Instant> {
        let is_own_judge = matches!(self.phase.get(), Phase::Events | Phase::Replica);
        if is_own_judge || self.is_behind_door() {
            self.wake();
            return None;
        }
        let session = self.session.borrow();
        let session = session.as_ref()?;
        let pool = snapshot.pool(session.pool)?;
        let Some(server) = pool.server_of(session) else {
            // What is open on a server that is gone goes on, as long as the pool does.
            if matches!(pool.intent, PoolIntent::Closed(_)) {
                self.end_open(pool);
            }
            return self.ends.get();
        };
        let is_forgotten = server.epoch != session.epoch;
        let time_is_over = server.standing.ends_work()
            || (is_forgotten && server.epoch_reason == EndReason::Deadline)
            || pool.is_withdrawn_from(session);
        // A session that is a connection cannot be taken up again elsewhere: it does not wait for a
        // server that is down.
        let is_stranded = pool.config.protocol.is_connection() && !server.standing.serves_own;
        match self.phase.get() {
            Phase::Tunnel | Phase::Exchange if time_is_over => self.end_open(pool),
            Phase::Tunnel if is_forgotten || is_stranded => self.cut(),
            Phase::Tunnel => {
                self.note(server.notice.as_ref());
                if pool.config.protocol == Protocol::Nbd {
                    // It looks at its resource.
                    self.wake();
                }
            }
            Phase::Exchange => {
                let is_down = server.standing.reason == Reason::Down;
                let others = || pool.servers.iter().any(|other| other.standing.admits_new);
                let is_stranded = is_down && others();
                if self.stranded.replace(is_stranded) != is_stranded {
                    self.wake();
                }
            }
            _ => {}
        }
        self.ends.get()
    }

    /// The time of what is open is over: a tunnel ends at once, an exchange may finish within the pool's
    /// grace.
    fn end_open(&self, pool: &PoolView) {
        match self.phase.get() {
            Phase::Tunnel => self.cut(),
            Phase::Exchange if self.ends.get().is_none() => {
                let grace = duration(pool.config.gate.end_grace);
                self.ends.set(Some(Instant::now() + grace));
            }
            _ => {}
        }
    }

    /// Wakes a stream of events whose session has ended, so that it tells so.
    fn tell_end(&self) {
        let session = self.session.borrow();
        let is_ended = session.as_ref().is_some_and(|s| s.ended().is_some());
        if is_ended && self.phase.get() == Phase::Events {
            self.wake();
        }
    }

    /// Whether the time to finish is over.
    fn is_late(&self, now: Instant) -> bool {
        self.ends.get().is_some_and(|ends| ends <= now)
    }
}

/// All client connections of a worker.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    next: Cell<u64>,
    all: RefCell<HashMap<u64, Rc<Flight>>>,
}

impl Flights {
    /// Registers a new connection.
    pub fn open(&self) -> Rc<Flight> {
        let number = self.next.get();
        self.next.set(number + 1);
        let flight = Rc::new(Flight {
            number,
            phase: Cell::new(Phase::Between),
            session: RefCell::default(),
            notice: RefCell::default(),
            heard: Cell::new(None),
            door: RefCell::default(),
            cut: Cell::new(false),
            stranded: Cell::new(false),
            movable: Cell::new(false),
            wish: Cell::new(None),
            ends: Cell::new(None),
            waker: RefCell::default(),
        });
        self.all.borrow_mut().insert(number, Rc::clone(&flight));
        flight
    }

    /// Forgets a connection that is closed.
    pub fn close(&self, flight: &Flight) {
        self.all.borrow_mut().remove(&flight.number);
    }

    /// How many connections are open.
    pub fn count(&self) -> usize {
        self.all.borrow().len()
    }

    /// Ends what a new snapshot does not allow any more; returns when [`Self::cut_ended`] has to be
    /// called, if something may go on until then.
    pub fn leave_misplaced(&self, snapshot: &Snapshot) -> Option<Instant> {
        let all = self.all.borrow();
        let ends = all.values().map(|flight| flight.leave_misplaced(snapshot));
        let last = ends.flatten().max();
        drop(all);
        self.cut_ended();
        last
    }

    /// Cuts what belongs to sessions that have ended, and what has had its time to finish.
    pub fn cut_ended(&self) {
        let now = Instant::now();
        self.cut_where(|flight| flight.is_over() || flight.is_late(now));
        self.all
            .borrow()
            .values()
            .for_each(|flight| flight.tell_end());
    }

    /// Wakes those whose users are told something else by an operator now.
    pub fn hear(&self, now: Moment) {
        self.all
            .borrow()
            .values()
            .for_each(|flight| flight.hear(now));
    }

    /// Cuts what has come through doors that are over.
    pub fn cut_behind_doors(&self, now: Moment) {
        self.cut_where(|flight| {
            let door = flight.door.borrow();
            door.as_ref().is_some_and(|door| !door.is_open(now))
        });
    }

    /// Wants the connections of these sessions on another server, as far as they are here.
    pub fn ask_to_move(&self, order: &MoveOrder) {
        let all = self.all.borrow();
        all.values().for_each(|flight| flight.ask_to_move(order));
    }

    /// Cuts everything; returns how many connections were cut in the middle of something.
    pub fn cut_all(&self) -> usize {
        self.cut_where(|_| true);
        let all = self.all.borrow();
        all.values()
            .filter(|flight| flight.phase.get() != Phase::Between)
            .count()
    }

    /// Wakes every connection, so that it looks at the worker's state again.
    pub fn wake_all(&self) {
        self.all.borrow().values().for_each(|flight| flight.wake());
    }

    fn cut_where(&self, over: impl Fn(&Flight) -> bool) {
        for flight in self.all.borrow().values() {
            if over(flight) {
                flight.cut();
            }
        }
    }
}
