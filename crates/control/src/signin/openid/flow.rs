//! One way to the provider and back. The browser carries all that is to be known of it in a cookie, and
//! what the provider is told (`state`, `nonce`, the challenge of PKCE) is hashed from that: so nobody
//! who only begins fills anything here, a restart in between is not noticed, and nobody can come back
//! who was not sent.

use super::super::browser::new_secret;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};

/// How long somebody may stay at the provider, in seconds.
pub(super) const SECONDS_MAX: u64 = 600;
const STATE: &str = "ebbtide 2026 openid state";
const NONCE: &str = "ebbtide 2026 openid nonce";
const VERIFIER: &str = "ebbtide 2026 openid verifier";

/// A browser that was sent to the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    /// What its cookie holds.
    cookie: String,
    /// In seconds since 1970.
    pub began: u64,
    /// Its user is signed in, and shows again who he is.
    pub is_again: bool,
    /// Where it goes on to.
    pub next: String,
}

impl Flow {
    /// A new one; an error if the system gives no random bytes.
    pub fn begin(is_again: bool, next: &str, now: u64) -> Result<Self, ()> {
        let (secret, kind) = (new_secret()?, if is_again { 'a' } else { 'i' });
        Ok(Self {
            cookie: format!("{secret}.{now}.{kind}.{}", URL_SAFE_NO_PAD.encode(next)),
            began: now,
            is_again,
            next: next.to_owned(),
        })
    }

    /// The one that a cookie tells of.
    pub fn read(cookie: &str) -> Option<Self> {
        let parts: Vec<&str> = cookie.split('.').collect();
        let [secret, began, kind, next] = parts[..] else {
            return None;
        };
        let next = URL_SAFE_NO_PAD.decode(next).ok()?;
        (secret.len() == 64).then_some(Self {
            cookie: cookie.to_owned(),
            began: began.parse().ok()?,
            is_again: match kind {
                "a" => true,
                "i" => false,
                _ => return None,
            },
            next: String::from_utf8(next).ok()?,
        })
    }

    pub fn cookie(&self) -> &str {
        &self.cookie
    }

    fn derived(&self, context: &str) -> String {
        let key = blake3::derive_key(context, self.cookie.as_bytes());
        blake3::Hash::from_bytes(key).to_hex().to_string()
    }

    /// What the provider sends back with the browser. It says nothing of the cookie.
    pub fn state(&self) -> String {
        self.derived(STATE)
    }

    /// What the provider writes into the token.
    pub fn nonce(&self) -> String {
        self.derived(NONCE)
    }

    /// What the provider is shown to get the token (RFC 7636).
    pub fn verifier(&self) -> String {
        self.derived(VERIFIER)
    }

    pub fn challenge(&self) -> String {
        let hash = digest(&SHA256, self.verifier().as_bytes());
        URL_SAFE_NO_PAD.encode(hash.as_ref())
    }

    pub fn is_over(&self, now: u64) -> bool {
        now.abs_diff(self.began) > SECONDS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_provider_is_told_hangs_on_all_of_the_cookie() {
        let flow = Flow::begin(false, "/pools/app?a=b&c=%20", 1_700_000_000).unwrap();
        assert_eq!(Flow::read(flow.cookie()), Some(flow.clone()));
        assert!(
            flow.cookie()
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        );
        let other = Flow::begin(false, "/pools/app?a=b&c=%20", 1_700_000_000).unwrap();
        assert_ne!(flow.state(), other.state());
        let parts: Vec<&str> = flow.cookie().split('.').collect();
        let elsewhere = URL_SAFE_NO_PAD.encode("/elsewhere");
        for (place, changed) in [(1, "1700000001"), (2, "a"), (3, &elsewhere)] {
            let mut parts = parts.clone();
            parts[place] = changed;
            let forged = Flow::read(&parts.join(".")).unwrap();
            assert_ne!(forged.state(), flow.state());
            assert_ne!(forged.nonce(), flow.nonce());
        }
        let told = [flow.state(), flow.nonce(), flow.verifier()];
        assert!(
            told.iter()
                .all(|text| text.len() == 64 && !flow.cookie().contains(text))
        );
        assert!(told[0] != told[1] && told[1] != told[2]);
        assert_eq!(flow.challenge().len(), 43);
        assert!(!flow.is_over(1_700_000_600) && flow.is_over(1_700_000_601));
    }

    #[test]
    fn cookies_that_are_none_are_passed_over() {
        let secret = "a".repeat(64);
        for cookie in [
            String::new(),
            "...".to_owned(),
            secret.clone(),
            format!("{secret}.1.i"),
            format!("{secret}.x.i.Lw"),
            format!("{secret}.1.x.Lw"),
            format!("{secret}.1.i.!"),
            format!("{secret}.1.i._w"),
            format!("{secret}.1.i.Lw.Lw"),
            format!("{secret}a.1.i.Lw"),
        ] {
            assert_eq!(Flow::read(&cookie), None, "{cookie}");
        }
        assert!(Flow::read(&format!("{secret}.1.i.Lw")).is_some());
    }
}
