//! Names for people, keys for the machine.

use std::fmt;

/// A pool's number: given when its name is first seen, never reused while the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolKey(pub u32);

/// A server's number: given when its `pool/server` name is first seen, never reused while the
/// program runs. Another address under the same name keeps the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerKey(pub u32);

/// A session's number: 64 random bits, the same in the token, the table and the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl SessionId {
    /// Reads the sixteen hexadecimal digits that [`Display`](fmt::Display) writes.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        hex.then(|| u64::from_str_radix(text, 16).ok().map(Self))?
    }
}

/// The name of a listener.
pub type ListenerName = String;

/// A server as people name it: `pool/server`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerName {
    /// The pool's name.
    pub pool: String,
    /// The server's name within the pool.
    pub server: String,
}

impl ServerName {
    /// Puts the two halves together.
    pub fn new(pool: impl Into<String>, server: impl Into<String>) -> Self {
        Self {
            pool: pool.into(),
            server: server.into(),
        }
    }

    /// Reads `pool/server`.
    pub fn parse(text: &str) -> Option<Self> {
        let (pool, server) = text.split_once('/')?;
        (is_name(pool) && is_name(server)).then(|| Self::new(pool, server))
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pool, self.server)
    }
}

/// Whether `text` may name a pool, a server or a listener: 1 to 64 letters, digits, `-`, `_`, `.`,
/// beginning with a letter or digit. Such a name needs no escaping anywhere it is shown.
pub fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.as_bytes()[0].is_ascii_alphanumeric()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Whether `text` may be shown to people as it is: no control characters, which would let it rewrite
/// a terminal or add lines of its own, and none that turn the direction of reading.
pub fn is_plain(text: &str) -> bool {
    !text.chars().any(is_unseemly)
}

/// Whether a character does something to what it is shown on, instead of being shown.
pub fn is_unseemly(character: char) -> bool {
    let turns_direction = matches!(
        character,
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    character.is_control() || turns_direction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        assert!(is_name("web-1.example_2"));
        for bad in ["", "-a", "a b", "a/b", "é", &"x".repeat(65)] {
            assert!(!is_name(bad), "{bad:?}");
        }
        assert_eq!(ServerName::parse("app/web1").unwrap().server, "web1");
        assert_eq!(ServerName::parse("app"), None);
        assert_eq!(ServerName::parse("app/web/1"), None);
    }

    #[test]
    fn what_people_are_shown_cannot_rewrite_their_terminal() {
        assert!(is_plain("Größere Wartung, 3 % – 维护"));
        for bad in ["\x1b[2J", "two\nlines", "\u{9b}31m", "\u{202e}txt"] {
            assert!(!is_plain(bad), "{bad:?}");
        }
    }

    #[test]
    fn session_ids_read_back() {
        let id = SessionId(0xdead_beef);
        assert_eq!(SessionId::parse(&id.to_string()), Some(id));
        assert_eq!(SessionId::parse("+000000000000001"), None);
    }
}
