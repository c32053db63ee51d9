//! A server that is lost in the middle of anything, or lies: the client sees no wrong byte, and none
//! twice.

use crate::client::{self, Client};
use crate::common::{HELD, MAINTENANCE, until};
use crate::model::{Act, Disk, FLAGS, WRITABLE};
use crate::{SIZE, disk, house, house_with, identity, image, pair, place};
use ebbtide_core::{Fact, Knowledge, Millis, Mode, ServerKey};
use ebbtide_protocol::nbd::{
    ClientGoal, ClientStep, Command, ErrorNumber, HandshakeFault, Refusal, command_flag,
    transmission_flag,
};
use std::io::Write;
use std::sync::Arc;

#[test]
fn a_server_that_dies_anywhere_in_an_answer_is_replaced() {
    // Heads are 16, 20 and 28 bytes long; a piece is 16 KiB.
    for structured in [true, false] {
        for bytes in [0, 1, 15, 16, 17, 20, 28, 29, 70_000, 150_000, 199_990] {
            let (one, two) = pair();
            one.act(move |_, number| match number {
                0 => Act::Answer,
                _ => Act::Break(bytes),
            });
            let house = house(&[&one, &two]);
            let mut client = Client::connect(house.listen, structured);
            assert!(client.read(0, 1000) == image()[..1000]);
            let read = client.read(600_001, 200_000);
            assert!(read == image()[600_001..800_001], "{structured} {bytes}");
            assert_eq!(place(&house), (1, 1));
            assert!(client.read_all() == image());
        }
    }
}

#[test]
fn of_an_answer_in_pieces_only_what_is_missing_is_read_again() {
    for bytes in [5, 28, 1000, 16_412, 20_000, 50_000, 100_000, 300_000] {
        let (one, two) = pair();
        one.act(move |_, _| Act::BreakPieces(bytes));
        two.act(|_, _| Act::Pieces);
        let house = house(&[&one, &two]);
        let mut client = Client::connect(house.listen, true);
        let cookie = client.ask(Command::Read, 400_000, 400_000);
        let answer = client.answer().unwrap();
        assert_eq!((answer.cookie, answer.error), (cookie, None));
        // The client's own reader refuses pieces that overlap, and an end without all of them.
        assert!(answer.bytes == image()[400_000..800_000], "{bytes}");
        let again: u64 = two
            .asked()
            .iter()
            .map(|asked| u64::from(asked.length))
            .sum();
        let had = bytes.saturating_sub(28 * 25) as u64;
        assert!(
            again <= 400_000 - had,
            "{again} of 400,000, {bytes} were there"
        );
    }
}

#[test]
fn what_is_in_flight_is_asked_again_with_everything_else() {
    for structured in [true, false] {
        let (one, two) = pair();
        one.act(|_, number| match number {
            0..8 => Act::Answer,
            8 => Act::Break(30_000),
            _ => Act::Hang,
        });
        let house = house(&[&one, &two]);
        let mut client = Client::connect(house.listen, structured);
        assert!(client.read_all() == image());
        assert_eq!(place(&house), (1, 1));
    }
}

#[test]
fn a_read_in_one_piece_stays_in_one() {
    let (one, two) = pair();
    one.act(|_, _| Act::Break(100_000));
    let house = house(&[&one, &two]);
    let mut client = Client::connect(house.listen, true);
    client.ask_with(Command::Read, 0, 300_000, command_flag::DF, &[]);
    let answer = client.answer().unwrap();
    assert!(answer.bytes == image()[..300_000]);
    assert_eq!((answer.error, answer.pieces), (None, 1));
}

