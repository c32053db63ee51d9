//! Many sticky users at once, and the ledger of everything that happened to them.

use crate::client::{Answer, Client, Outcome, Request};
use crate::model::Page;
use crate::wait::until;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

/// Who comes, and how often they click.
#[derive(Clone, Debug)]
pub struct CrowdSettings {
    /// Where they connect.
    pub address: SocketAddr,
    /// How many they are.
    pub users: usize,
    /// Between an answer and the next request of one user.
    pub pause: Duration,
    /// Every n-th request of a user is a `POST`; 0 for none.
    pub post_every: u64,
    /// What they ask for: a page of the model server.
    pub target: String,
    /// How long a user waits for an answer.
    pub patience: Duration,
}

/// Users who go on until they are told to stop.
#[derive(Debug)]
pub struct Crowd {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// Everything that happened to a crowd.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Requests that have ended, one way or another.
    pub requests: u64,
    /// Those that were answered with the right page.
    pub good: u64,
    /// `POST`s among the requests.
    pub posts: u64,
    /// Connections that users had to open after their first.
    pub reconnects: u64,
    /// Everything that should not be.
    pub anomalies: Vec<Anomaly>,
    /// Users who were answered by another server than before.
    pub moves: Vec<Move>,
    /// How long each good answer took, in the order in which they came.
    pub waits: Vec<Duration>,
    /// Where each user was last answered.
    pub places: BTreeMap<usize, String>,
}

/// Something that should not be.
#[derive(Clone, Debug)]
pub struct Anomaly {
    /// The request, as in its `X-Request`.
    pub request: String,
    /// Its method.
    pub method: &'static str,
    /// The status of its answer, if it was answered.
    pub status: Option<u16>,
    /// What happened.
    pub what: String,
}

/// A user who was answered by another server than before.
#[derive(Clone, Debug)]
pub struct Move {
    /// The request, as in its `X-Request`.
    pub request: String,
    /// The server before.
    pub from: String,
    /// The server now.
    pub to: String,
    /// When the answer was there.
    pub at: SystemTime,
}

#[derive(Debug)]
struct Shared {
    settings: CrowdSettings,
    ledger: Mutex<Ledger>,
    stop: Mutex<bool>,
    stopped: Condvar,
}

impl CrowdSettings {
    /// So many users who click ten times a second and send a form every fifth time.
    pub fn new(address: SocketAddr, users: usize) -> Self {
        Self {
            address,
            users,
            pause: Duration::from_millis(100),
            post_every: 5,
            target: "/".into(),
            patience: Duration::from_secs(15),
        }
    }
}

impl Crowd {
    /// Lets them in; returns when each has had its first answer.
    pub fn start(settings: CrowdSettings) -> Self {
        let users = settings.users;
        let shared = Arc::new(Shared {
            settings,
            ledger: Mutex::default(),
            stop: Mutex::default(),
            stopped: Condvar::new(),
        });
        let thread = |user| {
            let shared = Arc::clone(&shared);
            let builder = thread::Builder::new().stack_size(256 * 1024);
            let run = move || User::new(user, &shared).go_on();
            builder.spawn(run).expect("a thread for each user")
        };
        let threads = (0..users).map(thread).collect();
        let crowd = Self { shared, threads };
        until("every user has a place", Duration::from_secs(20), || {
            let ledger = crowd.ledger();
            assert!(
                ledger.anomalies.is_empty(),
                "at the start: {:?}",
                ledger.anomalies
            );
            (ledger.places.len() == users).then_some(())
        });
        crowd
    }

    /// What has happened so far.
    pub fn ledger(&self) -> Ledger {
        self.shared.ledger().clone()
    }

    /// Waits until every user has had some more requests, on the average.
    pub fn go_on_for(&self, requests_each: u64) {
        let users = self.threads.len() as u64;
        let wanted = self.shared.ledger().requests + requests_each * users;
        until("the crowd gets on", Duration::from_secs(30), || {
            (self.shared.ledger().requests >= wanted).then_some(())
        });
    }

