//! The simulated world: one queue of happenings in simulated time, and the node in the middle of
//! it. The driver is handed its inputs and has its outputs carried out as the real shell does.

use super::agents::Replies;
use super::copies::Copies;
use super::crowd::Ails;
use super::dice::scramble;
use super::disk::Disk;
use super::doors::{Held, Passage};
use super::judge::{Failure, Judge, REQUESTS_APART};
use super::lines::{Line, LineStep};
use super::loads::Says;
use super::mounts::{Mount, MountStep};
use super::names::Resolves;
use super::number::{ByServer, ServerNumber};
use super::plan::{Action, Being, DiskFault, File, Order, Planned, Setup, pool_number};
use super::queue::Queue;
use super::worker::{Exchange, Token, Worker};
use ebbtide_control::Store;
use ebbtide_core::{
    Actor, AgentSaid, Config, Driver, EndReason, EventKind, Fact, Input, ManifestCopies, Moment,
    NodeStatus, Now, Output, ProbeOutcome, RequestId, SessionChangeKind, SessionTable, Snapshot,
    WallTime, Write,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// The boot clock when a machine has just started.
const BOOT_MS: i64 = 1_000_000;
const WALL_MS: i64 = 1_700_000_000_000;
/// When a program that could not start is started again.
const START_AGAIN_MS: i64 = 400;
/// Shards swept each tick, as in the real shell.
const SWEEP: usize = SessionTable::SHARDS.div_ceil(16);

pub(super) struct World {
    pub seed: u64,
    pub at: i64,
    rolled: (i64, u64),
    pub rolled_beside: (i64, u64),
    pub setup: Setup,
    pub plan: Vec<Planned>,
    queue: Queue<Happening>,
    wall_offset: i64,
    boot: u32,
    boot_began: i64,
    file: File,
    config: Arc<Config>,
    disk: Disk,
    pub servers: ByServer<Server>,
    /// What comes of looking up the name of the first pool.
    pub resolves: Resolves,
    pub copies: Copies,
    pub clients: Vec<Client>,
    pub doors: BTreeMap<usize, Held>,
    pub node: Option<Node>,
    pub life: u32,
    pub judge: Judge,
    pub last_request: u64,
    last_exchange: u64,
    pub last_line: u64,
    pub told: Option<Vec<String>>,
}

/// A running program.
pub(super) struct Node {
    pub driver: Driver,
    store: Store,
    /// What was handed to the store last, until that is done with it.
    writing: Option<Vec<Write>>,
    pub table: Arc<SessionTable>,
    pub workers: Vec<Worker>,
    pub exchanges: Vec<Exchange>,
    /// Connections to the TCP pool.
    pub lines: BTreeMap<u64, Box<Line>>,
    /// Connections to the NBD pool.
    pub mounts: BTreeMap<u64, Box<Mount>>,
    pub passages: Vec<Passage>,
    sweep_next: usize,
    ticks: u64,
}

pub(super) struct Server {
    pub being: Being,
    /// What is wrong with it, and until when.
    pub ails: Option<(Ails, i64)>,
    pub probes_late_until: i64,
    pub probes_lost_until: i64,
    pub says: Says,
    /// What comes of asking its agent.
    pub replies: Replies,
}

/// A user: the tokens it was given for each pool, the newest last.
#[derive(Default)]
pub(super) struct Client {
    pub tokens: [Vec<Token>; 2],
}

enum Happening {
    Act(usize),
    Start,
    /// Of the life of the node with this number; forgotten if that has ended.
    OfNode(u32, NodeHappening),
}

pub(super) enum NodeHappening {
    Tick,
    Durable(u64),
    Stored(u64, Result<(), String>, bool),
    Take(usize, Arc<Snapshot>),
    Tell(Fact),
    ProbeRound,
    Probed(ServerNumber, ProbeOutcome, Before),
    LoadRound,
    LoadRead(ServerNumber, Arc<str>, Says),
    LookUp,
    LookedUp(Resolves),
    AgentRound,
    AgentSaid(ServerNumber, SocketAddr, Result<AgentSaid, String>),
    CrowdRound,
    ExchangeEnd(u64),
    Line(u64, LineStep),
    Mount(u64, MountStep),
    ManifestRound,
    ManifestRead(ServerNumber, String, Result<ManifestCopies, String>),
}

/// What was so when a probe began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Before {
    /// When that was, in simulated time.
    pub at: i64,
    /// As the node counts what a server was ever given.
    pub admitted: u32,
    /// As the judge does.
    pub begun: u32,
}

