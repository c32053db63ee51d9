//! What a seed makes happen: a list of actions, each at its time. Whatever an action leads to is
//! decided by the time at which it happens, so that a plan from which actions were dropped still
//! plays the others much as before; that is what makes a failing history short.

use super::agents::{self, Replies};
use super::beside::{self, Beside};
use super::copies::CopyChange;
use super::crowd::{self, Ails};
use super::dice::Dice;
use super::doors::{AtDoor, Opens};
use super::loads::{self, Loads, Says};
use super::names::{self, Resolves};
use super::number::ServerNumber;
use super::rebalances;
use ebbtide_core::{
    Balance, BlockNew, Config, HealthSettings, ListenerConfig, Millis, PoolConfig, ServerConfig,
    UpgradeCheck, VerifyCheck,
};
use std::sync::Arc;

/// How long a session binds, in every simulated pool.
pub(super) const REUSE: Millis = Millis::from_secs(8);
/// For how long a session is active that does nothing, in every simulated pool.
pub(super) const ACTIVE: Millis = Millis::from_secs(2);
/// How long before a deadline users are reminded, in every simulated pool.
pub(super) const REMINDERS: [Millis; 3] = [Millis(3000), Millis(9000), Millis(1000)];
/// For how long a server that comes back gets fewer sessions, in every simulated pool.
const SLOW_START: Millis = Millis::from_secs(5);
/// How long a server may take to be verified after maintenance.
const VERIFY_WITHIN: Millis = Millis::from_secs(6);
/// Between two probes of a server.
pub(super) const PROBE_EVERY_MS: i64 = 1000;
/// Nothing new is planned for the end of a run, so that every command can be answered.
pub(super) const TAIL_MS: i64 = 16_000;
/// Chooses which seeds close pools: not the first five that were kept (`sim/seeds.txt`).
const CLOSINGS: u64 = 29;
/// Chooses which seeds have a TCP pool and an NBD pool: none of those that were kept before there were
/// any.
const BESIDE: u64 = 201;
/// Chooses which seeds open doors: none of those that were kept before there were any.
const DOORS: u64 = 606;
/// Chooses in which seeds servers tell how busy they are: none of those that were kept before any did.
const LOADS: u64 = 7483;
/// Chooses which seeds have a crowd: none of those that were kept before there was one.
const CROWD: u64 = 4047;
/// Chooses which seeds have agents: none of those that were kept before there were any.
const AGENTS: u64 = 186;
/// Chooses in which seeds servers come by a name: none of those that were kept before any did.
const NAMED: u64 = 565;
/// Chooses which seeds have rebalances: none of those that were kept before there were any.
const REBALANCES: u64 = 273;
/// Two HTTP pools; in some runs a TCP pool and an NBD pool beside them.
pub(super) const POOLS: [&str; 4] = ["app", "web", "shells", "disks"];
/// The number of the TCP pool.
pub(super) const SHELLS: usize = 2;
/// The number of the NBD pool.
pub(super) const DISKS: usize = 3;

/// Whether the sessions of a pool are connections, of which none outlives the node.
pub(super) fn has_connections(pool: usize) -> bool {
    pool >= SHELLS
}

/// The fixed part of a run.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub workers: usize,
    pub clients: usize,
    pub tick_ms: i64,
    pub length_ms: i64,
    /// How long it goes on after that.
    pub tail_ms: i64,
    pub balance: Balance,
    pub health: bool,
    pub max_sessions: Option<u32>,
    /// What there is beside the HTTP pools.
    pub beside: Option<Beside>,
    pub loads: Option<Loads>,
    /// So many users that their traffic tells who is sick.
    pub crowd: bool,
    /// Agents on servers are asked.
    pub agents: bool,
    /// Operators rebalance pools.
    pub rebalances: bool,
    /// Servers come by a name.
    pub named: bool,
    pub file: File,
}

/// What the configuration file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    /// Bit `n` of a pool: server `w<n>` is in it. A pool without servers is not in the file.
    pub servers: [u8; 4],
    pub minimum: u32,
    /// The first server of the first pool is at another address.
    pub moved: bool,
    /// The first resource of the NBD pool is in maintenance.
    pub withdrawn: bool,
}

/// Something that happens at its time.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub at: i64,
    pub action: Action,
}

