//! Makes the configuration out of a file that the table has checked value by value, and checks what
//! concerns several values at once.

use super::door::door;
use super::gate::gate;
use super::load::load;
use super::names::{is_name, names};
use super::openid::openid;
use super::outliers::outliers;
use super::outside::{upgrade, verify, webhooks};
use super::placing::check_placing;
use super::problem::Problem;
use super::read::{Read, Reader, Section};
use super::redirect::{check_redirect, public_url};
use super::replicas::replicas;
use super::tcp::{check_protocol, nbd, tcp};
use super::user::user;
use super::value::nearest;
use super::{AccessLog, Loaded, NodeConfig};
use ebbtide_control::{HttpUrl, SignInOptions, SignInSpans, USERS_FILE, leads_back};
use ebbtide_core::{
    AgentSettings, Balance, Config, HealthCheck, HealthSettings, HttpSettings, ListenerConfig,
    LogoutCall, Millis, NoticeSettings, PoolConfig, Protocol, ServerConfig, StickySettings,
};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::de::DeTable;

/// How long a server of an NBD pool may be silent that owes an answer, where the file does not say.
const NBD_RESPONSE_TIMEOUT: Millis = Millis::from_secs(10);

/// All of the file, or all of its mistakes; with those in the pages that it names, if it is to look
/// into them.
pub(super) fn build(table: &DeTable<'_>, looks_into_pages: bool) -> Result<Loaded, Vec<Problem>> {
    let reader = Reader::new(looks_into_pages);
    let root = Section::root(&reader, table);
    let (node, admin_span) = node(&root);
    let pools = pools(&root);
    let listeners = listeners(&root, &pools, node.admin, &admin_span);
    check_loops(&root, &pools, (&listeners, node.admin));
    check_placing(&root, &pools);
    let webhooks = webhooks(&root);
    let problems = reader.into_problems();
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Loaded {
        config: Arc::new(Config {
            listeners,
            pools: pools.into_iter().map(|(pool, _)| pool).collect(),
        }),
        webhooks,
        node,
    })
}

/// The value of a setting that has a default; a wrong one has been reported, so that what is made
/// of it is never used.
pub(super) fn value<T: Default>(read: Option<Read<T>>) -> T {
    read.map(|read| read.value).unwrap_or_default()
}

/// The value of a setting that may be absent.
pub(super) fn maybe<T>(read: Option<Read<T>>) -> Option<T> {
    read.map(|read| read.value)
}

/// A count, which the table's bounds keep within the type.
pub(super) fn number<T: TryFrom<u64> + Default>(read: Option<Read<u64>>) -> T {
    T::try_from(value(read)).unwrap_or_default()
}

fn node(root: &Section<'_, '_>) -> (NodeConfig, Range<usize>) {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let admin = root.section("admin").address("listen");
    let log = root.section("access_log");
    let format = value(log.word("format"));
    let path = log.text("path");
    if let Some(path) = path.as_ref().filter(|_| format == "off") {
        log.report(
            &path.span,
            "access_log.path: the access log is off".into(),
            "nothing would be written here",
            Some("add `format = \"json\"` or `format = \"combined\"`".into()),
        );
    }
    let span = admin.as_ref().map_or(0..0, |(_, read)| read.span.clone());
    let unspecified = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let state_dir = PathBuf::from(value(root.text("state_dir")));
    let node = NodeConfig {
        signin: signin(&root.section("admin"), &state_dir),
        state_dir,
        admin: admin.map_or(unspecified, |(address, _)| address),
        workers: root
            .count("workers")
            .map_or_else(cores, |workers| number(Some(workers))),
        stop_grace: value(root.duration("stop_grace")),
        access_log: (format != "off").then(|| AccessLog {
            json: format == "json",
            path: maybe(path).map(Into::into),
        }),
    };
    (node, span)
}

/// Where browsers find the console; `None` without it, or if it is wrong, which has been reported.
fn admin_url(admin: &Section<'_, '_>) -> Option<HttpUrl> {
    let read = admin.text("url")?;
    let why = match HttpUrl::parse(&read.value) {
        Ok(url) if url.target() == "/" => return Some(url),
        Ok(_) => "has a path, below which no page of the console is",
        Err(why) => why,
    };
    admin.report(
        &read.span,
        format!("{}.url: {why}", admin.shown()),
        "not the address of the console",
        Some("write what browsers show, such as \"https://console.example.com\"".into()),
    );
    None
}

