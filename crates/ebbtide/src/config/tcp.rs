//! What is said of TCP pools, and what may not be said of them.

use super::build::value;
use super::read::Section;
use ebbtide_core::{Cut, Protocol, SendProxy, TcpSettings};

/// Settings and tables that mean something in one protocol only: the table that they are in, their
/// names, and the protocol.
const OF_ONE_PROTOCOL: &[(&str, &[&str], Protocol)] = &[
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
            "door",
            "user",
            "upgrade",
            "pages",
        ],
        Protocol::Http,
    ),
    ("", &["cut", "send_proxy"], Protocol::Tcp),
    ("sticky", &["cookie"], Protocol::Http),
    ("sticky", &["prefix_v4", "prefix_v6"], Protocol::Tcp),
    ("notice", &["inject"], Protocol::Http),
    ("notice", &["form"], Protocol::Tcp),
    (
        "timeouts",
        &["head", "idle", "response", "body", "upstream_idle"],
        Protocol::Http,
    ),
    ("timeouts", &["keepalive"], Protocol::Tcp),
    (
        "limits",
        &["head_bytes", "fields", "upstream_idle", "event_streams"],
        Protocol::Http,
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

/// Reports what would not be looked at in a pool of this protocol.
pub(super) fn check_protocol(pool: &Section<'_, '_>, protocol: Protocol) {
    for (table, names, of) in OF_ONE_PROTOCOL {
        if *of == protocol {
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
                        word(protocol)
                    ),
                    "would not be looked at",
                    Some(format!(
                        "leave it out: it is for pools with `protocol = \"{}\"`",
                        word(*of)
                    )),
                );
            }
        }
    }
    check_word(pool, "sticky", "by", protocol);
    if protocol == Protocol::Tcp {
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
        ("door-only", Protocol::Tcp) => "doors are for `http` pools",
        _ => return,
    };
    section.report(
        &read.span,
        format!(
            "{}.{name}: not in {} pools",
            section.shown(),
            word(protocol)
        ),
        "of another protocol",
        Some(help.into()),
    );
}

fn word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http => "http",
        Protocol::Tcp => "tcp",
    }
}
