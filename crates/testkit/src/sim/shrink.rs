//! A failing run, made short: what is not needed for the failure is left out.

use super::judge::Failure;
use super::plan::{Planned, Setup, plan};
use super::world::World;

/// What happened in a run, to its end or its failure.
pub struct History {
    /// The failure, if there was one.
    pub failure: Option<Failure>,
    /// What was planned, and is left of it.
    pub planned: usize,
    /// What happened, a line each.
    pub lines: Vec<String>,
}

/// Plays a seed and tells its history: of a run that fails, the shortest that still fails by the
/// same promise.
pub fn shortest(seed: u64) -> History {
    let (setup, mut planned) = plan(seed);
    if let Err(failure) = play(seed, &setup, &planned) {
        planned.retain(|planned| planned.at <= failure.at_ms.max(1) || failure.at_ms == 0);
        drop_what_is_not_needed(seed, &setup, &mut planned, failure.promise);
    }
    let mut world = World::new(seed, setup.clone(), planned.clone(), true);
    let failure = world.run().err();
    let mut lines = vec![format!("{setup:?}")];
    lines.append(&mut world.told.unwrap_or_default());
    History {
        failure,
        planned: planned.len(),
        lines,
    }
}

fn play(seed: u64, setup: &Setup, planned: &[Planned]) -> Result<u64, Failure> {
    World::new(seed, setup.clone(), planned.to_vec(), false).run()
}

/// Leaves out half of the plan, then quarters, and so on down to single actions, for as long as
/// that makes it shorter.
fn drop_what_is_not_needed(
    seed: u64,
    setup: &Setup,
    planned: &mut Vec<Planned>,
    promise: &'static str,
) {
    let fails = |planned: &[Planned]| {
        play(seed, setup, planned).is_err_and(|failure| failure.promise == promise)
    };
    let mut size = planned.len().div_ceil(2);
    loop {
        let before = planned.len();
        let mut start = 0;
        while start < planned.len() {
            let end = (start + size).min(planned.len());
            let shorter = [&planned[..start], &planned[end..]].concat();
            match fails(&shorter) {
                true => *planned = shorter,
                false => start = end,
            }
        }
        // Nothing at all is left of it where a node fails that nobody does anything to.
        if size <= 1 && planned.len() == before {
            return;
        }
        size = size.div_ceil(2);
    }
}