    /// How many users were last answered by that server.
    pub fn users_at(&self, server: &str) -> usize {
        let ledger = self.shared.ledger();
        ledger.places.values().filter(|at| *at == server).count()
    }

    /// Lets every user finish the request at hand and leave.
    pub fn stop(mut self) -> Ledger {
        self.tell_stop();
        for thread in self.threads.drain(..) {
            thread.join().expect("a user's thread does not panic");
        }
        self.ledger()
    }

    fn tell_stop(&self) {
        *lock(&self.shared.stop) = true;
        self.shared.stopped.notify_all();
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.tell_stop();
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    /// Waits for the pause to be over; `true` if the crowd was told to stop.
    fn pause(&self) -> bool {
        let stop = lock(&self.stop);
        let waited = self
            .stopped
            .wait_timeout_while(stop, self.settings.pause, |stop| !*stop);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

struct User<'a> {
    shared: &'a Shared,
    number: usize,
    client: Client,
    place: Option<Page>,
}

impl<'a> User<'a> {
    fn new(number: usize, shared: &'a Shared) -> Self {
        Self {
            shared,
            number,
            client: Client::new(shared.settings.address, shared.settings.patience),
            place: None,
        }
    }

    fn go_on(&mut self) {
        let settings = &self.shared.settings;
        for turn in 1.. {
            let id = format!("{}-{turn}", self.number);
            let is_post = settings.post_every > 0 && turn % settings.post_every == 0;
            let request = if is_post {
                Request::post(&settings.target, b"a form that is sent once")
            } else {
                Request::get(&settings.target)
            };
            let request = request.with("X-Request", &id);
            let reconnects = turn > 1 && !self.client.has_connection();
            let begin = Instant::now();
            let outcome = self.client.send(&request);
            let wait = begin.elapsed();
            let judged = self.judge(&id, outcome).map(|page| (page, wait));
            self.enter(&id, request.method, reconnects, judged);
            if self.shared.pause() {
                return;
            }
        }
    }

    /// The right page, or what is wrong with the answer.
    fn judge(&self, id: &str, outcome: Outcome) -> Result<Page, (Option<u16>, String)> {
        let answer = match outcome {
            Outcome::Answered(answer) => answer,
            other => return Err((None, format!("{other:?}"))),
        };
        let status = answer.head.status();
        match page_of(&answer, id) {
            Ok(page) => match &self.place {
                Some(before) if before.server == page.server && before.login != page.login => {
                    let what = format!("lost its login {} at the same server", before.login);
                    Err((Some(status), what))
                }
                _ => Ok(page),
            },
            Err(what) => Err((Some(status), what)),
        }
    }

    fn enter(
        &mut self,
        id: &str,
        method: &'static str,
        reconnects: bool,
        judged: Result<(Page, Duration), (Option<u16>, String)>,
    ) {
        let mut ledger = self.shared.ledger();
        ledger.requests += 1;
        ledger.posts += u64::from(method == "POST");
        ledger.reconnects += u64::from(reconnects);
        let (page, wait) = match judged {
            Ok(good) => good,
            Err((status, what)) => {
                let request = id.into();
                ledger.anomalies.push(Anomaly {
                    request,
                    method,
                    status,
                    what,
                });
                return;
            }
        };
        ledger.good += 1;
        ledger.waits.push(wait);
        if let Some(before) = self
            .place
            .as_ref()
            .filter(|before| before.server != page.server)
        {
            ledger.moves.push(Move {
                request: id.into(),
                from: before.server.clone(),
                to: page.server.clone(),
                at: SystemTime::now(),
            });
        }
        ledger.places.insert(self.number, page.server.clone());
        self.place = Some(page);
    }
}

fn page_of(answer: &Answer, id: &str) -> Result<Page, String> {
    let status = answer.head.status();
    let page = Page::parse(&answer.body);
    match page {
        Some(page) if status == 200 && page.id == id => Ok(page),
        Some(page) if status == 200 => Err(format!("the answer to another request: {page:?}")),
        _ => Err(format!(
            "status {status}: {}",
            answer.text().chars().take(200).collect::<String>()
        )),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
