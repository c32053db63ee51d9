//! Doors: the part of a plan in which operators open and close them, and what browsers do at them.
//! The table of doors is the real one. Dice and rolls are of its own, so that the rest of a run is
//! what it would be without.

use super::dice::{Dice, scramble};
use super::number::ServerNumber;
use super::plan::{Action, Order, Planner, pool_name};
use super::world::World;
use ebbtide_core::{
    Command, Door, DoorId, DoorKeys, DoorSecret, DoorTable, Millis, PoolView, ServerView,
};
use std::net::IpAddr;
use std::sync::Arc;

/// How many of a hundred seeds open doors.
const DOOR_PERCENT: u64 = 50;
/// The shortest time that a door may be open.
const LASTING_MS: i64 = 60_000;
/// Whoever comes to a door; from where is only told.
const BROWSER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// How an operator opens a door, which has this number in the plan.
#[derive(Clone, Debug)]
pub(super) struct Opens {
    door: usize,
    server: ServerNumber,
    lasting_ms: i64,
}

/// What a browser does at the door with this number in the plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct AtDoor {
    pub door: usize,
    pub shows: DoorShows,
    pub does: DoorDeed,
}

/// What it shows: the address, or the cookie that it was given for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DoorShows {
    Own,
    Forged,
    /// Its own, to the other pool.
    OtherPool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DoorDeed {
    Enter,
    /// A request, which is served for so long.
    Pass(i64),
    /// Goes to the server at this place of the pool, counted round.
    Lead(usize),
    Leave,
}

/// A door as whoever opened it knows it.
pub(super) struct Held {
    keys: DoorKeys,
    pool: usize,
    cookie: Option<String>,
}

/// What has come through a door and is being served.
pub(super) struct Passage {
    pub worker: usize,
    pub door: Arc<Door>,
    pub ends_at: i64,
}

impl Planner {
    /// Operators open doors, also to what is closed or in the middle of closing, and close them;
    /// browsers come in time, too early, twice, too late, and with what is not theirs.
    pub(super) fn doors(&mut self, mut dice: Dice) {
        if !dice.chance(DOOR_PERCENT) {
            return;
        }
        std::mem::swap(&mut self.dice, &mut dice);
        let lasts_long = self.dice.chance(20);
        if lasts_long {
            self.setup.tail_ms = LASTING_MS + 4000;
        }
        for door in 0..self.dice.between(1, 3) as usize {
            let at = self.moment();
            self.door(door, at);
            if lasts_long {
                for _ in 0..4 {
                    let late = at + LASTING_MS + self.dice.between(-400, 2500);
                    self.at_door(door, late);
                }
            }
        }
        std::mem::swap(&mut self.dice, &mut dice);
    }

    fn door(&mut self, door: usize, at: i64) {
        let server = self.server();
        let opens = Opens {
            door,
            server,
            lasting_ms: LASTING_MS,
        };
        self.add(at, Action::Operator(Order::OpenDoor(opens)));
        let enters = AtDoor {
            door,
            shows: DoorShows::Own,
            does: DoorDeed::Enter,
        };
        let early = at + self.dice.between(0, 800);
        self.add(early, Action::Door(enters));
        if self.dice.chance(40) {
            // Another browser, at the same moment.
            let later = self.dice.between(0, 3);
            self.add(early + later, Action::Door(enters));
        }
        let spell = self.dice.between(500, 15_000);
        for _ in 0..self.dice.between(3, 14) {
            let when = at + self.dice.between(0, spell);
            self.at_door(door, when);
        }
        if self.dice.chance(40) {
            let when = at + self.dice.between(0, spell);
            self.plan(when, Action::Operator(Order::CloseDoor(door)));
        }
        if self.dice.chance(30) {
            let when = at + self.dice.between(0, spell);
            let kill = self.kill();
            self.plan(when, kill);
        }
    }

    fn at_door(&mut self, door: usize, at: i64) {
        let does = match self.dice.below(12) {
            0..=2 => DoorDeed::Enter,
            3 | 4 => DoorDeed::Lead(self.dice.below(4)),
            5 => DoorDeed::Leave,
            6 => DoorDeed::Pass(self.dice.between(2000, 20_000)),
            _ => DoorDeed::Pass(self.dice.between(1, 300)),
        };
        let shows = match self.dice.below(6) {
            0 => DoorShows::Forged,
            1 => DoorShows::OtherPool,
            _ => DoorShows::Own,
        };
        self.add(at, Action::Door(AtDoor { door, shows, does }));
    }
}

impl World {
    fn roll_at_door(&self, salt: u64) -> u64 {
        let at = self.at.unsigned_abs();
        scramble(scramble(self.seed.rotate_left(17)).wrapping_add(at << 8 | salt))
    }

