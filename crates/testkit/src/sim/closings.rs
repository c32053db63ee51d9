//! The part of a plan in which pools are closed and opened. Its dice are its own, so that the rest
//! of the plan is what it would be without.

use super::dice::Dice;
use super::number::ServerNumber;
use super::plan::{Action, Closes, DiskFault, File, Order, Planner, TAIL_MS};
use ebbtide_core::BlockNew;

/// How many of a hundred seeds close pools.
const CLOSING_PERCENT: u64 = 60;

impl Planner {
    /// Operators close pools, think better of it, contradict each other, and open them again.
    pub(super) fn closings(&mut self, mut dice: Dice) {
        if !dice.chance(CLOSING_PERCENT) {
            return;
        }
        std::mem::swap(&mut self.dice, &mut dice);
        for _ in 0..self.dice.between(1, 3) {
            let pool = usize::from(self.dice.chance(30));
            self.closing(pool);
        }
        std::mem::swap(&mut self.dice, &mut dice);
    }

    pub(super) fn closing(&mut self, pool: usize) {
        let end = self.setup.length_ms;
        let at = self.dice.between(100, end - 2000);
        let within = match self.dice.below(8) {
            0 => 0,
            1 | 2 => self.dice.between(1, 2500),
            _ => self.dice.between(2000, 16_000),
        };
        let closes = Closes {
            within_ms: Some(within),
            ..self.closes()
        };
        self.plan(at, Action::Operator(Order::Close(pool, closes)));
        if self.dice.chance(20) {
            let later = self.dice.between(0, 40);
            let order = self.another(pool);
            self.plan(at + later, Action::Operator(order));
        }
        for _ in 0..self.dice.below(3) {
            let between = at + self.dice.between(0, within.max(1));
            let order = self.another(pool);
            self.plan(between, Action::Operator(order));
        }
        self.meanwhile(pool, at, within);
        self.at_the_deadline(pool, at + within);
        if self.dice.chance(85) {
            let opens = at + within + self.dice.between(200, 7000);
            self.plan(opens, Action::Operator(Order::Open(pool)));
        }
    }

    /// Plans an action; not so late that the run would be over before its answer.
    pub(super) fn plan(&mut self, at: i64, action: Action) {
        self.add(at.min(self.setup.length_ms + TAIL_MS / 2), action);
    }

    /// What makes it hard to keep a countdown.
    fn meanwhile(&mut self, pool: usize, at: i64, within: i64) {
        if self.dice.chance(25) {
            let file = self.file_without(pool);
            let (away, back) = (self.dice.between(-500, within), self.dice.between(50, 6000));
            let away = (at + away).max(50);
            self.plan(away, Action::Operator(Order::Reload(file)));
            let whole = self.setup.file.clone();
            self.plan(away + back, Action::Operator(Order::Reload(whole)));
        }
        if self.dice.chance(25) {
            let kill = self.kill();
            let when = at + self.dice.between(0, within.max(1));
            self.plan(when, kill);
            if self.dice.chance(50) {
                let hour = 3_600_000;
                let by = [hour, -hour, 4000, -4000][self.dice.below(4)];
                let later = self.dice.between(-100, 500);
                self.plan((when + later).max(1), Action::WallStep(by));
            }
        }
        if self.dice.chance(25) {
            let name = ServerNumber::of_file(pool, 0);
            let when = at + self.dice.between(-1500, within);
            let order = match self.dice.below(4) {
                0 => Order::Hold(name, true),
                1 => Order::Ready(name, false),
                2 => Order::Maintenance(name, true),
                _ => Order::Drain(name, self.dice.between(1000, 12_000), true),
            };
            self.plan(when.max(50), Action::Operator(order));
        }
    }

    /// The moment at which a countdown ends is the one at which most can go wrong.
    fn at_the_deadline(&mut self, pool: usize, deadline: i64) {
        if self.dice.chance(40) {
            let at = deadline + self.dice.between(-400, 200);
            let order = self.another(pool);
            if self.dice.chance(60) {
                let for_ms = self.dice.between(200, 900);
                self.plan((at - 10).max(1), Action::Disk(DiskFault::Slow, for_ms));
            }
            self.plan(at.max(50), Action::Operator(order));
        }
        if self.dice.chance(30) {
            let at = deadline + self.dice.between(-1200, 1200);
            let kill = self.kill();
            self.plan(at.max(50), kill);
        }
    }

    /// Something else that is wanted of a pool that closes.
    fn another(&mut self, pool: usize) -> Order {
        let within_ms = match self.dice.below(8) {
            0 | 1 => return Order::Open(pool),
            2 => Some(0),
            3 => None,
            4 => Some(self.dice.between(1, 2000)),
            _ => Some(self.dice.between(2000, 16_000)),
        };
        let closes = self.closes();
        Order::Close(
            pool,
            Closes {
                within_ms,
                ..closes
            },
        )
    }

    fn closes(&mut self) -> Closes {
        let dice = &mut self.dice;
        Closes {
            within_ms: None,
            block_new: match dice.below(5) {
                0 | 1 => Some(BlockNew::AtDeadline),
                2 => Some(BlockNew::Now),
                _ => None,
            },
            says: dice.chance(50),
            lasting_ms: dice.chance(20).then(|| dice.between(0, 100_000)),
            until_upgraded: dice.chance(15).then(|| dice.chance(50)),
        }
    }

    fn file_without(&mut self, pool: usize) -> File {
        let mut file = self.setup.file.clone();
        match self.dice.chance(70) {
            true => file.servers[pool] = 0,
            false => file.servers[pool] &= !1,
        }
        file
    }
}
