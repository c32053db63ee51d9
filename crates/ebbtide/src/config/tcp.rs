//! What is said of TCP and NBD pools, and what may not be said of them.

use super::build::value;
use super::read::Section;
use ebbtide_core::{Cut, NbdSettings, Protocol, SendProxy, TcpSettings};

const HTTP: &[Protocol] = &[Protocol::Http];
const TCP: &[Protocol] = &[Protocol::Tcp];
const NBD: &[Protocol] = &[Protocol::Nbd];
const HTTP_AND_TCP: &[Protocol] = &[Protocol::Http, Protocol::Tcp];
const HTTP_AND_NBD: &[Protocol] = &[Protocol::Http, Protocol::Nbd];
const CONNECTIONS: &[Protocol] = &[Protocol::Tcp, Protocol::Nbd];

/// Settings and tables that do not mean something in every protocol: the table that they are in, their
/// names, and the protocols in which they do.
const OF_SOME_PROTOCOLS: &[(&str, &[&str], &[Protocol])] = &[
    (
        "",
        &[
            "prefix",
            "health_alias",
            "health_page",
            "queue",
            "queue_max",
            "end_grace",
            "logout",
            "logout_call",
            "forwarded",
            "retry_percent",
            "mode",
            "replica",
            "status_page",
            "door",
            "user",
            "upgrade",
            "pages",
        ],
        HTTP,
    ),
    ("", &["cut", "send_proxy"], TCP),
    ("sticky", &["cookie"], HTTP),
    ("sticky", &["prefix_v4", "prefix_v6"], TCP),
    ("sticky", &["by", "reuse"], HTTP_AND_TCP),
    ("verify", &["path", "expect"], HTTP),
    ("notice", &["inject"], HTTP),
    ("notice", &["form"], TCP),
    ("notice", &["reminders"], HTTP_AND_TCP),
    ("timeouts", &["idle", "body", "upstream_idle"], HTTP),
    ("timeouts", &["head", "response"], HTTP_AND_NBD),
    ("timeouts", &["tunnel"], HTTP_AND_TCP),
    ("timeouts", &["keepalive"], CONNECTIONS),
    ("timeouts", &["stand_in"], NBD),
    (
        "limits",
        &["head_bytes", "fields", "upstream_idle", "event_streams"],
        HTTP,
    ),
];

/// How the connections of a pool are kept and ended.
pub(super) fn tcp(pool: &Section<'_, '_>) -> TcpSettings {
    TcpSettings {
        keepalive: value(pool.section("timeouts").duration("keepalive")),
        cut: match value(pool.word("cut")) {
            "reset" => Cut::Reset,
            _ => Cut::Close,
        },
        send_proxy: match value(pool.word("send_proxy")) {
            "v1" => SendProxy::V1,
            "v2" => SendProxy::V2,
            _ => SendProxy::Off,
        },
        telnet: pool.section("notice").word("form").is_some(),
    }
}

/// How the sessions of NBD clients are kept alive.
pub(super) fn nbd(pool: &Section<'_, '_>) -> NbdSettings {
    NbdSettings {
        stand_in: value(pool.section("timeouts").duration("stand_in")),
    }
}

/// Reports what would not be looked at in a pool of this protocol.
pub(super) fn check_protocol(pool: &Section<'_, '_>, protocol: Protocol) {
    for (table, names, of) in OF_SOME_PROTOCOLS {
        if of.contains(&protocol) {
            continue;
        }
        let inner = (!table.is_empty()).then(|| pool.section(table));
        let section = inner.as_ref().unwrap_or(pool);
        for name in *names {
            if let Some(span) = section.span_of(name) {
                section.report(
                    &span,
                    format!(
                        "{}.{name}: not in {} pools",
                        section.shown(),
                        protocol.label()
                    ),
                    "would not be looked at",
                    Some(format!("leave it out: it is for pools with {}", words(of))),
                );
            }
        }
    }
    let notice = pool.section("notice");
    let reminders = notice
        .span_of("reminders")
        .filter(|_| protocol == Protocol::Tcp);
    if let Some(span) = reminders.filter(|_| !notice.writes("form")) {
        notice.report(
            &span,
            format!(
                "{}.reminders: users of this pool are told nothing",
                notice.shown()
            ),
            "nobody would be reminded",
            Some("add `form = \"telnet\"`, or leave it out".into()),
        );
    }
    check_word(pool, "sticky", "by", protocol);
    if protocol.is_connection() {
        check_word(pool, "", "balance", protocol);
    }
}

/// Reports a word that is another protocol's.
fn check_word(pool: &Section<'_, '_>, table: &str, name: &str, protocol: Protocol) {
    let inner = (!table.is_empty()).then(|| pool.section(table));
    let section = inner.as_ref().unwrap_or(pool);
    let Some(read) = section.word(name).filter(|read| read.written) else {
        return;
    };
    let help = match (read.value, protocol) {
        ("cookie", Protocol::Tcp) => "nothing but the client's address is known: write \"source\"",
        ("source", Protocol::Http) => {
            "users are known by a cookie: write \"cookie\", or `balance = \"source-hash\"` on the pool"
        }
        ("door-only", Protocol::Tcp) => "`tcp` pools have no doors",
        ("door-only", Protocol::Nbd) => {
            "write `mode = \"maintenance\"` in a resource that is for doors only"
        }
        _ => return,
    };
    section.report(
        &read.span,
        format!(
            "{}.{name}: not in {} pools",
            section.shown(),
            protocol.label()
        ),
        "of another protocol",
        Some(help.into()),
    );
}

/// The pools of these protocols.
fn words(protocols: &[Protocol]) -> String {
    let words = protocols.iter().map(|protocol| protocol.label());
    let words: Vec<String> = words
        .map(|word| format!("`protocol = \"{word}\"`"))
        .collect();
    words.join(" or ")
}