/// Something that happens.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Request {
        client: usize,
        pool: usize,
        shows: Shows,
        lasts_ms: i64,
        tunnel: bool,
    },
    Logout {
        client: usize,
        pool: usize,
    },
    Operator(Order),
    Door(AtDoor),
    /// A user of the TCP pool connects, and leaves after so long.
    Connect {
        user: usize,
        lasts_ms: i64,
    },
    /// A client of the NBD pool asks for a resource, and reads now and then.
    Mount {
        client: usize,
        resource: usize,
        lasts_ms: i64,
        pace_ms: i64,
    },
    /// What a server of the NBD pool has of a resource changes, or what it says of it.
    Copy(CopyChange),
    /// What is said of how busy a server's machine is.
    Load(ServerNumber, Says),
    /// What comes of looking up the name.
    Resolve(Resolves),
    /// What comes of asking the agent on a server.
    Agent(ServerNumber, Replies),
    Server(ServerNumber, Being),
    /// For so long, this server is sick.
    Sick(ServerNumber, Ails, i64),
    /// For so long, probes of this server come back late, or not at all.
    Probes {
        server: ServerNumber,
        lost: bool,
        for_ms: i64,
    },
    Kill {
        down_ms: i64,
        reboot: bool,
    },
    WallStep(i64),
    Disk(DiskFault, i64),
    /// For so long, this worker takes snapshots late (but serves), or does nothing at all.
    Worker {
        worker: usize,
        stalled: bool,
        for_ms: i64,
    },
}

/// The token that a client shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shows {
    /// The one it was given last for this pool.
    Own,
    /// One it was given before that.
    Earlier(usize),
    /// Its own with another server's name in it, or another epoch: the seal is broken.
    Forged,
    /// The one for the other pool.
    OtherPool,
    /// None.
    Nothing,
}

/// What an operator asks for.
#[derive(Clone, Debug)]
pub(super) enum Order {
    Ready(ServerNumber, bool),
    Hold(ServerNumber, bool),
    /// Within so many milliseconds; 0: only other words.
    Drain(ServerNumber, i64, bool),
    Maintenance(ServerNumber, bool),
    Forget(ServerNumber),
    EndSession {
        client: usize,
        pool: usize,
    },
    /// Ends the session of the connection that is this far among those that are open.
    EndConnection(usize),
    Set(ServerNumber, u32, Option<u32>),
    Peak(ServerNumber, Option<u8>, bool),
    Add(ServerNumber),
    Remove(ServerNumber, bool),
    Rebalance(usize, u32),
    StopRebalance(usize),
    Rotate,
    Reload(File),
    Close(usize, Closes),
    Open(usize),
    OpenDoor(Opens),
    CloseDoor(usize),
}

/// How an operator closes a pool, or changes how it closes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Closes {
    pub within_ms: Option<i64>,
    pub block_new: Option<BlockNew>,
    /// With words to the users.
    pub says: bool,
    pub lasting_ms: Option<i64>,
    pub until_upgraded: Option<bool>,
}

/// How a server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Being {
    Well,
    Dead,
    /// Takes connections and never answers.
    Hung,
    OnHold,
    AllInUse,
    /// Its page tells of so many places.
    HasPlaces(u8),
    /// Serves, but its health page says otherwise.
    SaysBad,
    /// Refuses connections, but its health page says that all is well.
    SaysGood,
}

/// What the disk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DiskFault {
    Slow,
    Full,
    /// Does not sync: all, some or none of the write is there.
    Failing,
}

