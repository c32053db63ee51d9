//! A bad day: two hundred users, and everything that can happen to a pool, one thing after the
//! other. Every request is accounted for.

use crate::harness::{Ebbtide, LIMIT, Setup, models};
use ebbtide_testkit::{Crowd, CrowdSettings, Scratch, processed, until};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

#[test]
fn two_hundred_users_notice_nothing_of_a_bad_day() {
    let scratch = Scratch::new();
    let mut servers = models(4, &scratch);
    let setup = Setup::new(&servers).with("retry_percent = 100");
    let ebbtide = Ebbtide::start(&setup);
    let crowd = Crowd::start(CrowdSettings {
        pause: Duration::from_millis(250),
        ..CrowdSettings::new(ebbtide.address, 200)
    });

    ebbtide.cli(&["hold", "app/web1"]).exits(0);
    ebbtide.configure(&setup.clone().with("contact = \"ext. 4455\""));
    ebbtide.cli(&["reload"]).exits(0);
    crowd.go_on_for(1);

    servers[1].kill();
    until("web2's users are elsewhere", LIMIT, || {
        (crowd.users_at("web2") == 0).then_some(())
    });
    servers[1].start_again();
    ebbtide.wait_for_reason("web2", "ready");
    ebbtide.cli(&["ready", "app/web1"]).exits(0);

    ebbtide
        .cli(&["drain", "app/web3", "--within", "2s"])
        .exits(0);
    let deadline = ebbtide.deadline("web3");
    let stopped = Instant::now();
    servers[3].pause();
    until("web4 was stopped for a second", LIMIT, || {
        (stopped.elapsed() >= Duration::from_secs(1)).then_some(())
    });
    servers[3].resume();
    ebbtide
        .cli(&["wait", "app/web3", "--for", "drained", "--timeout", "10s"])
        .exits(0);
    until("web3's users are elsewhere", LIMIT, || {
        (crowd.users_at("web3") == 0).then_some(())
    });
    ebbtide.cli(&["ready", "app/web3"]).exits(0);
    crowd.go_on_for(2);

    let ledger = crowd.stop();
    for anomaly in &ledger.anomalies {
        assert_eq!(
            (anomaly.method, anomaly.status),
            ("POST", Some(502)),
            "{anomaly:?}"
        );
    }
    for moved in &ledger.moves {
        let drained = moved.from == "web3" && moved.at >= deadline;
        assert!(
            moved.from == "web2" || drained,
            "{moved:?}, web3 until {deadline:?}"
        );
    }
    let mut seen = BTreeSet::new();
    for [server, id, method, _] in processed(&scratch.join("ledger")) {
        let first = seen.insert((method.clone(), id.clone()));
        assert!(
            method != "POST" || first,
            "{id} was sent twice, lastly to {server}"
        );
    }
    assert_eq!(ledger.requests, ledger.good + ledger.anomalies.len() as u64);
}
