//! Rebalancing on request: idle sessions leave a crowded server, active ones stay.

use crate::harness::{Ebbtide, Events, LIMIT, Setup, models, page};
use ebbtide_testkit::{Scratch, until};

#[test]
fn idle_users_of_a_crowded_server_are_placed_anew_and_who_is_active_stays() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let setup = Setup::new(&servers).with("sticky = { active = \"1s\" }");
    let ebbtide = Ebbtide::start(&setup);
    let events = Events::follow(&ebbtide);
    ebbtide.cli(&["hold", "app/web2"]).exits(0);
    let mut idle: Vec<_> = (0..9).map(|_| ebbtide.user()).collect();
    let (mut busy, _) = ebbtide.user();
    ebbtide.cli(&["ready", "app/web2"]).exits(0);
    until("nobody but one user is active", LIMIT, || {
        assert_eq!(page(&mut busy).server, "web1");
        let sessions = ebbtide.server("web1")["sessions"].clone();
        (sessions["idle"] == 9).then_some(())
    });

    let plan = ebbtide.cli(&["rebalance", "app"]).exits(0).out;
    assert!(
        plan.contains("5 idle sessions would be forgotten"),
        "{plan}"
    );
    assert_eq!(ebbtide.sessions("web1"), 10, "it is only a plan");
    ebbtide
        .cli(&["rebalance", "app", "--go", "--rate", "1000/s"])
        .exits(0);
    let over = until("it is over", LIMIT, || {
        assert_eq!(page(&mut busy).server, "web1", "who is active stays");
        let mut all = events.all().into_iter();
        all.find(|event| event["kind"] == "rebalanced")
    });
    assert_eq!(over["forgotten"], 5, "{over}");
    assert_eq!(ebbtide.sessions("web1"), 5);
    assert!(
        ebbtide.log().contains("5 idle sessions forgotten"),
        "the log says so"
    );

    // Half of the users are away: that makes the others no crowd.
    let again = ebbtide.cli(&["rebalance", "app", "--go"]).exits(0).out;
    let nothing = "nothing was changed; not back yet, and counted as if there: 5 sessions";
    assert!(again.contains(nothing), "{again}");
    let plan = ebbtide.cli(&["rebalance", "app"]).exits(0).out;
    assert!(
        plan.contains("there is nothing to do\nnot back yet"),
        "{plan}"
    );
    let moved = idle.iter_mut().filter_map(|(user, _)| {
        let server = page(user).server;
        (server == "web2").then_some(())
    });
    assert_eq!(moved.count(), 5);
    let plan = ebbtide.cli(&["rebalance", "app"]).exits(0).out;
    assert!(!plan.contains("not back yet"), "{plan}");
    let audit = ebbtide.cli(&["audit"]).exits(0).out;
    assert!(audit.contains("5 idle sessions forgotten"), "{audit}");
    let stop = ebbtide.cli(&["rebalance", "app", "--stop"]);
    assert!(stop.err.contains("is not being rebalanced"), "{stop:?}");
}
