//! What is known of the copies of a pool's resources: it comes from manifests and from reading,
//! and goes into the snapshot.

use crate::config::PoolConfig;
use crate::driver::Output;
use crate::driver::change::event;
use crate::driver::state::{PoolState, ServerState, State};
use crate::event::EventKind;
use crate::health::Health;
use crate::intent::{Intent, PoolIntent};
use crate::name::{PoolKey, ServerKey, ServerName};
use crate::replica::{
    CopyView, Identity, IdentitySource, Knowledge, Known, ManifestPlace, Reading, ReplicaView,
    ResourceConfig, ResourceView, judge,
};
use crate::time::{Moment, Now};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

/// As many changes of one server's copies are told one by one; more of them in one sentence.
const TOLD_MAX: usize = 8;

/// What a manifest says of the resources that it was asked for; `None`: that file is not in it.
pub type ManifestCopies = BTreeMap<String, Option<Identity>>;

/// What is known of a pool's copies.
#[derive(Debug, Default)]
pub(super) struct ReplicaState {
    /// By the server's name within the pool.
    servers: BTreeMap<String, ServerCopies>,
    /// Resources of which every server was looked at once.
    settled: BTreeSet<String>,
    view: Arc<ReplicaView>,
    /// What the view was made from, beside what is known.
    basis: Option<Basis>,
}

/// What was known of a server's copies is good as long as this stays so.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    address: SocketAddr,
    manifest: Option<String>,
    /// Why its copies are not to be read at present, and have to be read again afterwards.
    bar: Option<&'static str>,
}

type Basis = (Arc<PoolConfig>, Vec<(ServerKey, Arc<str>, Place)>);

#[derive(Debug, Default)]
struct ServerCopies {
    place: Option<Place>,
    /// When its manifest was last read.
    read: Option<Moment>,
    /// By resource.
    copies: BTreeMap<String, Knowledge>,
    /// The readings that count, by resource.
    readings: BTreeMap<String, u64>,
    /// Since when a copy has been read, and watched, without a break, by resource.
    watches: BTreeMap<String, u64>,
    /// Resources that were written since their manifest was: what the manifest says of them, if that is
    /// known.
    written: BTreeMap<String, Option<Identity>>,
}

/// Why a copy that was written is not known.
const WRITTEN: &str = "it was written through Ebbtide, and its manifest is still the one of before";

impl ServerCopies {
    fn known(&self, resource: &str) -> &Knowledge {
        self.copies.get(resource).unwrap_or(&Knowledge::Unknown)
    }

    /// What a manifest says of a copy: of one that was written, nothing as long as it says the same.
    fn told(&mut self, resource: &str, identity: Identity) -> Knowledge {
        match self.written.get(resource) {
            None => {}
            Some(Some(before)) if *before != identity => {
                self.written.remove(resource);
            }
            Some(_) => {
                self.written.insert(resource.to_owned(), Some(identity));
                let why = WRITTEN.to_owned();
                return Knowledge::Unreachable { why };
            }
        }
        Knowledge::Known(identity)
    }

    /// What has just become known of a copy that is read: a break is told as something else than that
    /// it is being read or known, and from then on it is another watch.
    fn watch_on(&mut self, resource: &str, knowledge: &Knowledge, last_reading: &mut u64) {
        let is_watched = matches!(knowledge, Knowledge::Reading { .. } | Knowledge::Known(_));
        match is_watched {
            true => {
                let watch = self.watches.entry(resource.to_owned());
                watch.or_insert_with(|| next(last_reading));
            }
            false => {
                self.watches.remove(resource);
            }
        }
    }
}

impl ReplicaState {
    /// The view for the servers that are there now, in the file's order.
    fn view(
        &mut self,
        config: &Arc<PoolConfig>,
        servers: Vec<(ServerKey, Arc<str>, Place)>,
        last_reading: &mut u64,
    ) -> Arc<ReplicaView> {
        let is_made = self
            .basis
            .as_ref()
            .is_some_and(|(known, before)| Arc::ptr_eq(known, config) && *before == servers);
        if !is_made {
            self.forget_others(config, &servers);
            self.begin_readings(config, last_reading);
            self.basis = Some((Arc::clone(config), servers));
            self.make();
        }
        Arc::clone(&self.view)
    }

