//! The prober: asks every server of a checked pool for its health, each in its turn, on a thread
//! of its own, so that neither users nor the operator wait for it.

#[cfg(test)]
mod tests;

use crate::clock::clock;
use crate::inbox::{Inbox, Message};
use crate::probe::probe;
use ebbtide_core::{
    HealthSettings, Input, Moment, PoolConfig, PoolView, ProbeOutcome, ServerLoad, ServerName,
    Snapshot,
};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// Pools of up to so many servers are probed all at once at first; larger ones spread over `every`.
const AT_ONCE_MAX: usize = 64;

/// Starts the prober; it ends when the sender of `snapshots` is dropped.
pub(crate) fn start(
    snapshots: watch::Receiver<Arc<Snapshot>>,
    now: mpsc::UnboundedReceiver<ServerName>,
    inbox: Inbox,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    std::thread::Builder::new()
        .name("ebbtide-prober".into())
        .spawn(move || runtime.block_on(run(snapshots, now, inbox)))
}

pub(crate) async fn run(
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    mut now: mpsc::UnboundedReceiver<ServerName>,
    inbox: Inbox,
) {
    let mut prober = Prober::default();
    prober.follow(&snapshots.borrow_and_update().clone());
    loop {
        let due = prober.queue.keys().next().map(|(due, _)| *due);
        tokio::select! {
            changed = snapshots.changed() => match changed {
                Ok(()) => prober.follow(&snapshots.borrow_and_update().clone()),
                Err(_) => return,
            },
            Some(name) = now.recv() => prober.hurry(&name),
            Some(done) = prober.probes.join_next() => {
                // An aborted probe was of a server that is gone or has another address now.
                if let Ok((server, turn, outcome, (admitted, began))) = done
                    && prober.finished(&server, turn)
                {
                    inbox.send(Message::Told(Input::Probed {
                        server,
                        outcome,
                        admitted,
                        began,
                    }));
                }
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                prober.begin_due();
            }
        }
    }
}

/// One server's place in the round.
struct Place {
    config: Arc<PoolConfig>,
    address: SocketAddr,
    load: Arc<ServerLoad>,
    /// Tells this place from an earlier one of the same name with another address or rule.
    turn: u64,
    state: State,
}

enum State {
    /// Waits for its time, which is its key in the queue.
    Waiting(Instant),
    /// Is being probed; `again`: once more at once after that.
    Probing { probe: AbortHandle, again: bool },
}

impl Drop for Place {
    fn drop(&mut self) {
        if let State::Probing { probe, .. } = &self.state {
            probe.abort();
        }
    }
}

#[derive(Default)]
struct Prober {
    places: BTreeMap<ServerName, Place>,
    queue: BTreeMap<(Instant, u64), ServerName>,
    /// With the turn, the sessions that the server had ever been given when they began, and when that was.
    probes: JoinSet<(ServerName, u64, ProbeOutcome, (u32, Moment))>,
    last_turn: u64,
}

impl Prober {
    /// Takes up what has changed: servers that are new, gone or elsewhere, rules that are others.
    fn follow(&mut self, snapshot: &Snapshot) {
        let mut before = std::mem::take(&mut self.places);
        for pool in &snapshot.pools {
            if let Some(health) = &pool.config.health {
                self.follow_pool(pool, health, &mut before);
            }
        }
        for place in before.into_values() {
            self.unqueue(&place);
        }
    }

    fn follow_pool(
        &mut self,
        pool: &PoolView,
        health: &HealthSettings,
        before: &mut BTreeMap<ServerName, Place>,
    ) {
        let start = Instant::now();
        let count = pool.servers.len();
        for (index, server) in pool.servers.iter().enumerate() {
            let name = ServerName::new(pool.config.name.as_str(), &*server.name);
            if let Some(mut place) = before.remove(&name) {
                if place.address == server.address && place.config.health.as_ref() == Some(health) {
                    place.config = Arc::clone(&pool.config);
                    place.load = Arc::clone(&server.load);
                    self.places.insert(name, place);
                    continue;
                }
                self.unqueue(&place);
            }
            let every = Duration::from_millis(health.every.0);
            let spread = match count > AT_ONCE_MAX {
                true => every.mul_f64(index as f64 / count as f64),
                false => Duration::ZERO,
            };
            self.last_turn += 1;
            let place = Place {
                config: Arc::clone(&pool.config),
                address: server.address,
                load: Arc::clone(&server.load),
                turn: self.last_turn,
                state: State::Waiting(start + spread),
            };
            self.queue
                .insert((start + spread, place.turn), name.clone());
            self.places.insert(name, place);
        }
    }

    fn unqueue(&mut self, place: &Place) {
        if let State::Waiting(due) = place.state {
            self.queue.remove(&(due, place.turn));
        }
    }

    /// Probes `name` now, or once more if that is being done already.
    fn hurry(&mut self, name: &ServerName) {
        let Some(place) = self.places.get_mut(name) else {
            return;
        };
        match &mut place.state {
            State::Probing { again, .. } => *again = true,
            State::Waiting(due) => {
                self.queue.remove(&(*due, place.turn));
                *due = Instant::now();
                self.queue.insert((*due, place.turn), name.clone());
            }
        }
    }

    fn begin_due(&mut self) {
        let now = Instant::now();
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let name = entry.remove();
            let Some(place) = self.places.get_mut(&name) else {
                continue;
            };
            let Some(health) = place.config.health.clone() else {
                continue;
            };
            let (address, turn) = (place.address, place.turn);
            let begun = (place.load.places.admitted(), clock().moment);
            let probe = self.probes.spawn(async move {
                let outcome = probe(address, &health).await;
                (name, turn, outcome, begun)
            });
            let again = false;
            place.state = State::Probing { probe, again };
        }
    }

    /// Gives the server its next time; `false` if this result is of an earlier place.
    fn finished(&mut self, name: &ServerName, turn: u64) -> bool {
        let Some(place) = self.places.get_mut(name) else {
            return false;
        };
        let State::Probing { again, .. } = place.state else {
            return false;
        };
        if place.turn != turn {
            return false;
        }
        let pause = match &place.config.health {
            Some(health) if !again => jittered(Duration::from_millis(health.every.0)),
            _ => Duration::ZERO,
        };
        let due = Instant::now() + pause;
        place.state = State::Waiting(due);
        self.queue.insert((due, turn), name.clone());
        true
    }
}

/// A tenth more or less, so that many balancers do not ask in step.
pub(crate) fn jittered(span: Duration) -> Duration {
    // Without randomness the middle will do.
    let dice = getrandom::u32().unwrap_or(u32::MAX / 2);
    span.mul_f64(0.9 + 0.2 * f64::from(dice) / f64::from(u32::MAX))
}
