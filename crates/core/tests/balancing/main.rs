//! What docs/balancing.md says of the policies.

mod simulation;

use ebbtide_core::{Balance, Millis, share_after};
use simulation::{PART, PARTS, SLOW_START};

#[test]
fn readings_and_room_spread_sessions_by_the_size_of_servers() {
    for (policy, balance) in simulation::POLICIES {
        let spread = simulation::play(balance, false);
        let (mean, worst) = (spread.maximum_over_mean, spread.worst);
        println!(
            "{policy:<16} {mean:.3}, at worst {worst:.3}: {:.2?}",
            spread.shares
        );
        match balance {
            Balance::LeastLoad | Balance::MostAvailable => assert!(mean <= 1.10, "{policy}"),
            Balance::RoundRobin => assert!(mean >= 1.5, "{policy}"),
            _ => assert!(mean > 1.10, "{policy}: nothing told it the sizes"),
        }
    }
}

#[test]
fn a_server_that_returns_is_given_no_more_than_the_curve_says() {
    for (policy, balance) in simulation::POLICIES {
        let at_once = simulation::play_return(balance, Millis(0));
        let slowly = simulation::play_return(balance, SLOW_START);
        println!("{policy:<16} {at_once:.2?}, slowly {slowly:.2?}");
        let fills_up = matches!(balance, Balance::LeastSessions | Balance::MostAvailable);
        assert!(!fills_up || at_once[0] > 0.9, "{policy}: it is empty");
        for (part, given) in slowly.iter().enumerate().take(PARTS - 1) {
            let seconds = |parts: usize| Millis(parts as u64 * PART * 1_000);
            let share = |parts| f64::from(share_after(seconds(parts), SLOW_START)) / 100.0;
            // A part does not take just its seconds, and chance has a say too.
            let (least, most) = (share(part) - 0.05, share(part + 1) + 0.05);
            assert!(*given <= most, "{policy}, part {part}: {given} of {most}");
            assert!(
                !fills_up || *given >= least,
                "{policy}, part {part}: {given}"
            );
        }
    }
}
