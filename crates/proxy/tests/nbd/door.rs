//! Doors of NBD pools: an operator reaches exactly one server's copy, whatever is wanted of that, of the
//! pool and of the resource; nobody else does.

use crate::client::{self, Client};
use crate::common::{DOWN, HELD, House, MAINTENANCE, clock, door_keys, until};
use crate::model::{Disk, WRITABLE};
use crate::{disk, house_of, house_with, identity, image, nbd, pair};
use ebbtide_core::{
    Closure, Door, DoorId, Fact, Knowledge, Millis, Mode, PoolIntent, PoolKey, ServerKey, Standing,
};
use ebbtide_protocol::nbd::{
    ClientGoal, ClientStep, Command, ErrorNumber, HandshakeFault, Refusal, transmission_flag,
};
use std::sync::Arc;

/// Opens a door to a server.
fn open(house: &House, number: u64, pool: u32, server: u32) -> (Arc<Door>, String) {
    let until = clock().moment.plus(Millis(600_000));
    let place = (PoolKey(pool), ServerKey(server));
    let by = "ann".into();
    let door = Arc::new(Door::new(door_keys(number), place, until, false, by));
    house.snapshot.doors.open(Arc::clone(&door));
    (door, format!("disk@{}", door_keys(number).entry_text()))
}

/// Why an export is refused.
fn refused(house: &House, export: &str) -> (Option<Refusal>, String) {
    let (_, step) = client::shake(house.listen, client::goal(export, true));
    match step {
        Err(HandshakeFault::Refused { refusal, message }) => (refusal, message),
        other => panic!("not refused: {other:?}"),
    }
}

/// Publishes what the two copies of a resource in this mode are.
fn publish(house: &mut House, mode: Mode, server: Option<&'static str>) {
    let copies = [1, 2].map(|digest| (Knowledge::Known(identity(digest)), false));
    house.publish(|_, pool| pool.replicas = disk(mode, server, &copies));
}

#[test]
fn a_door_leads_to_one_server_whatever_its_standing() {
    let other = Disk::new(vec![7; crate::SIZE]);
    let one = Disk::new(image());
    let mut house = house_with(&[&one, &other], nbd);
    publish(&mut house, Mode::Maintenance, None);
    let (told, why) = refused(&house, "disk");
    assert_eq!(told, Some(Refusal::Policy));
    assert!(why.contains("in maintenance"), "{why}");
    assert_eq!(house.pool_sum(|slot| &slot.refused_operators_only), 1);
    let closed = PoolIntent::Closed(Closure::default());
    for (server, disk) in [(0, image()), (1, vec![7; crate::SIZE])] {
        let (door, export) = open(&house, 7, 0, server);
        let standings: [Standing; 3] = [HELD, MAINTENANCE, DOWN];
        for standing in standings {
            house.stand(server as usize, standing);
            let mut client = Client::to(house.listen, &export, true);
            assert!(client.read_all() == disk, "{standing:?}");
            assert_eq!(door.connections(), 1);
        }
        house.publish(|_, pool| pool.intent = closed.clone());
        let mut clients = [true, false].map(|structured| {
            // As often as it likes.
            Client::to(house.listen, &export, structured)
        });
        assert!(clients.iter_mut().all(|client| client.read_all() == disk));
        until("the others have left", || door.connections() == 2);
        assert_eq!(house.live().len(), 0, "an operator is no user");
        let load = &house.snapshot.pools[0].servers[server as usize].load;
        assert_eq!(load.sessions(), 0);
        drop(clients);
        until("all have left", || door.connections() == 0);
        house.publish(|_, pool| pool.intent = PoolIntent::Open);
        house.snapshot.doors.close(DoorId(7));
    }
    let (changes, _) = house.sessions.take_changes();
    assert!(changes.is_empty(), "{changes:?}");
    let notes = house.snapshot.doors.take_notes();
    let told: Vec<&str> = notes.iter().map(|note| note.what).collect();
    assert_eq!(told, ["entered", "entered"], "once for each door");
}

#[test]
fn what_is_no_door_opens_nothing() {
    let (one, two) = pair();
    let mut house = house_with(&[&one, &two], nbd);
    publish(&mut house, Mode::Maintenance, None);
    let (_, export) = open(&house, 7, 0, 0);
    let (_, elsewhere) = open(&house, 8, 5, 0);
    let forged = format!("{}0", &export[..export.len() - 1]);
    let unknown = export.replace("0007ab", "0009ab");
    for (name, words) in [
        (forged.as_str(), "this door is over"),
        (&unknown, "this door is over"),
        ("disk@", "this door is over"),
        ("disk@é", "this door is over"),
        (&elsewhere, "another pool"),
    ] {
        let (told, why) = refused(&house, name);
        assert_eq!(told, Some(Refusal::Policy), "{name}");
        assert!(why.contains(words), "{name}: {why}");
    }
    assert_eq!(house.pool_sum(|slot| &slot.doors_refused), 5);
    // Another resource behind a good door, and who asks by EXPORT_NAME.
    let (told, why) = refused(&house, &export.replace("disk@", "disc@"));
    assert_eq!(
        (told, why.as_str()),
        (
            Some(Refusal::Unknown),
            "there is no `disc`; there is `disk`"
        )
    );
    house.snapshot.doors.close(DoorId(7));
    let (told, _) = refused(&house, &export);
    assert_eq!(told, Some(Refusal::Policy));
    assert_eq!(house.pool_sum(|slot| &slot.doors_refused), 6);
    assert_eq!(one.connections() + two.connections(), 0);
    let (_, listed) = client::shake(house.listen, ClientGoal::List);
    assert_eq!(listed.unwrap(), ClientStep::Listed(Vec::new()));
}

