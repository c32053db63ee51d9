//! The configuration file: NBD pools.

use crate::helpers::{errors, good};
use ebbtide_core::{IdentitySource, Millis, Mode, NbdSettings, Protocol};

const MANIFEST: &str = "manifest = \"http://{host}:8099/manifest.json\"\n";

const SMALL: &str = r#"
[listeners.disks]
bind = "127.0.0.1:10809"
pool = "disks"

[pools.disks]
protocol = "nbd"
manifest = "http://{host}:8099/manifest.json"
# more

[pools.disks.resources.win10]

[pools.disks.servers]
s1 = "10.0.0.41:10809"
s2 = "10.0.0.42:10809"
"#;

fn with(lines: &str) -> String {
    SMALL.replace("# more", lines)
}

#[test]
fn an_nbd_pool_is_read() {
    let pool = good(SMALL).config.pools[0].clone();
    assert_eq!(pool.protocol, Protocol::Nbd);
    assert_eq!(pool.nbd, NbdSettings::defaults());
    assert_eq!(pool.http.response_timeout, Millis::from_secs(10));
    assert_eq!(pool.replicas.source, IdentitySource::Manifest);
    assert_eq!(pool.replicas.resources[0].mode, Mode::Shared);
    let lines =
        "timeouts = { response = \"3s\", stand_in = \"5m\", keepalive = \"30s\", head = \"2s\" }";
    let pool = good(&with(lines)).config.pools[0].clone();
    assert_eq!(pool.http.response_timeout, Millis::from_secs(3));
    assert_eq!(pool.nbd.stand_in, Millis::from_secs(300));
    assert_eq!(pool.tcp.keepalive, Millis::from_secs(30));
    // The default of the others is as it was.
    let http = SMALL.replace("\"nbd\"", "\"http\"");
    let pool = good(&http).config.pools[0].clone();
    assert_eq!(pool.http.response_timeout, Millis::from_secs(60));
}

#[test]
fn what_is_of_other_protocols_is_refused() {
    let said = errors(&with(
        "prefix = \"/x\"\ncut = \"reset\"\nbalance = \"door-only\"\n\
         sticky = { by = \"source\", reuse = \"1m\" }\n\
         timeouts = { tunnel = \"1h\", body = \"1s\" }",
    ));
    for name in [
        "prefix",
        "cut",
        "balance",
        "sticky.by",
        "sticky.reuse",
        "tunnel",
        "body",
    ] {
        assert!(
            said.contains(&format!("{name}: not in nbd pools")),
            "{name} in {said}"
        );
    }
    assert!(
        said.contains("`protocol = \"http\"` or `protocol = \"tcp\"`"),
        "{said}"
    );
    let said = errors(&with("timeouts = { stand_in = \"1ms\" }"));
    assert!(said.contains("stand_in"), "{said}");
    let http = with("timeouts = { stand_in = \"1m\" }").replace("\"nbd\"", "\"http\"");
    assert!(errors(&http).contains("stand_in: not in http pools"));
}

#[test]
fn its_resources_need_manifests_unless_one_server_has_them() {
    let without = SMALL.replace(MANIFEST, "");
    assert!(errors(&without).contains("has no `manifest`"));
    let private = without.replace(
        "[pools.disks.resources.win10]",
        "[pools.disks.resources.win10]\nmode = \"private\"\nserver = \"s1\"",
    );
    assert_eq!(good(&private).config.pools[0].replicas.resources.len(), 1);
    let none = SMALL.replace("[pools.disks.resources.win10]", "");
    assert!(errors(&none).contains("has no resources"));
    let read = without.replace("# more", "identity = \"read\"");
    let pool = &good(&read).config.pools[0];
    assert_eq!(pool.replicas.source, IdentitySource::Read);
}

#[test]
fn copies_are_read_as_fast_as_the_file_says() {
    let rate = |lines: &str| {
        let without = with(lines).replace(MANIFEST, "");
        let pool = good(&without).config.pools[0].clone();
        pool.replicas.read_bytes_per_second
    };
    let read = |rate: &str| format!("identity = \"read\"\nidentity_rate = {rate}");
    assert_eq!(rate("identity = \"read\""), 50_000_000);
    for (written, expected) in [
        ("1MB/s", 1_000_000),
        ("8 MiB/s", 8 << 20),
        ("10GB/s", 10_000_000_000),
        ("2GiB/s", 2 << 30),
    ] {
        assert_eq!(rate(&read(&format!("{written:?}"))), expected, "{written}");
    }
    for (written, expected) in [
        ("\"0MB/s\"", "`0` is out of bounds"),
        (
            "\"11GB/s\"",
            "expected 1000000 to 10000000000 bytes per second",
        ),
        ("\"50MB\"", "`50MB` is not a rate"),
        ("\"MB/s\"", "`MB/s` is not a rate"),
        ("\"99999999999999999999GB/s\"", "is not a rate"),
        ("50", "expected a rate in quotes"),
    ] {
        let said = errors(&with(&read(written)));
        assert!(said.contains(expected), "{written}: {said}");
        assert!(said.contains("identity_rate"), "{said}");
    }
    let said = errors(&with("identity_rate = \"5MB/s\""));
    assert!(
        said.contains("identity_rate: nothing is read here"),
        "{said}"
    );
}

#[test]
fn identities_come_from_where_there_are_some() {
    let said = errors(&with("identity = \"headers\""));
    assert!(said.contains("only http pools can use it"), "{said}");
    assert!(said.contains("write \"manifest\" or \"read\""), "{said}");
}
