//! Properties of the balancing policies and of the session table.

use ebbtide_core::{
    Attachment, Balance, Candidates, EndReason, Found, Identity, Load, LoadReading, Millis, Moment,
    Now, PoolConfig, PoolCounters, PoolKey, PoolView, Reason, Rotation, ServerCounters, ServerKey,
    ServerView, SessionId, SessionTable, Snapshot, Standing, WallTime, choose, share_after,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

const NOW: Now = Now {
    moment: Moment(10_000_000),
    wall: WallTime(1_700_000_000_000),
};

fn server(key: u32, weight: u32, admits_new: bool) -> ServerView {
    ServerView {
        key: ServerKey(key),
        name: format!("web{key}").into(),
        address: ([127, 0, 0, 1], 9000).into(),
        weight,
        max_sessions: None,
        peak_load: None,
        exporter: None,
        share: 100,
        public_url: None,
        epoch: 1,
        standing: Standing {
            admits_new,
            serves_own: true,
            reason: Reason::Ready,
        },
        epoch_reason: ebbtide_core::EndReason::Forgotten,
        notice: None,
        load: Arc::default(),
        counters: Arc::new(ServerCounters::new(1)),
    }
}

fn pool(balance: Balance, servers: Vec<ServerView>) -> PoolView {
    let mut config = PoolConfig::new("app");
    config.balance = balance;
    PoolView {
        key: PoolKey(1),
        intent: ebbtide_core::PoolIntent::Open,
        since: None,
        config: Arc::new(config),
        pages: Default::default(),
        line: Default::default(),
        replicas: Arc::default(),
        candidates: Candidates::of(&servers),
        servers,
        removed: Vec::new(),
        counters: Arc::new(PoolCounters::new(1)),
    }
}

fn snapshot(view: PoolView) -> Snapshot {
    Snapshot {
        pools: vec![Arc::new(view)],
        ..Snapshot::default()
    }
}

fn client(number: u32) -> IpAddr {
    IpAddr::from(number.to_be_bytes())
}

/// How many of `sessions` each server gets, each choice begun as a session.
fn spread(pool: &PoolView, sessions: u32) -> BTreeMap<ServerKey, u32> {
    let table = SessionTable::default();
    let mut rotation = Rotation::default();
    let mut placed = BTreeMap::new();
    for number in 0..sessions {
        let dice = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let chosen = choose(
            pool,
            |_| true,
            client(number),
            dice,
            NOW.moment,
            &mut rotation,
        )
        .expect("a server admits");
        let id = SessionId(u64::from(number));
        table.begin(id, pool.key, chosen, client(number), None, NOW);
        *placed.entry(chosen.key).or_default() += 1;
    }
    placed
}

fn weights() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(1_u32..6, 1..8)
}

fn views(weights: &[u32]) -> Vec<ServerView> {
    (0..)
        .zip(weights)
        .map(|(key, weight)| server(key, *weight, true))
        .collect()
}

/// Every policy that places users.
const POLICIES: [Balance; 5] = [
    Balance::RoundRobin,
    Balance::LeastSessions,
    Balance::LeastLoad,
    Balance::MostAvailable,
    Balance::SourceHash,
];

