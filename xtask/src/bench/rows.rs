//! The rows of the comparison: the work of each, and what DESIGN wants of Ebbtide there.

use std::fmt;

use super::peers::Peer;

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
}

/// What is done to a balancer in a row.
pub enum Work {
    Load(Load),
    /// Connections that have had an answer, and now rest.
    Rest,
    /// Holds, while there is load.
    Hold,
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
}

/// HAProxy as it comes and with splicing: a row that has both is compared with the better one.
const HAPROXY: &[Peer] = &[Peer::Haproxy, Peer::HaproxySplice];

impl Row {
    pub const ALL: [Self; 8] = [
        Self::KeepAlive64,
        Self::KeepAlive512,
        Self::Body10K,
        Self::Body1M,
        Self::NewConnections,
        Self::Post,
        Self::Idle,
        Self::Hold,
    ];

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
            Self::Hold => &[Peer::Ebbtide],
            _ => &[Peer::Ebbtide, Peer::Haproxy, Peer::Nginx],
        }
    }

    pub fn unit(self) -> &'static str {
        match self {
            Self::Idle => "bytes per connection",
            Self::Hold => "ms",
            _ => "µs per request",
        }
    }

    /// The targets of DESIGN section 8; a row without any is only watched.
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
            Self::Post => &[],
            Self::Idle => &[Target::Amount(2048.0)],
            Self::Hold => &[Target::Amount(5.0)],
        }
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
        })
    }
}
