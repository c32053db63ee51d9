//! Resources and the identities of their copies, as the file says it.

use super::build::{maybe, value};
use super::read::{Read, Section};
use super::value::nearest;
use ebbtide_control::ManifestSource;
use ebbtide_core::{
    Digest, IdentitySource, Mode, Protocol, ReplicaSettings, ResourceConfig, ServerConfig,
};
use std::collections::BTreeMap;

/// Protocols whose pools may have resources.
const WITH_RESOURCES: &[Protocol] = &[Protocol::Http, Protocol::Nbd];

/// What the file says of a pool's resources. Checked here: what concerns several settings at once.
pub(super) fn replicas(
    pool: &Section<'_, '_>,
    protocol: Protocol,
    servers: &[ServerConfig],
) -> ReplicaSettings {
    let names = [
        "resources",
        "identity",
        "identity_rate",
        "manifest",
        "manifest_every",
    ];
    let written = names.map(|name| Some((name, pool.span_of(name)?)));
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
    let mut resources: Vec<ResourceConfig> = pool
        .section("resources")
        .named()
        .into_iter()
        .map(|(name, resource)| self::resource(name, &resource, servers))
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
    if protocol != Protocol::Nbd || manifest.is_some() || is_any_compared {
        check_manifests(pool, &settings, manifest.as_ref(), servers);
    }
    settings
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
    if protocol != of {
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

fn resource(name: String, resource: &Section<'_, '_>, servers: &[ServerConfig]) -> ResourceConfig {
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
    ResourceConfig {
        file: maybe(resource.text("file")).unwrap_or_else(|| name.clone()),
        mode,
        balance,
        server: maybe(server),
        digest: digest(resource, is_alone),
        name,
    }
}

/// A resource with one server names it, and any other names none.
fn check_server(
    resource: &Section<'_, '_>,
    is_alone: bool,
    server: Option<&Read<String>>,
    servers: &[ServerConfig],
) {
    let shown = resource.shown();
    let names = || servers.iter().map(|server| server.name.as_str());
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
    for server in servers {
        let own = own.get(&server.name).and_then(Option::as_ref);
        let span = own.or(manifest).map_or(&pool.span, |read| &read.span);
        let Some(place) = settings.manifest_of(server) else {
            if settings.source == IdentitySource::Manifest && !settings.resources.is_empty() {
                pool.report(
                    span,
                    format!(
                        "`{}.servers.{}` has no `manifest`",
                        pool.shown(),
                        server.name
                    ),
                    "needs `manifest`",
                    Some(
                        "write `manifest = \"http://{host}:8099/manifest.json\"`; `nbd` pools can \
                         do without: `identity = \"read\"`"
                            .into(),
                    ),
                );
            }
            continue;
        };
        if let Err(why) = ManifestSource::parse(&place) {
            pool.report(
                span,
                format!("{}: the manifest of `{}` {why}", pool.shown(), server.name),
                "not the place of a manifest",
                Some("write \"http://{host}:8099/manifest.json\" or \"/srv/{server}.json\"".into()),
            );
        }
        if let Some(other) = places.insert(place, server.name.clone()) {
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
}