    /// Keeps only what is known of these servers and of resources that there are.
    fn forget_others(&mut self, config: &PoolConfig, servers: &[(ServerKey, Arc<str>, Place)]) {
        let mut before = std::mem::take(&mut self.servers);
        let (source, resources) = (config.replicas.source, &config.replicas.resources);
        // What has no reading any more may change without anybody noticing.
        let stays = |name: &str| {
            resources.iter().any(|resource| {
                let is_known = source != IdentitySource::Read || resource.is_compared();
                resource.name == name && is_known
            })
        };
        for (_, name, place) in servers {
            let known = before.remove(&**name);
            let known = known.filter(|known| known.place.as_ref() == Some(place));
            let mut known = known.unwrap_or_default();
            known.place = Some(place.clone());
            known.copies.retain(|name, _| stays(name));
            known.readings.retain(|name, _| stays(name));
            known.watches.retain(|name, _| stays(name));
            known.written.retain(|name, _| stays(name));
            let lacks_manifest = source == IdentitySource::Manifest && place.manifest.is_none();
            let bar = lacks_manifest.then_some("it has no manifest of its own");
            if let Some(why) = bar.or(place.bar) {
                let why = why.to_owned();
                let unreachable = Knowledge::Unreachable { why };
                let names = resources.iter().map(|resource| resource.name.clone());
                known.copies = names.map(|name| (name, unreachable.clone())).collect();
            }
            self.servers.insert(name.to_string(), known);
        }
    }

    /// Every copy that is to be read has a reading.
    fn begin_readings(&mut self, config: &PoolConfig, last_reading: &mut u64) {
        let settings = &config.replicas;
        if settings.source != IdentitySource::Read {
            return;
        }
        let compared = |resource: &&ResourceConfig| resource.is_compared();
        let is_barred = |server: &ServerCopies| {
            server
                .place
                .as_ref()
                .is_none_or(|place| place.bar.is_some())
        };
        for server in self
            .servers
            .values_mut()
            .filter(|server| !is_barred(server))
        {
            for resource in settings.resources.iter().filter(compared) {
                server
                    .readings
                    .entry(resource.name.clone())
                    .or_insert_with(|| next(last_reading));
            }
        }
    }

    /// Judges every copy anew.
    fn make(&mut self) {
        let Some((config, servers)) = &self.basis else {
            return;
        };
        let settings = &config.replicas;
        let names = || servers.iter().map(|(_, name, _)| name);
        let settled = settings.resources.iter().filter(|resource| {
            let looked_at = |name: &Arc<str>| {
                let server = self.servers.get(&**name);
                server.is_some_and(|server| *server.known(&resource.name) != Knowledge::Unknown)
            };
            let was_settled = self.settled.contains(&resource.name);
            names().any(looked_at) && (was_settled || names().all(looked_at))
        });
        self.settled = settled.map(|resource| resource.name.clone()).collect();
        let view = |rule: &ResourceConfig| {
            let none = ServerCopies::default();
            let settled = self.settled.contains(&rule.name);
            let known = |name: &Arc<str>| self.servers.get(&**name).unwrap_or(&none);
            let knowledge: Vec<Knowledge> = names()
                .map(|name| known(name).known(&rule.name).clone())
                .collect();
            let copies: Vec<Known<'_>> = names()
                .zip(&knowledge)
                .map(|(server, knowledge)| Known { server, knowledge })
                .collect();
            let verdicts = judge(&config.name, rule, settings.source, settled, &copies);
            let copies = servers.iter().zip(knowledge.clone()).zip(verdicts);
            ResourceView {
                rule: rule.clone(),
                source: settings.source,
                copies: copies
                    .map(|(((server, name, _), knowledge), verdict)| CopyView {
                        server: *server,
                        name: Arc::clone(name),
                        knowledge,
                        watch: known(name).watches.get(&rule.name).copied(),
                        verdict,
                    })
                    .collect(),
            }
        };
        let manifests = servers.iter().filter_map(|(_, server, place)| {
            Some(ManifestPlace {
                server: Arc::clone(server),
                place: place.manifest.clone()?,
            })
        });
        let readings = servers.iter().flat_map(|(_, server, place)| {
            let known = self.servers.get(&**server).into_iter();
            let readings = known.flat_map(|known| &known.readings);
            readings.map(|(resource, number)| Reading {
                number: *number,
                server: Arc::clone(server),
                address: place.address,
                resource: resource.clone(),
            })
        });
        self.view = Arc::new(ReplicaView {
            resources: settings.resources.iter().map(view).collect(),
            manifests: manifests.collect(),
            readings: readings.collect(),
        });
    }
}