fn signin(admin: &Section<'_, '_>, state_dir: &Path) -> SignInOptions {
    let sign_in = admin.section("sign_in");
    SignInOptions {
        users: maybe(admin.text("users")).map_or_else(|| state_dir.join(USERS_FILE), PathBuf::from),
        url: admin_url(admin),
        spans: SignInSpans {
            idle: value(sign_in.duration("idle")),
            longest: value(sign_in.duration("longest")),
            fresh: value(sign_in.duration("fresh")),
        },
        openid: openid(&sign_in),
    }
}

fn listeners(
    root: &Section<'_, '_>,
    pools: &[(PoolConfig, Range<usize>)],
    admin: SocketAddr,
    admin_span: &Range<usize>,
) -> Vec<ListenerConfig> {
    let mut listeners = Vec::new();
    let section = root.section("listeners");
    let mut taken: Vec<(SocketAddr, String, Range<usize>)> =
        vec![(admin, "admin.listen".into(), admin_span.clone())];
    for (name, listener) in section.named() {
        let bind = listener.address("bind");
        let pool = listener.text("pool");
        if let Some(pool) = pool.as_ref().filter(|_| !root.misspells("pools")) {
            check_pool(&listener, pool, pools);
        }
        let (Some((bind, read)), Some(pool)) = (bind, pool) else {
            continue;
        };
        if let Some((_, other, _)) = taken.iter().find(|(address, ..)| overlap(*address, bind)) {
            listener.report(
                &read.span,
                format!(
                    "{}.bind: `{other}` has this address already",
                    listener.shown()
                ),
                "taken",
                Some("two listeners need two ports, or two addresses of this machine".into()),
            );
        }
        taken.push((bind, format!("{}.bind", listener.shown()), read.span));
        listeners.push(ListenerConfig {
            name,
            bind,
            pool: pool.value,
            proxy_from: value(listener.networks("proxy_from")),
        });
    }
    if !section.written && !root.misspells("listeners") {
        section.report(
            &(0..0),
            "no listeners: nobody could connect".into(),
            "needs a listener",
            Some("add `[listeners.web]` with `bind = \"0.0.0.0:8080\"` and `pool = …`".into()),
        );
    }
    listeners
}

fn check_pool(
    listener: &Section<'_, '_>,
    pool: &Read<String>,
    pools: &[(PoolConfig, Range<usize>)],
) {
    let names = || pools.iter().map(|(pool, _)| pool.name.as_str());
    if names().any(|name| name == pool.value) {
        return;
    }
    let help = match nearest(&pool.value, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("define it: `[pools.{}]`", pool.value.escape_debug()),
    };
    listener.report(
        &pool.span,
        format!(
            "{}.pool: no pool is named `{}`",
            listener.shown(),
            pool.value.escape_debug()
        ),
        "not a pool",
        Some(help),
    );
}

/// Reports servers that are listeners or the admin interface of this node.
fn check_loops(
    root: &Section<'_, '_>,
    pools: &[(PoolConfig, Range<usize>)],
    (listeners, admin): (&[ListenerConfig], SocketAddr),
) {
    for (pool, section) in root.section("pools").named() {
        let known = pools.iter().find(|(known, _)| known.name == pool);
        let servers = known.map_or(&[][..], |(known, _)| &known.servers);
        for (name, server) in section.section("servers").named() {
            let known = servers.iter().find(|known| known.name == name);
            let own = known.and_then(|known| leads_back(known.address, listeners, admin));
            if let Some(own) = own {
                let span = server.span_of("address").unwrap_or(server.span.clone());
                server.report(
                    &span,
                    format!("{}: this is Ebbtide itself, {own}", server.shown()),
                    "leads back here",
                    Some(
                        "write the address of the server; a server on this machine needs a port of its own"
                            .into(),
                    ),
                );
            }
        }
    }
}

/// Whether both cannot be listened on at once. IPv6 listeners leave IPv4 alone.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let same_family = one.is_ipv4() == other.is_ipv4();
    let every = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && same_family && (every || one.ip() == other.ip())
}

