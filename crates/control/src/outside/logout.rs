//! Calls that log users out: one request with the user's cookies to the server of each session
//! that was ended, so that the session in the application ends too.

#[cfg(test)]
mod tests;

use super::Tally;
use crate::probe::ask;
use ebbtide_core::{LogoutCall, Millis};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Calls that may wait or be under way, over all pools: each holds up to 4 KiB of cookies.
const WAITING_MAX: usize = 20_000;

const DONE: &str = "done";
const REFUSED: &str = "refused";
const FAILED: &str = "failed";
const TIMEOUT: &str = "timeout";
pub(super) const DROPPED: &str = "dropped";
pub(super) const NO_COOKIES: &str = "no-cookies";

/// One call that is to be made.
pub(super) struct Call {
    pub pool: String,
    pub server: SocketAddr,
    pub rule: LogoutCall,
    pub cookies: Box<[u8]>,
}

/// How many calls wait or are under way.
#[derive(Default)]
pub(super) struct Waiting {
    calls: AtomicUsize,
    /// The first that was dropped since none waited has been told.
    told: AtomicBool,
}

impl Waiting {
    /// Counts one more; `false` if that is too many.
    pub fn enter(&self) -> bool {
        if self.calls.fetch_add(1, Relaxed) < WAITING_MAX {
            return true;
        }
        self.calls.fetch_sub(1, Relaxed);
        if !self.told.swap(true, Relaxed) {
            tracing::warn!(
                "{WAITING_MAX} logout calls wait already: sessions that end now are not called for, \
                 and live on in the application until it ends them itself"
            );
        }
        false
    }

    fn leave(&self) {
        if self.calls.fetch_sub(1, Relaxed) == 1 {
            self.told.store(false, Relaxed);
        }
    }
}

/// The calls of one pool: they wait for each other only, server by server in turn.
#[derive(Default)]
struct Pool {
    waiting: BTreeMap<SocketAddr, VecDeque<Call>>,
    /// The server whose turn was last.
    last: Option<SocketAddr>,
    running: u32,
}

impl Pool {
    fn push(&mut self, call: Call) {
        self.waiting.entry(call.server).or_default().push_back(call);
    }

    /// The next call, if one more may be under way.
    fn next(&mut self) -> Option<Call> {
        let after = self.last.and_then(|last| {
            let mut later = self.waiting.range((Excluded(last), Unbounded));
            later.next().map(|(server, _)| *server)
        });
        let server = after.or_else(|| self.waiting.keys().next().copied())?;
        let calls = self.waiting.get_mut(&server)?;
        let concurrency = calls.front()?.rule.concurrency;
        if self.running >= concurrency {
            return None;
        }
        let call = calls.pop_front()?;
        if calls.is_empty() {
            self.waiting.remove(&server);
        }
        self.last = Some(server);
        self.running += 1;
        Some(call)
    }
}

/// Makes the calls that come in until nobody can send any more.
pub(super) async fn run(
    mut receiver: mpsc::UnboundedReceiver<Call>,
    waiting: &Waiting,
    tally: &Tally,
) {
    let mut pools = BTreeMap::<String, Pool>::new();
    let mut calls = JoinSet::new();
    loop {
        let name = tokio::select! {
            call = receiver.recv() => match call {
                Some(call) => {
                    let name = call.pool.clone();
                    pools.entry(name.clone()).or_default().push(call);
                    name
                }
                None => return,
            },
            Some(done) = calls.join_next() => {
                let (name, outcome): (String, &'static str) = match done {
                    Ok(done) => done,
                    // Nobody aborts them, and a panic is a fault of this program.
                    Err(error) => {
                        tracing::error!("a logout call: {error}");
                        continue;
                    }
                };
                waiting.leave();
                tally.count(&name, outcome);
                if let Some(pool) = pools.get_mut(&name) {
                    pool.running -= 1;
                }
                name
            }
        };
        let Some(pool) = pools.get_mut(&name) else {
            continue;
        };
        while let Some(call) = pool.next() {
            let name = name.clone();
            calls.spawn(async move { (name, make(call).await) });
        }
        if pool.running == 0 {
            pools.remove(&name);
        }
    }
}

/// Makes one call; only the head of the answer counts.
async fn make(call: Call) -> &'static str {
    let LogoutCall { method, path, .. } = &call.rule;
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: ebbtide-logout\r\nContent-Length: \
         0\r\nConnection: close\r\nCookie: ",
        call.server
    )
    .into_bytes();
    request.extend_from_slice(&call.cookies);
    request.extend_from_slice(b"\r\n\r\n");
    let limit = Duration::from_millis(call.rule.timeout.0);
    let (outcome, why) = match timeout(limit, ask(call.server, &request, false)).await {
        Ok(Ok(page)) if page.status() < 400 => return DONE,
        Ok(Ok(page)) => (REFUSED, format!("it answered {}", page.status())),
        Ok(Err(why)) => (FAILED, why),
        Err(_) => (
            TIMEOUT,
            format!("no answer within {}", Millis(call.rule.timeout.0)),
        ),
    };
    tracing::debug!(pool = call.pool, server = %call.server, why, "a logout call");
    outcome
}
