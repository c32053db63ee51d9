//! Copies that Ebbtide reads itself, where no manifest tells which bytes servers have: each is read
//! from the first byte to the last, slowly, and hashed. What follows from that is decided in `core`.
//!
//! The connection over which a copy was read stays open: as long as it does, the server is the one that
//! was read. When it breaks, the copy is read again before anybody may rely on it.

mod export;
#[cfg(test)]
mod tests;

use super::BytesRead;
use crate::inbox::{Inbox, Message};
use crate::prober::jittered;
use ebbtide_core::{Digest, Identity, Knowledge, Millis, Reading, ServerName, Snapshot};
use export::{Export, Limits, Pace, Unread};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep};

/// Copies that are read at the same time, of all servers together: each needs some 1.5 MiB of memory.
const AT_ONCE_MAX: usize = 8;
/// Servers that are connected to at the same time.
const LOOKS_MAX: usize = 64;
/// The pause before a copy that could not be read is tried again; each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How far reading has got is told no more often than this: every worker hears of it.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// A copy that is to be read.
#[derive(Clone)]
struct Copy {
    server: ServerName,
    address: SocketAddr,
    resource: String,
    reading: u64,
}

/// What every reader needs.
#[derive(Clone)]
struct Desk {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    inbox: Inbox,
    bytes_read: Arc<BytesRead>,
    looks: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

/// A server whose copies are read one after another.
struct Server {
    place: Arc<Semaphore>,
    /// By resource: which reading it is, and its task.
    readers: BTreeMap<String, (u64, AbortHandle)>,
}

/// Reads until the sender of `snapshots` is dropped.
pub(super) async fn run(
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    inbox: Inbox,
    bytes_read: Arc<BytesRead>,
) {
    let mut tasks = JoinSet::new();
    let mut servers = BTreeMap::<ServerName, Server>::new();
    let desk = Desk {
        snapshots: snapshots.clone(),
        inbox,
        bytes_read,
        looks: Arc::new(Semaphore::new(LOOKS_MAX)),
        places: Arc::new(Semaphore::new(AT_ONCE_MAX)),
    };
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        let copies = copies(&snapshot);
        servers.retain(|name, server| {
            server.readers.retain(|resource, (reading, task)| {
                let copy = copies.get(&(name.clone(), resource.clone()));
                let stays = copy.is_some_and(|copy| copy.reading == *reading);
                if !stays {
                    task.abort();
                }
                stays
            });
            !server.readers.is_empty()
        });
        for ((name, resource), copy) in copies {
            let server = servers.entry(name).or_insert_with(|| Server {
                place: Arc::new(Semaphore::new(1)),
                readers: BTreeMap::new(),
            });
            server.readers.entry(resource).or_insert_with(|| {
                let reading = copy.reading;
                let place = Arc::clone(&server.place);
                (reading, tasks.spawn(read_on(copy, desk.clone(), place)))
            });
        }
        // What was aborted is taken out, so that it does not add up.
        while tasks.try_join_next().is_some() {}
        if snapshots.changed().await.is_err() {
            return;
        }
    }
}

fn copies(snapshot: &Snapshot) -> BTreeMap<(ServerName, String), Copy> {
    let pools = snapshot.pools.iter();
    let copies = pools.flat_map(|pool| {
        pool.replicas.readings.iter().map(|reading| {
            let Reading {
                number,
                server,
                address,
                resource,
            } = reading;
            let copy = Copy {
                server: ServerName::new(pool.config.name.as_str(), &**server),
                address: *address,
                resource: resource.clone(),
                reading: *number,
            };
            ((copy.server.clone(), resource.clone()), copy)
        })
    });
    copies.collect()
}

