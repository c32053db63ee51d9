//! The servers of a pool that admit new sessions, laid out so that choosing one of a thousand is fast.

use crate::load::Load;
use crate::name::ServerKey;
use crate::slow_start::SHARE_WHOLE;
use crate::snapshot::{ServerLoad, ServerView};
use std::sync::Arc;

/// The servers of a pool that admit new sessions, as the policies look at them.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    list: Box<[Candidate]>,
    /// Of their names, in the same order.
    hashes: Box<[u64]>,
    /// All weights together, without their common divisor.
    total: u64,
    /// From one turn of a round to the next: has no divisor in common with `total`, so that a round
    /// comes to every place once.
    stride: u64,
    heaviest: u32,
    /// Some take part in fewer choices than the others.
    some_return: bool,
}

/// One of them: what the policies compare, close together.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// Its place in [`PoolView::servers`](crate::PoolView).
    pub index: usize,
    pub key: ServerKey,
    pub weight: u32,
    pub max_sessions: Option<u32>,
    /// The load up to which it takes new sessions.
    pub peak_load: Load,
    pub load: Arc<ServerLoad>,
    /// In how many of a hundred choices it takes part.
    pub share: u8,
    /// Where its part of `total` ends.
    end: u64,
}

impl Candidates {
    /// Those of a pool's servers.
    pub fn of(servers: &[ServerView]) -> Self {
        let admitting = servers.iter().enumerate();
        let admitting = admitting.filter(|(_, server)| server.standing.admits_new);
        let weights = admitting
            .clone()
            .map(|(_, server)| u64::from(server.weight));
        let divisor = weights.fold(0, greatest_common_divisor).max(1);
        let mut total = 0;
        let list: Box<[Candidate]> = admitting
            .map(|(index, server)| {
                total += u64::from(server.weight) / divisor;
                Candidate {
                    index,
                    key: server.key,
                    weight: server.weight,
                    max_sessions: server.max_sessions,
                    peak_load: server
                        .peak_load
                        .map_or(Load::FULL, |peak| Load::from_percent(u32::from(peak))),
                    load: Arc::clone(&server.load),
                    share: server.share,
                    end: total,
                }
            })
            .collect();
        let hashes = list
            .iter()
            .map(|candidate| hash(&servers[candidate.index].name));
        Self {
            hashes: hashes.collect(),
            stride: stride(total, list.len() as u64),
            heaviest: list
                .iter()
                .map(|candidate| candidate.weight)
                .max()
                .unwrap_or(1),
            some_return: list.iter().any(|candidate| candidate.share < SHARE_WHOLE),
            list,
            total,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// The places of a round.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The first place of the server after this one, be it there or not.
    pub(crate) fn place_after(&self, key: ServerKey) -> u64 {
        let until = self.list.partition_point(|candidate| candidate.key <= key);
        match until {
            0 => 0,
            until if until == self.list.len() => 0,
            until => self.list[until - 1].end,
        }
    }

    /// The greatest weight among them.
    pub(crate) fn heaviest(&self) -> u32 {
        self.heaviest
    }

    /// Whether some of them come back, and take part in fewer choices than the others.
    pub(crate) fn some_return(&self) -> bool {
        self.some_return
    }

    /// Whether all have the same weight.
    pub(crate) fn are_alike(&self) -> bool {
        self.total == self.list.len() as u64
    }

    /// With the hashes of their names.
    pub(crate) fn with_hashes(&self) -> impl Iterator<Item = (&Candidate, u64)> {
        self.list.iter().zip(self.hashes.iter().copied())
    }

    /// All of them, from one that the dice choose on.
    pub(crate) fn all_from(&self, dice: u64) -> impl Iterator<Item = &Candidate> {
        let start = dice.checked_rem(self.list.len() as u64).unwrap_or(0);
        let (before, from) = self.list.split_at(start as usize);
        from.iter().chain(before)
    }

    /// The one at this place of a round, in which each has as many places as it has weight; the places
    /// go on from the beginning.
    pub(crate) fn at(&self, place: u64) -> Option<&Candidate> {
        let place = place.checked_rem(self.total)?;
        let index = match self.are_alike() {
            true => place as usize,
            false => self
                .list
                .partition_point(|candidate| candidate.end <= place),
        };
        self.list.get(index)
    }

    /// The one at this place, or the next one that `admits` lets through.
    pub(crate) fn at_or_after(
        &self,
        place: u64,
        admits: impl Fn(&Candidate) -> bool,
    ) -> Option<&Candidate> {
        let first = self.at(place)?;
        let (before, from) = self.list.split_at(
            self.list
                .partition_point(|candidate| candidate.end < first.end),
        );
        from.iter()
            .chain(before)
            .find(|candidate| admits(candidate))
    }

    /// The place of the turn after the one at `place`.
    pub(crate) fn next_turn(&self, place: u64) -> u64 {
        (place + self.stride).checked_rem(self.total).unwrap_or(0)
    }
}

/// FNV-1a.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn greatest_common_divisor(mut one: u64, mut other: u64) -> u64 {
    while other > 0 {
        (one, other) = (other, one % other);
    }
    one
}

/// Turns that are this far apart are spread over the round as evenly as can be, wherever one begins
/// (the golden section). Servers of one weight come one after the other.
fn stride(total: u64, servers: u64) -> u64 {
    if total == servers {
        return 1;
    }
    let golden = (total as f64 * 0.618_033_988_75) as u64;
    let mut strides = golden.max(1)..;
    strides
        .find(|stride| greatest_common_divisor(*stride, total) == 1)
        .unwrap_or(1)
}
