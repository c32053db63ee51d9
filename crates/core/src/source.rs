//! Which server the users of an address were last on: what makes a reconnecting user of a TCP pool
//! find the same one. It is knowledge only: a binding leads nobody to a server that admits no new
//! sessions, for the session ended with its connection.

use crate::name::{PoolKey, ServerKey};
use crate::snapshot::{PoolView, ServerView, Snapshot};
use crate::time::Moment;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Shards of the bindings.
pub(crate) const SHARDS: usize = 64;
/// Bindings kept per shard: a million in all. A further address finds no server of its own.
const BINDINGS_MAX: usize = 16 * 1024;

/// The part of a client's address that stands for its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source(u128);

impl Source {
    /// The first `prefix_v4` bits of an IPv4 address, or `prefix_v6` bits of an IPv6 address.
    pub fn of(client: IpAddr, prefix_v4: u8, prefix_v6: u8) -> Self {
        let (bits, prefix) = match client.to_canonical() {
            // As IPv4-mapped addresses are written, so that the two families never meet.
            IpAddr::V4(v4) => (v4.to_ipv6_mapped().to_bits(), 96 + u32::from(prefix_v4)),
            IpAddr::V6(v6) => (v6.to_bits(), u32::from(prefix_v6)),
        };
        let host_bits = 128_u32.saturating_sub(prefix);
        Self(
            bits.checked_shr(host_bits)
                .unwrap_or(0)
                .checked_shl(host_bits)
                .unwrap_or(0),
        )
    }

    /// A number that tells sources apart.
    pub fn number(self) -> u64 {
        (self.0 >> 64) as u64 ^ self.0 as u64
    }

    fn shard(self, pool: PoolKey) -> usize {
        let folded = self.number() ^ u64::from(pool.0);
        crate::balance::split_mix(folded) as usize % SHARDS
    }
}

#[derive(Debug)]
struct Binding {
    server: ServerKey,
    epoch: u32,
    /// Connections that are open there.
    open: u32,
    last: Moment,
    /// Those that are open on servers that it led to before; it may lead there again.
    elsewhere: Vec<((ServerKey, u32), u32)>,
}

impl Binding {
    /// Leads to this server from now on.
    fn lead_to(&mut self, server: (ServerKey, u32)) {
        let before = ((self.server, self.epoch), self.open);
        if before.0 == server {
            return;
        }
        let place = self
            .elsewhere
            .iter()
            .position(|(other, _)| *other == server);
        let known = place.map(|place| self.elsewhere.swap_remove(place));
        if before.1 > 0 {
            self.elsewhere.push(before);
        }
        (self.server, self.epoch) = server;
        self.open = known.map_or(0, |(_, open)| open);
    }

    /// A connection to this server has ended.
    fn leave(&mut self, server: (ServerKey, u32), now: Moment) {
        if (self.server, self.epoch) == server {
            self.open = self.open.saturating_sub(1);
            self.last = now;
            return;
        }
        self.elsewhere.retain_mut(|(other, open)| {
            *open -= u32::from(*other == server);
            *open > 0
        });
    }
}

type Shard = BTreeMap<(PoolKey, Source), Binding>;

/// The bindings of all TCP pools.
#[derive(Debug)]
pub struct Sources {
    shards: Box<[Mutex<Shard>]>,
}

impl Default for Sources {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }
}

/// A connection of a source to the server that it is bound to. Tell it when the connection ends.
#[derive(Debug)]
pub struct SourceStay {
    sources: Arc<Sources>,
    key: (PoolKey, Source),
    server: (ServerKey, u32),
}

impl SourceStay {
    /// The connection has ended: from `now` on the binding lasts the pool's `reuse`.
    pub fn end(self, now: Moment) {
        let mut shard = self.sources.shard(self.key);
        if let Some(binding) = shard.get_mut(&self.key) {
            binding.leave(self.server, now);
        }
    }
}

