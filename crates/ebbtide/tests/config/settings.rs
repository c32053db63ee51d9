//! Every setting, and the mistakes that a value has by itself.

use crate::helpers::{SMALL, errors, errors_in_pool, errors_of_bytes, good, shows};
use ebbtide::config::{parse, schema, settings_page};
use ebbtide_control::HttpUrl;
use ebbtide_core::{
    Balance, HealthCheck, HealthSettings, HttpSettings, Millis, PoolConfig, ServerConfig,
};
use std::path::Path;

#[test]
fn defaults_are_those_of_the_rules() {
    let loaded = good(SMALL);
    let mut expected = PoolConfig::new("app");
    // Without a path there is only connecting.
    assert_eq!(expected.health, Some(HealthSettings::defaults()));
    expected.servers = vec![ServerConfig::new("web1", "10.0.0.11:8080".parse().unwrap())];
    assert_eq!(loaded.config.pools, [expected]);
    assert_eq!(loaded.config.pools[0].http, HttpSettings::defaults());
    assert_eq!(loaded.node.state_dir, Path::new("/var/lib/ebbtide"));
    assert_eq!(loaded.node.admin, "127.0.0.1:7070".parse().unwrap());
    assert_eq!(loaded.node.stop_grace, Millis::from_secs(30));
    assert_eq!(loaded.node.access_log, None);
    assert!(loaded.node.workers >= 1);
    let signin = &loaded.node.signin;
    assert_eq!(signin.users, Path::new("/var/lib/ebbtide/users"));
    let spans = [signin.spans.idle, signin.spans.longest, signin.spans.fresh];
    assert_eq!(
        spans,
        [30, 12 * 60, 5].map(|minutes| Millis::from_secs(minutes * 60))
    );
}

#[test]
fn how_people_sign_in_is_read_within_bounds() {
    let admin = |lines: &str| format!("{SMALL}\n[admin]\n{lines}\n");
    let sign_in = "{ idle = \"1h\", longest = \"7h\", fresh = \"10s\" }";
    let text = admin(&format!(
        "users = \"/etc/ebbtide/users\"\nsign_in = {sign_in}"
    ));
    let signin = good(&text).node.signin;
    assert_eq!(signin.users, Path::new("/etc/ebbtide/users"));
    assert_eq!(signin.url, None);
    let url = "https://console.example.com:8443";
    let named = good(&admin(&format!("url = \"{url}\"")));
    assert_eq!(named.node.signin.url, HttpUrl::parse(url).ok());
    let spans = [signin.spans.idle, signin.spans.longest, signin.spans.fresh];
    assert_eq!(spans, [3600, 7 * 3600, 10].map(Millis::from_secs));
    for (line, says) in [
        ("sign_in = { idle = \"59s\" }", "admin.sign_in.idle"),
        ("sign_in = { longest = \"31d\" }", "admin.sign_in.longest"),
        ("sign_in = { fresh = \"9s\" }", "admin.sign_in.fresh"),
        ("sign_in = { ideal = \"1m\" }", "idle"),
        ("users = 7", "admin.users"),
        ("url = \"console.example.com\"", "admin.url"),
        (
            "url = \"https://example.com/console\"",
            "admin.url: has a path",
        ),
    ] {
        let mistakes = errors(&admin(line));
        assert!(mistakes.contains(says), "{line}: {mistakes}");
    }
}

