//! Slow start: a server that comes back is empty and cold. For a while it takes part in fewer choices
//! than the others, so that it is not given every new session at once.

use crate::candidates::Candidate;
use crate::snapshot::ServerView;
use crate::standing::Reason;
use crate::time::Millis;

/// The whole share, in percent: of a server that does not come back.
pub const SHARE_WHOLE: u8 = 100;
/// The share at first, in percent, and by how much it grows at a time.
const SHARE_STEP: u64 = 5;

/// The share that a server has when so much of its slow start is over, in percent of the new sessions
/// that it would get without: from 5 on with the square of the time, in steps of 5, up to 100.
pub fn share_after(elapsed: Millis, slow_start: Millis) -> u8 {
    if elapsed >= slow_start {
        return SHARE_WHOLE;
    }
    let (elapsed, whole) = (u128::from(elapsed.0), u128::from(slow_start.0));
    let grown = u128::from(u64::from(SHARE_WHOLE) - SHARE_STEP) * elapsed * elapsed;
    let share = SHARE_STEP + (grown / (whole * whole)) as u64;
    (share / SHARE_STEP * SHARE_STEP) as u8
}

/// The shares of servers that take new sessions, seen together: the one with the largest counts in
/// full, so that nobody is passed over where there is none that is better off.
pub(crate) fn seen_together(servers: &mut [ServerView]) {
    let admitting = servers.iter().filter(|server| server.standing.admits_new);
    let largest = admitting.map(|server| server.share).max();
    let largest = u32::from(largest.unwrap_or(SHARE_WHOLE).max(1));
    for server in servers {
        let share = u32::from(server.share) * u32::from(SHARE_WHOLE) / largest;
        server.share = match server.standing.admits_new {
            true => share.clamp(1, u32::from(SHARE_WHOLE)) as u8,
            false => SHARE_WHOLE,
        };
    }
}

/// Whether a server that stands like this comes back when it stands otherwise. One that had enough to
/// do was not away: it has its sessions, and is warm.
pub(crate) fn is_away(reason: Reason) -> bool {
    match reason {
        Reason::Starting
        | Reason::Held
        | Reason::Draining
        | Reason::Maintenance
        | Reason::Verifying
        | Reason::Unverified
        | Reason::Drill
        | Reason::Down
        | Reason::LastResort
        | Reason::ReportsHold
        | Reason::PeakZero
        | Reason::AgentDrain
        | Reason::AgentMaintenance
        | Reason::Sick => true,
        Reason::Ready
        | Reason::Unproven
        | Reason::Full
        | Reason::NoCopy
        | Reason::ReportsFull
        | Reason::OverPeak
        | Reason::AgentFull
        | Reason::Closing
        | Reason::Closed
        | Reason::DoorOnly
        | Reason::Removed => false,
    }
}

impl Candidate {
    /// Whether it takes part in the choice that is made with these dice: always, unless it comes back;
    /// then in as many of a hundred as it has share.
    pub fn takes_part(&self, dice: u64) -> bool {
        self.share == SHARE_WHOLE || {
            let drawn = crate::balance::split_mix(dice ^ !u64::from(self.key.0)) >> 32;
            (drawn * u64::from(SHARE_WHOLE)) >> 32 < u64::from(self.share)
        }
    }
}
