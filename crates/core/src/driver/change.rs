//! A plan: what a command will change, decided before it is stored, applied after.

use crate::command::{Answer, Refusal, RefusalKind};
use crate::config::{Config, ServerConfig};
use crate::door::{Door, DoorId};
use crate::driver::Output;
use crate::driver::pursuit::Pursuit;
use crate::driver::rebalance::Rebalance;
use crate::driver::state::State;
use crate::driver::verify::Verification;
use crate::event::{Event, EventKind};
use crate::health::Health;
use crate::intent::{Intent, PoolIntent};
use crate::name::{ServerName, SessionId};
use crate::notice::Message;
use crate::record::{IntentRecord, PoolIntentRecord, ServerOverride, Write};
use crate::session::EndReason;
use crate::snapshot::TokenSecrets;
use crate::time::{Millis, Now};
use std::sync::Arc;

/// What a command will change.
pub(super) struct Plan {
    /// What was asked for, as the audit log names it.
    pub action: &'static str,
    /// To what.
    pub target: String,
    pub change: Change,
    /// Everything that is stored for it, the audit line last.
    pub writes: Vec<Write>,
    pub answer: Answer,
    /// What is to come of it before that is answered.
    pub pursuit: Option<Pursuit>,
}

/// What becomes different in the state.
pub(super) enum Change {
    Server {
        name: ServerName,
        /// The server's revision when the plan was made.
        revision: u64,
        edit: ServerEdit,
    },
    Pool {
        name: String,
        /// The pool's revision when the plan was made.
        revision: u64,
        edit: PoolEdit,
    },
    Node(NodeEdit),
    /// A rebalance of this pool begins, or ends.
    Rebalance(String, Option<Rebalance>),
    /// Nothing but what workers are told.
    Nothing,
}

/// What becomes different of a pool: the operator's intent, with new epochs of its servers where
/// their sessions are ended.
pub(super) struct PoolEdit {
    pub intent: PoolIntent,
    pub record: PoolIntentRecord,
    pub epochs: Vec<(ServerName, u32)>,
}

/// What becomes different of a server.
pub(super) enum ServerEdit {
    /// The operator's intent; with a new epoch where its sessions are ended.
    Intent(Intent, IntentRecord, Option<u32>),
    /// A new epoch.
    Epoch(u32),
    /// In this epoch, if one of its name was there before.
    Add(ServerConfig, Option<u32>),
    Remove,
    /// Settings; and whether its slow start ends.
    Set(ServerOverride, bool),
    /// A failover test begins, as it was asked for by somebody.
    Drill {
        cut: bool,
        by: String,
    },
}

/// What becomes different of the node.
pub(super) enum NodeEdit {
    EndSessions(Vec<SessionId>),
    /// These are told this, for so long.
    TellSessions(Vec<SessionId>, String, Millis),
    TokenSecrets(TokenSecrets),
    OpenDoor(Arc<Door>),
    CloseDoor(DoorId),
    Config(Arc<Config>),
}

impl Plan {
    pub fn not_stored(&self, why: &str) -> Refusal {
        Refusal {
            kind: RefusalKind::Store,
            text: format!(
                "{} {} was not done, nothing has changed: the state directory did not take it: \
                 {why}; see to its disk and try again",
                self.action, self.target
            ),
        }
    }
}

impl State {
    /// Makes a stored plan true in memory. An intent is refused if the driver itself has changed
    /// the server's since: its own writes follow and have the last word in the store too. They say
    /// nothing of anything else, so every other change that is stored is made.
    pub fn apply(
        &mut self,
        plan: Plan,
        now: Now,
        outputs: &mut Vec<Output>,
    ) -> Result<Answer, Refusal> {
        match plan.change {
            Change::Nothing => {}
            Change::Rebalance(pool, rebalance) => {
                self.edit_rebalance(&pool, rebalance, now, outputs);
            }
            Change::Node(edit) => self.edit_node(edit, &plan.answer, now, outputs),
            Change::Pool {
                name,
                revision,
                edit,
            } => {
                if self.pool_revision(&name) != revision {
                    let why = match self.wish(&name) {
                        PoolIntent::Open => "it opened by itself before the change was stored",
                        _ => {
                            "its deadline passed before the change was stored, and it is closed now"
                        }
                    };
                    return Err(Refusal::invalid(format!(
                        "{} {name} came too late: {why}",
                        plan.action
                    )));
                }
                self.want_of_pool(&name, edit, now, outputs);
            }
            Change::Server {
                name,
                revision,
                edit,
            } => {
                let known = self.servers.get(&name);
                if matches!(edit, ServerEdit::Intent(..))
                    && known.is_some_and(|server| server.revision != revision)
                {
                    return Err(Refusal::invalid(format!(
                        "{} {name} came too late: its deadline passed before the change was \
                         stored, and it is in maintenance now",
                        plan.action
                    )));
                }
                self.changed.insert(name.pool.clone());
                self.edit_server(&name, edit, now, outputs);
            }
        }
        Ok(plan.answer)
    }

