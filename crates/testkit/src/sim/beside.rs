//! The part of a plan in which there are a TCP pool and an NBD pool beside the HTTP pools: who connects,
//! what becomes of servers and of the copies that they have. Dice and rolls are of its own, so that
//! the rest of a run is what it would be without.

use super::copies::{CONTENTS, Copies, CopyChange, Knows};
use super::dice::{Dice, scramble};
use super::number::ServerNumber;
use super::plan::{Action, Being, DISKS, File, Order, Planner, SHELLS, pool_name};
use super::world::{NodeHappening, World};
use ebbtide_core::{
    Balance, Digest, Fact, IdentitySource, Input, ManifestCopies, Millis, Mode, PoolConfig,
    Protocol, ReplicaSettings, ResourceConfig, Snapshot,
};

/// How many of a hundred seeds have these pools.
const BESIDE_PERCENT: u64 = 45;
/// How long a session that has lost its server waits for one that can stand in.
pub(super) const STAND_IN_MS: i64 = 5000;
/// How long a server of the NBD pool may take to let itself be connected to.
pub(super) const CONNECT_MS: i64 = 500;
/// How long a server that owes an answer may be silent.
pub(super) const SILENCE_MS: i64 = 1000;
/// Between two looks at a manifest.
pub(super) const MANIFEST_EVERY_MS: i64 = 1000;
/// The resources of the NBD pool, in the order of their names.
pub(super) const RESOURCES: [&str; 3] = ["base", "more", "own"];

/// What there is beside the HTTP pools.
#[derive(Clone, Debug)]
pub(super) struct Beside {
    /// The servers of both pools, as [`File`] has them.
    pub servers: (u8, u8),
    pub users: usize,
    pub balance: Balance,
    pub max_sessions: Option<u32>,
    pub knows: Knows,
    /// What servers have at first: for each resource and server a content and a variation of its
    /// time.
    pub first: [[(u8, u8); 4]; 3],
    /// The digest of the right copy of the second resource is in the file.
    pub pinned: bool,
    /// The third resource is private; otherwise it is not balanced.
    pub private: bool,
}

/// What there is beside the HTTP pools, in some runs.
pub(super) fn setup(dice: &mut Dice) -> Option<Beside> {
    if !dice.chance(BESIDE_PERCENT) {
        return None;
    }
    let shells = (1 << dice.between(2, 3)) - 1;
    let disks = (1 << dice.between(2, 4)) - 1;
    let knows = Knows::ALL[dice.below(Knows::ALL.len())];
    let mut first = [[(0, 0); 4]; 3];
    for copy in first.iter_mut().flatten() {
        if dice.chance(25) {
            *copy = (dice.below(usize::from(CONTENTS)) as u8, 0);
        }
        if dice.chance(10) {
            copy.1 = 1;
        }
    }
    Some(Beside {
        servers: (shells, disks),
        users: 2 + dice.below(4),
        balance: [Balance::LeastSessions, Balance::RoundRobin][dice.below(2)],
        max_sessions: dice.chance(25).then(|| 2 + dice.below(3) as u32),
        knows,
        first,
        pinned: knows.has_digests() && dice.chance(40),
        private: dice.chance(50),
    })
}

impl Beside {
    /// Makes the pool with this number what it is, if it is one of these.
    pub fn settle(&self, index: usize, withdrawn: bool, pool: &mut PoolConfig) {
        match index {
            SHELLS => pool.protocol = Protocol::Tcp,
            DISKS => {
                pool.protocol = Protocol::Nbd;
                pool.nbd.stand_in = Millis(STAND_IN_MS.unsigned_abs());
                pool.replicas = self.replicas(withdrawn);
            }
            _ => return,
        }
        pool.balance = self.balance;
    }

    fn replicas(&self, withdrawn: bool) -> ReplicaSettings {
        let mut resources = RESOURCES.map(ResourceConfig::shared);
        if withdrawn {
            resources[0].mode = Mode::Maintenance;
        }
        if self.pinned {
            resources[1].digest = Some(Digest([0; 32]));
        }
        resources[2].server = Some("w0".into());
        match self.private {
            true => resources[2].mode = Mode::Private,
            false => resources[2].balance = false,
        }
        ReplicaSettings {
            source: IdentitySource::Manifest,
            manifest: Some("http://{server}/manifest.json".into()),
            manifest_every: Millis(MANIFEST_EVERY_MS.unsigned_abs()),
            resources: resources.to_vec(),
            ..ReplicaSettings::defaults()
        }
    }
}

impl Planner {
    /// Users connect and come back, clients read; servers, copies, operators and the node do to these
    /// pools what they do to others.
    pub(super) fn beside(&mut self, mut dice: Dice) {
        let Some(beside) = self.setup.beside.clone() else {
            return;
        };
        std::mem::swap(&mut self.dice, &mut dice);
        for user in 0..beside.users {
            self.connections(user);
            self.mounts(user);
        }
        let focus = [SHELLS, DISKS].map(|pool| self.server_of(pool));
        self.orders_beside(&focus);
        self.faults_beside(&focus);
        self.copies();
        for pool in [SHELLS, DISKS] {
            if self.dice.chance(30) {
                self.closing(pool);
            }
        }
        std::mem::swap(&mut self.dice, &mut dice);
    }

