//! Doors, as far as they need no connection: what a browser asks for, and what it is shown.

pub(crate) mod form;
pub(crate) mod page;

use ebbtide_protocol::http1::{Field, RequestHead};

/// What leads through a door, of the paths under the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DoorPath {
    /// The one-use address.
    Enter,
    /// The holder's own page.
    Page,
}

/// Takes fields of this name from a request. Servers that make variables of names read `-` and `_`
/// alike, so here they are too.
pub(crate) fn take_field(buf: &[u8], head: &mut RequestHead, name: &str) {
    let same = |a: &u8, b: &u8| {
        let plain = |byte: u8| match byte {
            b'_' => b'-',
            other => other.to_ascii_lowercase(),
        };
        plain(*a) == plain(*b)
    };
    let is_named = |field: &Field| {
        let found = field.name.of(buf);
        found.len() == name.len() && found.iter().zip(name.as_bytes()).all(|(a, b)| same(a, b))
    };
    head.fields.retain(|field| !is_named(field));
}

/// Whether a form was sent by a page of this very address: browsers say so in one of two ways, or
/// in none. `is_trusted`: a proxy in front says which address that was, if it has changed it.
pub(crate) fn is_own_form(buf: &[u8], head: &RequestHead, is_trusted: bool) -> bool {
    let value = |name| crate::pages::field(buf, &head.fields, name);
    let said = value(b"x-forwarded-host").filter(|_| is_trusted);
    let host = said.or(head.authority.map(|span| span.of(buf)));
    let from_here = value(b"sec-fetch-site").is_none_or(|site| site == b"same-origin");
    let origin_here = value(b"origin").is_none_or(|origin| {
        let authority = origin
            .strip_prefix(b"http://")
            .or_else(|| origin.strip_prefix(b"https://"));
        authority.is_some() && authority == host
    });
    from_here && origin_here
}

#[cfg(test)]
mod tests;
