//! The configuration file: servers that come from a name.

use crate::helpers::{SMALL, errors, good, shows};
use ebbtide_core::Millis;

/// [`SMALL`] with this in place of its server.
fn with(entry: &str) -> String {
    SMALL.replace("web1 = \"10.0.0.11:8080\"", entry)
}

#[test]
fn a_name_is_not_looked_up_when_the_file_is_read() {
    let loaded = good(&with(
        "web = { address = \"no.such.name.invalid:8080\", resolve = \"30s\", weight = 3, max_sessions = 7 }",
    ));
    let pool = &loaded.config.pools[0];
    assert_eq!(pool.servers, []);
    let name = &pool.names[0];
    assert_eq!(
        (name.name.as_str(), name.host.as_str()),
        ("web", "no.such.name.invalid")
    );
    assert_eq!((name.port, name.every), (8080, Millis::from_secs(30)));
    assert_eq!(name.leave_within, Millis::from_secs(1800));
    let server = name.server_at("web-1", "10.0.0.1:8080".parse().unwrap());
    assert_eq!((server.weight, server.max_sessions), (3, Some(7)));
    assert_eq!(server.address_text, "10.0.0.1:8080");
    assert_eq!(server.of_name.as_deref(), Some("web"));
}

#[test]
fn mistakes_are_pointed_at() {
    for (entry, parts) in [
        (
            "web = { address = \"10.0.0.1:8080\", resolve = \"30s\" }",
            [
                "web.address: there is no name to look up",
                "leave `resolve` out",
            ],
        ),
        (
            "web = { address = \"10.0.0.1:8080\", leave_within = \"5m\" }",
            ["its name is not looked up again", "add `resolve = \"30s\"`"],
        ),
        (
            "web = { address = \"web.internal:8080\", resolve = \"500ms\" }",
            ["`500ms` is out of bounds", "1s"],
        ),
        (
            "web = { address = \"web.internal\", resolve = \"30s\" }",
            ["web.internal", "port"],
        ),
        (
            "web = { address = \"web.internal:80\", resolve = \"30s\", public_url = \"https://a.example\" }",
            ["public_url: nobody is led there", "mode"],
        ),
    ] {
        shows(&errors(&with(entry)), &parts);
    }
}
