//! Entries of a pool whose names are looked up again and again, as the file says them.

use super::build::{maybe, number, value};
use super::read::Section;
use super::redirect::{public_url, redirects};
use super::value::split_address;
use ebbtide_core::{NameConfig, ServerConfig};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The names of a pool.
pub(super) fn names(pool: &Section<'_, '_>) -> Vec<NameConfig> {
    let named = pool.section("servers").named();
    let entries = named.into_iter().filter_map(|(name, entry)| {
        if !is_name(&entry) {
            check_alone(&entry);
            return None;
        }
        one(pool, name, &entry)
    });
    entries.collect()
}

/// Whether an entry's name is looked up again and again.
pub(super) fn is_name(entry: &Section<'_, '_>) -> bool {
    entry.writes("resolve")
}

fn one(pool: &Section<'_, '_>, name: String, entry: &Section<'_, '_>) -> Option<NameConfig> {
    let every = value(entry.duration("resolve"));
    let address = entry.text("address")?;
    let (host, port) = split_address(&address.value).ok()?;
    if host.parse::<IpAddr>().is_ok() {
        entry.report(
            &address.span,
            format!("{}.address: there is no name to look up", entry.shown()),
            "an address already",
            Some("leave `resolve` out, or write a name such as \"web.internal:8080\"".into()),
        );
    }
    if redirects(pool)
        && let Some(span) = entry.span_of("resolve")
    {
        entry.report(
            &span,
            format!(
                "{}.resolve: not in pools with `mode = \"redirect\"`",
                entry.shown()
            ),
            "users could not be led to its servers",
            Some("name each server, with its `public_url`".into()),
        );
    }
    if !redirects(pool) {
        // Reports one that is written: nobody is led there.
        public_url(pool, entry);
    }
    let anywhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
    Some(NameConfig {
        host: host.to_owned(),
        port,
        every,
        leave_within: value(entry.duration("leave_within")),
        server: ServerConfig {
            address_text: address.value.clone(),
            weight: number(entry.count("weight")),
            max_sessions: entry.count("max_sessions").map(|read| number(Some(read))),
            peak_load: entry.count("peak_load").map(|read| number(Some(read))),
            manifest: maybe(entry.text("manifest")),
            exporter: maybe(entry.text("exporter")),
            ..ServerConfig::new(name.as_str(), anywhere)
        },
        name,
    })
}

fn check_alone(entry: &Section<'_, '_>) {
    if let Some(span) = entry.span_of("leave_within") {
        entry.report(
            &span,
            format!(
                "{}.leave_within: its name is not looked up again",
                entry.shown()
            ),
            "would not be looked at",
            Some("leave it out, or add `resolve = \"30s\"`".into()),
        );
    }
}