impl Node {
    fn status(&self, now: Now) -> NodeStatus {
        let mut status = self.driver.status(now);
        let tallies = self.table.tally(&self.driver.snapshot(), now.moment);
        status.count(&tallies);
        status
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            being: Being::Well,
            ails: None,
            probes_late_until: 0,
            probes_lost_until: 0,
            says: Says::Percent(30),
            replies: Replies::Says(AgentSaid::default()),
        }
    }
}

impl World {
    pub fn new(seed: u64, setup: Setup, plan: Vec<Planned>, tells: bool) -> Self {
        let clients = (0..setup.clients).map(|_| Client::default()).collect();
        let file = setup.file.clone();
        let mut world = Self {
            config: file.config(&setup),
            seed,
            at: 0,
            rolled: (0, 0),
            rolled_beside: (0, 0),
            queue: Queue::default(),
            wall_offset: 0,
            boot: 1,
            boot_began: 0,
            file,
            disk: Disk::default(),
            servers: ByServer::default(),
            resolves: Resolves::Nothing,
            copies: Self::first_copies(setup.beside.as_ref()),
            clients,
            doors: BTreeMap::new(),
            node: None,
            life: 0,
            judge: Judge::default(),
            last_request: 0,
            last_exchange: 0,
            last_line: 0,
            told: tells.then(Vec::new),
            setup,
            plan,
        };
        world.later(0, Happening::Start);
        for index in 0..world.plan.len() {
            let at = world.plan[index].at;
            world.later(at, Happening::Act(index));
        }
        world
    }

