//! Good tokens, and a table of bad ones.

use super::*;
use ring::rand::SystemRandom;
use ring::rsa::KeyPair as RsaKeyPair;
use ring::signature::{EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::json;

const NOW: f64 = 1_700_000_000.0;

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A provider's private key.
pub(in crate::signin) enum Private {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Private {
    pub fn p256() -> Self {
        let rule = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(rule, &random).unwrap();
        Self::P256(EcdsaKeyPair::from_pkcs8(rule, made.as_ref(), &random).unwrap())
    }

    fn ed25519() -> Self {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed25519(Ed25519KeyPair::from_pkcs8(made.as_ref()).unwrap())
    }

    /// ring makes no such keys.
    fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::from_pkcs8(include_bytes!("test_key.der")).unwrap())
    }

    /// As a provider publishes it.
    pub fn jwk(&self, id: &str) -> Value {
        match self {
            Self::Rsa(key) => {
                let RsaPublicKeyComponents::<Vec<u8>> { n, e } = key.public().into();
                json!({ "kty": "RSA", "kid": id, "use": "sig", "n": encode(n), "e": encode(e) })
            }
            Self::P256(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "kid": id, "x": encode(x), "y": encode(y) })
            }
            Self::Ed25519(key) => {
                let x = encode(key.public_key());
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": x, "alg": "EdDSA" })
            }
        }
    }

    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = format!(
            "{}.{}",
            encode(header.to_string()),
            encode(claims.to_string())
        );
        let (random, bytes) = (SystemRandom::new(), message.as_bytes());
        let signature = match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                let rule: &dyn signature::RsaEncoding = match header["alg"] == "PS256" {
                    true => &signature::RSA_PSS_SHA256,
                    false => &signature::RSA_PKCS1_SHA256,
                };
                key.sign(rule, &random, bytes, &mut signature).unwrap();
                signature
            }
            Self::P256(key) => key.sign(&random, bytes).unwrap().as_ref().to_vec(),
            Self::Ed25519(key) => key.sign(bytes).as_ref().to_vec(),
        };
        format!("{message}.{}", encode(signature))
    }
}

fn keys(all: &[Value]) -> Keys {
    Keys::read(json!({ "keys": all }).to_string().as_bytes()).unwrap()
}

fn expected() -> Expected<'static> {
    Expected {
        issuer: "https://id.example",
        client_id: "ebbtide",
        nonce: "n1",
        now: NOW,
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://id.example", "sub": "7", "aud": "ebbtide", "nonce": "n1",
        "exp": NOW + 300.0, "iat": NOW, "groups": ["ops"],
    })
}

/// The claims with others in their place; `null`: without.
fn with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

#[test]
fn each_kind_of_key_is_good_for_its_own_signatures_only() {
    let all = [
        (Private::rsa(), vec!["RS256", "PS256"]),
        (Private::p256(), vec!["ES256"]),
        (Private::ed25519(), vec!["EdDSA", "Ed25519"]),
    ];
    let published: Vec<Value> = all
        .iter()
        .zip(["r", "p", "e"])
        .map(|((key, _), id)| key.jwk(id))
        .collect();
    let keys = keys(&published);
    for ((key, names), id) in all.iter().zip(["r", "p", "e"]) {
        for name in ["RS256", "PS256", "ES256", "EdDSA", "Ed25519"] {
            let token = key.sign(&json!({ "alg": name, "kid": id, "typ": "JWT" }), &claims());
            let verified = verify(&token, &keys, &expected());
            match names.contains(&name) {
                true => assert_eq!(verified.unwrap().subject, "7"),
                false => assert_eq!(verified.unwrap_err(), Bad::UnknownKey, "{id} {name}"),
            }
        }
    }
}

#[test]
fn what_good_tokens_may_say() {
    let key = Private::p256();
    let keys = keys(&[key.jwk("k")]);
    for changes in [
        json!({}),
        json!({ "aud": ["ebbtide"] }),
        json!({ "aud": ["ebbtide", "other"], "azp": "ebbtide" }),
        json!({ "azp": "ebbtide", "nbf": NOW }),
        // The clocks differ a little.
        json!({ "exp": NOW - 59.0, "iat": NOW - 600.0 }),
        json!({ "iat": NOW + 59.0 }),
        json!({ "iat": NOW + 0.5 }),
    ] {
        for header in [
            json!({ "alg": "ES256" }),
            json!({ "alg": "ES256", "typ": "jwt", "kid": "k" }),
        ] {
            let token = key.sign(&header, &with(changes.clone()));
            let verified = verify(&token, &keys, &expected());
            assert!(verified.is_ok(), "{changes}: {verified:?}");
        }
    }
    let token = key.sign(
        &json!({ "alg": "ES256" }),
        &with(json!({ "auth_time": 12 })),
    );
    let claims = verify(&token, &keys, &expected()).unwrap();
    assert_eq!(
        (claims.auth_time, &claims.all["groups"]),
        (Some(12.0), &json!(["ops"]))
    );
}

