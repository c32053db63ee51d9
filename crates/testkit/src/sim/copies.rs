//! What the servers of the NBD pool really have, and what their manifests say of it. Only the judge
//! looks at the bytes; the node has the manifests, and the sizes that servers show.

use super::beside::{MANIFEST_EVERY_MS, RESOURCES};
use super::number::{ByServer, ServerNumber};
use super::plan::DISKS;
use ebbtide_core::{Digest, Identity, ManifestCopies, Modified};

/// How many contents there are. The first two have the same size.
pub(super) const CONTENTS: u8 = 3;

/// What manifests say beside sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Knows {
    Digests,
    DigestsAndTimes,
    Times,
    Versions,
    /// Some servers have digests and times, the others only times.
    Mixed,
    /// Nothing: no copy is identical to any.
    Sizes,
}

/// Something happens to a server's copy of a resource.
#[derive(Clone, Debug)]
pub(super) enum CopyChange {
    /// It has other bytes, or the same with another time; its manifest does not say so yet.
    Bytes(ServerNumber, usize, (u8, u8)),
    /// Its manifest says what is so.
    Tell(ServerNumber, usize),
    /// Its manifest describes a copy of another size.
    Lie(ServerNumber, usize),
    /// Its manifest does not name it.
    Conceal(ServerNumber, usize),
    /// Its manifest cannot be read for so long.
    Unreadable(ServerNumber, i64),
}

/// What manifests say of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    /// This, which may have been so once.
    Has(u8, u8),
    Nothing,
}

/// A server's copy.
#[derive(Clone, Copy, Debug)]
struct Copy {
    content: u8,
    /// Another time with the same bytes.
    variation: u8,
    says: Says,
    /// The generation from which on the node knows what is so.
    told_in: Option<u64>,
}

/// What a server has at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Has {
    pub content: u8,
    variation: u8,
    /// Its digest is known.
    is_hashed: bool,
    told_in: Option<u64>,
}

/// What the servers have.
#[derive(Debug)]
pub(super) struct Copies {
    knows: Knows,
    /// Of each resource.
    copies: ByServer<[Copy; RESOURCES.len()]>,
    unreadable_until: ByServer<i64>,
}

impl Knows {
    pub const ALL: [Self; 6] = [
        Self::Digests,
        Self::DigestsAndTimes,
        Self::Times,
        Self::Versions,
        Self::Mixed,
        Self::Sizes,
    ];

    pub fn has_digests(self) -> bool {
        matches!(self, Self::Digests | Self::DigestsAndTimes)
    }
}

impl Has {
    /// The size that it shows.
    pub fn size(&self) -> u64 {
        size(self.content)
    }

    /// Whether a node that works from this generation was told.
    pub fn is_known(&self, generation: u64) -> bool {
        self.told_in.is_some_and(|told_in| told_in <= generation)
    }
}

impl Default for Copies {
    fn default() -> Self {
        Self::new(Knows::Sizes, &[])
    }
}

impl Copies {
    pub fn new(knows: Knows, first: &[[(u8, u8); 4]]) -> Self {
        let mut copies = ByServer::<[Copy; RESOURCES.len()]>::default();
        for (resource, servers) in first.iter().enumerate() {
            for (number, (content, variation)) in servers.iter().enumerate() {
                let server = ServerNumber::of_file(DISKS, number);
                let copy = Copy::new(*content, *variation);
                copies.get_or_default(server)[resource] = copy;
            }
        }
        Self {
            knows,
            copies,
            unreadable_until: ByServer::default(),
        }
    }

    fn copy(&mut self, server: ServerNumber, resource: usize) -> &mut Copy {
        &mut self.copies.get_or_default(server)[resource]
    }

    /// What a server has.
    pub fn has(&self, server: ServerNumber, resource: usize) -> Has {
        let copies = self.copies.get(server);
        let copy = copies.map_or(Copy::default(), |copies| copies[resource]);
        Has {
            content: copy.content,
            variation: copy.variation,
            is_hashed: has_digest(self.knows, server),
            told_in: copy.told_in,
        }
    }

    /// Whether a node that was told what both are knows that they are the same.
    pub fn are_alike(&self, one: Has, other: Has) -> bool {
        let same_time = one.variation == other.variation && self.knows != Knows::Digests;
        let enough = match self.knows {
            Knows::Sizes => false,
            _ => (one.is_hashed && other.is_hashed) || same_time,
        };
        enough && one.content == other.content
    }

