//! The session of a download goes along, by itself and by an operator's wish.

use crate::common::{HELD, House, MAINTENANCE, Server, Wire, clock, get, until};
use crate::{file, good, head, house, in_this_order, is_whole, lying, serve, stalling};
use ebbtide_core::{EndReason, Found, Reason, ServerKey, SessionChangeKind, SessionId, Standing};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A server that sends a part of the whole file, says so, and sends the rest when it may.
fn pausing(file: &Arc<Vec<u8>>) -> (Server, Arc<AtomicBool>, Arc<AtomicBool>) {
    let flags = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let [says, may] = flags.clone();
    let file = Arc::clone(file);
    let server = Server::answering(move |wire, request| {
        if request.field("range").is_some() {
            return serve(wire, request, &file, usize::MAX);
        }
        serve(wire, request, &file, 70_000);
        says.store(true, Ordering::SeqCst);
        until("it may go on", || may.load(Ordering::SeqCst));
        wire.stream.write_all(&file[70_000..]).is_ok()
    });
    let [says, may] = flags;
    (server, says, may)
}

/// A download that is under way, as far as nobody reads, and its session.
fn begin_download(house: &House, is_stuck: &AtomicBool) -> (Wire, SessionId) {
    let mut client = house.client();
    client.send(get("/", ""));
    until("nothing is taken any more", || {
        is_stuck.load(Ordering::SeqCst)
    });
    let session = house.live().pop().unwrap();
    until("some of it has passed", || session.bytes() > 0);
    session.name_user("bob");
    (client, session.id)
}

const DRILL: Standing = Standing {
    reason: Reason::Drill,
    ..HELD
};

#[test]
fn the_session_goes_along_with_its_download() {
    let file = file(48 * 1024 * 1024);
    let (first, is_stuck) = stalling(&file);
    let second = good(&file);
    let mut house = house(&[&first, &second]);
    let (mut client, id) = begin_download(&house, &is_stuck);
    let began = house.live().pop().unwrap();
    assert_eq!(
        house.server_sum(0, |slot| &slot.bytes_down),
        began.bytes(),
        "both are counted while they pass"
    );
    house.stand(0, MAINTENANCE);
    let moved = house.next_move();
    let (from, to) = (ServerKey(0), ServerKey(1));
    assert_eq!((moved.session, moved.from, moved.to), (id, from, to));
    let now = house.live().pop().unwrap();
    assert_eq!((now.id, now.server, now.moves), (id, to, 1));
    assert_eq!(now.user().as_deref(), Some("bob"));
    assert_eq!((now.started, now.requests()), (began.started, 1));
    assert_eq!(house.pool_sum(|slot| &slot.sessions_moved), 1);
    let slot = &house.snapshot.pools[0].counters;
    assert_eq!(slot.sum(|slot| &slot.resumed), 1);
    let changes = house.sessions.take_changes().0;
    let kinds: Vec<_> = changes.iter().map(|change| change.kind).collect();
    assert_eq!(
        kinds[..],
        [
            SessionChangeKind::Began { from: None },
            SessionChangeKind::Moved { from }
        ]
    );
    is_whole(&client.answer(), &file);
    until("every byte is counted", || {
        now.bytes() == file.len() as u64 && now.open() == 0
    });
    let loads = [0, 1].map(|server: usize| house.snapshot.pools[0].servers[server].load.sessions());
    assert_eq!(loads, [0, 1]);
}

#[test]
fn an_operator_moves_a_download_to_any_server_or_to_one() {
    for (to, cut) in [(None, false), (Some(2), false), (None, true)] {
        let file = file(48 * 1024 * 1024);
        let (first, is_stuck) = stalling(&file);
        let (second, third) = (good(&file), good(&file));
        let mut house = house(&[&first, &second, &third]);
        in_this_order(&mut house);
        let (mut client, id) = begin_download(&house, &is_stuck);
        house.order(id, 0, to, cut);
        let moved = house.next_move();
        assert_eq!(moved.to, ServerKey(to.unwrap_or(1)), "{to:?} {cut}");
        is_whole(&client.answer(), &file);
        assert_eq!(house.live()[0].server, moved.to);
        let counted = house.pool_sum(|slot| &slot.resumed);
        let broken = house.server_sum(0, |slot| &slot.broken);
        assert_eq!((counted, broken), (1, 0));
    }
}

