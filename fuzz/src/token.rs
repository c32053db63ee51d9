//! Tokens: only what was signed is a token, and only as it was written.

use ebbtide_protocol::token::{Token, TokenError, TokenKeys};

const KEYS: TokenKeys = TokenKeys {
    current: [1; 32],
    previous: Some([2; 32]),
};
const POOL: u64 = 0x0102_0304_0506_0708;
/// Bytes of an input that make a token.
const NUMBERS_BYTES: usize = 34;

/// The text of a token, and then, from the same bytes, a token.
pub fn token(input: &[u8]) {
    if let Ok(token) = Token::decode(input, &KEYS, POOL) {
        // Nobody finds a MAC by trying, so these bytes were signed, with one of the keys.
        let keys = [KEYS.current, KEYS.previous.unwrap_or_default()];
        let signed = keys.iter().any(|key| encoded(&token, *key) == input);
        assert!(signed, "accepted, and never written");
        assert_eq!(token.pool, POOL, "of another pool");
    }
    let Some((numbers, rest)) = input.split_first_chunk::<NUMBERS_BYTES>() else {
        return;
    };
    let number = |at: usize| {
        let bytes = numbers[at..at + 8].iter();
        bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    let token = Token {
        pool: POOL,
        server: number(0),
        epoch: number(8) as u32,
        session: number(12),
        started_s: number(20) >> 24,
        renewed_s: number(26) >> 24,
    };
    for key in [KEYS.current, KEYS.previous.unwrap_or_default()] {
        let text = encoded(&token, key);
        assert_eq!(Token::decode(&text, &KEYS, POOL), Ok(token));
        let other = Token::decode(&text, &KEYS, POOL ^ 1);
        assert_eq!(other, Err(TokenError::OtherPool));
        damaged(&text, rest);
    }
    let forged = encoded(&token, [3; 32]);
    assert_eq!(Token::decode(&forged, &KEYS, POOL), Err(TokenError::Forged));
}

/// A bit flipped, the end cut off, something appended: none of it is a token.
fn damaged(text: &[u8], damage: &[u8]) {
    let at = damage.first().map_or(0, |byte| usize::from(*byte)) % text.len();
    for bit in 0..8 {
        let mut flipped = text.to_vec();
        flipped[at] ^= 1 << bit;
        assert!(
            Token::decode(&flipped, &KEYS, POOL).is_err(),
            "a bit flipped"
        );
    }
    assert!(Token::decode(&text[..at], &KEYS, POOL).is_err(), "cut off");
    if !damage.is_empty() {
        let longer = [text, damage].concat();
        assert!(Token::decode(&longer, &KEYS, POOL).is_err(), "longer");
    }
}

fn encoded(token: &Token, current: [u8; 32]) -> Vec<u8> {
    let keys = TokenKeys {
        current,
        previous: None,
    };
    let mut text = Vec::new();
    token.encode(&keys, &mut text);
    text
}
