//! Connections from proxies in front, which begin with a PROXY header that names the true client.
//!
//! The header is read to its last byte and not further: what follows is the client's own.

use crate::accept::Guest;
use crate::timer::Watch;
use ebbtide_core::Millis;
use ebbtide_protocol::proxy_protocol::{Endpoints, Header, Parsed, parse};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

/// How long a header may take: a lost packet is sent again after three seconds at the latest (section
/// 2 of the specification).
const HEADER_TIMEOUT: Millis = Millis(5_000);
/// More than the longest header, in bytes.
const PEEK_BYTES: usize = 4096;

/// Why a connection was refused before its first byte.
enum Unwelcome {
    /// It comes from an address that is not one of the proxies.
    Stranger,
    /// The header was not whole in time.
    TooSlow,
    /// It closed, or broke, before the header was whole.
    Gone,
    /// It begins with something else.
    NoHeader,
    /// The header is malformed.
    Malformed(&'static str),
}

impl Unwelcome {
    fn reason(&self) -> &'static str {
        match self {
            Self::Stranger => "proxy-untrusted",
            Self::TooSlow => "proxy-too-slow",
            Self::Gone => "proxy-gone",
            Self::NoHeader => "proxy-absent",
            Self::Malformed(reason) => reason,
        }
    }
}

/// Reads who the client is; `None` if that cannot be known, which has been counted then.
pub(crate) async fn introduce(mut guest: Guest, listener: SocketAddr) -> Option<Guest> {
    let mut watch = Watch::new(guest.flight.clone(), HEADER_TIMEOUT);
    let view = guest.worker.view();
    let is_trusted = view.listeners.get(&listener).is_some_and(|way| {
        way.proxies
            .iter()
            .any(|proxy| proxy.contains(guest.client.ip()))
    });
    drop(view);
    let header = match is_trusted {
        true => match watch.run(read(&mut guest.stream)).await {
            Ok(header) => header,
            Err(_) => Err(Unwelcome::TooSlow),
        },
        false => Err(Unwelcome::Stranger),
    };
    match header {
        Ok(header) => {
            if let Some(Endpoints {
                source,
                destination,
            }) = header.endpoints
            {
                guest.client = source;
                guest.local = Some(destination);
            }
            Some(guest)
        }
        Err(unwelcome) => {
            let reason = unwelcome.reason();
            tracing::debug!("refused {} on {listener}: {reason}", guest.client);
            guest.worker.slot().reject(reason);
            guest.worker.connection_closed(&guest.flight);
            None
        }
    }
}

/// Reads a header, and nothing after it.
async fn read(stream: &mut TcpStream) -> Result<Header, Unwelcome> {
    let mut known = Vec::new();
    let mut peeked = vec![0; PEEK_BYTES];
    loop {
        let bytes = stream
            .peek(&mut peeked)
            .await
            .map_err(|_| Unwelcome::Gone)?;
        if bytes == 0 {
            return Err(Unwelcome::Gone);
        }
        let before = known.len();
        known.extend_from_slice(&peeked[..bytes]);
        let taken = match parse(&known) {
            Ok(Parsed::Header(header)) => {
                take(stream, header.bytes - before).await?;
                return Ok(header);
            }
            Ok(Parsed::NeedMore) => bytes,
            Ok(Parsed::Absent) => return Err(Unwelcome::NoHeader),
            Err(malformed) => return Err(Unwelcome::Malformed(malformed.reason())),
        };
        take(stream, taken).await?;
    }
}

/// Takes bytes off the stream that were seen already.
async fn take(stream: &mut TcpStream, bytes: usize) -> Result<(), Unwelcome> {
    let mut taken = vec![0; bytes];
    let mut room = ReadBuf::new(&mut taken);
    std::future::poll_fn(|context| {
        while room.remaining() > 0 {
            let before = room.filled().len();
            let read = ready!(Pin::new(&mut *stream).poll_read(context, &mut room));
            if read.is_err() || room.filled().len() == before {
                return Poll::Ready(Err(Unwelcome::Gone));
            }
        }
        Poll::Ready(Ok(()))
    })
    .await
}