#[test]
fn nonsense_and_silence_are_losses_too() {
    for act in [
        Act::WrongCookie,
        Act::Hang,
        Act::Fail(ErrorNumber::ShuttingDown),
    ] {
        let (one, two) = pair();
        one.act(move |_, _| act);
        let house = house_with(&[&one, &two], |pool| {
            crate::nbd(pool);
            pool.http.response_timeout = Millis(300);
        });
        let mut client = Client::connect(house.listen, true);
        assert!(client.read(0, 100_000) == image()[..100_000], "{act:?}");
        assert_eq!(place(&house), (1, 1));
        let count = match act {
            Act::Hang => house.server_sum(0, |slot| &slot.timeouts),
            _ => house.server_sum(0, |slot| &slot.broken),
        };
        assert_eq!(count, 1, "{act:?}");
        let reasons = house.node.slot(0).answers_rejected.lock().unwrap().clone();
        let is_nonsense = act == Act::WrongCookie;
        assert_eq!(
            reasons.contains_key("unknown-cookie"),
            is_nonsense,
            "{act:?}"
        );
    }
}

#[test]
fn other_errors_are_the_clients() {
    let (one, two) = pair();
    one.act(|_, _| Act::Fail(ErrorNumber::InputOutput));
    let house = house(&[&one, &two]);
    for structured in [true, false] {
        let mut client = Client::connect(house.listen, structured);
        client.ask(Command::Read, 0, 512);
        let answer = client.answer().unwrap();
        if house.live()[0].server == ServerKey(0) {
            assert_eq!(answer.error, Some(ErrorNumber::InputOutput));
        }
        drop(client);
        until("the session ends", || house.live().is_empty());
    }
    assert!(!one.asked().is_empty());
}

#[test]
fn a_server_of_another_size_is_never_used() {
    let (one, two) = pair();
    let three = Disk::new(image());
    two.claim_size(SIZE as u64 + 4096);
    let house = house(&[&one, &two, &three]);
    let mut client = Client::connect(house.listen, true);
    assert!(client.read(0, 1000) == image()[..1000]);
    // The least busy one is asked first, and then it is the other's turn.
    one.act(|_, _| Act::Break(10));
    assert!(client.read(0, 5000) == image()[..5000]);
    assert_eq!(place(&house), (2, 1));
    assert!(two.asked().is_empty());
    if two.connections() > 0 {
        let is_told = house.facts.try_iter().any(|fact| {
            matches!(fact, Fact::CopyContradicted { server: ServerKey(1), size, .. } if size == SIZE as u64 + 4096)
        });
        assert!(is_told, "the contradiction is told");
    }
}

#[test]
fn a_server_that_changes_its_size_is_not_gone_back_to() {
    let (one, two) = pair();
    one.act(|_, number| {
        if number == 0 {
            Act::Answer
        } else {
            Act::Break(9)
        }
    });
    let mut house = house(&[&one, &two]);
    house.stand(1, MAINTENANCE);
    let mut client = Client::connect(house.listen, true);
    assert!(client.read(0, 1000) == image()[..1000]);
    one.claim_size(SIZE as u64 - 512);
    client.ask(Command::Read, 0, 5000);
    until("it was tried again", || one.connections() > 1);
    house.stand(1, crate::common::READY);
    assert!(client.answer().unwrap().bytes == image()[..5000]);
    assert_eq!(place(&house), (1, 1));
}

#[test]
fn a_server_that_offers_less_does_not_stand_in() {
    let less = transmission_flag::SEND_DF;
    for bad in [
        Disk::with(image(), FLAGS & !less, true),
        Disk::with(image(), FLAGS, false),
    ] {
        let (one, three) = pair();
        let house = house(&[&one, &bad, &three]);
        let mut client = Client::connect(house.listen, true);
        assert!(client.read(0, 1000) == image()[..1000]);
        one.act(|_, _| Act::Break(100));
        assert!(client.read(0, 9000) == image()[..9000]);
        assert_eq!(place(&house).0, 2);
    }
}

