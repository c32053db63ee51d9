//! The configuration file: the load of servers' machines.

use ebbtide::config::{Loaded, parse};
use ebbtide_core::{Balance, LoadMeasure, LoadSettings, Millis};

const SMALL: &str = r#"
[listeners.web]
bind = "127.0.0.1:8080"
pool = "app"

[pools.app.servers]
web1 = "10.0.0.11:8080"
web2 = { address = "10.0.0.12:8080", exporter = "http://10.1.0.12:9182/metrics" }
"#;

/// `SMALL` with these lines of a pool before its servers.
fn read(lines: &str) -> Result<Loaded, String> {
    let text = SMALL.replace(
        "[pools.app.servers]",
        &format!("[pools.app]\n{lines}\n[pools.app.servers]"),
    );
    parse("ebbtide.toml", text.as_bytes()).map_err(|errors| errors.to_string())
}

fn load(lines: &str) -> LoadSettings {
    let loaded = read(lines).unwrap_or_else(|errors| panic!("{errors}"));
    loaded.config.pools[0]
        .load
        .clone()
        .expect("the pool has exporters")
}

#[test]
fn exporters_are_asked_every_five_seconds_for_processors_and_memory() {
    let lines = "balance = \"least-load\"\nload = \"http://{host}:9100/metrics?of={server}\"";
    let pool = read(lines).unwrap().config.pools[0].clone();
    assert_eq!(pool.balance, Balance::LeastLoad);
    let expected = LoadSettings {
        exporter: "http://{host}:9100/metrics?of={server}".into(),
        by: LoadMeasure::Greatest,
        sessions_max: None,
        every: Millis(5_000),
        timeout: Millis(3_000),
    };
    assert_eq!(pool.load, Some(expected));
    let exporters: Vec<_> = pool.servers.iter().map(|s| pool.exporter_of(s)).collect();
    let expected = [
        "http://10.0.0.11:9100/metrics?of=web1",
        "http://10.1.0.12:9182/metrics",
    ];
    assert_eq!(exporters, expected.map(|text| Some(text.to_owned())));
}

#[test]
fn a_look_takes_no_longer_than_the_time_between_two() {
    let short = load("load = { exporter = \"http://{host}/\", every = \"500ms\" }");
    assert_eq!(short.timeout, Millis(500));
    let same = load("load = { exporter = \"http://{host}/\", timeout = \"5s\" }");
    assert_eq!(same.timeout, Millis(5_000));
}

#[test]
fn the_load_may_be_any_metric_between_two_values() {
    let exporter = "exporter = \"http://{host}:9100/\"";
    for (word, by) in [
        ("cpu", LoadMeasure::Cpu),
        ("memory", LoadMeasure::Memory),
        ("run-queue", LoadMeasure::RunQueue),
        ("pressure", LoadMeasure::Pressure),
        ("greatest", LoadMeasure::Greatest),
    ] {
        let load = load(&format!("load = {{ {exporter}, by = \"{word}\" }}"));
        assert_eq!((load.by, load.sessions_max), (by, None));
    }
    let sessions = [
        ("by = \"sessions\"", LoadMeasure::Sessions),
        ("by = \"cpu\"", LoadMeasure::Cpu),
        ("every = \"5s\"", LoadMeasure::Greatest),
    ];
    for (other, by) in sessions {
        let load = load(&format!(
            "load = {{ {exporter}, {other}, sessions_max = 40 }}"
        ));
        assert_eq!((load.by, load.sessions_max), (by, Some(40)), "{other}");
    }
    let value = |min, max| LoadMeasure::Value {
        metric: "jobs{state=\"run\"}".into(),
        min,
        max,
    };
    let jobs = "value = 'jobs{state=\"run\"}'";
    assert_eq!(
        load(&format!("load = {{ {exporter}, {jobs} }}")).by,
        value(0, 100_000)
    );
    let bounds = "min = -0.5, max = 12.345";
    let lines = format!("load = {{ {exporter}, {jobs}, {bounds} }}");
    assert_eq!(load(&lines).by, value(-500, 12_345));
    let bounds = "min = -999999999999.999, max = 999999999999.001";
    let lines = format!("load = {{ {exporter}, {jobs}, {bounds} }}");
    let kept = value(-999_999_999_999_999, 999_999_999_999_001);
    assert_eq!(load(&lines).by, kept);
}

