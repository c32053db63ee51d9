//! What the operator wants of a server, and of a pool.

use crate::time::{Millis, Moment, WallTime};

/// What the operator wants of a server. Durable; only an operator's command or a drain's own end
/// changes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Intent {
    /// Takes new sessions and serves its own.
    #[default]
    Ready,
    /// Serves its own sessions, takes no new ones.
    Hold,
    /// A hold with a deadline; becomes `Maintenance` when the last session is gone or time is up.
    Drain(Drain),
    /// Serves nobody.
    Maintenance,
}

/// A hold with a deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// When the sessions that are left are ended.
    pub deadline: Moment,
    /// How long the operator gave, from the command to the deadline.
    pub within: Millis,
    /// What users are told.
    pub message: Option<String>,
}

impl Intent {
    /// The word that people see and type.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Hold => "hold",
            Self::Drain(_) => "drain",
            Self::Maintenance => "maintenance",
        }
    }

    /// When the remaining sessions end, where that is decided.
    pub fn deadline(&self) -> Option<Moment> {
        match self {
            Self::Drain(drain) => Some(drain.deadline),
            _ => None,
        }
    }

    /// What users are told, if they are told something.
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Drain(drain) => drain.message.as_deref(),
            _ => None,
        }
    }
}

/// What the operator wants of a whole pool: the service, as users know it. Durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PoolIntent {
    /// Serves users.
    #[default]
    Open,
    /// Closes at a deadline.
    Closing(Closing),
    /// Serves nobody but operators who come through a door.
    Closed(Closure),
}

/// A countdown to a pool's closure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// When the sessions that are left are ended.
    pub deadline: Moment,
    /// How long the operator gave, from the command to the deadline.
    pub within: Millis,
    /// When new sessions are refused: now, or only from the deadline on.
    pub block_new: BlockNew,
    /// What comes at the deadline.
    pub closure: Closure,
}

/// From when on a pool that is closing refuses new sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BlockNew {
    /// From the command on.
    #[default]
    Now,
    /// From the deadline on.
    AtDeadline,
}

/// What is told of a closed pool, and how it opens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closure {
    /// What users are told.
    pub message: Option<String>,
    /// When the pool will probably be open again, as the operator said.
    pub expected_end: Option<WallTime>,
    /// Opens by itself when the pool's upgrade check says so.
    pub until_upgraded: bool,
}

impl PoolIntent {
    /// The word that people see.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closing(_) => "closing",
            Self::Closed(_) => "closed",
        }
    }

    /// When the remaining sessions end, where that is decided.
    pub fn deadline(&self) -> Option<Moment> {
        match self {
            Self::Closing(closing) => Some(closing.deadline),
            _ => None,
        }
    }

    /// What users are told of its closure, if it is closing or closed.
    pub fn closure(&self) -> Option<&Closure> {
        match self {
            Self::Open => None,
            Self::Closing(closing) => Some(&closing.closure),
            Self::Closed(closure) => Some(closure),
        }
    }

    /// Whether it opens by itself when the pool's upgrade check says so.
    pub fn opens_by_itself(&self) -> bool {
        self.closure().is_some_and(|closure| closure.until_upgraded)
    }

    /// Whether new sessions are refused now.
    pub fn blocks_new(&self) -> bool {
        match self {
            Self::Open => false,
            Self::Closing(closing) => closing.block_new == BlockNew::Now,
            Self::Closed(_) => true,
        }
    }
}

impl BlockNew {
    /// The word that people see and type.
    pub fn label(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::AtDeadline => "at-deadline",
        }
    }
}