    /// Plays the plan to its end, or to the first broken promise; returns the steps taken.
    pub fn run(&mut self) -> Result<u64, Failure> {
        let end = self.setup.length_ms + self.setup.tail_ms;
        let mut steps = 0;
        while let Some((at, happening)) = self.queue.next() {
            if at > end {
                break;
            }
            self.at = at;
            self.judge.at = at;
            steps += 1;
            self.happen(happening);
            self.judge.verdict()?;
        }
        if let Some(node) = &self.node {
            self.judge.names_settled(&node.driver.snapshot());
        }
        self.judge.finish();
        self.judge.verdict()?;
        // What was acknowledged is there after one more restart.
        self.disk.fault = None;
        self.kill(true);
        self.start();
        self.judge.verdict()?;
        self.kill(false);
        Ok(steps)
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Act(index) => self.act(index),
            Happening::Start => self.start(),
            Happening::OfNode(life, happening) => {
                if life == self.life && self.node.is_some() {
                    self.happen_to_node(happening);
                }
            }
        }
    }

    fn happen_to_node(&mut self, happening: NodeHappening) {
        match happening {
            NodeHappening::Tick => self.tick(),
            NodeHappening::Durable(ticket) => self.durable(ticket),
            NodeHappening::Stored(ticket, result, may_be_there) => {
                self.judge
                    .stored(ticket, result.is_ok(), may_be_there, self.at);
                self.step(Input::Persisted { ticket, result });
            }
            NodeHappening::Take(worker, snapshot) => self.take(worker, snapshot),
            NodeHappening::Tell(fact) => {
                if let Fact::ConnectFailed { pool, server } = &fact {
                    let node = self.node.as_ref();
                    let snapshot = node.map(|node| node.driver.snapshot());
                    let suspected = snapshot.and_then(|snapshot| {
                        let pool = snapshot.pool(*pool)?;
                        Some(ServerNumber::of_view(pool, pool.server(*server)?))
                    });
                    if let Some(server) = suspected {
                        self.judge.suspected(server);
                    }
                }
                self.step(Input::Fact(fact));
            }
            NodeHappening::ProbeRound => self.probe_round(),
            NodeHappening::CrowdRound => self.crowd_round(),
            NodeHappening::Probed(server, outcome, before) => {
                let begun = (before.at, before.begun);
                self.judge.probed(server, &outcome, begun, self.at);
                self.step(Input::Probed {
                    server: server.name(),
                    outcome,
                    admitted: before.admitted,
                    began: Moment(BOOT_MS + before.at - self.boot_began),
                });
            }
            NodeHappening::LoadRound => self.load_round(),
            NodeHappening::LoadRead(server, exporter, says) => {
                self.load_read(server, &exporter, says);
            }
            NodeHappening::LookUp => self.look_up(),
            NodeHappening::LookedUp(resolves) => self.looked_up(resolves),
            NodeHappening::AgentRound => self.agent_round(),
            NodeHappening::AgentSaid(server, agent, said) => self.agent_said(server, agent, said),
            NodeHappening::ExchangeEnd(number) => self.end_exchange(number),
            NodeHappening::Line(number, step) => self.step_line(number, step),
            NodeHappening::Mount(number, step) => self.step_mount(number, step),
            NodeHappening::ManifestRound => self.manifest_round(),
            NodeHappening::ManifestRead(server, place, read) => {
                self.manifest_read(server, place, read);
            }
        }
    }

    pub fn now(&self) -> Now {
        Now {
            moment: Moment(BOOT_MS + self.at - self.boot_began),
            wall: WallTime((WALL_MS + self.at + self.wall_offset).unsigned_abs()),
        }
    }

    /// A number that depends on the seed, the time, and how many were asked for at this time.
    pub fn roll(&mut self) -> u64 {
        if self.rolled.0 != self.at {
            self.rolled = (self.at, 0);
        }
        self.rolled.1 += 1;
        let (at, count) = (self.at.unsigned_abs(), self.rolled.1);
        scramble(scramble(self.seed ^ at.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(count))
    }

    /// The same for the disk, which does not shift the others' numbers.
    fn roll_of_disk(&self) -> u64 {
        scramble(scramble(!self.seed).wrapping_add(self.at.unsigned_abs()))
    }

    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (self.roll() % (high - low + 1).unsigned_abs()).cast_signed()
    }

    pub fn tell(&mut self, text: impl FnOnce() -> String) {
        let at = self.at;
        if let Some(told) = &mut self.told {
            told.push(format!("{at:>7} ms  {}", text()));
        }
    }

    fn later(&mut self, at: i64, happening: Happening) {
        self.queue.put(at, happening);
    }

    pub fn node_later(&mut self, at: i64, happening: NodeHappening) {
        let life = self.life;
        self.later(at, Happening::OfNode(life, happening));
    }

    /// Plays this action again when the worker that it fell to goes on.
    pub fn again(&mut self, index: usize, at: i64) {
        self.later(at, Happening::Act(index));
    }

    pub fn tell_driver(&mut self, fact: Fact) {
        let at = self.at + self.between(0, 5);
        self.node_later(at, NodeHappening::Tell(fact));
    }

    pub fn being(&self, server: ServerNumber) -> Being {
        self.servers
            .get(server)
            .map_or(Being::Well, |server| server.being)
    }

    /// Registers what is being served until it ends by itself.
    pub fn open_exchange(&mut self, mut exchange: Exchange, lasts_ms: i64) {
        self.last_exchange += 1;
        exchange.number = self.last_exchange;
        let number = exchange.number;
        if let Some(node) = &mut self.node {
            node.exchanges.push(exchange);
        }
        self.node_later(self.at + lasts_ms, NodeHappening::ExchangeEnd(number));
    }

    // tidy: allow(long-function): one arm for each action
    fn act(&mut self, index: usize) {
        let action = self.plan[index].action.clone();
        let is_told = matches!(
            action,
            Action::Request { .. } | Action::Connect { .. } | Action::Mount { .. }
        );
        if !is_told {
            self.tell(|| format!("{action:?}"));
        }
        match action {
            Action::Request { .. } => self.request(index),
            Action::Logout { client, pool } => self.log_out(client, pool),
            Action::Operator(order) => self.operate(order),
            Action::Door(deed) => self.at_door(index, deed),
            Action::Connect { user, lasts_ms } => self.connect(index, user, lasts_ms),
            Action::Mount { .. } => self.mount(index),
            Action::Copy(change) => self.copies.change(change, self.at),
            Action::Load(server, says) => self.servers.get_or_default(server).says = says,
            Action::Resolve(resolves) => self.resolves = resolves,
            Action::Agent(server, replies) => {
                self.servers.get_or_default(server).replies = replies;
            }
            Action::Server(server, being) => {
                if being == Being::Dead {
                    self.break_lines(server);
                    self.break_mounts(server);
                }
                self.servers.get_or_default(server).being = being;
            }
            Action::Sick(server, ails, for_ms) => {
                self.servers.get_or_default(server).ails = Some((ails, self.at + for_ms));
            }
            Action::Probes {
                server,
                lost,
                for_ms,
            } => {
                let until = self.at + for_ms;
                let server = self.servers.get_or_default(server);
                match lost {
                    true => server.probes_lost_until = until,
                    false => server.probes_late_until = until,
                }
            }
            Action::Kill { down_ms, reboot } => {
                if self.node.is_some() {
                    self.kill(reboot);
                    self.later(self.at + down_ms, Happening::Start);
                }
            }
            Action::WallStep(by) => {
                self.wall_offset += by;
                self.judge.wall_stepped(self.at, by);
            }
            Action::Disk(fault, for_ms) => self.disk.fault = Some((fault, self.at + for_ms)),
            Action::Worker {
                worker,
                stalled,
                for_ms,
            } => {
                let until = self.at + for_ms;
                if let Some(node) = &mut self.node {
                    let worker = &mut node.workers[worker];
                    match stalled {
                        true => worker.stalled_until = until.max(worker.stalled_until),
                        false => worker.slow_until = until,
                    }
                }
            }
        }
    }

    /// Ends the program without warning, perhaps in the middle of what it writes.
    fn kill(&mut self, reboot: bool) {
        let roll = self.roll_of_disk();
        if let Some(mut node) = self.node.take() {
            let Node { writing, store, .. } = &mut node;
            let midway = writing.take().filter(|_| roll.is_multiple_of(2));
            if let Some(writes) = &midway {
                self.disk.lose_power_in((roll / 2 % 3) as u32);
                let done = store.write(writes);
                self.tell(|| format!("killed in the middle of a write: {done:?}"));
            }
            self.disk.kill(reboot || midway.is_some(), roll);
            // A database that is closed puts its memory in order, which a program that is killed does
            // not. One that cannot write any more does not either.
            drop(store.write(&[]));
        }
        self.judge.killed();
        if reboot {
            self.boot += 1;
            self.boot_began = self.at;
        }
    }

    fn start(&mut self) {
        let now = self.now();
        let roll = self.roll_of_disk();
        self.disk.prepare(self.at, roll);
        let opened = self.disk.open().and_then(|mut store| {
            let restored = store.restore(now)?;
            Ok((store, restored))
        });
        let (store, restored) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.tell(|| format!("the node does not start: {error}"));
                if self.disk.fault_at(self.at).is_none() {
                    self.judge.does_not_start(&error);
                }
                self.disk.kill(false, 0);
                return self.later(self.at + START_AGAIN_MS, Happening::Start);
            }
        };
        self.life += 1;
        let table = Arc::<SessionTable>::default();
        let driver = Driver::new(
            Arc::clone(&self.config),
            restored,
            Arc::clone(&table),
            format!("boot-{}", self.boot),
            self.setup.workers,
            now,
        );
        let snapshot = driver.snapshot();
        let at = self.at;
        self.node = Some(Node {
            driver,
            store,
            writing: None,
            table,
            workers: (0..self.setup.workers).map(|_| Worker::new(at)).collect(),
            exchanges: Vec::new(),
            lines: BTreeMap::new(),
            mounts: BTreeMap::new(),
            passages: Vec::new(),
            sweep_next: 0,
            ticks: 0,
        });
        self.tell(|| "the node starts".into());
        self.judge.starts(self.life, self.boot, now);
        self.observe();
        self.publish(&snapshot);
        let tick_ms = self.setup.tick_ms;
        self.node_later(at + tick_ms, NodeHappening::Tick);
        let first = self.between(5, 300);
        self.node_later(at + first, NodeHappening::ProbeRound);
        if self.setup.loads.is_some() {
            self.node_later(at + 1, NodeHappening::LoadRound);
        }
        if self.setup.named {
            self.node_later(at + 1, NodeHappening::LookUp);
        }
        if self.setup.agents {
            self.node_later(at + 1, NodeHappening::AgentRound);
        }
        self.begin_crowd();
        if self.setup.beside.is_some() {
            self.copies.forgotten();
            self.node_later(at + 1, NodeHappening::ManifestRound);
        }
    }

    fn tick(&mut self) {
        let now = self.now();
        let Some(node) = &mut self.node else { return };
        node.ticks += 1;
        let ticks = node.ticks;
        let end = (node.sweep_next + SWEEP).min(SessionTable::SHARDS);
        node.table
            .sweep(node.sweep_next..end, &node.driver.snapshot(), now);
        node.sweep_next = if end == SessionTable::SHARDS { 0 } else { end };
        let (changes, _) = node.table.take_changes();
        if !changes.is_empty() {
            self.step(Input::Sessions(changes));
        }
        self.step(Input::Tick);
        self.judge_forgotten();
        if let Some(node) = &self.node {
            let snapshot = node.driver.snapshot();
            self.judge.held_as_sick(&snapshot);
            self.judge.agents_heard(&snapshot, now);
        }
        if ticks.is_multiple_of(2) {
            self.cut(|exchange, _| exchange.is_over());
            self.cut_lines(None);
            self.cut_mounts(None);
        }
        self.judge_lines();
        self.judge_mounts();
        self.judge_exchanges();
        self.cut_behind_doors();
        if ticks.is_multiple_of(8) {
            self.observe();
        }
        let tick_ms = self.setup.tick_ms;
        self.node_later(self.at + tick_ms, NodeHappening::Tick);
    }

    /// What the node has forgotten in this tick, where it may forget something.
    fn judge_forgotten(&mut self) {
        let Some(node) = self.node.as_ref().filter(|_| self.setup.rebalances) else {
            return;
        };
        let (changes, snapshot) = (node.table.take_changes().0, node.driver.snapshot());
        for change in &changes {
            let pool = snapshot.pool(change.pool);
            let server = pool.and_then(|pool| Some((pool, pool.server(change.server)?)));
            let is_forgotten = matches!(
                change.kind,
                SessionChangeKind::Ended {
                    reason: EndReason::Forgotten,
                    ..
                }
            );
            if let Some((pool, server)) = server.filter(|_| is_forgotten) {
                let name = ServerNumber::of_view(pool, server);
                self.judge.forgotten(change.id, name, &snapshot);
            }
        }
        if !changes.is_empty() {
            self.step(Input::Sessions(changes));
        }
    }

    pub fn step(&mut self, input: Input) {
        let now = self.now();
        let Some(node) = &mut self.node else { return };
        let outputs = node.driver.step(now, input);
        let mut noteworthy = false;
        for output in outputs {
            noteworthy |= matches!(output, Output::Answer { .. });
            self.carry_out(output, now);
        }
        if noteworthy {
            self.observe();
        }
    }

    fn carry_out(&mut self, output: Output, now: Now) {
        match output {
            Output::Persist { ticket, writes } => self.persist(ticket, writes, now),
            Output::Publish(snapshot) => {
                self.observe();
                self.publish(&snapshot);
            }
            Output::Answer { id, result } => {
                self.tell(|| match &result {
                    Ok(answer) => format!("answer {}: {}", id.0, answer.text),
                    Err(refusal) => format!("refusal {}: {}", id.0, refusal.text),
                });
                let node = self.node.as_ref();
                let workers = node.map_or(&[][..], |node| &node.workers);
                let taken = workers
                    .iter()
                    .map(|worker| worker.snapshot.generation)
                    .min();
                self.judge
                    .answered(id, &result, taken.unwrap_or(0), self.at);
            }
            Output::Event(event) => {
                if let (EventKind::Drained { .. }, Some(server)) = (&event.kind, &event.server) {
                    self.tell(|| format!("{server}: {}", event.kind));
                    self.judge.drained(ServerNumber::of(server), now, self.at);
                }
                if let EventKind::PoolClosed { pool, .. } = &event.kind {
                    self.tell(|| event.kind.to_string());
                    self.judge.pool_closed(pool_number(pool), now, self.at);
                }
            }
            Output::ProbeNow(server) => self.probe(ServerNumber::of(&server)),
            // No pool of the simulation has sessions that can move.
            Output::Move(_) => {}
        }
    }

    fn persist(&mut self, ticket: u64, writes: Vec<Write>, now: Now) {
        if let Some(node) = &self.node {
            self.judge.persisting(
                ticket,
                &writes,
                (&node.driver.snapshot(), &|| node.status(now)),
                now,
            );
        }
        self.tell(|| format!("write {ticket}: {} entries", writes.len()));
        if let Some(node) = &mut self.node {
            node.writing = Some(writes);
        }
        let slow = self.disk.fault_at(self.at) == Some(DiskFault::Slow);
        let takes = match slow {
            true => self.between(100, 2500),
            false => self.between(0, 12),
        };
        self.node_later(self.at + takes, NodeHappening::Durable(ticket));
    }

    /// The disk is done with a write; the driver hears of it a little later.
    fn durable(&mut self, ticket: u64) {
        let roll = self.roll_of_disk();
        self.disk.prepare(self.at, roll);
        let Some(node) = &mut self.node else { return };
        let Some(writes) = node.writing.take() else {
            return;
        };
        let result = node.store.write(&writes).map_err(|error| error.to_string());
        let may_be_there = result.is_ok() || self.disk.was_written();
        self.tell(|| format!("write {ticket} is done: {result:?}"));
        let at = self.at + self.between(0, 8);
        self.node_later(at, NodeHappening::Stored(ticket, result, may_be_there));
    }

    fn publish(&mut self, snapshot: &Arc<Snapshot>) {
        self.judge.published(snapshot.generation);
        self.forget_copies(snapshot);
        self.tell(|| format!("publish {}", snapshot.generation));
        for index in 0..self.setup.workers {
            let (quick, slow) = (self.between(0, 15), self.between(50, 600));
            let at = self.at;
            let Some(node) = &mut self.node else { return };
            let worker = &mut node.workers[index];
            let late = if worker.slow_until > at { slow } else { quick };
            let takes_at = (at + late)
                .max(worker.takes_until)
                .max(worker.stalled_until);
            worker.takes_until = takes_at;
            self.node_later(takes_at, NodeHappening::Take(index, Arc::clone(snapshot)));
        }
    }

    fn take(&mut self, index: usize, snapshot: Arc<Snapshot>) {
        let at = self.at;
        let Some(node) = &mut self.node else { return };
        if node.workers[index].stalled_until > at {
            let until = node.workers[index].stalled_until;
            return self.node_later(until, NodeHappening::Take(index, snapshot));
        }
        let generation = snapshot.generation;
        if generation < node.workers[index].snapshot.generation {
            return;
        }
        node.workers[index].snapshot = Arc::clone(&snapshot);
        self.cut(|exchange, worker| {
            worker == index && (exchange.is_over() || exchange.is_misplaced(&snapshot))
        });
        self.cut_lines(Some(index));
        self.cut_mounts(Some(index));
        self.tell_driver(Fact::Acknowledged {
            worker: index,
            generation,
        });
    }

    /// Ends what is in flight and may not go on, except where a worker does nothing at all.
    fn cut(&mut self, over: impl Fn(&Exchange, usize) -> bool) {
        let at = self.at;
        let Some(node) = &mut self.node else { return };
        let (workers, judge) = (&node.workers, &mut self.judge);
        node.exchanges.retain(|exchange| {
            let stalled = workers[exchange.worker].stalled_until > at;
            let cut = !stalled && over(exchange, exchange.worker);
            if cut {
                judge.closed(exchange.stay.session().id, at);
            }
            !cut
        });
    }

    fn end_exchange(&mut self, number: u64) {
        let now = self.now();
        let Some(node) = &mut self.node else { return };
        let found = node.exchanges.iter().position(|one| one.number == number);
        if let Some(index) = found {
            let exchange = node.exchanges.swap_remove(index);
            let session = exchange.stay.session();
            session.touch(now.moment);
            self.judge.closed(session.id, self.at);
        }
    }

    fn judge_exchanges(&mut self) {
        let now = self.now();
        let Some(node) = &self.node else { return };
        for exchange in &node.exchanges {
            if node.workers[exchange.worker].stalled_until + 100 < self.at {
                let id = exchange.stay.session().id;
                self.judge.still_served(id, exchange.server, now, self.at);
            }
        }
        self.judge.deadlines(now);
    }

    fn observe(&mut self) {
        let now = self.now();
        if let Some(node) = &self.node {
            let status = node.status(now);
            let snapshot = node.driver.snapshot();
            self.judge
                .observe(&status, &snapshot, &node.table, now, self.at);
        }
    }

    fn operate(&mut self, order: Order) {
        if let Order::Reload(file) = &order {
            self.file = file.clone();
            self.config = self.file.config(&self.setup);
        }
        let Some(command) = self.command(order) else {
            return;
        };
        if self.node.is_none() {
            return;
        }
        self.last_request += REQUESTS_APART;
        let id = RequestId(self.last_request);
        let now = self.now();
        self.judge.asked(id, &command, now);
        let actor = Actor {
            who: id.0.to_string(),
            from: "simulation".into(),
            reason: None,
        };
        self.tell(|| format!("request {}", id.0));
        self.step(Input::Command { id, actor, command });
    }
}