#[test]
fn each_server_may_have_a_peak_load_of_its_own() {
    let lines = "peak_load = 80\nload = \"http://{host}:9100/metrics\"";
    let text = SMALL.replace(
        "[pools.app.servers]",
        &format!("[pools.app]\n{lines}\n[pools.app.servers]"),
    );
    let text = text.replace("exporter =", "peak_load = 0, exporter =");
    let loaded = parse("ebbtide.toml", text.as_bytes()).unwrap();
    let pool = &loaded.config.pools[0];
    assert_eq!(pool.peak_load, Some(80));
    let own: Vec<_> = pool.servers.iter().map(|server| server.peak_load).collect();
    assert_eq!(own, [None, Some(0)]);
}

// tidy: allow(long-function): one list, a few lines for each mistake
#[test]
fn mistakes_are_pointed_at() {
    for (lines, parts) in [
        (
            "",
            [
                "pools.app.servers.web2.exporter: the pool has no `load`",
                "add `[pools.app.load]`",
            ],
        ),
        (
            "load = \"http://{host}/\"\npeak_load = 101",
            ["`101` is out of bounds", "expected 0 to 100"],
        ),
        (
            "peak_load = 80",
            [
                "pools.app.peak_load: the pool has no `load`",
                "nothing to compare it with",
            ],
        ),
        (
            "load = { by = \"cpu\" }",
            ["`pools.app.load` has no `exporter`", "needs `exporter`"],
        ),
        (
            "load = \"https://{host}/\"",
            [
                "pools.app: the exporter of `web1` would be fetched over https",
                "write \"http://{host}:9100/metrics\"",
            ],
        ),
        (
            "load = \"/srv/{server}\"",
            [
                "`web1` is not an http:// address",
                "not the address of an exporter",
            ],
        ),
        (
            "load = { exporter = \"http://{host}/\", value = \"1x\" }",
            [
                "pools.app.load.value: it must begin with a metric's name",
                "not a metric",
            ],
        ),
        (
            "load = { exporter = \"http://{host}/\", value = \"x\", min = 5, max = 5 }",
            [
                "pools.app.load: `max` is not more than `min`",
                "nothing between them",
            ],
        ),
        (
            "load = { exporter = \"http://{host}/\", max = 5 }",
            [
                "pools.app.load.max: there is no `value` to compare",
                "would not be looked at",
            ],
        ),
        (
            "load = { exporter = \"http://{host}/\", value = \"x\", max = \"5\" }",
            ["pools.app.load.max: found text", "expected a number"],
        ),
        (
            "load = { exporter = \"http://{host}/\", value = \"x\", max = nan }",
            [
                "pools.app.load.max: `nan` is out of bounds",
                "expected -1000000000000",
            ],
        ),
        (
            "load = { exporter = \"http://{host}/\", value = \"x\", max = 0.0005 }",
            [
                "pools.app.load.max: `0.0005` has more than three digits after the point",
                "with up to three digits after the point",
            ],
        ),
        (
            "load = { exporter = \"http://{host}/\", value = \"x\", by = \"cpu\" }",
            [
                "pools.app.load.by: the load is `value`",
                "leave one of the two out",
            ],
        ),
        (
            "load = { exporter = \"http://{host}/\", by = \"sessions\" }",
            [
                "pools.app.load.by: there is no `sessions_max`",
                "nothing to compare sessions with",
            ],
        ),
        (
            "load = { exporter = \"http://{host}/\", sessions_max = 0 }",
            ["`0` is out of bounds", "expected 1 to 1000000"],
        ),
        (
            "load = { exporter = \"http://{host}/\", every = \"100ms\" }",
            ["`100ms` is out of bounds", "500ms"],
        ),
        (
            "load = { exporter = \"http://{host}/\", timeout = \"6s\" }",
            [
                "pools.app.load.timeout: longer than `every`, which is 5s",
                "write at most \"5s\"",
            ],
        ),
    ] {
        let errors = read(lines).map(|_| ()).unwrap_err();
        for part in parts {
            assert!(errors.contains(part), "{part:?} is not in:\n{errors}");
        }
    }
}