// tidy: allow(long-function): one list, a line or two for each setting
#[test]
fn every_setting_is_read() {
    let loaded = good(
        r#"
        state_dir = "/tmp/e"
        workers = 3
        stop_grace = "1m"
        [admin]
        listen = "[::1]:7171"
        url = "https://console.example.com"
        [access_log]
        format = "combined"
        path = "/tmp/log"
        [listeners.web]
        bind = "0.0.0.0:80"
        pool = "app"
        [pools.app]
        protocol = "http"
        balance = "source-hash"
        minimum = 2
        contact = "Anna"
        prefix = "/.tide"
        health_alias = "/up"
        logout = ["/bye", "/out"]
        forwarded = "trust"
        retry_percent = 7
        replica = true
        status_page = true
        sticky = { reuse = "1h30m", active = "90s", cookie = "tide" }
        health = { kind = "http", path = "/h", host = "h.example", status = "200, 300-310", expect = "OK", every = "250ms", timeout = "1s", fall = 4, rise = 5, port = 99 }
        timeouts = { head = "1s", idle = "2s", connect = "3s", response = "4s", body = "5s", tunnel = "6s", upstream_idle = "7s" }
        limits = { head_bytes = "16KiB", fields = 50, connections = 60, upstream_idle = 70, event_streams = 80 }
        notice = { reminders = ["1h", "10s"], inject = false }
        [pools.app.servers]
        web1 = "localhost:81"
        web2 = { address = "[::1]:82", weight = 3, max_sessions = 4 }
        "#,
    );
    let pool = &loaded.config.pools[0];
    assert_eq!(loaded.node.workers, 3);
    assert_eq!(loaded.node.admin, "[::1]:7171".parse().unwrap());
    assert_eq!(
        loaded.node.access_log.as_ref().unwrap().path.as_deref(),
        Some(Path::new("/tmp/log"))
    );
    assert!(!loaded.node.access_log.as_ref().unwrap().json);
    assert_eq!(pool.balance, Balance::SourceHash);
    assert_eq!((pool.minimum, pool.contact.as_deref()), (2, Some("Anna")));
    assert_eq!(pool.sticky.reuse, Millis::from_secs(5400));
    assert_eq!(pool.sticky.active, Millis::from_secs(90));
    assert_eq!(pool.sticky.cookie, "tide");
    assert_eq!(
        pool.health,
        Some(HealthSettings {
            check: HealthCheck::Http {
                path: "/h".into(),
                host: Some("h.example".into()),
                status: vec![(200, 200), (300, 310)],
                expect: Some("OK".into()),
            },
            every: Millis(250),
            timeout: Millis::from_secs(1),
            fall: 4,
            rise: 5,
            port: Some(99),
        })
    );
    let reminders = [3600, 10].map(Millis::from_secs).to_vec();
    assert_eq!(
        (&pool.notice.reminders, pool.notice.inject),
        (&reminders, false)
    );
    assert_eq!(
        pool.http,
        HttpSettings {
            prefix: "/.tide".into(),
            health_alias: Some("/up".into()),
            logout: vec!["/bye".into(), "/out".into()],
            forwarded_trusted: true,
            head_bytes_max: 16 * 1024,
            fields_max: 50,
            head_timeout: Millis::from_secs(1),
            idle_timeout: Millis::from_secs(2),
            connect_timeout: Millis::from_secs(3),
            response_timeout: Millis::from_secs(4),
            body_timeout: Millis::from_secs(5),
            tunnel_timeout: Millis::from_secs(6),
            connections_max: 60,
            event_streams_max: 80,
            upstream_idle_max: 70,
            upstream_idle_timeout: Millis::from_secs(7),
            retry_percent: 7,
            replica: true,
            redirect: false,
            status_page: true,
        }
    );
    assert_eq!(pool.servers[0].address_text, "localhost:81");
    assert!(pool.servers[0].address.ip().is_loopback());
    assert_eq!(
        (pool.servers[1].weight, pool.servers[1].max_sessions),
        (3, Some(4))
    );
}

