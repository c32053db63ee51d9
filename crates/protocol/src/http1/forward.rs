//! Writing heads anew from what was parsed.
//!
//! What belongs to one connection ends here (RFC 9110, 7.6.1), framing is written from what was
//! understood, and what a client says of how it came is replaced by what is known.

use std::io::Write;
use std::iter;
use std::net::{IpAddr, SocketAddr};

use super::field::{FieldKind, is_named};
use super::line::trim;
use super::write::{put_decimal, put_field};
use super::{Field, Framing, RequestHead, ResponseHead, Version};

/// Room for the fields that are added to a head.
const ADDED_BYTES: usize = 512;

/// What is added to, and taken from, a request on its way to a server.
#[derive(Clone, Copy, Debug)]
pub struct Forwarding<'a> {
    /// The client's address, appended to `X-Forwarded-For`.
    pub client: IpAddr,
    /// `http` or `https`: how the client came.
    pub proto: &'a str,
    /// The client is a proxy of ours: what it says in `X-Forwarded-Proto` and `-Host` is kept.
    pub trusts_client: bool,
    /// The pseudonym for `Via`.
    pub via: &'a str,
    /// The name of the token cookie, which the server does not see; empty if there is none.
    pub token_cookie: &'a [u8],
    /// What the names of doors' cookies begin with: no server sees one, whichever pool it is for.
    /// Empty if there are none.
    pub door_cookies: &'a [u8],
    /// Keep the connection to the server for more requests?
    pub keep_alive_upstream: bool,
    /// Pass the wish to upgrade on.
    pub tunnel: bool,
    /// Pass `Expect: 100-continue` on.
    pub expect_continue: bool,
    /// More fields to add.
    pub extra: &'a [(&'a str, &'a [u8])],
}

/// The name of the cookie by which browsers are signed in to the console. Browsers do not tell ports of
/// one host apart, so they send it to pools there too; no server sees it.
pub const CONSOLE_COOKIE: &str = "ebbtide_console";

/// The name of the cookie that a browser holds while its user is at a provider to sign in.
pub const CONSOLE_WAY_COOKIE: &str = "ebbtide_openid";

/// Whether a cookie of this name belongs to the console, which may be at the same host: no server is told it.
pub fn is_of_console(name: &[u8]) -> bool {
    [CONSOLE_COOKIE, CONSOLE_WAY_COOKIE]
        .map(str::as_bytes)
        .contains(&name)
}

/// Tells when the user's session ends, as an HTTP date (RFC 9110, 5.6.7). Only Ebbtide says that: a
/// server's own field of this name is dropped.
pub const SESSION_ENDS: &str = "Ebbtide-Session-Ends";

/// What is changed in a response on its way to the client.
#[derive(Clone, Copy, Debug)]
pub struct ResponseEdit<'a> {
    /// The client's version.
    pub client_version: Version,
    /// Send `Connection: close`.
    pub close: bool,
    /// The value of a `Set-Cookie` field of our own.
    pub set_cookie: Option<&'a [u8]>,
    /// The name of the token cookie: a server that sets it is not heard. Empty if there is none.
    pub token_cookie: &'a [u8],
    /// The pseudonym for `Via`.
    pub via: &'a str,
    /// More fields to add.
    pub extra: &'a [(&'a str, &'a [u8])],
    /// The request was a `HEAD`: there is no body, whatever the fields say.
    pub request_is_head: bool,
}

