//! `ebbtide server`: changes of servers while the node runs.

use super::{Force, Server, Why};
use clap::Subcommand;

/// Changes of servers while the node runs.
#[derive(Debug, Subcommand)]
pub enum ServerCommand {
    /// Add a server beside those of the file; it stays over reloads and restarts
    #[command(after_help = "\
Example:
  ebbtide server add app/web3 10.0.0.13:8080 --weight 2 --max-sessions 500")]
    Add {
        #[command(flatten)]
        server: Server,
        /// Where it is: host:port, IPv6 in brackets
        #[arg(value_name = "ADDRESS")]
        address: String,
        /// Its share of new sessions
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
        weight: Option<u32>,
        /// Most sessions it may have
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        max_sessions: Option<u32>,
        #[command(flatten)]
        why: Why,
    },
    /// Remove a server that was added so
    #[command(after_help = "\
Example:
  ebbtide server remove app/web3

With sessions it is drained first, unless it is down.")]
    Remove {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        force: Force,
        #[command(flatten)]
        why: Why,
    },
    /// Drop what was set so: the settings of the file count again
    #[command(after_help = "Example:\n  ebbtide server reset app/web2")]
    Reset {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        why: Why,
    },
    /// Change settings of a server; they stay over reloads and restarts
    #[command(after_help = "\
Examples:
  ebbtide server set app/web2 weight=2 max_sessions=500
  ebbtide server set app/web2 max_sessions=none
  ebbtide server set app/web2 peak_load=60
  ebbtide server set app/web2 peak_load=0      no new sessions
  ebbtide server set app/web2 peak_load=back   as before
  ebbtide server set app/web2 slow_start=now   all of its new sessions from now on

`ebbtide server reset` returns to the settings of the file.")]
    Set {
        #[command(flatten)]
        server: Server,
        /// weight=1..1000, max_sessions=NUMBER or =none, peak_load=0..100, =none or =back,
        /// slow_start=now
        #[arg(required = true, value_name = "NAME=VALUE", value_parser = assignment)]
        settings: Vec<Assignment>,
        /// Past the capacity guard, where the peak load takes the server out of traffic
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        why: Why,
    },
}

/// A setting of a server and its new value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignment {
    /// `weight=`
    Weight(u32),
    /// `max_sessions=`; `None` takes the limit away.
    MaxSessions(Option<u32>),
    /// `peak_load=`; `None` takes it away.
    PeakLoad(Option<u32>),
    /// `peak_load=back`
    PeakLoadBack,
    /// `slow_start=now`
    SlowStartOver,
}

fn assignment(text: &str) -> Result<Assignment, String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("expected NAME=VALUE, such as weight=2")?;
    let number = || value.parse::<u32>().ok().filter(|number| *number > 0);
    match (name, value) {
        ("weight", _) => number()
            .filter(|weight| *weight <= 1000)
            .map(Assignment::Weight)
            .ok_or_else(|| format!("`{value}` is no weight: expected 1 to 1000")),
        ("max_sessions", "none") => Ok(Assignment::MaxSessions(None)),
        ("max_sessions", _) => number()
            .map(|max| Assignment::MaxSessions(Some(max)))
            .ok_or_else(|| format!("`{value}` is no limit: expected a number above 0, or `none`")),
        ("slow_start", "now") => Ok(Assignment::SlowStartOver),
        ("slow_start", _) => Err(format!(
            "`{value}` cannot be set: `slow_start=now` ends a slow start, and how long one lasts is in \
             the file"
        )),
        ("peak_load", "none") => Ok(Assignment::PeakLoad(None)),
        ("peak_load", "back") => Ok(Assignment::PeakLoadBack),
        ("peak_load", _) => (value.parse::<u32>().ok())
            .filter(|percent| *percent <= 100)
            .map(|percent| Assignment::PeakLoad(Some(percent)))
            .ok_or_else(|| {
                format!("`{value}` is no peak load: expected 0 to 100, `none` or `back`")
            }),
        _ => Err(format!(
            "`{name}` cannot be set: expected weight, max_sessions, peak_load or slow_start"
        )),
    }
}