#[test]
fn who_cannot_move_by_order_goes_on_undisturbed() {
    for (to, cut) in [(None, false), (Some(1), false), (None, true)] {
        let file = file(48 * 1024 * 1024);
        let (first, is_stuck, go_on) = pausing(&file);
        let other = lying(&file, |_| head("412 Changed", 0, ""));
        let mut house = house(&[&first, &other]);
        let (mut client, id) = begin_download(&house, &is_stuck);
        house.stand(0, DRILL);
        house.order(id, 0, to, cut);
        until("the other server is asked", || {
            house.pool_sum(|slot| &slot.not_resumed_differs) == 1
        });
        if !cut {
            // The one that serves it goes on in the very same answer.
            house.order(id, 0, to, cut);
        }
        go_on.store(true, Ordering::SeqCst);
        is_whole(&client.answer(), &file);
        let session = house.live().pop().unwrap();
        assert_eq!((session.id, session.server.0, session.moves), (id, 0, 0));
        assert_eq!(other.seen().len(), 1, "it is asked once");
        assert_eq!(house.pool_sum(|slot| &slot.resumed), u64::from(cut));
        assert_eq!(house.pool_sum(|slot| &slot.sessions_moved), 0);
    }
}

#[test]
fn two_downloads_of_one_session_move_together() {
    for by_order in [false, true] {
        let file = file(48 * 1024 * 1024);
        let (first, is_stuck) = stalling(&file);
        let second = good(&file);
        let mut house = house(&[&first, &second]);
        let mut small = house.client();
        small.send("GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=0-9\r\n\r\n");
        let cookie = small.answer().cookie();
        let mut clients = [house.client(), house.client()];
        for client in &mut clients {
            is_stuck.store(false, Ordering::SeqCst);
            client.send(get("/", &cookie));
            until("nothing is taken any more", || {
                is_stuck.load(Ordering::SeqCst)
            });
        }
        let id = house.live().pop().unwrap().id;
        match by_order {
            true => house.order(id, 0, None, false),
            false => house.stand(0, MAINTENANCE),
        }
        until("both go on elsewhere", || {
            house.pool_sum(|slot| &slot.resumed) == 2
        });
        for mut client in clients {
            is_whole(&client.answer(), &file);
        }
        let session = house.live().pop().unwrap();
        assert_eq!((session.id, session.server.0, session.moves), (id, 1, 1));
        assert_eq!(session.requests(), 3);
        assert_eq!(house.live().len(), 1);
        assert_eq!(house.pool_sum(|slot| &slot.sessions_moved), 1);
        until("nothing is open", || session.open() == 0);
    }
}

#[test]
fn a_download_of_a_session_that_is_over_keeps_a_place_where_it_goes_on() {
    let file = file(48 * 1024 * 1024);
    let (first, is_stuck) = stalling(&file);
    let second = good(&file);
    let mut house = house(&[&first, &second]);
    let (mut client, id) = begin_download(&house, &is_stuck);
    let Found::Live(session) = house.sessions.find(id) else {
        panic!("it is live");
    };
    house.sessions.end(&session, EndReason::LoggedOut, clock());
    house.stand(0, MAINTENANCE);
    until("it goes on elsewhere", || {
        house.pool_sum(|slot| &slot.resumed) == 1
    });
    let load = Arc::clone(&house.snapshot.pools[0].servers[1].load);
    assert_eq!((load.sessions(), house.live().len()), (1, 0));
    is_whole(&client.answer(), &file);
    until("the place is given up", || load.sessions() == 0);
}
