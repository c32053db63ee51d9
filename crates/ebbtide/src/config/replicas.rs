//! Resources and the identities of their copies, as the file says it.

use super::build::{is_mistaken, maybe, value};
use super::read::{Read, Section};
use super::value::nearest;
use ebbtide_control::ManifestSource;
use ebbtide_core::{
    Digest, IdentitySource, Mode, Protocol, ReplicaSettings, ResourceConfig, ServerConfig, count,
};
use std::collections::{BTreeMap, BTreeSet};

/// Protocols whose pools may have resources.
const WITH_RESOURCES: &[Protocol] = &[Protocol::Http, Protocol::Nbd];

/// What the file says of a pool's resources. Checked here: what concerns several settings at once.
pub(super) fn replicas(
    pool: &Section<'_, '_>,
    protocol: Protocol,
    servers: &[ServerConfig],
) -> ReplicaSettings {
    let settings_of_resources = [
        "resources",
        "identity",
        "identity_rate",
        "manifest",
        "manifest_every",
    ];
    let written = settings_of_resources.map(|name| Some((name, pool.span_of(name)?)));
    for (name, span) in written.into_iter().flatten() {
        if !WITH_RESOURCES.contains(&protocol) {
            pool.report(
                &span,
                format!("{}.{name}: this pool has no resources", pool.shown()),
                "would not be looked at",
                Some("leave it out: it is for `http` and `nbd` pools".into()),
            );
        }
    }
    let manifest = pool.text("manifest");
    let names = names_of_servers(pool);
    let mut resources: Vec<ResourceConfig> = pool
        .section("resources")
        .named()
        .into_iter()
        .map(|(name, resource)| self::resource(name, &resource, &names))
        .collect();
    resources.sort_by(|one, other| one.name.cmp(&other.name));
    let settings = ReplicaSettings {
        source: source(pool, protocol, manifest.is_some()),
        manifest_every: value(pool.duration("manifest_every")),
        read_bytes_per_second: value(pool.count("identity_rate")),
        resources,
        manifest: manifest.as_ref().map(|read| read.value.clone()),
    };
    if protocol == Protocol::Nbd && settings.resources.is_empty() {
        pool.report(
            &pool.span,
            format!("`{}` has no resources", pool.shown()),
            "clients would find no export",
            Some(format!(
                "add `[{}.resources.NAME]` for each export",
                pool.shown()
            )),
        );
    }
    let rate = pool.span_of("identity_rate");
    if let Some(span) = rate.filter(|_| settings.source != IdentitySource::Read) {
        pool.report(
            &span,
            format!("{}.identity_rate: nothing is read here", pool.shown()),
            "would not be looked at",
            Some("leave it out, or write `identity = \"read\"` (`nbd` pools)".into()),
        );
    }
    // What one server serves alone is compared with nothing.
    let mut resources = settings.resources.iter();
    let is_any_compared = resources.any(ResourceConfig::is_compared);
    let is_compared = protocol != Protocol::Nbd || manifest.is_some() || is_any_compared;
    if settings.source == IdentitySource::Read {
        check_unread(pool, manifest.as_ref());
    } else if is_compared {
        check_manifests(pool, &settings, manifest.as_ref(), servers);
    }
    settings
}

/// Those of servers with mistakes too, which have been reported.
fn names_of_servers(pool: &Section<'_, '_>) -> Vec<String> {
    let named = pool.section("servers").named().into_iter();
    named.map(|(name, _)| name).collect()
}

fn source(pool: &Section<'_, '_>, protocol: Protocol, has_manifest: bool) -> IdentitySource {
    let natural = match protocol {
        Protocol::Http | Protocol::Tcp => IdentitySource::Headers,
        Protocol::Nbd => IdentitySource::Manifest,
    };
    let Some(read) = pool.word("identity") else {
        return match has_manifest {
            true => IdentitySource::Manifest,
            false => natural,
        };
    };
    let source = match read.value {
        "manifest" => IdentitySource::Manifest,
        "read" => IdentitySource::Read,
        _ => IdentitySource::Headers,
    };
    let of = match source {
        IdentitySource::Manifest => return source,
        IdentitySource::Read => Protocol::Nbd,
        IdentitySource::Headers => Protocol::Http,
    };
    if protocol != of && !is_mistaken(pool) {
        pool.report(
            &read.span,
            format!(
                "{}.identity: only {} pools can use it",
                pool.shown(),
                of.label()
            ),
            "not for this pool",
            Some(match protocol {
                Protocol::Nbd => "write \"manifest\" or \"read\"".into(),
                _ => "write \"manifest\", or leave it out".into(),
            }),
        );
    }
    source
}

fn resource(name: String, resource: &Section<'_, '_>, servers: &[String]) -> ResourceConfig {
    let mode = match value(resource.word("mode")) {
        "private" => Mode::Private,
        "maintenance" => Mode::Maintenance,
        _ => Mode::Shared,
    };
    let written = resource.word("balance").filter(|read| read.written);
    if let Some(read) = written.filter(|read| read.value == "on" && mode == Mode::Private) {
        resource.report(
            &read.span,
            format!(
                "{}.balance: a private resource has one server",
                resource.shown()
            ),
            "cannot be on",
            Some("leave it out, or write `mode = \"shared\"`".into()),
        );
    }
    let balance = value(resource.word("balance")) != "off";
    let server = resource.text("server");
    let is_alone = mode == Mode::Private || (mode == Mode::Shared && !balance);
    check_server(resource, is_alone, server.as_ref(), servers);
    let file = resource.text("file");
    if let Some(read) = &file {
        check_file(resource, read);
    }
    ResourceConfig {
        file: maybe(file).unwrap_or_else(|| name.clone()),
        mode,
        balance,
        server: maybe(server),
        digest: digest(resource, is_alone),
        name,
    }
}

