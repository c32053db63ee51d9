//! Whose session is where, and when it moves.

use crate::client::Client;
use crate::common::{DOWN, HELD, House, MAINTENANCE, READY, clock, drain_notice, until};
use crate::model::{Act, Disk};
use crate::{disk, house, house_with, identity, image, pair, place};
use ebbtide_core::{
    Counter, EndReason, Fact, Identity, Knowledge, Millis, Mode, Pauses, PoolSlot, Reason,
    ServerKey, SessionChangeKind, Standing,
};
use ebbtide_protocol::nbd::{Command, transmission_flag};
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

const DRAINING: Standing = Standing {
    reason: Reason::Draining,
    ..HELD
};
const DRILL: Standing = Standing {
    reason: Reason::Drill,
    ..HELD
};

#[test]
fn a_drained_server_answers_what_it_was_asked_and_the_next_goes_elsewhere() {
    let (one, two) = pair();
    let mut house = house(&[&one, &two]);
    let mut client = Client::connect(house.listen, true);
    let id = house.live()[0].id;
    assert!(client.read(0, 1000) == image()[..1000]);
    one.act(|_, _| Act::Hold);
    let first = client.ask(Command::Read, 0, 100_000);
    until("it has come", || one.asked().len() == 2);
    let now = clock().moment;
    house.publish(|_, pool| {
        pool.servers[0].standing = DRAINING;
        pool.servers[0].notice = drain_notice(now.plus(Millis::from_secs(600)));
    });
    until("it has moved", || place(&house) == (1, 1));
    let second = client.ask(Command::Read, 4096, 4096);
    let answer = client.answer().unwrap();
    assert_eq!(answer.cookie, second, "nobody waits for the old server");
    assert!(answer.bytes == image()[4096..8192]);
    one.release();
    let answer = client.answer().unwrap();
    assert_eq!(answer.cookie, first);
    assert!(answer.bytes == image()[..100_000]);
    // Nothing was asked twice.
    assert_eq!((one.asked().len(), two.asked().len()), (2, 1));
    let session = house.live()[0].clone();
    assert_eq!(session.id, id, "the same session");
    // What it has asked and been answered, wherever that was.
    assert_eq!(
        (session.requests(), session.open(), session.tunnels()),
        (3, 1, 1)
    );
    let payload = 1000 + 4096 + 100_000;
    assert!(
        (payload..payload + 300).contains(&session.bytes()),
        "{}",
        session.bytes()
    );
    let (changes, _) = house.sessions.take_changes();
    let moved = changes.iter().filter(|change| {
        change.kind == SessionChangeKind::Moved { from: ServerKey(0) } && change.id == id
    });
    assert_eq!(moved.count(), 1);
    assert_eq!(house.pool_sum(|slot| &slot.sessions_moved), 1);
    assert_eq!(house.snapshot.pools[0].servers[0].load.sessions(), 0);
    assert_eq!(house.snapshot.pools[0].servers[1].load.sessions(), 1);
}

#[test]
fn a_server_whose_time_is_over_is_left_although_it_owes_answers() {
    let (one, two) = pair();
    one.act(|_, _| Act::Hang);
    let mut house = house(&[&one, &two]);
    let mut client = Client::connect(house.listen, true);
    client.ask(Command::Read, 0, 100_000);
    until("it has come", || !one.asked().is_empty());
    house.publish(|_, pool| {
        let server = &mut pool.servers[0];
        server.standing = MAINTENANCE;
        (server.epoch, server.load) = (2, Default::default());
        server.epoch_reason = EndReason::Deadline;
    });
    assert!(client.answer().unwrap().bytes == image()[..100_000]);
    assert_eq!(place(&house), (1, 1));
    until("the connection is closed", || {
        house.server_sum(0, |slot| &slot.connections) == 0
    });
    assert_eq!(house.server_sum(0, |slot| &slot.tunnels), 0);
    assert_eq!(house.server_sum(1, |slot| &slot.tunnels), 1);
}

#[test]
fn forgetting_moves_and_a_hold_does_not() {
    let (one, two) = pair();
    let mut house = house(&[&one, &two]);
    let mut client = Client::connect(house.listen, true);
    house.stand(0, HELD);
    assert!(client.read(0, 1000) == image()[..1000]);
    assert_eq!(place(&house), (0, 0));
    house.publish(|_, pool| {
        let server = &mut pool.servers[0];
        (server.epoch, server.load) = (2, Default::default());
    });
    until("it has moved", || {
        house
            .live()
            .first()
            .is_some_and(|session| session.moves == 1)
    });
    assert_eq!(place(&house), (1, 1));
    assert!(client.read_all() == image());
    // Only a sweep would end what is forgotten; it leaves a session that can move to its worker.
    let shards = ebbtide_core::SessionTable::SHARDS;
    assert_eq!(house.sessions.sweep(0..shards, &house.snapshot, clock()), 1);
}

