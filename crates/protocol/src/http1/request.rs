//! Parsing the head of a request.

use std::net::Ipv6Addr;

use memchr::{memchr, memrchr};

use super::field::{Facts, FieldKind, decimal, parse_fields};
use super::line::{HeadEnd, blame, find_head_end, has_control, is_token_byte, take_line};
use super::{Framing, Limits, Parsed, Reject, RequestHead, Span, Version};

/// Empty lines before a request that are ignored (RFC 9112, 2.2 asks for at least one).
const EMPTY_LINES_MAX: usize = 4;

/// No method that is registered has more than 17 bytes.
const METHOD_BYTES_MAX: usize = 32;

/// Parses the head of a request at the front of `buf` (RFC 9112, 2 to 6). Bytes beyond the head
/// are not looked at. A head that comes in pieces gets the same verdict as one that comes at once;
/// what is wrong with its first line is told as soon as that line is there.
pub fn parse_request(
    buf: &[u8],
    limits: &Limits,
    head: &mut RequestHead,
) -> Result<Parsed, Reject> {
    head.clear();
    let window = &buf[..buf.len().min(limits.head_bytes)];
    let Some(start) = skip_empty_lines(window)? else {
        return Ok(Parsed::Partial);
    };
    if !is_token_byte(window[start]) {
        return Err(blame(&window[start..=start], Reject::BadMethod));
    }
    let end = match find_head_end(window, start) {
        HeadEnd::At(end) => end,
        // What is wrong first is what counts, and that may be before the bare line feed.
        HeadEnd::BareLf(end) => {
            parse_lines(&window[..end], start, limits, head)?;
            return Err(Reject::BareLf);
        }
        HeadEnd::NotYet => {
            let first_line = take_line(window, start)?;
            if let Some((line, _)) = first_line {
                parse_request_line(window, line, start, head)?;
            }
            return match (window.len() < limits.head_bytes, first_line) {
                (true, _) => Ok(Parsed::Partial),
                (false, None) => Err(Reject::TargetTooLong),
                (false, Some(_)) => Err(Reject::HeadTooLarge),
            };
        }
    };
    parse_lines(&window[..end], start, limits, head)?;
    conclude(buf, limits, head)?;
    head.head_bytes = end;
    Ok(Parsed::Complete)
}

/// Where the request begins, or `None` if that is still to come.
fn skip_empty_lines(buf: &[u8]) -> Result<Option<usize>, Reject> {
    let mut start = 0;
    for _ in 0..=EMPTY_LINES_MAX {
        match &buf[start..] {
            [] | [b'\r'] => return Ok(None),
            [b'\r', b'\n', ..] => start += 2,
            [b'\r', ..] => return Err(Reject::BareCr),
            [b'\n', ..] => return Err(Reject::BareLf),
            _ => return Ok(Some(start)),
        }
    }
    Err(Reject::EmptyLines)
}

fn parse_lines(
    buf: &[u8],
    start: usize,
    limits: &Limits,
    head: &mut RequestHead,
) -> Result<(), Reject> {
    let Some((line, next)) = take_line(buf, start)? else {
        return Err(Reject::BadRequestLine);
    };
    parse_request_line(buf, line, start, head)?;
    parse_fields(buf, next, limits.fields, &mut head.fields)
}

/// Parses the first line (RFC 9112, 3): exactly one space between its three parts.
fn parse_request_line(
    buf: &[u8],
    line: &[u8],
    start: usize,
    head: &mut RequestHead,
) -> Result<(), Reject> {
    if has_control(line) {
        return Err(blame(line, Reject::BadRequestLine));
    }
    let (Some(first), Some(last)) = (memchr(b' ', line), memrchr(b' ', line)) else {
        return Err(Reject::BadRequestLine);
    };
    head.version = match &line[last + 1..] {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Reject::BadVersion);
        }
        // "GET /" is how HTTP/0.9 asks.
        [b'/', ..] if first == last => return Err(Reject::BadVersion),
        _ => return Err(Reject::BadRequestLine),
    };
    let method = &line[..first];
    if method.len() > METHOD_BYTES_MAX || !method.iter().all(|byte| is_token_byte(*byte)) {
        return Err(Reject::BadMethod);
    }
    if first == last || first + 1 == last {
        return Err(Reject::BadRequestLine);
    }
    match method {
        b"CONNECT" => return Err(Reject::ConnectUnsupported),
        b"TRACE" => return Err(Reject::TraceUnsupported),
        _ => {}
    }
    head.method = Span::new(start, start + first);
    let target = Span::new(start + first + 1, start + last);
    parse_target(buf, target, method == b"OPTIONS", head)
}

