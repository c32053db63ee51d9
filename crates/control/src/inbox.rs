//! What reaches the control thread from elsewhere: workers' facts, commands, probes, the store.

use ebbtide_core::{
    Actor, Answer, Command, Driver, Fact, Input, Knowledge, ManifestCopies, Now, OwnPage, Refusal,
    RefusalKind, ServerName,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::sync::{mpsc, oneshot};

/// Failed connections that may wait to be looked at. Each is a hint to probe now; when a server
/// dies under load there are thousands of them a second, all saying the same.
const FAILURES_MAX: usize = 1024;

/// A short look at the driver that changes nothing.
pub(crate) type Look = Box<dyn FnOnce(&Driver, Now) + Send>;

pub(crate) type Reply = oneshot::Sender<Result<Answer, Refusal>>;

pub(crate) enum Message {
    Fact(Fact),
    /// What a probe, an exporter or a version page tells.
    Told(Input),
    Persisted(u64, Result<(), String>),
    PageRead {
        pool: String,
        page: OwnPage,
        read: Result<Arc<str>, String>,
    },
    ManifestRead {
        server: ServerName,
        place: String,
        read: Result<ManifestCopies, String>,
    },
    CopyRead {
        server: ServerName,
        resource: String,
        reading: u64,
        knowledge: Knowledge,
    },
    Command(Actor, Command, Reply),
    Reload(Actor, Reply),
    /// Somebody looks at the driver.
    Look(Look),
    Stop,
}

/// The way to the control thread. Never blocks.
#[derive(Clone)]
pub struct Inbox {
    sender: mpsc::UnboundedSender<Message>,
    failures: Arc<AtomicUsize>,
}

/// The other end of an [`Inbox`]; goes into [`Options`](crate::Options).
pub struct InboxReceiver {
    inbox: Inbox,
    receiver: mpsc::UnboundedReceiver<Message>,
}

/// Makes both ends, before the control thread exists: workers start with the first.
pub fn inbox() -> (Inbox, InboxReceiver) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let inbox = Inbox {
        sender,
        failures: Arc::default(),
    };
    let receiver = InboxReceiver {
        inbox: inbox.clone(),
        receiver,
    };
    (inbox, receiver)
}

impl Inbox {
    /// Tells what a worker has to tell.
    pub fn fact(&self, fact: Fact) {
        if matches!(fact, Fact::ConnectFailed { .. })
            && self.failures.fetch_add(1, Relaxed) >= FAILURES_MAX
        {
            self.failures.fetch_sub(1, Relaxed);
            return;
        }
        self.send(Message::Fact(fact));
    }

    /// Has the configuration read again; resolves when it is in force or refused.
    pub fn reload(
        &self,
        actor: Actor,
    ) -> impl Future<Output = Result<Answer, Refusal>> + Send + use<> {
        let answer = self.ask(|reply| Message::Reload(actor, reply));
        async { answer.await.unwrap_or_else(|_| Err(stopping())) }
    }

    pub(crate) fn reload_blocking(&self, actor: Actor) -> Result<Answer, Refusal> {
        let answer = self.ask(|reply| Message::Reload(actor, reply));
        answer.blocking_recv().unwrap_or_else(|_| Err(stopping()))
    }

    /// `None` if the control thread is stopping.
    pub(crate) async fn command(
        &self,
        actor: Actor,
        command: Command,
    ) -> Option<Result<Answer, Refusal>> {
        let answer = self.ask(|reply| Message::Command(actor, command, reply));
        answer.await.ok()
    }

    /// As [`Inbox::reload`]; `None` if the control thread is stopping.
    pub(crate) async fn reload_unless_stopping(
        &self,
        actor: Actor,
    ) -> Option<Result<Answer, Refusal>> {
        let answer = self.ask(|reply| Message::Reload(actor, reply));
        answer.await.ok()
    }

    /// What `look` sees of the driver; `None` if the control thread is stopping.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Driver, Now) -> T + Send + 'static,
    ) -> Option<T> {
        let seen = self.ask(|reply| {
            Message::Look(Box::new(move |driver, now| {
                // Whoever has hung up does not need it.
                drop(reply.send(look(driver, now)));
            }))
        });
        seen.await.ok()
    }

    pub(crate) fn send(&self, message: Message) {
        // After the control thread has stopped nobody needs to know any more.
        drop(self.sender.send(message));
    }

    pub(crate) fn ask<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<T>) -> Message,
    ) -> oneshot::Receiver<T> {
        let (reply, answer) = oneshot::channel();
        self.send(message(reply));
        answer
    }
}

impl InboxReceiver {
    pub(crate) fn inbox(&self) -> Inbox {
        self.inbox.clone()
    }

    /// Waits for messages and takes all that are there, up to a bound.
    pub(crate) async fn take(&mut self, batch: &mut Vec<Message>) {
        self.receiver.recv_many(batch, 1024).await;
        let failure =
            |message: &&Message| matches!(message, Message::Fact(Fact::ConnectFailed { .. }));
        let failures = batch.iter().filter(failure).count();
        self.inbox.failures.fetch_sub(failures, Relaxed);
    }
}

fn stopping() -> Refusal {
    Refusal {
        kind: RefusalKind::Invalid,
        text: "Ebbtide is stopping; nothing was changed".into(),
    }
}
