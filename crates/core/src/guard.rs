//! The capacity guard: no command takes out the last server that admits sessions, or goes under
//! the pool's minimum, unless it is forced.

use crate::event::count;
use crate::name::ServerName;
use std::fmt;

/// Why the guard holds a command back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardRefusal {
    /// The server that was to be taken out.
    pub server: ServerName,
    /// The servers that would go on admitting new sessions.
    pub would_leave: Vec<String>,
    /// How many the pool must keep.
    pub minimum: u32,
    /// Its live sessions, where they are the obstacle (removal), otherwise 0.
    pub sessions: u32,
}

impl fmt::Display for GuardRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            server,
            would_leave,
            minimum,
            sessions,
        } = self;
        if *sessions > 0 {
            return write!(
                f,
                "{server} still has {}; drain it first (ebbtide drain {server} \
                 --within 30m), or use --force to remove it all the same: its users are placed anew",
                count(*sessions, "session")
            );
        }
        let left = match would_leave.as_slice() {
            [] => "no server".to_owned(),
            [one] => format!("only {one}"),
            many => format!("only {}", many.join(", ")),
        };
        write!(
            f,
            "taking {server} out would leave {left} admitting new sessions in pool {}, which needs \
             {minimum}; return another server first (ebbtide ready …), or use --force to do it all \
             the same",
            server.pool
        )
    }
}
