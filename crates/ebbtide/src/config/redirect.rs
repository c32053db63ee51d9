//! Pools that lead their users to the servers' own addresses: what they need, and what would mean
//! nothing in them.

use super::build::value;
use super::read::Section;
use super::value::split_address;

/// Settings that are about what Ebbtide passes on: the table that they are in, and their names.
const OF_PROXIES: &[(&str, &[&str])] = &[
    ("", &["replica", "logout", "retry_percent", "end_grace"]),
    (
        "door",
        &[
            "credentials",
            "credentials_file",
            "credentials_env",
            "admin_field",
        ],
    ),
    ("notice", &["inject"]),
    (
        "timeouts",
        &["connect", "response", "tunnel", "upstream_idle"],
    ),
    ("limits", &["connections", "upstream_idle"]),
];

/// Reports what would not be looked at in a pool that redirects.
pub(super) fn check_redirect(pool: &Section<'_, '_>) {
    if !redirects(pool) {
        return;
    }
    for (table, names) in OF_PROXIES {
        let inner = (!table.is_empty()).then(|| pool.section(table));
        let section = inner.as_ref().unwrap_or(pool);
        for name in *names {
            if let Some(span) = section.span_of(name) {
                section.report(
                    &span,
                    format!(
                        "{}.{name}: not in pools with `mode = \"redirect\"`",
                        section.shown()
                    ),
                    "would not be looked at",
                    Some("leave it out: it is about what is passed on, and here nothing is".into()),
                );
            }
        }
    }
}

/// Where users reach the server themselves: needed in a pool that redirects, and in no other.
pub(super) fn public_url(pool: &Section<'_, '_>, server: &Section<'_, '_>) -> Option<String> {
    let read = server.text("public_url");
    let Some(read) = read else {
        if redirects(pool) && !server.misspells("public_url") {
            server.report(
                &server.span,
                format!("{}: users could not be led there", server.shown()),
                "needs a `public_url`",
                Some(format!(
                    "write `{} = {{ address = …, public_url = \"https://web1.example.com\" }}`",
                    server.shown().rsplit('.').next().unwrap_or_default()
                )),
            );
        }
        return None;
    };
    if !redirects(pool) {
        server.report(
            &read.span,
            format!("{}.public_url: nobody is led there", server.shown()),
            "would not be looked at",
            Some("write `mode = \"redirect\"` in the pool, or leave it out".into()),
        );
        return None;
    }
    if let Err(why) = check_url(&read.value) {
        server.report(
            &read.span,
            format!("{}.public_url: {why}", server.shown()),
            "not an address to lead users to",
            Some("write one such as \"https://web1.example.com\"".into()),
        );
        return None;
    }
    Some(read.value.trim_end_matches('/').to_owned())
}

pub(super) fn redirects(pool: &Section<'_, '_>) -> bool {
    value(pool.word("mode")) == "redirect"
}

/// What is wrong with an address that a request's path is to be put behind.
fn check_url(url: &str) -> Result<(), &'static str> {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))
        .ok_or("it does not begin with `http://` or `https://`")?;
    if rest.contains(['?', '#']) {
        return Err("it has a query or a fragment: those of the request are kept");
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err("it has a user name: every user would be told it");
    }
    // A port has to be there for this check only.
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.ends_with(']'));
    let with_port = match has_port {
        true => authority.to_owned(),
        false => format!("{authority}:80"),
    };
    let Ok((host, _)) = split_address(&with_port) else {
        return Err("it has no host, or no good one");
    };
    let is_v6 = authority.starts_with('[');
    let is_host = match is_v6 {
        true => host.parse::<std::net::Ipv6Addr>().is_ok(),
        false => !host.contains([':', '%']),
    };
    if !is_host {
        return Err("its host is neither a name nor an address");
    }
    let in_path = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%".contains(&byte);
    match path.bytes().all(in_path) {
        true => Ok(()),
        false => Err("its path has signs that have no place in one"),
    }
}

#[cfg(test)]
mod tests;
