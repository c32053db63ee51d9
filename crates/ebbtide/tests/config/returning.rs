//! How servers come back, as the file says it.

use crate::helpers::{errors_in_pool, good, in_pool, shows};
use ebbtide_core::{Millis, PoolConfig, VerifyCheck, VerifyPage};

fn pool(lines: &str) -> PoolConfig {
    good(&in_pool(lines)).config.pools[0].clone()
}

#[test]
fn servers_come_back_at_once_unless_told_otherwise() {
    assert_eq!(pool("").slow_start, Millis(0));
    assert_eq!(pool("slow_start = \"2m\"").slow_start, Millis(120_000));
    let errors = errors_in_pool("slow_start = \"2h\"");
    shows(&errors, &["pools.app.slow_start"]);
}

#[test]
fn after_maintenance_as_many_good_probes_are_asked_for_as_bring_a_server_back() {
    assert_eq!(pool("").verify, Some(VerifyCheck::defaults()));
    let verify = |lines: &str| pool(lines).verify.expect("there is a check");
    assert_eq!(verify("health = { rise = 5 }").probes, 5);
    assert_eq!(pool("verify = false").verify, None);
    let lines = "verify = { probes = 4, path = \"/version\", expect = \"v2\", within = \"5m\" }";
    let page = VerifyPage {
        path: "/version".into(),
        expect: Some("v2".into()),
    };
    let expected = VerifyCheck {
        probes: 4,
        page: Some(page),
        within: Millis::from_secs(300),
    };
    assert_eq!(verify(lines), expected);
    // Who probes seldom needs longer.
    let seldom = verify("health = { every = \"10m\", timeout = \"5s\", rise = 3 }");
    assert_eq!(seldom.within, Millis::from_secs(3600));
}

#[test]
fn a_verification_that_could_never_succeed_or_sees_nothing_is_refused() {
    for (lines, said) in [
        (
            "verify = { probes = 100, within = \"1m\" }",
            "too short for `probes`",
        ),
        (
            "verify = { expect = \"v2\" }",
            "there is no `path` to ask for",
        ),
        (
            "health = false\nverify = { probes = 2 }",
            "no health checks",
        ),
        (
            "protocol = \"tcp\"\nverify = { path = \"/v\" }",
            "not in tcp pools",
        ),
    ] {
        shows(&errors_in_pool(lines), &[said]);
    }
}