impl File {
    pub fn config(&self, setup: &Setup) -> Arc<Config> {
        let mut config = Config::default();
        for (index, name) in POOLS.iter().enumerate() {
            let mask = self.servers[index];
            if mask == 0 {
                continue;
            }
            let mut pool = PoolConfig::new(*name);
            pool.balance = setup.balance;
            pool.minimum = self.minimum;
            pool.sticky.reuse = REUSE;
            pool.sticky.active = ACTIVE;
            pool.notice.reminders = REMINDERS.to_vec();
            pool.upgrade = (index == 0).then(|| UpgradeCheck {
                path: "/version".into(),
                expect: None,
                probes: 1,
                within: REUSE,
            });
            pool.slow_start = SLOW_START;
            pool.verify = Some(VerifyCheck {
                within: VERIFY_WITHIN,
                ..VerifyCheck::defaults()
            });
            pool.health = setup.health.then(HealthSettings::defaults);
            if setup.crowd {
                pool.outliers = crowd::outliers();
            }
            if let Some(beside) = &setup.beside {
                beside.settle(index, self.withdrawn, &mut pool);
            }
            if setup.named {
                names::settle(index, setup.max_sessions, &mut pool);
            }
            if setup.agents {
                agents::settle(index, &mut pool);
            }
            if let Some(loads) = &setup.loads {
                loads.settle(index, &mut pool);
            }
            for number in (0..8).filter(|number| mask & (1 << number) != 0) {
                let port = 9000 + 100 * index as u16 + number;
                let moved = self.moved && index == 0 && number == 0;
                let address = ([127, 0, 0, 1], port + 1000 * u16::from(moved)).into();
                let mut server = ServerConfig::new(format!("w{number}"), address);
                server.max_sessions = match &setup.beside {
                    Some(beside) if index >= SHELLS => beside.max_sessions,
                    _ => setup.max_sessions,
                };
                pool.servers.push(server);
            }
            config.listeners.push(ListenerConfig {
                name: (*name).into(),
                bind: ([127, 0, 0, 1], 8080 + index as u16).into(),
                pool: (*name).into(),
                proxy_from: Vec::new(),
            });
            config.pools.push(pool);
        }
        Arc::new(config)
    }
}

/// The name of a pool by its number.
pub(super) fn pool_name(pool: usize) -> &'static str {
    POOLS[pool]
}

/// The number of a pool by its name.
pub(super) fn pool_number(name: &str) -> usize {
    let number = POOLS.iter().position(|known| *known == name);
    number.expect("plans and configurations name no other pool")
}

/// The run of a seed.
pub(super) fn plan(seed: u64) -> (Setup, Vec<Planned>) {
    let mut dice = Dice::new(seed);
    let beside = beside::setup(&mut Dice::new(seed ^ BESIDE));
    let (third, fourth) = beside.as_ref().map_or((0, 0), |beside| beside.servers);
    let first = (1 << dice.between(2, 4)) - 1;
    let second = (1 << dice.between(1, 2)) - 1;
    let setup = Setup {
        workers: 1 + dice.below(3),
        clients: 3 + dice.below(6),
        tick_ms: dice.between(50, 100),
        length_ms: dice.between(20_000, 45_000),
        tail_ms: TAIL_MS,
        balance: [
            Balance::LeastSessions,
            Balance::RoundRobin,
            Balance::SourceHash,
        ][dice.below(3)],
        health: dice.chance(85),
        max_sessions: dice.chance(30).then(|| 1 + dice.below(4) as u32),
        file: File {
            servers: [first, second, third, fourth],
            minimum: 1 + dice.below(2) as u32,
            moved: false,
            withdrawn: false,
        },
        beside,
        loads: loads::setup(&mut Dice::new(seed ^ LOADS)),
        crowd: crowd::is_there(&mut Dice::new(seed ^ CROWD)),
        rebalances: rebalances::are_there(&mut Dice::new(seed ^ REBALANCES)),
        named: names::is_there(&mut Dice::new(seed ^ NAMED)),
        agents: agents::are_there(&mut Dice::new(seed ^ AGENTS)),
    };
    let mut planner = Planner {
        focus: ServerNumber::of_file(0, dice.below(2)),
        setup,
        dice,
        actions: Vec::new(),
    };
    planner.users();
    planner.operators();
    planner.faults();
    planner.closings(Dice::new(seed ^ CLOSINGS));
    planner.doors(Dice::new(seed ^ DOORS));
    planner.beside(Dice::new(!(seed ^ BESIDE)));
    planner.loads(Dice::new(!(seed ^ LOADS)));
    planner.crowd(Dice::new(!(seed ^ CROWD)));
    planner.agents(Dice::new(!(seed ^ AGENTS)));
    planner.names(Dice::new(!(seed ^ NAMED)));
    planner.rebalances(Dice::new(!(seed ^ REBALANCES)));
    planner.kills_while_writing(Dice::new(!seed));
    let Planner {
        setup, mut actions, ..
    } = planner;
    actions.sort_by_key(|planned| planned.at);
    (setup, actions)
}

