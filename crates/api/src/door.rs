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
    /// Of an HTTP pool path and query, on any address of the pool. Of an NBD pool what is put after the
    /// name of a resource, so that it is the name of an export: `@` and a key.
    pub path: String,
    /// The same for each listener of the pool; of an NBD pool for each resource, too.
    pub urls: Vec<String>,
    /// The address works once; otherwise as long as the door is open.
    pub works_once: bool,
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
    /// Connections of an NBD pool that are open through it.
    pub connections: u32,
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
            works_once: true,
            until: Timestamp(0),
        };
        assert!(!format!("{new:?}").contains("hush"));
    }
}
