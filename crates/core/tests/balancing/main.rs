//! What docs/balancing.md says of the policies.

mod simulation;

use ebbtide_core::Balance;

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
