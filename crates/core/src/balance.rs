//! Which server takes a new session. Each policy is one small function of what is eligible.

use crate::candidates::{Candidate, Candidates};
use crate::config::Balance;
use crate::load::LoadReading;
use crate::name::ServerKey;
use crate::snapshot::{PoolView, ServerView};
use crate::takeover::takes_over;
use crate::time::Moment;
use std::net::IpAddr;

/// Draws and turns that are tried before the next server in the list will do.
const TRIES_MAX: u32 = 32;

/// In a pool with more servers than this, the greatest room among so many is as good as the greatest of
/// all, and found sooner.
const LOOKED_AT_MAX: usize = 100;

/// Sessions that count as having been there at every reading: what a few more would add to the load of
/// a server that had next to none is not to be told from that.
const SESSIONS_UNSEEN: f64 = 8.0;

/// Load, in hundredths of a percent, that those are taken to make, so that a herd does not run to a machine
/// that showed none.
const LOAD_UNSEEN: f64 = 800.0;

/// The same where room is compared, of which a machine that shows no load has nearly all.
const LOAD_LEAST: f64 = 100.0;

/// Where a worker's round-robin stands, per pool.
#[derive(Debug, Default)]
pub struct Rotation {
    /// The place of the next turn in a round.
    place: u64,
    /// The places of that round: when there are others, the turns go on after the last server.
    total: u64,
    last: Option<ServerKey>,
}

/// Chooses a server for a new session among those that `eligible` lets through and whose standing
/// admits new sessions; `None` if there is none. Not every server is asked for, if it could not be
/// chosen anyway. Whether the server is full is the caller's to find out by beginning the session; it
/// then asks again without that server. `dice` draw, and break ties. A server in its slow start is
/// passed over as often as its share says, unless there is no other.
pub fn choose<'a>(
    pool: &'a PoolView,
    eligible: impl Fn(&ServerView) -> bool,
    client: IpAddr,
    dice: u64,
    now: Moment,
    rotation: &mut Rotation,
) -> Option<&'a ServerView> {
    let candidates = &pool.candidates;
    let admits = |candidate: &Candidate| eligible(&pool.servers[candidate.index]);
    let draw = Draw { client, dice, now };
    let gently = candidates.some_return().then(|| {
        let dice = match pool.config.balance {
            // A client that it is given once is given to it from then on.
            Balance::SourceHash => seed_of(client),
            _ => dice,
        };
        let admits = |candidate: &Candidate| candidate.takes_part(dice) && admits(candidate);
        by_policy(pool, admits, &draw, rotation)
    });
    let chosen = gently
        .flatten()
        .or_else(|| by_policy(pool, admits, &draw, rotation));
    Some(&pool.servers[chosen?.index])
}

/// What a choice is made by, beside the servers themselves.
struct Draw {
    client: IpAddr,
    dice: u64,
    now: Moment,
}

fn by_policy<'a>(
    pool: &'a PoolView,
    admits: impl Fn(&Candidate) -> bool,
    &Draw { client, dice, now }: &Draw,
    rotation: &mut Rotation,
) -> Option<&'a Candidate> {
    let candidates = &pool.candidates;
    match pool.config.balance {
        Balance::RoundRobin => round_robin(candidates, admits, rotation),
        Balance::LeastSessions => least_sessions(candidates, admits, dice),
        Balance::LeastLoad => least_load(candidates, admits, dice, now),
        Balance::MostAvailable => most_available(candidates, admits, dice, now),
        Balance::SourceHash => source_hash(candidates, admits, client),
        Balance::DoorOnly => None,
    }
}

/// Weighted round-robin: within a round each has as many turns as it has weight, evenly spread. Who is
/// not eligible loses its turn.
fn round_robin<'a>(
    candidates: &'a Candidates,
    admits: impl Fn(&Candidate) -> bool,
    rotation: &mut Rotation,
) -> Option<&'a Candidate> {
    if rotation.total != candidates.total() {
        rotation.total = candidates.total();
        rotation.place = rotation.last.map_or(0, |last| candidates.place_after(last));
    }
    let mut turns = (0..TRIES_MAX).filter_map(|_| {
        let candidate = candidates.at(rotation.place)?;
        rotation.place = candidates.next_turn(rotation.place);
        Some(candidate)
    });
    let chosen = turns.find(|candidate| admits(candidate));
    let chosen = chosen.or_else(|| candidates.at_or_after(rotation.place, admits))?;
    rotation.last = Some(chosen.key);
    Some(chosen)
}

