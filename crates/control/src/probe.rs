//! One probe of one server.

#[cfg(test)]
mod tests;

use ebbtide_core::{HealthCheck, HealthSettings, Millis, ProbeOutcome};
use ebbtide_protocol::health::{HealthRule, PageHealth, read_health_page};
use ebbtide_protocol::http1::{
    BodyDecoder, BodyStep, Limits, Parsed, ResponseHead, parse_response,
};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// As much of a page is looked at.
const PAGE_BYTES_MAX: usize = 64 * 1024;

/// Probes the server at `address` (or at another port of it, where the rule says so).
pub(crate) async fn probe(address: SocketAddr, health: &HealthSettings) -> ProbeOutcome {
    let address = SocketAddr::new(address.ip(), health.port.unwrap_or(address.port()));
    let limit = Duration::from_millis(health.timeout.0);
    timeout(limit, exchange(address, &health.check))
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {}", Millis(health.timeout.0))))
        .unwrap_or_else(ProbeOutcome::Bad)
}

async fn exchange(address: SocketAddr, check: &HealthCheck) -> Result<ProbeOutcome, String> {
    let (path, host, status, expect) = match check {
        HealthCheck::Tcp { send, expect } => {
            return converse(address, send.as_deref(), expect.as_deref()).await;
        }
        HealthCheck::Http {
            path,
            host,
            status,
            expect,
        } => (path, host, status, expect),
    };
    let host = host.clone().unwrap_or_else(|| address.to_string());
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: ebbtide-health\r\n\
         Accept: */*\r\nConnection: close\r\n\r\n"
    );
    let page = ask(address, request.as_bytes(), expect.is_some()).await?;
    let rule = HealthRule {
        status: status.clone(),
        expect: expect.clone(),
    };
    Ok(match read_health_page(page.status(), &page.body, &rule) {
        PageHealth::Active { places } => ProbeOutcome::Good { places },
        PageHealth::Odd { places, why } => ProbeOutcome::Odd { places, why },
        PageHealth::OnHold => ProbeOutcome::OnHold,
        PageHealth::AllInUse => ProbeOutcome::AllInUse,
        PageHealth::Failing(why) => ProbeOutcome::Bad(why),
    })
}

/// Connects, says what is to be said, and reads until the server has said what it is to say.
async fn converse(
    address: SocketAddr,
    send: Option<&[u8]>,
    expect: Option<&[u8]>,
) -> Result<ProbeOutcome, String> {
    let mut stream = TcpStream::connect(address).await.map_err(describe)?;
    if let Some(send) = send {
        stream.write_all(send).await.map_err(describe)?;
    }
    let mut said = Vec::new();
    while let Some(expect) = expect.filter(|expect| !holds(&said, expect)) {
        if said.len() >= PAGE_BYTES_MAX {
            return Err(format!(
                "the server's first {PAGE_BYTES_MAX} bytes do not hold `{}`",
                expect.escape_ascii()
            ));
        }
        if stream.read_buf(&mut said).await.map_err(describe)? == 0 {
            return Err(format!(
                "closed the connection without saying `{}`",
                expect.escape_ascii()
            ));
        }
    }
    Ok(ProbeOutcome::Good { places: None })
}

fn holds(said: &[u8], expect: &[u8]) -> bool {
    said.windows(expect.len().max(1))
        .any(|window| window == expect)
}

/// Sends one whole request on a connection of its own and reads the head of the answer, with the
/// page, or as much of it as is looked at, if that is wanted. Whoever calls sets the time limit.
pub(crate) async fn ask(
    address: SocketAddr,
    request: &[u8],
    with_body: bool,
) -> Result<Page, String> {
    let mut stream = TcpStream::connect(address).await.map_err(describe)?;
    stream.write_all(request).await.map_err(describe)?;
    let mut page = Page::default();
    page.read_head(&mut stream).await?;
    if with_body {
        page.read_body(&mut stream).await?;
    }
    Ok(page)
}

/// An answer as it comes in.
#[derive(Default)]
pub(crate) struct Page {
    head: ResponseHead,
    /// Bytes that came and have not been understood yet.
    input: Vec<u8>,
    /// The body, or as much of it as is looked at.
    pub body: Vec<u8>,
}

impl Page {
    /// The status of the final answer.
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// Reads the head of the final answer; interim ones (1xx) are passed over.
    async fn read_head(&mut self, stream: &mut TcpStream) -> Result<(), String> {
        let mut interim = 0;
        loop {
            let parsed = parse_response(&self.input, &Limits::default(), false, &mut self.head)
                .map_err(|reject| format!("the answer is not sound HTTP: {reject}"))?;
            if parsed == Parsed::Partial {
                if self.fill(stream).await? == 0 {
                    return Err("closed the connection without an answer".into());
                }
                continue;
            }
            self.input.drain(..self.head.head_bytes);
            if self.head.status >= 200 {
                return Ok(());
            }
            interim += 1;
            if interim > 8 {
                return Err("interim answers (1xx) without end".into());
            }
        }
    }

    /// Reads the body, or as much of it as is looked at.
    async fn read_body(&mut self, stream: &mut TcpStream) -> Result<(), String> {
        let unsound = |reject| format!("the page is not sound HTTP: {reject}");
        let mut decoder = BodyDecoder::new(self.head.framing);
        while self.body.len() < PAGE_BYTES_MAX {
            match decoder.decode(&self.input).map_err(unsound)? {
                BodyStep::Data { skip, data } => {
                    self.body.extend_from_slice(&self.input[skip..skip + data]);
                    self.input.drain(..skip + data);
                }
                BodyStep::Done { .. } => return Ok(()),
                BodyStep::More { .. } => {
                    self.input.clear();
                    if self.fill(stream).await? == 0 {
                        return decoder.finish().map_err(unsound);
                    }
                }
            }
        }
        self.body.truncate(PAGE_BYTES_MAX);
        Ok(())
    }

    async fn fill(&mut self, stream: &mut TcpStream) -> Result<usize, String> {
        self.input.reserve(4096);
        stream.read_buf(&mut self.input).await.map_err(describe)
    }
}

pub(crate) fn describe(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::ConnectionReset => "the connection was reset".into(),
        io::ErrorKind::HostUnreachable => "the host cannot be reached".into(),
        io::ErrorKind::NetworkUnreachable => "the network cannot be reached".into(),
        _ => error.to_string(),
    }
}