impl State {
    /// The view of a pool's replicas.
    pub(super) fn replica_view(&mut self, name: &str) -> Arc<ReplicaView> {
        let is_closed = matches!(self.wish(name), PoolIntent::Closed(_));
        let Some(pool) = self.pools.get_mut(name) else {
            return Arc::default();
        };
        if pool.config.replicas.resources.is_empty() {
            pool.replicas = ReplicaState::default();
            return Arc::default();
        }
        let settings = &pool.config.replicas;
        // A manifest that two servers share would prove nothing of the second one, which was added
        // live: of those in the file this was checked.
        let mut taken = BTreeSet::new();
        let servers = pool.order.iter().filter_map(|name| {
            let server = self.servers.get(name)?;
            let manifest = settings.manifest_of(&server.config);
            let is_read = settings.source == IdentitySource::Read;
            let place = Place {
                address: server.config.address,
                manifest: manifest.filter(|manifest| taken.insert(manifest.clone())),
                bar: server.bar(is_closed).filter(|_| is_read),
            };
            Some((server.key, Arc::clone(&server.name), place))
        });
        let servers = servers.collect();
        let last_reading = &mut self.last_reading;
        pool.replicas.view(&pool.config, servers, last_reading)
    }

    /// A server's manifest was read, or could not be; then what was known stays so for a while.
    pub(super) fn manifest_read(
        &mut self,
        name: &ServerName,
        place: &str,
        read: Result<ManifestCopies, String>,
        now: Now,
        outputs: &mut Vec<Output>,
    ) {
        let Some(pool) = self.pools.get_mut(&name.pool) else {
            return;
        };
        let (settings, replicas) = (&pool.config.replicas, &mut pool.replicas);
        let Some(server) = replicas.servers.get_mut(&name.server) else {
            return;
        };
        let expected = server
            .place
            .as_ref()
            .and_then(|place| place.manifest.as_deref());
        if expected != Some(place) || settings.source != IdentitySource::Manifest {
            return;
        }
        let kept = settings.kept();
        let is_fresh = server
            .read
            .is_some_and(|read| now.moment.since(read) <= kept);
        let resources = settings.resources.iter().map(|resource| &resource.name);
        let news: Vec<(String, Knowledge)> = match read {
            Ok(copies) => {
                server.read = Some(now.moment);
                let mut told = |(name, copy): (String, Option<Identity>)| {
                    let knowledge = match copy {
                        Some(identity) => server.told(&name, identity),
                        None => Knowledge::Absent,
                    };
                    (name, knowledge)
                };
                copies.into_iter().map(&mut told).collect()
            }
            Err(why) => resources
                .filter(|name| !is_fresh || *server.known(name) == Knowledge::Unknown)
                .map(|name| (name.clone(), Knowledge::Unreachable { why: why.clone() }))
                .collect(),
        };
        self.learn(name, news, now, outputs);
    }

    /// A copy was read or is being read, by [`IdentitySource::Read`].
    pub(super) fn copy_read(
        &mut self,
        name: &ServerName,
        (resource, reading): (String, u64),
        knowledge: Knowledge,
        now: Now,
        outputs: &mut Vec<Output>,
    ) {
        let pool = self.pools.get(&name.pool);
        let server = pool.and_then(|pool| pool.replicas.servers.get(&name.server));
        if server.is_some_and(|server| server.readings.get(&resource) == Some(&reading)) {
            self.learn(name, vec![(resource, knowledge)], now, outputs);
        }
    }

    /// A server showed another size of its copy than it is known by: it does not serve until its
    /// manifest is read again or the copy is.
    pub(super) fn copy_contradicted(
        &mut self,
        pool: PoolKey,
        server: ServerKey,
        resource: String,
        size: u64,
        now: Now,
        outputs: &mut Vec<Output>,
    ) {
        let Some(name) = self.name_of(server).cloned() else {
            return;
        };
        if let Some((_, server)) = copies_of(&mut self.pools, pool, &name)
            && let Knowledge::Known(known) = server.known(&resource)
            && known.size != size
        {
            let known = known.clone();
            if let Some(reading) = server.readings.get_mut(&resource) {
                *reading = next(&mut self.last_reading);
            }
            let knowledge = Knowledge::Contradicted { known, size };
            self.learn(&name, vec![(resource, knowledge)], now, outputs);
        }
    }