impl Sources {
    fn shard(&self, key: (PoolKey, Source)) -> MutexGuard<'_, Shard> {
        lock(&self.shards[key.1.shard(key.0)])
    }

    /// The server that `source` was last on in this pool, and that server's epoch then.
    pub fn find(&self, pool: PoolKey, source: Source) -> Option<(ServerKey, u32)> {
        let shard = self.shard((pool, source));
        let binding = shard.get(&(pool, source))?;
        Some((binding.server, binding.epoch))
    }

    /// The server of this pool that `source` was last on, if that takes new sessions and has not been
    /// forgotten since.
    pub fn server_of<'a>(&self, pool: &'a PoolView, source: Source) -> Option<&'a ServerView> {
        let (key, epoch) = self.find(pool.key, source)?;
        let server = pool.server(key)?;
        (server.epoch == epoch && server.standing.admits_new).then_some(server)
    }

    /// A connection of `source` goes to this server, in this epoch of it. `None` if there is no room
    /// to remember it.
    pub fn bind(
        self: &Arc<Self>,
        pool: PoolKey,
        source: Source,
        server: (ServerKey, u32),
        now: Moment,
    ) -> Option<SourceStay> {
        let key = (pool, source);
        let mut shard = self.shard(key);
        if shard.len() >= BINDINGS_MAX && !shard.contains_key(&key) {
            return None;
        }
        let binding = shard.entry(key).or_insert(Binding {
            server: server.0,
            epoch: server.1,
            open: 0,
            last: now,
            elsewhere: Vec::new(),
        });
        binding.lead_to(server);
        binding.open += 1;
        binding.last = now;
        Some(SourceStay {
            sources: Arc::clone(self),
            key,
            server,
        })
    }

    /// Forgets what is older than its pool's `reuse`, or of an epoch that is over.
    pub(crate) fn sweep(&self, which: std::ops::Range<usize>, snapshot: &Snapshot, now: Moment) {
        for shard in &self.shards[which] {
            lock(shard).retain(|(pool, _), binding| {
                let Some(view) = snapshot.pool(*pool) else {
                    return false;
                };
                let server = view.server(binding.server);
                server.is_some_and(|server| server.epoch == binding.epoch)
                    && (binding.open > 0 || now.since(binding.last) <= view.config.sticky.reuse)
            });
        }
    }

    /// How many bindings there are.
    pub fn count(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // No code panics while it holds a shard; and a shard is whole between any two statements.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str, prefix_v4: u8, prefix_v6: u8) -> Source {
        Source::of(text.parse().expect("an address"), prefix_v4, prefix_v6)
    }

    #[test]
    fn a_prefix_is_what_stands_for_a_user() {
        assert_eq!(source("10.1.2.3", 24, 64), source("10.1.2.9", 24, 64));
        assert_ne!(source("10.1.2.3", 32, 64), source("10.1.2.9", 32, 64));
        assert_ne!(source("10.1.2.3", 24, 64), source("10.1.3.3", 24, 64));
        assert_eq!(
            source("2001:db8::1", 32, 64),
            source("2001:db8::2:1", 32, 64)
        );
        assert_ne!(
            source("2001:db8::1", 32, 128),
            source("2001:db8::2", 32, 128)
        );
        assert_eq!(
            source("::ffff:10.1.2.3", 32, 64),
            source("10.1.2.3", 32, 64)
        );
        assert_eq!(source("2001:db8::1", 0, 0), source("2a00::1", 0, 0));
        assert_eq!(source("10.1.2.3", 0, 0), source("192.0.2.1", 0, 0));
        assert_ne!(source("10.1.2.3", 0, 64), source("2a00::1", 0, 64));
    }

    #[test]
    fn the_memory_is_bounded_and_who_is_known_stays_known() {
        let sources = Arc::<Sources>::default();
        let first = source("10.0.0.1", 32, 64);
        let stay = sources.bind(PoolKey(1), first, (ServerKey(1), 1), Moment(0));
        assert!(stay.is_some());
        let mut refused = 0;
        for number in 0..(SHARDS * BINDINGS_MAX * 2) as u128 {
            let bound = sources.bind(PoolKey(1), Source(number), (ServerKey(1), 1), Moment(0));
            refused += usize::from(bound.is_none());
        }
        assert!(refused > 0);
        assert!(sources.count() <= SHARDS * BINDINGS_MAX);
        let again = sources.bind(PoolKey(1), first, (ServerKey(2), 1), Moment(0));
        assert!(again.is_some());
        assert_eq!(sources.find(PoolKey(1), first), Some((ServerKey(2), 1)));
    }

    #[test]
    fn the_end_of_an_old_connection_says_nothing_of_the_new_server() {
        let sources = Arc::<Sources>::default();
        let user = source("10.0.0.1", 32, 64);
        let bind = |server| sources.bind(PoolKey(1), user, (ServerKey(server), 1), Moment(0));
        let old = bind(1).expect("room");
        let new = bind(2).expect("room");
        old.end(Moment(5));
        assert_eq!(
            lock(&sources.shards[user.shard(PoolKey(1))])[&(PoolKey(1), user)].open,
            1
        );
        new.end(Moment(6));
        assert_eq!(
            lock(&sources.shards[user.shard(PoolKey(1))])[&(PoolKey(1), user)].open,
            0
        );
    }

    #[test]
    fn whoever_is_led_elsewhere_and_back_still_has_what_was_open() {
        let sources = Arc::<Sources>::default();
        let user = source("10.0.0.1", 32, 64);
        let bind = |server| {
            let stay = sources.bind(PoolKey(1), user, (ServerKey(server), 1), Moment(0));
            stay.expect("room")
        };
        let open = || lock(&sources.shards[user.shard(PoolKey(1))])[&(PoolKey(1), user)].open;
        let (first, other, again) = (bind(1), bind(2), bind(1));
        assert_eq!(open(), 2);
        again.end(Moment(5));
        other.end(Moment(6));
        assert_eq!(open(), 1);
        let elsewhere = bind(2);
        assert_eq!(open(), 1);
        first.end(Moment(7));
        let back = bind(1);
        assert_eq!(open(), 1);
        elsewhere.end(Moment(8));
        back.end(Moment(8));
        assert_eq!(open(), 0);
    }
}
