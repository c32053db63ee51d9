//! The configuration file: agents on the servers.

use crate::helpers::{errors_in_pool, good, in_pool, shows};
use ebbtide_core::{AgentSettings, Millis};

fn agent(lines: &str) -> Option<AgentSettings> {
    good(&in_pool(lines)).config.pools[0].agent.clone()
}

#[test]
fn agents_are_asked_where_the_file_says_so() {
    assert_eq!(agent(""), None);
    let expected = AgentSettings {
        port: 9777,
        every: Millis(2_000),
        timeout: Millis(1_000),
    };
    assert_eq!(agent("agent = 9777"), Some(expected.clone()));
    let whole = "agent = { port = 9777, every = \"500ms\", timeout = \"50ms\" }";
    let expected = AgentSettings {
        every: Millis(500),
        timeout: Millis(50),
        ..expected
    };
    assert_eq!(agent(whole), Some(expected));
}

#[test]
fn mistakes_are_pointed_at() {
    for (lines, parts) in [
        ("agent = {}", ["has no `port`", "needs `port`"]),
        ("agent = 0", ["`0` is out of bounds", "expected 1 to 65535"]),
        ("agent = \"9777\"", ["found text", "expected"]),
        (
            "agent = { port = 9777, every = \"100ms\" }",
            ["`100ms` is out of bounds", "500ms"],
        ),
        (
            "agent = { port = 9777, evry = \"2s\" }",
            ["evry", "did you mean `every`?"],
        ),
    ] {
        shows(&errors_in_pool(lines), &parts);
    }
}