#[test]
fn a_health_check_with_a_path_asks_for_the_page_and_false_asks_nothing() {
    let with = |lines: &str| {
        good(&SMALL.replace(
            "[pools.app.servers]",
            &format!("[pools.app]\n{lines}\n[pools.app.servers]"),
        ))
        .config
        .pools[0]
            .health
            .clone()
    };
    let page = with("health = { path = \"/x\" }").unwrap().check;
    assert_eq!(
        page,
        HealthCheck::Http {
            path: "/x".into(),
            host: None,
            status: vec![(200, 399)],
            expect: None
        }
    );
    assert_eq!(
        with("health = { every = \"5s\" }").unwrap().check,
        HealthCheck::Tcp {
            send: None,
            expect: None
        }
    );
    assert_eq!(
        with(r#"health = { send = "PING\r\n", expect = "PONG" }"#)
            .unwrap()
            .check,
        HealthCheck::Tcp {
            send: Some(b"PING\r\n".to_vec()),
            expect: Some(b"PONG".to_vec())
        }
    );
    assert_eq!(with("health = false"), None);
}

#[test]
fn a_short_reuse_shortens_active() {
    let text = SMALL.replace(
        "[pools.app.servers]",
        "[pools.app]\nsticky = { reuse = \"10s\" }\n[pools.app.servers]",
    );
    assert_eq!(
        good(&text).config.pools[0].sticky.active,
        Millis::from_secs(10)
    );
}

#[test]
fn an_unknown_key_is_shown_with_the_nearest_name() {
    assert_eq!(
        errors_in_pool("sticky = { reuse = \"20m\", coookie = \"tide\" }"),
        "\
error: unknown key `coookie` in `pools.app.sticky`
 --> ebbtide.toml:7:27
  |
7 | sticky = { reuse = \"20m\", coookie = \"tide\" }
  |                           ^^^^^^^ not a setting
  |
  = help: did you mean `cookie`?"
    );
}

// tidy: allow(long-function): one list, a few lines for each mistake
#[test]
fn places_of_the_usual_mistakes() {
    let duplicate = SMALL.replace("pool = \"app\"", "pool = \"app\"\npool = \"app\"");
    let cases = [
        (
            SMALL.replace("10.0.0.11:8080", "10.0.0.11"),
            "ebbtide.toml:7:8",
            "`10.0.0.11` has no port",
        ),
        (
            SMALL.replace("10.0.0.11:8080", "2001:db8::1"),
            "ebbtide.toml:7:8",
            "[2001:db8::1]:8080",
        ),
        (
            SMALL.replace("10.0.0.11:8080", "10.0.0.11:99999"),
            "ebbtide.toml:7:8",
            "`99999` is not a port",
        ),
        (
            SMALL.replace("pool = \"app\"", "pool = \"ap\""),
            "ebbtide.toml:4:8",
            "did you mean `app`?",
        ),
        (
            SMALL.replace("web1", "\"web 1\""),
            "ebbtide.toml:7:1",
            "`web 1` cannot be a name",
        ),
        (
            SMALL.replace("web1 = \"10.0.0.11:8080\"", ""),
            "ebbtide.toml:6:12",
            "`pools.app` has no servers",
        ),
        (
            SMALL.replace("\"app\"", "\"app"),
            "ebbtide.toml:4:",
            "string",
        ),
        (
            SMALL.replace("bind = \"127.0.0.1:8080\"", ""),
            "ebbtide.toml:2:12",
            "`listeners.web` has no `bind`",
        ),
        (
            SMALL.replace("127.0.0.1:8080", "127.0.0.1:7070"),
            "ebbtide.toml:3:8",
            "`admin.listen` has this address already",
        ),
        (duplicate, "ebbtide.toml:5:1", "`pool` is written twice"),
        (
            format!("{SMALL}web1 = \"10.0.0.12:8080\"\n"),
            "ebbtide.toml:8:1",
            "it is first written in line 7, column 1",
        ),
        (
            format!("{SMALL}[listeners.web]\nbind = \"127.0.0.1:1\"\n"),
            "ebbtide.toml:8:",
            "it is first written in line 2, column ",
        ),
        (
            format!("{SMALL}web2 = \"10.0.0.11:8080\"\n"),
            "ebbtide.toml:8:8",
            "pools.app.servers.web2: `web1` has this address already",
        ),
        (
            SMALL.replace("10.0.0.11:8080", "127.0.0.1:8080"),
            "ebbtide.toml:7:8",
            "pools.app.servers.web1: this is Ebbtide itself, listener web (127.0.0.1:8080)",
        ),
        (
            SMALL
                .replace("127.0.0.1:8080", "0.0.0.0:80")
                .replace("10.0.0.11:8080", "127.0.0.1:80"),
            "ebbtide.toml:7:8",
            "this is Ebbtide itself, listener web (0.0.0.0:80)",
        ),
        (
            SMALL.replace("10.0.0.11:8080", "http://10.0.0.11:8080/"),
            "ebbtide.toml:7:8",
            "leave out \"http://\": write \"10.0.0.11:8080\"",
        ),
        (
            SMALL.replace("\"10.0.0.11:8080\"", "{ weight = 2 }"),
            "ebbtide.toml:7:1",
            "`pools.app.servers.web1` has no `address`",
        ),
        (
            SMALL.replace("\"10.0.0.11:8080\"", "7"),
            "ebbtide.toml:7:8",
            "pools.app.servers.web1: found a number",
        ),
        (
            SMALL.replace("10.0.0.11:8080", "no-such-host.invalid:80"),
            "ebbtide.toml:7:8",
            "`no-such-host.invalid` cannot be looked up",
        ),
    ];
    for (text, place, message) in cases {
        shows(&errors(&text), &[place, message]);
    }
}

// tidy: allow(long-function): one list, a line or two for each setting
#[test]
fn wrong_values_say_what_to_write() {
    let cases = [
        (
            "sticky = { reuse = \"20\" }",
            "`20` has no unit",
            "write \"20s\", \"20m\" or \"20h\"",
        ),
        (
            "sticky = { reuse = 20 }",
            "`20` has no unit",
            "write \"20s\", \"20m\" or \"20h\"",
        ),
        (
            "sticky = { reuse = \"soon\" }",
            "`soon` is not a duration",
            "\"1h30m\"",
        ),
        (
            "sticky = { reuse = \"10s\", active = \"20s\" }",
            "longer than `reuse`, which is 10s",
            "at most \"10s\"",
        ),
        (
            "health = { fall = 0 }",
            "`0` is out of bounds",
            "expected 1 to 100",
        ),
        ("health = { rise = \"2\" }", "found text", "without quotes"),
        (
            "health = { every = \"10ms\" }",
            "`10ms` is out of bounds",
            "expected 100ms to 1h",
        ),
        (
            "health = { expect = \"OK\" }",
            "this check only connects",
            "add `path",
        ),
        (
            "health = { kind = \"tcp\", path = \"/h\" }",
            "this check only connects",
            "leave it out, or write `kind = \"http\"`",
        ),
        (
            "health = { path = \"/h\", status = \"700\" }",
            "`700` is not a range of statuses",
            "200-399",
        ),
        (
            "health = true",
            "`pools.app.health` is a table, not true or false",
            "expected a table",
        ),
        (
            "balance = \"round-robbin\"",
            "`round-robbin` is not known here",
            "did you mean \"round-robin\"?",
        ),
        (
            "limits = { head_bytes = \"1GB\" }",
            "`1GB` is not an amount of bytes",
            "\"32KiB\"",
        ),
        (
            "minimum = 2",
            "the pool has only 1 server",
            "expected 1 to 1",
        ),
        ("prefix = \"/tide/\"", "ends with `/`", "no `/` at the end"),
        (
            "logout = \"/bye\"",
            "expected a list of paths, found text",
            "[\"/logout\"]",
        ),
        (
            "notice = { reminders = \"5m\" }",
            "expected a list of durations, found text",
            "[\"15m\", \"5m\"]",
        ),
        (
            "notice = { reminders = [\"5m\", \"9s\"] }",
            "`9s` is out of bounds",
            "expected 10s to 168h",
        ),
        (
            "notice = { reminders = [\"8d\"] }",
            "`8d` is out of bounds",
            "expected 10s to 168h",
        ),
        (
            "notice = { reminders = [\"1m\", \"1m\", \"1m\", \"1m\", \"1m\", \"1m\", \"1m\", \"1m\", \"1m\", \"1m\", \"1m\"] }",
            "11 durations are too many",
            "expected at most 10",
        ),
        (
            "limits = { event_streams = 100001 }",
            "`100001` is out of bounds",
            "expected 0 to 100000",
        ),
        (
            "health_page = { active = 204 }",
            "204 is never sent with a page",
            "200 or 503",
        ),
        (
            "health_page = { template = \"<p>{{staus}}</p>\" }",
            "nothing is known for `{{staus}}`",
            "did you mean `{{status}}`?",
        ),
        (
            "health_page = { template = \"<p>{{ status }}</p>\" }",
            "does not say `{{status}}`",
            "ACTIVE - 12",
        ),
        (
            "queue_max = 5",
            "nobody waits in line",
            "add `queue = \"30s\"`",
        ),
        (
            "health_alias = \"/\"",
            "users who open the site would get it",
            "\"/health\"",
        ),
        (
            "health_alias = \"/up?x=1\"",
            "it is compared without the query",
            "\"/health\"",
        ),
        (
            "health_alias = \"/.ebbtide/session\"",
            "it would hide a page of Ebbtide's own",
            "\"/health\"",
        ),
        (
            "user = { header = \"Authorization\" }",
            "secrets would be shown",
            "write `user = { basic = true }`",
        ),
        (
            "user = { header = \"cookie\" }",
            "secrets would be shown",
            "user = { cookie = \"NAME\" }",
        ),
        (
            "user = { cookie = \"ebbtide_app\" }",
            "`ebbtide_app` is Ebbtide's own cookie",
            "a cookie of the application",
        ),
        (
            "user = { cookie = \"ebbtide_door_other\" }",
            "`ebbtide_door_other` is Ebbtide's own cookie",
            "a cookie of the application",
        ),
        (
            "user = { header = \"X-A\", basic = true }",
            "a user is named in one place",
            "keep one of",
        ),
        ("user = {}", "does not say where", "X-Remote-User"),
        ("contact = \"a\\nb\"", "a line break", "one line"),
        (
            "sticky = { cookie = \"a=b\" }",
            "`a=b` cannot name a cookie",
            "letters, digits",
        ),
    ];
    for (lines, what, help) in cases {
        shows(&errors_in_pool(lines), &["ebbtide.toml:7:", what, help]);
    }
}

#[test]
fn one_slip_is_one_mistake() {
    let mistaken = |text: &str| errors(text).matches("error: ").count();
    let in_pool = |lines: &str| {
        let lines = format!("[pools.app]\n{lines}\n[pools.app.servers]");
        SMALL.replace("[pools.app.servers]", &lines)
    };
    for slip in [
        SMALL.replace("[pools.app.servers]", "[pools.app.server]"),
        SMALL.replace("[listeners.web]", "[listener.web]"),
        SMALL.replace("bind =", "bnid ="),
        SMALL.replace(
            "[pools.app.servers]",
            "[pools.app]\nhealth = { path = \"h\", expect = \"OK\" }\n[pools.app.servers]",
        ),
        in_pool("user = { header = \"X Remote\" }"),
        in_pool("user = { heder = \"X-Remote-User\" }"),
        in_pool("user = { basic = \"yes\" }"),
        in_pool("queue = \"1ms\"\nqueue_max = 5"),
        in_pool("health_page = { template = \"{{staus}}\" }"),
    ] {
        assert_eq!(mistaken(&slip), 1, "{}", errors(&slip));
    }
}

#[test]
fn two_pools_with_one_cookie() {
    let text = format!(
        "{SMALL}\n[pools.b]\nsticky = {{ cookie = \"ebbtide_app\" }}\n[pools.b.servers]\nx = \"10.0.0.1:1\"\n"
    );
    shows(
        &errors(&text),
        &[
            "ebbtide.toml:10:21",
            "pool `app` has the cookie `ebbtide_app` already",
        ],
    );
}

#[test]
fn two_listeners_on_one_address() {
    let two = |one: &str, other: &str| {
        let text = SMALL.replace("127.0.0.1:8080", one);
        let text = format!("[listeners.first]\nbind = \"{other}\"\npool = \"app\"\n{text}");
        parse("ebbtide.toml", text.as_bytes()).map_err(|errors| errors.to_string())
    };
    for (one, other) in [
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("0.0.0.0:80", "127.0.0.1:80"),
        ("127.0.0.1:80", "0.0.0.0:80"),
        ("[::1]:80", "[::]:80"),
    ] {
        let errors = two(one, other).unwrap_err();
        shows(
            &errors,
            &[
                "`listeners.first.bind` has this address already",
                "ebbtide.toml:6:8",
            ],
        );
    }
    for (one, other) in [
        ("127.0.0.1:80", "127.0.0.1:81"),
        ("127.0.0.1:80", "127.0.0.2:80"),
        ("[::]:80", "0.0.0.0:80"),
    ] {
        two(one, other).unwrap();
    }
}

#[test]
fn a_file_that_is_not_utf8() {
    let mut bytes = b"# caf\xe9\n".to_vec();
    bytes.extend(SMALL.bytes());
    shows(
        &errors_of_bytes(&bytes),
        &["ebbtide.toml:1:6", "not UTF-8: byte 0xe9"],
    );
}

#[test]
fn an_empty_file_says_what_is_missing() {
    shows(&errors(""), &["no listeners", "no pools"]);
}

#[test]
fn all_mistakes_are_told_at_once_but_not_hundreds() {
    let text = SMALL
        .replace("127.0.0.1:8080", "127.0.0.1")
        .replace("10.0.0.11:8080", "10.0.0.11");
    shows(&errors(&text), &["ebbtide.toml:3:8", "ebbtide.toml:7:8"]);
    let mut text = SMALL.to_owned();
    for server in 0..230 {
        text.push_str(&format!("s{server} = \"10.0.0.1\"\n"));
    }
    let errors = errors(&text);
    assert_eq!(errors.matches("has no port").count(), 200);
    shows(&errors, &["… and 30 more mistakes, not shown"]);
}

#[test]
fn ten_thousand_servers() {
    let mut text = String::from("[listeners.web]\nbind = \"0.0.0.0:8080\"\npool = \"p0\"\n");
    for pool in 0..100 {
        text.push_str(&format!("[pools.p{pool}.servers]\n"));
        for server in 0..100 {
            text.push_str(&format!(
                "s{server} = {{ address = \"10.{pool}.{server}.1:80\", weight = {} }}\n",
                server + 1
            ));
        }
    }
    let began = std::time::Instant::now();
    let loaded = good(&text);
    println!("10,000 servers in {:?}", began.elapsed());
    assert_eq!(loaded.config.pools.len(), 100);
    let last = &loaded.config.pools[99].servers[99];
    assert_eq!(last.name, "s99");
    assert_eq!(last.address, "10.99.99.1:80".parse().unwrap());
    assert_eq!(last.weight, 100);
    // A mistake in a file of that size is shown with its own lines only.
    let wrong = text.replace("10.99.99.1:80", "10.99.99.1");
    let errors = errors(&wrong);
    shows(&errors, &["ebbtide.toml:10103:19"]);
    assert!(errors.lines().count() < 12, "{errors}");
}

#[test]
fn the_examples_are_good() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut seen = 0;
    for file in std::fs::read_dir(examples).unwrap() {
        let path = file.unwrap().path();
        let loaded = ebbtide::config::load(&path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(loaded.config.pools[0].servers.len(), 3, "{path:?}");
        seen += 1;
    }
    assert_eq!(seen, 2);
}

#[test]
fn the_reference_and_the_schema_name_every_setting() {
    let (page, schema) = (settings_page(), schema());
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    for name in [
        "`upstream_idle`",
        "`max_sessions`",
        "`stop_grace`",
        "`\"20m\"`",
    ] {
        assert!(page.contains(name), "{name} is not in:\n{page}");
    }
    let pool = schema["properties"]["pools"]["patternProperties"]
        .as_object()
        .unwrap()
        .values()
        .next()
        .unwrap();
    assert_eq!(pool["properties"]["balance"]["default"], "least-sessions");
    assert_eq!(pool["properties"]["health"]["oneOf"][0]["const"], false);
    assert_eq!(pool["required"], serde_json::json!(["servers"]));
}
