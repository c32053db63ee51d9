//! Who a session's user is, where the pool says how to know.

use ebbtide_core::{PoolConfig, Session, UserSource, is_unseemly};
use ebbtide_protocol::http1::{RequestHead, cookie, is_of_console};

/// Keeps what a request tells of its session's user: the name, and the cookies that a logout call
/// will need.
pub(crate) fn note(session: &Session, buf: &[u8], head: &RequestHead, pool: &PoolConfig) {
    if let Some(source) = &pool.user
        && let Some(name) = name(source, buf, head)
    {
        session.name_user(&name);
    }
    if pool.logout_call.is_some() {
        let token = pool.sticky.cookie.as_bytes();
        session.keep_cookies(&cookies(buf, head, token));
    }
}

/// The user that a request names, as text that can be shown.
fn name(source: &UserSource, buf: &[u8], head: &RequestHead) -> Option<String> {
    let said = match source {
        UserSource::Header(name) => only_field(buf, head, name.as_bytes())?.to_vec(),
        UserSource::Cookie(name) => {
            let value = cookie(buf, head, name.as_bytes()).next()?;
            // RFC 6265, 4.1.1: quotes around the whole value belong to the syntax.
            let quoted = value.strip_prefix(b"\"");
            let inner = quoted.and_then(|value| value.strip_suffix(b"\""));
            inner.unwrap_or(value).to_vec()
        }
        UserSource::Basic => {
            let said = only_field(buf, head, b"authorization")?;
            let (scheme, coded) = said.split_at_checked(6)?;
            if !scheme.eq_ignore_ascii_case(b"basic ") {
                return None;
            }
            let mut credentials = base64(coded.trim_ascii())?;
            // RFC 7617, 2: the user's name ends at the first colon.
            let end = memchr::memchr(b':', &credentials)?;
            credentials.truncate(end);
            credentials
        }
    };
    let text = String::from_utf8_lossy(&said);
    let shown: String = text.chars().filter(|c| !is_unseemly(*c)).collect();
    (!shown.is_empty()).then_some(shown)
}

/// The value of the one field of this name. Of several nobody knows which is the proxy's and which
/// the client's own, so none of them names the user.
fn only_field<'a>(buf: &'a [u8], head: &RequestHead, name: &[u8]) -> Option<&'a [u8]> {
    let fields = head.fields.iter();
    let mut found = fields.filter(|field| field.name.of(buf).eq_ignore_ascii_case(name));
    let first = found.next()?;
    found.next().is_none().then(|| first.value.of(buf))
}

/// Every cookie but Ebbtide's own, as one `Cookie` value.
fn cookies(buf: &[u8], head: &RequestHead, token: &[u8]) -> Vec<u8> {
    let fields = head
        .fields
        .iter()
        .filter(|field| field.name.of(buf).eq_ignore_ascii_case(b"cookie"));
    let mut kept = Vec::new();
    for pair in fields.flat_map(|field| field.value.of(buf).split(|byte| *byte == b';')) {
        let pair = pair.trim_ascii();
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        let name = name.trim_ascii();
        if pair.is_empty() || name == token || is_of_console(name) {
            continue;
        }
        if !kept.is_empty() {
            kept.extend_from_slice(b"; ");
        }
        kept.extend_from_slice(pair);
    }
    kept
}

/// RFC 4648, 4; `None` if it is not that.
fn base64(coded: &[u8]) -> Option<Vec<u8>> {
    let digits = coded.strip_suffix(b"==").or(coded.strip_suffix(b"="));
    let digits = digits.unwrap_or(coded);
    if digits.len() % 4 == 1 {
        return None;
    }
    let (mut bits, mut count) = (0_u32, 0);
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count).to_le_bytes()[0]);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebbtide_protocol::http1::{Limits, Parsed, parse_request};

    fn parsed(text: &str) -> (Vec<u8>, RequestHead) {
        let buf = format!("GET / HTTP/1.1\r\nHost: h\r\n{text}\r\n").into_bytes();
        let mut head = RequestHead::default();
        let done = parse_request(&buf, &Limits::default(), &mut head);
        assert_eq!(done, Ok(Parsed::Complete));
        (buf, head)
    }

    fn named(source: UserSource, text: &str) -> Option<String> {
        let (buf, head) = parsed(text);
        name(&source, &buf, &head)
    }

    #[test]
    fn a_user_is_named_by_field_cookie_or_basic_authentication() {
        let header = || UserSource::Header("X-Remote-User".into());
        assert_eq!(named(header(), "x-remote-user: bob\r\n").unwrap(), "bob");
        assert_eq!(named(header(), ""), None);
        let cookie = || UserSource::Cookie("user".into());
        assert_eq!(named(cookie(), "Cookie: a=b; user=eve\r\n").unwrap(), "eve");
        let basic = |coded: &str| {
            let text = format!("Authorization: Basic {coded}\r\n");
            named(UserSource::Basic, &text)
        };
        assert_eq!(basic("QWxhZGRpbjpvcGVuIHNlc2FtZQ==").unwrap(), "Aladdin");
        for bad in ["", "QWxhZGRpbg==", "???", "Q"] {
            assert_eq!(basic(bad), None, "{bad}");
        }
        let bearer = "Authorization: Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n";
        assert_eq!(named(UserSource::Basic, bearer), None);
    }

    #[test]
    fn quotes_around_a_cookies_value_are_not_of_the_name() {
        let cookie = |text: &str| {
            let text = format!("Cookie: a=b; user={text}\r\n");
            named(UserSource::Cookie("user".into()), &text)
        };
        assert_eq!(cookie("\"eve\"").unwrap(), "eve");
        assert_eq!(cookie("\"eve").unwrap(), "\"eve");
        assert_eq!(cookie("\"").unwrap(), "\"");
        assert_eq!(cookie("\"\""), None);
        assert_eq!(cookie("e\"v\"e").unwrap(), "e\"v\"e");
    }

    #[test]
    fn of_two_fields_none_names_the_user() {
        let twice = "X-Remote-User: mallory\r\nx-remote-user: bob\r\n";
        let header = || UserSource::Header("X-Remote-User".into());
        assert_eq!(named(header(), twice), None);
        let same = "X-Remote-User: bob\r\nX-Remote-User: bob\r\n";
        assert_eq!(named(header(), same), None);
        let aladdin = "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n";
        assert!(named(UserSource::Basic, aladdin).is_some());
        let bearer = "Authorization: Bearer x\r\n";
        assert_eq!(
            named(UserSource::Basic, &format!("{aladdin}{bearer}")),
            None
        );
    }

    #[test]
    fn a_name_that_is_not_text_is_made_text() {
        let header = UserSource::Header("X-User".into());
        let (mut buf, _) = parsed("X-User: a\u{1}b\r\n".replace('\u{1}', "x").as_str());
        let at = buf.windows(3).position(|part| part == b"axb").unwrap();
        buf[at + 1] = 0xff;
        let mut head = RequestHead::default();
        assert!(parse_request(&buf, &Limits::default(), &mut head).is_ok());
        assert_eq!(name(&header, &buf, &head).unwrap(), "a\u{fffd}b");
    }

    #[test]
    fn the_token_is_not_among_the_cookies_of_a_logout_call() {
        let (buf, head) =
            parsed("Cookie: ebb=x;a=1 ; b=2; ebbtide_console=y; ebbtide_openid=z\r\nCookie: c\r\n");
        assert_eq!(cookies(&buf, &head, b"ebb"), b"a=1; b=2; c");
    }
}
