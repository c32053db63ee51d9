//! The part of a plan in which the first pool has servers by a name: its addresses come, go and come back,
//! and answers are wrong in every way. Dice are of its own, so that the rest of a run is what it would be
//! without.

use super::dice::Dice;
use super::number::ServerNumber;
use super::plan::{Action, Order, Planner};
use super::world::{NodeHappening, World};
use ebbtide_core::{Input, Millis, NameAnswer, NameConfig, PoolConfig, ServerConfig};
use std::net::SocketAddr;

/// How many of a hundred seeds have a name.
const NAMED_PERCENT: u64 = 25;
/// Between two look-ups.
const EVERY_MS: i64 = 1000;
const LEAVE_WITHIN: Millis = Millis::from_secs(5);
/// The pool that has one, and what that is called.
pub(super) const POOL: usize = 0;
const NAME: &str = "n";
/// The address of the first server of the file, and of one of the name if the file has lost that.
pub(super) const OF_ANOTHER: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9000);
/// So many addresses the name may have.
const ADDRESSES: u8 = 3;

/// What comes of looking the name up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolves {
    /// Bit `n`: it has the address with this number. None at all is an answer, too.
    To(u8),
    /// The same, and addresses that lead back to a listener and to another server of the pool.
    ToItself(u8),
    Fails,
    /// Not even that is known for a while.
    Nothing,
}

/// Whether there is a name.
pub(super) fn is_there(dice: &mut Dice) -> bool {
    dice.chance(NAMED_PERCENT)
}

/// The address of the name with this number.
fn address(number: u8) -> SocketAddr {
    ([127, 0, 1, number], 9000).into()
}

impl Resolves {
    /// The addresses of which servers are made, but for that of another server; `None`: everything stays as it
    /// was.
    pub fn usable(self) -> Option<Vec<SocketAddr>> {
        let (Self::To(mask) | Self::ToItself(mask)) = self else {
            return None;
        };
        let numbers = (0..ADDRESSES).filter(|number| mask & (1 << number) != 0);
        let usable: Vec<_> = numbers.map(address).collect();
        let has_another = matches!(self, Self::ToItself(_));
        (has_another || !usable.is_empty()).then_some(usable)
    }

    fn answer(self) -> Result<NameAnswer, String> {
        let (addresses, is_itself) = match self {
            Self::To(_) => (self.usable(), false),
            Self::ToItself(_) => (self.usable(), true),
            Self::Fails | Self::Nothing => return Err("the name server does not answer".into()),
        };
        let mut answer = NameAnswer {
            addresses: addresses.unwrap_or_default(),
            own: Vec::new(),
        };
        if is_itself {
            answer.addresses.push(OF_ANOTHER);
            let own = ([127, 0, 0, 1], 8080).into();
            answer.own.push((own, "app".into()));
        }
        Ok(answer)
    }
}

/// Gives the first pool a name.
pub(super) fn settle(index: usize, max_sessions: Option<u32>, pool: &mut PoolConfig) {
    if index != POOL {
        return;
    }
    pool.names.push(NameConfig {
        name: NAME.into(),
        host: "n.internal".into(),
        port: 9000,
        every: Millis(EVERY_MS.unsigned_abs()),
        leave_within: LEAVE_WITHIN,
        server: ServerConfig {
            max_sessions,
            ..ServerConfig::new(NAME, address(0))
        },
    });
}

impl Planner {
    /// The name's addresses change, and operators and faults meet its servers.
    pub(super) fn names(&mut self, mut dice: Dice) {
        if !self.setup.named {
            return;
        }
        std::mem::swap(&mut self.dice, &mut dice);
        let first = Resolves::To(1 + self.dice.below(7) as u8);
        self.add(0, Action::Resolve(first));
        for _ in 0..self.dice.between(2, 10) {
            let at = self.moment();
            let mask = self.dice.below(8) as u8;
            let resolves = match self.dice.below(10) {
                0 => Resolves::Fails,
                1 => Resolves::Nothing,
                2 => Resolves::ToItself(mask),
                _ => Resolves::To(mask),
            };
            self.add(at, Action::Resolve(resolves));
            if self.dice.chance(30) {
                // Back before the drain is over, or just then.
                let back = at + self.dice.between(500, 8000);
                let more = mask | 1 << self.dice.below(3);
                self.add(back, Action::Resolve(Resolves::To(more)));
            }
        }
        for _ in 0..self.dice.between(0, 5) {
            let (at, server) = (self.moment(), ServerNumber::named(POOL, self.dice.below(3)));
            let order = match self.dice.chance(15) {
                true => Order::Remove(server, self.dice.chance(50)),
                false => self.order_of(server),
            };
            self.add(at, Action::Operator(order));
        }
        if self.dice.chance(30) {
            let (at, kill) = (self.moment(), self.kill());
            self.add(at, kill);
        }
        std::mem::swap(&mut self.dice, &mut dice);
    }
}

impl World {
    /// Looks the name up.
    pub(super) fn look_up(&mut self) {
        let resolves = self.resolves;
        if resolves != Resolves::Nothing {
            let at = self.at + self.between(1, 200);
            self.node_later(at, NodeHappening::LookedUp(resolves));
        }
        self.node_later(self.at + EVERY_MS, NodeHappening::LookUp);
    }

    pub(super) fn looked_up(&mut self, resolves: Resolves) {
        self.judge.looked_up(resolves.usable());
        self.step(Input::LookedUp {
            pool: super::plan::pool_name(POOL).into(),
            name: NAME.into(),
            answer: resolves.answer(),
        });
    }
}
