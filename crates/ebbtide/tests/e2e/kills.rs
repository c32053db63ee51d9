//! `kill -9` of Ebbtide at a hundred random moments around changes: before one is asked for, in the
//! middle of it, and just after its answer.

use crate::harness::{Ebbtide, LIMIT, Setup, models};
use ebbtide_api::{Changed, ClientError, DrainRequest, HoldRequest, Timestamp};
use ebbtide_core::{SPLIT_MIX_STEP, split_mix};
use ebbtide_testkit::{Client, Outcome, Page, Request, Scratch};
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const KILLS: u32 = 100;
const SERVERS: [&str; 3] = ["web1", "web2", "web3"];
/// A deadline is shown by the wall clock, and that one may be set right between two looks at it;
/// the deadlines that are asked for differ by more.
const TOLERANCE_MS: u64 = 1000;

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(SPLIT_MIX_STEP);
        split_mix(self.0) % bound
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Ready,
    Hold,
    Drain { within_ms: u64 },
    Maintenance,
}

impl Order {
    /// Drains have deadlines that no test lives to see.
    fn random(dice: &mut Dice) -> Self {
        match dice.below(8) {
            0 => Self::Maintenance,
            1 | 2 => Self::Ready,
            3..6 => Self::Hold,
            _ => Self::Drain {
                within_ms: 3_600_000 + 60_000 * dice.below(600),
            },
        }
    }

    async fn give(self, api: &ebbtide_api::Client, server: &str) -> Result<Changed, ClientError> {
        let forced = HoldRequest {
            force: true,
            reason: None,
        };
        match self {
            // Unseen: what may be let in is what is wanted.
            Self::Ready => api.ready("app", server, &forced).await,
            Self::Hold => api.hold("app", server, &forced).await,
            Self::Maintenance => api.maintenance("app", server, &forced).await,
            Self::Drain { within_ms } => {
                let body = DrainRequest {
                    within_ms: Some(within_ms),
                    message: None,
                    force: true,
                    reason: None,
                };
                api.drain("app", server, &body).await
            }
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Hold => "hold",
            Self::Drain { .. } => "drain",
            Self::Maintenance => "maintenance",
        }
    }
}

/// What is wanted of a server, as it was answered or is shown.
#[derive(Clone, Debug)]
struct Wanted {
    label: String,
    deadline: Option<Timestamp>,
}

impl Wanted {
    fn is(&self, other: &Self) -> bool {
        let same_deadline = match (self.deadline, other.deadline) {
            (Some(one), Some(other)) => one.0.abs_diff(other.0) <= TOLERANCE_MS,
            (one, other) => one == other,
        };
        self.label == other.label && same_deadline
    }
}

