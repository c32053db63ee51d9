//! Webhooks: events told to addresses of the operator's choice, each signed, in order, and tried
//! again for a while. A hook that is slow or gone takes a bounded queue and delays nobody else.

mod body;
mod deliver;
mod settings;
#[cfg(test)]
mod tests;

use super::Tally;
pub(super) use deliver::Sender;
use ebbtide_api::Event;
pub use settings::{Secret, Template, WEBHOOK_EVENTS, Webhook};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

/// The pause before the second try; each further one is three times as long. Six tries take about
/// ten minutes.
pub(super) const PAUSE_FIRST: Duration = Duration::from_secs(5);

pub(super) const DELIVERED: &str = "delivered";
/// The other side says that it does not want it, so that trying again would not help.
pub(super) const REFUSED: &str = "refused";
/// Every try failed.
pub(super) const FAILED: &str = "failed";
/// The queue was full, and this was the oldest.
pub(super) const DROPPED: &str = "dropped";

/// One hook and what it is still to be told.
pub(super) struct Hook {
    settings: Webhook,
    queue: Mutex<Queue>,
    wake: Notify,
}

#[derive(Default)]
struct Queue {
    events: VecDeque<Arc<Event>>,
    /// Events that were dropped since the queue was last empty.
    dropped: Complaint,
    /// The configuration has it no more.
    is_over: bool,
}

/// Something that goes wrong again and again: it is said the first time, then at 10, 100 and so on.
#[derive(Debug, Default)]
struct Complaint(u64);

impl Complaint {
    /// It went wrong once more. How often it did, when that is to be said.
    fn again(&mut self) -> Option<u64> {
        self.0 += 1;
        let is_round = self.0 == 10_u64.pow(self.0.ilog10());
        is_round.then_some(self.0)
    }

    /// It is over. How often it went wrong, if more than once.
    fn over(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.0)).filter(|count| *count > 1)
    }
}

impl Hook {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next event; `None` when the hook is over.
    async fn next(&self) -> Option<Arc<Event>> {
        loop {
            {
                let mut queue = self.lock();
                if queue.is_over {
                    return None;
                }
                if let Some(event) = queue.events.pop_front() {
                    return Some(event);
                }
            }
            // Only one task waits, and a wake-up that comes before it does is kept.
            self.wake.notified().await;
        }
    }

    /// How many events were dropped, if more than one was and nothing waits any more.
    fn caught_up(&self) -> Option<u64> {
        let mut queue = self.lock();
        match queue.events.is_empty() {
            true => queue.dropped.over(),
            false => None,
        }
    }

    /// Resolves when the hook is over.
    async fn over(&self) {
        while !self.lock().is_over {
            self.wake.notified().await;
        }
    }
}

/// The hooks of the present configuration.
pub(crate) struct Hooks {
    hooks: Mutex<Vec<Arc<Hook>>>,
    new: mpsc::UnboundedSender<Arc<Hook>>,
    /// Deliveries, by hook and outcome.
    pub tally: Arc<Tally>,
}

impl Hooks {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Arc<Hook>>) {
        let (new, receiver) = mpsc::unbounded_channel();
        let hooks = Self {
            hooks: Mutex::default(),
            new,
            tally: Arc::default(),
        };
        (hooks, receiver)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Hook>>> {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an event of this kind for every hook that wants it.
    pub fn tell(&self, kind: &str, event: &Arc<Event>) {
        for hook in &*self.lock() {
            if !hook.settings.wants(kind) {
                continue;
            }
            let mut queue = hook.lock();
            if queue.events.len() >= hook.settings.queue_max {
                queue.events.pop_front();
                let name = &hook.settings.name;
                self.tally.count(name, DROPPED);
                if let Some(count) = queue.dropped.again() {
                    let most = hook.settings.queue_max;
                    tracing::warn!(
                        "webhook {name}: {most} events wait already, so the oldest are dropped: \
                         {count} so far"
                    );
                }
            }
            queue.events.push_back(Arc::clone(event));
            hook.wake.notify_one();
        }
    }

    /// What is different between the present hooks and these, a line each.
    pub fn differences(&self, settings: &[Webhook]) -> Vec<String> {
        let hooks = self.lock();
        let named = |name: &str| hooks.iter().find(|hook| hook.settings.name == name);
        let gone = hooks.iter().map(|hook| &hook.settings.name);
        let gone = gone.filter(|name| !settings.iter().any(|new| new.name == **name));
        let mut lines: Vec<String> = gone.map(|name| format!("- webhooks.{name}")).collect();
        lines.extend(settings.iter().filter_map(|new| {
            let name = &new.name;
            match named(name) {
                None => Some(format!("+ webhooks.{name}")),
                Some(hook) => (hook.settings != *new).then(|| format!("~ webhooks.{name}")),
            }
        }));
        lines
    }

    /// Makes these the hooks. Those that stay as they were keep what they are still to be told.
    pub fn replace(&self, settings: Vec<Webhook>) {
        let mut hooks = self.lock();
        let before = std::mem::take(&mut *hooks);
        for hook in &before {
            if settings.contains(&hook.settings) {
                hooks.push(Arc::clone(hook));
                continue;
            }
            hook.lock().is_over = true;
            hook.wake.notify_one();
        }
        for settings in settings {
            if before.iter().any(|hook| hook.settings == settings) {
                continue;
            }
            let hook = Arc::new(Hook {
                settings,
                queue: Mutex::default(),
                wake: Notify::new(),
            });
            hooks.push(Arc::clone(&hook));
            // The thread ends only after the control thread.
            drop(self.new.send(hook));
        }
    }
}

/// Delivers what the hooks are told, one task for each, until nobody can make new ones.
pub(super) async fn run(mut new: mpsc::UnboundedReceiver<Arc<Hook>>, sender: Sender) {
    let sender = Arc::new(sender);
    let mut tasks = JoinSet::new();
    while let Some(hook) = new.recv().await {
        let sender = Arc::clone(&sender);
        tasks.spawn(async move { sender.serve(&hook).await });
        while tasks.try_join_next().is_some() {}
    }
}
