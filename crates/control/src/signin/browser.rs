//! The cookie of a browser that is signed in, and what a page may know of its session.

use super::csrf::csrf_token;
use super::sessions::SessionKey;
use axum::http::header::{COOKIE, ORIGIN};
use axum::http::{HeaderMap, HeaderValue};
use ebbtide_protocol::http1::CONSOLE_COOKIE;
use tokio::sync::watch;

/// Cookies of that name that are looked at: someone else on the host may have set more.
const COOKIES_MAX: usize = 4;

/// A browser that is signed in.
#[derive(Clone)]
pub(crate) struct Browser {
    key: SessionKey,
    csrf: String,
    is_fresh: bool,
    is_vouched: bool,
    over: watch::Receiver<()>,
}

impl Browser {
    pub(super) fn new(
        key: SessionKey,
        secret: &str,
        is_fresh: bool,
        is_vouched: bool,
        over: watch::Receiver<()>,
    ) -> Self {
        Self {
            key,
            csrf: csrf_token(secret),
            is_fresh,
            is_vouched,
            over,
        }
    }

    pub(super) fn key(&self) -> &SessionKey {
        &self.key
    }

    /// What forms of its pages carry.
    pub fn csrf(&self) -> &str {
        &self.csrf
    }

    /// Whether its user has shown so lately who he is that a forced change may go on.
    pub fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// Whether a provider vouched for its user, who then has no password here.
    pub fn is_vouched(&self) -> bool {
        self.is_vouched
    }

    /// Fails once the session is over.
    pub(super) fn over(&self) -> watch::Receiver<()> {
        self.over.clone()
    }
}

/// What a cookie holds: 256 random bits.
pub(super) fn new_secret() -> Result<String, ()> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        tracing::error!("the system gives no random bytes: {error}");
    })?;
    Ok(blake3::Hash::from_bytes(bytes).to_hex().to_string())
}

/// What the node knows a session by.
pub(super) fn key(secret: &str) -> SessionKey {
    *blake3::hash(secret.as_bytes()).as_bytes()
}

/// What the browser's cookies of sessions hold.
pub(super) fn secrets(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let held = cookies(headers, CONSOLE_COOKIE);
    held.filter(|value| value.len() == 64).take(COOKIES_MAX)
}

/// What the browser's cookies of this name hold.
pub(super) fn cookies<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let fields = headers.get_all(COOKIE).into_iter();
    let pairs = fields
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'));
    pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(move |(held, _)| *held == name)
        .map(|(_, value)| value)
}

/// Whether the browser says that it sends this form from a page that it got by https.
pub(super) fn is_https(headers: &HeaderMap) -> bool {
    let origin = headers.get(ORIGIN).map(HeaderValue::as_bytes);
    origin.is_some_and(|origin| origin.starts_with(b"https://"))
}

/// The field that sets the cookie of a session, for as long as the browser runs. On a page that the
/// browser got by https the cookie never goes over http again.
pub(super) fn set_cookie(secret: &str, is_https: bool) -> HeaderValue {
    cookie(&format!("{CONSOLE_COOKIE}={secret}"), "/", is_https)
}

/// The field that takes the cookie of a session away.
pub(super) fn clear_cookie(is_https: bool) -> HeaderValue {
    cookie(&format!("{CONSOLE_COOKIE}=; Max-Age=0"), "/", is_https)
}

/// The field that sets a cookie of this node's own pages.
pub(super) fn cookie(text: &str, path: &str, is_https: bool) -> HeaderValue {
    let secure = if is_https { "; Secure" } else { "" };
    let text = format!("{text}; HttpOnly; SameSite=Strict; Path={path}{secure}");
    HeaderValue::from_str(&text).expect("a cookie of ours is letters, digits and `=;/_-. `")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_found_among_others() {
        let mut headers = HeaderMap::new();
        let (one, two) = ("a".repeat(64), "b".repeat(64));
        let field =
            format!("x=1; {CONSOLE_COOKIE}=short; {CONSOLE_COOKIE}={one};{CONSOLE_COOKIE}={two}");
        headers.append(COOKIE, field.parse().unwrap());
        headers.append(COOKIE, format!("my{CONSOLE_COOKIE}={one}").parse().unwrap());
        assert_eq!(secrets(&headers).collect::<Vec<_>>(), [&one, &two]);
        let flood = format!("{CONSOLE_COOKIE}={one};").repeat(100);
        headers.insert(COOKIE, flood.parse().unwrap());
        assert_eq!(secrets(&headers).count(), COOKIES_MAX);
    }

    #[test]
    fn cookies_are_kept_from_scripts_and_from_other_sites() {
        let mut headers = HeaderMap::new();
        let set = |headers: &HeaderMap| {
            let value = set_cookie("abc", is_https(headers));
            value.to_str().unwrap().to_owned()
        };
        headers.insert(ORIGIN, "http://a.example".parse().unwrap());
        let plain = "ebbtide_console=abc; HttpOnly; SameSite=Strict; Path=/";
        assert_eq!(set(&headers), plain);
        headers.insert(ORIGIN, "https://a.example".parse().unwrap());
        assert_eq!(set(&headers), format!("{plain}; Secure"));
        let (one, two) = (new_secret().unwrap(), new_secret().unwrap());
        assert!(one.len() == 64 && one != two);
    }
}