    fn server_of(&mut self, pool: usize) -> ServerNumber {
        match self.dice.chance(8) {
            true => ServerNumber::added(pool, self.dice.below(2)),
            false => ServerNumber::of_file(pool, self.dice.below(3)),
        }
    }

    fn connections(&mut self, user: usize) {
        let mut at = self.dice.between(0, 4000);
        while at < self.setup.length_ms {
            let lasts_ms = match self.dice.below(4) {
                0 => self.dice.between(1, 800),
                1 | 2 => self.dice.between(1000, 9000),
                _ => self.dice.between(9000, 25_000),
            };
            self.add(at, Action::Connect { user, lasts_ms });
            // Often back within what binds a source, now and then beside what is still open.
            at += match self.dice.below(5) {
                0 => self.dice.between(10, 2000),
                1 => lasts_ms + self.dice.between(7000, 10_000),
                _ => lasts_ms + self.dice.between(50, 5000),
            };
        }
    }

    fn mounts(&mut self, client: usize) {
        let mut at = self.dice.between(200, 5000);
        while at < self.setup.length_ms {
            let lasts_ms = self.dice.between(1000, 20_000);
            let resource = [0, 0, 1, 1, 2][self.dice.below(5)];
            let pace_ms = [15, 120, 900][self.dice.below(3)];
            let mount = Action::Mount {
                client,
                resource,
                lasts_ms,
                pace_ms,
            };
            self.add(at, mount);
            at += self.dice.between(500, 12_000);
        }
    }

    fn orders_beside(&mut self, focus: &[ServerNumber; 2]) {
        for _ in 0..self.dice.between(2, 9) {
            let at = self.moment();
            let server = self.one_of(focus);
            let order = match self.dice.below(12) {
                0 => Order::EndConnection(self.dice.below(6)),
                1 | 2 => Order::Reload(self.file_beside()),
                3..=5 => Order::Drain(server, self.dice.between(1000, 12_000), true),
                _ => self.order_of(server),
            };
            if let Order::Drain(server, within, _) = &order {
                self.around_the_deadline(at + within, *server);
            }
            self.add(at, Action::Operator(order));
        }
    }

    fn one_of(&mut self, focus: &[ServerNumber; 2]) -> ServerNumber {
        let index = self.dice.below(2);
        match self.dice.chance(65) {
            true => focus[index],
            false => self.server_of([SHELLS, DISKS][index]),
        }
    }

    fn file_beside(&mut self) -> File {
        let mut file = self.setup.file.clone();
        let pool = [SHELLS, DISKS][self.dice.below(2)];
        match self.dice.below(6) {
            0 => file.servers[pool] = 0,
            1 | 2 => file.servers[pool] &= !(1 << self.dice.below(2)),
            3 => file.withdrawn = true,
            _ => {}
        }
        file
    }

    fn faults_beside(&mut self, focus: &[ServerNumber; 2]) {
        for _ in 0..self.dice.between(0, 6) {
            let at = self.moment();
            let server = self.one_of(focus);
            let being = match self.dice.below(9) {
                0..=3 => Being::Dead,
                4 | 5 => Being::Hung,
                6 => Being::OnHold,
                7 => Being::AllInUse,
                _ => Being::SaysBad,
            };
            let back = at + self.dice.between(300, 9000);
            self.add(back, Action::Server(server, Being::Well));
            self.add(at, Action::Server(server, being));
        }
        if self.dice.chance(40) {
            let stalled = self.dice.chance(40);
            let slow = Action::Worker {
                worker: self.dice.below(self.setup.workers),
                stalled,
                for_ms: self.dice.between(500, 5000),
            };
            let at = self.moment();
            self.add(at, slow);
        }
        if self.dice.chance(25) {
            let (at, kill) = (self.moment(), self.kill());
            self.add(at, kill);
        }
    }

    /// What servers have, and what they say of it, changes; where they say it cannot be read.
    fn copies(&mut self) {
        for _ in 0..self.dice.between(0, 6) {
            let at = self.moment();
            let server = ServerNumber::of_file(DISKS, self.dice.below(4));
            let resource = self.dice.below(RESOURCES.len());
            let content = self.dice.below(usize::from(CONTENTS)) as u8;
            let variation = u8::from(self.dice.chance(20));
            let (told_after, lasts) = (self.dice.between(0, 3000), self.dice.between(300, 14_000));
            let spell = at + lasts;
            let add = |planner: &mut Self, at: i64, change: CopyChange| {
                planner.add(at, Action::Copy(change));
            };
            match self.dice.below(7) {
                0 | 1 => {
                    let bytes = CopyChange::Bytes(server, resource, (content, variation));
                    add(self, at, bytes);
                    add(self, at + told_after, CopyChange::Tell(server, resource));
                }
                2 | 3 => {
                    let lie = CopyChange::Lie(server, resource);
                    add(self, at, lie);
                    add(self, spell, CopyChange::Tell(server, resource));
                }
                4 => {
                    add(self, at, CopyChange::Conceal(server, resource));
                    add(self, spell, CopyChange::Tell(server, resource));
                }
                _ => add(self, at, CopyChange::Unreadable(server, lasts)),
            }
        }
    }
}