/// Writes the head of a request for a server, always as HTTP/1.1.
pub fn write_request(out: &mut Vec<u8>, buf: &[u8], head: &RequestHead, f: &Forwarding<'_>) {
    out.reserve(head.head_bytes + ADDED_BYTES);
    let authority = head.authority.map(|span| span.of(buf));
    let method = head.method.of(buf);
    out.extend_from_slice(method);
    out.push(b' ');
    put_target(out, method, head.target.of(buf));
    out.extend_from_slice(b" HTTP/1.1\r\n");
    // Without an authority Host is empty, not absent (RFC 9112, 3.2).
    put_field(out, b"Host", authority.unwrap_or_default());
    for field in &head.fields {
        let (name, value) = (field.name.of(buf), field.value.of(buf));
        match field.kind {
            FieldKind::Other | FieldKind::SetCookie | FieldKind::Cookie
                if is_named(buf, &head.connection, field.name) => {}
            FieldKind::Other | FieldKind::SetCookie => put_field(out, name, value),
            FieldKind::Cookie => put_cookies(out, name, value, f),
            _ => {}
        }
    }
    put_framing(out, head.framing);
    match (head.upgrade, f.tunnel) {
        (Some(upgrade), true) => put_upgrade(out, upgrade.of(buf)),
        _ if !f.keep_alive_upstream => put_field(out, b"Connection", b"close"),
        _ => {}
    }
    if f.expect_continue {
        put_field(out, b"Expect", b"100-continue");
    }
    put_forwarded_for(out, buf, &head.fields, f.client);
    let said = |name| claim(buf, &head.fields, name).filter(|_| f.trusts_client);
    let proto = said(b"x-forwarded-proto").unwrap_or(f.proto.as_bytes());
    put_field(out, b"X-Forwarded-Proto", proto);
    if let Some(host) = said(b"x-forwarded-host").or(authority) {
        put_field(out, b"X-Forwarded-Host", host);
    }
    for (name, value) in f.extra {
        put_field(out, name.as_bytes(), value);
    }
    put_via(out, head.version, f.via);
    out.extend_from_slice(b"\r\n");
}

/// What absolute-form leaves out is put back (RFC 9112, 3.2.1 and 3.2.4).
fn put_target(out: &mut Vec<u8>, method: &[u8], target: &[u8]) {
    match target {
        [] if method == b"OPTIONS" => out.push(b'*'),
        [] | [b'?', ..] => out.push(b'/'),
        _ => {}
    }
    out.extend_from_slice(target);
}

/// What a client says of how it came: the first value that is not empty.
fn claim<'a>(buf: &'a [u8], fields: &[Field], name: &[u8]) -> Option<&'a [u8]> {
    let said = fields.iter().filter(|field| {
        field.kind == FieldKind::XForwardedOther && field.name.of(buf).eq_ignore_ascii_case(name)
    });
    said.map(|field| field.value.of(buf))
        .find(|value| !value.is_empty())
}

/// Whether the client, if it is a proxy, says that its own client came by TLS.
pub fn is_forwarded_https(buf: &[u8], head: &RequestHead) -> bool {
    claim(buf, &head.fields, b"x-forwarded-proto")
        .is_some_and(|proto| proto.eq_ignore_ascii_case(b"https"))
}

/// The last address in `X-Forwarded-For`, which is the one that the client itself has added: whom
/// it speaks for, if it is a proxy. With a port or without.
pub fn forwarded_for(buf: &[u8], head: &RequestHead) -> Option<IpAddr> {
    let mut lists = head
        .fields
        .iter()
        .filter(|field| field.kind == FieldKind::XForwardedFor);
    let list = lists.next_back()?.value.of(buf);
    let last = list.rsplit(|byte| *byte == b',').next()?;
    let text = std::str::from_utf8(trim(last)).ok()?;
    let address = text.parse().ok();
    let address = address.or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))?;
    Some(address.to_canonical())
}

/// One list, since many servers read only the first field of that name.
fn put_forwarded_for(out: &mut Vec<u8>, buf: &[u8], fields: &[Field], client: IpAddr) {
    out.extend_from_slice(b"X-Forwarded-For: ");
    for field in fields {
        let value = field.value.of(buf);
        if field.kind == FieldKind::XForwardedFor && !value.is_empty() {
            out.extend_from_slice(value);
            out.extend_from_slice(b", ");
        }
    }
    put_display(out, client.to_canonical());
    out.extend_from_slice(b"\r\n");
}

