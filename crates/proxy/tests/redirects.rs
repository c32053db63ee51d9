//! Pools that lead their users to the servers' own addresses: by the same rules as those that pass
//! requests on, and never anywhere else.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;
use common::{Client, DOWN, HELD, House, MAINTENANCE, Server, clock, get, until};
use ebbtide_core::{
    Closure, Door, DoorId, DoorKeys, DoorSecret, Millis, PoolIntent, PoolKey, ServerKey,
};
use std::sync::Arc;

/// Two servers that nothing must reach, and that users are led to.
struct Pair {
    servers: [Server; 2],
    house: House,
}

impl Pair {
    fn new() -> Self {
        let servers = ["web1", "web2"].map(Server::named);
        let mut house = House::with(&servers.each_ref().map(|server| server.address), |pool| {
            pool.http.redirect = true;
        });
        house.publish(|_, pool| {
            pool.servers[0].public_url = Some("https://web1.example.com".into());
            pool.servers[1].public_url = Some("http://[2001:db8::2]:8080/app".into());
        });
        Self { servers, house }
    }

    fn nothing_has_passed(&self) {
        for server in &self.servers {
            assert!(server.seen().is_empty(), "{:?}", server.seen());
        }
    }
}

/// Where a request is led to.
fn led(client: &mut Client, request: &str) -> (u16, String) {
    client.send(request);
    let answer = client.answer();
    let location = answer.field("location").unwrap_or_default().to_owned();
    (answer.status(), location)
}

#[test]
fn new_users_are_led_to_a_server_each_and_come_back_to_it() {
    let pair = Pair::new();
    let mut client = pair.house.client();
    let first = client.get("/a/b?c=d&e", "");
    assert_eq!(first.status(), 302);
    let location = first.field("location").unwrap();
    assert_eq!(location, "https://web1.example.com/a/b?c=d&e");
    assert_eq!(first.field("cache-control"), Some("no-store"));
    let cookie = first.cookie();
    let session = pair.house.live().pop().unwrap();
    let before = session.last_activity();
    let second = client.get("/", "");
    let location = second.field("location").unwrap();
    assert_eq!(location, "http://[2001:db8::2]:8080/app/");
    for _ in 0..4 {
        let again = client.get("/x", &cookie);
        let location = again.field("location").unwrap();
        assert_eq!(location, "https://web1.example.com/x");
        assert_eq!(again.field("set-cookie"), None);
    }
    assert_eq!(pair.house.live().len(), 2);
    until("its request is over", || session.open() == 0);
    assert!(session.last_activity() >= before);
    assert_eq!(pair.house.server_sum(0, |slot| &slot.redirects), 5);
    pair.nothing_has_passed();
}

#[test]
fn methods_and_bodies_go_along() {
    let pair = Pair::new();
    for (request, status) in [
        ("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n", 302),
        (
            "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
            307,
        ),
        (
            "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
            307,
        ),
        ("DELETE /x HTTP/1.1\r\nHost: a\r\n\r\n", 307),
    ] {
        let mut client = pair.house.client();
        client.send(request);
        let first_line = client.line().unwrap();
        assert!(first_line.contains(&status.to_string()), "{first_line}");
    }
    pair.nothing_has_passed();
}

#[test]
fn no_request_chooses_where_it_is_led() {
    let mut pair = Pair::new();
    pair.house.stand(1, HELD);
    for (request, location) in [
        (
            "GET //evil.example/a HTTP/1.1\r\nHost: a\r\n\r\n",
            "//evil.example/a",
        ),
        (
            "GET http://evil.example/a?b HTTP/1.1\r\nHost: a\r\n\r\n",
            "/a?b",
        ),
        ("GET http://evil.example HTTP/1.1\r\nHost: a\r\n\r\n", "/"),
        (
            "GET http://evil.example?x HTTP/1.1\r\nHost: a\r\n\r\n",
            "/?x",
        ),
        (
            "GET / HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example\r\n\r\n",
            "/",
        ),
        (
            "GET /\\evil.example HTTP/1.1\r\nHost: a\r\n\r\n",
            "/\\evil.example",
        ),
        (
            "GET /%0d%0aLocation:%20//evil HTTP/1.1\r\nHost: a\r\n\r\n",
            "/%0d%0aLocation:%20//evil",
        ),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "/"),
    ] {
        let (_, led_to) = led(&mut pair.house.client(), request);
        assert_eq!(led_to, format!("https://web1.example.com{location}"));
    }
    for request in [
        "GET @evil.example/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a\rLocation: x HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(led(&mut pair.house.client(), request), (400, String::new()));
    }
    pair.nothing_has_passed();
}