proptest! {
    #[test]
    fn round_robin_is_exact_over_each_round(weights in weights(), rounds in 1_u32..5) {
        let pool = pool(Balance::RoundRobin, views(&weights));
        let placed = spread(&pool, weights.iter().sum::<u32>() * rounds);
        for (server, weight) in pool.servers.iter().zip(&weights) {
            prop_assert_eq!(placed[&server.key], weight * rounds);
        }
    }

    #[test]
    fn least_sessions_keeps_every_server_within_one_session_of_its_share(weights in weights()) {
        let pool = pool(Balance::LeastSessions, views(&weights));
        let total: u32 = weights.iter().sum::<u32>() * 10;
        let placed = spread(&pool, total);
        for (server, weight) in pool.servers.iter().zip(&weights) {
            let share = weight * 10;
            prop_assert!(placed[&server.key].abs_diff(share) <= 1, "{placed:?} of {weights:?}");
        }
    }

    #[test]
    fn source_hash_moves_only_the_clients_of_the_server_that_left(
        weights in prop::collection::vec(1_u32..6, 2..8),
        gone in any::<prop::sample::Index>(),
    ) {
        let pool = pool(Balance::SourceHash, views(&weights));
        let gone = ServerKey(gone.index(weights.len()) as u32);
        let mut rotation = Rotation::default();
        for number in 0..200 {
            let before = choose(&pool, |_| true, client(number), 0, NOW.moment, &mut rotation).unwrap().key;
            let stays = |server: &ServerView| server.key != gone;
            let after = choose(&pool, stays, client(number), 7, NOW.moment, &mut rotation).unwrap().key;
            prop_assert!(before == gone || before == after);
            prop_assert!(after != gone);
        }
    }

    #[test]
    fn nobody_is_placed_where_new_sessions_are_not_admitted(
        admits in prop::collection::vec(any::<bool>(), 1..8),
        balance in prop::sample::select(POLICIES.to_vec()),
        dice in any::<u64>(),
    ) {
        let servers = (0..).zip(&admits).map(|(key, admits)| server(key, 1, *admits)).collect();
        let pool = pool(balance, servers);
        let chosen = choose(&pool, |_| true, client(1), dice, NOW.moment, &mut Rotation::default());
        prop_assert_eq!(chosen.is_some(), admits.contains(&true));
        prop_assert!(chosen.is_none_or(|server| server.standing.admits_new));
    }

    #[test]
    fn whoever_is_eligible_is_found_however_few_there_are(
        weights in prop::collection::vec(1_u32..1000, 1..40),
        only in any::<prop::sample::Index>(),
        share in 1_u8..=100,
        balance in prop::sample::select(POLICIES.to_vec()),
        dice in any::<u64>(),
    ) {
        let mut servers = views(&weights);
        let only = ServerKey(only.index(weights.len()) as u32);
        servers[only.0 as usize].share = share;
        let pool = pool(balance, servers);
        let eligible = |server: &ServerView| server.key == only;
        let mut rotation = Rotation::default();
        for turn in 0..3 {
            let dice = dice.wrapping_add(turn);
            let chosen = choose(&pool, eligible, client(1), dice, NOW.moment, &mut rotation);
            prop_assert_eq!(chosen.map(|server| server.key), Some(only));
        }
    }

    #[test]
    fn a_server_that_comes_back_gets_its_share_of_what_it_would_get(
        share in 1_u8..100,
        sessions in 0_u32..40,
        balance in prop::sample::select(POLICIES.to_vec()),
    ) {
        let given = |share: u8| {
            let mut servers = views(&[1, 2, 1, 3]);
            servers[1].share = share;
            for server in &mut servers {
                server.max_sessions = Some(100);
                fill(server, if server.key.0 == 1 { sessions } else { 30 });
            }
            let pool = pool(balance, servers);
            let mut rotation = Rotation::default();
            let chosen = (0..4_000).filter(|number| {
                let dice = ebbtide_core::split_mix(u64::from(*number));
                let client = client(*number);
                let chosen = choose(&pool, |_| true, client, dice, NOW.moment, &mut rotation);
                chosen.unwrap().key == ServerKey(1)
            });
            chosen.count() as f64
        };
        let (whole, part) = (given(100), given(share));
        let share = f64::from(share) / 100.0;
        // What it is not given, others are, and where that is by turns it has another one the sooner.
        let again = 1.0 - whole / 4_000.0 * (1.0 - share);
        let by_turns = matches!(balance, Balance::RoundRobin | Balance::LeastLoad);
        let most = whole * share / if by_turns { again } else { 1.0 };
        let chance = 5.0 * (most * (1.0 - share)).sqrt() + 2.0;
        prop_assert!(part >= whole * share - chance, "{part} of {whole}, {share}");
        prop_assert!(part <= most + chance, "{part} of {whole}, {share}");
    }

    #[test]
    fn a_share_grows_in_steps_from_a_twentieth_to_all(
        slow_start in 1_u64..100_000_000,
        one in 0.0..1.0_f64,
        other in 0.0..1.0_f64,
    ) {
        let at = |part: f64| {
            let elapsed = Millis((slow_start as f64 * part) as u64);
            share_after(elapsed, Millis(slow_start))
        };
        let (early, late) = (one.min(other), one.max(other));
        prop_assert!(at(early) <= at(late));
        prop_assert!((5..100).contains(&at(early)) && at(early) % 5 == 0);
        let curve = 5.0 + 95.0 * late * late;
        let elapsed = 1.0 / slow_start as f64;
        prop_assert!(f64::from(at(late)) <= curve + 1e-6, "{} above {curve}", at(late));
        prop_assert!(f64::from(at(late)) > curve - 5.0 - 200.0 * elapsed, "{}", at(late));
        prop_assert_eq!(share_after(Millis(slow_start), Millis(slow_start)), 100);
    }

    #[test]
    fn source_hash_is_the_rendezvous_of_every_score(
        weights in prop::collection::vec(1_u32..1000, 1..40),
        number in any::<u32>(),
    ) {
        let pool = pool(Balance::SourceHash, views(&weights));
        let score = |server: &ServerView| {
            let name = server.name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
            let draw = ebbtide_core::split_mix(u64::from(number) ^ name) >> 11;
            f64::from(server.weight) / -(draw as f64 / (1_u64 << 53) as f64).ln()
        };
        let best = pool.servers.iter().max_by(|a, b| score(a).total_cmp(&score(b)));
        let mut rotation = Rotation::default();
        let chosen = choose(&pool, |_| true, client(number), 0, NOW.moment, &mut rotation);
        prop_assert_eq!(chosen.map(|server| server.key), best.map(|server| server.key));
    }

    #[test]
    fn least_load_never_takes_the_busiest_of_two(
        loads in prop::collection::vec(0_u32..101, 2..9),
        dice in any::<u64>(),
    ) {
        let pool = pool(Balance::LeastLoad, views(&vec![1; loads.len()]));
        for (server, load) in pool.servers.iter().zip(&loads) {
            server.load.gauge.set(reading(*load, 0));
        }
        let mut rotation = Rotation::default();
        let chosen = choose(&pool, |_| true, client(1), dice, NOW.moment, &mut rotation).unwrap();
        let busiest = loads.iter().max().unwrap();
        let many_are = loads.iter().filter(|load| *load == busiest).count() > 1;
        prop_assert!(many_are || loads[chosen.key.0 as usize] < *busiest);
    }

    #[test]
    fn most_available_takes_the_greatest_share_of_free_room(
        rooms in prop::collection::vec((1_u32..200, 0_u32..100, 0_u32..101), 1..9),
        dice in any::<u64>(),
    ) {
        let mut servers = views(&vec![1; rooms.len()]);
        for (server, (max, taken, load)) in servers.iter_mut().zip(&rooms) {
            server.max_sessions = Some(*max);
            fill(server, *taken * *max / 100);
            server.load.gauge.set(reading(*load, server.load.sessions()));
        }
        let pool = pool(Balance::MostAvailable, servers);
        // A percent is taken for the least load that there is.
        let free = |index: usize| {
            let (max, taken, load) = rooms[index];
            let left = 1.0 - f64::from(taken * max / 100) / f64::from(max);
            left.min((99.0 - f64::from(load)).max(0.0) / 100.0)
        };
        let most = (0..rooms.len()).map(free).fold(0.0, f64::max);
        let mut rotation = Rotation::default();
        let chosen = choose(&pool, |_| true, client(1), dice, NOW.moment, &mut rotation).unwrap();
        prop_assert!((free(chosen.key.0 as usize) - most).abs() < 1e-9);
    }
}

