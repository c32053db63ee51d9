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