    /// The command that opens this door, with keys of its own.
    pub(super) fn open_door(&mut self, opens: Opens) -> Command {
        let Opens {
            door,
            server,
            lasting_ms,
        } = opens;
        let secret = |salt| {
            let halves = [self.roll_at_door(salt), self.roll_at_door(salt + 1)];
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&halves[0].to_le_bytes());
            bytes[8..].copy_from_slice(&halves[1].to_le_bytes());
            DoorSecret(bytes)
        };
        let keys = DoorKeys {
            id: DoorId(self.roll_at_door(16 + door as u64)),
            entry: secret(32),
            cookie: secret(64),
            form: secret(96),
        };
        let held = Held {
            keys,
            pool: server.pool(),
            cookie: None,
        };
        self.doors.insert(door, held);
        Command::OpenDoor {
            server: server.name(),
            keys,
            lasting: Millis(lasting_ms.unsigned_abs()),
            as_admin: false,
        }
    }

    /// The command that closes this door, if somebody has opened it.
    pub(super) fn close_door(&self, door: usize) -> Option<Command> {
        let id = self.doors.get(&door)?.keys.id;
        Some(Command::CloseDoor { id })
    }

    /// Plays what a browser does at a door: it comes to one of the workers.
    pub(super) fn at_door(&mut self, index: usize, deed: AtDoor) {
        let roll = self.roll_at_door(128) as usize;
        let Some(node) = &self.node else { return };
        let number = roll % node.workers.len();
        let worker = &node.workers[number];
        if worker.stalled_until > self.at {
            let until = worker.stalled_until + 1;
            return self.again(index, until);
        }
        let snapshot = Arc::clone(&worker.snapshot);
        let Some(held) = self.doors.get(&deed.door) else {
            return;
        };
        let pool = match deed.shows {
            DoorShows::OtherPool => 1 - held.pool,
            DoorShows::Own | DoorShows::Forged => held.pool,
        };
        let text = match deed.does {
            DoorDeed::Enter => Some(held.keys.entry_text()),
            _ => held.cookie.clone(),
        };
        let (Some(view), Some(text)) = (snapshot.pool_named(pool_name(pool)), text) else {
            return;
        };
        let text = match deed.shows {
            DoorShows::Forged => forged(&text, roll),
            DoorShows::Own | DoorShows::OtherPool => text,
        };
        let door = self.come_to_door(&snapshot.doors, view, deed, &text);
        if let Some(door) = door {
            self.do_at_door(&snapshot.doors, (view, number), deed, &door);
        }
    }

    /// Whether it is let in.
    fn come_to_door(
        &mut self,
        doors: &DoorTable,
        pool: &PoolView,
        deed: AtDoor,
        text: &str,
    ) -> Option<Arc<Door>> {
        let (now, enters) = (self.now(), deed.does == DoorDeed::Enter);
        let found = match enters {
            true => doors.enter(pool.key, text.as_bytes(), BROWSER, now),
            false => doors.find(pool.key, text.as_bytes(), BROWSER, now),
        };
        let id = self.doors.get(&deed.door)?.keys.id;
        self.tell(|| format!("at door {id}: {:?}", found.as_ref().map(|door| door.id())));
        let is_genuine = deed.shows == DoorShows::Own;
        self.judge
            .came_to_door(id, is_genuine, enters, found.is_ok(), now);
        found.ok()
    }

    fn do_at_door(
        &mut self,
        doors: &DoorTable,
        (pool, worker): (&PoolView, usize),
        deed: AtDoor,
        door: &Arc<Door>,
    ) {
        let now = self.now();
        let number = |place: &ServerView| ServerNumber::of_view(pool, place);
        match deed.does {
            DoorDeed::Enter => {
                if let Some(held) = self.doors.get_mut(&deed.door) {
                    held.cookie = Some(door.cookie_text());
                }
            }
            DoorDeed::Pass(lasts_ms) => {
                let led = pool.server(door.server()).map(number);
                let there: Vec<ServerNumber> = pool.servers.iter().map(number).collect();
                self.judge.passed_door(door.id(), led, &there);
                let ends_at = self.at + lasts_ms;
                if let Some(node) = self.node.as_mut().filter(|_| led.is_some()) {
                    node.passages.push(Passage {
                        worker,
                        door: Arc::clone(door),
                        ends_at,
                    });
                }
            }
            DoorDeed::Lead(place) => {
                let server = &pool.servers[place % pool.servers.len()];
                doors.lead(door, server.key, BROWSER, now);
                self.judge.led_door(door.id(), number(server));
            }
            DoorDeed::Leave => {
                doors.leave(door, BROWSER, now);
                self.judge.left_door(door.id(), self.at);
            }
        }
    }

    /// Ends what has come through doors that are over, except where a worker does nothing at all.
    pub(super) fn cut_behind_doors(&mut self) {
        let (now, at) = (self.now(), self.at);
        let Some(node) = &mut self.node else { return };
        let (workers, judge) = (&node.workers, &mut self.judge);
        node.passages.retain(|passage| {
            let stalled_until = workers[passage.worker].stalled_until;
            let cut = stalled_until <= at && !passage.door.is_open(now.moment);
            let goes_on = !cut && passage.ends_at > at;
            if goes_on && stalled_until + 100 < at {
                judge.goes_on_behind_door(passage.door.id(), now, at);
            }
            goes_on
        });
    }
}

/// The same text but for one digit of its secret.
fn forged(text: &str, roll: usize) -> String {
    let place = 16 + roll % (text.len() - 16);
    let other = if &text[place..=place] == "0" {
        "1"
    } else {
        "0"
    };
    format!("{}{other}{}", &text[..place], &text[place + 1..])
}
