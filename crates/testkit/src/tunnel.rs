//! A client that switches protocols and then talks in lines, as a WebSocket would in frames.

use crate::wire::{Head, Wire};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

/// An open tunnel.
#[derive(Debug)]
pub struct Tunnel {
    wire: Wire,
    /// The head of the 101.
    pub head: Head,
}

/// How a tunnel ended, and when.
#[derive(Clone, Debug)]
pub struct TunnelEnd {
    /// By the wall clock, to compare with an announced deadline.
    pub at: SystemTime,
    /// `None` for a clean end; otherwise the reset or the like.
    pub error: Option<String>,
}

impl Tunnel {
    /// Asks for `/echo` to become a tunnel; the answer's head is the error if it does not.
    pub fn open(
        address: SocketAddr,
        limit: Duration,
        cookies: &str,
    ) -> io::Result<Result<Self, Head>> {
        let mut wire = Wire::connect(address, limit)?;
        let cookie = if cookies.is_empty() {
            String::new()
        } else {
            format!("Cookie: {cookies}\r\n")
        };
        let ask = format!(
            "GET /echo HTTP/1.1\r\nHost: {address}\r\n{cookie}Connection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        wire.send(ask.as_bytes())?;
        let head = wire.read_head()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(if head.status() == 101 {
            Ok(Self { wire, head })
        } else {
            Err(head)
        })
    }

    /// Sends bytes and waits until they have come back.
    pub fn echo(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.send(bytes)?;
        let mut back = Vec::new();
        while back.len() < bytes.len() {
            let piece = self.wire.read_some()?;
            if piece.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            back.extend(piece);
        }
        if back == bytes {
            Ok(())
        } else {
            Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "other bytes came back",
            ))
        }
    }

    /// Waits for the other side to end it; panics when it is still open after the client's limit.
    #[track_caller]
    pub fn wait_for_end(mut self) -> TunnelEnd {
        let error = match self.wire.read_to_end() {
            Ok(rest) if rest.is_empty() => None,
            Ok(rest) => Some(format!("{} bytes that nobody asked for", rest.len())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                panic!("the tunnel is still open")
            }
            Err(error) => Some(error.to_string()),
        };
        TunnelEnd {
            at: SystemTime::now(),
            error,
        }
    }
}
