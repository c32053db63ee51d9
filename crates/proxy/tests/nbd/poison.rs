//! Requests that servers die of: they reach two servers, and nobody else notices.

use crate::client::Client;
use crate::common::{House, until};
use crate::model::{Act, Disk};
use crate::{SIZE, house_of, image, pair, place};
use ebbtide_core::{Millis, PoolConfig};
use ebbtide_protocol::nbd::{Command, ErrorNumber, Request};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Who reads from here loses its server.
const POISON: u64 = 1_234_944;

fn is_poison(request: &Request) -> bool {
    (request.command, request.offset) == (Command::Read, POISON)
}

fn poisoned(act: Act) -> impl Fn(&Request, usize) -> Act + Send + Sync {
    move |request, _| match is_poison(request) {
        true => act,
        false => Act::Answer,
    }
}

fn impatient(pool: &mut PoolConfig) {
    crate::nbd(pool);
    pool.nbd.stand_in = Millis(700);
}

fn lost_over_requests(house: &House) -> u64 {
    let of = |slot: &ebbtide_core::NodeSlot| {
        let rejected = slot.rejected.lock().unwrap();
        rejected.get("nbd-servers-lost").copied().unwrap_or(0)
    };
    house.node.slots().iter().map(of).sum()
}

/// How often each server was asked for the poison.
fn doses(disks: &[&Disk]) -> Vec<usize> {
    let of = |disk: &&Disk| disk.asked().iter().filter(|asked| is_poison(asked)).count();
    disks.iter().map(of).collect()
}

/// Reads with the poison in the middle: that one fails, and the others do not.
fn drink(client: &mut Client) {
    let offsets = [0, 50_000, POISON, 100_000, 150_000];
    let mut asked: BTreeMap<u64, u64> = offsets
        .iter()
        .map(|offset| (client.ask(Command::Read, *offset, 50_000), *offset))
        .collect();
    for _ in offsets {
        let answer = client.answer().expect("an answer");
        let offset = asked.remove(&answer.cookie).expect("asked");
        if offset == POISON {
            assert_eq!(answer.error, Some(ErrorNumber::InputOutput));
        } else {
            let start = offset as usize;
            assert!(answer.bytes == image()[start..start + 50_000]);
        }
    }
}

#[test]
fn a_request_that_kills_its_servers_reaches_two_and_others_go_on() {
    for structured in [true, false] {
        let disks = [0; 3].map(|_| Disk::new(image()));
        for disk in &disks {
            disk.act(poisoned(Act::Die));
        }
        let house = house_of(&disks.each_ref(), 2, impatient);
        let image = image();
        let (is_over, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for number in 0..12 {
                let mut other = Client::connect(house.listen, structured);
                let (image, is_over, rounds) = (&image, &is_over, &rounds);
                scope.spawn(move || {
                    let mut offset = number * 1000;
                    while !is_over.load(Ordering::SeqCst) {
                        offset = (offset + 70_001) % (SIZE - 5000);
                        let read = other.read(offset as u64, 5000);
                        assert!(read == image[offset..offset + 5000]);
                        rounds.fetch_add(1, Ordering::SeqCst);
                    }
                    assert!(other.read_all() == *image);
                });
            }
            let mut client = Client::connect(house.listen, structured);
            drink(&mut client);
            let before = rounds.load(Ordering::SeqCst);
            until("the others go on", || {
                rounds.load(Ordering::SeqCst) > before + 100
            });
            is_over.store(true, Ordering::SeqCst);
            assert!(client.read_all() == image, "and so does this one");
        });
        let dead = disks.iter().filter(|disk| disk.is_dead()).count();
        assert_eq!(dead, 2, "one is left");
        assert_eq!(doses(&disks.each_ref()).iter().sum::<usize>(), 2);
        assert_eq!(lost_over_requests(&house), 1);
    }
}

#[test]
fn servers_that_return_are_not_killed_for_ever() {
    let disks = [0; 3].map(|_| Disk::new(image()));
    for disk in &disks {
        disk.act(poisoned(Act::Break(0)));
    }
    let house = house_of(&disks.each_ref(), 1, crate::nbd);
    let mut client = Client::connect(house.listen, true);
    drink(&mut client);
    let mut doses = doses(&disks.each_ref());
    doses.sort_unstable();
    assert_eq!(doses, [0, 1, 2]);
    assert_eq!(lost_over_requests(&house), 1);
    assert!(client.read_all() == image());
}

#[test]
fn a_request_that_hangs_is_given_up_too() {
    let (one, two) = pair();
    for disk in [&one, &two] {
        disk.act(poisoned(Act::Hang));
    }
    let house = house_of(&[&one, &two], 1, |pool| {
        crate::nbd(pool);
        pool.http.response_timeout = Millis::from_secs(1);
    });
    let mut client = Client::connect(house.listen, false);
    drink(&mut client);
    assert_eq!(doses(&[&one, &two]).iter().sum::<usize>(), 3);
    assert_eq!(lost_over_requests(&house), 1);
}

#[test]
fn an_answer_that_always_breaks_off_ends_the_connection() {
    // All that comes after it is poison too.
    let covers = |request: &Request| request.offset + u64::from(request.length) > POISON;
    // Within the first piece that is read again, and after some that get through.
    for (offset, length) in [(POISON, 50_000), (POISON - 1_000_000, 1_200_000)] {
        let disks = [0; 3].map(|_| Disk::new(image()));
        for disk in &disks {
            disk.act(move |request, _| match covers(request) {
                true => Act::Break(10_000 + POISON.saturating_sub(request.offset) as usize / 2),
                false => Act::Answer,
            });
        }
        let house = house_of(&disks.each_ref(), 1, crate::nbd);
        let mut client = Client::connect(house.listen, false);
        client.ask(Command::Read, offset, length);
        assert!(client.answer().is_none(), "it ends, and is not wrong");
        until("the session ends", || house.live().is_empty());
        assert_eq!(lost_over_requests(&house), 1);
        let doses = |disk: &Disk| disk.asked().iter().filter(|asked| covers(asked)).count();
        let mut doses = disks.each_ref().map(doses);
        doses.sort_unstable();
        assert_eq!(doses, [0, 1, 2], "of {length} bytes");
    }
}

#[test]
fn whose_servers_die_by_chance_waits_for_one_of_them() {
    let disks = [0; 3].map(|_| Disk::new(image()));
    let house = house_of(&disks.each_ref(), 1, crate::nbd);
    let mut client = Client::connect(house.listen, true);
    for disk in &disks {
        disk.act(|_, _| Act::Die);
    }
    client.ask(Command::Read, 4096, 100_000);
    until("two are dead", || {
        disks.iter().filter(|disk| disk.is_dead()).count() == 2
    });
    let left = disks.iter().position(|disk| !disk.is_dead()).unwrap();
    for disk in &disks {
        disk.act(|_, _| Act::Answer);
    }
    let back = (left + 1) % 3;
    disks[back].return_to_life();
    assert!(client.answer().unwrap().bytes == image()[4096..104_096]);
    assert_eq!(place(&house), (back as u32, 2));
    assert!(disks[left].asked().is_empty());
    assert_eq!(lost_over_requests(&house), 0);
}
