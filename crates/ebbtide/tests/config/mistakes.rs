//! Mistakes that several settings make together, and settings that nothing comes of.

use crate::helpers::{SMALL, count, errors, errors_in_pool, good, in_pool, shows};

const DISKS: &str = r#"
[listeners.disks]
bind = "127.0.0.1:10809"
pool = "disks"

[pools.disks]
protocol = "nbd"
# more

[pools.disks.resources.win10]

[pools.disks.servers]
s1 = "10.0.0.41:10809"
s2 = "10.0.0.42:10809"
s3 = "10.0.0.43:10809"
"#;

fn disks(lines: &str) -> String {
    DISKS.replace("# more", lines)
}

/// One mistake, with this place and these words.
#[track_caller]
fn is_one(errors: &str, parts: &[&str]) {
    shows(errors, parts);
    assert_eq!(count(errors), 1, "{errors}");
}

#[test]
fn a_manifest_that_nobody_reads() {
    let said = errors(&disks(
        "identity = \"read\"\nmanifest = \"http://{host}:1/m.json\"",
    ));
    is_one(
        &said,
        &[
            "pools.disks.manifest: nobody reads it",
            "ebbtide.toml:9:",
            "identity",
        ],
    );
    let said = errors(&disks("identity = \"read\"").replace(
        "s1 = \"10.0.0.41:10809\"",
        "s1 = { address = \"10.0.0.41:10809\", manifest = \"/srv/one.json\" }",
    ));
    is_one(&said, &["pools.disks.servers.s1.manifest: nobody reads it"]);
}

#[test]
fn reminders_that_nobody_gets() {
    let said = errors_in_pool("protocol = \"tcp\"\nnotice = { reminders = [\"5m\"] }");
    is_one(
        &said,
        &[
            "pools.app.notice.reminders: users of this pool are told nothing",
            "form = \"telnet\"",
        ],
    );
    good(&in_pool(
        "protocol = \"tcp\"\nnotice = { form = \"telnet\", reminders = [\"5m\"] }",
    ));
}

#[test]
fn an_address_within_a_network_is_no_network() {
    let file = |network: &str| {
        let bind = "bind = \"127.0.0.1:8080\"";
        SMALL.replace(bind, &format!("{bind}\nproxy_from = [\"{network}\"]"))
    };
    let said = errors(&file("10.0.0.5/24"));
    is_one(
        &said,
        &[
            "listeners.web.proxy_from",
            "`10.0.0.5/24`",
            "\"10.0.0.0/24\"",
            "\"10.0.0.5\"",
        ],
    );
    shows(&errors(&file("2001:db8::1/32")), &["\"2001:db8::/32\""]);
    for good_one in [
        "10.0.0.0/24",
        "10.0.0.5/32",
        "0.0.0.0/0",
        "::/0",
        "10.0.0.5",
    ] {
        good(&file(good_one));
    }
}

#[test]
fn a_file_outside_of_what_a_manifest_tells_of() {
    for file in ["../x", "/srv/x", "a//b", "a/./b", "a/../b"] {
        let said = errors(&disks("manifest = \"/{server}.json\"").replace(
            "[pools.disks.resources.win10]",
            &format!("[pools.disks.resources.win10]\nfile = \"{file}\""),
        ));
        is_one(
            &said,
            &[
                "pools.disks.resources.win10.file",
                "the directory that `ebbtide manifest` reads",
            ],
        );
    }
}

#[test]
fn an_upgrade_that_has_no_time_for_its_answers() {
    let said = errors_in_pool(
        "health = { every = \"10s\" }\nupgrade = { path = \"/v\", probes = 5, within = \"30s\" }",
    );
    is_one(
        &said,
        &[
            "pools.app.upgrade.within: too short for `probes`",
            "at least \"50s\"",
        ],
    );
    good(&in_pool(
        "health = { every = \"10s\" }\nupgrade = { path = \"/v\", probes = 5, within = \"50s\" }",
    ));
}

#[test]
fn an_event_that_is_listed_twice() {
    let hook = "[webhooks.h]\nurl = \"http://h\"\nevents = [\"drained\", \"drill\", \"drained\"]";
    let said = errors(&format!("{SMALL}{hook}"));
    is_one(&said, &["webhooks.h.events: `drained` is listed twice"]);
}

