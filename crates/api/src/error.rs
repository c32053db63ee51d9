//! The one shape of every error.

use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorDetail {
    /// Its kind, for programs.
    pub kind: ErrorKind,
    /// What happened, to what, and what to do, for people.
    pub message: String,
    /// Of a guard: the servers that would go on admitting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would_leave: Option<Vec<String>>,
    /// Of a guard: how many servers the pool must keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<u32>,
    /// Of a guard: the sessions that are in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u32>,
}

impl ErrorDetail {
    /// An error that is no guard's.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            would_leave: None,
            minimum: None,
            sessions: None,
        }
    }
}

impl fmt::Display for ErrorDetail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Kinds of error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// 404: no such pool, server, session, token or endpoint.
    NotFound,
    /// 400, 405, 413, 415 or 422: the request makes no sense, by itself or in the present state.
    Invalid,
    /// 409: a guard holds it back; `force` would do it.
    Guarded,
    /// 409: it exists already, is so already, or nobody would be left who may do such a thing.
    Conflict,
    /// 503, or 507 when the disk is full: the store could not take it. Nothing has changed.
    Store,
    /// 504: a worker did not acknowledge it in time; it is stored and will be in force.
    Unacknowledged,
    /// 504: a session was not served elsewhere in time; it goes on where it is.
    NotMoved,
    /// 401: no token, or one that is not known.
    Unauthorized,
    /// 403: the role is not enough, or the request came from a foreign web page.
    Forbidden,
    /// 403: a forced change, and the browser's user signed in some time ago: he has to show
    /// again who he is.
    SignInOld,
    /// 503: the node is being stopped. Nothing has changed.
    Stopping,
    /// 500 or 503: the node could not do its part.
    Internal,
}
