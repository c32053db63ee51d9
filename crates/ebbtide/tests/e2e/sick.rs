//! Servers that are sick without being dead: their probes are good, their users' requests are not.

use crate::harness::{Ebbtide, Events, LIMIT, Setup, models, text};
use ebbtide_testkit::{Client, Crowd, CrowdSettings, Model, Request, Scratch, until};

/// Judged soon, and on little.
const OUTLIERS: &str = "outliers = { window = \"2s\", requests = 5, hold = \"10m\" }";
const USERS: usize = 12;

fn start(servers: &[Model], lines: &str) -> (Ebbtide, Crowd) {
    let ebbtide = Ebbtide::start(&Setup::new(servers).with(lines));
    let crowd = Crowd::start(CrowdSettings {
        post_every: 0,
        ..CrowdSettings::new(ebbtide.address, USERS)
    });
    (ebbtide, crowd)
}

/// What Prometheus would read.
fn metrics(ebbtide: &Ebbtide) -> String {
    let scrape = Client::new(ebbtide.admin, LIMIT).send(&Request::get("/metrics"));
    scrape.answer().text()
}

/// Waits until web2 stands like this, with these words.
fn wait_until_sick(ebbtide: &Ebbtide, reason: &str, words: &str) -> String {
    until(&format!("web2 is {reason} as {words}"), LIMIT * 4, || {
        let server = ebbtide.server("web2");
        let said = server["sickness"]["words"].as_str()?.to_owned();
        (server["standing"]["reason"] == reason && said.contains(words)).then_some(said)
    })
}

/// New users come, and none of them comes to web2.
fn nobody_new_comes_to_web2(ebbtide: &Ebbtide) {
    for _ in 0..8 {
        let (_, page) = ebbtide.user();
        assert_ne!(page.server, "web2", "{}", ebbtide.status());
    }
}

#[test]
fn a_server_that_answers_500_gets_nobody_new_until_an_operator_says_that_it_is_ready() {
    let scratch = Scratch::new();
    let servers = models(3, &scratch);
    let (ebbtide, crowd) = start(&servers, OUTLIERS);
    let events = Events::follow(&ebbtide);
    let here = crowd.users_at("web2");
    servers[1].behave("fail");
    let words = wait_until_sick(&ebbtide, "sick", "answered 5xx");
    assert!(words.contains("the pool's median is 0 %"), "{words}");
    nobody_new_comes_to_web2(&ebbtide);
    let event = events.wait_for("app/web2", "standing", &[("to", "sick")]);
    assert!(text(&event["why"]).contains("answered 5xx"), "{event}");
    let shown = ebbtide.cli(&["status"]).exits(0).out;
    assert!(shown.contains("sick: "), "{shown}");
    assert!(shown.contains("no new sessions for"), "{shown}");
    let read = metrics(&ebbtide);
    for (server, is_sick) in [("web1", 0), ("web2", 1)] {
        let told = format!("ebbtide_server_sick{{pool=\"app\",server=\"{server}\"}} {is_sick}");
        assert!(read.contains(&told), "{told} is not in {read}");
    }

    // It still fails, and the operator's word stands all the same.
    let ready = ebbtide.cli(&["ready", "app/web2"]).exits(0).out;
    assert!(ready.contains("it was held as sick"), "{ready}");
    events.wait_for("app/web2", "standing", &[("from", "sick"), ("to", "ready")]);
    events.wait_for("app/web2", "sick", &[]);
    wait_until_sick(&ebbtide, "ready", "answered 5xx");
    servers[1].behave("normal");
    until("somebody new comes to web2", LIMIT, || {
        let (_, page) = ebbtide.user();
        (page.server == "web2").then_some(())
    });
    crowd.go_on_for(3);
    let ledger = crowd.stop();
    assert!(
        ledger.moves.is_empty(),
        "its users stay: {:?}",
        ledger.moves
    );
    let failed = |status: Option<u16>| status == Some(500);
    assert!(ledger.anomalies.iter().all(|bad| failed(bad.status)));
    let at = |server: &str| ledger.places.values().filter(|at| *at == server).count();
    assert_eq!(at("web2"), here);
}

#[test]
fn a_server_that_is_slow_gets_nobody_new_until_its_own_users_are_served_well_again() {
    let scratch = Scratch::new();
    let servers = models(3, &scratch);
    let (ebbtide, crowd) = start(&servers, OUTLIERS);
    servers[1].behave("dawdle");
    let words = wait_until_sick(&ebbtide, "sick", "answers in");
    assert!(words.starts_with("the median of its"), "{words}");
    nobody_new_comes_to_web2(&ebbtide);
    crowd.go_on_for(2);
    assert_eq!(ebbtide.reason("web2"), "sick");
    servers[1].behave("normal");
    until(
        "web2 is well again, long before its time",
        LIMIT * 4,
        || (ebbtide.reason("web2") == "ready").then_some(()),
    );
    assert!(ebbtide.server("web2")["sickness"].is_null());
    let ledger = crowd.stop();
    assert!(ledger.moves.is_empty(), "{:?}", ledger.moves);
    assert!(ledger.anomalies.is_empty(), "{:?}", ledger.anomalies);
}

#[test]
fn a_server_that_takes_no_connections_gets_nobody_new_though_its_probes_are_good() {
    let scratch = Scratch::new();
    let mut servers = models(3, &scratch);
    let health = servers[0].address.port();
    let lines = format!("health = {{ path = \"/health\", port = {health}, timeout = \"5s\" }}\n");
    let ebbtide = Ebbtide::start(&Setup::new(&servers).pool(&lines).with(OUTLIERS));
    servers[1].kill();
    let found = until("web2 is sick", LIMIT * 4, || {
        // The others must have something to be compared with.
        for _ in 0..6 {
            ebbtide.user();
        }
        let server = ebbtide.server("web2");
        (server["standing"]["reason"] == "sick").then_some(server)
    });
    let words = text(&found["sickness"]["words"]);
    assert!(words.contains("not answered"), "{words}");
    assert_eq!(found["health"]["state"], "up");
    nobody_new_comes_to_web2(&ebbtide);
}

#[test]
fn where_nobody_asked_for_it_a_sick_server_is_shown_and_goes_on() {
    let scratch = Scratch::new();
    let servers = models(3, &scratch);
    let off = OUTLIERS.replace("{ ", "{ act = false, ");
    let (ebbtide, crowd) = start(&servers, &off);
    let events = Events::follow(&ebbtide);
    servers[1].behave("fail");
    wait_until_sick(&ebbtide, "ready", "answered 5xx");
    let event = events.wait_for("app/web2", "sick", &[]);
    let what = text(&event["what"]);
    assert!(
        what.contains("`outliers` of its pool does not act"),
        "{what}"
    );
    let shown = ebbtide.cli(&["status"]).exits(0).out;
    assert!(shown.contains("looks sick: "), "{shown}");
    let ledger = crowd.stop();
    assert!(ledger.moves.is_empty(), "{:?}", ledger.moves);
}