    /// Somebody writes to a server's copy: it is not what its manifest says any more, until there is
    /// another one. (A copy that is read is read anew before it may be shared.)
    pub(super) fn copy_written(
        &mut self,
        pool: PoolKey,
        server: ServerKey,
        resource: String,
        now: Now,
        outputs: &mut Vec<Output>,
    ) {
        let Some(name) = self.name_of(server).cloned() else {
            return;
        };
        let Some((IdentitySource::Manifest, server)) = copies_of(&mut self.pools, pool, &name)
        else {
            return;
        };
        match server.known(&resource).identity().cloned() {
            Some(identity) => {
                server.written.insert(resource.clone(), Some(identity));
            }
            None => {
                server.written.entry(resource.clone()).or_default();
            }
        }
        let why = WRITTEN.to_owned();
        let news = vec![(resource, Knowledge::Unreachable { why })];
        self.learn(&name, news, now, outputs);
    }

    /// Takes news of a server's copies, and tells of what has changed.
    fn learn(
        &mut self,
        name: &ServerName,
        news: Vec<(String, Knowledge)>,
        now: Now,
        outputs: &mut Vec<Output>,
    ) {
        let Some(pool) = self.pools.get_mut(&name.pool) else {
            return;
        };
        let resources = &pool.config.replicas.resources;
        let is_read = pool.config.replicas.source == IdentitySource::Read;
        let Some(server) = pool.replicas.servers.get_mut(&name.server) else {
            return;
        };
        let mut changes = Vec::new();
        let mut is_other = false;
        for (resource, knowledge) in news {
            let is_there = resources.iter().any(|known| known.name == resource);
            let before = server.known(&resource);
            if !is_there || *before == knowledge {
                continue;
            }
            is_other = true;
            // That reading gets on is shown, but no event.
            if before.label() != knowledge.label() || before.identity() != knowledge.identity() {
                changes.push((resource.clone(), before.label(), knowledge.clone()));
            }
            if is_read {
                server.watch_on(&resource, &knowledge, &mut self.last_reading);
            }
            server.copies.insert(resource, knowledge);
        }
        if !is_other {
            return;
        }
        pool.replicas.make();
        self.changed.insert(name.pool.clone());
        outputs.extend(told(name, changes, now));
    }
}

impl ServerState {
    /// Why its copies cannot be read: whatever may be changed on it meanwhile is seen by nobody.
    fn bar(&self, is_closed: bool) -> Option<&'static str> {
        if self.intent == Intent::Maintenance {
            Some("it is in maintenance, and is read when it is back")
        } else if self.known_health() == Health::Down {
            Some("it is down, and is read when it is back")
        } else {
            is_closed.then_some("its pool is closed, and it is read when that is open")
        }
    }
}

/// How the copies of a pool are known, and what is known of those of a server, if that is still in this
/// very pool.
fn copies_of<'a>(
    pools: &'a mut BTreeMap<String, PoolState>,
    pool: PoolKey,
    name: &ServerName,
) -> Option<(IdentitySource, &'a mut ServerCopies)> {
    let state = pools.get_mut(&name.pool);
    let state = state.filter(|state| state.key == pool)?;
    let server = state.replicas.servers.get_mut(&name.server)?;
    Some((state.config.replicas.source, server))
}

fn next(last_reading: &mut u64) -> u64 {
    *last_reading += 1;
    *last_reading
}

fn told(
    name: &ServerName,
    changes: Vec<(String, &'static str, Knowledge)>,
    now: Now,
) -> Vec<Output> {
    let one = |(resource, from, to): (String, &'static str, Knowledge)| {
        let kind = EventKind::Copy {
            resource,
            from,
            to: to.label(),
            what: what(&to),
        };
        event(Some(name), kind, now)
    };
    if changes.len() <= TOLD_MAX {
        return changes.into_iter().map(one).collect();
    }
    let mut counts = BTreeMap::<&'static str, usize>::new();
    for (_, _, to) in &changes {
        *counts.entry(to.label()).or_default() += 1;
    }
    let counts: Vec<String> = counts
        .iter()
        .map(|(label, count)| format!("{count} {label}"))
        .collect();
    let change = format!("copies of resources: {}", counts.join(", "));
    vec![event(Some(name), EventKind::Configured { change }, now)]
}

fn what(knowledge: &Knowledge) -> Option<String> {
    match knowledge {
        Knowledge::Known(identity) => Some(identity.to_string()),
        Knowledge::Unreachable { why } => Some(why.clone()),
        Knowledge::Contradicted { known, size } => {
            let (known, size) = (known.size, *size);
            Some(format!("it shows {size} B, and was known by {known} B"))
        }
        Knowledge::Unknown | Knowledge::Reading { .. } | Knowledge::Absent => None,
    }
}
