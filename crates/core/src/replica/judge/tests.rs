use super::*;
use crate::name::ServerKey;
use crate::replica::{CopyView, Difference, Digest, Modified, Proof, ResourceView};
use proptest::prelude::*;

fn identity(size: u64, digest: Option<u8>, version: Option<u8>, time: Option<u8>) -> Identity {
    Identity {
        size,
        digest: digest.map(|byte| Digest([byte; 32])),
        version: version.map(|number| number.to_string().into()),
        modified: time.map(|seconds| Modified {
            seconds: seconds.into(),
            nanoseconds: 0,
        }),
    }
}

fn known(size: u64, digest: Option<u8>, version: Option<u8>, time: Option<u8>) -> Knowledge {
    Knowledge::Known(identity(size, digest, version, time))
}

const NAMES: [&str; 8] = ["s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8"];

fn judged(rule: &ResourceConfig, settled: bool, knowledge: &[Knowledge]) -> Vec<Verdict> {
    let copies: Vec<Known<'_>> = NAMES
        .iter()
        .zip(knowledge)
        .map(|(server, knowledge)| Known { server, knowledge })
        .collect();
    judge("app", rule, IdentitySource::Manifest, settled, &copies)
}

fn said(verdicts: &[Verdict]) -> Vec<String> {
    let lines = verdicts.iter().map(|verdict| {
        let serves = if verdict.serves { "serves" } else { "-" };
        let stands_in = if verdict.stands_in { "stands in" } else { "-" };
        format!("{serves}, {stands_in}: {}", verdict.reason)
    });
    lines.collect()
}

#[test]
fn the_largest_group_serves_and_each_other_copy_says_why_not() {
    let gigabyte = 1 << 30;
    let verdicts = judged(
        &ResourceConfig::shared("disk"),
        true,
        &[
            known(gigabyte - 1, Some(1), None, Some(5)),
            known(gigabyte, Some(7), None, Some(5)),
            known(gigabyte, Some(7), None, Some(9)),
            known(gigabyte, Some(8), None, Some(5)),
            known(gigabyte, None, None, Some(9)),
            known(gigabyte, None, None, None),
            Knowledge::Absent,
            Knowledge::Unreachable {
                why: "connection refused".into(),
            },
        ],
    );
    assert_eq!(
        said(&verdicts),
        [
            "-, -: size differs: 1,073,741,823 B here, 1,073,741,824 B on app/s2",
            "serves, stands in: identical to one other copy",
            "serves, stands in: identical to one other copy",
            "-, -: digest differs: 080808080808 here, 070707070707 on app/s2",
            "-, -: modified 4s later than on app/s2, and no digests prove that both are the same",
            "-, -: only the size is known",
            "-, -: the server does not have it",
            "-, -: cannot be found out: connection refused",
        ]
    );
}

#[test]
fn of_two_groups_that_are_equally_large_the_one_with_the_first_server_serves() {
    let (one, other) = (known(1, Some(1), None, None), known(1, Some(2), None, None));
    let copies = [one.clone(), other.clone(), other, one];
    let verdicts = judged(&ResourceConfig::shared("disk"), true, &copies);
    let serving: Vec<bool> = verdicts.iter().map(|verdict| verdict.serves).collect();
    assert_eq!(serving, [true, false, false, true]);
}

#[test]
fn a_pinned_digest_decides_against_the_many() {
    let rule = ResourceConfig {
        digest: Some(Digest([2; 32])),
        ..ResourceConfig::shared("disk")
    };
    let one = known(1, Some(1), None, Some(1));
    let right = known(1, Some(2), None, Some(1));
    let copies = [one.clone(), one, right, known(1, None, None, Some(1))];
    assert_eq!(
        said(&judged(&rule, true, &copies)),
        [
            "-, -: digest differs: 010101010101 here, the configuration says another",
            "-, -: digest differs: 010101010101 here, the configuration says another",
            "serves, -: no other copy is known to be identical",
            "-, -: its digest is not known, and the configuration says which is right",
        ]
    );
}

#[test]
fn nobody_serves_before_every_server_was_looked_at_once() {
    let copies = [known(1, Some(1), None, None), Knowledge::Unknown];
    assert_eq!(
        said(&judged(&ResourceConfig::shared("disk"), false, &copies)),
        [
            "-, -: waits until every server has been looked at once",
            "-, -: nobody has looked yet",
        ]
    );
}