fn pools(root: &Section<'_, '_>) -> Vec<(PoolConfig, Range<usize>)> {
    let section = root.section("pools");
    let mut cookies: BTreeMap<String, String> = BTreeMap::new();
    let mut pools = Vec::new();
    for (name, pool) in section.named() {
        let sticky = sticky(&pool, &name, &mut cookies);
        let own_cookies: Vec<String> = cookies.keys().cloned().collect();
        let protocol = protocol(&pool);
        let servers = servers(&pool);
        let names = names(&pool);
        let all: Vec<ServerConfig> = servers
            .iter()
            .chain(names.iter().map(|name| &name.server))
            .cloned()
            .collect();
        let minimum = pool.count("minimum");
        if let Some(minimum) = minimum
            .as_ref()
            .filter(|read| read.written && names.is_empty())
        {
            check_minimum(&pool, minimum, pool.section("servers").named().len());
        }
        let health = (!pool.is_off("health")).then(|| health(&pool.section("health"), protocol));
        let user = user(&pool.section("user"), &own_cookies);
        let config = PoolConfig {
            protocol,
            tcp: tcp(&pool),
            nbd: nbd(&pool),
            balance: balance(value(pool.word("balance"))),
            sticky,
            minimum: number(minimum),
            load: load(&pool, &all),
            agent: agent(&pool),
            peak_load: pool.count("peak_load").map(|read| number(Some(read))),
            slow_start: pool
                .duration("slow_start")
                .map_or(Millis(0), |read| read.value),
            outliers: outliers(&pool, protocol),
            contact: maybe(pool.text("contact")),
            http: http(&pool, protocol),
            notice: notice(&pool.section("notice")),
            upgrade: pool
                .writes("upgrade")
                .then(|| upgrade(&pool.section("upgrade"), health.as_ref())),
            verify: verify(&pool, health.as_ref()),
            health,
            gate: gate(&pool),
            door: door(&pool.section("door"), user.as_ref()),
            user,
            logout_call: pool
                .writes("logout_call")
                .then(|| logout_call(&pool.section("logout_call"))),
            replicas: replicas(&pool, protocol, &servers),
            servers,
            names,
            name,
        };
        pools.push((config, pool.span));
    }
    if !section.written && !root.misspells("pools") {
        section.report(
            &(0..0),
            "no pools: there is nothing to lead clients to".into(),
            "needs a pool",
            Some("add `[pools.app.servers]` with `web1 = \"10.0.0.11:8080\"`".into()),
        );
    }
    pools
}

/// What the pool's servers speak; settings of the other protocol have been reported.
fn protocol(pool: &Section<'_, '_>) -> Protocol {
    let protocol = match value(pool.word("protocol")) {
        "tcp" => Protocol::Tcp,
        "nbd" => Protocol::Nbd,
        _ => Protocol::Http,
    };
    if !is_mistaken(pool) {
        check_protocol(pool, protocol);
        check_redirect(pool);
    }
    protocol
}

/// Whether a protocol is written that is none: that has been reported, and says nothing of the others.
pub(super) fn is_mistaken(pool: &Section<'_, '_>) -> bool {
    let read = pool.word("protocol");
    pool.writes("protocol") && read.is_none_or(|read| !read.written)
}

fn check_minimum(pool: &Section<'_, '_>, minimum: &Read<u64>, servers: usize) {
    if minimum.value <= servers as u64 || servers == 0 {
        return;
    }
    let plural = if servers == 1 { "" } else { "s" };
    pool.report(
        &minimum.span,
        format!(
            "{}.minimum: the pool has only {servers} server{plural}",
            pool.shown()
        ),
        "more than there are",
        Some(format!("expected 1 to {servers}")),
    );
}

fn balance(word: &str) -> Balance {
    match word {
        "round-robin" => Balance::RoundRobin,
        "least-load" => Balance::LeastLoad,
        "most-available" => Balance::MostAvailable,
        "source-hash" => Balance::SourceHash,
        "door-only" => Balance::DoorOnly,
        _ => Balance::LeastSessions,
    }
}

