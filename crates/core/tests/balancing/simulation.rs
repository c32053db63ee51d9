//! How evenly each policy spreads sessions: ten thousand of them, most short and some very long, on
//! servers of unequal size, one of which is away for a while. The sessions and
//! their lengths are the same for every policy.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

use ebbtide_core::{
    Balance, Candidates, EndReason, Load, LoadReading, Millis, Moment, Now, PoolConfig,
    PoolCounters, PoolIntent, PoolKey, PoolView, Reason, Rotation, ServerCounters, ServerKey,
    ServerView, Session, SessionId, SessionTable, Standing, WallTime, choose, share_after,
    split_mix,
};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::sync::Arc;

/// The policies, by their names in the file.
pub const POLICIES: [(&str, Balance); 5] = [
    ("round-robin", Balance::RoundRobin),
    ("source-hash", Balance::SourceHash),
    ("least-sessions", Balance::LeastSessions),
    ("least-load", Balance::LeastLoad),
    ("most-available", Balance::MostAvailable),
];

/// What the servers can carry, as multiples of the smallest.
pub const SIZES: [u32; 10] = [1, 1, 1, 2, 2, 2, 2, 3, 3, 3];
pub const SESSIONS: u64 = 10_000;
/// The server that is away for a while, and when: in ten thousandths of all sessions.
pub const AWAY: usize = 8;
const LEAVES: u64 = 4_500;
const RETURNS: u64 = 5_000;
/// Sessions that come before anything is measured: the servers are empty at first.
const WARM_UP: u64 = 2_500;
/// Sessions after which a server that has returned is expected to be level with the others.
const REFILLED: u64 = 7_500;

/// What is counted of a return: this many parts of so many sessions each, which take about as many
/// seconds.
pub const PARTS: usize = 7;
pub const PART: u64 = 100;
/// Runs with other dice, of which that is the average.
const RUNS: u64 = 10;
/// The slow start that is counted so.
pub const SLOW_START: Millis = Millis(600_000);

/// On average, between two sessions.
const PAUSE_MS: u64 = 1_000;
/// The length that half of the sessions do not reach...
const MEDIAN_MS: u64 = 700_000;
/// ... and most of them are not: each of so many doublings is reached by `LONGER` of 1,024 that have
/// reached the one before. A few stay for a hundred times the median.
const DOUBLINGS: u32 = 7;
const LONGER: u64 = 400;

/// Readings come this often, as from exporters.
const EVERY: Millis = Millis(5_000);
const TURN: u64 = EVERY.0 / SIZES.len() as u64;
/// The load of one session on a server of size 1, on average, in thousandths of a percent.
const COST: u64 = 450;

/// How one policy did.
pub struct Spread {
    /// Sessions per size: the most that any server had over what all had together, on average.
    pub maximum_over_mean: f64,
    /// The same at its worst.
    pub worst: f64,
    /// Sessions per size of every server at the end, over what all had together.
    pub shares: Vec<f64>,
}

/// What comes next in time.
type Ending = Reverse<(u64, u64)>;

struct World {
    pool: PoolView,
    table: SessionTable,
    /// Sessions by the time of their end, and their numbers.
    endings: BinaryHeap<Ending>,
    sessions: Vec<(Option<Arc<Session>>, u64)>,
    /// Loads of the servers, in thousandths of a percent of a server of size 1.
    loads: [u64; SIZES.len()],
    rotation: Rotation,
    at: u64,
    /// For how long a server that returns is in its slow start.
    slow_start: Millis,
    /// When that began.
    returned: Option<u64>,
    /// Which dice are thrown.
    run: u64,
}

