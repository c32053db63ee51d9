//! Which server takes a new session. Each policy is one small function of what is eligible.

use crate::config::Balance;
use crate::name::ServerKey;
use crate::snapshot::{PoolView, ServerView};
use crate::takeover::takes_over;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Where a worker's round-robin stands, per pool (smooth weighted: what each server is owed).
#[derive(Debug, Default)]
pub struct Rotation {
    owed: BTreeMap<ServerKey, i64>,
}

/// Chooses a server for a new session among those that `eligible` lets through and whose standing
/// admits new sessions; `None` if there is none. Whether the server is full is the caller's to find
/// out by beginning the session; it then asks again without that server. `dice` breaks ties.
pub fn choose<'a>(
    pool: &'a PoolView,
    eligible: impl Fn(&ServerView) -> bool,
    client: IpAddr,
    dice: u64,
    rotation: &mut Rotation,
) -> Option<&'a ServerView> {
    let candidates = pool
        .servers
        .iter()
        .filter(|server| server.standing.admits_new && eligible(server));
    match pool.config.balance {
        Balance::RoundRobin => round_robin(candidates, rotation),
        Balance::LeastSessions => least_sessions(candidates, dice),
        Balance::SourceHash => source_hash(candidates, client),
        Balance::DoorOnly => None,
    }
}

/// Smooth weighted round-robin: all are owed their weight, the one that is owed most pays all.
fn round_robin<'a>(
    candidates: impl Iterator<Item = &'a ServerView>,
    rotation: &mut Rotation,
) -> Option<&'a ServerView> {
    let mut total = 0;
    let mut best: Option<(&ServerView, i64)> = None;
    for server in candidates {
        let weight = i64::from(server.weight);
        let owed = rotation.owed.entry(server.key).or_default();
        *owed += weight;
        total += weight;
        if best.is_none_or(|(_, most)| *owed > most) {
            best = Some((server, *owed));
        }
    }
    let (server, _) = best?;
    *rotation.owed.entry(server.key).or_default() -= total;
    Some(server)
}

/// Fewest sessions per weight; among equals the dice decide, so that workers that see the same
/// counts do not all pick the same server.
fn least_sessions<'a>(
    candidates: impl Iterator<Item = &'a ServerView>,
    dice: u64,
) -> Option<&'a ServerView> {
    candidates.min_by(|one, other| {
        let cross = |a: &ServerView, b: &ServerView| {
            (u64::from(a.load.sessions()) + 1) * u64::from(b.weight)
        };
        cross(one, other)
            .cmp(&cross(other, one))
            .then_with(|| mix(dice, one.key).cmp(&mix(dice, other.key)))
    })
}

/// Chooses a server for a session that has to go on elsewhere: the least busy one that `eligible` lets
/// through. It need not admit new sessions if that is only because its pool is closing.
pub fn stand_in(
    pool: &PoolView,
    eligible: impl Fn(&ServerView) -> bool,
    dice: u64,
) -> Option<&ServerView> {
    let servers = pool
        .servers
        .iter()
        .filter(|server| takes_over(server.standing));
    least_sessions(servers.filter(|server| eligible(server)), dice)
}

/// Weighted rendezvous hashing: a server that leaves or returns moves only its own clients.
fn source_hash<'a>(
    candidates: impl Iterator<Item = &'a ServerView>,
    client: IpAddr,
) -> Option<&'a ServerView> {
    let seed = match client.to_canonical() {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        // Hosts of one /64 are one site.
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
    };
    let score = |server: &ServerView| {
        let name = server
            .name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        // A uniform number in (0, 1), then the exponential trick: weight / -ln(u).
        let uniform = (split_mix(seed ^ name) >> 11) as f64 / (1_u64 << 53) as f64;
        f64::from(server.weight) / -(uniform.max(f64::MIN_POSITIVE)).ln()
    };
    candidates.max_by(|one, other| {
        score(one)
            .total_cmp(&score(other))
            .then_with(|| one.key.cmp(&other.key))
    })
}

fn mix(dice: u64, key: ServerKey) -> u64 {
    split_mix(dice ^ u64::from(key.0))
}

/// What SplitMix64 adds to its state with each number.
pub const SPLIT_MIX_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The number that SplitMix64 draws from this state: every bit of the state moves every bit of it.
pub fn split_mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(SPLIT_MIX_STEP);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
