//! The PROXY protocol, versions 1 and 2: who a connection really came from, said by the proxy before
//! this one in the first bytes, and said to the server after this one. The sections named here are
//! those of HAProxy's `doc/proxy-protocol.txt`.
//!
//! Whether a header is expected is a matter of configuration and never of the bytes (section 5): a
//! client that may choose would choose another's address. [`parse`] tells that there is none, so that
//! a connection from a proxy that should have sent one can be refused with the right reason.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use memchr::memchr2;

/// The longest line of version 1, in bytes, with its end (section 2.1).
pub const LINE_BYTES_MAX: usize = 107;
/// What may follow the first 16 bytes of version 2: addresses and whatever else was said, in bytes.
/// There is room for a client's certificate, the largest thing that is in use.
pub const V2_BODY_BYTES_MAX: usize = 8 * 1024;
/// The longest header of either version, in bytes: [`parse`] never asks for more.
pub const HEADER_BYTES_MAX: usize = V2_HEAD_BYTES + V2_BODY_BYTES_MAX;

const V1_START: &[u8] = b"PROXY ";
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, family and transport, and the length of what follows.
const V2_HEAD_BYTES: usize = 16;
const V2_LOCAL: u8 = 0x20;
const V2_PROXY: u8 = 0x21;
const TCP_OVER_V4: u8 = 0x11;
const TCP_OVER_V6: u8 = 0x21;
const TYPE_CRC32C: u8 = 3;

/// Which of the two forms a header has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

/// The two ends of the connection that is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// The user's side. An IPv4 address inside an IPv6 one is given as an IPv4 address, so that one
    /// user has one address.
    pub source: SocketAddr,
    /// Where the user connected to.
    pub destination: SocketAddr,
}

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its form.
    pub version: Version,
    /// Its length in bytes: the user's own first byte is the next.
    pub bytes: usize,
    /// The ends of the connection, or `None` where the connection's own addresses are the right
    /// ones: `UNKNOWN`, `LOCAL` (a check of the proxy's own), and everything that is not TCP. UNIX
    /// sockets and datagrams are among these: a receiver that has no use for them falls back to
    /// `UNSPEC` (section 2.2).
    pub endpoints: Option<Endpoints>,
}

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// So far a header, which is not whole yet.
    NeedMore,
    /// Not a header, whatever follows.
    Absent,
    /// A header.
    Header(Header),
}

/// Why a header was refused. The connection ends: nobody knows whose it is (section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A line that does not end within [`LINE_BYTES_MAX`].
    LineTooLong,
    /// A line that ends in a carriage return or a line feed alone.
    BadLineEnd,
    /// A protocol other than `TCP4`, `TCP6` or `UNKNOWN`.
    BadProtocol,
    /// Not two addresses of the protocol's family and two ports, each after one space.
    BadAddresses,
    /// A binary header of another version than 2.
    BadVersion,
    /// A binary header that is neither `LOCAL` nor `PROXY`.
    BadCommand,
    /// A family or a transport that is not assigned.
    BadFamily,
    /// More than [`V2_BODY_BYTES_MAX`] follow a binary head.
    BodyTooLong,
    /// Fewer bytes follow a binary head than its addresses have.
    BodyTooShort,
    /// What follows the addresses is not a list of types, lengths and values, or has more than one
    /// checksum.
    BadExtension,
    /// The checksum is not that of the header.
    BadChecksum,
}

impl Malformed {
    /// A stable label, for metrics and logs.
    pub fn reason(&self) -> &'static str {
        self.describe().0
    }

    #[rustfmt::skip] // one line for each reason reads as the table that it is
    fn describe(&self) -> (&'static str, &'static str) {
        match self {
            Malformed::LineTooLong => ("line-too-long", "the PROXY line does not end within 107 bytes"),
            Malformed::BadLineEnd => ("bad-line-end", "the PROXY line does not end in a carriage return and a line feed"),
            Malformed::BadProtocol => ("bad-protocol", "the PROXY line names neither TCP4, TCP6 nor UNKNOWN"),
            Malformed::BadAddresses => ("bad-addresses", "the PROXY line has not two addresses and two ports"),
            Malformed::BadVersion => ("bad-version", "the binary PROXY header is not of version 2"),
            Malformed::BadCommand => ("bad-command", "the binary PROXY header is neither LOCAL nor PROXY"),
            Malformed::BadFamily => ("bad-family", "the binary PROXY header has an unknown address family or transport"),
            Malformed::BodyTooLong => ("body-too-long", "the binary PROXY header is too long"),
            Malformed::BodyTooShort => ("body-too-short", "the binary PROXY header has no room for its addresses"),
            Malformed::BadExtension => ("bad-extension", "an extension in the binary PROXY header is malformed"),
            Malformed::BadChecksum => ("bad-checksum", "the checksum of the binary PROXY header is wrong"),
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.describe().1)
    }
}