/// Fewest sessions per weight; among equals the dice decide, so that workers that see the same
/// counts do not all pick the same server.
fn least_sessions(
    candidates: &Candidates,
    admits: impl Fn(&Candidate) -> bool,
    dice: u64,
) -> Option<&Candidate> {
    let mut best: Option<(&Candidate, u64)> = None;
    candidates.all_from(dice).for_each(|candidate| {
        let sessions = u64::from(candidate.load.sessions()) + 1;
        let is_better = best.is_none_or(|(best, fewest)| {
            sessions * u64::from(best.weight) < fewest * u64::from(candidate.weight)
        });
        if is_better && admits(candidate) {
            best = Some((candidate, sessions));
        }
    });
    best.map(|(candidate, _)| candidate)
}

/// Of two that are drawn by weight, the less busy one: however many choose by the same readings, they
/// do not all choose the same server.
fn least_load(
    candidates: &Candidates,
    admits: impl Fn(&Candidate) -> bool,
    dice: u64,
    now: Moment,
) -> Option<&Candidate> {
    let one = draw(candidates, dice, &admits)?;
    if candidates.len() == 1 {
        return Some(one);
    }
    let is_another = |candidate: &Candidate| candidate.index != one.index && admits(candidate);
    let Some(other) = draw(candidates, split_mix(dice), is_another) else {
        return Some(one);
    };
    match busier(one, other, now) > 0.0 {
        true => Some(other),
        false => Some(one),
    }
}

/// One of those that `admits` lets through, each as likely as its weight says.
fn draw(
    candidates: &Candidates,
    mut dice: u64,
    admits: impl Fn(&Candidate) -> bool,
) -> Option<&Candidate> {
    for _ in 0..TRIES_MAX {
        dice = split_mix(dice);
        let candidate = candidates.at(dice)?;
        if admits(candidate) {
            return Some(candidate);
        }
    }
    candidates.at_or_after(dice, admits)
}

/// How much busier one is than the other, from -1 to 1: by their loads as far as their readings can be
/// relied on, for the rest by their sessions per weight.
fn busier(one: &Candidate, other: &Candidate, now: Moment) -> f64 {
    let excess = |a: f64, b: f64| (a - b) / (a + b);
    let share = |candidate: &Candidate| {
        (f64::from(candidate.load.sessions()) + 1.0) / f64::from(candidate.weight)
    };
    let by_sessions = || excess(share(one), share(other));
    let readings = one.load.gauge.reading().zip(other.load.gauge.reading());
    let trust = readings.map_or(0.0, |(a, b)| a.trust(now).min(b.trust(now)));
    match readings {
        Some((a, b)) if trust > 0.0 => {
            let expected = |reading, candidate: &Candidate| {
                let sessions = candidate.load.sessions();
                let (load, then) = expected_load(reading, sessions, LOAD_UNSEEN);
                load / then
            };
            let by_load = excess(expected(&a, one), expected(&b, other));
            trust * by_load + (1.0 - trust) * by_sessions()
        }
        _ => by_sessions(),
    }
}

/// The load that a server is likely to have now, in hundredths of a percent, never 0: what was read and
/// `unseen`, and as much for each session that has come since as for each that was there. It is the first
/// number by the second.
fn expected_load(reading: &LoadReading, sessions: u32, unseen: f64) -> (f64, f64) {
    let now = f64::from(sessions) + SESSIONS_UNSEEN;
    let then = f64::from(reading.sessions) + SESSIONS_UNSEEN;
    let load = f64::from(reading.load.hundredths()) + unseen;
    (load * now, then)
}

/// The greatest share of its room that is free; where one of two tells of no room, the fewer sessions
/// per weight. Among equals the dice decide.
fn most_available(
    candidates: &Candidates,
    admits: impl Fn(&Candidate) -> bool,
    dice: u64,
    now: Moment,
) -> Option<&Candidate> {
    let mut best: Option<(&Candidate, Room)> = None;
    for (looked_at, candidate) in candidates.all_from(dice).enumerate() {
        if looked_at >= LOOKED_AT_MAX && best.is_some() {
            break;
        }
        let room = Room::of(candidate, now);
        if best.is_none_or(|(best, most)| room.is_more(candidate, &most, best)) && admits(candidate)
        {
            best = Some((candidate, room));
        }
    }
    best.map(|(candidate, _)| candidate)
}

