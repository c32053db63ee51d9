//! Parsing the head of a response.

use super::field::{Facts, FieldKind, decimal, parse_fields};
use super::line::{HeadEnd, blame, find_head_end, has_control, take_line, trim};
use super::{Field, Framing, Limits, Parsed, Reject, ResponseHead, Span, Version};

/// Parses the head of a response at the front of `buf` (RFC 9112, 2 to 6), as strictly as that of
/// a request. Bytes beyond the head are not looked at. `request_is_head` says that the request was
/// a `HEAD`, whose response has no body whatever its fields say (RFC 9112, 6.3).
pub fn parse_response(
    buf: &[u8],
    limits: &Limits,
    request_is_head: bool,
    head: &mut ResponseHead,
) -> Result<Parsed, Reject> {
    head.clear();
    let window = &buf[..buf.len().min(limits.head_bytes)];
    // Told at once of a server that speaks something else, which may never send a line.
    if !window.iter().zip(b"HTTP/").all(|(is, must)| is == must) {
        return Err(Reject::BadStatusLine);
    }
    let end = match find_head_end(window, 0) {
        HeadEnd::At(end) => end,
        // What is wrong first is what counts, and that may be before the bare line feed.
        HeadEnd::BareLf(end) => {
            parse_lines(&window[..end], limits, head)?;
            return Err(Reject::BareLf);
        }
        HeadEnd::NotYet => {
            if let Some((line, _)) = take_line(window, 0)? {
                parse_status_line(line, head)?;
            }
            return match window.len() < limits.head_bytes {
                true => Ok(Parsed::Partial),
                false => Err(Reject::HeadTooLarge),
            };
        }
    };
    parse_lines(&window[..end], limits, head)?;
    conclude(buf, limits, request_is_head, head)?;
    head.head_bytes = end;
    Ok(Parsed::Complete)
}

fn parse_lines(buf: &[u8], limits: &Limits, head: &mut ResponseHead) -> Result<(), Reject> {
    let Some((line, next)) = take_line(buf, 0)? else {
        return Err(Reject::BadStatusLine);
    };
    parse_status_line(line, head)?;
    parse_fields(buf, next, limits.fields, &mut head.fields)
}

/// Parses the first line (RFC 9112, 4). Many servers leave out the space before an empty reason.
fn parse_status_line(line: &[u8], head: &mut ResponseHead) -> Result<(), Reject> {
    if has_control(line) {
        return Err(blame(line, Reject::BadStatusLine));
    }
    let (version, rest) = match line {
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            major,
            b'.',
            minor,
            b' ',
            rest @ ..,
        ] => ((*major, *minor), rest),
        _ => return Err(Reject::BadStatusLine),
    };
    head.version = match version {
        (b'1', b'1') => Version::Http11,
        (b'1', b'0') => Version::Http10,
        _ => return Err(Reject::BadVersion),
    };
    let (digits, reason) = match rest {
        [_, _, _] => (rest, &rest[3..]),
        [_, _, _, b' ', reason @ ..] => (&rest[..3], reason),
        _ => return Err(Reject::BadStatusLine),
    };
    head.status = match decimal(digits) {
        Some(status @ 100..=999) => status as u16,
        _ => return Err(Reject::BadStatusLine),
    };
    head.reason = Span::new(line.len() - reason.len(), line.len());
    Ok(())
}

/// What the status and the fields mean together.
fn conclude(
    buf: &[u8],
    limits: &Limits,
    request_is_head: bool,
    head: &mut ResponseHead,
) -> Result<(), Reject> {
    let version = head.version;
    let facts = Facts::gather(buf, &head.fields, limits, version, &mut head.connection)?;
    let no_body = request_is_head || matches!(head.status, 100..=199 | 204 | 304);
    head.framing = match facts.framing() {
        _ if no_body => Framing::None,
        Framing::None => Framing::UntilClose,
        framing => framing,
    };
    // A server that announces a body where there can be none may send it all the same, later, and
    // it would be read as the next answer, which belongs to somebody else.
    let announces = no_body && !matches!(facts.framing(), Framing::None | Framing::Length(0));
    head.keep_alive =
        facts.keep_alive(version) && head.framing != Framing::UntilClose && !announces;
    head.upgrade = head.status == 101 && facts.upgrade(buf).is_some();
    let mut hints = head
        .fields
        .iter()
        .filter(|field| field.kind == FieldKind::KeepAlive);
    head.keep_alive_timeout_s = hints.find_map(|field| keep_alive_timeout_s(buf, field));
    Ok(())
}

fn keep_alive_timeout_s(buf: &[u8], field: &Field) -> Option<u32> {
    let mut parameters = field.value.of(buf).split(|byte| *byte == b',').map(trim);
    let timeout = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_at_checked(b"timeout=".len())?;
        name.eq_ignore_ascii_case(b"timeout=").then_some(value)
    })?;
    decimal(timeout)?.try_into().ok()
}