/// Manifests name files by the way to them from the directory that was read, and in one way only.
fn check_file(resource: &Section<'_, '_>, file: &Read<String>) {
    let mut parts = file.value.split('/');
    if parts.any(|part| matches!(part, "" | "." | "..")) {
        resource.report(
            &file.span,
            format!("{}.file: no manifest names a file so", resource.shown()),
            "not the way to a file",
            Some(
                "write the way to it from the directory that `ebbtide manifest` reads, such as \
                 \"images/win10.raw\": not from `/` on, and without `.` and `..`"
                    .into(),
            ),
        );
    }
}

/// A resource with one server names it, and any other names none.
fn check_server(
    resource: &Section<'_, '_>,
    is_alone: bool,
    server: Option<&Read<String>>,
    servers: &[String],
) {
    let shown = resource.shown();
    let names = || servers.iter().map(String::as_str);
    match server {
        None if is_alone => resource.report(
            &resource.span,
            format!("`{shown}` has no `server`"),
            "needs `server`",
            Some("one server serves it: write `server = …` with its name".into()),
        ),
        Some(read) if is_alone && !names().any(|name| name == read.value) => {
            let name = read.value.escape_debug();
            resource.report(
                &read.span,
                format!("{shown}.server: the pool has no server `{name}`"),
                "not a server of the pool",
                Some(match nearest(&read.value, names()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "write the name of one of its servers".into(),
                }),
            );
        }
        Some(read) if !is_alone => resource.report(
            &read.span,
            format!("{shown}.server: this resource has no server of its own"),
            "would not be looked at",
            Some("leave it out, or write `mode = \"private\"` or `balance = \"off\"`".into()),
        ),
        _ => {}
    }
}

fn digest(resource: &Section<'_, '_>, is_alone: bool) -> Option<Digest> {
    let read = resource.text("digest")?;
    let shown = resource.shown();
    if is_alone {
        resource.report(
            &read.span,
            format!("{shown}.digest: one server serves it, whatever it has"),
            "would not be looked at",
            Some("leave it out".into()),
        );
    }
    let digest = Digest::parse(&read.value);
    if digest.is_none() {
        resource.report(
            &read.span,
            format!("{shown}.digest: not a BLAKE3 digest"),
            "expected 64 hexadecimal digits",
            Some("`b3sum FILE` prints it, and so does `ebbtide replicas POOL --json`".into()),
        );
    }
    digest
}

/// Manifests are of no use where Ebbtide reads the copies itself.
fn check_unread(pool: &Section<'_, '_>, manifest: Option<&Read<String>>) {
    let report = |section: &Section<'_, '_>, read: &Read<String>| {
        section.report(
            &read.span,
            format!("{}.manifest: nobody reads it", section.shown()),
            "would not be looked at",
            Some("leave it out, or leave `identity = \"read\"` out".into()),
        );
    };
    if let Some(read) = manifest {
        report(pool, read);
    }
    for (_, server) in pool.section("servers").named() {
        if let Some(read) = server.text("manifest") {
            report(&server, &read);
        }
    }
}

/// Every server needs a manifest of its own where identities come from manifests: one that two
/// servers share would prove nothing of either.
fn check_manifests(
    pool: &Section<'_, '_>,
    settings: &ReplicaSettings,
    manifest: Option<&Read<String>>,
    servers: &[ServerConfig],
) {
    let section = pool.section("servers");
    let mut places: BTreeMap<String, String> = BTreeMap::new();
    let own = section.named().into_iter();
    let own: BTreeMap<String, Option<Read<String>>> = own
        .filter(|(name, _)| servers.iter().any(|server| server.name == *name))
        .map(|(name, server)| (name, server.text("manifest")))
        .collect();
    let mut without: Vec<&str> = Vec::new();
    // What the pool says for all of its servers is one mistake.
    let mut told = BTreeSet::new();
    for server in servers {
        let own = own.get(&server.name).and_then(Option::as_ref);
        let span = own.or(manifest).map_or(&pool.span, |read| &read.span);
        let mut is_new = |kind: &'static str| own.is_some() || told.insert(kind);
        let Some(place) = settings.manifest_of(server) else {
            without.push(&server.name);
            continue;
        };
        if let Err(why) = ManifestSource::parse(&place) {
            if !is_new("no place") {
                continue;
            }
            pool.report(
                span,
                format!("{}: the manifest of `{}` {why}", pool.shown(), server.name),
                "not the place of a manifest",
                Some("write \"http://{host}:8099/manifest.json\" or \"/srv/{server}.json\"".into()),
            );
            continue;
        }
        if let Some(other) = places.insert(place, server.name.clone())
            && is_new("shared")
        {
            pool.report(
                span,
                format!(
                    "{}: `{other}` and `{}` would have the same manifest",
                    pool.shown(),
                    server.name
                ),
                "the same for two servers",
                Some("write `{host}` or `{server}` in it, or a `manifest` for each server".into()),
            );
        }
    }
    if settings.source == IdentitySource::Manifest && !settings.resources.is_empty() {
        check_without(pool, &without);
    }
}

/// Reports the servers that have no manifest.
fn check_without(pool: &Section<'_, '_>, without: &[&str]) {
    let Some((first, others)) = without.split_first() else {
        return;
    };
    let others = match others.len() {
        0 => String::new(),
        others => format!(", nor have {} more", count(others, "server")),
    };
    pool.report(
        &pool.span,
        format!(
            "`{}.servers.{first}` has no `manifest`{others}",
            pool.shown()
        ),
        "needs `manifest`",
        Some(
            "write `manifest = \"http://{host}:8099/manifest.json\"`; `nbd` pools can do without: \
             `identity = \"read\"`"
                .into(),
        ),
    );
}