/// What a server has room for, as two numbers, because a division takes longer than all the rest.
#[derive(Clone, Copy)]
struct Room {
    /// What is free, by whatever leaves the least of it: `max_sessions`, the places that its page
    /// tells, or the load.
    free: f64,
    /// Of so much; 0 if nothing is known to bound it.
    all: f64,
    sessions: u32,
}

impl Room {
    fn of(candidate: &Candidate, now: Moment) -> Self {
        let sessions = candidate.load.sessions();
        let mut room = Self {
            free: 1.0,
            all: 0.0,
            sessions,
        };
        if let Some(max) = candidate.max_sessions {
            room.bound(f64::from(max) - f64::from(sessions), f64::from(max));
        }
        if let Some(left) = candidate.load.places.left() {
            room.bound(f64::from(left), f64::from(left) + f64::from(sessions));
        }
        if let Some(reading) = candidate.load.gauge.reading()
            && !reading.is_stale(now)
        {
            let (load, then) = expected_load(&reading, sessions, LOAD_LEAST);
            let most = f64::from(candidate.peak_load.hundredths()) * then;
            room.bound(most - load, most);
        }
        room
    }

    /// So much of so much is free, and no greater share.
    #[expect(
        clippy::inline_always,
        reason = "measured: without it, choosing takes twice as long"
    )]
    #[inline(always)]
    fn bound(&mut self, free: f64, all: f64) {
        let free = free.max(0.0);
        if self.all == 0.0 || free * self.all < self.free * all {
            (self.free, self.all) = (free, all);
        }
    }

    fn is_more(&self, candidate: &Candidate, most: &Room, best: &Candidate) -> bool {
        let (own, others) = (self.free * most.all, most.free * self.all);
        if own != others {
            return own > others;
        }
        let per_weight = |room: &Room, other: &Candidate| {
            (u64::from(room.sessions) + 1) * u64::from(other.weight)
        };
        per_weight(self, best) < per_weight(most, candidate)
    }
}

/// Chooses a server for a session that has to go on elsewhere: the least busy one that `eligible` lets
/// through. It need not admit new sessions if that is only because its pool is closing.
pub fn stand_in(
    pool: &PoolView,
    eligible: impl Fn(&ServerView) -> bool,
    dice: u64,
) -> Option<&ServerView> {
    let servers = pool.servers.iter();
    let servers = servers.filter(|server| takes_over(server.standing) && eligible(server));
    servers.min_by(|one, other| {
        let cross = |a: &ServerView, b: &ServerView| {
            (u64::from(a.load.sessions()) + 1) * u64::from(b.weight)
        };
        cross(one, other)
            .cmp(&cross(other, one))
            .then_with(|| mix(dice, one.key).cmp(&mix(dice, other.key)))
    })
}

/// Weighted rendezvous hashing: a server that leaves or returns moves only its own clients.
fn source_hash(
    candidates: &Candidates,
    admits: impl Fn(&Candidate) -> bool,
    client: IpAddr,
) -> Option<&Candidate> {
    const ALL: f64 = (1_u64 << 53) as f64;
    let seed = seed_of(client);
    let (heaviest, are_alike) = (candidates.heaviest(), candidates.are_alike());
    let mut best: Option<(&Candidate, f64)> = None;
    // Draws below it cannot win: a logarithm saved.
    let mut least = 0;
    for (candidate, hash) in candidates.with_hashes() {
        let draw = split_mix(seed ^ hash) >> 11;
        if draw < least {
            continue;
        }
        // A uniform number in (0, 1), then the exponential trick: weight / -ln(u).
        let uniform = (draw as f64 / ALL).max(f64::MIN_POSITIVE);
        let score = match are_alike {
            true => uniform,
            false => f64::from(candidate.weight) / -uniform.ln(),
        };
        if best.is_none_or(|(_, most)| score >= most) && admits(candidate) {
            best = Some((candidate, score));
            least = match are_alike {
                true => draw,
                // -ln(u) is at least 1 - u, so no weight gets further than weight / (1 - u).
                false => ((1.0 - f64::from(heaviest) / score) * ALL).max(2.0) as u64 - 2,
            };
        }
    }
    best.map(|(candidate, _)| candidate)
}

/// What stands for a client's address.
fn seed_of(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        // Hosts of one /64 are one site.
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
    }
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
