//! The store's own thread: a slow disk delays answers, never ticks or deadlines.

use super::{ConsoleSession, Operator, Store, StoreError};
use ebbtide_core::{AuditEntry, Write};
use std::io;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

type Work = Box<dyn FnOnce(&mut Store) + Send>;

/// Work for the store, done in the order given.
#[derive(Clone)]
pub(crate) struct StoreThread {
    work: Sender<Work>,
}

impl StoreThread {
    /// Starts it. It ends, with all work done, when every clone of it is dropped.
    pub fn start(mut store: Store) -> io::Result<(Self, JoinHandle<()>)> {
        let (work, todo) = channel::<Work>();
        let thread = std::thread::Builder::new()
            .name("ebbtide-store".into())
            .spawn(move || {
                for work in todo {
                    work(&mut store);
                }
            })?;
        Ok((Self { work }, thread))
    }

    /// Stores all of these or none, then calls `done`.
    pub fn write(
        &self,
        writes: Vec<Write>,
        done: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) {
        self.send(move |store| done(store.write(&writes)));
    }

    /// Stores or removes a bearer token.
    pub async fn write_operator(
        &self,
        name: String,
        operator: Option<Operator>,
        audit: AuditEntry,
    ) -> Option<Result<(), StoreError>> {
        self.ask(move |store| store.write_operator(&name, operator.as_ref(), audit))
            .await
    }

    /// Stores or removes browsers that are signed in, with lines of the audit log. A store that cannot
    /// take it keeps nobody out: it is told of in the program's log.
    pub fn write_console(
        &self,
        sessions: Vec<([u8; 32], Option<ConsoleSession>)>,
        audit: Vec<AuditEntry>,
    ) {
        self.send(move |store| {
            if let Err(error) = store.write_console(&sessions, audit) {
                tracing::error!("what the console's sign-ins are cannot be stored: {error}");
            }
        });
    }

    /// Reads the audit log.
    pub async fn audit(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Option<Result<Vec<(u64, AuditEntry)>, StoreError>> {
        self.ask(move |store| store.audit(before, limit)).await
    }

    /// `None` if the thread has ended.
    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, wait) = oneshot::channel();
        self.send(move |store| drop(answer.send(work(store))));
        wait.await.ok()
    }

    fn send(&self, work: impl FnOnce(&mut Store) + Send + 'static) {
        // It ends only when nobody can send any more.
        drop(self.work.send(Box::new(work)));
    }
}
