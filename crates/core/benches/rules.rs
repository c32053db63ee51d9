//! What the rules cost: the session table at a million sessions, lists of a hundred thousand and what a
//! worker waits for them, and choosing a server.
//!
//! `cargo bench -p ebbtide-core`. The figures are read, not asserted: they belong to the machine.

#![expect(
    clippy::disallowed_methods,
    reason = "a bench reads the clock; the rules themselves do not"
)]

use ebbtide_core::{
    Balance, Candidates, Found, Load, LoadReading, Millis, Moment, Now, PoolConfig, PoolCounters,
    PoolKey, PoolView, Reason, Rotation, ServerCounters, ServerKey, ServerLoad, ServerView,
    Session, SessionId, SessionTable, Snapshot, Standing, WallTime, choose, split_mix,
};
use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

const SESSIONS: u64 = 1_000_000;
/// Sessions begun between two visits of the control plane, which takes the journal away.
const BATCH: u64 = 10_000;
/// Steps from session to session that no cache foresees; has no factor in common with [`SESSIONS`].
const STRIDE: u64 = 736_879;
/// Sessions of which lists are made.
const LISTED: u64 = 100_000;
const ROUNDS: usize = 9;
const NOW: Now = Now {
    moment: Moment(10_000_000),
    wall: WallTime(1_700_000_000_000),
};

fn main() {
    // Cargo's own arguments (`--bench`, a filter) change nothing: it is over in seconds.
    sessions();
    lists();
    choices();
}

/// Nanoseconds of each of `count` turns: the median of some rounds, and their range.
fn show(what: &str, count: u64, mut round: impl FnMut()) {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            round();
            begun.elapsed().as_nanos() as f64 / count as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let (median, least, most) = (times[ROUNDS / 2], times[0], times[ROUNDS - 1]);
    println!("{what:<52} {median:>12.1} ns   ({least:.1} to {most:.1})");
}

/// The same for what can be done only once.
fn show_once(what: &str, count: u64, turn: impl FnOnce()) {
    let begun = Instant::now();
    turn();
    let each = begun.elapsed().as_nanos() as f64 / count as f64;
    println!("{what:<52} {each:>12.1} ns   (once)");
}

fn sessions() {
    let snapshot = snapshot(Balance::LeastSessions, 1);
    let mut table = SessionTable::default();
    let counted = allocation_counter::measure(|| {
        show_once("session table: begin, each of 1,000,000", SESSIONS, || {
            table = filled(&snapshot, SESSIONS);
        });
    });
    let each = counted.bytes_current as f64 / SESSIONS as f64;
    println!(
        "{:<52} {each:>12.1} bytes",
        "session table: memory of a session"
    );

    let mut number = 0;
    show(
        "session table: find and touch, in random order",
        SESSIONS,
        || {
            for _ in 0..SESSIONS {
                number += 1;
                if let Found::Live(session) = table.find(id(number * STRIDE % SESSIONS)) {
                    session.touch(NOW.moment);
                }
            }
        },
    );
    show("session table: tally of all", 1, || {
        black_box(table.tally(&snapshot, NOW.moment));
    });
    let all = 0..SessionTable::SHARDS;
    show("session table: sweep of all, nothing over", 1, || {
        assert_eq!(table.sweep(all.clone(), &snapshot, NOW), SESSIONS as usize);
    });
    let mut raised = snapshot.clone();
    show("session table: forget a server with 1,000,000", 1, || {
        raised = forget(&raised);
    });
    show_once("session table: sweep of all, all forgotten", 1, || {
        assert_eq!(table.sweep(all, &raised, NOW), 0);
    });
}

/// A number for a session, as random as those of the product.
fn id(number: u64) -> SessionId {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    SessionId(z ^ (z >> 27))
}

fn filled(snapshot: &Snapshot, sessions: u64) -> SessionTable {
    let table = SessionTable::default();
    let pool = &snapshot.pools[0];
    for number in 0..sessions {
        let begun = table.begin(id(number), pool.key, &pool.servers[0], client(), None, NOW);
        assert!(begun.is_some());
        if number % BATCH == 0 {
            drop(table.take_changes());
        }
    }
    drop(table.take_changes());
    table
}

/// What the console and the API ask of the table, and the longest that a worker has waited for a session
/// meanwhile.
fn lists() {
    let snapshot = snapshot(Balance::LeastSessions, 1);
    let table = filled(&snapshot, LISTED);
    for number in 0..LISTED {
        if let Found::Live(session) = table.find(id(number)) {
            session.touch(Moment(NOW.moment.0 - (number * STRIDE % LISTED) as i64));
            session.name_user(&format!("user-{number}"));
        }
    }
    let by_activity = |session: &Session| Some((-session.last_activity().0, session.id));
    // What takes long of a session, such as words that are looked for in its texts.
    let slowly = |session: &Session| {
        let text = format!("{} {} {:?}", session.id, session.client, session.user());
        let fits = text.to_lowercase().contains("user-54321");
        fits.then_some(session.id)
    };
    show_list("100 by number", &table, || {
        black_box(table.list(&snapshot, None, 100, |_| true));
    });
    show_list("50 by activity", &table, || {
        black_box(table.sorted(&snapshot, None, 50, by_activity));
    });
    show_list("one, by what takes long to find", &table, || {
        black_box(table.sorted(&snapshot, None, 50, slowly));
    });
    show_list("tally", &table, || {
        black_box(table.tally(&snapshot, NOW.moment));
    });
}