#[test]
fn what_bad_tokens_say() {
    let key = Private::p256();
    let keys = keys(&[key.jwk("k")]);
    let long = "x".repeat(256);
    for (changes, why) in [
        (json!({ "iss": "https://id.example/" }), "(iss)"),
        (json!({ "iss": "https://evil.example" }), "(iss)"),
        (json!({ "iss": null }), "lacks"),
        (json!({ "aud": "other" }), "(aud)"),
        (json!({ "aud": [] }), "(aud)"),
        (json!({ "aud": ["other", "Ebbtide"] }), "(aud)"),
        (json!({ "aud": null }), "lacks"),
        (json!({ "aud": ["ebbtide", 7] }), "lacks"),
        (json!({ "aud": ["ebbtide", "other"] }), "(azp)"),
        (json!({ "azp": "other" }), "(azp)"),
        (
            json!({ "aud": ["ebbtide", "other"], "azp": "other" }),
            "(azp)",
        ),
        (json!({ "nonce": "n2" }), "(nonce)"),
        (json!({ "nonce": "" }), "(nonce)"),
        (json!({ "nonce": null }), "lacks"),
        (json!({ "exp": NOW - 60.0 }), "(exp)"),
        (json!({ "exp": 0 }), "(exp)"),
        (json!({ "exp": "1900000000" }), "lacks"),
        (json!({ "exp": null }), "lacks"),
        (json!({ "iat": NOW + 61.0 }), "(iat)"),
        (json!({ "iat": NOW - 661.0 }), "(iat)"),
        (json!({ "iat": null }), "lacks"),
        (json!({ "nbf": NOW + 61.0 }), "(iat)"),
        (json!({ "sub": "" }), "(sub)"),
        (json!({ "sub": long }), "(sub)"),
        (json!({ "sub": "ä" }), "(sub)"),
        (json!({ "sub": 7 }), "lacks"),
        (json!({ "sub": null }), "lacks"),
        (json!({ "auth_time": "now" }), "lacks"),
    ] {
        let token = key.sign(
            &json!({ "alg": "ES256", "kid": "k" }),
            &with(changes.clone()),
        );
        match verify(&token, &keys, &expected()) {
            Err(Bad::Token(said)) => assert!(said.contains(why), "{changes}: {said}"),
            other => panic!("{changes}: {other:?}"),
        }
    }
}

fn hmac(message: &str, secret: &[u8]) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    format!(
        "{message}.{}",
        encode(ring::hmac::sign(&key, message.as_bytes()))
    )
}

