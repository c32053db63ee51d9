//! The driver: the one owner of the state. `step(now, Input) -> Vec<Output>`.

use crate::command::{Actor, Answer, Command, Refusal, RequestId};
use crate::config::Config;
use crate::event::Event;
use crate::health::ProbeOutcome;
use crate::name::{ServerName};
use crate::record::{Restored, Write};
use crate::snapshot::{Fact, Snapshot};
use crate::status::NodeStatus;
use crate::table::SessionTable;
use crate::time::Now;
use std::sync::Arc;

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
    /// A probe of this server came back.
    Probed {
        /// Which server.
        server: ServerName,
        /// What it showed.
        outcome: ProbeOutcome,
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
}

/// The owner of the state.
pub struct Driver {}

impl Driver {
    /// Takes up where the store left off. `boot` names this boot of this machine; `workers` is how
    /// many must acknowledge each generation.
    pub fn new(
        _config: Arc<Config>,
        _restored: Restored,
        _sessions: Arc<SessionTable>,
        _boot: String,
        _workers: usize,
        _now: Now,
    ) -> Self {
        Self {}
    }

    /// Takes one input and says what follows. Persists before it publishes, publishes before it
    /// answers.
    pub fn step(&mut self, _now: Now, _input: Input) -> Vec<Output> {
        Vec::new()
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::default()
    }

    /// What people are shown.
    pub fn status(&self, now: Now) -> NodeStatus {
        let _ = now;
        NodeStatus { generation: 0, acknowledged: 0, store_failure: None, pools: Vec::new() }
    }
}