pub(super) struct Planner {
    pub setup: Setup,
    pub dice: Dice,
    /// Most of what happens, happens to this server: faults that meet are the interesting ones.
    focus: ServerNumber,
    actions: Vec<Planned>,
}

impl Planner {
    pub fn add(&mut self, at: i64, action: Action) {
        self.actions.push(Planned { at, action });
    }

    pub fn moment(&mut self) -> i64 {
        let end = self.setup.length_ms;
        self.dice.between(100, end)
    }

    pub fn server(&mut self) -> ServerNumber {
        if self.dice.chance(70) {
            return self.focus;
        }
        let pool = self.dice.below(2);
        match self.dice.chance(15) {
            true => ServerNumber::added(pool, self.dice.below(2)),
            false => ServerNumber::of_file(pool, self.dice.below(4)),
        }
    }

    fn users(&mut self) {
        let pause = [600, 1500, 3000][self.dice.below(3)];
        for client in 0..self.setup.clients {
            let mut at = self.dice.between(0, 3000);
            while at < self.setup.length_ms {
                let pool = usize::from(self.dice.chance(20));
                let action = match self.dice.chance(4) {
                    true => Action::Logout { client, pool },
                    false => self.request(client, pool),
                };
                self.add(at, action);
                at += self.dice.between(pause / 4, pause * 2);
                if self.dice.chance(6) {
                    // Quiet for about as long as a session binds, or for as long as a token lives.
                    at += self.dice.between(5_000, 13_000);
                }
            }
        }
    }

    fn request(&mut self, client: usize, pool: usize) -> Action {
        let tunnel = self.dice.chance(8);
        let shows = match self.dice.below(40) {
            0 => Shows::Nothing,
            1 => Shows::Forged,
            2 => Shows::OtherPool,
            3..=5 => Shows::Earlier(self.dice.below(3)),
            _ => Shows::Own,
        };
        let lasts_ms = match (tunnel, self.dice.chance(10)) {
            (true, _) => self.dice.between(1000, 15_000),
            (false, true) => self.dice.between(500, 9000),
            (false, false) => self.dice.between(1, 200),
        };
        Action::Request {
            client,
            pool,
            shows,
            lasts_ms,
            tunnel,
        }
    }

    fn operators(&mut self) {
        for _ in 0..self.dice.between(3, 16) {
            let at = self.moment();
            let order = self.order();
            let server = match &order {
                Order::Drain(server, within, _) if *within > 0 => Some((*server, *within)),
                _ => None,
            };
            self.add(at, Action::Operator(order));
            if self.dice.chance(25) {
                // Another operator, at the same moment.
                let (order, later) = (self.order(), self.dice.between(0, 40));
                self.add(at + later, Action::Operator(order));
            }
            if let Some((server, within)) = server {
                self.around_the_deadline(at + within, server);
            }
        }
    }

    /// The moment at which a drain ends is the one at which most can go wrong.
    pub fn around_the_deadline(&mut self, deadline: i64, server: ServerNumber) {
        if deadline >= self.setup.length_ms {
            return;
        }
        if self.dice.chance(40) {
            let at = deadline + self.dice.between(-400, 200);
            let order = match self.dice.below(6) {
                0 => Order::Ready(server, false),
                1 => Order::Hold(server, true),
                2 => Order::Drain(server, self.dice.between(1000, 8000), true),
                3 => Order::Forget(server),
                4 => Order::Set(server, 1 + self.dice.below(3) as u32, None),
                _ => Order::Remove(server, true),
            };
            if self.dice.chance(60) {
                let for_ms = self.dice.between(200, 900);
                self.add(at - 10, Action::Disk(DiskFault::Slow, for_ms));
            }
            self.add(at, Action::Operator(order));
        }
        if self.dice.chance(30) {
            let at = deadline + self.dice.between(-1500, 1200);
            let action = self.kill();
            self.add(at, action);
        }
    }

    fn order(&mut self) -> Order {
        let server = self.server();
        self.order_of(server)
    }

