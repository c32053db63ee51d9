//! A worker: one thread with its own runtime, view and connections.

use crate::access_log::{LogSender, Record};
use crate::buffer::Scratches;
use crate::descriptors::Descriptors;
use crate::flight::{Flight, Flights};
use crate::nbd::Turns;
use crate::splice::Pipes;
use crate::timer::duration;
use crate::upstream::Lanes;
use crate::view::View;
use crate::{accept, accept::Acceptor};
use ebbtide_core::{
    Fact, Millis, MoveOrder, NodeCounters, NodeSlot, Now, SPLIT_MIX_STEP, SessionTable, Snapshot,
    split_mix,
};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout_at};

/// How often a worker looks for sessions that were ended, for messages to users, and for idle connections to close.
const TICK: Duration = Duration::from_millis(200);
/// How long what was cut may take to say so to its client.
const FAREWELL: Duration = Duration::from_millis(500);

/// What one reading of a TCP connection brings at most, in bytes.
const COPY_BYTES: usize = 64 * 1024;

/// What a worker is given.
#[derive(Clone)]
pub(crate) struct Setup {
    pub workers: usize,
    pub clock: fn() -> Now,
    pub sessions: Arc<SessionTable>,
    pub node: Arc<NodeCounters>,
    pub facts: Arc<dyn Fn(Fact) + Send + Sync>,
    pub log: Option<LogSender>,
    pub turns: Arc<Turns>,
}

/// What a worker is told.
pub(crate) enum Order {
    /// Work from this snapshot, and acknowledge it.
    Publish {
        snapshot: Arc<Snapshot>,
        /// This worker's sockets of the listeners that are new.
        listeners: BTreeMap<SocketAddr, TcpListener>,
    },
    /// Move those of these sessions that are here and can be moved.
    Move(Arc<MoveOrder>),
    /// Stop within `grace`.
    Stop { grace: Millis },
}

/// A worker, as its connections see it.
pub(crate) struct Worker {
    pub index: usize,
    pub workers: usize,
    pub sessions: Arc<SessionTable>,
    pub flights: Flights,
    pub scratches: Scratches,
    pub pipes: Rc<Pipes>,
    /// What is read of TCP connections passes through here; it is empty between two polls.
    pub copy_buffer: RefCell<Box<[u8]>>,
    pub descriptors: Rc<Descriptors>,
    /// Of sessions of NBD pools, on every worker.
    pub turns: Arc<Turns>,
    clock: fn() -> Now,
    node: Arc<NodeCounters>,
    facts: Arc<dyn Fn(Fact) + Send + Sync>,
    log: Option<LogSender>,
    view: RefCell<Rc<View>>,
    lanes: RefCell<Lanes>,
    acceptors: RefCell<BTreeMap<SocketAddr, Acceptor>>,
    accepting: Cell<usize>,
    stopping: Cell<bool>,
    closed: Notify,
    dice: Cell<u64>,
}

impl Worker {
    /// Runs until told to stop; returns how many exchanges were cut then.
    pub async fn run(index: usize, setup: Setup, inbox: UnboundedReceiver<Order>) -> usize {
        let worker = Rc::new(Self::new(index, setup));
        let grace = worker.obey(inbox).await;
        let cut = worker.stop(grace).await;
        worker.lanes.borrow_mut().close();
        cut
    }

    fn new(index: usize, setup: Setup) -> Self {
        let seed = getrandom::u64().unwrap_or_else(|error| {
            tracing::error!("no random numbers ({error}); seeding from the clock");
            (setup.clock)().wall.0 ^ (index as u64) << 48
        });
        let descriptors = Rc::new(Descriptors::of_one_of(setup.workers));
        Self {
            index,
            workers: setup.workers,
            sessions: setup.sessions,
            flights: Flights::default(),
            scratches: Scratches::default(),
            pipes: Rc::new(Pipes::new(Rc::clone(&descriptors), setup.workers)),
            copy_buffer: RefCell::new(vec![0; COPY_BYTES].into_boxed_slice()),
            lanes: RefCell::new(Lanes::new(Rc::clone(&descriptors))),
            descriptors,
            turns: setup.turns,
            clock: setup.clock,
            node: setup.node,
            facts: setup.facts,
            log: setup.log,
            view: RefCell::new(Rc::new(View::empty())),
            acceptors: RefCell::default(),
            accepting: Cell::new(0),
            stopping: Cell::new(false),
            closed: Notify::new(),
            dice: Cell::new(seed),
        }
    }

