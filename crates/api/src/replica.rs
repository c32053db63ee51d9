//! What is shown of replicas.

use crate::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET pools/{pool}/replicas`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Replicas {
    /// The pool's name.
    pub pool: String,
    /// Where the identities of copies come from: `manifest`, `read` or `headers`.
    pub identity: String,
    /// The pool's resources, by ascending name.
    pub resources: Vec<Resource>,
}

/// A resource: something that servers have copies of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Resource {
    /// Its name: what clients ask for.
    pub name: String,
    /// `shared`, `private` or `maintenance`.
    pub mode: String,
    /// Whether several servers share its clients.
    pub balance: bool,
    /// The one server that serves it, where there is one only.
    pub server: Option<String>,
    /// The BLAKE3 digest of the right copy, where the configuration says it.
    pub digest: Option<String>,
    /// Each server's copy, in the configuration's order, then those of servers added live.
    pub copies: Vec<Copy>,
}

/// A server's copy of a resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Copy {
    /// The server's name within the pool.
    pub server: String,
    /// What is known of it: `unknown`, `reading`, `known`, `absent`, `unreachable` or
    /// `contradicted`.
    pub state: String,
    /// How much of it has been read, 0 to 100, while Ebbtide reads it.
    pub percent: Option<u8>,
    /// Its length, in bytes, if it is known.
    pub size: Option<u64>,
    /// The BLAKE3 digest of its bytes, if it is known.
    pub digest: Option<String>,
    /// Its version, if it is known.
    pub version: Option<String>,
    /// When it was last modified, if it is known.
    pub modified: Option<Timestamp>,
    /// New clients may begin here, and its server takes them.
    pub serves: bool,
    /// It may stand in for the other copies that serve, and its server takes sessions over.
    pub stands_in: bool,
    /// The one reason of the copy itself: `identical`, `alone`, `first-of-file`, `assigned`, `by-answer`, `private`,
    /// `not-balanced`, `maintenance`, `size-differs`, `digest-differs`, `version-differs`,
    /// `time-differs`, `nothing-shared`, `not-pinned`, `only-size`, `unknown`, `waiting`,
    /// `reading`, `absent`, `unreachable` or `contradicted`.
    pub reason: String,
    /// Its server's standing, as in the status: `ready`, `down` and so on.
    pub standing: Option<String>,
    /// The reason in a sentence; of a good copy also what keeps its server from serving it.
    pub text: String,
}
