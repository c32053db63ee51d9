//! What the operator wants of a server.

use crate::time::{Millis, Moment};

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
}
