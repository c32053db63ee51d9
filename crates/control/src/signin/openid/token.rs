//! ID tokens: what makes one good (OpenID Connect Core 1.0, 3.1.3.7, with RFC 8725). The provider's keys
//! come from its own address and say by their kind which signatures they are for; what a token says of
//! that is only compared with it.

#[cfg(test)]
pub(in crate::signin) mod tests;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Bytes of a token, at most. Some list hundreds of groups.
const TOKEN_BYTES_MAX: usize = 64 * 1024;
/// Keys of a provider that are looked at.
const KEYS_MAX: usize = 64;
/// How far the provider's clock and this machine's may be apart, in seconds.
pub(super) const SKEW: f64 = 60.0;
/// How old a token may be that has just been asked for, in seconds.
const AGE_MAX: f64 = 600.0;
/// Characters of a subject (Core, 2).
const SUBJECT_MAX: usize = 255;

/// Signatures that are understood. `none` and those that are made with a shared secret are not among
/// them, so no public key can be taken for a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Rs256,
    Ps256,
    Es256,
    EdDsa,
}

impl Algorithm {
    fn read(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "PS256" => Some(Self::Ps256),
            "ES256" => Some(Self::Es256),
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// A public key.
#[derive(Debug)]
enum Public {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// A point, uncompressed.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl Public {
    fn is_for(&self, algorithm: Algorithm) -> bool {
        match self {
            Self::Rsa { .. } => matches!(algorithm, Algorithm::Rs256 | Algorithm::Ps256),
            Self::P256(_) => algorithm == Algorithm::Es256,
            Self::Ed25519(_) => algorithm == Algorithm::EdDsa,
        }
    }

    fn has_signed(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let verified = match self {
            Self::Rsa { n, e } => {
                let rule = match algorithm {
                    Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
                    _ => &signature::RSA_PKCS1_2048_8192_SHA256,
                };
                RsaPublicKeyComponents { n, e }.verify(rule, message, signature)
            }
            Self::P256(point) => {
                let key = UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point);
                key.verify(message, signature)
            }
            Self::Ed25519(point) => {
                let key = UnparsedPublicKey::new(&signature::ED25519, point);
                key.verify(message, signature)
            }
        };
        self.is_for(algorithm) && verified.is_ok()
    }
}

/// A key as a provider publishes it (RFC 7517, RFC 7518, RFC 8037).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    /// The only algorithm that it is for, if the provider says so.
    algorithm: Option<String>,
    public: Public,
}

impl Key {
    /// `None`: not a key for signatures that are understood.
    fn read(value: &Value) -> Option<Self> {
        let jwk = Jwk::deserialize(value).ok()?;
        if jwk.usage.is_some_and(|usage| usage != "sig") {
            return None;
        }
        let part = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_ref()?).ok();
        let number = |text| {
            let bytes = part(text)?;
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            Some(bytes[zeros..].to_vec())
        };
        let public = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => Public::Rsa {
                n: number(&jwk.n)?,
                e: number(&jwk.e)?,
            },
            ("EC", Some("P-256")) => {
                let point = [vec![4], part(&jwk.x)?, part(&jwk.y)?];
                Public::P256(point.concat())
            }
            ("OKP", Some("Ed25519")) => Public::Ed25519(part(&jwk.x)?),
            _ => return None,
        };
        Some(Self {
            id: jwk.kid,
            algorithm: jwk.alg,
            public,
        })
    }

    fn is_for(&self, algorithm: Algorithm) -> bool {
        let only = self.algorithm.as_deref().map(Algorithm::read);
        only.is_none_or(|only| only == Some(algorithm)) && self.public.is_for(algorithm)
    }
}

/// A provider's keys.
#[derive(Debug)]
pub(super) struct Keys(Vec<Key>);

impl Keys {
    /// Reads a set of keys; those of other kinds are passed over.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let keys: Vec<Key> = set
            .keys
            .iter()
            .take(KEYS_MAX)
            .filter_map(Key::read)
            .collect();
        match keys.is_empty() {
            true => Err("it has no key for RS256, PS256, ES256 or EdDSA".to_owned()),
            false => Ok(Self(keys)),
        }
    }

    /// The keys that a token may have been signed with.
    fn candidates(&self, algorithm: Algorithm, id: Option<&str>) -> Vec<&Key> {
        let keys = self.0.iter().filter(|key| key.is_for(algorithm));
        match id {
            Some(id) => keys.filter(|key| key.id.as_deref() == Some(id)).collect(),
            // Without a name there must be no choice (Core, 10.1).
            None => Some(keys.collect())
                .filter(|keys: &Vec<&Key>| keys.len() == 1)
                .unwrap_or_default(),
        }
    }
}