impl std::error::Error for Malformed {}

/// Reads a header at the front of a connection's first bytes. Give it all bytes from the first one
/// on, more of them each time until it says something else than [`Parsed::NeedMore`].
pub fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let begins = |start: &[u8]| {
        bytes
            .iter()
            .zip(start)
            .all(|(byte, expected)| byte == expected)
    };
    match (begins(V1_START), begins(V2_START)) {
        (true, _) if bytes.len() >= V1_START.len() => parse_v1(bytes),
        (_, true) if bytes.len() >= V2_START.len() => parse_v2(bytes),
        (false, false) => Ok(Parsed::Absent),
        _ => Ok(Parsed::NeedMore),
    }
}

/// Section 2.1: `PROXY TCP4 source destination port port`, one space between, and CR LF.
fn parse_v1(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let within = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let end = match memchr2(b'\r', b'\n', within) {
        // The line feed would be beyond the limit.
        Some(at) if at + 1 == LINE_BYTES_MAX && within[at] == b'\r' => {
            return Err(Malformed::LineTooLong);
        }
        Some(at) if within[at] == b'\r' && within.get(at + 1) == Some(&b'\n') => at,
        Some(at) if within[at] == b'\r' && at + 1 == within.len() => return Ok(Parsed::NeedMore),
        Some(_) => return Err(Malformed::BadLineEnd),
        None if within.len() == LINE_BYTES_MAX => return Err(Malformed::LineTooLong),
        None => return Ok(Parsed::NeedMore),
    };
    let line = &bytes[V1_START.len()..end];
    Ok(Parsed::Header(Header {
        version: Version::V1,
        bytes: end + 2,
        endpoints: parse_line(line)?,
    }))
}

fn parse_line(line: &[u8]) -> Result<Option<Endpoints>, Malformed> {
    let (protocol, rest) = match line.iter().position(|byte| *byte == b' ') {
        Some(at) => (&line[..at], Some(&line[at + 1..])),
        None => (line, None),
    };
    let parse_address: fn(&str) -> Option<IpAddr> = match protocol {
        // What follows it is ignored, whatever it is.
        b"UNKNOWN" => return Ok(None),
        b"TCP4" => |text| text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        b"TCP6" => |text| text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => return Err(Malformed::BadProtocol),
    };
    let read = || {
        let mut words = std::str::from_utf8(rest?).ok()?.split(' ');
        let (source, destination) = (parse_address(words.next()?)?, parse_address(words.next()?)?);
        let (source_port, destination_port) = (port(words.next()?)?, port(words.next()?)?);
        words.next().is_none().then_some(Endpoints {
            source: SocketAddr::new(source.to_canonical(), source_port),
            destination: SocketAddr::new(destination.to_canonical(), destination_port),
        })
    };
    read().map(Some).ok_or(Malformed::BadAddresses)
}

/// Digits, without a leading zero.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    (is_plain || text == "0").then(|| text.parse().ok())?
}

/// Section 2.2.
fn parse_v2(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let is_local = match bytes.get(12) {
        None => return Ok(Parsed::NeedMore),
        Some(&V2_LOCAL) => true,
        Some(&V2_PROXY) => false,
        Some(byte) if byte >> 4 != 2 => return Err(Malformed::BadVersion),
        Some(_) => return Err(Malformed::BadCommand),
    };
    let (Some(&family), Some(length)) = (bytes.get(13), bytes.get(14..16)) else {
        return Ok(Parsed::NeedMore);
    };
    let body_bytes = usize::from(u16::from_be_bytes([length[0], length[1]]));
    if body_bytes > V2_BODY_BYTES_MAX {
        return Err(Malformed::BodyTooLong);
    }
    let Some(header) = bytes.get(..V2_HEAD_BYTES + body_bytes) else {
        return Ok(Parsed::NeedMore);
    };
    let endpoints = match is_local {
        // The family and everything that follows are ignored.
        true => None,
        false => parse_body(family, header)?,
    };
    Ok(Parsed::Header(Header {
        version: Version::V2,
        bytes: header.len(),
        endpoints,
    }))
}

