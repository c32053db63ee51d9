//! The driver: the one owner of the state. `step(now, Input) -> Vec<Output>`.
//!
//! A command is planned against the present state, stored, applied, published, acknowledged by
//! every worker and only then answered. One command is on its way to the store at a time, so that
//! each is judged by what the one before it left. What the driver does by itself (the end of a
//! drain) is applied at once, because a deadline must not wait for a disk, and stored as soon as
//! the store takes it; a restart in between comes to the same end from the stored drain.

mod agent;
mod change;
mod closing;
mod commands;
mod doors;
mod guarding;
mod load;
mod moving;
mod names;
mod outliers;
mod pursuit;
mod rebalance;
mod rehearse;
mod reload;
mod removed;
mod replicas;
mod returning;
mod settle;
mod show;
mod state;
mod telling;
mod upgrade;
mod verify;

use crate::agent::AgentSaid;
use crate::command::{Actor, Answer, Command, Refusal, RefusalKind, RequestId};
use crate::config::Config;
use crate::event::{Event, EventKind};
use crate::gate::OwnPage;
use crate::health::ProbeOutcome;
use crate::load::Load;
use crate::name::ServerName;
use crate::record::{Restored, Write};
use crate::replica::Knowledge;
use crate::snapshot::{Fact, Snapshot};
use crate::table::{SessionChange, SessionTable};
use crate::takeover::MoveOrder;
use crate::time::{Millis, Moment, Now};
use crate::upgrade::VersionAnswer;
use change::Plan;
pub use closing::{CLOSE_MAX, Close};
pub use names::{ADDRESSES_MAX, NameAnswer};
use pursuit::Chase;
pub use replicas::ManifestCopies;
use state::State;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

/// How long a worker may take to acknowledge a generation before the operator is told so.
const ACKNOWLEDGE_WITHIN: Millis = Millis::from_secs(5);
/// How long to wait before writes that the store refused are tried again.
const STORE_AGAIN_AFTER: Millis = Millis::from_secs(1);

/// What the world tells the driver.
#[derive(Debug)]
pub enum Input {
    /// An operator asks for a change.
    Command {
        /// Whom to answer.
        id: RequestId,
        /// Who asks.
        actor: Actor,
        /// For what.
        command: Command,
    },
    /// The store has taken, or could not take, the writes of this ticket.
    Persisted {
        /// The ticket of [`Output::Persist`].
        ticket: u64,
        /// What the store said, if it failed.
        result: Result<(), String>,
    },
    /// A worker tells something.
    Fact(Fact),
    /// Sessions began and ended: what [`SessionTable::take_changes`] gave.
    Sessions(Vec<SessionChange>),
    /// A probe of this server came back.
    Probed {
        /// Which server.
        server: ServerName,
        /// What it showed.
        outcome: ProbeOutcome,
        /// [`Places::admitted`](crate::Places::admitted) of the server when the probe began.
        admitted: u32,
        /// When the probe began.
        began: Moment,
    },
    /// The exporter of a server's machine was asked for its load, or could not be (and why).
    LoadRead {
        /// Which server.
        server: ServerName,
        /// Where the exporter is.
        exporter: String,
        /// What it tells; `None`: it takes another look to know.
        read: Result<Option<Load>, String>,
    },
    /// The agent on a server was asked, or could not be (and why).
    AgentSaid {
        /// Which server.
        server: ServerName,
        /// Where the agent was asked.
        agent: SocketAddr,
        /// What it says.
        said: Result<AgentSaid, String>,
    },
    /// A name was looked up whose addresses are servers, or could not be (and why).
    LookedUp {
        /// The pool's name.
        pool: String,
        /// What the name is called in the file.
        name: String,
        /// Its addresses.
        answer: Result<NameAnswer, String>,
    },
    /// A server was asked for its version page.
    Version {
        /// Which server.
        server: ServerName,
        /// What it answered.
        answer: VersionAnswer,
    },
    /// A server that is being verified was asked for its version page.
    VerifyPage {
        /// Which server.
        server: ServerName,
        /// What it answered.
        answer: VersionAnswer,
        /// When it was asked.
        began: Moment,
    },
    /// A page of the operator's own was read anew, or cannot be read (and why).
    PageRead {
        /// The pool's name.
        pool: String,
        /// Which page.
        page: OwnPage,
        /// The page, or what is wrong with its file.
        read: Result<Arc<str>, String>,
    },
    /// A server's manifest was read, or could not be (and why).
    ManifestRead {
        /// Which server.
        server: ServerName,
        /// Where the manifest is.
        place: String,
        /// What it says of the pool's resources.
        read: Result<ManifestCopies, String>,
    },
    /// A server's copy of a resource was read by Ebbtide itself, or is being read.
    CopyRead {
        /// Which server.
        server: ServerName,
        /// Which resource.
        resource: String,
        /// In which reading ([`Reading::number`](crate::Reading::number)).
        reading: u64,
        /// What is known of it now.
        knowledge: Knowledge,
    },
    /// Time has passed; comes at least every 100 ms.
    Tick,
}

