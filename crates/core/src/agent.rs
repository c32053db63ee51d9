//! What agents on servers say: an agent speaks for the server's own operator and for its machine.

use crate::time::Millis;

/// How the agents of a pool's servers are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentSettings {
    /// The port that they answer on, at the servers' own addresses.
    pub port: u16,
    /// Time between two questions; jittered by a tenth.
    pub every: Millis,
    /// How long an answer may take.
    pub timeout: Millis,
}

/// An agent's answer; of what it does not speak of, everything stays as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentSaid {
    /// Whether the server is to take new sessions.
    pub wish: Option<AgentWish>,
    /// Whether the service works.
    pub health: Option<AgentHealth>,
    /// The server's share of new sessions.
    pub weight: Option<AgentWeight>,
    /// Most sessions that it may have; 0: no limit.
    pub max_sessions: Option<u32>,
    /// For people.
    pub remark: Option<String>,
    /// What was not taken as it was said, for people.
    pub note: Option<String>,
}

/// What a server's own operator wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AgentWish {
    /// New sessions are welcome.
    #[default]
    Ready,
    /// No new sessions.
    Drain,
    /// No new sessions, and work is done there. An agent never ends sessions.
    Maintenance,
}

impl AgentWish {
    /// The word of the protocol.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maintenance => "maint",
        }
    }
}

/// What an agent thinks of the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AgentHealth {
    /// It works, as far as the agent knows.
    #[default]
    Up,
    /// It does not.
    Down,
    /// It is there, and fails.
    Fail,
    /// Somebody has stopped it.
    Stopped,
}

impl AgentHealth {
    /// The word of the protocol.
    pub fn label(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Fail => "fail",
            Self::Stopped => "stopped",
        }
    }
}

/// A server's share of new sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentWeight {
    /// Of the weight that the server was given, in percent; 0: it has enough.
    Percent(u32),
    /// In place of that; 0: it has enough.
    Absolute(u32),
}

impl AgentWeight {
    /// Its number.
    fn number(self) -> u32 {
        match self {
            Self::Percent(number) | Self::Absolute(number) => number,
        }
    }

    /// Whether the server has enough.
    pub fn is_none(self) -> bool {
        self.number() == 0
    }

    /// Whether it is so near to another one that nothing need change for it: new weights cost every
    /// worker a new snapshot, and a machine's load is never quite the same twice.
    pub(crate) fn is_near(self, other: Self) -> bool {
        let same_kind = matches!(
            (self, other),
            (Self::Percent(_), Self::Percent(_)) | (Self::Absolute(_), Self::Absolute(_))
        );
        let (one, other) = (u64::from(self.number()), u64::from(other.number()));
        same_kind && (one == 0) == (other == 0) && one.abs_diff(other) * 10 <= other
    }

    /// In hundredths of a weight, from the weight that the server was given.
    pub(crate) fn of(self, given: u32) -> u32 {
        match self {
            Self::Percent(percent) => given.saturating_mul(percent),
            Self::Absolute(weight) => weight.saturating_mul(WEIGHT_PARTS),
        }
        .clamp(1, WEIGHT_MAX * WEIGHT_PARTS)
    }
}

/// Where agents tell shares of weights, a weight of 1 is so many.
pub(crate) const WEIGHT_PARTS: u32 = 100;
/// The largest weight.
const WEIGHT_MAX: u32 = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use AgentWeight::{Absolute, Percent};

    #[test]
    fn a_weight_that_has_hardly_changed_is_near() {
        for (now, then, is_near) in [
            (Percent(60), Percent(63), true),
            (Percent(60), Percent(70), false),
            (Percent(4), Percent(5), false),
            (Percent(0), Percent(1), false),
            (Percent(1), Percent(0), false),
            (Percent(0), Percent(0), true),
            (Percent(50), Absolute(50), false),
            (Absolute(100), Absolute(109), true),
            (Percent(u32::MAX), Percent(u32::MAX), true),
        ] {
            assert_eq!(now.is_near(then), is_near, "{now:?} {then:?}");
        }
    }

    #[test]
    fn a_share_is_of_the_weight_that_was_given_and_within_bounds() {
        assert_eq!(Percent(63).of(1), 63);
        assert_eq!(Percent(50).of(8), 400);
        assert_eq!(Absolute(8).of(3), 800);
        assert_eq!(Percent(u32::MAX).of(1000), 100_000);
        assert_eq!(Absolute(0).of(3), 1);
    }
}