#[test]
fn what_concerns_writing_is_no_promise_of_what_cannot_be_written() {
    let writing = transmission_flag::SEND_FLUSH | transmission_flag::SEND_FUA;
    let one = Disk::with(image(), FLAGS | writing, true);
    let two = Disk::with(image(), FLAGS & !writing, true);
    let house = house(&[&one, &two]);
    let mut client = Client::connect(house.listen, true);
    assert_eq!(client.agreed.export.flags & writing, 0);
    assert!(client.read(0, 1000) == image()[..1000]);
    one.act(|_, _| Act::Break(100));
    assert!(client.read(0, 9000) == image()[..9000]);
    assert_eq!(place(&house).0, 1);
}

#[test]
fn another_servers_failure_to_mend_is_not_the_clients() {
    let (one, two) = pair();
    let three = Disk::new(image());
    one.act(|_, _| Act::Break(50_000));
    two.act(|_, _| Act::Fail(ErrorNumber::InputOutput));
    three.act(|_, _| Act::Pieces);
    for structured in [true, false] {
        let mut house = house(&[&one, &two, &three]);
        house.stand(2, HELD);
        house.stand(1, HELD);
        let mut client = Client::connect(house.listen, structured);
        house.stand(1, crate::common::READY);
        house.stand(2, crate::common::READY);
        assert!(client.read(0, 200_000) == image()[..200_000]);
        assert_eq!(place(&house).0, 2);
    }
}

#[test]
fn refusals_are_ours_and_come_between_answers() {
    let (one, two) = pair();
    let house = house(&[&one, &two]);
    for structured in [true, false] {
        let mut client = Client::connect(house.listen, structured);
        let size = client.agreed.export.size;
        for (command, offset, length, expected) in [
            (Command::Read, size - 1, 2, ErrorNumber::Invalid),
            (Command::Read, u64::MAX, 2, ErrorNumber::Invalid),
            (Command::Read, 0, u32::MAX, ErrorNumber::Invalid),
            (Command::WriteZeroes, 0, 512, ErrorNumber::NotPermitted),
            (Command::Trim, 0, 512, ErrorNumber::NotPermitted),
            (Command::Other(77), 0, 0, ErrorNumber::Invalid),
            (Command::Flush, 0, 0, ErrorNumber::Invalid),
        ] {
            client.ask(command, offset, length);
            assert_eq!(
                client.answer().unwrap().error,
                Some(expected),
                "{command:?}"
            );
        }
        client.ask_with(Command::Write, 0, 70_000, 0, &vec![1; 70_000]);
        assert_eq!(
            client.answer().unwrap().error,
            Some(ErrorNumber::NotPermitted)
        );
        assert!(client.read_all() == image());
    }
}

#[test]
fn a_flood_waits_in_the_socket() {
    let (one, two) = pair();
    one.act(|_, _| Act::Hold);
    two.act(|_, _| Act::Hold);
    let house = house(&[&one, &two]);
    let mut client = Client::connect(house.listen, true);
    client.ask_often(3000, 512);
    let at = if place(&house).0 == 0 { &one } else { &two };
    until("the first request has come", || !at.asked().is_empty());
    at.release();
    let beginning = image()[..512].to_vec();
    for _ in 0..3000 {
        assert!(client.answer().unwrap().bytes == beginning);
    }
}