#[test]
fn what_is_signed_by_nobody_or_by_somebody_else() {
    let (key, foreign, rsa) = (Private::p256(), Private::p256(), Private::rsa());
    let published = [key.jwk("k"), rsa.jwk("r")];
    let keys = keys(&published);
    let signed = |header: Value| key.sign(&header, &claims());
    let unsigned = |header: Value| {
        format!(
            "{}.{}",
            encode(header.to_string()),
            encode(claims().to_string())
        )
    };
    let algorithm = Bad::Token("is not signed by RS256, PS256, ES256 or EdDSA");
    let wrong = Bad::Signature;
    let unread = Bad::Token("cannot be read");
    let shape = Bad::Token("is not a signed one (RFC 7515)");
    let good = signed(json!({ "alg": "ES256", "kid": "k" }));
    let parts: Vec<&str> = good.split('.').collect();
    let payload = encode(with(json!({ "sub": "8" })).to_string());
    let n = URL_SAFE_NO_PAD
        .decode(published[1]["n"].as_str().unwrap())
        .unwrap();
    let hs256 = |kid| unsigned(json!({ "alg": "HS256", "kid": kid }));
    for (token, bad) in [
        (format!("{}.", unsigned(json!({ "alg": "none" }))), algorithm),
        (format!("{}.{}", unsigned(json!({ "alg": "None", "kid": "k" })), parts[2]), algorithm),
        (hmac(&hs256("r"), &n), algorithm),
        (hmac(&hs256("r"), published[1].to_string().as_bytes()), algorithm),
        (hmac(&hs256("k"), b"the client's own secret"), algorithm),
        (signed(json!({ "alg": "ES384", "kid": "k" })), algorithm),
        (signed(json!({ "alg": "es256", "kid": "k" })), algorithm),
        (signed(json!({ "kid": "k" })), unread),
        (signed(json!({ "alg": "ES256", "kid": "other" })), Bad::UnknownKey),
        // A key of its own, or where to get it, is nothing to go by.
        (foreign.sign(&json!({ "alg": "ES256", "jwk": foreign.jwk("k"), "jku": "https://evil.example", "kid": "k" }), &claims()), wrong),
        (foreign.sign(&json!({ "alg": "ES256" }), &claims()), wrong),
        (signed(json!({ "alg": "RS256", "kid": "r" })), wrong),
        (signed(json!({ "alg": "RS256", "kid": "k" })), Bad::UnknownKey),
        (format!("{}.{payload}.{}", parts[0], parts[2]), wrong),
        (format!("{}.{}.", parts[0], parts[1]), wrong),
        (format!("{}.{}.{}", parts[0], parts[1], encode([0; 64])), wrong),
        (signed(json!({ "alg": "ES256", "kid": "k", "crit": ["exp"], "exp": 1 })), Bad::Token("makes demands that are not understood (crit)")),
        (signed(json!({ "alg": "ES256", "kid": "k", "typ": "at+jwt" })), Bad::Token("is a token of another kind (typ)")),
        (signed(json!({ "alg": "ES256", "kid": 7 })), unread),
        (format!("{good}.{}", parts[1]), shape),
        (format!("{good}.a.b"), shape),
        (String::new(), shape),
        ("a.b".to_owned(), shape),
        ("..".to_owned(), unread),
        ("%%%.e30.e30".to_owned(), unread),
        (format!("{}=.{}.{}", parts[0], parts[1], parts[2]), unread),
        (format!("{}.{}.{}", encode("{\"alg\":\"ES256\",\"alg\":\"none\"}"), parts[1], parts[2]), unread),
        (format!("{}.{}.{}", encode("[]"), parts[1], parts[2]), unread),
        (format!("{}.{}.{}", encode([0xff, 0xfe]), parts[1], parts[2]), unread),
        ("x".repeat(TOKEN_BYTES_MAX + 1), Bad::Token("is longer than 64 KiB")),
        (key.sign(&json!({ "alg": "ES256" }), &json!([1])), Bad::Token("lacks one of iss, sub, aud, exp, iat and nonce, or has a wrong one")),
    ] {
        let verified = verify(&token, &keys, &expected());
        assert_eq!(verified.unwrap_err(), bad, "{token:.200}");
    }
    assert!(verify(&good, &keys, &expected()).is_ok());
}

#[test]
fn of_several_keys_one_is_named_and_of_a_set_what_is_understood_counts() {
    let (one, two) = (Private::p256(), Private::p256());
    let both = keys(&[one.jwk("1"), two.jwk("2")]);
    let token = two.sign(&json!({ "alg": "ES256" }), &claims());
    assert_eq!(
        verify(&token, &both, &expected()).unwrap_err(),
        Bad::UnknownKey
    );
    let token = two.sign(&json!({ "alg": "ES256", "kid": "2" }), &claims());
    assert!(verify(&token, &both, &expected()).is_ok());
    let mut sealing = two.jwk("2");
    sealing["use"] = json!("enc");
    let mut other = two.jwk("2");
    other["alg"] = json!("ES512");
    let odd = [
        one.jwk("1"),
        sealing,
        other,
        json!(7),
        json!({ "kty": "oct", "k": "AAAA" }),
        json!({ "kty": "RSA", "kid": "2" }),
    ];
    assert_eq!(
        verify(&token, &keys(&odd), &expected()).unwrap_err(),
        Bad::UnknownKey
    );
    for none in [
        "",
        "{}",
        "[]",
        "{\"keys\":[]}",
        "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}",
        "{\"keys\":7}",
    ] {
        assert!(Keys::read(none.as_bytes()).is_err(), "{none}");
    }
}
