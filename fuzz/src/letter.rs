//! The third reading: by the letter of RFC 9112, on bytes that are all there, as simply as can be.
//!
//! hyper forgives what others do not: bare line feeds, for one. A balancer or a server that reads
//! such a message in another way than hyper is out there, so what is accepted must be beyond doubt.

const CRLF: &[u8] = b"\r\n";

/// Panics if there is anything in this head, which was accepted, that could be read in two ways.
/// Of an answer, `Host` fields mean nothing (RFC 9110, 7.2).
pub fn check_head(head: &[u8], is_request: bool) {
    let mut head = head;
    while let Some(rest) = head.strip_prefix(CRLF) {
        head = rest;
    }
    let lines = head.strip_suffix(b"\r\n\r\n");
    let lines = lines.expect("a head ends in an empty line");
    let mut lines = lines_of(lines).into_iter();
    let first = lines.next().unwrap_or_default();
    assert!(!first.starts_with(b" "), "a first line begins with a space");
    let (mut lengths, mut codings, mut hosts) = (0, 0, 0);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.expect("a field has a colon"));
        let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        let sound = !name.is_empty() && name.iter().all(token);
        assert!(
            sound,
            "a field's name, or a folded line: {}",
            name.escape_ascii()
        );
        let value = value[1..].trim_ascii();
        match name.to_ascii_lowercase().as_slice() {
            b"content-length" => {
                assert!(
                    value.iter().all(u8::is_ascii_digit),
                    "a length that is no number"
                );
                lengths += 1;
            }
            b"transfer-encoding" => {
                assert!(value.eq_ignore_ascii_case(b"chunked"), "another coding");
                codings += 1;
            }
            b"host" => hosts += 1,
            _ => {}
        }
    }
    assert!(
        lengths + codings <= 1,
        "two statements of where the body ends"
    );
    assert!(hosts <= 1 || !is_request, "two hosts");
}

/// The lines of a head. No line holds what another reader could take for a line's end.
fn lines_of(mut head: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    loop {
        let (line, rest) = split_line(head).unwrap_or((head, b""));
        let doubtful = |byte: &u8| matches!(byte, 0..=8 | 10..=31 | 127);
        assert!(
            !line.iter().any(doubtful),
            "a control character in {}",
            line.escape_ascii()
        );
        lines.push(line);
        if rest.is_empty() {
            return lines;
        }
        head = rest;
    }
}

/// Up to the first CRLF, and after it.
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.windows(2).position(|window| window == CRLF)?;
    Some((&bytes[..at], &bytes[at + 2..]))
}

/// Why a chunked body is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wrong;

/// The content of a chunked body, as far as it has come, and the bytes that it takes if its end has
/// come too.
pub fn read_chunked(bytes: &[u8]) -> Result<(Vec<u8>, Option<usize>), Wrong> {
    let mut content = Vec::new();
    let mut rest = bytes;
    loop {
        let Some((line, after)) = split_line(rest) else {
            return Ok((content, None));
        };
        let size = read_size(line).ok_or(Wrong)?;
        if size == 0 {
            rest = after;
            break;
        }
        let data = usize::try_from(size).map_or(after.len(), |size| size.min(after.len()));
        content.extend_from_slice(&after[..data]);
        rest = match after[data..].strip_prefix(CRLF) {
            Some(rest) => rest,
            None if CRLF.starts_with(&after[data..]) => return Ok((content, None)),
            None => return Err(Wrong),
        };
    }
    // A trailer is judged as a whole, when all of it is there.
    let mut sound = true;
    while let Some((line, after)) = split_line(rest) {
        rest = after;
        if line.is_empty() {
            let taken = bytes.len() - rest.len();
            return sound.then_some((content, Some(taken))).ok_or(Wrong);
        }
        sound &= !line.starts_with(b" ") && !line.starts_with(b"\t") && line.contains(&b':');
    }
    Ok((content, None))
}

/// The size in the line before a chunk.
fn read_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?;
    let doubtful = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0);
    if !digits.iter().all(u8::is_ascii_hexdigit) || line.iter().any(doubtful) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
