//! Slow start: a server that comes back is empty and cold. For a while it takes part in fewer choices
//! than the others, so that it is not given every new session at once.

use crate::candidates::Candidate;
use crate::standing::Reason;
use crate::time::Millis;

/// The whole share, in percent: of a server that does not come back.
pub const SHARE_WHOLE: u8 = 100;
/// The share at first, in percent, and by how much it grows at a time.
const SHARE_STEP: u64 = 5;
/// A server's own share when its slow start is over.
pub(crate) const OWN_WHOLE: u64 = 1_000_000_000;

/// The share that a server has when so much of its slow start is over, in percent of the new sessions
/// that it would get without: from 5 on with the square of the time, in steps of 5, up to 100.
pub fn share_after(elapsed: Millis, slow_start: Millis) -> u8 {
    share_beside(OWN_WHOLE, own_share(elapsed, slow_start))
}

/// A server's own share, before it is rounded to a step: 0 to [`OWN_WHOLE`].
pub(crate) fn own_share(elapsed: Millis, slow_start: Millis) -> u64 {
    if elapsed >= slow_start {
        return OWN_WHOLE;
    }
    let (elapsed, whole) = (u128::from(elapsed.0), u128::from(slow_start.0));
    let least = OWN_WHOLE * SHARE_STEP / u64::from(SHARE_WHOLE);
    let grown = u128::from(OWN_WHOLE - least) * elapsed * elapsed;
    least + (grown / (whole * whole)) as u64
}

/// The share that a server with this share of its own has beside the one of its pool that is furthest,
/// in percent, in steps of 5: that one counts in full, so that nobody is passed over where there is none
/// that is better off. Of shares that were rounded already, the one of a server that follows closely
/// would jump between a half and all.
pub(crate) fn share_beside(furthest: u64, own: u64) -> u8 {
    let share = own.min(furthest) * u64::from(SHARE_WHOLE) / furthest.max(1);
    (share / SHARE_STEP * SHARE_STEP).max(SHARE_STEP) as u8
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