impl World {
    /// Fetches every manifest.
    pub(super) fn manifest_round(&mut self) {
        let Some(node) = &self.node else { return };
        let snapshot = node.driver.snapshot();
        let pool = snapshot.pool_named(pool_name(DISKS));
        let places = pool.map_or(&[][..], |pool| &pool.replicas.manifests);
        let at = self.at;
        for manifest in places {
            let server = ServerNumber::in_pool(DISKS, &manifest.server);
            let quick = self.between_beside(1, 60);
            let (read, takes) = match self.being(server) {
                Being::Dead => (Err("connection refused".into()), quick),
                Being::Hung => (Err("is not there".into()), 900),
                _ => (self.copies.manifest(server, at), quick),
            };
            let place = manifest.place.clone();
            let read = NodeHappening::ManifestRead(server, place, read);
            self.node_later(at + takes, read);
        }
        self.node_later(at + MANIFEST_EVERY_MS, NodeHappening::ManifestRound);
    }

    pub(super) fn manifest_read(
        &mut self,
        number: ServerNumber,
        place: String,
        read: Result<ManifestCopies, String>,
    ) {
        let is_so = read
            .as_ref()
            .ok()
            .map(|told| self.copies.is_so(number, told));
        let shown = self.told.as_ref().map(|_| short(read.as_ref().ok()));
        let before = self.generation();
        self.step(Input::ManifestRead {
            server: number.name(),
            place,
            read,
        });
        let name = number.server();
        if self.generation() > before {
            self.tell(|| {
                format!(
                    "that was the manifest of {name}: {}",
                    shown.unwrap_or_default()
                )
            });
        }
        if let (Some(is_so), Some(node)) = (is_so, &self.node) {
            let snapshot = node.driver.snapshot();
            let pool = snapshot.pool_named(pool_name(DISKS));
            let is_there = pool.is_some_and(|pool| {
                let mut servers = pool.servers.iter();
                servers.any(|server| *server.name == *name)
            });
            if is_there {
                self.copies.told(number, is_so, snapshot.generation);
            }
        }
    }

    fn generation(&self) -> u64 {
        let node = self.node.as_ref();
        node.map_or(0, |node| node.driver.snapshot().generation)
    }

    /// What the node knew of servers that are not there it has to learn anew.
    pub(super) fn forget_copies(&mut self, snapshot: &Snapshot) {
        if self.setup.beside.is_none() {
            return;
        }
        let pool = snapshot.pool_named(pool_name(DISKS));
        for number in ServerNumber::all_in(DISKS) {
            let mut servers = pool.iter().flat_map(|pool| &pool.servers);
            if !servers.any(|server| *server.name == *number.server()) {
                self.copies.forget(number);
            }
        }
    }

    pub(super) fn tell_driver_beside(&mut self, fact: Fact) {
        let at = self.at + self.between_beside(0, 5);
        self.node_later(at, NodeHappening::Tell(fact));
    }

    /// A number for what happens in these pools: it shifts no other's.
    pub(super) fn roll_beside(&mut self) -> u64 {
        if self.rolled_beside.0 != self.at {
            self.rolled_beside = (self.at, 0);
        }
        self.rolled_beside.1 += 1;
        let (at, count) = (self.at.unsigned_abs(), self.rolled_beside.1);
        scramble(scramble(self.seed.rotate_left(29)).wrapping_add(at << 16 | count))
    }

    pub(super) fn between_beside(&mut self, low: i64, high: i64) -> i64 {
        low + (self.roll_beside() % (high - low + 1).unsigned_abs()).cast_signed()
    }

    /// What servers have, as the seed says.
    pub(super) fn first_copies(beside: Option<&Beside>) -> Copies {
        beside.map_or_else(Copies::default, |beside| {
            Copies::new(beside.knows, &beside.first)
        })
    }
}

/// A manifest, for whoever reads the story of a run.
fn short(told: Option<&ManifestCopies>) -> String {
    let Some(told) = told else {
        return "cannot be read".into();
    };
    let copies = told.iter().map(|(resource, identity)| {
        let identity = identity.as_ref().map(ToString::to_string);
        format!("{resource}: {}", identity.as_deref().unwrap_or("nothing"))
    });
    copies.collect::<Vec<_>>().join("; ")
}