/// `cookies` holds the names that are taken, each with its pool.
fn sticky(
    pool: &Section<'_, '_>,
    name: &str,
    cookies: &mut BTreeMap<String, String>,
) -> StickySettings {
    let sticky = pool.section("sticky");
    let reuse: Millis = value(sticky.duration("reuse"));
    let mut active = value(sticky.duration("active"));
    if active > reuse
        && let Some(read) = sticky.duration("active").filter(|read| read.written)
    {
        sticky.report(
            &read.span,
            format!(
                "{}.active: longer than `reuse`, which is {reuse}",
                sticky.shown()
            ),
            "longer than `reuse`",
            Some(format!("write at most \"{reuse}\", or raise `reuse`")),
        );
    }
    active = active.min(reuse);
    let written = sticky.text("cookie");
    let span = written
        .as_ref()
        .map_or(pool.span.clone(), |read| read.span.clone());
    let cookie = maybe(written).unwrap_or_else(|| format!("ebbtide_{name}"));
    if let Some(other) = cookies.insert(cookie.clone(), name.to_owned()) {
        pool.report(
            &span,
            format!("pool `{other}` has the cookie `{cookie}` already"),
            "two pools with one cookie",
            Some("browsers do not tell ports apart: give `sticky.cookie` another name".into()),
        );
    }
    StickySettings {
        reuse,
        active,
        idle_end: maybe(sticky.duration("idle_end")),
        cookie,
        prefix_v4: number(sticky.count("prefix_v4")),
        prefix_v6: number(sticky.count("prefix_v6")),
    }
}

fn logout_call(call: &Section<'_, '_>) -> LogoutCall {
    LogoutCall {
        method: value(call.word("method")).to_owned(),
        path: value(call.text("path")),
        timeout: value(call.duration("timeout")),
        concurrency: number(call.count("concurrency")),
    }
}

fn health(health: &Section<'_, '_>, protocol: Protocol) -> HealthSettings {
    let path = maybe(health.text("path"));
    let kind = health.word("kind");
    let is_http = kind
        .as_ref()
        .map_or(health.writes("path"), |read| read.value == "http");
    let check = if is_http {
        if let Some(span) = health.span_of("send") {
            health.report(
                &span,
                format!("{}.send: this check asks for a page", health.shown()),
                "would not be sent",
                Some("leave it out, or write `kind = \"tcp\"`".into()),
            );
        }
        HealthCheck::Http {
            path: path.unwrap_or_else(|| "/".into()),
            host: maybe(health.text("host")),
            status: value(health.statuses("status")),
            expect: maybe(health.text("expect")),
        }
    } else {
        let help = match kind {
            Some(_) => "leave it out, or write `kind = \"http\"`",
            None => "add `path = \"/health\"` to ask for a page",
        };
        for name in ["path", "host"] {
            only_http(health, name, health.text(name).map(|read| read.span), help);
        }
        // Of an HTTP pool it is more likely that a path was forgotten.
        if kind.is_none() && protocol == Protocol::Http && !health.writes("send") {
            only_http(health, "expect", health.span_of("expect"), help);
        }
        let status = health.statuses("status").filter(|read| read.written);
        only_http(health, "status", status.map(|read| read.span), help);
        HealthCheck::Tcp {
            send: maybe(health.text("send")).map(String::into_bytes),
            expect: maybe(health.text("expect")).map(String::into_bytes),
        }
    };
    HealthSettings {
        check,
        every: value(health.duration("every")),
        timeout: value(health.duration("timeout")),
        fall: number(health.count("fall")),
        rise: number(health.count("rise")),
        port: health.count("port").map(|read| number(Some(read))),
    }
}

/// A setting of a page's check means that a page was to be asked for.
fn only_http(health: &Section<'_, '_>, name: &str, span: Option<Range<usize>>, help: &str) {
    if let Some(span) = span {
        health.report(
            &span,
            format!("{}.{name}: this check only connects", health.shown()),
            "would not be looked at",
            Some(help.into()),
        );
    }
}

fn agent(pool: &Section<'_, '_>) -> Option<AgentSettings> {
    pool.writes("agent").then(|| {
        let agent = pool.section("agent");
        AgentSettings {
            port: number(agent.count("port")),
            every: value(agent.duration("every")),
            timeout: value(agent.duration("timeout")),
        }
    })
}

fn notice(notice: &Section<'_, '_>) -> NoticeSettings {
    NoticeSettings {
        reminders: value(notice.durations("reminders")),
        inject: value(notice.flag("inject")),
    }
}

