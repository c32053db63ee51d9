//! What the configuration file says of resources, and what each mistake in it gets.

use crate::helpers::good;
use ebbtide::config::parse;
use ebbtide_core::{Digest, IdentitySource, Millis, Mode, ReplicaSettings, ResourceConfig};

/// A file with two servers and these lines after them.
fn file(pool: &str, more: &str) -> String {
    format!(
        "[listeners.web]\nbind = \"127.0.0.1:8079\"\npool = \"app\"\n[pools.app]\n{pool}\n\
         [pools.app.servers]\ns1 = \"localhost:8080\"\n\
         s2 = {{ address = \"[::1]:8081\", manifest = \"/srv/two.json\" }}\n{more}"
    )
}

fn read(pool: &str, more: &str) -> (ReplicaSettings, Vec<Option<String>>) {
    let loaded = good(&file(pool, more));
    let pool = &loaded.config.pools[0];
    let servers = pool.servers.iter();
    let places = servers.map(|server| pool.replicas.manifest_of(server));
    (pool.replicas.clone(), places.collect())
}

const MANIFEST: &str = "manifest = \"http://{host}:8099/{server}.json\"";

#[test]
fn every_setting_is_read() {
    let digest = "0f".repeat(32);
    let (settings, places) = read(
        &format!("{MANIFEST}\nmanifest_every = \"5m\""),
        &format!(
            "[pools.app.resources.win10]\nfile = \"images/win10.raw\"\ndigest = \"{digest}\"\n\
             [pools.app.resources.data]\nmode = \"private\"\nserver = \"s2\"\n\
             [pools.app.resources.old]\nmode = \"maintenance\"\n\
             [pools.app.resources.one]\nbalance = \"off\"\nserver = \"s1\"\n"
        ),
    );
    assert_eq!(settings.source, IdentitySource::Manifest);
    assert_eq!(settings.manifest_every, Millis::from_secs(300));
    let places: Vec<Option<&str>> = places.iter().map(Option::as_deref).collect();
    assert_eq!(
        places,
        [Some("http://localhost:8099/s1.json"), Some("/srv/two.json")]
    );
    assert_eq!(
        settings.resources,
        [
            ResourceConfig {
                mode: Mode::Private,
                server: Some("s2".into()),
                ..ResourceConfig::shared("data")
            },
            ResourceConfig {
                mode: Mode::Maintenance,
                ..ResourceConfig::shared("old")
            },
            ResourceConfig {
                balance: false,
                server: Some("s1".into()),
                ..ResourceConfig::shared("one")
            },
            ResourceConfig {
                file: "images/win10.raw".into(),
                digest: Some(Digest([0x0f; 32])),
                ..ResourceConfig::shared("win10")
            },
        ]
    );
}

#[test]
fn without_a_manifest_answers_tell() {
    let (settings, places) = read("", "[pools.app.resources.disk]\n");
    assert_eq!(settings.source, IdentitySource::Headers);
    assert_eq!(places, [None, None]);
    let (settings, places) = read(&format!("{MANIFEST}\nidentity = \"headers\""), "");
    assert_eq!(settings.source, IdentitySource::Headers);
    assert_eq!(places, [None, None], "nobody needs them");
}

// tidy: allow(long-function): one list, a few lines for each mistake
#[test]
fn mistakes_are_shown_at_their_places() {
    let disk = |lines: &str| format!("[pools.app.resources.disk]\n{lines}\n");
    let cases = [
        (
            "",
            disk("mode = \"privat\""),
            ":10:8",
            "did you mean \"private\"?",
        ),
        ("", disk("mode = \"private\""), ":9:22", "has no `server`"),
        ("", disk("balance = \"off\""), ":9:22", "has no `server`"),
        (
            "",
            disk("mode = \"private\"\nserver = \"s3\""),
            ":11:10",
            "did you mean `s1`?",
        ),
        (
            "",
            disk("server = \"s1\""),
            ":10:10",
            "has no server of its own",
        ),
        (
            "",
            disk("mode = \"private\"\nserver = \"s1\"\nbalance = \"on\""),
            ":12:11",
            "a private resource has one server",
        ),
        (
            "",
            disk("digest = \"0f\""),
            ":10:10",
            "expected 64 hexadecimal digits",
        ),
        (
            "",
            disk("balance = \"off\"\nserver = \"s1\"\ndigest = \"0f\""),
            ":12:10",
            "one server serves it, whatever it has",
        ),
        (
            "identity = \"read\"",
            disk(""),
            ":5:12",
            "pools.app.identity: only nbd pools can use it",
        ),
        (
            "identity = \"manifest\"",
            disk(""),
            ":4:8",
            "`pools.app.servers.s1` has no `manifest`",
        ),
        (
            "manifest = \"https://{host}/m.json\"",
            disk(""),
            ":5:12",
            "https, which comes with a later version",
        ),
        (
            "manifest = \"/srv/{name}.json\"",
            disk(""),
            ":5:12",
            "something in braces",
        ),
        (
            "manifest = \"/srv/two.json\"",
            disk(""),
            ":8:",
            "`s1` and `s2` would have the same manifest",
        ),
        (
            "protocol = \"tcp\"",
            disk(""),
            ":9:",
            "pools.app.resources: this pool has no resources",
        ),
        (
            "manifest_every = \"100ms\"",
            disk(""),
            ":5:18",
            "`100ms` is out of bounds",
        ),
    ];
    for (pool, more, place, message) in cases {
        let errors = parse("ebbtide.toml", file(pool, &more).as_bytes());
        let errors = errors.expect_err("it has a mistake").to_string();
        for part in [place, message] {
            assert!(errors.contains(part), "{part:?} is not in:\n{errors}");
        }
    }
}
