use super::*;

const KEYS: TokenKeys = TokenKeys {
    current: [7; 32],
    previous: Some([6; 32]),
};

fn token() -> Token {
    Token {
        pool: tag("app"),
        server: tag("app/web2"),
        epoch: 3,
        session: 0x0123_4567_89ab_cdef,
        started_s: 1_700_000_000,
        renewed_s: 1_700_000_900,
    }
}

fn text(token: &Token, keys: &TokenKeys) -> Vec<u8> {
    let mut out = Vec::new();
    token.encode(keys, &mut out);
    out
}

#[test]
fn a_token_comes_back_as_it_went() {
    let largest = Token {
        pool: u64::MAX,
        server: u64::MAX,
        epoch: u32::MAX,
        session: u64::MAX,
        started_s: TIME_S_MAX,
        renewed_s: TIME_S_MAX,
    };
    let smallest = Token {
        pool: 0,
        server: 0,
        epoch: 0,
        session: 0,
        started_s: 0,
        renewed_s: 0,
    };
    for token in [token(), largest, smallest] {
        let text = text(&token, &KEYS);
        assert_eq!(text.len(), TEXT_BYTES);
        assert_eq!(Token::decode(&text, &KEYS, token.pool), Ok(token));
    }
}

/// Tokens are in browsers for hours: a program that reads them otherwise than the one that wrote
/// them ends every session at an upgrade.
#[test]
fn the_text_of_a_token_does_not_change_between_releases() {
    let text = text(&token(), &KEYS);
    assert_eq!(
        String::from_utf8_lossy(&text),
        "AYQHKtlrwD0aSwPY2_g2xqwAAAADASNFZ4mrze8AZVPxAABlU_SEkOpIko-8IxhtFn8OaZEHvw"
    );
}

#[test]
fn times_beyond_five_bytes_are_cut_to_the_largest() {
    let token = Token {
        started_s: u64::MAX,
        ..token()
    };
    let read = Token::decode(&text(&token, &KEYS), &KEYS, token.pool).unwrap();
    assert_eq!(read.started_s, TIME_S_MAX);
}

#[test]
fn every_changed_character_is_noticed() {
    let good = text(&token(), &KEYS);
    for at in 0..good.len() {
        for other in BASE64URL {
            let mut changed = good.clone();
            changed[at] = *other;
            let read = Token::decode(&changed, &KEYS, token().pool);
            assert_eq!(read.is_ok(), changed == good, "at {at}: {other}");
        }
    }
}

#[test]
fn what_is_not_a_token_is_malformed() {
    let good = text(&token(), &KEYS);
    let mut padded = good.clone();
    padded.extend_from_slice(b"==");
    let mut standard = good.clone();
    standard[5] = b'+';
    let mut not_ascii = good.clone();
    not_ascii[5] = 0xff;
    let long = [b'A'; 10_000];
    let cases: [&[u8]; 7] = [b"", b"A", &good[1..], &padded, &standard, &not_ascii, &long];
    for case in cases {
        let read = Token::decode(case, &KEYS, token().pool);
        assert_eq!(read, Err(TokenError::Malformed));
    }
}

#[test]
fn the_spare_bits_have_one_spelling() {
    let mut other = text(&token(), &KEYS);
    let last = sextet(other[TEXT_BYTES - 1]).unwrap();
    other[TEXT_BYTES - 1] = BASE64URL[usize::from(last | 1)];
    let read = Token::decode(&other, &KEYS, token().pool);
    assert_eq!(read, Err(TokenError::Malformed));
}

#[test]
fn a_token_signed_with_another_key_is_forged() {
    let theirs = TokenKeys {
        current: [8; 32],
        previous: None,
    };
    let read = Token::decode(&text(&token(), &theirs), &KEYS, token().pool);
    assert_eq!(read, Err(TokenError::Forged));
}

#[test]
fn the_previous_key_is_accepted_until_it_is_gone() {
    let before = TokenKeys {
        current: [6; 32],
        previous: None,
    };
    let old = text(&token(), &before);
    assert_eq!(Token::decode(&old, &KEYS, token().pool), Ok(token()));
    let after = TokenKeys {
        previous: None,
        ..KEYS
    };
    let read = Token::decode(&old, &after, token().pool);
    assert_eq!(read, Err(TokenError::Forged));
}

#[test]
fn a_token_of_another_pool_is_told_from_a_forged_one() {
    let read = Token::decode(&text(&token(), &KEYS), &KEYS, tag("other"));
    assert_eq!(read, Err(TokenError::OtherPool));
}

#[test]
fn a_token_that_claims_another_pool_without_a_signature_is_forged() {
    let mut bytes = read_base64url(&text(&token(), &KEYS)).unwrap();
    bytes[1..9].copy_from_slice(&tag("other").to_be_bytes());
    let mut forged = Vec::new();
    put_base64url(&mut forged, &bytes);
    let read = Token::decode(&forged, &KEYS, tag("other"));
    assert_eq!(read, Err(TokenError::Forged));
}

#[test]
fn another_version_is_unknown() {
    let mut bytes = read_base64url(&text(&token(), &KEYS)).unwrap();
    bytes[0] = VERSION + 1;
    let mut newer = Vec::new();
    put_base64url(&mut newer, &bytes);
    let read = Token::decode(&newer, &KEYS, token().pool);
    assert_eq!(read, Err(TokenError::UnknownVersion));
}

#[test]
fn tags_are_the_same_for_ever() {
    assert_eq!(tag(""), 0xaf13_49b9_f5f9_a1a6);
    assert_ne!(tag("app"), tag("app/web1"));
    assert_ne!(tag("app/web1"), tag("app/web2"));
}
