//! The token: the cookie that binds a user to a server.
//!
//! It carries the binding itself, signed, so that nothing has to be looked up or shared to route
//! by it, and it holds after a restart or on another node.

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
    let hash = blake3::hash(name.as_bytes());
    Reader(hash.as_bytes()).number::<8>()
}

const VERSION: u8 = 1;
/// The MAC is cut to 128 bits: nobody can guess it, and the cookie stays short.
const MAC_BYTES: usize = 16;
/// Version, pool, server, epoch, session, started, renewed.
const SIGNED_BYTES: usize = 1 + 8 + 8 + 4 + 8 + 5 + 5;
const TOKEN_BYTES: usize = SIGNED_BYTES + MAC_BYTES;
/// Base64url without padding.
const TEXT_BYTES: usize = (TOKEN_BYTES * 8).div_ceil(6);
/// What five bytes hold; it lasts for 34,000 years.
const TIME_S_MAX: u64 = (1 << 40) - 1;

impl Token {
    /// Appends the token's text to `out`: the value of the cookie.
    pub fn encode(&self, keys: &TokenKeys, out: &mut Vec<u8>) {
        let mut bytes = [0; TOKEN_BYTES];
        bytes[0] = VERSION;
        bytes[1..9].copy_from_slice(&self.pool.to_be_bytes());
        bytes[9..17].copy_from_slice(&self.server.to_be_bytes());
        bytes[17..21].copy_from_slice(&self.epoch.to_be_bytes());
        bytes[21..29].copy_from_slice(&self.session.to_be_bytes());
        bytes[29..34].copy_from_slice(&self.started_s.min(TIME_S_MAX).to_be_bytes()[3..]);
        bytes[34..39].copy_from_slice(&self.renewed_s.min(TIME_S_MAX).to_be_bytes()[3..]);
        let (signed, mac) = bytes.split_at_mut(SIGNED_BYTES);
        mac.copy_from_slice(&blake3::keyed_hash(&keys.current, signed).as_bytes()[..MAC_BYTES]);
        put_base64url(out, &bytes);
    }

    /// Reads a token of the pool whose tag is `pool`. Never panics, whatever the text; compares
    /// the MAC in constant time.
    pub fn decode(text: &[u8], keys: &TokenKeys, pool: u64) -> Result<Token, TokenError> {
        let bytes = read_base64url(text).ok_or(TokenError::Malformed)?;
        if bytes[0] != VERSION {
            return Err(TokenError::UnknownVersion);
        }
        let (signed, mac) = bytes.split_at(SIGNED_BYTES);
        let mut all_keys = std::iter::once(&keys.current).chain(&keys.previous);
        if !all_keys.any(|key| is_signed_with(key, signed, mac)) {
            return Err(TokenError::Forged);
        }
        let mut reader = Reader(&signed[1..]);
        let token = Token {
            pool: reader.number::<8>(),
            server: reader.number::<8>(),
            epoch: reader.number::<4>() as u32,
            session: reader.number::<8>(),
            started_s: reader.number::<5>(),
            renewed_s: reader.number::<5>(),
        };
        match token.pool == pool {
            true => Ok(token),
            false => Err(TokenError::OtherPool),
        }
    }
}

/// Compares in constant time, as `blake3::Hash` does.
fn is_signed_with(key: &[u8; 32], signed: &[u8], mac: &[u8]) -> bool {
    let hash = blake3::keyed_hash(key, signed);
    let mut given = *hash.as_bytes();
    given[..MAC_BYTES].copy_from_slice(mac);
    hash == blake3::Hash::from_bytes(given)
}

/// Takes big-endian numbers from the front.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number<const BYTES: usize>(&mut self) -> u64 {
        let (bytes, rest) = self.0.split_at(BYTES);
        self.0 = rest;
        bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn put_base64url(out: &mut Vec<u8>, bytes: &[u8; TOKEN_BYTES]) {
    for group in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..group.len()].copy_from_slice(group);
        let bits = Reader(&three).number::<3>();
        for sextet in 0..=group.len() {
            out.push(BASE64URL[(bits >> (18 - 6 * sextet) & 63) as usize]);
        }
    }
}

/// Only the one spelling that [`put_base64url`] has: no padding, and the spare bits are 0.
fn read_base64url(text: &[u8]) -> Option<[u8; TOKEN_BYTES]> {
    if text.len() != TEXT_BYTES {
        return None;
    }
    let mut bytes = [0; TOKEN_BYTES];
    for (letters, group) in text.chunks(4).zip(bytes.chunks_mut(3)) {
        let mut bits = 0u32;
        for (at, letter) in letters.iter().enumerate() {
            bits |= u32::from(sextet(*letter)?) << (18 - 6 * at);
        }
        let [_, three @ ..] = bits.to_be_bytes();
        if three[group.len()..].iter().any(|spare| *spare != 0) {
            return None;
        }
        group.copy_from_slice(&three[..group.len()]);
    }
    Some(bytes)
}

fn sextet(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
