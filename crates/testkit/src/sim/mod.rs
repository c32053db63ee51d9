//! The simulator: a whole node in one process, from one seed, in simulated time.
//!
//! The real [`Driver`](ebbtide_core::Driver), [`SessionTable`](ebbtide_core::SessionTable) and
//! [`Store`](ebbtide_control::Store) run among simulated workers, users, servers and operators, the
//! store on a simulated disk, with every fault that we can think of. After each step a judge compares what happened with DESIGN's promises. A run
//! depends on nothing but its seed, so a seed that fails fails again.

mod agents;
mod beside;
mod closings;
mod copies;
mod crowd;
mod dice;
mod disk;
mod doors;
mod judge;
mod lines;
mod loads;
mod mounts;
mod names;
mod number;
mod orders;
mod plan;
mod probes;
mod queue;
mod rebalances;
mod shrink;
mod users;
mod worker;
mod world;

pub use judge::Failure;
pub use shrink::{History, shortest};
use world::World;

/// A run that kept every promise.
#[derive(Clone, Copy, Debug)]
pub struct Passed {
    /// What happened, in number.
    pub steps: u64,
}

/// Plays the run of a seed.
pub fn simulate(seed: u64) -> Result<Passed, Failure> {
    let (setup, plan) = plan::plan(seed);
    let steps = World::new(seed, setup, plan, false).run()?;
    Ok(Passed { steps })
}
