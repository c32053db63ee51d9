//! How the load of servers' machines is found out, as the file says it.

use super::build::{maybe, number, value};
use super::read::{Read, Section};
use ebbtide_control::ManifestSource;
use ebbtide_core::{LoadMeasure, LoadSettings, Millis, ServerConfig};
use ebbtide_protocol::exposition::Selector;

/// What the file says of a pool's exporters. Checked here: what concerns several settings at once.
pub(super) fn load(pool: &Section<'_, '_>, servers: &[ServerConfig]) -> Option<LoadSettings> {
    if !pool.writes("load") {
        check_alone(pool);
        return None;
    }
    let load = pool.section("load");
    let exporter = load.text("exporter");
    check_exporters(pool, exporter.as_ref(), servers);
    let sessions_max = load.count("sessions_max");
    check_sessions(&load, sessions_max.is_some());
    let every: Millis = value(load.duration("every"));
    Some(LoadSettings {
        by: measure(&load),
        sessions_max: sessions_max.map(|read| number(Some(read))),
        every,
        timeout: timeout(&load, every),
        exporter: maybe(exporter).unwrap_or_default(),
    })
}

/// The time limit of a look at a machine. A look that takes longer than the time between two would make readings older than they are taken to
/// be, and at last worth nothing.
fn timeout(section: &Section<'_, '_>, every: Millis) -> Millis {
    let timeout = section.duration("timeout");
    if let Some(read) = timeout.as_ref()
        && read.written
        && read.value > every
    {
        section.report(
            &read.span,
            format!(
                "{}.timeout: longer than `every`, which is {every}",
                section.shown()
            ),
            "longer than `every`",
            Some(format!("write at most \"{every}\", or raise `every`")),
        );
    }
    value(timeout).min(every)
}

fn measure(load: &Section<'_, '_>) -> LoadMeasure {
    let by = load.word("by");
    let Some(metric) = load.text("value") else {
        for name in ["min", "max"] {
            if let Some(span) = load.span_of(name) {
                load.report(
                    &span,
                    format!("{}.{name}: there is no `value` to compare", load.shown()),
                    "would not be looked at",
                    Some("leave it out, or write `value = \"METRIC\"`".into()),
                );
            }
        }
        return match by.map_or("greatest", |read| read.value) {
            "cpu" => LoadMeasure::Cpu,
            "memory" => LoadMeasure::Memory,
            "run-queue" => LoadMeasure::RunQueue,
            "pressure" => LoadMeasure::Pressure,
            "sessions" => LoadMeasure::Sessions,
            _ => LoadMeasure::Greatest,
        };
    };
    if let Some(by) = by.filter(|read| read.written) {
        load.report(
            &by.span,
            format!("{}.by: the load is `value`", load.shown()),
            "would not be looked at",
            Some("leave one of the two out".into()),
        );
    }
    if let Err(fault) = Selector::parse(&metric.value) {
        load.report(
            &metric.span,
            format!("{}.value: {fault}", load.shown()),
            "not a metric",
            Some("write \"jobs\" or \"jobs{state=\\\"running\\\"}\"".into()),
        );
    }
    let (min, max) = (load.decimal("min"), load.decimal("max"));
    if let (Some(min), Some(max)) = (&min, &max)
        && min.value >= max.value
    {
        let span = if max.written { &max.span } else { &min.span };
        load.report(
            span,
            format!("{}: `max` is not more than `min`", load.shown()),
            "nothing between them",
            Some("write the value that is no load as `min`, and full load as `max`".into()),
        );
    }
    LoadMeasure::Value {
        metric: metric.value,
        min: value(min),
        max: value(max),
    }
}

/// Reports sessions that would be compared with nothing.
fn check_sessions(load: &Section<'_, '_>, has_max: bool) {
    if let Some(by) = load
        .word("by")
        .filter(|by| by.value == "sessions" && !has_max)
    {
        load.report(
            &by.span,
            format!("{}.by: there is no `sessions_max`", load.shown()),
            "nothing to compare sessions with",
            Some("add `sessions_max = 40`: so many are full load, but of servers with `max_sessions`".into()),
        );
    }
}

fn check_exporters(
    pool: &Section<'_, '_>,
    template: Option<&Read<String>>,
    servers: &[ServerConfig],
) {
    let own = pool.section("servers").named().into_iter();
    let own: Vec<_> = own
        .map(|(name, server)| (name, server.text("exporter")))
        .collect();
    for server in servers {
        let own = own.iter().find(|(name, _)| *name == server.name);
        let own = own.and_then(|(_, read)| read.as_ref());
        let Some(read) = own.or(template) else {
            continue;
        };
        let why = match ManifestSource::parse(&server.fill_in(&read.value)) {
            Ok(ManifestSource::Http { .. }) => continue,
            Ok(ManifestSource::File(_)) => "is not an http:// address",
            Err(why) => why,
        };
        pool.report(
            &read.span,
            format!("{}: the exporter of `{}` {why}", pool.shown(), server.name),
            "not the address of an exporter",
            Some("write \"http://{host}:9100/metrics\"".into()),
        );
    }
}

/// Reports a peak load that nothing is compared with.
fn check_peak(section: &Section<'_, '_>, pool: &Section<'_, '_>) {
    let Some(peak) = section.count("peak_load") else {
        return;
    };
    if peak.value > 0 {
        section.report(
            &peak.span,
            format!("{}.peak_load: the pool has no `load`", section.shown()),
            "nothing to compare it with",
            Some(format!(
                "add `[{}.load]` with `exporter = \"http://{{host}}:9100/metrics\"`",
                pool.shown()
            )),
        );
    }
}

/// A server's exporter is asked only where the pool says what for.
fn check_alone(pool: &Section<'_, '_>) {
    check_peak(pool, pool);
    for (_, server) in pool.section("servers").named() {
        check_peak(&server, pool);
        if let Some(read) = server.text("exporter") {
            pool.report(
                &read.span,
                format!("{}.exporter: the pool has no `load`", server.shown()),
                "would not be asked",
                Some(format!(
                    "add `[{}.load]` with `exporter = \"http://{{host}}:9100/metrics\"`",
                    pool.shown()
                )),
            );
        }
    }
}