    /// Whether its manifest can be read, and could be for a while.
    pub fn is_readable(&self, server: ServerNumber, at: i64) -> bool {
        let until = self.unreadable_until.get(server);
        until.is_none_or(|until| until + 2 * MANIFEST_EVERY_MS < at)
    }

    pub fn change(&mut self, change: CopyChange, at: i64) {
        match change {
            CopyChange::Bytes(server, resource, (content, variation)) => {
                let copy = self.copy(server, resource);
                (copy.content, copy.variation, copy.told_in) = (content, variation, None);
            }
            CopyChange::Tell(server, resource) => {
                let copy = self.copy(server, resource);
                copy.says = Says::Has(copy.content, copy.variation);
            }
            CopyChange::Lie(server, resource) => {
                let copy = self.copy(server, resource);
                let other = if copy.content == 2 { 0 } else { 2 };
                copy.says = Says::Has(other, 0);
            }
            CopyChange::Conceal(server, resource) => {
                self.copy(server, resource).says = Says::Nothing;
            }
            CopyChange::Unreadable(server, for_ms) => {
                *self.unreadable_until.get_or_default(server) = at + for_ms;
            }
        }
    }

    /// What a server's manifest says.
    pub fn manifest(&mut self, server: ServerNumber, at: i64) -> Result<ManifestCopies, String> {
        let until = self.unreadable_until.get(server);
        if until.is_some_and(|until| at < *until) {
            return Err("is not a manifest".into());
        }
        let knows = self.knows;
        let says = |(number, name): (usize, &&str)| {
            let identity = match self.copy(server, number).says {
                Says::Has(content, variation) => Some(identity(knows, server, content, variation)),
                Says::Nothing => None,
            };
            ((*name).to_owned(), identity)
        };
        Ok(RESOURCES.iter().enumerate().map(says).collect())
    }

    /// Of which resources a server's manifest says what is so.
    pub fn is_so(&self, server: ServerNumber, told: &ManifestCopies) -> [bool; RESOURCES.len()] {
        std::array::from_fn(|number| {
            let has = self.has(server, number);
            let is_so = identity(self.knows, server, has.content, has.variation);
            told.get(RESOURCES[number]) == Some(&Some(is_so))
        })
    }

    /// A node has been told by a server's manifest what is so (of these resources, and not of the
    /// others), and works by it from `generation` on.
    pub fn told(&mut self, server: ServerNumber, is_so: [bool; RESOURCES.len()], generation: u64) {
        let copies = self.copies.get_or_default(server);
        for (copy, is_so) in copies.iter_mut().zip(is_so) {
            if is_so {
                copy.told_in.get_or_insert(generation);
            } else {
                copy.told_in = None;
            }
        }
    }

    /// A node that starts knows nothing.
    pub fn forgotten(&mut self) {
        for copy in self.copies.values_mut().flatten() {
            copy.told_in = None;
        }
    }

    /// A server that is new or elsewhere has to be asked anew.
    pub fn forget(&mut self, server: ServerNumber) {
        for copy in self.copies.get_mut(server).into_iter().flatten() {
            copy.told_in = None;
        }
    }
}

impl Default for Copy {
    fn default() -> Self {
        Self::new(0, 0)
    }
}

impl Copy {
    fn new(content: u8, variation: u8) -> Self {
        Self {
            content,
            variation,
            says: Says::Has(content, variation),
            told_in: None,
        }
    }
}

fn size(content: u8) -> u64 {
    if content < 2 { 1 << 20 } else { 1 << 21 }
}

fn has_digest(knows: Knows, server: ServerNumber) -> bool {
    match knows {
        Knows::Digests | Knows::DigestsAndTimes => true,
        Knows::Mixed => server.server().ends_with(['0', '2']),
        Knows::Times | Knows::Versions | Knows::Sizes => false,
    }
}

/// What a manifest says of a copy with this content. Where it has no digests, time and version tell
/// different bytes apart: whoever gives both the same is not protected by anything.
fn identity(knows: Knows, server: ServerNumber, content: u8, variation: u8) -> Identity {
    let digest = has_digest(knows, server);
    let modified = matches!(knows, Knows::DigestsAndTimes | Knows::Times | Knows::Mixed);
    let version = knows == Knows::Versions;
    Identity {
        size: size(content),
        digest: digest.then_some(Digest([content; 32])),
        version: version.then(|| format!("{content}.{variation}").into()),
        modified: modified.then_some(Modified {
            seconds: i64::from(content) * 10 + i64::from(variation),
            nanoseconds: 0,
        }),
    }
}