/// What is wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// Its key is not among these; there may be newer ones.
    UnknownKey,
    /// Nobody whose key is among these has signed it; there may be newer ones under the same names.
    Signature,
    /// Anything else; goes on after "the ID token".
    Token(&'static str),
}

/// What a token must say.
pub(super) struct Expected<'a> {
    pub issuer: &'a str,
    pub client_id: &'a str,
    pub nonce: &'a str,
    /// In seconds since 1970.
    pub now: f64,
}

/// What a token says.
#[derive(Debug)]
pub(super) struct Claims {
    pub subject: String,
    /// When the user showed the provider who he is, in seconds since 1970.
    pub auth_time: Option<f64>,
    /// All of it.
    pub all: Map<String, Value>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct Registered {
    iss: String,
    sub: String,
    aud: Audience,
    azp: Option<String>,
    exp: f64,
    iat: f64,
    nbf: Option<f64>,
    auth_time: Option<f64>,
    nonce: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// Checks a token and reads it.
pub(super) fn verify(token: &str, keys: &Keys, expected: &Expected<'_>) -> Result<Claims, Bad> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Bad::Token("is longer than 64 KiB"));
    }
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else {
        return Err(Bad::Token("is not a signed one (RFC 7515)"));
    };
    let decode = |part| URL_SAFE_NO_PAD.decode(part);
    let unread = Bad::Token("cannot be read");
    let bytes = decode(header).map_err(|_| unread)?;
    let named: Header = serde_json::from_slice(&bytes).map_err(|_| unread)?;
    let algorithm = algorithm(&named).map_err(Bad::Token)?;
    let signature = decode(signature).map_err(|_| unread)?;
    let candidates = keys.candidates(algorithm, named.kid.as_deref());
    if candidates.is_empty() {
        return Err(Bad::UnknownKey);
    }
    let signed = &token.as_bytes()[..header.len() + 1 + payload.len()];
    let has_signed = |key: &&Key| key.public.has_signed(algorithm, signed, &signature);
    if !candidates.iter().any(has_signed) {
        return Err(Bad::Signature);
    }
    let bytes = decode(payload).map_err(|_| unread)?;
    let claims: Registered = serde_json::from_slice(&bytes).map_err(|_| {
        Bad::Token("lacks one of iss, sub, aud, exp, iat and nonce, or has a wrong one")
    })?;
    let all = serde_json::from_slice(&bytes).map_err(|_| unread)?;
    check(&claims, expected).map_err(Bad::Token)?;
    Ok(Claims {
        subject: claims.sub,
        auth_time: claims.auth_time,
        all,
    })
}

/// Whether it may be shown as it is.
fn is_printable(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_graphic() || byte == b' ')
}

fn algorithm(header: &Header) -> Result<Algorithm, &'static str> {
    let Some(algorithm) = Algorithm::read(&header.alg) else {
        return Err("is not signed by RS256, PS256, ES256 or EdDSA");
    };
    // RFC 7515, 4.1.11: nothing is understood that may be in it.
    if header.crit.is_some() {
        return Err("makes demands that are not understood (crit)");
    }
    let is_jwt = |typ: &String| typ.eq_ignore_ascii_case("JWT");
    if !header.typ.as_ref().is_none_or(is_jwt) {
        return Err("is a token of another kind (typ)");
    }
    Ok(algorithm)
}

fn check(claims: &Registered, expected: &Expected<'_>) -> Result<(), &'static str> {
    if claims.iss != expected.issuer {
        return Err("is another issuer's (iss)");
    }
    let own = expected.client_id;
    let (is_own, is_shared) = match &claims.aud {
        Audience::One(one) => (one == own, false),
        Audience::Many(many) => (many.iter().any(|one| one == own), many.len() > 1),
    };
    if !is_own {
        return Err("is not for this client (aud)");
    }
    let is_party = claims.azp.as_deref().map(|party| party == own);
    if !is_party.unwrap_or(!is_shared) {
        return Err("was made for another client (azp)");
    }
    if claims.nonce != expected.nonce {
        return Err("answers another question (nonce)");
    }
    let now = expected.now;
    if claims.exp + SKEW <= now {
        return Err("is over (exp); look at the clocks of both machines");
    }
    let starts = claims.nbf.unwrap_or(claims.iat).max(claims.iat);
    if starts > now + SKEW {
        return Err("is of a time to come (iat); look at the clocks of both machines");
    }
    if claims.iat + AGE_MAX + SKEW < now {
        return Err("is too old (iat); look at the clocks of both machines");
    }
    if claims.sub.is_empty() || claims.sub.len() > SUBJECT_MAX || !is_printable(&claims.sub) {
        return Err("names nobody (sub)");
    }
    Ok(())
}