#[test]
fn while_copies_are_read_the_first_of_the_file_serves_alone() {
    let reading = |percent| Knowledge::Reading { percent };
    let copies = [Knowledge::Absent, reading(40), reading(90)];
    assert_eq!(
        said(&judged(&ResourceConfig::shared("disk"), true, &copies)),
        [
            "-, -: the server does not have it",
            "serves, -: serves alone until copies are known, as the first of the file; 40 % read",
            "-, -: is being read, 90 %",
        ]
    );
}

#[test]
fn a_resource_with_one_server_never_has_another() {
    let copies = [known(1, Some(1), None, None), known(1, Some(1), None, None)];
    let mut rule = ResourceConfig {
        mode: Mode::Private,
        server: Some("s2".into()),
        ..ResourceConfig::shared("disk")
    };
    let alone = "serves, -: serves alone, as the configuration says";
    assert_eq!(
        said(&judged(&rule, false, &copies)),
        ["-, -: private: served by app/s2 only", alone]
    );
    rule.mode = Mode::Shared;
    rule.balance = false;
    assert_eq!(
        said(&judged(&rule, false, &copies)),
        ["-, -: balance is off: served by app/s2 only", alone]
    );
    rule.mode = Mode::Maintenance;
    let doors = "-, -: in maintenance: doors only";
    assert_eq!(said(&judged(&rule, true, &copies)), [doors, doors]);
    for rule in [
        ResourceConfig {
            mode: Mode::Private,
            ..rule.clone()
        },
        ResourceConfig {
            mode: Mode::Maintenance,
            balance: true,
            ..rule.clone()
        },
        ResourceConfig {
            mode: Mode::Shared,
            balance: false,
            ..rule
        },
    ] {
        let view = view(&rule, &copies);
        for server in [ServerKey(0), ServerKey(1)] {
            let began_on = identity(1, Some(1), None, None);
            assert!(view.may_stand_in(server, &began_on).is_err(), "{rule:?}");
        }
    }
}

fn view(rule: &ResourceConfig, knowledge: &[Knowledge]) -> ResourceView {
    let verdicts = judged(rule, true, knowledge).into_iter().zip(knowledge);
    let copies = verdicts
        .enumerate()
        .map(|(index, (verdict, knowledge))| CopyView {
            server: ServerKey(index as u32),
            name: NAMES[index].into(),
            knowledge: knowledge.clone(),
            watch: None,
            verdict,
        });
    ResourceView {
        rule: rule.clone(),
        source: IdentitySource::Manifest,
        copies: copies.collect(),
    }
}

#[test]
fn who_began_on_another_copy_stays_with_it() {
    let (old, new) = (known(1, Some(1), None, None), known(1, Some(2), None, None));
    let view = view(&ResourceConfig::shared("disk"), &[old, new.clone(), new]);
    let began_on = identity(1, Some(1), None, None);
    assert!(!view.serves(ServerKey(0)), "new clients begin on the other");
    assert_eq!(view.may_stand_in(ServerKey(0), &began_on), Ok(Proof::Known));
    let refused = view.may_stand_in(ServerKey(1), &began_on).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "digest differs: 020202020202 here, 010101010101 where the client began"
    );
    let gone = view.may_stand_in(ServerKey(9), &began_on);
    assert_eq!(gone, Err(CopyReason::NoServer));
}

#[test]
fn trust_has_an_order() {
    let compare = |one: &Identity, two: &Identity| one.compare(two);
    let full = identity(1, Some(1), Some(1), Some(1));
    for (other, expected) in [
        (
            identity(2, Some(1), Some(1), Some(1)),
            Err(Difference::Size),
        ),
        (identity(1, Some(1), Some(2), Some(2)), Ok(())),
        (
            identity(1, Some(2), Some(1), Some(1)),
            Err(Difference::Digest),
        ),
        (identity(1, None, Some(1), Some(1)), Ok(())),
        (
            identity(1, None, Some(2), Some(1)),
            Err(Difference::Version),
        ),
        (
            identity(1, None, Some(1), Some(2)),
            Err(Difference::Modified),
        ),
        (identity(1, None, None, None), Err(Difference::OnlySize)),
    ] {
        assert_eq!(compare(&full, &other), expected, "{other:?}");
        assert_eq!(compare(&other, &full), expected, "{other:?}");
    }
    let (digest, time) = (
        identity(1, Some(1), None, None),
        identity(1, None, None, Some(1)),
    );
    assert_eq!(compare(&digest, &time), Err(Difference::NothingShared));
}

