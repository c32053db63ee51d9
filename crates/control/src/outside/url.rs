//! Addresses of others that Ebbtide calls.

use hyper::Uri;
use std::fmt;
use std::net::IpAddr;

/// An address of somebody else's. The path of a webhook's is often all that protects it, so it is never
/// shown.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl {
    /// As it was written.
    pub(crate) text: String,
    pub(crate) is_tls: bool,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Host and port as they are written.
    pub(crate) authority: String,
    /// Path and query.
    pub(crate) target: String,
}

impl HttpUrl {
    /// Reads `http://…` or `https://…`; an error says what is wrong, without the address.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.contains('#') {
            return Err("has a part after `#`, which is never sent");
        }
        let uri: Uri = text.parse().map_err(|_| "is not an address")?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("does not begin with http:// or https://"),
        };
        let authority = uri.authority().ok_or("names no host")?;
        if authority.as_str().contains('@') {
            return Err("names a user, which is not supported");
        }
        let host = authority.host().trim_matches(['[', ']']);
        if host.is_empty() {
            return Err("names no host");
        }
        // The crate passes over what is no number of a port.
        let written = &authority.as_str()[authority.host().len()..];
        let port = match written.strip_prefix(':').map(str::parse::<u16>) {
            None => None,
            Some(Ok(port)) if port > 0 => Some(port),
            Some(_) => return Err("has a port that is none: it goes from 1 to 65535"),
        };
        Ok(Self {
            text: text.to_owned(),
            is_tls,
            host: host.to_owned(),
            port: port.unwrap_or(if is_tls { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            target: uri
                .path_and_query()
                .map_or("/", |target| target.as_str())
                .to_owned(),
        })
    }

    /// Whether nobody on the way can read or change what is said there: by TLS, or within this machine.
    pub fn is_sheltered(&self) -> bool {
        let is_loopback = |address: IpAddr| address.is_loopback();
        self.is_tls
            || self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse().is_ok_and(is_loopback)
    }

    /// Path and query.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// What browsers call the place of this address (RFC 6454): without its path, and without the port
    /// that need not be said.
    pub fn origin(&self) -> String {
        let (scheme, usual) = match self.is_tls {
            true => ("https", 443),
            false => ("http", 80),
        };
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.to_ascii_lowercase(),
        };
        match self.port == usual {
            true => format!("{scheme}://{host}"),
            false => format!("{scheme}://{host}:{}", self.port),
        }
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}/…", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_an_origin_and_may_be_sheltered() {
        for (text, origin, is_sheltered) in [
            ("https://ID.example:443/a?b", "https://id.example", true),
            ("https://id.example:8443", "https://id.example:8443", true),
            ("http://127.0.0.1:80/", "http://127.0.0.1", true),
            ("http://[::1]:7070/x", "http://[::1]:7070", true),
            ("http://localhost:7070", "http://localhost:7070", true),
            ("http://10.0.0.1/", "http://10.0.0.1", false),
            (
                "http://localhost.example/",
                "http://localhost.example",
                false,
            ),
        ] {
            let url = HttpUrl::parse(text).unwrap();
            assert_eq!(
                (url.origin().as_str(), url.is_sheltered()),
                (origin, is_sheltered)
            );
        }
    }
}