#[test]
fn block_status_is_asked_again_elsewhere() {
    let (one, two) = pair();
    one.act(|_, _| Act::Break(23));
    let house = house(&[&one, &two]);
    let mut client = Client::connect(house.listen, true);
    client.ask(Command::BlockStatus, 0, 65_536);
    let answer = client.answer().unwrap();
    assert_eq!(answer.bytes, [0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(place(&house), (1, 1));
}

#[test]
fn a_private_resource_is_written_and_pinned() {
    let one = Disk::new(image());
    let two = Disk::with(image(), WRITABLE, true);
    let mut house = house(&[&one, &two]);
    let known = Knowledge::Known(identity(1));
    house.publish(|_, pool| {
        let copies = [(known.clone(), false), (known, true)];
        pool.replicas = disk(Mode::Private, Some("web2"), &copies);
    });
    let mut client = Client::connect(house.listen, true);
    assert!(!client.agreed.export.has(transmission_flag::READ_ONLY));
    client.ask_with(Command::Write, 4096, 200_000, 0, &vec![1; 200_000]);
    assert_eq!(client.answer().unwrap().error, None);
    assert!(client.read(0, 1000) == image()[..1000]);
    assert_eq!(two.asked()[0].length, 200_000);
    two.act(|_, _| Act::Break(10));
    client.ask(Command::Read, 0, 1000);
    assert!(client.answer().is_none(), "nothing stands in");
    assert!(one.asked().is_empty());
    until("the session ends", || house.live().is_empty());
}

#[test]
fn clients_are_told_what_there_is_and_what_they_cannot_have() {
    let (one, two) = pair();
    let mut house = house(&[&one, &two]);
    let (_, listed) = client::shake(house.listen, ClientGoal::List);
    assert_eq!(listed, Ok(ClientStep::Listed(vec!["disk".into()])));
    let refused = |house: &crate::House, name: &str| match client::shake(
        house.listen,
        client::goal(name, true),
    )
    .1
    {
        Err(HandshakeFault::Refused { refusal, message }) => (refusal, message),
        other => panic!("not refused: {other:?}"),
    };
    let (refusal, message) = refused(&house, "other");
    assert_eq!(refusal, Some(Refusal::Unknown));
    assert!(message.contains("`disk`"), "{message}");
    // The only one there is also the default one.
    assert!(
        client::shake(house.listen, client::goal("", true))
            .1
            .is_ok()
    );
    // Of several none is.
    house.publish(|_, pool| {
        let mut view = (*pool.replicas).clone();
        let mut other = view.resources[0].clone();
        other.rule.name = "other".into();
        view.resources.push(other);
        pool.replicas = Arc::new(view);
    });
    let (refusal, message) = refused(&house, "");
    assert_eq!(refusal, Some(Refusal::Unknown));
    let expected = "there is no default export here: ask by name, for `disk`, `other`";
    assert_eq!(message, expected);
    let known = Knowledge::Known(identity(1));
    let copies = [(known.clone(), false), (known.clone(), false)];
    house.publish(|_, pool| pool.replicas = disk(Mode::Maintenance, None, &copies));
    let (refusal, message) = refused(&house, "disk");
    assert_eq!(refusal, Some(Refusal::Policy));
    assert!(message.contains("maintenance"), "{message}");
    let (_, listed) = client::shake(house.listen, ClientGoal::List);
    assert_eq!(listed, Ok(ClientStep::Listed(vec![])));
    let copies = [(known.clone(), true), (known, true)];
    house.publish(|_, pool| pool.replicas = disk(Mode::Shared, None, &copies));
    for server in [0, 1] {
        house.stand(server, HELD);
    }
    assert_eq!(refused(&house, "disk").0, Some(Refusal::Policy));
    assert!(house.pool_sum(|slot| &slot.refused_unavailable) > 0);
}

#[test]
fn nonsense_from_clients_ends_their_connection_and_is_counted() {
    let (one, two) = pair();
    let house = house(&[&one, &two]);
    let mut client = Client::connect(house.listen, true);
    client.stream.write_all(&[b'x'; 28]).unwrap();
    assert!(client.is_closed());
    let mut client = Client::connect(house.listen, true);
    let far_too_long = client.ask(Command::Write, 0, u32::MAX);
    assert!(far_too_long > 0 && client.is_closed());
    let mut stream = std::net::TcpStream::connect(house.listen).unwrap();
    stream.write_all(&[0xff; 64]).unwrap();
    until("all are counted", || {
        let rejected = house.node.slot(0).rejected.lock().unwrap().clone();
        [
            "nbd-bad-request-magic",
            "nbd-payload-too-long",
            "unknown-client-flags",
        ]
        .iter()
        .all(|reason| rejected.get(reason) == Some(&1))
    });
    until("the sessions end", || house.live().is_empty());
}
