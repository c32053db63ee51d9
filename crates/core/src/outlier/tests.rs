use super::*;
use proptest::prelude::*;

fn traffic(requests: u64, failures: u64, users: u32, median_ms: u64) -> Option<Traffic> {
    Some(Traffic {
        requests,
        errors: failures,
        failing_users: users,
        timed: requests,
        median_ms: Some(median_ms),
        slow_users: users,
        ..Traffic::default()
    })
}

fn found(servers: &[Option<Traffic>]) -> Vec<String> {
    let settings = OutlierSettings::defaults();
    let findings = examine(servers, &settings, Protocol::Http);
    let words = findings.iter().map(|finding| match finding {
        Finding::Sick(ailment) => ailment.to_string(),
        other => format!("{other:?}"),
    });
    words.collect()
}

#[test]
fn who_fails_much_more_than_the_median_is_sick() {
    let pool = [
        traffic(1000, 3, 3, 20),
        traffic(118, 50, 12, 20),
        traffic(300, 1, 1, 20),
        traffic(49, 49, 30, 20),
        None,
    ];
    let words =
        "42 % of its 118 requests in 10s failed (50 answered 5xx); the pool's median is 0.3 %";
    assert_eq!(found(&pool), ["Well", words, "Well", "Unknown", "Unknown"]);
}

#[test]
fn what_every_server_does_is_nobodys_illness() {
    let pool = [traffic(100, 90, 40, 3_000), traffic(100, 100, 40, 3_500)];
    assert_eq!(found(&pool), ["Well", "Doubtful"]);
    assert_eq!(
        found(&[traffic(100, 100, 40, 20), None]),
        ["Unknown", "Unknown"]
    );
}

#[test]
fn two_users_alone_make_no_server_sick() {
    let well = traffic(100, 0, 0, 20);
    assert_eq!(found(&[well, traffic(9_000, 9_000, 2, 20)])[1], "Doubtful");
    assert_eq!(found(&[well, traffic(100, 0, 2, 9_000)])[1], "Doubtful");
}

#[test]
fn who_takes_much_longer_than_the_median_is_sick() {
    let pool = [100, 110, 700, 260].map(|ms| traffic(80, 0, 10, ms));
    let words = "the median of its 80 answers in 10s is between 512 and 1024 ms; the pool's is between 64 and 128 ms";
    assert_eq!(found(&pool), ["Well", "Well", words, "Well"]);
    // Many times as long as very little is still little.
    let pool = [1, 120, 200, 300].map(|ms| traffic(80, 0, 10, ms));
    assert_eq!(
        found(&pool)[1..],
        ["Well", "Well", "Doubtful"].map(String::from)
    );
    let pool = [0, 0, 255, 256].map(|ms| traffic(80, 0, 10, ms));
    let words = "the median of its 80 answers in 10s is between 256 and 512 ms; the pool's is less than 1 ms";
    assert_eq!(found(&pool)[2..], ["Doubtful", words].map(String::from));
}

#[test]
fn holds_grow_to_twenty_times_the_first() {
    let settings = OutlierSettings::defaults();
    let holds = [1, 2, 3, 5, 6, 100].map(|number| settings.hold_of(number).to_string());
    assert_eq!(holds, ["30s", "1m", "2m", "8m", "10m", "10m"]);
}

#[test]
fn percents_have_a_decimal_where_they_are_small() {
    let texts = [0, 3, 10, 99, 424, 425, 999, 1000].map(percent);
    let expected = [
        "0 %", "0.3 %", "1 %", "9.9 %", "42 %", "43 %", "100 %", "100 %",
    ];
    assert_eq!(texts, expected);
}

fn ailment() -> impl Strategy<Value = Ailment> {
    (any::<bool>(), 0_u64..5, "[a-z]{0,2}").prop_map(|(failing, excess, words)| match failing {
        true => Ailment::Failing { excess, words },
        false => Ailment::Slow { excess, words },
    })
}

proptest! {
    /// Whatever is sick: the pool keeps its minimum and most of its servers, the worst are held first,
    /// and whoever is spared is spared for a reason.
    #[test]
    fn a_pool_never_loses_more_than_it_can_spare(
        sick in prop::collection::vec((ailment(), any::<bool>()), 0..12),
        held in 0_usize..6,
        others_that_take in 0_usize..12,
        others in 0_usize..6,
        minimum in 1_usize..8,
        share_max in 1_u8..=100,
    ) {
        let takers = others_that_take + sick.iter().filter(|(_, takes)| *takes).count();
        let servers = sick.len() + held + others_that_take + others;
        let ward = Ward { servers, held, takers, minimum, share_max };
        let patients: Vec<_> = sick
            .iter()
            .map(|(ailment, takes_new)| Patient { ailment, takes_new: *takes_new })
            .collect();
        let spared = triage(&patients, ward);
        prop_assert_eq!(&spared, &triage(&patients, ward));
        let newly = || spared.iter().zip(&sick).filter(|(spared, _)| spared.is_none());
        let gone = newly().filter(|(_, (_, takes))| *takes).count();
        prop_assert!(gone == 0 || takers - gone >= minimum);
        if newly().count() > 0 {
            let all = held + newly().count();
            prop_assert!(servers > 1);
            prop_assert!(all == 1 || all * 100 <= servers * usize::from(share_max));
        }
        for (index, (ailment, takes)) in sick.iter().enumerate() {
            let worst_spared = spared[index].is_some();
            let lesser = newly().any(|(_, (other, other_takes))| {
                other.severity() < ailment.severity() && takes == other_takes
            });
            prop_assert!(!(worst_spared && lesser), "a lesser one was held instead");
        }
    }

    /// Only what stands out from the median is sick, and only if it was met by several users.
    #[test]
    fn nobody_is_sick_who_does_not_stand_out(
        servers in prop::collection::vec(
            prop::option::of((0_u64..400, 0_u64..400, 0_u32..6, 0_u64..4_000)), 0..10,
        ),
    ) {
        let pool: Vec<_> = servers
            .iter()
            .map(|server| server.and_then(|(requests, failures, users, ms)| {
                traffic(requests, failures.min(requests), users, ms)
            }))
            .collect();
        let settings = OutlierSettings::defaults();
        let findings = examine(&pool, &settings, Protocol::Http);
        prop_assert_eq!(findings.len(), pool.len());
        for failing in [true, false] {
            let sick = findings.iter().filter(|finding| match finding {
                Finding::Sick(ailment) => ailment.severity().0 == failing,
                _ => false,
            });
            prop_assert!(sick.count() * 2 <= pool.len(), "the better half is never sick");
        }
        for (finding, traffic) in findings.iter().zip(&pool) {
            if let Finding::Sick(_) = finding {
                let traffic = traffic.unwrap_or_default();
                prop_assert!(traffic.requests >= 50 && traffic.failing_users >= 3);
                prop_assert!(traffic.failed_permille() >= 200 || traffic.median_ms >= Some(256));
            }
        }
    }

    #[test]
    fn those_who_are_let_go_are_the_least_sick(
        held in prop::collection::vec(ailment(), 0..8),
        number in 0_usize..10,
    ) {
        let held: Vec<&Ailment> = held.iter().collect();
        let gone = relief(&held, number);
        prop_assert_eq!(gone.len(), number.min(held.len()));
        let worst_gone = gone.iter().map(|index| held[*index].severity()).max();
        let stay = (0..held.len()).filter(|index| !gone.contains(index));
        for index in stay {
            prop_assert!(Some(held[index].severity()) >= worst_gone);
        }
    }
}
