//! Names whose addresses are servers: each is looked up again and again. What follows from that is
//! decided in `core`.

#[cfg(test)]
mod tests;

use crate::inbox::{Inbox, Message};
use crate::itself::leads_back;
use crate::outside::rounds::{self, Turn};
use crate::prober::jittered;
use ebbtide_core::{Input, ListenerConfig, Millis, NameAnswer, NameConfig, ServerName, Snapshot};
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};

/// Names that are looked up at the same time.
const AT_ONCE_MAX: usize = 8;
/// So long a look-up is waited for.
const TIMEOUT: Millis = Millis::from_secs(10);
/// So many addresses of an answer are looked at.
const LOOKED_AT_MAX: usize = 16_384;

/// Looks the addresses of a name up. May block.
pub type Resolver = Arc<dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// Asks the system.
pub fn system_resolver() -> Resolver {
    Arc::new(|host, port| {
        Ok((host, port)
            .to_socket_addrs()?
            .take(LOOKED_AT_MAX)
            .collect())
    })
}

/// What is looked up, and what would lead back here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Question {
    entry: NameConfig,
    listeners: Arc<[ListenerConfig]>,
    admin: SocketAddr,
}

/// Looks names up until the sender of `snapshots` is dropped.
pub(super) async fn run(
    snapshots: watch::Receiver<Arc<Snapshot>>,
    inbox: Inbox,
    resolver: Resolver,
    admin: SocketAddr,
) {
    let ask = |name, question, turn| {
        look_up_on(name, question, turn, Arc::clone(&resolver), inbox.clone())
    };
    let questions = |snapshot: &Snapshot| questions(snapshot, admin);
    rounds::run(snapshots, AT_ONCE_MAX, questions, ask).await;
}

fn questions(snapshot: &Snapshot, admin: SocketAddr) -> BTreeMap<ServerName, Question> {
    let listeners: Arc<[ListenerConfig]> = snapshot.config.listeners.as_slice().into();
    let pools = snapshot.pools.iter();
    let questions = pools.flat_map(|pool| {
        let listeners = Arc::clone(&listeners);
        pool.config.names.iter().map(move |entry| {
            let name = ServerName::new(pool.config.name.as_str(), entry.name.as_str());
            let question = Question {
                entry: entry.clone(),
                listeners: Arc::clone(&listeners),
                admin,
            };
            (name, question)
        })
    });
    questions.collect()
}

/// Looks one name up until it is aborted.
async fn look_up_on(
    name: ServerName,
    question: Question,
    turn: Turn,
    resolver: Resolver,
    inbox: Inbox,
) {
    let every = Duration::from_millis(question.entry.every.0);
    sleep(every.mul_f64(turn.share)).await;
    loop {
        let place = turn.place().await;
        let answer = look_up(&question, Arc::clone(&resolver)).await;
        drop(place);
        inbox.send(Message::Told(Input::LookedUp {
            pool: name.pool.clone(),
            name: name.server.clone(),
            answer,
        }));
        sleep(jittered(every)).await;
    }
}

/// Looks up once, on a thread of its own: a resolver that hangs is left behind.
async fn look_up(question: &Question, resolver: Resolver) -> Result<NameAnswer, String> {
    let Question {
        entry,
        listeners,
        admin,
    } = question.clone();
    let (answer, answered) = oneshot::channel();
    let look = move || {
        let found = resolver(&entry.host, entry.port);
        let found = found.map(|addresses| sort_out(addresses, &listeners, admin));
        // Whoever asked may have given up.
        drop(answer.send(found.map_err(|error| error.to_string())));
    };
    let thread = std::thread::Builder::new().name("ebbtide-name".into());
    thread.spawn(look).map_err(|error| error.to_string())?;
    let limit = Duration::from_millis(TIMEOUT.0);
    match timeout(limit, answered).await {
        Ok(Ok(found)) => found,
        Ok(Err(_)) => Err("the resolver failed".into()),
        Err(_) => Err(format!("no answer within {TIMEOUT}")),
    }
}

/// Takes out what would lead back here.
fn sort_out(
    addresses: Vec<SocketAddr>,
    listeners: &[ListenerConfig],
    admin: SocketAddr,
) -> NameAnswer {
    let mut answer = NameAnswer::default();
    for address in addresses {
        match leads_back(address, listeners, admin) {
            Some(own) => answer.own.push((address, own)),
            None => answer.addresses.push(address),
        }
    }
    answer
}
