//! The rows of the comparison: the work of each, and what DESIGN wants of Ebbtide there.

use std::fmt;

use super::peers::Peer;
use super::{hold, nbd};

/// One kind of work.
#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
pub enum Row {
    #[value(name = "keep-alive-64")]
    KeepAlive64,
    #[value(name = "keep-alive-512")]
    KeepAlive512,
    #[value(name = "10k")]
    Body10K,
    #[value(name = "1m")]
    Body1M,
    #[value(name = "new-connections")]
    NewConnections,
    #[value(name = "post")]
    Post,
    #[value(name = "idle")]
    Idle,
    #[value(name = "hold")]
    Hold,
    #[value(name = "tcp-down")]
    TcpDown,
    #[value(name = "tcp-up")]
    TcpUp,
    #[value(name = "tcp-echo")]
    TcpEcho,
    #[value(name = "nbd-copy")]
    NbdCopy,
    #[value(name = "nbd-small")]
    NbdSmall,
    #[value(name = "nbd-pause")]
    NbdPause,
    #[value(name = "manifest")]
    Manifest,
    #[value(name = "console-pages")]
    ConsolePages,
    #[value(name = "console-flood")]
    ConsoleFlood,
    #[value(name = "console-amounts")]
    ConsoleAmounts,
}

/// Rows that are measured together.
#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
pub enum Suite {
    Http,
    Tcp,
    Nbd,
    /// Has no rows, as nothing is compared with peers
    Exporters,
    Console,
}

/// What is done to a balancer in a row.
pub enum Work {
    Load(Load),
    /// Connections that have had an answer, and now rest.
    Rest,
    /// Holds, while there is load.
    Hold,
    /// What `tcp_load` does, with so many connections.
    Tcp {
        kind: &'static str,
        connections: u32,
    },
    /// All of a disk, in order.
    NbdCopy,
    /// Small reads of a disk, anywhere.
    NbdSmall,
    /// Small reads, and a server that goes away meanwhile.
    NbdPause,
    /// Digests of files.
    Manifest,
    /// Operators look, with many sessions and under many events.
    Console,
}

impl Work {
    const fn tcp(kind: &'static str, connections: u32) -> Self {
        Self::Tcp { kind, connections }
    }
}

/// What wrk does.
pub struct Load {
    pub connections: u32,
    pub path: &'static str,
    /// Every request posts 1 KB.
    pub posts: bool,
    /// Every request has a connection of its own.
    pub closes: bool,
}

impl Load {
    const fn get(connections: u32, path: &'static str) -> Self {
        Self {
            connections,
            path,
            posts: false,
            closes: false,
        }
    }
}

/// Ebbtide's figure, in one round, is to be at most this.
pub enum Target {
    /// So many times the best of these peers.
    Times(f64, &'static [Peer]),
    /// An amount.
    Amount(f64),
    /// An amount, at the 99th percentile of these times.
    P99(&'static str, f64),
}

/// HAProxy as it comes and with splicing: a row that has both is compared with the better one.
const HAPROXY: &[Peer] = &[Peer::Haproxy, Peer::HaproxySplice];

impl Row {
    pub const ALL: [Self; 18] = [
        Self::KeepAlive64,
        Self::KeepAlive512,
        Self::Body10K,
        Self::Body1M,
        Self::NewConnections,
        Self::Post,
        Self::Idle,
        Self::Hold,
        Self::TcpDown,
        Self::TcpUp,
        Self::TcpEcho,
        Self::NbdCopy,
        Self::NbdSmall,
        Self::NbdPause,
        Self::Manifest,
        Self::ConsolePages,
        Self::ConsoleFlood,
        Self::ConsoleAmounts,
    ];

    pub fn suite(self) -> Suite {
        match self {
            Self::TcpDown | Self::TcpUp | Self::TcpEcho => Suite::Tcp,
            Self::NbdCopy | Self::NbdSmall | Self::NbdPause | Self::Manifest => Suite::Nbd,
            Self::ConsolePages | Self::ConsoleFlood | Self::ConsoleAmounts => Suite::Console,
            _ => Suite::Http,
        }
    }

    pub fn work(self) -> Work {
        Work::Load(match self {
            Self::KeepAlive64 => Load::get(64, "/"),
            Self::KeepAlive512 => Load::get(512, "/"),
            Self::Body10K => Load::get(64, "/10k"),
            Self::Body1M => Load::get(16, "/1m"),
            Self::NewConnections => Load {
                closes: true,
                ..Load::get(64, "/")
            },
            Self::Post => Load {
                posts: true,
                ..Load::get(64, "/")
            },
            Self::Idle => return Work::Rest,
            Self::Hold => return Work::Hold,
            Self::TcpDown => return Work::tcp("down", 8),
            Self::TcpUp => return Work::tcp("up", 8),
            Self::TcpEcho => return Work::tcp("echo", 64),
            Self::NbdCopy => return Work::NbdCopy,
            Self::NbdSmall => return Work::NbdSmall,
            Self::NbdPause => return Work::NbdPause,
            Self::Manifest => return Work::Manifest,
            Self::ConsolePages | Self::ConsoleFlood | Self::ConsoleAmounts => return Work::Console,
        })
    }

    pub fn peers(self) -> &'static [Peer] {
        match self {
            Self::KeepAlive64 | Self::KeepAlive512 | Self::Body10K => {
                &[Peer::Ebbtide, Peer::Haproxy, Peer::Nginx, Peer::Floor]
            }
            Self::Body1M => &[
                Peer::Ebbtide,
                Peer::Haproxy,
                Peer::HaproxySplice,
                Peer::Nginx,
            ],
            Self::Hold
            | Self::NbdPause
            | Self::ConsolePages
            | Self::ConsoleFlood
            | Self::ConsoleAmounts => &[Peer::Ebbtide],
            Self::TcpDown | Self::TcpUp => &[Peer::Ebbtide, Peer::Haproxy, Peer::HaproxySplice],
            Self::TcpEcho => &[
                Peer::Ebbtide,
                Peer::Haproxy,
                Peer::HaproxySplice,
                Peer::Floor,
            ],
            Self::NbdCopy | Self::NbdSmall => &[Peer::Ebbtide, Peer::Floor, Peer::Direct],
            Self::Manifest => &[Peer::Ebbtide, Peer::B3sum],
            _ => &[Peer::Ebbtide, Peer::Haproxy, Peer::Nginx],
        }
    }

    pub fn unit(self) -> &'static str {
        match self {
            Self::Idle => "bytes per connection",
            Self::Hold | Self::NbdPause | Self::ConsolePages | Self::ConsoleFlood => "ms",
            Self::ConsoleAmounts => "as named",
            Self::TcpDown | Self::TcpUp => "ms of CPU per GB",
            Self::TcpEcho => "µs of CPU per round trip",
            Self::NbdCopy | Self::Manifest => "ms per GB",
            Self::NbdSmall => "µs per read",
            _ => "µs per request",
        }
    }