/// What the server that was away gets of all new sessions after its return, in parts of `PART`.
pub fn play_return(balance: Balance, slow_start: Millis) -> Vec<f64> {
    let first = SESSIONS * RETURNS / 10_000;
    let mut given = vec![0; PARTS];
    for run in 1..=RUNS {
        let mut world = World::new(balance, true);
        (world.slow_start, world.run) = (slow_start, run);
        for number in 0..first + PART * PARTS as u64 {
            world.play_one(number);
            let server = world.sessions[number as usize].0.as_ref();
            let is_given = server.is_some_and(|session| session.server == ServerKey(AWAY as u32));
            if let Some(after) = number.checked_sub(first) {
                given[(after / PART) as usize] += u32::from(is_given);
            }
        }
    }
    let share = |given: u32| f64::from(given) / (PART * RUNS) as f64;
    given.into_iter().map(share).collect()
}

/// Plays all sessions by one policy; the weights of the servers tell their sizes, or are all alike.
pub fn play(balance: Balance, is_weighted: bool) -> Spread {
    let mut world = World::new(balance, is_weighted);
    let mut samples = Vec::new();
    for number in 0..SESSIONS {
        world.play_one(number);
        let is_settled = (WARM_UP..LEAVES).contains(&number) || number >= REFILLED;
        if is_settled && number % 10 == 0 {
            samples.push(world.shares().into_iter().fold(0.0, f64::max));
        }
    }
    Spread {
        maximum_over_mean: samples.iter().sum::<f64>() / samples.len() as f64,
        worst: samples.into_iter().fold(0.0, f64::max),
        shares: world.shares(),
    }
}

impl World {
    fn new(balance: Balance, is_weighted: bool) -> Self {
        let mut config = PoolConfig::new("app");
        config.balance = balance;
        let servers: Vec<ServerView> = (0..)
            .zip(SIZES)
            .map(|(key, size)| server(key, if is_weighted { size } else { 1 }))
            .collect();
        Self {
            pool: PoolView {
                key: PoolKey(1),
                config: Arc::new(config),
                intent: PoolIntent::Open,
                since: None,
                pages: Default::default(),
                line: Default::default(),
                replicas: Arc::default(),
                candidates: Candidates::of(&servers),
                removed: Vec::new(),
                servers,
                counters: Arc::new(PoolCounters::new(1)),
            },
            table: SessionTable::default(),
            endings: BinaryHeap::new(),
            sessions: Vec::new(),
            loads: [0; SIZES.len()],
            rotation: Rotation::default(),
            at: 0,
            slow_start: Millis(0),
            returned: None,
            run: 0,
        }
    }

    /// The next session comes, and what happens until then.
    fn play_one(&mut self, number: u64) {
        match number * 10_000 / SESSIONS {
            LEAVES => self.set_admitting(false),
            RETURNS => self.set_admitting(true),
            _ => {}
        }
        let dice = split_mix(number ^ 0xeb_b71d_e000_0000 ^ (self.run << 16));
        self.pass(PAUSE_MS / 2 + dice % PAUSE_MS);
        self.grow_share();
        self.begin(number, split_mix(dice));
    }

    /// As the driver does: what is published has another share when that has grown by a step.
    fn grow_share(&mut self) {
        let Some(returned) = self.returned else {
            return;
        };
        let share = share_after(Millis(self.at - returned), self.slow_start);
        if share != self.pool.servers[AWAY].share {
            self.pool.servers[AWAY].share = share;
            self.pool.candidates = Candidates::of(&self.pool.servers);
        }
    }

    fn now(&self) -> Now {
        Now {
            moment: Moment(self.at.cast_signed()),
            wall: WallTime(self.at),
        }
    }

    /// Time passes: sessions end, loads are read.
    fn pass(&mut self, span: u64) {
        let until = self.at + span;
        while self.at < until {
            let ending = self.endings.peek().map_or(until, |Reverse((at, _))| *at);
            // Each server has its own turn, as scrapes have.
            let reading = (self.at / TURN + 1) * TURN;
            self.at = until.min(ending.max(self.at)).min(reading);
            while let Some(Reverse((at, number))) = self.endings.peek().copied()
                && at <= self.at
            {
                self.endings.pop();
                self.end(number as usize);
            }
            if self.at == reading {
                self.read((reading / TURN) as usize % SIZES.len());
            }
        }
    }