/// So many percent, read just now, when the server had so many sessions.
fn reading(percent: u32, sessions: u32) -> LoadReading {
    LoadReading {
        load: Load::from_percent(percent),
        at: NOW.moment,
        sessions,
        every: Millis(5_000),
    }
}

/// Gives a server so many sessions.
fn fill(server: &ServerView, sessions: u32) {
    let table = SessionTable::default();
    for number in 0..sessions {
        let id = SessionId(u64::from(number));
        table.begin(id, PoolKey(1), server, client(1), None, NOW);
    }
}

/// How many of a thousand choices fall on the first of two servers, this long after their readings.
fn of_first(balance: Balance, readings: [Option<u32>; 2], sessions: [u32; 2], age: Millis) -> u32 {
    let pool = pool(balance, views(&[1, 1]));
    for ((server, load), sessions) in pool.servers.iter().zip(readings).zip(sessions) {
        fill(server, sessions);
        if let Some(load) = load {
            server.load.gauge.set(reading(load, sessions));
        }
    }
    let mut rotation = Rotation::default();
    let at = NOW.moment.plus(age);
    let first = (0..1000).filter(|dice| {
        let chosen = choose(&pool, |_| true, client(1), *dice, at, &mut rotation);
        chosen.is_some_and(|server| server.key == ServerKey(0))
    });
    first.count() as u32
}