#[test]
fn an_operator_moves_a_session_to_where_it_is_wanted() {
    let (one, two) = pair();
    let three = Disk::new(image());
    let house = house(&[&one, &two, &three]);
    let mut client = Client::connect(house.listen, true);
    let id = house.live()[0].id;
    let from = place(&house).0;
    house.order(id, from, Some(2), false);
    until("it has moved", || place(&house) == (2, 1));
    // Too late: it has left that server.
    house.order(id, from, None, false);
    house.order(id, 2, None, false);
    until("it has moved again", || place(&house).1 == 2);
    assert!(client.read_all() == image());
    assert_eq!(house.live()[0].id, id);
}

/// How many pauses were counted.
fn pauses(house: &House, of: fn(&PoolSlot) -> &Pauses) -> u64 {
    let slots = house.snapshot.pools[0].counters.slots().iter();
    let classes = slots.flat_map(|slot| &of(slot).classes);
    classes.map(Counter::get).sum()
}

#[test]
fn a_move_in_order_is_told_of_without_a_pause() {
    let (one, two) = pair();
    let house = house(&[&one, &two]);
    let mut client = Client::connect(house.listen, true);
    let id = house.live()[0].id;
    let from = place(&house).0;
    one.act(|_, _| Act::Hold);
    two.act(|_, _| Act::Hold);
    let cookie = client.ask(Command::Read, 0, 4096);
    house.order(id, from, None, false);
    let moved = house.next_move();
    let (from, to) = (ServerKey(from), ServerKey(1 - from));
    assert_eq!((moved.session, moved.from, moved.to), (id, from, to));
    one.release();
    two.release();
    let answer = client.answer().unwrap();
    assert_eq!(answer.cookie, cookie, "the old server has answered it");
    assert!(answer.bytes == image()[..4096]);
    assert_eq!(pauses(&house, |slot| &slot.pauses_move), 1);
    assert_eq!(pauses(&house, |slot| &slot.pauses_failure), 0);
    let attached = house.live()[0].attachment().unwrap();
    assert_eq!(attached.resource, "disk");
    assert_eq!(attached.began_on, Some(identity(1)));
}

#[test]
fn a_cut_is_a_failure_whose_pause_ends_with_the_first_answer() {
    let (one, two) = pair();
    let mut house = house(&[&one, &two]);
    let mut client = Client::connect(house.listen, true);
    let id = house.live()[0].id;
    assert_eq!(place(&house).0, 0);
    one.act(|_, _| Act::Hang);
    two.act(|_, _| Act::Hold);
    client.ask(Command::Read, 0, 100_000);
    until("it has come", || !one.asked().is_empty());
    house.stand(0, DRILL);
    house.order(id, 0, None, true);
    until("the other one is asked", || !two.asked().is_empty());
    assert_eq!(place(&house), (1, 1));
    let early = house
        .facts
        .try_iter()
        .any(|fact| matches!(fact, Fact::Moved(_)));
    assert!(!early, "nothing is told before it has answered");
    // The client waits for so long at least.
    let began = Instant::now();
    until("a while", || began.elapsed() >= Duration::from_millis(20));
    two.release();
    assert!(client.answer().unwrap().bytes == image()[..100_000]);
    let moved = house.next_move();
    assert_eq!((moved.from, moved.to), (ServerKey(0), ServerKey(1)));
    assert!(moved.pause.as_millis() >= 20, "{moved:?}");
    assert_eq!(pauses(&house, |slot| &slot.pauses_failure), 1);
    assert!(house.pool_sum(|slot| &slot.pauses_failure.sum_us) >= 20_000);
    // What was done by hand is no fault of the server's.
    assert_eq!(house.server_sum(0, |slot| &slot.broken), 0);
    assert!(client.read_all() == image());
}

