//! The token: the cookie that binds a user to a server.

/// What a token says. Servers and pools are named by [`tag`], so that a token survives their
/// being reordered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token {
    /// [`tag`] of the pool's name.
    pub pool: u64,
    /// [`tag`] of `pool/server`.
    pub server: u64,
    /// The server's epoch when the token was made.
    pub epoch: u32,
    /// The session's identity.
    pub session: u64,
    /// When the session began, in unix seconds (below 2^40).
    pub started_s: u64,
    /// When the token was last renewed, in unix seconds (below 2^40).
    pub renewed_s: u64,
}

/// The keys that tokens are signed with. The previous one is still accepted after a rotation.
#[derive(Clone)]
pub struct TokenKeys {
    /// Signs, and is accepted.
    pub current: [u8; 32],
    /// Is accepted.
    pub previous: Option<[u8; 32]>,
}

/// Why a text is no token for this pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenError {
    /// Not the right length, or not base64url.
    Malformed,
    /// Signed by neither key.
    Forged,
    /// A true token, of another pool.
    OtherPool,
    /// A version that this program does not know.
    UnknownVersion,
}

impl TokenError {
    /// A stable label, for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            TokenError::Malformed => "malformed",
            TokenError::Forged => "forged",
            TokenError::OtherPool => "other-pool",
            TokenError::UnknownVersion => "unknown-version",
        }
    }
}

/// A stable number for the name of a pool, or for `pool/server`.
pub fn tag(name: &str) -> u64 {
    let _ = name;
    unimplemented!()
}

impl Token {
    /// Appends the token's text to `out`.
    pub fn encode(&self, keys: &TokenKeys, out: &mut Vec<u8>) {
        let _ = (keys, out);
        unimplemented!()
    }

    /// Reads a token of the pool with tag `pool`. Never panics; compares the MAC in constant time.
    pub fn decode(text: &[u8], keys: &TokenKeys, pool: u64) -> Result<Token, TokenError> {
        let _ = (text, keys, pool);
        unimplemented!()
    }
}