/// Reads one copy, and again whenever it may have become another one, until it is aborted.
async fn read_on(copy: Copy, desk: Desk, of_server: Arc<Semaphore>) {
    let mut pause = PAUSE_FIRST;
    loop {
        let Lost { why, was_sound } = desk.read(&copy, &of_server).await;
        let knowledge = match why {
            Unread::Absent => Knowledge::Absent,
            Unread::Failed(why) => Knowledge::Unreachable { why },
        };
        desk.tell(&copy, knowledge);
        if was_sound {
            pause = PAUSE_FIRST;
        }
        sleep(jittered(pause)).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// The end of an attempt.
struct Lost {
    why: Unread,
    /// The copy was read to its end, and could be relied on for a while.
    was_sound: bool,
}

impl From<Unread> for Lost {
    fn from(why: Unread) -> Self {
        let was_sound = false;
        Self { why, was_sound }
    }
}

impl Desk {
    /// Reads a copy and watches over it; returns why that is over.
    async fn read(&self, copy: &Copy, of_server: &Semaphore) -> Lost {
        let opened = {
            let _look = self.looks.acquire().await;
            Export::open(copy.address, &copy.resource, self.limits(copy)).await
        };
        let mut export = match opened {
            Ok(export) => export,
            Err(why) => return why.into(),
        };
        // Told before its turn comes, so that nobody waits for copies that stand in line.
        self.tell(copy, Knowledge::Reading { percent: 0 });
        let digest = match self.digest(copy, of_server, &mut export).await {
            Ok(digest) => digest,
            Err(why) => return why.into(),
        };
        let size = export.size();
        self.tell(
            copy,
            Knowledge::Known(Identity {
                digest: Some(digest),
                ..Identity::of_size(size)
            }),
        );
        let known_since = Instant::now();
        let why = export.watch().await;
        Lost {
            why: Unread::Failed(format!(
                "the connection over which it was read is lost, so it is read again: {why}"
            )),
            was_sound: known_since.elapsed() >= PAUSE_MAX,
        }
    }

    /// Reads an export when its turn has come.
    async fn digest(
        &self,
        copy: &Copy,
        of_server: &Semaphore,
        export: &mut Export,
    ) -> Result<Digest, Unread> {
        let _one_of_server = turn(of_server, export).await?;
        let _place = turn(&self.places, export).await?;
        let size = export.size();
        let (mut hasher, mut done) = (blake3::Hasher::new(), 0);
        let mut told = (0, Instant::now());
        let mut pace = Pace::new(|| self.bytes_per_second(copy));
        let take = |bytes: &[u8]| {
            hasher.update(bytes);
            done += bytes.len() as u64;
            self.bytes_read.add(&copy.server, bytes.len() as u64);
            let percent = (u128::from(done) * 100 / u128::from(size)) as u8;
            if percent != told.0 && told.1.elapsed() >= TOLD_EVERY {
                told = (percent, Instant::now());
                self.tell(copy, Knowledge::Reading { percent });
            }
        };
        let read = export.read(0..size, &mut pace, take).await;
        read.map_err(|why| Unread::Failed(format!("{why}, {done} of {size} B were read")))?;
        Ok(Digest(*hasher.finalize().as_bytes()))
    }

    fn tell(&self, copy: &Copy, knowledge: Knowledge) {
        self.inbox.send(Message::CopyRead {
            server: copy.server.clone(),
            resource: copy.resource.clone(),
            reading: copy.reading,
            knowledge,
        });
    }

    fn limits(&self, copy: &Copy) -> Limits {
        let snapshot = self.snapshots.borrow();
        let pool = snapshot.pool_named(&copy.server.pool);
        let limit = |span: Millis| Duration::from_millis(span.0);
        match pool.map(|pool| &pool.config.http) {
            Some(http) => Limits {
                connect: limit(http.connect_timeout),
                response: limit(http.response_timeout),
            },
            // Then this task is about to be aborted.
            None => Limits::default(),
        }
    }

    /// A reload may change it at any time.
    fn bytes_per_second(&self, copy: &Copy) -> u64 {
        let snapshot = self.snapshots.borrow();
        let pool = snapshot.pool_named(&copy.server.pool);
        pool.map_or(1, |pool| pool.config.replicas.read_bytes_per_second)
    }
}

/// Waits in line, and sees when the server is gone meanwhile.
async fn turn<'a>(
    places: &'a Semaphore,
    export: &mut Export,
) -> Result<Option<SemaphorePermit<'a>>, Unread> {
    tokio::select! {
        // The semaphore is never closed; without it nobody is kept from reading.
        place = places.acquire() => Ok(place.ok()),
        why = export.gone() => Err(Unread::Failed(why)),
    }
}