#[test]
fn who_does_not_read_waits_for_no_server() {
    let (one, two) = pair();
    let mut house = house(&[&one, &two]);
    let mut client = Client::connect(house.listen, true);
    let id = house.live()[0].id;
    assert_eq!(place(&house).0, 0);
    // More than any socket holds.
    let count = 12;
    for _ in 0..count {
        client.ask(Command::Read, 0, image().len() as u32);
    }
    let sent = || house.live()[0].bytes();
    let seen = Cell::new((0, Instant::now()));
    until("nothing moves any more", || {
        let (bytes, since) = seen.get();
        let now = sent();
        if now != bytes {
            seen.set((now, Instant::now()));
        }
        // If that was too early, less is shown, but nothing fails.
        now == bytes && now > 0 && since.elapsed() > Duration::from_millis(50)
    });
    house.stand(0, DRILL);
    house.order(id, 0, None, true);
    assert_eq!(house.next_move().to, ServerKey(1));
    for _ in 0..count {
        assert!(client.answer().unwrap().bytes == image());
    }
}

#[test]
fn what_differs_serves_nobody_and_stands_in_for_nobody() {
    let one = Disk::new(image());
    let mut changed = image();
    changed[2_000_000] ^= 1;
    let two = Disk::new(changed);
    let mut house = house(&[&one, &two]);
    let copies = [
        (Knowledge::Known(identity(1)), true),
        (Knowledge::Known(identity(2)), false),
    ];
    house.publish(|_, pool| pool.replicas = disk(Mode::Shared, None, &copies));
    let mut client = Client::connect(house.listen, true);
    one.act(|_, number| {
        if number == 1 {
            Act::Break(5000)
        } else {
            Act::Answer
        }
    });
    assert!(client.read_all() == image());
    assert_eq!(place(&house), (0, 1), "the same server again");
    assert_eq!(two.connections(), 0);
}

#[test]
fn a_copy_that_has_changed_is_left_at_once() {
    let (one, two) = pair();
    one.act(|_, _| Act::Hold);
    let mut house = house(&[&one, &two]);
    let mut client = Client::connect(house.listen, true);
    client.ask(Command::Read, 0, 1000);
    until("it has come", || !one.asked().is_empty());
    let copies = [
        (Knowledge::Known(identity(2)), true),
        (Knowledge::Known(identity(1)), true),
    ];
    house.publish(|_, pool| pool.replicas = disk(Mode::Shared, None, &copies));
    assert!(client.answer().unwrap().bytes == image()[..1000]);
    assert_eq!(two.asked().len(), 1);
    one.release();
    assert!(client.read_all() == image());
}

/// The kernel's client: simple replies, several connections that one disk is read over, flushes in
/// between, and a goodbye on each.
#[test]
fn a_client_like_the_kernels_loses_a_server_and_nothing_else() {
    const CONNECTIONS: usize = 4;
    const PIECE: u32 = 32 * 1024;
    let (one, two) = pair();
    let three = Disk::new(image());
    let disks = [&one, &two, &three];
    let house = crate::house_of(&disks, 2, crate::nbd);
    one.act(|_, number| match number {
        0..20 => Act::Answer,
        _ => Act::Die,
    });
    std::thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let mut client = Client::connect(house.listen, false);
            let flags = client.agreed.export.flags;
            let several = transmission_flag::CAN_MULTI_CONN;
            assert_eq!(flags & several, several, "several may be used at once");
            scope.spawn(move || {
                let image = image();
                let pieces = image.chunks(PIECE as usize).enumerate();
                let mine = pieces.skip(connection).step_by(CONNECTIONS);
                for (index, piece) in mine {
                    let offset = index as u64 * u64::from(PIECE);
                    let read = client.ask(Command::Read, offset, piece.len() as u32);
                    let answer = client.answer().expect("an answer");
                    assert_eq!(answer.error, None);
                    assert!((answer.cookie, answer.bytes == piece) == (read, true));
                }
                client.say_goodbye();
                assert!(client.is_closed());
            });
        }
    });
    assert!(one.is_dead());
    assert!(house.pool_sum(|slot| &slot.sessions_moved) > 0);
    until("every end is in order", || {
        house.pool_sum(|slot| &slot.connections_closed) == CONNECTIONS as u64
    });
}

#[test]
fn without_a_proof_nothing_stands_in() {
    let (one, two) = pair();
    one.act(|_, _| Act::Break(1000));
    let mut house = house(&[&one, &two]);
    let known = Knowledge::Known(Identity::of_size(image().len() as u64));
    let copies = [(known.clone(), true), (known, false)];
    house.publish(|_, pool| pool.replicas = disk(Mode::Shared, None, &copies));
    let mut client = Client::connect(house.listen, true);
    client.ask(Command::Read, 0, 100_000);
    assert!(client.answer().is_none(), "it ends, and is not wrong");
    assert_eq!(two.connections(), 0);
}