fn show_list(what: &str, table: &SessionTable, look: impl Fn() + Sync) {
    show(&format!("list of 100,000: {what}"), 1, &look);
    let is_over = AtomicBool::new(false);
    let mut waits = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (0..ROUNDS * 10).for_each(|_| look());
            is_over.store(true, Relaxed);
        });
        for number in (0..).map(|number| number * STRIDE % LISTED) {
            let begun = Instant::now();
            black_box(table.find(id(number)));
            waits.push(begun.elapsed().as_nanos() as f64);
            if is_over.load(Relaxed) {
                break;
            }
        }
    });
    waits.sort_by(f64::total_cmp);
    // Whatever else the machine does makes a few finds long.
    let one_of = |part: usize| waits[waits.len() - 1 - waits.len() / part];
    let (thousand, many) = (one_of(1_000), one_of(20_000));
    println!(
        "{:<52} {many:>12.1} ns   (one of 1,000: {thousand:.1})",
        "  find meanwhile, longest but one of 20,000"
    );
}

/// What a forgotten server is to the data plane: another epoch, with nobody in it.
fn forget(snapshot: &Snapshot) -> Snapshot {
    let mut pool = (*snapshot.pools[0]).clone();
    pool.servers[0].epoch += 1;
    pool.servers[0].load = Arc::default();
    pool.candidates = Candidates::of(&pool.servers);
    Snapshot {
        pools: vec![Arc::new(pool)],
        ..snapshot.clone()
    }
}

fn choices() {
    let policies = [
        ("round-robin", Balance::RoundRobin),
        ("least-sessions", Balance::LeastSessions),
        ("least-load", Balance::LeastLoad),
        ("most-available", Balance::MostAvailable),
        ("source-hash", Balance::SourceHash),
    ];
    for servers in [10, 1_000] {
        for (name, policy) in policies {
            let snapshot = snapshot(policy, servers);
            let pool = &snapshot.pools[0];
            let mut rotation = Rotation::default();
            let turns = 1_000_000 / u64::from(servers);
            show(&format!("choose among {servers}: {name}"), turns, || {
                for turn in 0..turns {
                    let dice = split_mix(turn);
                    let client = IpAddr::from((dice as u32).to_be_bytes());
                    let chosen = choose(pool, has_room, client, dice, NOW.moment, &mut rotation);
                    black_box(chosen.map(|server| server.key));
                }
            });
        }
    }
}

/// What every worker asks of a server.
fn has_room(server: &ServerView) -> bool {
    let room = |max| server.load.sessions() < max;
    server.max_sessions.is_none_or(room)
}

fn client() -> IpAddr {
    IpAddr::from([192, 0, 2, 1])
}

fn snapshot(balance: Balance, servers: u32) -> Snapshot {
    let mut config = PoolConfig::new("app");
    config.balance = balance;
    let servers: Vec<ServerView> = (0..servers).map(server).collect();
    let view = PoolView {
        key: PoolKey(1),
        intent: ebbtide_core::PoolIntent::Open,
        since: None,
        config: Arc::new(config),
        pages: Default::default(),
        line: Default::default(),
        replicas: Arc::default(),
        removed: Vec::new(),
        candidates: Candidates::of(&servers),
        servers,
        counters: Arc::new(PoolCounters::new(1)),
    };
    Snapshot {
        pools: vec![Arc::new(view)],
        ..Snapshot::default()
    }
}

fn server(key: u32) -> ServerView {
    let load = ServerLoad::default();
    load.gauge.set(LoadReading {
        load: Load::from_percent(20 + key % 40),
        at: NOW.moment,
        sessions: 0,
        every: Millis(5_000),
    });
    ServerView {
        key: ServerKey(key),
        name: format!("web{key}").into(),
        address: ([127, 0, 0, 1], 9000).into(),
        weight: 1,
        max_sessions: Some(20_000_000),
        peak_load: None,
        exporter: None,
        share: 100,
        public_url: None,
        epoch: 1,
        standing: Standing {
            admits_new: true,
            serves_own: true,
            reason: Reason::Ready,
        },
        epoch_reason: ebbtide_core::EndReason::Forgotten,
        notice: None,
        load: Arc::new(load),
        counters: Arc::new(ServerCounters::new(1)),
    }
}