/// How far an operator came before the kill.
enum Told {
    /// The change is in force.
    Acknowledged(&'static str, Wanted, Duration),
    /// Nobody knows whether this was heard.
    Unanswered(&'static str, Order),
}

/// An operator who gives one order after the other, until there is nobody to give them to.
fn give_orders(api: &ebbtide_api::Client, mut dice: Dice, told: &Sender<Told>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    loop {
        let server = SERVERS[dice.below(3) as usize];
        let order = Order::random(&mut dice);
        let begin = Instant::now();
        let told_now = match runtime.block_on(order.give(api, server)) {
            Ok(changed) => {
                let label = order.label().into();
                let deadline = changed.deadline;
                Told::Acknowledged(server, Wanted { label, deadline }, begin.elapsed())
            }
            // What is in maintenance cannot be drained.
            Err(ClientError::Refused {
                status: 400..500, ..
            }) => continue,
            Err(_) => Told::Unanswered(server, order),
        };
        let is_last = matches!(told_now, Told::Unanswered(..));
        if told.send(told_now).is_err() || is_last {
            return;
        }
    }
}

/// What was answered so far, and how long an answer takes.
struct Record {
    wanted: BTreeMap<&'static str, Wanted>,
    takes: Duration,
}

impl Record {
    /// Takes note of what comes until `end`, or of all that comes.
    fn note(
        &mut self,
        told: &Receiver<Told>,
        end: Option<Instant>,
    ) -> Option<(&'static str, Order)> {
        loop {
            let left = end.map_or(LIMIT, |end| end.saturating_duration_since(Instant::now()));
            match told.recv_timeout(left) {
                Ok(Told::Acknowledged(server, wanted, takes)) => {
                    self.wanted.insert(server, wanted);
                    self.takes = takes;
                }
                Ok(Told::Unanswered(server, order)) => return Some((server, order)),
                Err(_) => return None,
            }
        }
    }

    /// Compares with what a new start shows. Of the order that was cut off either may be true.
    fn compare(&mut self, ebbtide: &Ebbtide, cut_off: Option<(&'static str, Order)>, round: &str) {
        let status = ebbtide.status();
        let shown = status["pools"][0]["servers"].as_array().expect("servers");
        for server in SERVERS {
            let found = shown.iter().find(|shown| shown["name"] == server);
            let intent = &found.expect("a server of the file")["intent"];
            let deadline = intent["deadline"].as_str();
            let now = Wanted {
                label: intent["label"].as_str().expect("a label").into(),
                deadline: deadline.map(|text| text.parse().expect("a timestamp")),
            };
            let lost = !self.wanted[server].is(&now);
            let is_heard = cut_off.is_some_and(|(cut_server, order)| {
                cut_server == server && order.label() == now.label
            });
            assert!(
                !lost || is_heard,
                "{round}: app/{server} is {now:?}, acknowledged was {:?}; cut off: {cut_off:?}",
                self.wanted[server]
            );
            self.wanted.insert(server, now);
        }
    }

    /// What is closed is closed from the first user on.
    fn try_door(&self, ebbtide: &Ebbtide, round: &str) {
        let outcome = Client::new(ebbtide.address, LIMIT).send(&Request::get("/"));
        let Outcome::Answered(answer) = outcome else {
            panic!("{round}: {outcome:?}");
        };
        let open = |server: &str| self.wanted[server].label == "ready";
        match Page::parse(&answer.body) {
            Some(page) => assert!(open(&page.server), "{round}: let in at {}", page.server),
            None => assert!(!SERVERS.into_iter().any(open), "{round}: {}", answer.text()),
        }
    }
}

#[test]
fn a_hundred_kills_lose_no_intent_that_was_acknowledged() {
    let seed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("now")
        .as_millis() as u64;
    let mut dice = Dice(seed);
    let scratch = Scratch::new();
    let servers = models(3, &scratch);
    let mut ebbtide = Ebbtide::start(&Setup::new(&servers));
    // From the second start on an empty server is not taken for a drained one for `reuse`.
    ebbtide.kill();
    ebbtide.start_again();
    let ready = Wanted {
        label: "ready".into(),
        deadline: None,
    };
    let mut record = Record {
        wanted: SERVERS
            .into_iter()
            .map(|server| (server, ready.clone()))
            .collect(),
        takes: Duration::from_millis(5),
    };
    for kill in 0..KILLS {
        let round = format!("seed {seed}, kill {kill}");
        let api = ebbtide_api::Client::unix(ebbtide.state_dir().join("admin.sock"));
        let (teller, told) = channel();
        let orders = Dice(dice.below(u64::MAX));
        let operator = thread::spawn(move || give_orders(&api, orders, &teller));
        // Up to three answers, and any part of the next.
        let takes = u64::try_from(record.takes.as_micros()).expect("short");
        let moment = Duration::from_micros(dice.below(4 * takes + 1));
        let broken = record.note(&told, Some(Instant::now() + moment));
        assert!(broken.is_none(), "{round}: no answer to {broken:?}");
        ebbtide.kill();
        let cut_off = record.note(&told, None);
        operator.join().expect("the operator gives up");
        ebbtide.start_again();
        record.compare(&ebbtide, cut_off, &round);
        record.try_door(&ebbtide, &round);
    }
}