#[test]
fn what_comes_through_a_door_ends_with_it() {
    let (one, two) = pair();
    let house = house_of(&[&one, &two], 1, nbd);
    let (_, export) = open(&house, 7, 0, 1);
    let mut operator = Client::to(house.listen, &export, true);
    assert!(operator.read(0, 1000) == image()[..1000]);
    let mut user = Client::connect(house.listen, true);
    house.snapshot.doors.close(DoorId(7));
    until("it is cut", || {
        house.pool_sum(|slot| &slot.connections_cut) == 1
    });
    assert!(operator.is_closed());
    assert!(user.read_all() == image());
}

#[test]
fn a_door_session_neither_moves_nor_is_moved_by_anything() {
    let (one, two) = pair();
    let mut house = house_with(&[&one, &two], nbd);
    let (_, export) = open(&house, 7, 0, 0);
    let mut operator = Client::to(house.listen, &export, true);
    // Raised epochs, a reading and other bytes are nothing to it.
    house.publish(|_, pool| {
        let server = &mut pool.servers[0];
        (server.standing, server.epoch) = (MAINTENANCE, 2);
    });
    publish(&mut house, Mode::Shared, None);
    assert!(operator.read_all() == image());
    assert_eq!(two.connections(), 0);
    // Its server is not exchanged for another one.
    one.act(|_, _| crate::model::Act::Break(9));
    operator.ask(Command::Read, 0, 1000);
    assert!(operator.answer().is_none(), "it is hung up on");
    assert_eq!(two.connections(), 0);
    let asked_for = house
        .facts
        .try_iter()
        .any(|fact| matches!(fact, Fact::ConnectFailed { server, .. } if server == ServerKey(0)));
    assert!(asked_for, "the server is looked at");
    let (_, dead) = open(&house, 9, 0, 1);
    two.act(|_, _| crate::model::Act::Die);
    let mut last = Client::to(house.listen, &dead, true);
    last.ask(Command::Read, 0, 1000);
    assert!(last.answer().is_none());
    let (told, why) = refused(&house, &dead);
    assert_eq!(told, Some(Refusal::Policy));
    assert!(why.contains("app/web2 cannot be used"), "{why}");
}

#[test]
fn what_is_in_maintenance_can_be_written_and_what_is_shared_cannot() {
    let disks = [WRITABLE, WRITABLE].map(|flags| Disk::with(image(), flags, true));
    let mut house = house_with(&[&disks[0], &disks[1]], nbd);
    let (_, export) = open(&house, 7, 0, 0);
    publish(&mut house, Mode::Shared, None);
    let mut reader = Client::to(house.listen, &export, true);
    assert!(reader.agreed.export.has(transmission_flag::READ_ONLY));
    publish(&mut house, Mode::Maintenance, None);
    let mut writer = Client::to(house.listen, &export, true);
    assert!(!writer.agreed.export.has(transmission_flag::READ_ONLY));
    writer.ask_with(Command::Write, 0, 4, 0, b"1234");
    assert_eq!(writer.answer().unwrap().error, None);
    assert_eq!(disks[0].asked().len(), 1);
    let written =
        |fact: Fact| matches!(fact, Fact::CopyWritten { server, .. } if server == ServerKey(0));
    assert!(house.facts.try_iter().any(written), "its manifest is old");
    reader.ask_with(Command::Write, 0, 4, 0, b"1234");
    assert_eq!(
        reader.answer().unwrap().error,
        Some(ErrorNumber::NotPermitted)
    );
    assert!(!house.facts.try_iter().any(written), "nothing was written");
    // Once it is shared, others rely on its bytes.
    publish(&mut house, Mode::Shared, None);
    assert!(writer.is_closed());
    assert!(reader.read(0, 1000) == image()[..1000]);
}

#[test]
fn a_reload_ends_who_may_not_be_there_any_more() {
    let disks = [WRITABLE, WRITABLE].map(|flags| Disk::with(image(), flags, true));
    for mode in [Mode::Shared, Mode::Maintenance] {
        let mut house = house_with(&[&disks[0], &disks[1]], nbd);
        let copies = [(Knowledge::Unknown, true), (Knowledge::Unknown, false)];
        house.publish(|_, pool| pool.replicas = disk(Mode::Private, Some("web1"), &copies));
        let mut writer = Client::connect(house.listen, true);
        writer.ask_with(Command::Write, 0, 4, 0, b"1234");
        assert_eq!(writer.answer().unwrap().error, None);
        publish(&mut house, mode, None);
        assert!(writer.is_closed(), "{mode:?}");
        until("nobody is there", || house.live().is_empty());
    }
}
