//! What a browser sends of a form, in a query or a body (application/x-www-form-urlencoded).

/// The value of the first pair with this name, decoded.
pub(crate) fn value(form: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    form.split(|byte| *byte == b'&').find_map(|pair| {
        let equals = memchr::memchr(b'=', pair)?;
        (pair[..equals] == *name).then(|| decode(&pair[equals + 1..]))
    })
}

/// The same as text; `None` if it is none.
pub(crate) fn text(form: &[u8], name: &[u8]) -> Option<String> {
    String::from_utf8(value(form, name)?).ok()
}

/// Undoes the encoding; what is not encoded rightly stays as it is.
fn decode(encoded: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut at = 0;
    while let Some(byte) = encoded.get(at) {
        let pair = digit(encoded.get(at + 1)).zip(digit(encoded.get(at + 2)));
        match (byte, pair) {
            (b'%', Some((high, low))) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
                continue;
            }
            (b'+', _) => decoded.push(b' '),
            (other, _) => decoded.push(*other),
        }
        at += 1;
    }
    decoded
}

/// A place on this very site to go to, as it may stand in `Location`; `/` for any other.
pub(crate) fn local_path(wanted: Option<String>) -> String {
    let is_local = |path: &String| {
        path.starts_with('/')
            && !path.starts_with("//")
            && path
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    wanted.filter(is_local).unwrap_or_else(|| "/".to_owned())
}