/// The addresses. What comes with addresses that are not used is skipped, checksum and all.
fn parse_body(family: u8, header: &[u8]) -> Result<Option<Endpoints>, Malformed> {
    let body = &header[V2_HEAD_BYTES..];
    let (endpoints, address_bytes) = match family {
        TCP_OVER_V4 => {
            let block: &[u8; 12] = body.first_chunk().ok_or(Malformed::BodyTooShort)?;
            let [s0, s1, s2, s3, d0, d1, d2, d3, ports @ ..] = *block;
            let (source, destination) = ([s0, s1, s2, s3], [d0, d1, d2, d3]);
            (endpoints(source.into(), destination.into(), ports), 12)
        }
        TCP_OVER_V6 => {
            let block: &[u8; 36] = body.first_chunk().ok_or(Malformed::BodyTooShort)?;
            let (mut source, mut destination, mut ports) = ([0; 16], [0; 16], [0; 4]);
            source.copy_from_slice(&block[..16]);
            destination.copy_from_slice(&block[16..32]);
            ports.copy_from_slice(&block[32..]);
            let (source, destination) = (IpAddr::from(source), IpAddr::from(destination));
            let (source, destination) = (source.to_canonical(), destination.to_canonical());
            (endpoints(source, destination, ports), 36)
        }
        _ if family >> 4 > 3 || family & 0x0f > 2 => return Err(Malformed::BadFamily),
        _ => return Ok(None),
    };
    check_extensions(header, V2_HEAD_BYTES + address_bytes)?;
    Ok(Some(endpoints))
}

fn endpoints(source: IpAddr, destination: IpAddr, ports: [u8; 4]) -> Endpoints {
    let [s0, s1, d0, d1] = ports;
    Endpoints {
        source: SocketAddr::new(source, u16::from_be_bytes([s0, s1])),
        destination: SocketAddr::new(destination, u16::from_be_bytes([d0, d1])),
    }
}

/// Types, lengths and values follow the addresses (section 2.2). All are skipped but the checksum,
/// which must be right if it is there (section 2.2.3).
fn check_extensions(header: &[u8], mut at: usize) -> Result<(), Malformed> {
    let mut checksum_at = None;
    while at < header.len() {
        let Some(&[kind, high, low]) = header.get(at..at + 3) else {
            return Err(Malformed::BadExtension);
        };
        let value_at = at + 3;
        let value_bytes = usize::from(u16::from_be_bytes([high, low]));
        at = value_at + value_bytes;
        if at > header.len() {
            return Err(Malformed::BadExtension);
        }
        if kind == TYPE_CRC32C {
            if checksum_at.is_some() || value_bytes != 4 {
                return Err(Malformed::BadExtension);
            }
            checksum_at = Some(value_at);
        }
    }
    let Some(value_at) = checksum_at else {
        return Ok(());
    };
    let (before, from) = header.split_at(value_at);
    let (value, after) = from.split_at(4);
    let zeroed = before.iter().chain(&[0; 4]).chain(after);
    match crc32c(zeroed).to_be_bytes() == *value {
        true => Ok(()),
        false => Err(Malformed::BadChecksum),
    }
}

/// The CRC of RFC 4960, appendix B, bit by bit: headers are short, and few have one.
fn crc32c<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    const POLYNOMIAL_REFLECTED: u32 = 0x82f6_3b78;
    let of_byte = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| match crc & 1 {
            1 => crc >> 1 ^ POLYNOMIAL_REFLECTED,
            _ => crc >> 1,
        })
    };
    !bytes.fold(!0, of_byte)
}

/// Writes a header. Without endpoints it is `PROXY UNKNOWN` or `LOCAL`: a check of our own, which
/// comes from the address that it comes from. Where the two ends are not of one family, both are
/// written as IPv6.
pub fn write(out: &mut Vec<u8>, version: Version, endpoints: Option<&Endpoints>) {
    let canonical = |address: SocketAddr| address.ip().to_canonical();
    let ips = endpoints.map(|ends| (canonical(ends.source), canonical(ends.destination)));
    let ports = endpoints.map_or((0, 0), |ends| (ends.source.port(), ends.destination.port()));
    let v6 = |address: IpAddr| match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    match version {
        Version::V1 => {
            let line = match ips {
                None => "UNKNOWN".to_owned(),
                Some((IpAddr::V4(source), IpAddr::V4(destination))) => {
                    format!("TCP4 {source} {destination} {} {}", ports.0, ports.1)
                }
                Some((source, destination)) => {
                    let (source, destination) = (v6(source), v6(destination));
                    format!("TCP6 {source} {destination} {} {}", ports.0, ports.1)
                }
            };
            out.extend_from_slice(format!("PROXY {line}\r\n").as_bytes());
        }
        Version::V2 => {
            out.extend_from_slice(V2_START);
            match ips {
                None => return out.extend_from_slice(&[V2_LOCAL, 0, 0, 0]),
                Some((IpAddr::V4(source), IpAddr::V4(destination))) => {
                    out.extend_from_slice(&[V2_PROXY, TCP_OVER_V4, 0, 12]);
                    out.extend_from_slice(&source.octets());
                    out.extend_from_slice(&destination.octets());
                }
                Some((source, destination)) => {
                    out.extend_from_slice(&[V2_PROXY, TCP_OVER_V6, 0, 36]);
                    out.extend_from_slice(&v6(source).octets());
                    out.extend_from_slice(&v6(destination).octets());
                }
            }
            out.extend_from_slice(&ports.0.to_be_bytes());
            out.extend_from_slice(&ports.1.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