fn put_display(out: &mut Vec<u8>, what: impl std::fmt::Display) {
    let written = write!(out, "{what}");
    debug_assert!(written.is_ok(), "writing to memory does not fail");
}

fn put_framing(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::Length(bytes) => {
            out.extend_from_slice(b"Content-Length: ");
            put_decimal(out, bytes);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => put_field(out, b"Transfer-Encoding", b"chunked"),
        Framing::None | Framing::UntilClose => {}
    }
}

fn put_upgrade(out: &mut Vec<u8>, protocol: &[u8]) {
    put_field(out, b"Connection", b"upgrade");
    put_field(out, b"Upgrade", protocol);
}

/// The version is that of the message as it came (RFC 9110, 7.6.3).
fn put_via(out: &mut Vec<u8>, version: Version, via: &str) {
    out.extend_from_slice(match version {
        Version::Http10 => b"Via: 1.0 ",
        Version::Http11 => b"Via: 1.1 ",
    });
    out.extend_from_slice(via.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes a `Cookie` field without the cookies that are ours; nothing if no other is left.
fn put_cookies(out: &mut Vec<u8>, name: &[u8], value: &[u8], f: &Forwarding<'_>) {
    let (token, doors) = (f.token_cookie, f.door_cookies);
    let is_ours = |pair: &[u8]| {
        named(pair).is_some_and(|(own, _)| {
            let is_token = !own.is_empty() && own == token;
            is_token || is_of_console(own) || (!doors.is_empty() && own.starts_with(doors))
        })
    };
    if !pairs(value).any(is_ours) {
        return put_field(out, name, value);
    }
    let mut before: [&[u8]; 2] = [name, b": "];
    for pair in pairs(value).filter(|pair| !is_ours(pair)) {
        out.extend_from_slice(before[0]);
        out.extend_from_slice(before[1]);
        out.extend_from_slice(pair);
        before = [b";", b" "];
    }
    if before[0] == b";" {
        out.extend_from_slice(b"\r\n");
    }
}

/// The parts of a `Cookie` or `Set-Cookie` value.
fn pairs(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = memchr::memchr_iter(b';', value).chain(iter::once(value.len()));
    let pairs = ends.scan(0, |start, end| {
        let from = std::mem::replace(start, end + 1);
        Some(trim(&value[from..end]))
    });
    pairs.filter(|pair| !pair.is_empty())
}

/// The name and the value of the pair `name=value`.
fn named(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = memchr::memchr(b'=', pair)?;
    Some((trim(&pair[..equals]), trim(&pair[equals + 1..])))
}

fn is_cookie(pair: &[u8], name: &[u8]) -> bool {
    !name.is_empty() && named(pair).is_some_and(|(own, _)| own == name)
}

/// Every value of the cookie `name`, across all `Cookie` fields.
pub fn cookie<'a>(
    buf: &'a [u8],
    head: &'a RequestHead,
    name: &'a [u8],
) -> impl Iterator<Item = &'a [u8]> {
    cookies(buf, head, [name]).map(|(_, value)| value)
}

/// The same of several cookies in one look: each value with the place of its name in `names`.
pub fn cookies<'a, const N: usize>(
    buf: &'a [u8],
    head: &'a RequestHead,
    names: [&'a [u8]; N],
) -> impl Iterator<Item = (usize, &'a [u8])> {
    let fields = head.fields.iter();
    fields
        .filter(|field| field.kind == FieldKind::Cookie)
        .flat_map(|field| pairs(field.value.of(buf)))
        .filter_map(move |pair| {
            let (own, value) = named(pair)?;
            let place = names.iter().position(|name| *name == own)?;
            (!own.is_empty()).then_some((place, value))
        })
}