    /// An exporter tells the load, give or take three hundredths of it.
    fn read(&mut self, server: usize) {
        let noise = 97 + split_mix(self.at ^ server as u64) % 7;
        let percent = self.loads[server] * noise / 100 / u64::from(SIZES[server]) / 10;
        let view = &self.pool.servers[server];
        view.load.gauge.set(LoadReading {
            load: Load::from_share(percent as f64 / 10_000.0).unwrap(),
            at: Moment(self.at.cast_signed()),
            sessions: view.load.sessions(),
            every: EVERY,
        });
    }

    fn begin(&mut self, number: u64, dice: u64) {
        let (pool, client) = (&self.pool, IpAddr::from((dice as u32).to_be_bytes()));
        let has_room = |server: &ServerView| {
            let room = |max| server.load.sessions() < max;
            server.max_sessions.is_none_or(room)
        };
        let (now, rotation) = (self.now(), &mut self.rotation);
        let server = choose(pool, has_room, client, dice, now.moment, rotation).unwrap();
        let id = SessionId(number);
        let session = self.table.begin(id, pool.key, server, client, None, now);
        let mut dice = split_mix(dice);
        let mut length = MEDIAN_MS / 2 + dice % MEDIAN_MS;
        for _ in 0..DOUBLINGS {
            dice = split_mix(dice);
            if dice % 1024 >= LONGER {
                break;
            }
            length *= 2;
        }
        // Some work more than others.
        let cost = COST * (75 + split_mix(dice) % 51) / 100;
        self.loads[server.key.0 as usize] += cost;
        self.endings.push(Reverse((self.at + length, number)));
        self.sessions.push((session, cost));
    }

    fn end(&mut self, number: usize) {
        let now = self.now();
        let (session, cost) = &mut self.sessions[number];
        if let Some(session) = session.take() {
            self.loads[session.server.0 as usize] -= *cost;
            self.table.end(&session, EndReason::LoggedOut, now);
        }
    }

    /// The server that goes away has been drained: its sessions have ended.
    fn set_admitting(&mut self, admits: bool) {
        if self.pool.servers[AWAY].standing.admits_new == admits {
            return;
        }
        self.returned = admits.then_some(self.at);
        self.pool.servers[AWAY].standing.admits_new = admits;
        self.pool.candidates = Candidates::of(&self.pool.servers);
        let is_there = |(session, _): &(Option<Arc<Session>>, u64)| {
            let server = session.as_ref().map(|session| session.server);
            server == Some(ServerKey(AWAY as u32))
        };
        let there = (0..self.sessions.len()).filter(|number| is_there(&self.sessions[*number]));
        for number in there.collect::<Vec<_>>() {
            self.end(number);
        }
    }

    /// Sessions per size of every server, over what all have together.
    fn shares(&self) -> Vec<f64> {
        let counts = self
            .pool
            .servers
            .iter()
            .map(|server| server.load.sessions());
        let mean = f64::from(counts.clone().sum::<u32>()) / f64::from(SIZES.iter().sum::<u32>());
        let shares = counts
            .zip(SIZES)
            .map(|(count, size)| f64::from(count) / f64::from(size));
        shares.map(|share| share / mean).collect()
    }
}

fn server(key: u32, weight: u32) -> ServerView {
    ServerView {
        key: ServerKey(key),
        name: format!("web{}", key + 1).into(),
        address: ([127, 0, 0, 1], 9000).into(),
        weight,
        max_sessions: None,
        peak_load: None,
        exporter: None,
        share: 100,
        public_url: None,
        epoch: 1,
        standing: Standing {
            admits_new: true,
            serves_own: true,
            reason: Reason::Ready,
        },
        epoch_reason: EndReason::Forgotten,
        notice: None,
        load: Arc::default(),
        counters: Arc::new(ServerCounters::new(1)),
    }
}