fn identities() -> impl Strategy<Value = Identity> {
    let part = || proptest::option::weighted(0.6, 0_u8..2);
    (0_u64..2, part(), part(), part())
        .prop_map(|(size, digest, version, time)| identity(size, digest, version, time))
}

fn knowledge() -> impl Strategy<Value = Knowledge> {
    prop_oneof![
        8 => identities().prop_map(Knowledge::Known),
        1 => Just(Knowledge::Absent),
        1 => Just(Knowledge::Unknown),
        1 => Just(Knowledge::Reading { percent: 3 }),
    ]
}

/// The size of the largest set of copies in which every pair is identical, by trying them all.
fn largest_by_trying(copies: &[Knowledge]) -> usize {
    let fits = |set: usize, one: usize, two: usize| {
        let is_in = |index: usize| set >> index & 1 == 1;
        let pair = copies[one].identity().zip(copies[two].identity());
        !is_in(one) || !is_in(two) || pair.is_some_and(|(a, b)| a.compare(b).is_ok())
    };
    let all = |set: usize| (0..copies.len()).all(|one| (0..=one).all(|two| fits(set, one, two)));
    let sets = (0..1_usize << copies.len()).filter(|set| all(*set));
    sets.map(|set| set.count_ones() as usize).max().unwrap_or(0)
}

proptest! {
    #[test]
    fn identity_is_symmetric_and_reflexive_where_proven(one in identities(), two in identities()) {
        prop_assert_eq!(one.compare(&two), two.compare(&one));
        prop_assert_eq!(one.compare(&one).is_ok(), one.is_proven());
    }

    #[test]
    fn identical_copies_agree_in_what_proves_it(one in identities(), two in identities()) {
        if one.compare(&two).is_ok() {
            prop_assert_eq!(one.size, two.size);
            match one.digest.zip(two.digest) {
                Some((one, two)) => prop_assert_eq!(one, two),
                None => {
                    let versions = one.version.as_ref().zip(two.version.as_ref());
                    let times = one.modified.zip(two.modified);
                    prop_assert!(versions.is_some() || times.is_some());
                    prop_assert!(versions.is_none_or(|(one, two)| one == two));
                    prop_assert!(times.is_none_or(|(one, two)| one == two));
                }
            }
        }
    }

    #[test]
    fn every_two_that_serve_are_identical(
        copies in proptest::collection::vec(knowledge(), 0..8),
        settled in any::<bool>(),
        pinned in proptest::option::weighted(0.2, 0_u8..2),
    ) {
        let rule = ResourceConfig {
            digest: pinned.map(|byte| Digest([byte; 32])),
            ..ResourceConfig::shared("disk")
        };
        let verdicts = judged(&rule, settled, &copies);
        let serving: Vec<usize> = (0..copies.len()).filter(|at| verdicts[*at].serves).collect();
        for one in &serving {
            for two in serving.iter().filter(|two| *two != one) {
                let pair = copies[*one].identity().zip(copies[*two].identity());
                prop_assert!(pair.is_some_and(|(one, two)| one.compare(two).is_ok()));
            }
        }
        for (copy, verdict) in copies.iter().zip(&verdicts) {
            prop_assert!(verdict.serves || !verdict.stands_in);
            prop_assert!(settled || !verdict.serves);
            let stands_in = verdict.stands_in && serving.len() < 2;
            prop_assert!(!stands_in, "nobody to stand in for");
            if let (Some(digest), true) = (rule.digest, verdict.serves) {
                prop_assert_eq!(copy.identity().and_then(|copy| copy.digest), Some(digest));
            }
        }
    }

    /// Copies that are known in the same way: none larger is overlooked.
    #[test]
    fn no_larger_group_is_overlooked(
        copies in proptest::collection::vec(identities(), 0..8),
        has in any::<[bool; 3]>(),
    ) {
        let copies: Vec<Knowledge> = copies
            .into_iter()
            .map(|copy| Knowledge::Known(Identity {
                size: copy.size,
                digest: has[0].then(|| copy.digest.unwrap_or(Digest([9; 32]))),
                version: has[1].then(|| copy.version.unwrap_or("9".into())),
                modified: has[2].then(|| copy.modified.unwrap_or(Modified { seconds: 9, nanoseconds: 0 })),
            }))
            .collect();
        let verdicts = judged(&ResourceConfig::shared("disk"), true, &copies);
        let serving = verdicts.iter().filter(|verdict| verdict.serves).count();
        let expected = match has {
            [false, false, false] => copies.len().min(1),
            _ => largest_by_trying(&copies),
        };
        prop_assert_eq!(serving, expected);
    }
}
