//! The configuration file: webhooks, and checks of an upgrade.

use crate::helpers::{SMALL, errors, errors_in_pool, good, in_pool, shows};
use ebbtide_control::{HttpUrl, Template, Webhook};
use ebbtide_core::{Millis, UpgradeCheck};

#[test]
fn webhooks_and_version_pages_are_read() {
    let upgrade =
        "upgrade = { path = \"/version\", expect = \"v2\\\\..*\", probes = 5, within = \"30m\" }";
    let text = in_pool(upgrade);
    let hooks = r#"
        [webhooks.ops]
        url = "https://hooks.example.com/a?b=c"
        [webhooks.chat]
        url = "http://10.0.0.1:81"
        events = ["session-began", "drained"]
        secret_env = "PATH"
        template = "teams"
        timeout = "3s"
        attempts = 2
        queue = 9
    "#;
    let loaded = good(&format!("{text}{hooks}"));
    let upgrade = UpgradeCheck {
        path: "/version".into(),
        expect: Some("v2\\..*".into()),
        probes: 5,
        within: Millis::from_secs(30 * 60),
    };
    assert_eq!(loaded.config.pools[0].upgrade, Some(upgrade));
    let [ops, chat] = &loaded.webhooks[..] else {
        panic!("two hooks");
    };
    let url = HttpUrl::parse("https://hooks.example.com/a?b=c").unwrap();
    let defaults = Webhook {
        name: "ops".into(),
        url,
        events: [
            "intent",
            "drained",
            "pool-intent",
            "pool-closed",
            "stays-closed",
            "standing",
            "store",
        ]
        .map(String::from)
        .to_vec(),
        secret: None,
        template: Template::Json,
        timeout: Millis::from_secs(10),
        attempts: 6,
        queue_max: 1000,
    };
    assert_eq!(*ops, defaults);
    assert_eq!(chat.events, ["session-began", "drained"]);
    assert_eq!(
        (chat.template, chat.timeout, chat.attempts, chat.queue_max),
        (Template::Teams, Millis::from_secs(3), 2, 9)
    );
    assert!(chat.secret.is_some());
}

#[test]
fn wrong_upgrade_checks_say_what_to_write() {
    for (lines, what, help) in [
        (
            "upgrade = { path = \"/v\", expect = \"v2(\" }",
            "`v2(` is not a regular expression: unclosed group",
            "write one such as",
        ),
        (
            "upgrade = { expect = \"v2\" }",
            "`pools.app.upgrade` has no `path`",
            "Write `path = …`",
        ),
        (
            "upgrade = { path = \"/v\", probes = 0 }",
            "`0` is out of bounds",
            "expected 1 to 1000",
        ),
        (
            "upgrade = { path = \"/v\", within = \"32d\" }",
            "`32d` is out of bounds",
            "expected 1s to 744h",
        ),
    ] {
        shows(&errors_in_pool(lines), &[what, help]);
    }
}

#[test]
fn wrong_webhooks_say_what_to_write() {
    for (lines, what, help) in [
        ("template = \"json\"", "`webhooks.ops` has no `url`", "url"),
        (
            "url = \"ftp://x/\"",
            "does not begin with http:// or https://",
            "hooks.example.com",
        ),
        (
            "url = \"http://me:pw@x/\"",
            "names a user, which is not supported",
            "hooks.example.com",
        ),
        (
            "url = \"http://x/\"\nevents = []",
            "an empty list",
            "expected some of: intent",
        ),
        (
            "url = \"http://x/\"\nevents = [\"session-began\", \"drainde\"]",
            "ebbtide.toml:11:28",
            "did you mean \"drained\"?",
        ),
        (
            "url = \"http://x/\"\nsecret_env = \"EBBTIDE_NO_SUCH\"",
            "EBBTIDE_NO_SUCH is not in the environment",
            "secret_file",
        ),
        (
            "url = \"http://x/\"\nsecret_file = \"/dev/null\"",
            "/dev/null is not a file",
            "secret_file",
        ),
        (
            "url = \"http://x/\"\nsecret_file = \"/no/such\"",
            "/no/such cannot be read",
            "secret_file",
        ),
        (
            "url = \"http://x/\"\nsecret_file = \"/a\"\nsecret_env = \"B\"",
            "a secret comes from one place",
            "secret_file",
        ),
        (
            "url = \"http://x/\"\nattempts = 21",
            "`21` is out of bounds",
            "expected 1 to 20",
        ),
    ] {
        shows(
            &errors(&format!("{SMALL}\n[webhooks.ops]\n{lines}\n")),
            &[what, help],
        );
    }
}
