//! The part of a plan in which operators rebalance the HTTP pools, after servers were out for a while so that
//! the others are crowded. Dice are of its own, so that the rest of a run is what it would be without.

use super::dice::Dice;
use super::number::ServerNumber;
use super::plan::{Action, Order, Planner};

/// How many of a hundred seeds have rebalances.
const REBALANCES_PERCENT: u64 = 25;

/// Whether there are any.
pub(super) fn are_there(dice: &mut Dice) -> bool {
    dice.chance(REBALANCES_PERCENT)
}

impl Planner {
    /// Servers are out and come back; then some rebalance, or none is left over, or is stopped.
    pub(super) fn rebalances(&mut self, mut dice: Dice) {
        if !self.setup.rebalances {
            return;
        }
        std::mem::swap(&mut self.dice, &mut dice);
        for _ in 0..self.dice.between(1, 4) {
            let at = self.moment();
            let pool = usize::from(self.dice.chance(20));
            let out = self.dice.between(2000, 8000);
            for number in 1..4 {
                let server = ServerNumber::of_file(pool, number);
                let (hold, ready) = (Order::Hold(server, true), Order::Ready(server, true));
                self.add(at, Action::Operator(hold));
                self.add(at + out, Action::Operator(ready));
            }
            let begins = at + out + self.dice.between(100, 2500);
            let rate = [1, 1, 5, 1000][self.dice.below(4)];
            let order = Order::Rebalance(pool, rate);
            self.add(begins, Action::Operator(order));
            let again = begins + self.dice.between(0, 6000);
            match self.dice.below(4) {
                0 => self.add(again, Action::Operator(Order::StopRebalance(pool))),
                1 => self.add(again, Action::Operator(Order::Rebalance(pool, rate))),
                _ => {}
            }
        }
        std::mem::swap(&mut self.dice, &mut dice);
    }
}
