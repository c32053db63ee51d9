//! A fixed set of simulations, and every seed that once failed. `cargo xtask sim` plays more.

use ebbtide_testkit::sim::{shortest, simulate};

const FIXED: std::ops::RangeInclusive<u64> = 1..=300;
const ONCE_FAILED: &str = include_str!("../sim/seeds.txt");

#[test]
fn every_promise_is_kept() {
    let lines = ONCE_FAILED.lines().filter(|line| !line.starts_with('#'));
    let once_failed = lines.map(|line| {
        let seed = line.split_whitespace().next().unwrap_or_default();
        seed.parse()
            .expect("a line of seeds.txt begins with a seed")
    });
    for seed in FIXED.chain(once_failed) {
        if simulate(seed).is_err() {
            let history = shortest(seed);
            let failure = history.failure.map(|failure| failure.to_string());
            panic!(
                "seed {seed} fails ({} planned actions are needed for it)\n{}\n{}",
                history.planned,
                history.lines.join("\n"),
                failure.unwrap_or_default()
            );
        }
    }
}

#[test]
fn a_seed_is_always_the_same_run() {
    assert_eq!(shortest(7).lines, shortest(7).lines);
}