/// What the driver tells the world.
#[derive(Debug)]
pub enum Output {
    /// Store all of these or none, then say so with `ticket`.
    Persist {
        /// Names these writes in [`Input::Persisted`].
        ticket: u64,
        /// What to store.
        writes: Vec<Write>,
    },
    /// Let every worker work from this.
    Publish(Arc<Snapshot>),
    /// Answer an operator.
    Answer {
        /// Whom.
        id: RequestId,
        /// What.
        result: Result<Answer, Refusal>,
    },
    /// Tell whoever listens.
    Event(Event),
    /// Probe this server now, not only when its turn comes.
    ProbeNow(ServerName),
    /// Let workers move sessions; never before the snapshot that was published before it.
    Move(Arc<MoveOrder>),
}

/// The owner of the state.
pub struct Driver {
    state: State,
    /// The newest generation that each worker has taken.
    acknowledged: Vec<u64>,
    /// Commands that wait for the one before them.
    queue: VecDeque<(RequestId, Actor, Command)>,
    /// What is on its way to the store.
    stored_next: Option<InFlight>,
    /// What the driver did by itself and the store has not taken yet.
    unsaved: Vec<Write>,
    /// Refusals of stored intents that the end of a drain has overtaken: they wait until that is
    /// stored too, or a restart would bring the refused intent back.
    overtaken: Vec<(RequestId, Refusal)>,
    store_again_at: Moment,
    store_failure: Option<String>,
    last_ticket: u64,
    /// Answers that wait for the workers.
    waiting: Vec<Waiting>,
    /// Answers that wait for sessions to move.
    pursuits: Vec<Chase>,
    outputs: Vec<Output>,
}

/// Writes that are on their way to the store.
struct InFlight {
    ticket: u64,
    /// How many of `unsaved` go with them.
    unsaved: usize,
    command: Option<(RequestId, Plan)>,
}

/// An answer that waits until every worker has taken `generation`.
struct Waiting {
    id: RequestId,
    generation: u64,
    since: Moment,
    answer: Answer,
}

impl Driver {
    /// Takes up where the store left off. `boot` names this boot of this machine; `workers` is how
    /// many must acknowledge each generation.
    pub fn new(
        config: Arc<Config>,
        mut restored: Restored,
        sessions: Arc<SessionTable>,
        boot: String,
        workers: usize,
        now: Now,
    ) -> Self {
        let ended_sessions = std::mem::take(&mut restored.ended_sessions);
        let doors = std::mem::take(&mut restored.doors);
        let mut state = State::new(config, restored, sessions, boot, workers, now);
        let mut outputs = Vec::new();
        let mut unsaved = state.take_up(ended_sessions, now, &mut outputs);
        unsaved.extend(doors::over_by_restart(doors, now));
        Self {
            state,
            acknowledged: vec![0; workers],
            queue: VecDeque::new(),
            stored_next: None,
            unsaved,
            overtaken: Vec::new(),
            store_again_at: now.moment,
            store_failure: None,
            last_ticket: 0,
            waiting: Vec::new(),
            pursuits: Vec::new(),
            outputs,
        }
    }

