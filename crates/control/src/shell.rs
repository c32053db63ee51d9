//! The driver's shell: hands the driver its inputs and carries out its outputs, in order.

use crate::clock::clock;
use crate::control::{MoveSessions, Publish, Reload, Reloaded};
use crate::event_log::EventLog;
use crate::inbox::{Inbox, InboxReceiver, Message, Reply};
use crate::outside::Outside;
use crate::store::{StoreErrorKind, StoreThread};
use ebbtide_core::{
    Actor, Command, Driver, Fact, Input, Now, Output, Refusal, RefusalKind, RequestId, ServerName,
    SessionTable, Snapshot,
};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

const TICK: Duration = Duration::from_millis(50);
/// Shards of the session table swept each tick: all of them within a second.
const SWEEP: usize = SessionTable::SHARDS.div_ceil(16);

/// How the store has done; written by its answers.
#[derive(Default)]
pub(crate) struct StoreTally {
    /// Commits that failed.
    pub failures: AtomicU64,
    /// The last commit failed because the disk is full.
    pub full: AtomicBool,
}

pub(crate) struct Shell {
    pub driver: Driver,
    pub sessions: Arc<SessionTable>,
    pub store: StoreThread,
    pub store_tally: Arc<StoreTally>,
    pub snapshot: watch::Sender<Arc<Snapshot>>,
    pub publish: Publish,
    pub move_sessions: MoveSessions,
    pub probe_now: mpsc::UnboundedSender<ServerName>,
    pub events: Arc<EventLog>,
    pub outside: Arc<Outside>,
    pub inbox: Inbox,
    pub reload: Arc<Mutex<Reload>>,
    pub answers: BTreeMap<RequestId, Reply>,
    pub last_request: u64,
    pub sweep_next: usize,
}

impl Shell {
    /// Runs until it is told to stop.
    pub async fn run(mut self, mut receiver: InboxReceiver) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                () = receiver.take(&mut batch) => {}
                _ = tick.tick() => self.tick(),
            }
            for message in batch.drain(..) {
                match message {
                    Message::Fact(fact) => self.step(Input::Fact(fact)),
                    Message::Told(input) => self.step(input),
                    Message::Persisted(ticket, result) => {
                        self.step(Input::Persisted { ticket, result });
                    }
                    Message::PageRead { pool, page, read } => {
                        self.step(Input::PageRead { pool, page, read });
                    }
                    Message::ManifestRead {
                        server,
                        place,
                        read,
                    } => {
                        self.step(Input::ManifestRead {
                            server,
                            place,
                            read,
                        });
                    }
                    Message::CopyRead {
                        server,
                        resource,
                        reading,
                        knowledge,
                    } => {
                        self.step(Input::CopyRead {
                            server,
                            resource,
                            reading,
                            knowledge,
                        });
                    }
                    Message::Command(actor, command, reply) => self.command(actor, command, reply),
                    Message::Reload(actor, reply) => self.reload(actor, reply),
                    Message::Look(look) => look(&self.driver, clock()),
                    Message::Stop => return,
                }
            }
        }
    }

    fn tick(&mut self) {
        let now = clock();
        let end = (self.sweep_next + SWEEP).min(SessionTable::SHARDS);
        self.sessions
            .sweep(self.sweep_next..end, &self.driver.snapshot(), now);
        self.sweep_next = if end == SessionTable::SHARDS { 0 } else { end };
        self.tell_of_sessions();
        self.step_at(clock(), Input::Tick);
    }

    /// Has the driver tell of sessions that have begun, moved and ended.
    fn tell_of_sessions(&mut self) {
        let (mut changes, dropped) = self.sessions.take_changes();
        if dropped > 0 {
            tracing::warn!(
                dropped,
                "sessions begin and end faster than events can tell"
            );
        }
        if !changes.is_empty() {
            self.outside.log_out(&mut changes, &self.driver.snapshot());
            self.step_at(clock(), Input::Sessions(changes));
        }
    }

    fn command(&mut self, actor: Actor, command: Command, reply: Reply) {
        self.last_request += 1;
        let id = RequestId(self.last_request);
        self.answers.insert(id, reply);
        self.step(Input::Command { id, actor, command });
    }

    /// Reads the file on a thread of its own (names may have to be resolved), then goes on with a
    /// command of its own.
    fn reload(&mut self, actor: Actor, reply: Reply) {
        let (reload, inbox) = (Arc::clone(&self.reload), self.inbox.clone());
        let outside = Arc::clone(&self.outside);
        tokio::task::spawn_blocking(move || {
            let read = reload.lock().unwrap_or_else(PoisonError::into_inner)();
            match read {
                Ok(Reloaded {
                    config,
                    webhooks,
                    notes,
                }) => {
                    let beside = outside.webhooks.differences(&webhooks);
                    let command = Command::Reload { config, beside };
                    let answer = inbox.ask(|reply| Message::Command(actor, command, reply));
                    // If the control thread is stopping, the asker is told so by being hung up on.
                    let Ok(mut answer) = answer.blocking_recv() else {
                        return;
                    };
                    if let Ok(answer) = &mut answer {
                        outside.webhooks.replace(webhooks);
                        answer.changes.extend(notes);
                    }
                    drop(reply.send(answer));
                }
                Err(text) => {
                    let kind = RefusalKind::Invalid;
                    drop(reply.send(Err(Refusal { kind, text })));
                }
            }
        });
    }

    /// Steps on. What has happened to sessions by now is told first: it may be why this comes.
    fn step(&mut self, input: Input) {
        // Of these there may be as many as there are clients, and nothing is told of them.
        if !matches!(input, Input::Fact(Fact::ConnectFailed { .. })) {
            self.tell_of_sessions();
        }
        self.step_at(clock(), input);
    }

    fn step_at(&mut self, now: Now, input: Input) {
        for output in self.driver.step(now, input) {
            match output {
                Output::Persist { ticket, writes } => {
                    let (inbox, tally) = (self.inbox.clone(), Arc::clone(&self.store_tally));
                    self.store.write(writes, move |result| {
                        let result = result.map_err(|error| {
                            tracing::error!("{error}");
                            tally.failures.fetch_add(1, Relaxed);
                            let full = matches!(error.kind(), StoreErrorKind::Full);
                            tally.full.store(full, Relaxed);
                            error.cause()
                        });
                        inbox.send(Message::Persisted(ticket, result));
                    });
                }
                Output::Publish(snapshot) => {
                    (self.publish)(Arc::clone(&snapshot));
                    self.snapshot.send_replace(snapshot);
                }
                Output::Move(order) => (self.move_sessions)(order),
                Output::Answer { id, result } => {
                    if let Some(reply) = self.answers.remove(&id) {
                        drop(reply.send(result));
                    }
                }
                Output::Event(event) => {
                    tell(&event);
                    let told = self.events.push(&event);
                    self.outside.webhooks.tell(event.kind.label(), &told);
                }
                // The prober ends only after this task.
                Output::ProbeNow(server) => drop(self.probe_now.send(server)),
            }
        }
    }
}

/// What an operator reads in the program's own log; sessions come and go in the events only.
fn tell(event: &ebbtide_core::Event) {
    use ebbtide_core::EventKind::{SessionBegan, SessionEnded, SessionMoved};
    match (&event.kind, &event.server) {
        (SessionBegan { .. } | SessionMoved { .. } | SessionEnded { .. }, _) => {}
        (kind, Some(server)) => tracing::info!("{server}: {kind}"),
        (kind, None) => tracing::info!("{kind}"),
    }
}
