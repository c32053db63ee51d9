//! Doors: an operator's own way in to a server that is closed to users.

use crate::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// Body of `POST servers/{pool}/{server}/doors`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OpenDoor {
    /// How long it is open: a minute to twelve hours; 30 minutes if absent.
    pub lasting_ms: Option<u64>,
    /// Requests through it carry the pool's `admin_field`.
    pub as_admin: bool,
    /// Why, for the audit log.
    pub reason: Option<String>,
}

/// A door that was opened. Its address is shown only here.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NewDoor {
    /// Its number.
    pub id: String,
    /// What was done, in a sentence.
    pub text: String,
    /// The one-use address: path and query, on any address of the pool.
    pub path: String,
    /// The same for each listener of the pool.
    pub urls: Vec<String>,
    /// When it ends.
    pub until: Timestamp,
}

/// The address opens the door: it is never printed.
impl fmt::Debug for NewDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("NewDoor");
        shown.field("id", &self.id).field("until", &self.until);
        shown.finish_non_exhaustive()
    }
}

/// A door that is open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Door {
    /// Its number.
    pub id: String,
    /// The pool that it is in.
    pub pool: String,
    /// The server that it leads to at present; absent if that is gone.
    pub server: Option<String>,
    /// Who opened it.
    pub by: String,
    /// When it ends.
    pub until: Timestamp,
    /// When it was entered; absent if nobody has.
    pub entered: Option<Timestamp>,
    /// Requests through it carry the pool's `admin_field`.
    pub as_admin: bool,
}

/// `GET doors`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Doors {
    /// The doors that are open, by number.
    pub doors: Vec<Door>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_never_printed() {
        let new = NewDoor {
            id: "0".into(),
            text: String::new(),
            path: "/.ebbtide/enter?key=hush".into(),
            urls: vec!["http://a/.ebbtide/enter?key=hush".into()],
            until: Timestamp(0),
        };
        assert!(!format!("{new:?}").contains("hush"));
    }
}
