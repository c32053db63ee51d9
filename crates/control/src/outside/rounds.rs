//! Asking servers again and again: a task for each question, which begins and ends as snapshots say.

use ebbtide_core::Snapshot;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::task::{AbortHandle, JoinSet};

/// When a task asks for the first time, and its leave to ask at all.
pub(super) struct Turn {
    /// Of the time between two questions: so long the first one waits, so that many do not ask at once.
    pub share: f64,
    places: Arc<Semaphore>,
}

impl Turn {
    /// Waits until fewer than the most that may be asked at once are asked.
    pub async fn place(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed; without it nobody is kept from asking.
        self.places.acquire().await.ok()
    }
}

/// Has everybody asked that a snapshot has a question for, until the sender of `snapshots` is dropped.
/// `ask` asks on and on; it is ended when its question is another one.
pub(super) async fn run<W, Q, A>(
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    at_once_max: usize,
    questions: impl Fn(&Snapshot) -> BTreeMap<W, Q>,
    ask: impl Fn(W, Q, Turn) -> A,
) where
    W: Clone + Ord,
    Q: Clone + PartialEq,
    A: Future<Output = ()> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    let mut asked = BTreeMap::<W, (Q, AbortHandle)>::new();
    let places = Arc::new(Semaphore::new(at_once_max));
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        let questions = questions(&snapshot);
        asked.retain(|whom, (question, task)| {
            let stays = questions.get(whom) == Some(question);
            if !stays {
                task.abort();
            }
            stays
        });
        let count = questions.len();
        for (index, (whom, question)) in questions.into_iter().enumerate() {
            asked.entry(whom.clone()).or_insert_with(|| {
                // Few are asked at once, many one after the other.
                let share = match count > at_once_max {
                    true => index as f64 / count as f64,
                    false => 0.0,
                };
                let places = Arc::clone(&places);
                let turn = Turn { share, places };
                let task = tasks.spawn(ask(whom, question.clone(), turn));
                (question, task)
            });
        }
        // What was aborted is taken out, so that it does not add up.
        while tasks.try_join_next().is_some() {}
        if snapshots.changed().await.is_err() {
            return;
        }
    }
}
