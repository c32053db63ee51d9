//! How the connections end that are sessions.

use ebbtide_core::{EndReason, PoolSlot, Session, Snapshot};

/// How a connection of a TCP or an NBD pool ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Both sides closed, or the client of a disk left.
    Closed,
    /// One side broke it off.
    Broken,
    /// Silence for too long, or a handshake that took too long.
    Silent,
    /// Its time was over.
    Cut,
    /// No server could be connected to, or none could be asked any more.
    Unreachable,
    /// No server was to be had, or it asked for what it cannot have.
    Refused,
}

impl End {
    /// Counts it.
    pub fn count(self, slot: &PoolSlot) {
        match self {
            Self::Closed => &slot.connections_closed,
            Self::Broken => &slot.connections_broken,
            Self::Silent => &slot.connections_silent,
            Self::Cut => &slot.connections_cut,
            Self::Unreachable | Self::Refused => &slot.connections_unreachable,
        }
        .add(1);
    }
}

/// Why a session was cut that nobody has ended: what the newest snapshot says.
pub(crate) fn why_cut(session: &Session, snapshot: &Snapshot) -> EndReason {
    let server = snapshot.server_of(session);
    match snapshot.why_over(session) {
        Some(reason) => reason,
        None if server.is_some_and(|server| !server.standing.serves_own) => EndReason::ServerGone,
        // The program stops.
        None => EndReason::Disconnected,
    }
}