#[test]
fn a_session_waits_for_a_server_and_then_gives_up() {
    let (one, two) = pair();
    let mut house = house(&[&one, &two]);
    house.stand(1, DOWN);
    let mut client = Client::connect(house.listen, true);
    one.act(|_, _| Act::Break(1000));
    client.ask(Command::Read, 0, 100_000);
    until("it was lost", || {
        house.server_sum(0, |slot| &slot.broken) > 0
    });
    house.stand(1, READY);
    assert!(client.answer().unwrap().bytes == image()[..100_000]);
    assert_eq!(place(&house).0, 1);

    let (one, two) = pair();
    let house = house_with(&[&one, &two], |pool| {
        crate::nbd(pool);
        pool.nbd.stand_in = Millis(200);
    });
    for disk in [&one, &two] {
        disk.act(|_, _| Act::Break(1000));
    }
    let mut client = Client::connect(house.listen, true);
    client.ask(Command::Read, 0, 100_000);
    assert!(client.answer().is_none());
    until("the session ends", || house.live().is_empty());
    until("the end is counted", || {
        house.pool_sum(|slot| &slot.connections_unreachable) == 1
    });
    let ended = house.sessions.list_ended(None, 10, |_| true);
    assert_eq!(ended[0].ended(), Some(EndReason::ServerGone));
}

#[test]
fn limits_hold_for_those_who_move_too() {
    let (one, two) = pair();
    let mut house = house(&[&one, &two]);
    house.publish(|_, pool| pool.servers[1].max_sessions = Some(0));
    let mut client = Client::connect(house.listen, true);
    house.stand(0, DRAINING);
    assert!(client.read_all() == image());
    assert_eq!(place(&house), (0, 0));
    house.publish(|_, pool| pool.servers[1].max_sessions = Some(1));
    until("it has moved", || place(&house) == (1, 1));
}

#[test]
fn a_session_that_was_ended_is_cut() {
    let (one, two) = pair();
    let mut house = house(&[&one, &two]);
    let mut client = Client::connect(house.listen, true);
    let id = house.live()[0].id;
    house
        .sessions
        .end_by_id(id, EndReason::EndedByOperator, clock());
    assert!(client.is_closed());
    let mut client = Client::connect(house.listen, true);
    house.publish(|_, pool| {
        let closed = ebbtide_core::Closure::default();
        pool.intent = ebbtide_core::PoolIntent::Closed(closed);
    });
    assert!(client.is_closed());
    assert_eq!(house.stop(Millis(0)), 0);
}

/// What the two servers have, of which the first is watched so.
fn reading(house: &mut House, watch: u64, copies: &[(Knowledge, bool)]) {
    house.publish(|_, pool| {
        let mut view = (*disk(Mode::Shared, None, copies)).clone();
        view.resources[0].copies[0].watch = Some(watch);
        pool.replicas = Arc::new(view);
    });
}

#[test]
fn who_began_while_copies_were_read_moves_once_they_are_known() {
    // With another watch in between, what was read may be of another process.
    for (watch, moves) in [(5, true), (6, false)] {
        let (one, two) = pair();
        let mut house = house(&[&one, &two]);
        let unknown = Knowledge::Reading { percent: 7 };
        let known = Knowledge::Known(identity(1));
        reading(&mut house, 5, &[(unknown.clone(), true), (unknown, false)]);
        let mut client = Client::connect(house.listen, true);
        assert!(client.read(0, 1000) == image()[..1000]);
        let can_move = || {
            let attachment = house.live()[0].attachment().unwrap();
            attachment.began_on.is_some()
        };
        assert!(!can_move(), "nothing is known");
        // It is known while the server is being drained already.
        house.publish(|_, pool| {
            pool.servers[0].standing = DRAINING;
        });
        assert_eq!(place(&house), (0, 0));
        reading(&mut house, watch, &[(known.clone(), true), (known, true)]);
        if moves {
            until("it has moved", || place(&house) == (1, 1));
        }
        assert!(client.read_all() == image());
        assert_eq!(place(&house), (u32::from(moves), u32::from(moves)));
        one.act(|_, _| Act::Break(9));
        client.ask(Command::Read, 0, 1000);
        assert_eq!(client.answer().is_some(), moves);
    }
}
