//! The configuration file: sick servers.

use crate::helpers::{errors, good, in_pool};
use ebbtide_core::{Millis, OutlierSettings};

fn outliers(lines: &str) -> OutlierSettings {
    good(&in_pool(lines)).config.pools[0].outliers.clone()
}

#[test]
fn sick_servers_are_held_where_that_is_asked_for() {
    assert_eq!(outliers(""), OutlierSettings::defaults());
    let acting = OutlierSettings {
        acts: true,
        ..OutlierSettings::defaults()
    };
    for lines in [
        "outliers = true",
        "outliers = {}",
        "outliers = { act = true }",
    ] {
        assert_eq!(outliers(lines), acting);
    }
    assert_eq!(outliers("outliers = false"), OutlierSettings::defaults());
    let all = "outliers = { act = false, errors = 10, slower = 0, window = \"1m\", requests = 5, \
               share_max = 50, hold = \"2m\" }";
    let expected = OutlierSettings {
        acts: false,
        errors: 10,
        slower: None,
        window: Millis::from_secs(60),
        requests: 5,
        share_max: 50,
        hold: Millis::from_secs(120),
    };
    assert_eq!(outliers(all), expected);
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (lines, expected) in [
        ("outliers = { errors = 0 }", "expected 1 to 100"),
        ("outliers = { share_max = 101 }", "expected 1 to 100"),
        ("outliers = { slower = 1 }", "pools.app.outliers.slower"),
        (
            "outliers = { window = \"0s\" }",
            "pools.app.outliers.window",
        ),
        ("outliers = 5", "pools.app.outliers"),
        (
            "protocol = \"nbd\"\noutliers = true",
            "`outliers` does not know what NBD servers answer",
        ),
    ] {
        let found = errors(&in_pool(lines));
        assert!(found.contains(expected), "{expected:?} is not in:\n{found}");
    }
}