    pub fn order_of(&mut self, server: ServerNumber) -> Order {
        let force = self.dice.chance(50);
        match self.dice.below(24) {
            0..=3 => Order::Ready(server, force),
            4..=6 => Order::Hold(server, force),
            7..=10 => Order::Drain(server, self.dice.between(1000, 15_000), force),
            11 => Order::Drain(server, 0, force),
            12 | 13 => Order::Maintenance(server, force),
            14 => Order::Forget(server),
            15 | 16 => Order::EndSession {
                client: self.dice.below(self.setup.clients),
                pool: usize::from(self.dice.chance(20)),
            },
            17 => {
                let max = self.dice.chance(30).then(|| 1 + self.dice.below(3) as u32);
                Order::Set(server, 1 + self.dice.below(3) as u32, max)
            }
            18 | 19 => Order::Add(ServerNumber::added(server.pool(), self.dice.below(2))),
            20 => {
                let added = ServerNumber::added(server.pool(), self.dice.below(2));
                Order::Remove(added, force)
            }
            21 => Order::Rotate,
            _ => Order::Reload(self.file()),
        }
    }

    pub fn file(&mut self) -> File {
        let mut file = self.setup.file.clone();
        match self.dice.below(5) {
            0 => {}
            1 => file.servers[0] ^= 1 << self.dice.below(4),
            2 => file.servers[0] &= !(1 << self.dice.below(2)),
            3 => file.servers[1] = 0,
            _ => file.moved = true,
        }
        file.minimum = 1 + self.dice.below(2) as u32;
        if file.servers[0] == 0 {
            file.servers[0] = 1;
        }
        file
    }

    /// Each seed has some kinds of faults and not others: many of one kind find other things than
    /// a few of every kind.
    fn faults(&mut self) {
        let kinds: Vec<usize> = (0..6).filter(|_| self.dice.chance(55)).collect();
        for kind in kinds {
            for _ in 0..self.dice.between(1, 4) {
                let at = self.moment();
                let action = self.fault(kind);
                let spell = self.dice.between(500, 6000);
                if let Action::Server(server, _) = &action {
                    let well = Action::Server(*server, Being::Well);
                    self.add(at + spell, well);
                }
                self.add(at, action);
            }
        }
    }

    /// In some runs the node dies just when it stores what an operator asked for. The dice are of
    /// its own: they leave the rest of the plan as it is.
    fn kills_while_writing(&mut self, mut dice: Dice) {
        if !dice.chance(30) {
            return;
        }
        let of_operators = |planned: &&Planned| matches!(planned.action, Action::Operator(_));
        let orders = self.actions.iter().filter(of_operators);
        let moments: Vec<i64> = orders.map(|order| order.at).collect();
        for at in moments {
            if !dice.chance(30) {
                continue;
            }
            let action = Action::Kill {
                down_ms: dice.between(20, 1000),
                reboot: dice.chance(50),
            };
            self.actions.push(Planned {
                at: at + dice.between(0, 12),
                action,
            });
        }
    }

    fn fault(&mut self, kind: usize) -> Action {
        match kind {
            0 => {
                const BEINGS: [Being; 6] = [
                    Being::Dead,
                    Being::Hung,
                    Being::OnHold,
                    Being::AllInUse,
                    Being::SaysBad,
                    Being::SaysGood,
                ];
                Action::Server(self.server(), BEINGS[self.dice.below(6)])
            }
            1 => Action::Probes {
                server: self.server(),
                lost: self.dice.chance(50),
                for_ms: self.dice.between(500, 3500),
            },
            2 => self.kill(),
            3 => {
                let hour = 3_600_000;
                Action::WallStep([hour, -hour, 3000, -3000][self.dice.below(4)])
            }
            4 => {
                let fault = match self.dice.below(5) {
                    0 => DiskFault::Failing,
                    1 | 2 => DiskFault::Full,
                    _ => DiskFault::Slow,
                };
                Action::Disk(fault, self.dice.between(300, 5000))
            }
            _ => {
                let stalled = self.dice.chance(30);
                Action::Worker {
                    worker: self.dice.below(self.setup.workers),
                    stalled,
                    for_ms: self.dice.between(500, 7000),
                }
            }
        }
    }

    pub fn kill(&mut self) -> Action {
        Action::Kill {
            down_ms: self.dice.between(20, 3000),
            reboot: self.dice.chance(25),
        }
    }
}