#[test]
fn what_cannot_be_relied_on_gives_way_to_sessions() {
    let of_first = |readings, sessions, age| {
        [Balance::LeastLoad, Balance::MostAvailable]
            .map(|balance| of_first(balance, readings, sessions, Millis(age)))
    };
    // The first one is less busy, and has more sessions.
    let loads = [Some(20), Some(60)];
    assert_eq!(of_first(loads, [9, 1], 0), [1000, 1000]);
    assert_eq!(of_first(loads, [9, 1], 5_000), [1000, 1000]);
    assert_eq!(of_first(loads, [9, 1], 15_000), [0, 0], "stale");
    assert_eq!(of_first([Some(20), None], [9, 1], 0), [0, 0], "unknown");
    assert_eq!(of_first([None, Some(60)], [1, 9], 0), [1000, 1000]);
}

#[test]
fn sessions_that_have_come_since_a_reading_count() {
    let pool = pool(Balance::LeastLoad, views(&[1, 1]));
    for (server, load) in pool.servers.iter().zip([40, 50]) {
        fill(server, 92);
        server.load.gauge.set(reading(load, 92));
    }
    let placed = spread(&pool, 100);
    // Each is expected to weigh as much as one of those that were there.
    let (one, two) = (placed[&ServerKey(0)], placed[&ServerKey(1)]);
    let expected = |load: f64, new: u32| (load + 8.0) * f64::from(100 + new) / 100.0;
    let (one, two) = (expected(40.0, one), expected(50.0, two));
    assert!(
        (one - two).abs() < 1.0,
        "{one} and {two} percent: {placed:?}"
    );
}

#[test]
fn no_herd_runs_to_a_machine_that_shows_no_load() {
    let pool = pool(Balance::LeastLoad, views(&[1, 1]));
    for (server, load) in pool.servers.iter().zip([0, 10]) {
        server.load.gauge.set(reading(load, 0));
    }
    let placed = spread(&pool, 100);
    let other = placed.get(&ServerKey(1)).copied().unwrap_or(0);
    assert!((20..50).contains(&other), "{placed:?}");
}