/// Parses the target (RFC 9112, 3.2): origin-form, absolute-form, or `*` for `OPTIONS`.
fn parse_target(
    buf: &[u8],
    span: Span,
    is_options: bool,
    head: &mut RequestHead,
) -> Result<(), Reject> {
    let target = span.of(buf);
    let forbidden = target.iter().fold(false, |found, &byte| {
        found | ((byte <= b' ') | (byte >= 0x7f) | (byte == b'#'))
    });
    if forbidden {
        return Err(Reject::BadTarget);
    }
    head.target = span;
    if target[0] == b'/' || (target == b"*" && is_options) {
        return Ok(());
    }
    let schemes: [&[u8]; 2] = [b"http://", b"https://"];
    let scheme = schemes.iter().find(|scheme| {
        let front = target.get(..scheme.len());
        front.is_some_and(|front| front.eq_ignore_ascii_case(scheme))
    });
    let scheme_bytes = scheme.ok_or(Reject::BadTarget)?.len();
    let rest = &target[scheme_bytes..];
    let authority_bytes = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'))
        .unwrap_or(rest.len());
    let authority = &rest[..authority_bytes];
    // User information in a target deceives people about where it leads (RFC 9110, 4.2.4).
    if authority.is_empty() || authority.contains(&b'@') {
        return Err(Reject::BadTarget);
    }
    if authority.starts_with(b":") || !is_host(authority) {
        return Err(Reject::BadHost);
    }
    let start = span.start as usize + scheme_bytes;
    head.authority = Some(Span::new(start, start + authority_bytes));
    head.target = Span::new(start + authority_bytes, span.end as usize);
    Ok(())
}

/// What the fields mean together.
fn conclude(buf: &[u8], limits: &Limits, head: &mut RequestHead) -> Result<(), Reject> {
    let version = head.version;
    let facts = Facts::gather(buf, &head.fields, limits, version, &mut head.connection)?;
    let mut host = None;
    let mut expects = false;
    for field in &head.fields {
        match field.kind {
            FieldKind::Host if host.is_some() => return Err(Reject::DuplicateHost),
            FieldKind::Host => host = Some(field.value),
            // An HTTP/1.0 client cannot expect anything (RFC 9110, 10.1.1).
            FieldKind::Expect if version == Version::Http11 => {
                if !field.value.of(buf).eq_ignore_ascii_case(b"100-continue") {
                    return Err(Reject::ExpectationUnsupported);
                }
                expects = true;
            }
            _ => {}
        }
    }
    match host {
        None if version == Version::Http11 => return Err(Reject::MissingHost),
        Some(host) if !is_host(host.of(buf)) => return Err(Reject::BadHost),
        _ => {}
    }
    // An absolute-form target wins over Host (RFC 9112, 3.2.2).
    head.authority = head.authority.or(host);
    head.framing = facts.framing();
    head.keep_alive = facts.keep_alive(version);
    if version == Version::Http11 && head.framing == Framing::None {
        head.upgrade = facts.upgrade(buf);
    }
    head.expect_continue = expects && !matches!(head.framing, Framing::None | Framing::Length(0));
    Ok(())
}

/// Is this `host[:port]` (RFC 3986, 3.2.2 and 3.2.3)? The host may be empty, as `Host` may. A
/// comma, which the grammar would allow, is not accepted: it would look like two hosts in a list.
fn is_host(text: &[u8]) -> bool {
    let (host_is_good, port) = match text {
        [b'[', rest @ ..] => {
            let Some(close) = memchr(b']', rest) else {
                return false;
            };
            let address = std::str::from_utf8(&rest[..close]);
            let good = address.is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok());
            (good, &rest[close + 1..])
        }
        _ => {
            let colon = memchr(b':', text).unwrap_or(text.len());
            let good = text[..colon]
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(byte));
            (good, &text[colon..])
        }
    };
    let port_is_good = match port {
        [] | [b':'] => true,
        [b':', digits @ ..] => decimal(digits).is_some_and(|port| port <= 65_535),
        _ => false,
    };
    host_is_good && port_is_good
}