/// Writes the head of a response for a client. Returns the framing of the body that must follow:
/// chunked becomes until-close for a 1.0 client (close the connection after it), and until-close
/// from the server becomes chunked for a 1.1 client.
pub fn write_response(
    out: &mut Vec<u8>,
    buf: &[u8],
    head: &ResponseHead,
    e: &ResponseEdit<'_>,
) -> Framing {
    out.reserve(head.head_bytes + ADDED_BYTES);
    put_status_line(out, buf, head);
    // The answer to a HEAD, and a 304, may tell the length that a body would have had; 1xx and 204
    // may not (RFC 9110, 8.6).
    let never_a_length = matches!(head.status, 100..=199 | 204);
    let length_of_no_body = !never_a_length && (e.request_is_head || head.status == 304);
    for field in &head.fields {
        let value = field.value.of(buf);
        let ours = match field.kind {
            FieldKind::ContentLength => !length_of_no_body,
            FieldKind::SetCookie => {
                is_cookie(pairs(value).next().unwrap_or_default(), e.token_cookie)
            }
            _ => false,
        };
        if !ours {
            put_response_field(out, buf, head, field);
        }
    }
    let framing = match (head.framing, e.client_version) {
        _ if e.request_is_head => Framing::None,
        (Framing::Chunked, Version::Http10) => Framing::UntilClose,
        (Framing::UntilClose, Version::Http11) => Framing::Chunked,
        (framing, _) => framing,
    };
    put_framing(out, framing);
    put_response_connection(out, buf, head, e, framing);
    if let Some(value) = e.set_cookie {
        put_field(out, b"Set-Cookie", value);
    }
    for (name, value) in e.extra {
        put_field(out, name.as_bytes(), value);
    }
    put_via(out, head.version, e.via);
    out.extend_from_slice(b"\r\n");
    framing
}

fn put_response_connection(
    out: &mut Vec<u8>,
    buf: &[u8],
    head: &ResponseHead,
    e: &ResponseEdit<'_>,
    framing: Framing,
) {
    let upgrade = head
        .fields
        .iter()
        .find(|field| head.upgrade && field.kind == FieldKind::Upgrade);
    if let Some(upgrade) = upgrade {
        put_upgrade(out, upgrade.value.of(buf));
    } else if e.close || framing == Framing::UntilClose {
        put_field(out, b"Connection", b"close");
    } else if e.client_version == Version::Http10 {
        put_field(out, b"Connection", b"keep-alive");
    }
}

/// Writes an interim response (100, 102, 103). Never send one to an HTTP/1.0 client. It sets no
/// cookies: those belong in the final response, where the token's own is watched over.
pub fn write_interim(out: &mut Vec<u8>, buf: &[u8], head: &ResponseHead) {
    out.reserve(head.head_bytes + ADDED_BYTES);
    put_status_line(out, buf, head);
    for field in &head.fields {
        if !matches!(field.kind, FieldKind::ContentLength | FieldKind::SetCookie) {
            put_response_field(out, buf, head, field);
        }
    }
    out.extend_from_slice(b"\r\n");
}

fn put_status_line(out: &mut Vec<u8>, buf: &[u8], head: &ResponseHead) {
    out.extend_from_slice(b"HTTP/1.1 ");
    put_decimal(out, u64::from(head.status));
    out.push(b' ');
    out.extend_from_slice(head.reason.of(buf));
    out.extend_from_slice(b"\r\n");
}

/// Writes a field of a response, unless it ends at this hop.
fn put_response_field(out: &mut Vec<u8>, buf: &[u8], head: &ResponseHead, field: &Field) {
    let ends_here = matches!(
        field.kind,
        FieldKind::Connection
            | FieldKind::HopByHop
            | FieldKind::KeepAlive
            | FieldKind::Shadow
            | FieldKind::TransferEncoding
            | FieldKind::Upgrade
    );
    let is_ours = field
        .name
        .of(buf)
        .eq_ignore_ascii_case(SESSION_ENDS.as_bytes());
    if !ends_here && !is_ours && !is_named(buf, &head.connection, field.name) {
        put_field(out, field.name.of(buf), field.value.of(buf));
    }
}
