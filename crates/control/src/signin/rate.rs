//! Guessing is made slow: after a few failures each further try has to wait, longer each time. Counted
//! by the name that is tried and by the address that tries, in tables of a bounded size.
//!
//! Nobody can lock an operator out by failing in his name. From an address from which he has signed in
//! before, only failures in his name *from that address* count for him.

use ebbtide_core::{Millis, Moment};
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};

/// Entries of each table.
const ENTRIES_MAX: usize = 4096;
/// Failures are forgotten after so long without another one.
const FORGET: Millis = Millis::from_secs(30 * 60);
/// Failures in one name, and from one address, that cost nothing: people mistype, and many people may
/// share an address.
const FREE_OF_NAME: u32 = 3;
const FREE_OF_ADDRESS: u32 = 10;
const WAIT_FIRST: Millis = Millis::from_secs(1);
const WAIT_MAX: Millis = Millis::from_secs(60);
/// Addresses remembered of each user.
const ADDRESSES_MAX: usize = 8;

/// Failures of late.
#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Moment,
}

impl Failures {
    fn wait(self, free: u32, now: Moment) -> Option<Millis> {
        let beyond = self.count.checked_sub(free)?;
        let span = Millis((WAIT_FIRST.0 << beyond.min(16)).min(WAIT_MAX.0));
        let over = self.last.plus(span);
        (over > now).then(|| over.since(now))
    }
}

/// A bounded count of failures by something.
struct Table<Key> {
    failures: HashMap<Key, Failures>,
    free: u32,
}

impl<Key: Clone + Eq + Hash> Table<Key> {
    fn new(free: u32) -> Self {
        Self {
            failures: HashMap::new(),
            free,
        }
    }

    fn wait(&self, key: &Key, now: Moment) -> Option<Millis> {
        let failures = self.failures.get(key)?;
        failures.wait(self.free, now)
    }

    fn charge(&mut self, key: Key, now: Moment) {
        if self.failures.len() >= ENTRIES_MAX && !self.failures.contains_key(&key) {
            self.make_room(now);
        }
        let entry = self.failures.entry(key);
        let failures = entry.or_insert(Failures {
            count: 0,
            last: now,
        });
        if now.since(failures.last) >= FORGET {
            failures.count = 0;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
    }

    /// Takes back one charge: the try was right after all.
    fn refund(&mut self, key: &Key) {
        if let Some(failures) = self.failures.get_mut(key) {
            failures.count = failures.count.saturating_sub(1);
            if failures.count == 0 {
                self.failures.remove(key);
            }
        }
    }

    /// Forgets what is old; if nothing is, whoever has failed least, and longest ago.
    fn make_room(&mut self, now: Moment) {
        let is_recent = |failures: &Failures| now.since(failures.last) < FORGET;
        self.failures.retain(|_, failures| is_recent(failures));
        if self.failures.len() < ENTRIES_MAX {
            return;
        }
        let least = |(_, failures): &(&Key, &Failures)| (failures.count, failures.last);
        let least = self.failures.iter().min_by_key(least);
        if let Some(key) = least.map(|(key, _)| key.clone()) {
            self.failures.remove(&key);
        }
    }
}

/// An IPv6 network of 64 bits is one customer's; he has as many addresses in it as he likes.
pub(super) type Place = IpAddr;

pub(super) fn place(address: IpAddr) -> Place {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let bits = address.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        }
        address => address,
    }
}

/// What tables keep of a name: as long as any other, whatever is typed.
type NameHash = [u8; 32];

fn name_hash(name: &str) -> NameHash {
    *blake3::hash(name.as_bytes()).as_bytes()
}

/// Tries to sign in, of late.
pub(super) struct Attempts {
    names: Table<NameHash>,
    places: Table<Place>,
    /// Of those who come back from a provider.
    returns: Table<Place>,
    /// Of users at places that they are known at.
    own: Table<(NameHash, Place)>,
    /// From where users have signed in, the latest last.
    known: HashMap<NameHash, Vec<Place>>,
}

impl Attempts {
    pub fn new() -> Self {
        Self {
            names: Table::new(FREE_OF_NAME),
            places: Table::new(FREE_OF_ADDRESS),
            returns: Table::new(FREE_OF_ADDRESS),
            own: Table::new(FREE_OF_NAME),
            known: HashMap::new(),
        }
    }