    fn edit_node(&mut self, edit: NodeEdit, answer: &Answer, now: Now, outputs: &mut Vec<Output>) {
        match edit {
            NodeEdit::EndSessions(ids) => {
                for id in ids {
                    self.sessions.end_by_id(id, EndReason::EndedByOperator, now);
                }
            }
            NodeEdit::TellSessions(ids, text, lasting) => {
                let message = Arc::new(Message {
                    at: now.wall,
                    text,
                    ends: now.moment.plus(lasting),
                });
                for id in ids {
                    self.sessions.leave_message(id, &message);
                }
            }
            NodeEdit::TokenSecrets(secrets) => self.token_secrets = secrets,
            NodeEdit::OpenDoor(door) => self.doors.open(door),
            NodeEdit::CloseDoor(id) => self.doors.close(id),
            NodeEdit::Config(config) => {
                self.adopt_config(config, Health::Starting, now);
                for change in &answer.changes {
                    let change = change.clone();
                    outputs.push(event(None, EventKind::Configured { change }, now));
                }
            }
        }
    }

    fn edit_server(
        &mut self,
        name: &ServerName,
        edit: ServerEdit,
        now: Now,
        outputs: &mut Vec<Output>,
    ) {
        match edit {
            ServerEdit::Intent(intent, record, epoch) => {
                // Only when it is asked for: that it has been verified since is no word against its agent.
                let server = self.servers.get_mut(name);
                if let Some(server) = server.filter(|_| intent == Intent::Ready) {
                    server.overrule_silent_agent();
                }
                self.want(name, intent, record, epoch, now, outputs);
            }
            ServerEdit::Epoch(epoch) => {
                if let Some(server) = self.servers.get_mut(name) {
                    let sessions = server.load.sessions();
                    // The end of a drain may have raised it in the meantime.
                    if epoch > server.epoch {
                        server.raise_epoch(epoch, EndReason::Forgotten);
                    }
                    let kind = EventKind::Forgotten { sessions };
                    outputs.push(event(Some(name), kind, now));
                }
            }
            ServerEdit::Add(config, epoch) => {
                // As it is stored.
                if let (Some(epoch), Some(known)) = (epoch, self.servers.get_mut(name)) {
                    known.epoch_of_next = epoch;
                }
                self.add_live(name, config, now, outputs);
            }
            ServerEdit::Drill { cut, by } => {
                if let Some(server) = self.servers.get_mut(name) {
                    server.drill = true;
                    outputs.push(event(Some(name), EventKind::Drill { cut, by }, now));
                }
            }
            ServerEdit::Remove => self.remove_live(name, now, outputs),
            ServerEdit::Set(set, slow_start_over) => {
                if let Some(server) = self.servers.get_mut(name) {
                    let before = server.peak_load();
                    server.set = set;
                    // Else it stays above until its load has come down far enough.
                    if server.peak_load() != before {
                        server.judge_new_peak(now);
                    }
                    if slow_start_over {
                        server.returning.end_slow_start();
                    }
                    let change = format!("{name}: settings changed live");
                    outputs.push(event(Some(name), EventKind::Configured { change }, now));
                }
            }
        }
    }

    /// Makes `intent` what is wanted of the server; the events say so, if it was another.
    pub fn want(
        &mut self,
        name: &ServerName,
        intent: Intent,
        record: IntentRecord,
        epoch: Option<u32>,
        now: Now,
        outputs: &mut Vec<Output>,
    ) {
        let pool = self.pools.get(&name.pool);
        let pool = pool.map(|pool| Arc::clone(&pool.config));
        let Some(server) = self.servers.get_mut(name) else {
            return;
        };
        let told = (server.intent != intent).then(|| EventKind::Intent {
            from: server.intent.label(),
            to: intent.label(),
            deadline: intent.deadline().map(|moment| now.wall_at(moment)),
            by: record.by.clone(),
            message: intent.message().map(str::to_owned),
        });
        if intent == Intent::Ready {
            server.declare_well(pool.as_deref(), now);
        }
        server.verification = Verification::of(record.verification.as_ref(), now);
        server.intent = intent;
        server.intent_record = Some(record);
        if let Some(epoch) = epoch {
            server.raise_epoch(epoch, EndReason::Deadline);
        }
        self.changed.insert(name.pool.clone());
        outputs.extend(told.map(|kind| event(Some(name), kind, now)));
    }

    fn add_live(
        &mut self,
        name: &ServerName,
        config: ServerConfig,
        now: Now,
        outputs: &mut Vec<Output>,
    ) {
        let Some(pool) = self.pools.get(&name.pool).map(|pool| pool.config.clone()) else {
            return;
        };
        let change = format!("{name}: added live at {}", config.address_text);
        self.place(name, config.clone(), &pool, Health::Starting, now);
        if let Some(server) = self.servers.get_mut(name) {
            server.live = Some(config);
        }
        if let Some(pool) = self.pools.get_mut(&name.pool) {
            pool.order.push(name.clone());
        }
        outputs.push(event(Some(name), EventKind::Configured { change }, now));
    }

    fn remove_live(&mut self, name: &ServerName, now: Now, outputs: &mut Vec<Output>) {
        if let Some(server) = self.servers.get_mut(name) {
            server.live = None;
            server.removed = true;
            server.epoch_of_next = server.epoch + 1;
            server.leave();
        }
        if let Some(pool) = self.pools.get_mut(&name.pool) {
            pool.order.retain(|other| other != name);
        }
        self.let_linger();
        if let Some(server) = self.servers.get_mut(name).filter(|server| !server.lingers) {
            server.forget_if_removed();
        }
        let change = format!("{name}: removed live");
        outputs.push(event(Some(name), EventKind::Configured { change }, now));
    }
}

/// An event of this moment.
pub(super) fn event(server: Option<&ServerName>, kind: EventKind, now: Now) -> Output {
    Output::Event(Event {
        at: now.wall,
        server: server.cloned(),
        kind,
    })
}
