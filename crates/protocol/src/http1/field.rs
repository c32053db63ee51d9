//! Field lines, and which of them mean something to a proxy.

use super::line::{blame, has_control, is_token_byte, take_line, trim};
use super::{Field, Framing, Limits, Reject, Span, Version};

/// What a field means here, found once while parsing so that writing need not look again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FieldKind {
    /// Forwarded as it is.
    Other,
    Connection,
    ContentLength,
    Cookie,
    Expect,
    Host,
    KeepAlive,
    /// Belongs to one hop (RFC 9110, 7.6.1) and is acted upon nowhere: dropped.
    HopByHop,
    SetCookie,
    /// Written with underscores, and one of the other kinds to servers that make variables of
    /// field names: dropped.
    Shadow,
    TransferEncoding,
    Upgrade,
    XForwardedFor,
    /// `X-Forwarded-Proto` and `-Host`: ours replace the client's, unless it is trusted.
    XForwardedOther,
}

const KINDS: [(&[u8], FieldKind); 18] = [
    (b"connection", FieldKind::Connection),
    (b"content-length", FieldKind::ContentLength),
    (b"cookie", FieldKind::Cookie),
    (b"expect", FieldKind::Expect),
    // What a client says of how it came (RFC 7239): servers are told by the fields below.
    (b"forwarded", FieldKind::HopByHop),
    (b"host", FieldKind::Host),
    (b"keep-alive", FieldKind::KeepAlive),
    // No field at all, but CGI programs take it for their own HTTP_PROXY.
    (b"proxy", FieldKind::HopByHop),
    (b"proxy-authenticate", FieldKind::HopByHop),
    (b"proxy-authorization", FieldKind::HopByHop),
    (b"proxy-connection", FieldKind::HopByHop),
    (b"set-cookie", FieldKind::SetCookie),
    (b"te", FieldKind::HopByHop),
    (b"transfer-encoding", FieldKind::TransferEncoding),
    (b"upgrade", FieldKind::Upgrade),
    (b"x-forwarded-for", FieldKind::XForwardedFor),
    (b"x-forwarded-host", FieldKind::XForwardedOther),
    (b"x-forwarded-proto", FieldKind::XForwardedOther),
];

impl FieldKind {
    /// The meaning of the field called `name`.
    pub(super) fn of(name: &[u8]) -> FieldKind {
        let same = |known: &[u8]| {
            known.len() == name.len()
                && known.iter().zip(name).all(|(known, given)| {
                    *known == given.to_ascii_lowercase() || (*known == b'-' && *given == b'_')
                })
        };
        match KINDS.iter().find(|(known, _)| same(known)) {
            None => FieldKind::Other,
            Some(_) if name.contains(&b'_') => FieldKind::Shadow,
            Some((_, kind)) => *kind,
        }
    }
}

/// Parses the field lines from `start` up to the empty line, or to the end of `buf`.
pub(super) fn parse_fields(
    buf: &[u8],
    start: usize,
    fields_max: usize,
    fields: &mut Vec<Field>,
) -> Result<(), Reject> {
    let mut at = start;
    while let Some((line, next)) = take_line(buf, at)? {
        if line.is_empty() {
            break;
        }
        if fields.len() == fields_max {
            return Err(Reject::TooManyFields);
        }
        fields.push(parse_field(line, at)?);
        at = next;
    }
    Ok(())
}

/// Parses one field line (RFC 9112, 5) that begins at `start` of the buffer.
fn parse_field(line: &[u8], start: usize) -> Result<Field, Reject> {
    let name_bytes = line.iter().position(|byte| !is_token_byte(*byte));
    let colon = match name_bytes {
        Some(at) if at > 0 && line[at] == b':' => at,
        _ => return Err(bad_name(line)),
    };
    let rest = &line[colon + 1..];
    if has_control(rest) {
        return Err(blame(line, Reject::BadFieldValue));
    }
    let blank = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t'));
    let value_start = start + colon + 1 + blank.count();
    let value = trim(rest);
    Ok(Field {
        name: Span::new(start, start + colon),
        value: Span::new(value_start, value_start + value.len()),
        kind: FieldKind::of(&line[..colon]),
    })
}