#[test]
fn turns_go_on_after_the_last_server_when_one_leaves_or_returns() {
    let mut pool = pool(Balance::RoundRobin, views(&[1, 1, 1, 1]));
    let mut rotation = Rotation::default();
    let mut turn = |pool: &PoolView| {
        let chosen = choose(pool, |_| true, client(1), 0, NOW.moment, &mut rotation);
        chosen.unwrap().key.0
    };
    assert_eq!([turn(&pool), turn(&pool)], [0, 1]);
    pool.servers[1].standing.admits_new = false;
    pool.candidates = Candidates::of(&pool.servers);
    assert_eq!([turn(&pool), turn(&pool), turn(&pool)], [2, 3, 0]);
    pool.servers[1].standing.admits_new = true;
    pool.candidates = Candidates::of(&pool.servers);
    assert_eq!([turn(&pool), turn(&pool), turn(&pool)], [1, 2, 3]);
}

#[test]
fn choosing_allocates_nothing() {
    for balance in POLICIES {
        let pool = pool(balance, views(&[1, 2, 3, 1, 1]));
        let mut rotation = Rotation::default();
        let counted = allocation_counter::measure(|| {
            for dice in 0..100 {
                let chosen = choose(&pool, |_| true, client(1), dice, NOW.moment, &mut rotation);
                assert!(chosen.is_some());
            }
        });
        assert_eq!(counted.count_total, 0, "{balance:?}");
    }
}

#[test]
fn source_hash_spreads_by_weight() {
    let pool = pool(Balance::SourceHash, views(&[1, 3]));
    let placed = spread(&pool, 8000);
    let heavy = placed[&ServerKey(1)];
    assert!((5700..6300).contains(&heavy), "{placed:?}");
}

