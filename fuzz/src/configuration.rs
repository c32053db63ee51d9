//! Configuration files: every mistake is reported at a place that is in the file.

use std::net::IpAddr;
use toml::Value;

const FILE: &str = "fuzz.toml";

/// A configuration file.
pub fn configuration(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let parsed: Result<Value, _> = toml::from_str(&text);
    if parsed.is_ok_and(|value| asks_dns(&value)) {
        return;
    }
    let Err(errors) = ebbtide::config::parse(FILE, input) else {
        return;
    };
    assert!(errors.count() > 0, "refused without a reason");
    let shown = errors.to_string();
    let lines: Vec<&str> = text.split('\n').collect();
    let places: Vec<(usize, usize)> = shown.lines().filter_map(place).collect();
    assert_eq!(places.len(), errors.count().min(200), "places in:\n{shown}");
    for (line, column) in places {
        let found = lines.get(line.wrapping_sub(1));
        // The end of a file that ends in a line feed is shown after that line feed.
        let within = found.is_some_and(|text| (1..=text.chars().count() + 2).contains(&column));
        assert!(within, "{line}:{column} is not in the file:\n{shown}");
    }
}

/// Names of hosts are looked up when a configuration is read; a fuzzer must not do that.
fn asks_dns(value: &Value) -> bool {
    match value {
        Value::String(text) => text.rsplit_once(':').is_some_and(|(host, _)| {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            bare.parse::<IpAddr>().is_err()
        }),
        Value::Array(values) => values.iter().any(asks_dns),
        Value::Table(table) => table.values().any(asks_dns),
        _ => false,
    }
}

/// The line and column in `  --> fuzz.toml:3:4`.
fn place(line: &str) -> Option<(usize, usize)> {
    let place = line.trim_start().strip_prefix("--> ")?.strip_prefix(FILE)?;
    let (line, column) = place.strip_prefix(':')?.split_once(':')?;
    Some((line.parse().ok()?, column.parse().ok()?))
}