fn bad_name(line: &[u8]) -> Reject {
    if let [b' ' | b'\t', ..] = line {
        return Reject::ObsFold;
    }
    let after_name = line.iter().position(|byte| !is_token_byte(*byte));
    let after_name = &line[after_name.unwrap_or(line.len())..];
    let otherwise = match (after_name.first(), trim(after_name).first()) {
        (Some(b' ' | b'\t'), Some(b':')) => Reject::SpaceBeforeColon,
        _ => Reject::BadFieldName,
    };
    blame(line, otherwise)
}

/// What the fields of a head say together about the message and its connection.
#[derive(Default)]
pub(super) struct Facts {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    /// `Connection` names `upgrade`.
    upgrade_named: bool,
    /// How often there was an `Upgrade`, and its value.
    upgrades: u32,
    upgrade: Span,
}

impl Facts {
    /// Gathers the facts, and notes in `connection` which other fields `Connection` names.
    pub(super) fn gather(
        buf: &[u8],
        fields: &[Field],
        limits: &Limits,
        version: Version,
        connection: &mut Vec<Span>,
    ) -> Result<Facts, Reject> {
        let mut facts = Facts::default();
        for field in fields {
            let value = field.value.of(buf);
            match field.kind {
                FieldKind::ContentLength => {
                    if facts.length.is_some() || value.contains(&b',') {
                        return Err(Reject::DuplicateLength);
                    }
                    // Servers that count with a sign would see a negative number beyond that.
                    let length = decimal(value).filter(|length| *length <= i64::MAX as u64);
                    facts.length = Some(length.ok_or(Reject::BadLength)?);
                }
                FieldKind::TransferEncoding => {
                    if facts.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                        return Err(Reject::TransferEncodingUnsupported);
                    }
                    facts.chunked = true;
                }
                FieldKind::Connection => {
                    facts.note_connection(buf, field.value, limits, connection)?;
                }
                FieldKind::Upgrade => {
                    facts.upgrades += 1;
                    facts.upgrade = field.value;
                }
                _ => {}
            }
        }
        if facts.chunked && facts.length.is_some() {
            return Err(Reject::BothLengthAndChunked);
        }
        if facts.chunked && version == Version::Http10 {
            return Err(Reject::TransferEncodingWithHttp10);
        }
        Ok(facts)
    }

    fn note_connection(
        &mut self,
        buf: &[u8],
        value: Span,
        limits: &Limits,
        connection: &mut Vec<Span>,
    ) -> Result<(), Reject> {
        let mut at = value.start as usize;
        for part in value.of(buf).split(|byte| *byte == b',') {
            let option = trim(part);
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade_named = true;
            } else if !option.is_empty() {
                if connection.len() == limits.fields {
                    return Err(Reject::TooManyFields);
                }
                let blank = part.len() - part.trim_ascii_start().len();
                connection.push(Span::new(at + blank, at + blank + option.len()));
            }
            at += part.len() + 1;
        }
        Ok(())
    }

    /// The framing that the fields alone ask for.
    pub(super) fn framing(&self) -> Framing {
        match (self.chunked, self.length) {
            (true, _) => Framing::Chunked,
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::None,
        }
    }

    /// May the connection be used again (RFC 9112, 9.3)?
    pub(super) fn keep_alive(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }

    /// The protocols to upgrade to. None for `h2c`: within such a tunnel, requests would pass
    /// that nobody here has looked at.
    pub(super) fn upgrade(&self, buf: &[u8]) -> Option<Span> {
        let value = self.upgrade.of(buf);
        let hidden = value
            .split(|byte| *byte == b',')
            .filter_map(|protocol| trim(protocol).split(|byte| *byte == b'/').next())
            .any(|name| trim(name).eq_ignore_ascii_case(b"h2c"));
        let usable = self.upgrade_named && self.upgrades == 1 && !value.is_empty() && !hidden;
        usable.then_some(self.upgrade)
    }
}

/// A decimal number: digits only, below 2^64.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Does `Connection` name this field?
pub(super) fn is_named(buf: &[u8], connection: &[Span], name: Span) -> bool {
    connection
        .iter()
        .any(|option| option.of(buf).eq_ignore_ascii_case(name.of(buf)))
}
