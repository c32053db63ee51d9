//! Replicas: what is known of each server's copy of a resource, which copies may serve new clients,
//! and which may stand in for one that a client began on.
//!
//! A *resource* is something that is the same bytes on several servers: an NBD export, an object of
//! an HTTP pool. Only copies that are known to be identical stand in for one another, never one of
//! a resource that is private or in maintenance.

mod identity;
mod judge;
mod outlook;
mod reason;
mod view;

pub use identity::{Difference, Digest, Identity, Modified, grouped};
pub(crate) use judge::{Known, judge};
pub use outlook::Outlook;
pub use reason::{CopyReason, Verdict};
pub use view::{CopyView, ManifestPlace, Proof, Reading, ReplicaView, ResourceView};

use crate::config::ServerConfig;
use crate::time::Millis;

/// What the configuration says of a pool's resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaSettings {
    /// Where the identities of copies come from.
    pub source: IdentitySource,
    /// Where each server's manifest is: an `http://` address or the path of a file, in which
    /// `{host}` and `{server}` stand for the server's own.
    pub manifest: Option<String>,
    /// Time between two looks at one manifest; jittered by a tenth.
    pub manifest_every: Millis,
    /// How fast copies are read of one server, by [`IdentitySource::Read`]: bytes per second, at
    /// least 1.
    pub read_bytes_per_second: u64,
    /// The resources, by ascending name.
    pub resources: Vec<ResourceConfig>,
}

/// Where the identities of copies come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentitySource {
    /// A manifest for each server.
    Manifest,
    /// Ebbtide reads and hashes the copies itself.
    Read,
    /// What each answer says of itself: strong `ETag`, `Last-Modified`, `Content-Length`.
    Headers,
}

/// A resource, as the configuration has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceConfig {
    /// Its name: what clients ask for.
    pub name: String,
    /// Its name in manifests: the path of its file within the directory.
    pub file: String,
    /// Who is served.
    pub mode: Mode,
    /// Whether several servers share its clients.
    pub balance: bool,
    /// The one server that serves it, where there is one only; the configuration check made sure
    /// that it is there for [`Mode::Private`] and without `balance`.
    pub server: Option<String>,
    /// The digest of the right copy.
    pub digest: Option<Digest>,
}

/// Who is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everybody, read-only: identical copies stand in for one another.
    Shared,
    /// One writer at a time, always on the same server: nothing stands in for it.
    Private,
    /// Nobody but operators who come through doors.
    Maintenance,
}

impl Mode {
    /// The word for it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Private => "private",
            Self::Maintenance => "maintenance",
        }
    }
}

/// What is known of a server's copy of a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Knowledge {
    /// Nobody has looked yet.
    #[default]
    Unknown,
    /// Ebbtide is reading it.
    Reading {
        /// How much of it has been read, 0 to 100.
        percent: u8,
    },
    /// This is it.
    Known(Identity),
    /// The server does not have it.
    Absent,
    /// It cannot be found out.
    Unreachable {
        /// Why.
        why: String,
    },
    /// The server has shown another size than it was known by.
    Contradicted {
        /// What it was known by.
        known: Identity,
        /// The size that it showed, in bytes.
        size: u64,
    },
}

impl Knowledge {
    /// The word for it.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Reading { .. } => "reading",
            Self::Known(_) => "known",
            Self::Absent => "absent",
            Self::Unreachable { .. } => "unreachable",
            Self::Contradicted { .. } => "contradicted",
        }
    }

    /// What it is known by, if it is.
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Known(identity) => Some(identity),
            _ => None,
        }
    }
}

impl ReplicaSettings {
    /// No resources; answers tell.
    pub fn defaults() -> Self {
        Self {
            source: IdentitySource::Headers,
            manifest: None,
            manifest_every: Millis::from_secs(60),
            read_bytes_per_second: 50_000_000,
            resources: Vec::new(),
        }
    }

    /// For how long what was known stays known when a manifest cannot be read any more: ten times
    /// the time between two looks.
    pub fn kept(&self) -> Millis {
        Millis(self.manifest_every.0.saturating_mul(10))
    }

    /// Where this server's manifest is; `None` if identities do not come from manifests.
    pub fn manifest_of(&self, server: &ServerConfig) -> Option<String> {
        if self.source != IdentitySource::Manifest || self.resources.is_empty() {
            return None;
        }
        let template = server.manifest.as_ref().or(self.manifest.as_ref())?;
        Some(server.fill_in(template))
    }
}

impl ResourceConfig {
    /// A resource that everybody shares, under its own name in manifests.
    pub fn shared(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            file: name.clone(),
            name,
            mode: Mode::Shared,
            balance: true,
            server: None,
            digest: None,
        }
    }

    /// Whether copies of it are compared: not where one server serves it alone, or nobody does.
    pub fn is_compared(&self) -> bool {
        self.mode == Mode::Shared && self.balance
    }
}