fn http(pool: &Section<'_, '_>, protocol: Protocol) -> HttpSettings {
    let (timeouts, limits) = (pool.section("timeouts"), pool.section("limits"));
    let prefix = pool.text("prefix");
    let health_alias = pool.text("health_alias");
    if let (Some(prefix), Some(alias)) = (&prefix, &health_alias) {
        check_alias(pool, &prefix.value, alias);
    }
    if let Some(read) = prefix.as_ref().filter(|read| read.value.ends_with('/')) {
        pool.report(
            &read.span,
            format!("{}.prefix: ends with `/`", pool.shown()),
            "no `/` at the end",
            Some("write a path such as \"/.ebbtide\"".into()),
        );
    }
    let prefix_path = value(prefix);
    HttpSettings {
        prefix: prefix_path,
        health_alias: maybe(health_alias),
        logout: value(pool.texts("logout")),
        forwarded_trusted: value(pool.word("forwarded")) == "trust",
        head_bytes_max: number(limits.count("head_bytes")),
        fields_max: number(limits.count("fields")),
        head_timeout: value(timeouts.duration("head")),
        idle_timeout: value(timeouts.duration("idle")),
        connect_timeout: value(timeouts.duration("connect")),
        response_timeout: match timeouts.duration("response") {
            Some(read) if read.written || protocol != Protocol::Nbd => read.value,
            _ => NBD_RESPONSE_TIMEOUT,
        },
        body_timeout: value(timeouts.duration("body")),
        tunnel_timeout: value(timeouts.duration("tunnel")),
        connections_max: number(limits.count("connections")),
        upstream_idle_max: number(limits.count("upstream_idle")),
        upstream_idle_timeout: value(timeouts.duration("upstream_idle")),
        event_streams_max: number(limits.count("event_streams")),
        retry_percent: number(pool.count("retry_percent")),
        replica: value(pool.flag("replica")),
        redirect: value(pool.word("mode")) == "redirect",
        status_page: value(pool.flag("status_page")),
    }
}

/// A path whose health page would hide something else, or that no request can match.
fn check_alias(pool: &Section<'_, '_>, prefix: &str, alias: &Read<String>) {
    let within = alias.value.strip_prefix(prefix);
    let (what, label) = match alias.value.as_str() {
        "/" => (
            "users who open the site would get it",
            "hides the front page",
        ),
        path if path.contains('?') => ("it is compared without the query", "has a query"),
        _ if within.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) => {
            ("it would hide a page of Ebbtide's own", "below `prefix`")
        }
        _ => return,
    };
    pool.report(
        &alias.span,
        format!("{}.health_alias: {what}", pool.shown()),
        label,
        Some("write a path of its own, such as \"/health\"".into()),
    );
}

fn servers(pool: &Section<'_, '_>) -> Vec<ServerConfig> {
    let section = pool.section("servers");
    let named = section.named();
    if named.is_empty() && !pool.misspells("servers") {
        pool.report(
            &section.span,
            format!("`{}` has no servers", pool.shown()),
            "needs a server",
            Some(format!(
                "add `[{}.servers]` with `web1 = \"10.0.0.11:8080\"`",
                pool.shown()
            )),
        );
    }
    let mut servers: Vec<ServerConfig> = Vec::with_capacity(named.len());
    let mut taken: BTreeMap<SocketAddr, String> = BTreeMap::new();
    for (name, server) in named.into_iter().filter(|(_, server)| !is_name(server)) {
        let weight = number(server.count("weight"));
        let max_sessions = server.count("max_sessions").map(|read| number(Some(read)));
        if let Some((address, read)) = server.address("address") {
            if let Some(other) = taken.get(&address) {
                server.report(
                    &read.span,
                    format!("{}: `{other}` has this address already", server.shown()),
                    "the same server twice",
                    Some("each server of a pool needs an address of its own".into()),
                );
            }
            taken.insert(address, name.clone());
            servers.push(ServerConfig {
                name,
                address,
                address_text: read.value,
                weight,
                max_sessions,
                peak_load: server.count("peak_load").map(|read| number(Some(read))),
                manifest: maybe(server.text("manifest")),
                exporter: maybe(server.text("exporter")),
                public_url: public_url(pool, &server),
                of_name: None,
            });
        }
    }
    servers
}