    /// Does what it is told until it is told to stop; returns the grace for that.
    async fn obey(self: &Rc<Self>, mut inbox: UnboundedReceiver<Order>) -> Millis {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                order = inbox.recv() => match order {
                    Some(Order::Publish { snapshot, listeners }) => self.take(snapshot, listeners),
                    Some(Order::Move(order)) => self.flights.ask_to_move(&order),
                    Some(Order::Stop { grace }) => return grace,
                    None => return Millis(0),
                },
                _ = ticks.tick() => self.tick(),
            }
        }
    }

    fn tick(&self) {
        let now = self.now().moment;
        self.flights.cut_ended();
        self.flights.cut_behind_doors(now);
        self.flights.hear(now);
        self.lanes.borrow().sweep();
    }

    /// Takes a snapshot. When it is acknowledged, this worker decides by no older one any more:
    /// whoever chose a server by one has begun its session by then, as nothing waits in between.
    fn take(
        self: &Rc<Self>,
        snapshot: Arc<Snapshot>,
        listeners: BTreeMap<SocketAddr, TcpListener>,
    ) {
        let generation = snapshot.generation;
        let next = {
            let mut lanes = self.lanes.borrow_mut();
            Rc::new(
                self.view()
                    .next(Arc::clone(&snapshot), &mut lanes, self.index),
            )
        };
        self.view.replace(Rc::clone(&next));
        self.lanes.borrow_mut().keep_only(next.kept_lanes());
        self.listen(&next, listeners);
        self.cut_at(self.flights.leave_misplaced(&snapshot));
        self.tell(Fact::Acknowledged {
            worker: self.index,
            generation,
        });
    }

    /// Sees to what has just come to another server: by now its time may be over there as well.
    pub fn look_after(self: &Rc<Self>, flight: &Flight) {
        self.cut_at(flight.leave_misplaced(&self.view().snapshot));
    }

    /// Cuts what is over by then, at the time itself: a tick may be too late for what must not outlive a
    /// second.
    fn cut_at(self: &Rc<Self>, end: Option<Instant>) {
        let Some(end) = end else { return };
        let worker = Rc::clone(self);
        tokio::task::spawn_local(async move {
            sleep_until(end).await;
            worker.flights.cut_ended();
        });
    }

    /// Starts, redirects and stops listeners, as the snapshot says.
    fn listen(self: &Rc<Self>, view: &View, new: BTreeMap<SocketAddr, TcpListener>) {
        let wanted = &view.listeners;
        let mut acceptors = self.acceptors.borrow_mut();
        for (bind, listener) in new {
            let Some(way) = wanted.get(&bind) else {
                continue;
            };
            match accept::start(self, listener, bind, way.pool) {
                Ok(acceptor) => {
                    acceptors.insert(bind, acceptor);
                }
                Err(error) => tracing::error!("cannot accept on {bind}: {error}"),
            }
        }
        acceptors.retain(|bind, acceptor| match wanted.get(bind) {
            Some(way) => {
                acceptor.lead_to(way.pool);
                true
            }
            None => false,
        });
    }

    /// Stops accepting, waits for what is in flight, cuts what is left after `grace`.
    async fn stop(&self, grace: Millis) -> usize {
        let end = Instant::now() + duration(grace);
        self.stopping.set(true);
        self.acceptors.borrow_mut().clear();
        self.flights.wake_all();
        if self.wait_for_all(end).await {
            return 0;
        }
        let cut = self.flights.cut_all();
        self.wait_for_all(Instant::now() + FAREWELL).await;
        cut
    }

    async fn wait_for_all(&self, end: Instant) -> bool {
        let mut ticks = interval(TICK);
        let all_closed = async {
            while self.accepting.get() > 0 || self.flights.count() > 0 {
                tokio::select! {
                    () = self.closed.notified() => {}
                    _ = ticks.tick() => self.tick(),
                }
            }
        };
        timeout_at(end, all_closed).await.is_ok()
    }

    /// A client has connected.
    pub fn connection_opened(&self) -> Rc<Flight> {
        self.slot().accepted.add(1);
        self.slot().connections.add(1);
        self.descriptors.take_for_client();
        self.flights.open()
    }

    /// A client's connection is closed.
    pub fn connection_closed(&self, flight: &Flight) {
        self.flights.close(flight);
        self.slot().connections.sub_one();
        self.descriptors.give_back_for_client();
        self.closed.notify_one();
    }

    /// An acceptor has begun.
    pub fn acceptor_opened(&self) {
        self.accepting.set(self.accepting.get() + 1);
    }

    /// An acceptor has ended, and its backlog is empty.
    pub fn acceptor_closed(&self) {
        self.accepting.set(self.accepting.get() - 1);
        self.closed.notify_one();
    }

    /// Whether the program is about to stop: connections end with the answer they are at.
    pub fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// The view to decide by. Not to be kept over a wait by whoever begins sessions.
    pub fn view(&self) -> Rc<View> {
        Rc::clone(&self.view.borrow())
    }

    /// Both clocks.
    pub fn now(&self) -> Now {
        (self.clock)()
    }

    /// This worker's counters of the node.
    pub fn slot(&self) -> &NodeSlot {
        self.node.slot(self.index)
    }

    /// Tells the control plane.
    pub fn tell(&self, fact: Fact) {
        (self.facts)(fact);
    }

    /// Whether requests are logged.
    pub fn logs(&self) -> bool {
        self.log.is_some()
    }

    /// Logs a request; if the log cannot keep up, the line is dropped and counted.
    pub fn log(&self, record: Record) {
        if self.log.as_ref().is_some_and(|log| !log.send(record)) {
            self.slot().log_dropped.add(1);
        }
    }

    /// A random number (SplitMix64): for ties and session numbers, not for secrets.
    pub fn roll(&self) -> u64 {
        let state = self.dice.get();
        self.dice.set(state.wrapping_add(SPLIT_MIX_STEP));
        split_mix(state)
    }
}
