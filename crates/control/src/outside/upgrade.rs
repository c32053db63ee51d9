//! Version pages: while a pool that is to open by itself closes or is closed, its servers are asked
//! again and again what they are; so is a server that is verified after maintenance. What follows from their answers is decided in `core`.

#[cfg(test)]
mod tests;

use crate::clock::clock;
use crate::inbox::{Inbox, Message};
use crate::probe::ask;
use crate::prober::jittered;
use ebbtide_core::{
    Input, Millis, PoolView, Reason, ServerName, Snapshot, VersionAnswer, VersionPage, is_unseemly,
};
use regex::Regex;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// How often and how patiently servers without health checks are asked.
pub const UPGRADE_EVERY: Millis = Millis::from_secs(2);
const TIMEOUT: Millis = Millis::from_secs(5);
/// Servers that are asked at the same time: each page may be 64 KiB long.
const AT_ONCE_MAX: usize = 64;
/// As much of a page is shown to people, in characters.
const SHOWN_MAX: usize = 60;

/// What one server is asked, how often and how patiently.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Question {
    address: SocketAddr,
    path: String,
    expect: Option<String>,
    every: Millis,
    timeout: Millis,
}

/// What the answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Purpose {
    /// A closed pool may open by itself.
    Upgrade,
    /// A server may take sessions after maintenance.
    Verify,
}

type Whom = (ServerName, Purpose);

/// Asks until the sender of `snapshots` is dropped.
pub(super) async fn run(mut snapshots: watch::Receiver<Arc<Snapshot>>, inbox: Inbox) {
    let mut tasks = JoinSet::new();
    let mut asked = BTreeMap::<Whom, (Question, AbortHandle)>::new();
    let places = Arc::new(Semaphore::new(AT_ONCE_MAX));
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
        for (whom, question) in questions {
            asked.entry(whom.clone()).or_insert_with(|| {
                let (inbox, places) = (inbox.clone(), Arc::clone(&places));
                let task = tasks.spawn(ask_on(whom, question.clone(), places, inbox));
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

fn questions(snapshot: &Snapshot) -> BTreeMap<Whom, Question> {
    let mut questions = BTreeMap::new();
    for pool in &snapshot.pools {
        let upgrade = pool.config.upgrade.as_ref();
        let upgrade = upgrade.filter(|_| pool.intent.opens_by_itself());
        let verify = pool.config.verify.as_ref();
        let verify = verify.and_then(|check| check.page.as_ref());
        for server in &pool.servers {
            let name = ServerName::new(pool.config.name.as_str(), &*server.name);
            if let Some(check) = upgrade {
                let question = question(pool, server.address, &check.path, &check.expect);
                questions.insert((name.clone(), Purpose::Upgrade), question);
            }
            if let Some(page) = verify.filter(|_| server.standing.reason == Reason::Verifying) {
                let question = question(pool, server.address, &page.path, &page.expect);
                questions.insert((name, Purpose::Verify), question);
            }
        }
    }
    questions
}

fn question(pool: &PoolView, address: SocketAddr, path: &str, expect: &Option<String>) -> Question {
    let health = pool.config.health.as_ref();
    Question {
        address,
        path: path.to_owned(),
        expect: expect.clone(),
        every: health.map_or(UPGRADE_EVERY, |health| health.every),
        timeout: health.map_or(TIMEOUT, |health| health.timeout),
    }
}

/// Asks one server until it is aborted.
async fn ask_on(whom: Whom, question: Question, places: Arc<Semaphore>, inbox: Inbox) {
    let expect = question.expect.as_deref().map(Regex::new);
    let (server, purpose) = whom;
    loop {
        let (began, answer) = {
            // The semaphore is never closed; without it nobody is kept from asking.
            let _place = places.acquire().await;
            let began = clock().moment;
            let answer = match &expect {
                Some(Err(_)) => VersionAnswer::Failed("cannot be judged: `expect` is wrong".into()),
                Some(Ok(expect)) => version(&question, Some(expect)).await,
                None => version(&question, None).await,
            };
            (began, answer)
        };
        let server = server.clone();
        inbox.send(Message::Told(match purpose {
            Purpose::Upgrade => Input::Version { server, answer },
            Purpose::Verify => Input::VerifyPage {
                server,
                answer,
                began,
            },
        }));
        sleep(jittered(Duration::from_millis(question.every.0))).await;
    }
}

async fn version(question: &Question, expect: Option<&Regex>) -> VersionAnswer {
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: ebbtide-version\r\nAccept: \
         */*\r\nConnection: close\r\n\r\n",
        question.path, question.address
    );
    let limit = Duration::from_millis(question.timeout.0);
    let asked = timeout(limit, ask(question.address, request.as_bytes(), true)).await;
    match asked {
        Err(_) => VersionAnswer::Failed(format!("no answer within {}", question.timeout)),
        Ok(Err(why)) => VersionAnswer::Failed(why),
        Ok(Ok(page)) if !(200..300).contains(&page.status()) => {
            VersionAnswer::Failed(format!("its version page answers {}", page.status()))
        }
        Ok(Ok(page)) => {
            let text = String::from_utf8_lossy(&page.body);
            VersionAnswer::Page {
                matches: expect.is_none_or(|expect| expect.is_match(&text)),
                page: VersionPage {
                    digest: blake3::hash(&page.body).to_hex()[..32].to_owned(),
                    says: beginning(&text),
                },
            }
        }
    }
}

/// The beginning of a page as one line of plain text.
fn beginning(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().take(SHOWN_MAX).collect();
    let line = words.join(" ");
    let plain = |c: &char| !is_unseemly(*c);
    line.chars().filter(plain).take(SHOWN_MAX).collect()
}
