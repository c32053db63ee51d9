//! Versions: what the servers of a pool that is closed for an upgrade say of themselves, before it
//! and after.

use std::collections::BTreeMap;

/// What a server's version page says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionPage {
    /// Tells this page from another one.
    pub digest: String,
    /// Its beginning, for people: one line of plain text.
    pub says: String,
}

/// What came of asking a server for its version page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionAnswer {
    /// It gave a page.
    Page {
        /// The page.
        page: VersionPage,
        /// It is what the pool's check expects; always, where it expects nothing.
        matches: bool,
    },
    /// It gave none; why, as a sentence goes on after the server's name.
    Failed(String),
}

/// What a server's version page said when its pool began to close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionBefore {
    /// It was not asked yet: its next answer is what it said before.
    NotAsked,
    /// It gave no page, or was no server of the pool then.
    Unknown,
    /// This.
    Said(VersionPage),
}

/// What the servers of a pool, by name, said when it began to close.
pub type Versions = BTreeMap<String, VersionBefore>;