    /// Whether a try may be made now, or after how long. It counts as a failure until
    /// [`succeeded`](Self::succeeded) says otherwise, so that many at once cannot slip through.
    pub fn begin(&mut self, now: Moment, name: &str, address: IpAddr) -> Result<(), Millis> {
        let (name, place) = (name_hash(name), place(address));
        if self.is_known(&name, &place) {
            if let Some(wait) = self.own.wait(&(name, place), now) {
                return Err(wait);
            }
            self.own.charge((name, place), now);
            return Ok(());
        }
        let waits = [self.names.wait(&name, now), self.places.wait(&place, now)];
        if let Some(wait) = waits.into_iter().flatten().max() {
            return Err(wait);
        }
        self.names.charge(name, now);
        self.places.charge(place, now);
        Ok(())
    }

    /// The try was right: a user of this name has signed in from there.
    pub fn succeeded(&mut self, name: &str, address: IpAddr) {
        let (name, place) = (name_hash(name), place(address));
        if self.is_known(&name, &place) {
            self.own.failures.remove(&(name, place));
        } else {
            self.names.refund(&name);
            self.places.refund(&place);
        }
        self.remember(name, place);
    }

    /// The try was neither right nor wrong.
    pub fn undecided(&mut self, name: &str, address: IpAddr) {
        let (name, place) = (name_hash(name), place(address));
        if self.is_known(&name, &place) {
            self.own.refund(&(name, place));
        } else {
            self.names.refund(&name);
            self.places.refund(&place);
        }
    }

    /// The same of somebody who comes back from a provider: who he is, only the provider can say.
    pub fn begin_return(&mut self, now: Moment, address: IpAddr) -> Result<(), Millis> {
        let place = place(address);
        if let Some(wait) = self.returns.wait(&place, now) {
            return Err(wait);
        }
        self.returns.charge(place, now);
        Ok(())
    }

    /// It was no failure of his.
    pub fn returned(&mut self, address: IpAddr) {
        self.returns.refund(&place(address));
    }

    /// A user has signed in from there before, as a session of his tells.
    pub fn has_been(&mut self, name: &str, address: IpAddr) {
        self.remember(name_hash(name), place(address));
    }

    fn is_known(&self, name: &NameHash, place: &Place) -> bool {
        let places = self.known.get(name);
        places.is_some_and(|places| places.contains(place))
    }

    fn remember(&mut self, name: NameHash, place: Place) {
        // Names of users only, so there are as many as there are users.
        let places = self.known.entry(name).or_default();
        places.retain(|known| *known != place);
        if places.len() >= ADDRESSES_MAX {
            places.remove(0);
        }
        places.push(place);
    }
}

/// How often something may be written down: so many at once, and one more in each span.
pub(super) struct Allowance {
    left: u32,
    most: u32,
    every: Millis,
    since: Moment,
    /// Not written down since the last one that was.
    passed_over: u64,
}

impl Allowance {
    pub fn new(most: u32, every: Millis, now: Moment) -> Self {
        Self {
            left: most,
            most,
            every,
            since: now,
            passed_over: 0,
        }
    }

