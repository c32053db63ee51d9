//! Many users at once, while servers are held and returned and listeners come and go.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;
use common::{HELD, House, Message, Plan, READY, Server, listener, until};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const USERS: usize = 12;
const REQUESTS: usize = 150;

/// One user on one kept connection; every answer must be whole, and from the same server.
fn live_on(address: std::net::SocketAddr, user: usize, done: &AtomicUsize) {
    let mut wire = common::Wire::connect(address);
    let first = wire.get(&format!("/{user}/first"), "");
    let (home, cookie) = (first.text(), first.cookie());
    for number in 0..REQUESTS {
        let request = format!(
            "POST /{user}/{number} HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\nContent-Length: 2\r\n\r\nhi"
        );
        wire.send(request);
        let answer = wire.answer();
        assert_eq!(
            (answer.status(), answer.complete),
            (200, true),
            "{user}/{number}"
        );
        assert_eq!(answer.text(), home, "{user}/{number} has moved");
        assert_eq!(
            answer.field("connection"),
            None,
            "{user}/{number} is sent away"
        );
    }
    done.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn holds_and_reloads_under_load_lose_nothing_and_double_nothing() {
    let servers = [
        Server::named("one"),
        Server::named("two"),
        Server::named("three"),
    ];
    let mut house = House::build(Plan {
        workers: 2,
        servers: servers.iter().map(|server| server.address).collect(),
        ..Plan::default()
    });
    let (address, done, failed) = (house.listen, AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let users: Vec<_> = (0..USERS)
            .map(|user| {
                let done = &done;
                scope.spawn(move || live_on(address, user, done))
            })
            .collect();
        let mut round = 0;
        while users.iter().any(|user| !user.is_finished()) {
            let extra = common::free_address();
            house.publish(|config, pool| {
                for (index, server) in pool.servers.iter_mut().enumerate() {
                    server.standing = if index == round % 3 { HELD } else { READY };
                }
                config.listeners.truncate(1);
                config.listeners.push(listener("extra", extra));
            });
            round += 1;
        }
        failed.store(
            users.into_iter().any(|user| user.join().is_err()),
            Ordering::SeqCst,
        );
    });
    assert!(!failed.into_inner());
    assert_eq!(done.into_inner(), USERS);
    let mut seen = BTreeMap::<String, usize>::new();
    for server in &servers {
        for Message { first_line, .. } in server.log.lock().unwrap().iter() {
            *seen.entry(first_line.clone()).or_default() += 1;
        }
    }
    assert_eq!(seen.len(), USERS * (REQUESTS + 1));
    let doubled = seen.iter().find(|(_, times)| **times != 1);
    assert_eq!(doubled, None);
    until("the count", || {
        house.node.sum(|slot| &slot.connections) == 0
    });
    assert_eq!(house.pool_sum(|slot| &slot.requests), seen.len() as u64);
}