#[test]
fn standings_limits_and_the_gate_hold_as_everywhere() {
    let mut pair = Pair::new();
    let mut client = pair.house.client();
    let cookie = client.get("/", "").cookie();
    pair.house.stand(0, HELD);
    let to_second = "http://[2001:db8::2]:8080/app/";
    for _ in 0..3 {
        assert_eq!(led(&mut client, &get("/", "")).1, to_second);
        let own = led(&mut client, &get("/", &cookie)).1;
        assert_eq!(own, "https://web1.example.com/");
    }
    // In maintenance it keeps nobody.
    pair.house.stand(0, MAINTENANCE);
    let moved = client.get("/", &cookie);
    assert_eq!(moved.field("location"), Some(to_second));
    let cookie = moved.cookie();
    assert_eq!(led(&mut client, &get("/", &cookie)).1, to_second);
    pair.house
        .publish(|_, pool| pool.servers[1].max_sessions = Some(1));
    let full = client.get("/", "");
    assert_eq!((full.status(), full.field("location")), (503, None));
    assert_eq!(pair.house.pool_sum(|slot| &slot.refused_full), 1);
    pair.house.publish(|_, pool| {
        pool.intent = PoolIntent::Closed(Closure::default());
        pool.servers[1].standing = DOWN;
    });
    assert_eq!(client.get("/", "").status(), 503);
    assert_eq!(pair.house.pool_sum(|slot| &slot.refused_closed), 1);
    pair.nothing_has_passed();
}

#[test]
fn reserved_paths_are_answered_here() {
    let pair = Pair::new();
    let mut client = pair.house.client();
    for path in [
        "/.ebbtide/health",
        "/.ebbtide/session",
        "/.ebbtide/notice.js",
    ] {
        assert_eq!(client.get(path, "").status(), 200, "{path}");
    }
    assert!(pair.house.live().is_empty());
}

#[test]
fn nobody_is_led_to_a_server_without_an_address_of_its_own() {
    let mut pair = Pair::new();
    let mut client = pair.house.client();
    let cookie = client.get("/", "").cookie();
    pair.house
        .publish(|_, pool| pool.servers[0].public_url = None);
    for cookie in ["", &cookie] {
        let (_, location) = led(&mut client, &get("/", cookie));
        assert_eq!(location, "http://[2001:db8::2]:8080/app/");
    }
    pair.house
        .publish(|_, pool| pool.servers[1].public_url = None);
    assert_eq!(client.get("/", "").status(), 503);
}

#[test]
fn an_operator_is_led_through_the_door() {
    let mut pair = Pair::new();
    pair.house.stand(0, MAINTENANCE);
    let keys = DoorKeys {
        id: DoorId(7),
        entry: DoorSecret([0xab; 16]),
        cookie: DoorSecret([0xcd; 16]),
        form: DoorSecret([0xef; 16]),
    };
    let path = format!("/.ebbtide/enter?key={}&to=/admin", keys.entry_text());
    let end = clock().moment.plus(Millis(600_000));
    let place = (PoolKey(0), ServerKey(0));
    let door = Door::new(keys, place, end, false, "ann".into());
    pair.house.snapshot.doors.open(Arc::new(door));
    let mut operator = pair.house.client();
    let entered = operator.get(&path, "");
    assert_eq!(entered.field("location"), Some("/admin"));
    let answer = operator.get("/admin", &entered.cookie());
    let location = answer.field("location").unwrap();
    assert_eq!(location, "https://web1.example.com/admin");
    assert_eq!(answer.field("set-cookie"), None);
    assert!(pair.house.live().is_empty(), "an operator is no user");
}