    /// What the rate counts.
    pub fn rate_unit(self) -> &'static str {
        match self {
            Self::TcpDown | Self::TcpUp | Self::NbdCopy | Self::Manifest => "MB/s",
            Self::TcpEcho => "round trips/s",
            Self::NbdSmall => "reads/s",
            _ => "requests/s",
        }
    }

    /// What is wanted; a row without any is only watched.
    pub fn targets(self) -> &'static [Target] {
        match self {
            Self::KeepAlive64 => &[
                Target::Times(0.80, HAPROXY),
                Target::Times(1.15, &[Peer::Floor]),
            ],
            Self::KeepAlive512 => &[Target::Times(0.70, HAPROXY)],
            Self::Body10K => &[Target::Times(0.78, HAPROXY)],
            Self::Body1M => &[Target::Times(0.65, HAPROXY)],
            Self::NewConnections => &[
                Target::Times(0.87, HAPROXY),
                Target::Times(1.0, &[Peer::Nginx]),
            ],
            Self::Post | Self::ConsolePages | Self::ConsoleFlood | Self::ConsoleAmounts => &[],
            Self::Idle => &[Target::Amount(2048.0)],
            Self::Hold => &[Target::P99(hold::UNDER_LOAD, 5.0)],
            // 1.8 times the bytes per CPU-second.
            Self::TcpDown | Self::TcpUp => &[Target::Times(1.0 / 1.8, HAPROXY)],
            Self::TcpEcho => &[Target::Times(0.97, HAPROXY)],
            // 0.8 times the rate.
            Self::NbdCopy => &[Target::Times(1.25, &[Peer::Direct])],
            Self::NbdSmall => &[],
            Self::NbdPause => &[
                Target::P99(nbd::KILLED, 50.0),
                Target::P99(nbd::DRAINED, 5.0),
            ],
            // 0.9 times the rate.
            Self::Manifest => &[Target::Times(1.0 / 0.9, &[Peer::B3sum])],
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Nbd => "nbd",
            Self::Exporters => "exporters",
            Self::Console => "console",
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KeepAlive64 => "Keep-alive, 128 B, 64 connections",
            Self::KeepAlive512 => "Keep-alive, 128 B, 512 connections",
            Self::Body10K => "Keep-alive, 10 KB, 64 connections",
            Self::Body1M => "Keep-alive, 1 MB, 16 connections",
            Self::NewConnections => "New connection per request, 128 B, 64 at a time",
            Self::Post => "POST of 1 KB, 64 connections",
            Self::Idle => "Memory per idle keep-alive connection, 8,000 of them",
            Self::Hold => "Hold, acknowledged under full load",
            Self::TcpDown => "TCP from the server, 8 connections",
            Self::TcpUp => "TCP to the server, 8 connections",
            Self::TcpEcho => "TCP round trips of 64 bytes, 64 connections",
            Self::NbdCopy => "NBD: a disk of 1 GiB, read in order",
            Self::NbdSmall => "NBD: random reads of 4 KiB, 16 at a time",
            Self::NbdPause => "NBD: the longest wait for a read of 4 KiB, when a server goes",
            Self::Manifest => "Digests of a file of 1 GiB",
            Self::ConsolePages => "Console: 100,000 sessions",
            Self::ConsoleFlood => "Console: 10,000 events a second",
            Self::ConsoleAmounts => "Console: sizes, rates and memory",
        })
    }
}