#[test]
fn a_limit_is_exact_however_many_workers_ask_at_once() {
    let mut limited = server(0, 1, true);
    limited.max_sessions = Some(100);
    let table = SessionTable::default();
    let begun: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4_u64)
            .map(|worker| {
                let (table, limited) = (&table, &limited);
                scope.spawn(move || {
                    let ids = (0..100).map(|number| SessionId(worker * 1000 + number));
                    ids.filter(|id| {
                        let begun = table.begin(*id, PoolKey(1), limited, client(1), None, NOW);
                        begun.is_some()
                    })
                    .count()
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .sum()
    });
    assert_eq!((begun, limited.load.sessions()), (100, 100));
}

#[test]
fn a_session_ends_once_and_its_token_stays_dead_until_it_expires() {
    let pool = pool(Balance::LeastSessions, views(&[1]));
    let reuse = pool.config.sticky.reuse;
    let snapshot = snapshot(pool);
    let pool = &snapshot.pools[0];
    let table = SessionTable::default();
    let id = SessionId(7);
    let session = table
        .begin(id, pool.key, &pool.servers[0], client(1), None, NOW)
        .unwrap();
    assert!(table.end(&session, EndReason::LoggedOut, NOW));
    assert!(!table.end(&session, EndReason::Expired, NOW));
    assert_eq!(pool.servers[0].load.sessions(), 0);
    assert!(
        table
            .adopt(id, pool.key, &pool.servers[0], client(1), NOW.wall, NOW)
            .is_none()
    );

    let sweep_after = |span: Millis| {
        let later = Now {
            moment: NOW.moment.plus(span),
            ..NOW
        };
        table.sweep(0..SessionTable::SHARDS, &snapshot, later);
    };
    sweep_after(reuse);
    assert!(matches!(table.find(id), Found::Ended));
    sweep_after(Millis(Snapshot::token_life(reuse).0 + 1));
    assert!(matches!(table.find(id), Found::Unknown));
}

#[test]
fn an_open_request_keeps_its_session_however_long_it_takes() {
    let pool = pool(Balance::LeastSessions, views(&[1]));
    let snapshot = snapshot(pool);
    let pool = &snapshot.pools[0];
    let table = SessionTable::default();
    let session = table
        .begin(
            SessionId(1),
            pool.key,
            &pool.servers[0],
            client(1),
            None,
            NOW,
        )
        .unwrap();
    let stay = session.enter(NOW.moment);
    let tomorrow = Now {
        moment: NOW.moment.plus(Millis::from_secs(86_400)),
        ..NOW
    };
    assert_eq!(table.sweep(0..SessionTable::SHARDS, &snapshot, tomorrow), 1);
    let tally = table.tally(&snapshot, tomorrow.moment)[&ServerKey(0)];
    assert_eq!((tally.active, tally.idle), (1, 0));
    drop(stay);
    assert_eq!(table.sweep(0..SessionTable::SHARDS, &snapshot, tomorrow), 0);
}

#[test]
fn pages_of_the_list_are_whole_and_in_order() {
    let pool = pool(Balance::LeastSessions, views(&[1]));
    let snapshot = snapshot(pool);
    let pool = &snapshot.pools[0];
    let table = SessionTable::default();
    for number in 0..250_u64 {
        let id = SessionId(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        table.begin(id, pool.key, &pool.servers[0], client(1), None, NOW);
    }
    let mut seen = Vec::new();
    loop {
        let page = table.list(&snapshot, seen.last().copied(), 100, |_| true);
        if page.is_empty() {
            break;
        }
        seen.extend(page.iter().map(|session| session.id));
    }
    assert_eq!(seen.len(), 250);
    assert!(seen.is_sorted());
}

#[test]
fn idle_end_ends_who_only_has_a_tunnel_open_and_nobody_who_waits_for_an_answer() {
    let mut view = pool(Balance::LeastSessions, views(&[1]));
    let mut config = PoolConfig::new("app");
    config.sticky.idle_end = Some(Millis(60_000));
    view.config = Arc::new(config);
    let snapshot = snapshot(view);
    let table = SessionTable::default();
    let begin = |id| {
        let pool = &snapshot.pools[0];
        let begun = table.begin(
            SessionId(id),
            pool.key,
            &pool.servers[0],
            client(1),
            None,
            NOW,
        );
        begun.unwrap()
    };
    let sessions = [1, 2, 3, 4].map(begin);
    let mut alone = sessions[0].enter(NOW.moment);
    alone.become_tunnel();
    let mut in_use = sessions[1].enter(NOW.moment);
    in_use.become_tunnel();
    let _waits = sessions[2].enter(NOW.moment);
    let later = |ms| Now {
        moment: NOW.moment.plus(Millis(ms)),
        wall: NOW.wall,
    };
    in_use.session().touch(later(30_000).moment);
    table.sweep(0..SessionTable::SHARDS, &snapshot, later(60_000));
    assert!(sessions.iter().all(|session| session.ended().is_none()));
    table.sweep(0..SessionTable::SHARDS, &snapshot, later(60_001));
    let ended = sessions.each_ref().map(|session| session.ended());
    let idle = Some(EndReason::Idle);
    assert_eq!(ended, [idle, None, None, idle]);
    drop(alone);
    assert_eq!((sessions[0].open(), sessions[0].tunnels()), (0, 0));
}

#[test]
fn cookies_are_told_of_sessions_that_were_ended_from_outside_only() {
    let snapshot = snapshot(pool(Balance::LeastSessions, views(&[1])));
    let table = SessionTable::default();
    for (id, reason) in [
        (1, EndReason::LoggedOut),
        (2, EndReason::EndedByOperator),
        (3, EndReason::Deadline),
        (4, EndReason::ServerGone),
    ] {
        let pool = &snapshot.pools[0];
        let begun = table.begin(
            SessionId(id),
            pool.key,
            &pool.servers[0],
            client(1),
            None,
            NOW,
        );
        begun.unwrap().keep_cookies(b"login=7");
        table.end_by_id(SessionId(id), reason, NOW);
    }
    let (changes, _) = table.take_changes();
    let told = changes.iter().filter(|change| change.cookies.is_some());
    let mut told: Vec<u64> = told.map(|change| change.id.0).collect();
    told.sort_unstable();
    assert_eq!(told, [2, 3]);
    let ended = table.list_ended(None, 10, |session| session.id.0 > 1);
    assert_eq!(ended.len(), 3);
}

#[test]
fn of_a_session_that_ended_before_a_restart_only_its_place_is_known() {
    let snapshot = snapshot(pool(Balance::LeastSessions, views(&[1])));
    let table = SessionTable::default();
    let pool = &snapshot.pools[0];
    table.bury(SessionId(1), Some((pool.key, &pool.servers[0])), NOW);
    let ended = table.list_ended(None, 10, |_| true);
    assert_eq!(ended.len(), 1);
    assert!(ended[0].is_buried());
    assert_eq!(ended[0].server, pool.servers[0].key);
    assert_eq!(ended[0].ended(), Some(EndReason::EndedByOperator));
    assert_eq!(pool.servers[0].load.sessions(), 0);
}

#[test]
fn a_users_name_is_kept_within_bounds() {
    let snapshot = snapshot(pool(Balance::LeastSessions, views(&[1])));
    let table = SessionTable::default();
    let pool = &snapshot.pools[0];
    let begun = table.begin(
        SessionId(1),
        pool.key,
        &pool.servers[0],
        client(1),
        None,
        NOW,
    );
    let session = begun.unwrap();
    assert_eq!(session.user(), None);
    session.name_user(&"\u{e9}".repeat(100));
    assert_eq!(session.user().unwrap().len(), 128);
    session.name_user("bob");
    assert_eq!(session.user().as_deref(), Some("bob"));
}

#[test]
fn a_session_that_moves_keeps_its_number_and_counts_where_it_is() {
    let snapshot = snapshot(pool(Balance::LeastSessions, views(&[1, 1])));
    let pool = &snapshot.pools[0];
    let (one, two) = (&pool.servers[0], &pool.servers[1]);
    let counts = || (one.load.sessions(), two.load.sessions());
    let table = SessionTable::default();
    let id = SessionId(7);
    let session = table
        .begin(id, pool.key, one, client(1), None, NOW)
        .unwrap();
    session.attach(Attachment {
        resource: "disk".into(),
        began_on: Some(Identity::of_size(1)),
    });
    session.add_bytes(100);
    drop(two.reserve().unwrap());
    assert_eq!(counts(), (1, 0), "a place that is not taken is given up");
    let place = two.reserve().unwrap();
    assert_eq!(counts(), (1, 1));
    let moved = table.shift(&session, place, NOW).unwrap();
    assert_eq!(counts(), (0, 1));
    assert_eq!((moved.id, moved.server, moved.moves), (id, two.key, 1));
    assert_eq!((moved.bytes(), moved.started), (100, session.started));
    assert_eq!(moved.attachment().unwrap().resource, "disk");
    assert!(matches!(table.find(id), Found::Live(found) if Arc::ptr_eq(&found, &moved)));
    let moves =
        table.take_changes().0.into_iter().filter(|change| {
            change.kind == ebbtide_core::SessionChangeKind::Moved { from: one.key }
        });
    assert_eq!(moves.count(), 1);
    // What is over does not move, and gives its place up.
    assert!(table.shift(&session, one.reserve().unwrap(), NOW).is_none());
    table.end(&moved, EndReason::EndedByOperator, NOW);
    assert!(table.shift(&moved, one.reserve().unwrap(), NOW).is_none());
    assert_eq!(counts(), (0, 0));
    let limited = ServerView {
        max_sessions: Some(0),
        ..one.clone()
    };
    assert!(limited.reserve().is_none());
}

#[test]
fn who_stands_in_is_the_least_busy_one_that_takes_sessions() {
    let mut servers = views(&[1, 1, 1]);
    servers[0].standing.admits_new = false;
    servers[1].standing.admits_new = false;
    servers[1].standing.reason = Reason::Closing;
    let pool = pool(Balance::RoundRobin, servers);
    let stand_in = |not: &[u32]| {
        let eligible = |server: &ServerView| !not.contains(&server.key.0);
        ebbtide_core::stand_in(&pool, eligible, 1).map(|server| server.key)
    };
    let keys: Vec<_> = pool.servers.iter().map(|server| server.key).collect();
    let _busy = pool.servers[2].reserve();
    assert_eq!(
        stand_in(&[]),
        Some(keys[1]),
        "closing pools move sessions too"
    );
    assert_eq!(stand_in(&[keys[1].0]), Some(keys[2]));
    assert_eq!(stand_in(&[keys[1].0, keys[2].0]), None);
}

/// Page after page, in any order: each session once, and always how many there are.
#[test]
fn sorted_sessions_come_page_by_page() {
    let snapshot = snapshot(pool(Balance::RoundRobin, views(&[1])));
    let table = SessionTable::default();
    let number = |step: u64| step.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for step in 0..500 {
        let server = &snapshot.pools[0].servers[0];
        let client = client((step % 7) as u32);
        table.begin(
            SessionId(number(step)),
            PoolKey(1),
            server,
            client,
            None,
            NOW,
        );
    }
    let odd = |session: &ebbtide_core::Session| session.id.0 % 2 == 1;
    let key = |session: &ebbtide_core::Session| {
        let key = (std::cmp::Reverse(session.client), session.id);
        odd(session).then_some(key)
    };
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let (page, count) = table.sorted(&snapshot, after.as_ref(), 33, key);
        assert_eq!(count, 250);
        let Some((last, _)) = page.last() else {
            break;
        };
        after = Some(*last);
        seen.extend(page.into_iter().map(|(key, _)| key));
    }
    assert_eq!(seen.len(), 250);
    assert!(seen.is_sorted());
}

/// While a session moves to and fro and another begins and ends, no look at the table misses one that
/// stays, or takes it for over.
#[test]
fn a_session_that_moves_is_on_every_page_and_in_every_tally() {
    let snapshot = snapshot(pool(Balance::LeastSessions, views(&[1, 1])));
    let pool = &snapshot.pools[0];
    let table = SessionTable::default();
    let begin = |id| table.begin(id, pool.key, &pool.servers[0], client(1), None, NOW);
    let staying = (1..=200_u64).map(|step| SessionId(step.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let mut staying: Vec<SessionId> = staying.collect();
    let mut moving = begin(staying[0]).unwrap();
    for id in &staying[1..] {
        begin(*id).unwrap();
    }
    staying.sort_unstable();
    let stays = |session: &ebbtide_core::Session| session.id.0 > 0;
    std::thread::scope(|scope| {
        let mover = scope.spawn(|| {
            for turn in 0..20_000 {
                let place = pool.servers[(turn + 1) % 2].reserve().unwrap();
                moving = table.shift(&moving, place, NOW).unwrap();
                let passing = begin(SessionId(0)).unwrap();
                table.end(&passing, EndReason::Disconnected, NOW);
            }
        });
        while !mover.is_finished() {
            let mut seen: Vec<SessionId> = Vec::new();
            for _ in 0..4 {
                let page = table.list(&snapshot, seen.last().copied(), 50, stays);
                seen.extend(page.iter().map(|session| session.id));
            }
            assert_eq!(seen, staying);
            let key = |session: &ebbtide_core::Session| stays(session).then_some(session.id);
            assert_eq!(table.sorted(&snapshot, None, 9, key).1, 200);
            assert_eq!(table.list_ended(None, 9, stays).len(), 0);
            let tallies = table.tally(&snapshot, NOW.moment);
            let counted: u32 = tallies
                .values()
                .map(|tally| tally.active + tally.idle)
                .sum();
            assert!((200..=201).contains(&counted), "{counted}");
        }
    });
}
