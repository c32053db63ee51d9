//! Resources as the data plane sees them, and what it may ask.

use super::identity::Identity;
use super::reason::{CopyReason, Verdict};
use super::{IdentitySource, Knowledge, Mode, ResourceConfig};
use crate::name::ServerKey;
use crate::standing::Standing;
use crate::takeover::takes_over;
use std::net::SocketAddr;
use std::sync::Arc;

/// What is known of a pool's replicas.
#[derive(Clone, Debug, Default)]
pub struct ReplicaView {
    /// The resources, by ascending name.
    pub resources: Vec<ResourceView>,
    /// Where the servers' manifests are; none if identities do not come from manifests.
    pub manifests: Vec<ManifestPlace>,
    /// The copies that Ebbtide is to read, or has read; none if identities do not come from that.
    pub readings: Vec<Reading>,
}

/// Where one server's manifest is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestPlace {
    /// The server's name within the pool.
    pub server: Arc<str>,
    /// An `http://` address or the path of a file.
    pub place: String,
}

/// One reading of a server's copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Which one it is: unlike any other of this node. What an earlier one told is void.
    pub number: u64,
    /// The server's name within the pool.
    pub server: Arc<str>,
    /// Where the server is.
    pub address: SocketAddr,
    /// Of which resource.
    pub resource: String,
}

/// A resource and its copies.
#[derive(Clone, Debug)]
pub struct ResourceView {
    /// What the configuration says of it.
    pub rule: ResourceConfig,
    /// Where the identities of its copies come from.
    pub source: IdentitySource,
    /// What is known of each server's copy, in the file's order, then those added live.
    pub copies: Vec<CopyView>,
}

/// One server's copy.
#[derive(Clone, Debug)]
pub struct CopyView {
    /// The server's number.
    pub server: ServerKey,
    /// The server's name within the pool.
    pub name: Arc<str>,
    /// What is known of it.
    pub knowledge: Knowledge,
    /// Where Ebbtide reads it: since when it has it under its eyes without a break, as a number unlike
    /// any other of this node. The server is the same process as long as this is the same.
    pub watch: Option<u64>,
    /// What follows.
    pub verdict: Verdict,
}

impl CopyView {
    /// What follows together with its server's standing: what is shown to people.
    pub fn verdict_within(&self, standing: Standing) -> Verdict {
        Verdict {
            serves: self.verdict.serves && standing.admits_new,
            stands_in: self.verdict.stands_in && takes_over(standing),
            reason: self.verdict.reason.clone(),
        }
    }
}

/// How sure it is that a copy is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// What is known of both says so.
    Known,
    /// Its answer has to say so: whoever asks compares that answer's identity with the one that
    /// the client began on ([`Identity::compare`]), and takes nothing of it if they differ.
    ByAnswer,
}

impl ReplicaView {
    /// The resource of this name.
    pub fn resource(&self, name: &str) -> Option<&ResourceView> {
        let find = |resource: &ResourceView| resource.rule.name.as_str().cmp(name);
        let index = self.resources.binary_search_by(find).ok()?;
        Some(&self.resources[index])
    }
}

impl ResourceView {
    /// The copy of this server.
    pub fn copy(&self, server: ServerKey) -> Option<&CopyView> {
        self.copies.iter().find(|copy| copy.server == server)
    }

    /// Whether a new client may begin on this server's copy. To be given to
    /// [`choose`](crate::choose) as what is eligible: the pool's policy then finds the least busy
    /// among those whose standing admits new sessions too.
    pub fn serves(&self, server: ServerKey) -> bool {
        self.copy(server).is_some_and(|copy| copy.verdict.serves)
    }

    /// What this server's copy is known by: what a client that begins there begins on, and is to
    /// be kept with it. `None` if that is not known; then nothing may stand in for it, unless its
    /// answer tells ([`Proof::ByAnswer`]).
    pub fn identity(&self, server: ServerKey) -> Option<&Identity> {
        self.copy(server)?.knowledge.identity()
    }

    /// Whether this server's copy may stand in for the one that a client began on, known then by
    /// `began_on`; the reason if it may not. Whether the server takes sessions at all is told by
    /// its standing. Which copies serve *new* clients plays no part: a client that began on an
    /// earlier version stays with it.
    pub fn may_stand_in(
        &self,
        server: ServerKey,
        began_on: &Identity,
    ) -> Result<Proof, CopyReason> {
        let copy = self.copy(server).ok_or(CopyReason::NoServer)?;
        if self.rule.mode == Mode::Maintenance || self.rule.assigned().is_some() {
            return Err(copy.verdict.reason.clone());
        }
        if self.source == IdentitySource::Headers {
            return Ok(Proof::ByAnswer);
        }
        let here = copy.knowledge.bar()?;
        let place = "where the client began";
        here.compare(began_on)
            .map(|()| Proof::Known)
            .map_err(|difference| CopyReason::differs(here, began_on, difference, place))
    }
}