    /// Takes one input and says what follows. Persists before it publishes, publishes before it
    /// answers.
    pub fn step(&mut self, now: Now, input: Input) -> Vec<Output> {
        match input {
            Input::Command { id, actor, command } => self.queue.push_back((id, actor, command)),
            Input::Persisted { ticket, result } => self.persisted(ticket, result, now),
            Input::Fact(fact) => self.fact(fact, now),
            Input::Sessions(changes) => self.state.sessions_changed(&changes, &mut self.outputs),
            Input::Probed {
                server,
                outcome,
                admitted,
                began,
            } => self.state.probed(&server, outcome, (admitted, began), now),
            Input::LoadRead {
                server,
                exporter,
                read,
            } => {
                let outputs = &mut self.outputs;
                self.state.load_read(&server, &exporter, read, now, outputs);
            }
            Input::AgentSaid {
                server,
                agent,
                said,
            } => {
                let outputs = &mut self.outputs;
                self.state.agent_said(&server, agent, said, now, outputs);
            }
            Input::LookedUp { pool, name, answer } => self.looked_up(&pool, &name, answer, now),
            Input::Version { server, answer } => self.state.version_answered(&server, answer),
            Input::VerifyPage {
                server,
                answer,
                began,
            } => self.state.verify_answered(&server, answer, began),
            Input::PageRead { pool, page, read } => {
                let outputs = &mut self.outputs;
                self.state.page_read(&pool, page, read, now, outputs);
                self.state.publish(now, outputs);
            }
            Input::ManifestRead {
                server,
                place,
                read,
            } => {
                let outputs = &mut self.outputs;
                self.state
                    .manifest_read(&server, &place, read, now, outputs);
                self.state.publish(now, outputs);
            }
            Input::CopyRead {
                server,
                resource,
                reading,
                knowledge,
            } => {
                let outputs = &mut self.outputs;
                self.state
                    .copy_read(&server, (resource, reading), knowledge, now, outputs);
                self.state.publish(now, outputs);
            }
            Input::Tick => self.tick(now),
        }
        self.store_next(now);
        self.pursue(now);
        self.answer_acknowledged(now);
        std::mem::take(&mut self.outputs)
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.state.snapshot)
    }

    fn fact(&mut self, fact: Fact, now: Now) {
        match fact {
            Fact::Acknowledged { worker, generation } => {
                let known = &mut self.acknowledged[worker];
                *known = generation.max(*known);
            }
            Fact::ConnectFailed { pool, server } => {
                if let Some(name) = self.state.suspect(pool, server) {
                    self.outputs.push(Output::ProbeNow(name));
                }
            }
            Fact::CopyContradicted {
                pool,
                server,
                resource,
                size,
            } => {
                let (state, outputs) = (&mut self.state, &mut self.outputs);
                state.copy_contradicted(pool, server, resource, size, now, outputs);
                state.publish(now, outputs);
            }
            Fact::CopyWritten {
                pool,
                server,
                resource,
            } => {
                let (state, outputs) = (&mut self.state, &mut self.outputs);
                state.copy_written(pool, server, resource, now, outputs);
                state.publish(now, outputs);
            }
            Fact::Moved(moved) => self.moved(&moved),
        }
    }

    /// Ends the drains that are over and publishes what has changed since the last publication.
    fn tick(&mut self, now: Now) {
        let upgrades = self.state.settle_upgrades(now, &mut self.outputs);
        self.unsaved.extend(upgrades);
        self.state.judge_loads(now);
        self.state.judge_agents(now);
        self.state.judge_returns(now);
        // What an operator was promised is stored first, and may say something else of the same server.
        let is_asked = |next: &InFlight| next.command.is_some();
        if !self.stored_next.as_ref().is_some_and(is_asked) {
            let verified = self.state.settle_verifications(now, &mut self.outputs);
            self.unsaved.extend(verified);
        }
        self.state.watch_traffic(now, &mut self.outputs);
        let acknowledged = self.acknowledged();
        let writes = self.state.settle(acknowledged, now, &mut self.outputs);
        self.unsaved.extend(writes);
        let rebalanced = self.state.go_on_rebalancing(now, &mut self.outputs);
        self.unsaved.extend(rebalanced);
        self.unsaved.extend(self.state.watch_doors(now));
        let outputs = &mut self.outputs;
        self.state.settle_removed(acknowledged, now, outputs);
        self.state.publish(now, outputs);
    }

    /// The oldest generation that a worker still decides by.
    fn acknowledged(&self) -> u64 {
        let oldest = self.acknowledged.iter().min().copied();
        oldest.unwrap_or(u64::MAX).min(self.state.generation())
    }

    /// A name was looked up: what follows is done as if somebody had asked for it. What an earlier answer
    /// led to is done first; a later one brings the rest.
    fn looked_up(&mut self, pool: &str, name: &str, answer: Result<NameAnswer, String>, now: Now) {
        let outputs = &mut self.outputs;
        let commands = self.state.looked_up(pool, name, answer, now, outputs);
        let is_done = |(actor, _): &(Actor, Command)| !self.is_under_way(&actor.from);
        if commands.first().is_some_and(is_done) {
            let commands = commands.into_iter();
            let commands = commands.map(|(actor, command)| (RequestId::NOBODY, actor, command));
            self.queue.extend(commands);
        }
    }

    /// Whether anything that was asked for from here is not decided or not stored yet.
    fn is_under_way(&self, from: &str) -> bool {
        let in_flight = self.stored_next.as_ref();
        let plan = in_flight.and_then(|next| next.command.as_ref());
        let mut writes = plan.into_iter().flat_map(|(_, plan)| &plan.writes);
        self.queue.iter().any(|(_, actor, _)| actor.from == from)
            || writes.any(|write| matches!(write, Write::Audit(entry) if entry.actor.from == from))
    }

    /// Sends the next command, or else what is unsaved, to the store, if nothing is on its way.
    fn store_next(&mut self, now: Now) {
        while self.stored_next.is_none() {
            let command = match self.queue.pop_front() {
                None if self.unsaved.is_empty() || now.moment < self.store_again_at => return,
                None => None,
                Some((RequestId::NOBODY, _, command)) if !self.state.still_follows(&command) => {
                    continue;
                }
                Some((id, actor, command)) => {
                    // What happened at doors before this is decided comes before it in the log.
                    self.unsaved.extend(self.state.watch_doors(now));
                    match self.state.plan(&actor, command, now) {
                        Ok(plan) => Some((id, plan)),
                        Err(refusal) => {
                            self.refuse(id, refusal);
                            continue;
                        }
                    }
                }
            };
            let unsaved = self.unsaved.iter();
            let unsaved = unsaved.filter(|write| !self.state.is_of_removed(write));
            let mut writes: Vec<Write> = unsaved.cloned().collect();
            if let Some((_, plan)) = &command {
                writes.extend(plan.writes.iter().cloned());
            }
            self.last_ticket += 1;
            self.stored_next = Some(InFlight {
                ticket: self.last_ticket,
                unsaved: self.unsaved.len(),
                command,
            });
            self.outputs.push(Output::Persist {
                ticket: self.last_ticket,
                writes,
            });
        }
    }

    fn persisted(&mut self, ticket: u64, result: Result<(), String>, now: Now) {
        let Some(done) = self.stored_next.take_if(|next| next.ticket == ticket) else {
            return;
        };
        self.note_store(result.as_ref().err(), now);
        self.answer_overtaken(result.as_ref().err());
        match (result, done.command) {
            (Err(why), command) => {
                self.store_again_at = now.moment.plus(STORE_AGAIN_AFTER);
                if let Some((id, plan)) = command {
                    let refusal = plan.not_stored(&why);
                    self.refuse(id, refusal);
                }
            }
            (Ok(()), command) => {
                self.unsaved.drain(..done.unsaved);
                if let Some((id, plan)) = command {
                    self.apply(id, plan, now);
                }
            }
        }
    }

    /// Makes a stored plan true, and lets the answer wait for the workers.
    fn apply(&mut self, id: RequestId, mut plan: Plan, now: Now) {
        let pursuit = plan.pursuit.take();
        match self.state.apply(plan, now, &mut self.outputs) {
            Err(refusal) => self.overtaken.push((id, refusal)),
            Ok(mut answer) => {
                self.state.publish(now, &mut self.outputs);
                answer.generation = self.state.generation();
                let waiting = Waiting {
                    id,
                    generation: answer.generation,
                    since: now.moment,
                    answer,
                };
                match pursuit {
                    Some(pursuit) => self.begin(pursuit, waiting),
                    None => self.waiting.push(waiting),
                }
            }
        }
    }

    /// The end of a drain that overtook these is stored now, or could not be.
    fn answer_overtaken(&mut self, failed: Option<&String>) {
        for (id, mut refusal) in self.overtaken.drain(..) {
            if let Some(why) = failed {
                refusal.kind = RefusalKind::Store;
                refusal.text = format!(
                    "{}; the state directory has not taken that yet ({why}), so a restart before \
                     it does may bring the change",
                    refusal.text
                );
            }
            let result = Err(refusal);
            self.outputs.push(Output::Answer { id, result });
        }
    }

    fn refuse(&mut self, id: RequestId, refusal: Refusal) {
        let result = Err(refusal);
        self.outputs.push(Output::Answer { id, result });
    }

    fn note_store(&mut self, failed: Option<&String>, now: Now) {
        if self.store_failure.is_none() && failed.is_none() {
            return;
        }
        let news = self.store_failure.as_ref() != failed;
        self.store_failure = failed.cloned();
        if news {
            self.outputs.push(Output::Event(Event {
                at: now.wall,
                server: None,
                kind: EventKind::Store {
                    failed: failed.cloned(),
                },
            }));
        }
    }

    fn answer_acknowledged(&mut self, now: Now) {
        let acknowledged = self.acknowledged();
        let outputs = &mut self.outputs;
        self.waiting.retain(|waiting| {
            let result = if waiting.generation <= acknowledged {
                Ok(waiting.answer.clone())
            } else if waiting.is_overdue(now) {
                Err(waiting.overdue())
            } else {
                return true;
            };
            let id = waiting.id;
            outputs.push(Output::Answer { id, result });
            false
        });
    }
}

impl Waiting {
    fn is_overdue(&self, now: Now) -> bool {
        now.moment.since(self.since) > ACKNOWLEDGE_WITHIN
    }

    fn overdue(&self) -> Refusal {
        Refusal {
            kind: RefusalKind::Unacknowledged,
            text: format!(
                "{}; it is stored, but a worker has not taken it within {ACKNOWLEDGE_WITHIN}: look at \
                 `ebbtide status` and the log",
                self.answer.text
            ),
        }
    }
}