#[test]
fn one_cause_is_reported_once() {
    // All servers have the pool's manifest.
    let said = errors(&disks("manifest = \"/srv/{name}.json\""));
    is_one(&said, &["pools.disks: the manifest of `s1`"]);
    let said = errors(&disks("manifest = \"/srv/manifest.json\""));
    is_one(&said, &["would have the same manifest"]);
    let said = errors(&disks(""));
    is_one(&said, &["has no `manifest`"]);
    // What is said in a protocol that is none is not judged by another one.
    let said = errors(&disks("identity = \"read\"").replace("\"nbd\"", "\"ndb\""));
    is_one(&said, &["pools.disks.protocol", "\"nbd\""]);
    let said = errors_in_pool("protocol = \"tpc\"\ncut = \"reset\"\nsend_proxy = \"v1\"");
    is_one(&said, &["pools.app.protocol", "\"tcp\""]);
    // A server with a mistake is still one.
    let wrong =
        in_pool("minimum = 1\n[pools.app.resources.r]\nmode = \"private\"\nserver = \"web1\"");
    let wrong = wrong.replace("10.0.0.11:8080", "10.0.0.11");
    is_one(&errors(&wrong), &["pools.app.servers.web1"]);
    let two = in_pool("minimum = 2").replace(
        "web1 = \"10.0.0.11:8080\"",
        "web1 = \"10.0.0.11\"\nweb2 = \"10.0.0.12:80\"",
    );
    is_one(&errors(&two), &["pools.app.servers.web1"]);
    // So is a table of pools under another name.
    let said = errors(&SMALL.replace("[pools.app", "[pool.app"));
    is_one(&said, &["unknown key `pool`"]);
}

const LOAD: &str = "load = \"http://{host}:9100/metrics\"";

#[test]
fn a_policy_that_has_nothing_to_go_by() {
    let said = errors_in_pool("balance = \"least-load\"");
    is_one(
        &said,
        &[
            "pools.app.balance: `least-load` goes by the load of machines, and the pool has no `load`",
            "add `[pools.app.load]`",
        ],
    );
    good(&in_pool(&format!("balance = \"least-load\"\n{LOAD}")));
    let most = "balance = \"most-available\"";
    for silent in ["", "health = { path = \"/health\" }"] {
        let said = errors_in_pool(&format!("{most}\n{silent}"));
        is_one(
            &said,
            &["pools.app.balance: `most-available` goes by free room, and nothing tells of any"],
        );
    }
    for tells in [
        LOAD,
        "health = { path = \"/health\", expect = \"ACTIVE\" }",
        "agent = { port = 9777 }",
    ] {
        good(&in_pool(&format!("{most}\n{tells}")));
    }
    let bounded = in_pool(most).replace(
        "\"10.0.0.11:8080\"",
        "{ address = \"10.0.0.11:8080\", max_sessions = 5 }",
    );
    good(&bounded);
}

#[test]
fn a_load_that_no_policy_goes_by_is_shown_and_may_have_a_peak_live() {
    for balance in ["round-robin", "source-hash"] {
        good(&in_pool(&format!("balance = \"{balance}\"\n{LOAD}")));
    }
}

#[test]
fn what_is_said_of_new_sessions_where_nobody_is_placed() {
    for setting in ["slow_start = \"2m\"", "outliers = true", LOAD] {
        let name = setting.split(' ').next().unwrap();
        let door_only = errors_in_pool(&format!("balance = \"door-only\"\n{setting}"));
        let why = "with `balance = \"door-only\"` nobody is placed here";
        is_one(&door_only, &[&format!("pools.app.{name}: {why}")]);
        let aside = format!(
            "{SMALL}\n[pools.aside]\n{setting}\n[pools.aside.servers]\nweb1 = \"10.0.0.9:80\"\n"
        );
        let said = errors(&aside);
        is_one(
            &said,
            &[&format!("pools.aside.{name}: no listener leads here")],
        );
        let said = errors(&aside.replace("pool = \"app\"", "pool = \"asid\""));
        is_one(&said, &["no pool is named `asid`"]);
    }
    good(&in_pool("balance = \"door-only\"\noutliers = false"));
}

#[test]
fn a_name_that_nobody_could_ever_find() {
    let long = "a".repeat(64);
    let longer = "a.".repeat(130);
    for host in ["nope..x", ".x", &long, &longer] {
        let at = format!("\"{host}:8080\"");
        let said = errors(&SMALL.replace("\"10.0.0.11:8080\"", &at));
        is_one(&said, &["has no host that could be looked up"]);
        let by_name = format!("{{ address = {at}, resolve = \"30s\" }}");
        let said = errors(&SMALL.replace("\"10.0.0.11:8080\"", &by_name));
        is_one(&said, &["has no host that could be looked up"]);
    }
}

#[test]
fn a_span_is_quoted_as_it_is_written() {
    is_one(
        &errors_in_pool("slow_start = \"0s\""),
        &["`0s` is out of bounds"],
    );
    is_one(
        &errors_in_pool("slow_start = \"120m\""),
        &["`120m` is out of bounds"],
    );
}
