//! Coming back: a server shows first that it is well, and is then given more and more.

use crate::harness::{Ebbtide, LIMIT, Setup, models};
use ebbtide_testkit::{Scratch, until};

fn on_web2(ebbtide: &Ebbtide, users: u32) -> usize {
    let servers = (0..users).map(|_| ebbtide.user().1.server);
    servers.filter(|server| server == "web2").count()
}

#[test]
fn after_maintenance_a_server_is_verified_over_a_restart_too_and_then_returns_slowly() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let setup = Setup::new(&servers)
        .with("slow_start = \"1h\"")
        .with("verify = { probes = 3, path = \"/version\", expect = \"^v2\\\\.\" }");
    let mut ebbtide = Ebbtide::start(&setup);
    ebbtide.cli(&["maintenance", "app/web2"]).exits(0);
    let ran = ebbtide.cli(&["ready", "app/web2"]).exits(0);
    let asked = "takes sessions after 3 good probes and 3 good answers of /version";
    assert!(ran.out.contains(asked), "{ran:?}");
    let shown = "is being verified: 3 of 3 good probes; 0 of 3 good version pages, the last one: says \
                 \"v1.0\", which is not what";
    until("web2 is well, and has the wrong version", LIMIT, || {
        let page = ebbtide.cli(&["status"]).exits(0).out;
        page.contains(shown).then_some(())
    });
    assert_eq!(on_web2(&ebbtide, 6), 0);
    ebbtide.kill();
    ebbtide.start_again();
    ebbtide.wait_until_probed();
    assert_eq!(ebbtide.reason("web2"), "verifying");
    assert_eq!(on_web2(&ebbtide, 6), 0);

    servers[1].upgrade("v2.0");
    let wait = ["wait", "app/web2", "--for", "ready", "--timeout", "15s"];
    ebbtide.cli(&wait).exits(0);
    assert_eq!(ebbtide.server("web2")["returning"]["share_percent"], 5);
    let audit = ebbtide.cli(&["audit"]).exits(0).out;
    assert!(audit.contains("verified: 3 of 3 good probes"), "{audit}");
    // Without a slow start it would be given each of them, for it has none.
    let given = on_web2(&ebbtide, 20);
    assert!(given <= 8, "{given} of 20");
    ebbtide
        .cli(&["server", "set", "app/web2", "slow_start=now"])
        .exits(0);
    assert!(ebbtide.server("web2")["returning"].is_null());
    assert_eq!(on_web2(&ebbtide, 4), 4);
}

#[test]
fn a_server_that_does_not_show_in_time_that_it_is_well_stays_out_until_that_is_forced() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let verify = "verify = { path = \"/version\", expect = \"^v2\", probes = 1, within = \"1s\" }";
    let ebbtide = Ebbtide::start(&Setup::new(&servers).with(verify));
    ebbtide.cli(&["maintenance", "app/web2"]).exits(0);
    ebbtide.cli(&["ready", "app/web2"]).exits(0);
    // It waits while that is not known yet, and not after.
    for limit in [&[][..], &["--timeout", "0s"]] {
        let wait = ["wait", "app/web2", "--for", "ready"];
        let waited = ebbtide.cli(&[&wait[..], limit].concat()).exits(1);
        for part in [
            "not within 1s",
            "says \"v1.0\"",
            "ebbtide ready app/web2 --force",
        ] {
            assert!(waited.err.contains(part), "{part:?}: {waited:?}");
        }
    }
    assert_eq!(ebbtide.reason("web2"), "unverified");
    let page = ebbtide.cli(&["status"]).exits(0).out;
    assert!(
        page.contains("stays out, for it was not verified"),
        "{page}"
    );
    servers[1].upgrade("v2.0");
    assert_eq!(on_web2(&ebbtide, 6), 0, "nobody has asked for it again");
    let forced = ebbtide.cli(&["ready", "app/web2", "--force"]).exits(0);
    assert!(
        forced.out.contains("without having been verified"),
        "{forced:?}"
    );
    assert_eq!(on_web2(&ebbtide, 4), 4);
}