    /// Whether this one may be written down: then how many before it were not.
    pub fn take(&mut self, now: Moment) -> Option<u64> {
        let more = now.since(self.since).0 / self.every.0.max(1);
        if more > 0 {
            let more = u32::try_from(more).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(more).min(self.most);
            self.since = now;
        }
        let Some(left) = self.left.checked_sub(1) else {
            self.passed_over += 1;
            return None;
        };
        self.left = left;
        Some(std::mem::take(&mut self.passed_over))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(0).plus(Millis::from_secs(seconds))
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn each_failure_makes_the_next_wait_longer_up_to_a_minute() {
        let mut attempts = Attempts::new();
        let (mut now, mut waits) = (at(0), Vec::new());
        for _ in 0..12 {
            if let Err(wait) = attempts.begin(now, "anna", address(1)) {
                waits.push(wait.0 / 1000);
                now = now.plus(wait);
                assert_eq!(attempts.begin(now, "anna", address(1)), Ok(()));
            }
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        let later = now.plus(FORGET);
        for _ in 0..FREE_OF_NAME {
            assert_eq!(attempts.begin(later, "anna", address(1)), Ok(()));
        }
    }

    #[test]
    fn a_known_operator_is_not_locked_out_by_others() {
        let mut attempts = Attempts::new();
        attempts.begin(at(0), "anna", address(1)).unwrap();
        attempts.succeeded("anna", address(1));
        for last in 2..200 {
            let _ = attempts.begin(at(1), "anna", address(last));
        }
        assert!(attempts.begin(at(1), "anna", address(200)).is_err());
        assert_eq!(attempts.begin(at(1), "anna", address(1)), Ok(()));
        // Nor by those who share the address, in other names.
        for number in 0..50 {
            let _ = attempts.begin(at(1), &format!("user{number}"), address(1));
        }
        assert!(attempts.begin(at(1), "boris", address(1)).is_err());
        assert_eq!(attempts.begin(at(1), "anna", address(1)), Ok(()));
        // There, too, guessing gets slow.
        attempts.begin(at(1), "anna", address(1)).unwrap();
        assert!(attempts.begin(at(1), "anna", address(1)).is_err());
    }

    #[test]
    fn many_names_from_one_address_and_one_name_from_many_get_slow() {
        let mut attempts = Attempts::new();
        let tried = |attempts: &mut Attempts, name: &str, address: &str| {
            attempts.begin(at(0), name, address.parse().unwrap())
        };
        // All of one customer's network.
        for number in 0..10 {
            let from = format!("2001:db8::{number:x}");
            assert_eq!(
                tried(&mut attempts, &format!("user{number}"), &from),
                Ok(())
            );
        }
        assert!(tried(&mut attempts, "another", "2001:db8::ffff").is_err());
        assert!(tried(&mut attempts, "another", "2001:db8:0:1::1").is_ok());
        // An address of the fourth version is the same in both its forms.
        for number in 0..10 {
            tried(&mut attempts, &format!("guest{number}"), "::ffff:192.0.2.9").unwrap();
        }
        assert!(tried(&mut attempts, "another2", "192.0.2.9").is_err());
    }

    #[test]
    fn who_comes_back_from_a_provider_in_vain_waits_and_keeps_nobody_from_typing_passwords() {
        let mut attempts = Attempts::new();
        for _ in 0..FREE_OF_ADDRESS {
            assert_eq!(attempts.begin_return(at(0), address(1)), Ok(()));
        }
        assert!(attempts.begin_return(at(0), address(1)).is_err());
        assert_eq!(attempts.begin_return(at(0), address(2)), Ok(()));
        assert_eq!(attempts.begin(at(0), "anna", address(1)), Ok(()));
        attempts.returned(address(1));
        assert_eq!(attempts.begin_return(at(0), address(1)), Ok(()));
    }

    #[test]
    fn tries_at_once_count_before_they_are_decided() {
        let mut attempts = Attempts::new();
        let allowed = (0..100).filter(|_| attempts.begin(at(0), "anna", address(1)).is_ok());
        assert_eq!(allowed.count(), FREE_OF_NAME as usize);
        // One of them was right; the others go on counting.
        attempts.succeeded("anna", address(1));
        assert!(attempts.begin(at(0), "anna", address(2)).is_ok());
        assert!(attempts.begin(at(0), "anna", address(2)).is_err());
    }

    #[test]
    fn tables_stay_small_and_keep_the_worst() {
        let mut attempts = Attempts::new();
        for _ in 0..8 {
            let _ = attempts.begin(at(0), "anna", address(1));
        }
        for number in 0..ENTRIES_MAX as u32 + 200 {
            let from = IpAddr::from((0x0a00_0000_u32 + number).to_be_bytes());
            attempts.begin(at(0), &format!("{number}"), from).unwrap();
        }
        assert_eq!(attempts.names.failures.len(), ENTRIES_MAX);
        assert_eq!(attempts.places.failures.len(), ENTRIES_MAX);
        assert!(attempts.begin(at(0), "anna", address(1)).is_err());
        for number in 0..100 {
            attempts.succeeded("anna", address(number));
        }
        assert_eq!(attempts.known.values().flatten().count(), ADDRESSES_MAX);
    }

    #[test]
    fn an_allowance_says_how_many_it_passed_over() {
        let mut allowance = Allowance::new(2, Millis::from_secs(30), at(0));
        assert_eq!(allowance.take(at(0)), Some(0));
        assert_eq!(allowance.take(at(1)), Some(0));
        assert_eq!(allowance.take(at(2)), None);
        assert_eq!(allowance.take(at(29)), None);
        assert_eq!(allowance.take(at(31)), Some(2));
        assert_eq!(allowance.take(at(32)), None);
    }
}
