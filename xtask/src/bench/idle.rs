//! What a connection costs that has had its answer and now rests.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::measure::Measured;
use super::peers::{self, Running};

/// Connections that rest.
pub const CONNECTIONS: usize = 8_000;
/// Connections before the first look, so that what the first ones bring with them is not counted.
const WARM_UP: usize = 100;
const ANSWER_SECONDS_MAX: u64 = 5;

/// Opens the connections, has one answer on each, and looks at what the process has grown by.
pub fn measure(balancer: &Running) -> Result<Measured, String> {
    let first = open(balancer, WARM_UP)?;
    let before = resident_bytes(balancer.process.id())?;
    let rest = open(balancer, CONNECTIONS)?;
    let after = resident_bytes(balancer.process.id())?;
    let mut all = first.iter().chain(&rest);
    if let Some(lost) = all.position(|stream| !is_open(stream)) {
        return Err(format!("connection {lost} was closed, so it rests no more"));
    }
    Ok(Measured {
        cost: (after - before) / CONNECTIONS as f64,
        rate: None,
    })
}

/// Connections with one answer each.
fn open(balancer: &Running, count: usize) -> Result<Vec<TcpStream>, String> {
    let cookie = match &balancer.cookie {
        Some(cookie) => format!("Cookie: {cookie}\r\n"),
        None => String::new(),
    };
    let request = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n{cookie}\r\n");
    let connect = |number| {
        let stream = ask(balancer.port, &request);
        stream.map_err(|error| format!("connection {number}: {error}"))
    };
    (1..=count).map(connect).collect()
}

fn ask(port: u16, request: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(ANSWER_SECONDS_MAX)))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    while !peers::is_origin_answer(&String::from_utf8_lossy(&answer)) {
        match stream.read(&mut part)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => answer.extend_from_slice(&part[..bytes]),
        }
    }
    stream.set_nonblocking(true)?;
    Ok(stream)
}

fn is_open(mut stream: &TcpStream) -> bool {
    stream
        .read(&mut [0])
        .is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// `Rss` of smaps_rollup is exact; that of /proc/PID/status is gathered lazily.
pub fn resident_bytes(process: u32) -> Result<f64, String> {
    let path = format!("/proc/{process}/smaps_rollup");
    let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
    parse_resident(&text).ok_or_else(|| format!("{path} is not as expected"))
}

fn parse_resident(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read() {
        let text = "5600-7ffc ---p 00000000 00:00 0 [rollup]\nRss:     3 kB\nPss:     1 kB\n";
        assert_eq!(parse_resident(text), Some(3072.0));
        assert_eq!(parse_resident("Pss: 1 kB\n"), None);
    }
}
