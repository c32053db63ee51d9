//! Webhooks: events told to addresses of the operator's choice, each signed, in order, and tried
//! again for a while. A hook that is slow or gone takes a bounded queue and delays nobody else.

mod body;
mod deliver;
mod settings;
#[cfg(test)]
mod tests;

use super::Tally;
use deliver::Sender;
use ebbtide_api::Event;
pub use settings::{Secret, Template, WEBHOOK_EVENTS, Webhook, WebhookUrl};
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
    /// The configuration has it no more.
    is_over: bool,
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
                self.tally.count(&hook.settings.name, DROPPED);
            }
            queue.events.push_back(Arc::clone(event));
            hook.wake.notify_one();
        }
    }

    /// Makes these the hooks. Those that stay as they were keep what they are still to be told;
    /// what is different is said, a line each.
    pub fn replace(&self, settings: Vec<Webhook>) -> Vec<String> {
        let mut hooks = self.lock();
        let before = std::mem::take(&mut *hooks);
        let mut changes = Vec::new();
        for hook in &before {
            if settings.contains(&hook.settings) {
                hooks.push(Arc::clone(hook));
                continue;
            }
            hook.lock().is_over = true;
            hook.wake.notify_one();
            let name = &hook.settings.name;
            if !settings.iter().any(|new| new.name == *name) {
                changes.push(format!("- webhook {name}"));
            }
        }
        for settings in settings {
            if before.iter().any(|hook| hook.settings == settings) {
                continue;
            }
            let was_there = before
                .iter()
                .any(|hook| hook.settings.name == settings.name);
            let mark = if was_there { '~' } else { '+' };
            changes.push(format!("{mark} webhook {}", settings.name));
            let hook = Arc::new(Hook {
                settings,
                queue: Mutex::default(),
                wake: Notify::new(),
            });
            hooks.push(Arc::clone(&hook));
            // The thread ends only after the control thread.
            drop(self.new.send(hook));
        }
        changes
    }
}

/// Delivers what the hooks are told, one task for each, until nobody can make new ones.
pub(super) async fn run(
    mut new: mpsc::UnboundedReceiver<Arc<Hook>>,
    tally: Arc<Tally>,
    pause_first: Duration,
) {
    let sender = Arc::new(Sender::new(tally, pause_first));
    let mut tasks = JoinSet::new();
    while let Some(hook) = new.recv().await {
        let sender = Arc::clone(&sender);
        tasks.spawn(async move { sender.serve(&hook).await });
        while tasks.try_join_next().is_some() {}
    }
}
