//! The capacity guard: no command takes out the last server that takes new sessions, or goes under
//! the pool's minimum, unless it is forced.

use crate::event::count;
use crate::name::ServerName;
use crate::replica::CopyReason;
use crate::standing::Reason;
use std::fmt;

/// So many servers are named that do not take new sessions either.
const OTHERS_TOLD_MAX: usize = 5;

/// Why the guard holds a command back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardRefusal {
    /// The server that was to be taken out.
    pub server: ServerName,
    /// The resource whose new sessions are the obstacle, in a pool of protocol nbd.
    pub resource: Option<String>,
    /// The servers that would go on taking new sessions.
    pub would_leave: Vec<String>,
    /// The others, and why they would not.
    pub others: Vec<(String, TakesNone)>,
    /// How many the pool must keep.
    pub minimum: u32,
    /// Its live sessions, where they are the obstacle (removal), otherwise 0.
    pub sessions: u32,
}

/// Why a server takes no new sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakesNone {
    /// By its standing.
    Standing(Reason),
    /// It has as many sessions as it may have.
    Full {
        /// How many.
        max_sessions: u32,
    },
    /// Its copy of the resource does not serve new clients.
    Copy(CopyReason),
}

impl fmt::Display for TakesNone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standing(reason) => f.write_str(reason.label()),
            Self::Full { max_sessions } => {
                write!(f, "full, it may have {}", count(max_sessions, "session"))
            }
            Self::Copy(reason) => write!(f, "its copy serves nobody new: {reason}"),
        }
    }
}

impl GuardRefusal {
    /// Who would be left: `no server`, `only web1`.
    pub(crate) fn left(&self) -> String {
        match self.would_leave.as_slice() {
            [] => "no server".to_owned(),
            some => format!("only {}", some.join(", ")),
        }
    }

    /// What new sessions are of, where only some servers have the right copy of that.
    pub(crate) fn of_what(&self) -> String {
        let resource = self.resource.as_ref();
        resource.map_or(String::new(), |resource| format!(" of {resource}"))
    }

    /// Why the others would not take them, in parentheses.
    pub(crate) fn why_not(&self) -> String {
        let told = self.others.iter().take(OTHERS_TOLD_MAX);
        let mut told: Vec<String> = told.map(|(name, why)| format!("{name}: {why}")).collect();
        let more = self.others.len() - told.len();
        if more > 0 {
            told.push(format!("and {}", count(more, "more server")));
        }
        match told.is_empty() {
            true => String::new(),
            false => format!(" ({})", told.join("; ")),
        }
    }

    /// What would help.
    pub(crate) fn what_helps(&self) -> String {
        let pool = &self.server.pool;
        let find = |is: fn(&TakesNone) -> bool| self.others.iter().find(|(_, why)| is(why));
        let is_out = |why: &TakesNone| {
            let out = [Reason::Held, Reason::Draining, Reason::Maintenance];
            matches!(why, TakesNone::Standing(reason) if out.contains(reason))
        };
        let is_gone = |why: &TakesNone| matches!(why, TakesNone::Standing(reason) if *reason == Reason::Removed);
        if self.others.iter().all(|(_, why)| is_gone(why)) && self.would_leave.is_empty() {
            "add another server first".to_owned()
        } else if let Some((name, _)) = find(is_out) {
            format!("return another server first (ebbtide ready {pool}/{name})")
        } else if let Some((name, _)) = find(|why| *why == TakesNone::Standing(Reason::PeakZero)) {
            format!("return another server first (ebbtide server set {pool}/{name} peak_load=back)")
        } else if let Some((name, _)) = find(|why| matches!(why, TakesNone::Full { .. })) {
            format!("make room first (ebbtide server set {pool}/{name} max_sessions=…)")
        } else if find(|why| matches!(why, TakesNone::Copy(_))).is_some() {
            format!("see `ebbtide replicas {pool}`")
        } else {
            "see `ebbtide status`".to_owned()
        }
    }
}

impl fmt::Display for GuardRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = &self.server;
        if self.sessions > 0 {
            return write!(
                f,
                "{server} still has {}; drain it first (ebbtide drain {server} \
                 --within 30m), or use --force to remove it all the same",
                count(self.sessions, "session")
            );
        }
        write!(
            f,
            "taking {server} out would leave {} admitting new sessions{} in pool {}, which needs \
             {}{}; {}, or use --force to do it all the same",
            self.left(),
            self.of_what(),
            server.pool,
            self.minimum,
            self.why_not(),
            self.what_helps()
        )
    }
}
