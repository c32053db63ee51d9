//! Sessions stay put, closed means closed, tokens cannot be made up.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;
use common::{DOWN, HELD, House, MAINTENANCE, REPORTS_FULL, Server, get};
use ebbtide_core::{EndReason, Found, SessionId};
use ebbtide_protocol::token::{Token, TokenKeys, tag};

fn two() -> (House, Server, Server) {
    let (one, two) = (Server::named("one"), Server::named("two"));
    let house = House::new(&[one.address, two.address]);
    (house, one, two)
}

fn keys() -> TokenKeys {
    TokenKeys {
        current: [7; 32],
        previous: None,
    }
}

fn forge(edit: impl FnOnce(&mut Token), keys: &TokenKeys) -> String {
    let now_s = common::clock().wall.0 / 1000;
    let mut token = Token {
        pool: tag("app"),
        server: tag("app/web2"),
        epoch: 1,
        session: 99,
        started_s: now_s,
        renewed_s: now_s,
    };
    edit(&mut token);
    let mut text = Vec::new();
    token.encode(keys, &mut text);
    format!("ebbtide_app={}", String::from_utf8(text).unwrap())
}

#[test]
fn a_session_stays_on_its_server_and_the_server_does_not_see_its_token() {
    let (house, one, _) = two();
    let first = house.client().get("/", "");
    assert_eq!((first.status(), first.text().as_str()), (200, "one"));
    let set = first.field("set-cookie").unwrap();
    assert!(set.ends_with("; HttpOnly; SameSite=Lax; Path=/"), "{set}");
    let cookie = format!("theirs=1; {}; more=2", first.cookie());
    let mut kept = house.client();
    for _ in 0..3 {
        for answer in [
            house.client().get("/again", &cookie),
            kept.get("/kept", &cookie),
        ] {
            assert_eq!(answer.text(), "one");
            assert_eq!(answer.field("set-cookie"), None);
        }
    }
    let log = one.log.lock().unwrap();
    let last = log.last().unwrap();
    assert_eq!(last.field("cookie"), Some("theirs=1; more=2"));
    assert_eq!(last.field("x-forwarded-proto"), Some("http"));
    assert_eq!(
        house
            .sessions
            .list(&house.snapshot, None, 10, |_| true)
            .len(),
        1
    );
}

#[test]
fn requests_without_a_token_begin_sessions_in_turn() {
    let (house, _, _) = two();
    let mut client = house.client();
    let texts: Vec<String> = (0..4).map(|_| client.get("/", "").text()).collect();
    assert_eq!(texts, ["one", "two", "one", "two"]);
    assert_eq!(house.pool_sum(|slot| &slot.requests), 4);
}

#[test]
fn a_held_server_keeps_its_sessions_and_takes_no_new_ones() {
    let (mut house, _, _) = two();
    let cookie = house.client().get("/", "").cookie();
    house.stand(0, HELD);
    assert_eq!(house.client().get("/", &cookie).text(), "one");
    for _ in 0..4 {
        assert_eq!(house.client().get("/", "").text(), "two");
    }
    house.stand(1, HELD);
    let refused = house.client().get("/", "");
    assert_eq!(refused.status(), 503);
    assert!(refused.field("retry-after").is_some());
    assert_eq!(refused.field("cache-control"), Some("no-store"));
    assert_eq!(house.client().get("/", &cookie).text(), "one");
    assert_eq!(house.pool_sum(|slot| &slot.refused_unavailable), 1);
}

#[test]
fn a_full_pool_says_so_in_the_form_that_is_asked_for() {
    let (mut house, _, _) = two();
    house.publish(|_, pool| {
        for server in &mut pool.servers {
            server.max_sessions = Some(1);
        }
    });
    let texts = [(); 2].map(|()| house.client().get("/", "").text());
    assert_eq!(texts, ["one", "two"]);
    let mut client = house.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n");
    let refused = client.answer();
    assert_eq!(
        (refused.status(), refused.field("content-type")),
        (503, Some("application/json"))
    );
    assert!(refused.text().contains("all sessions are in use"));
    let health = client.get("/.ebbtide/health", "");
    assert_eq!(
        (health.status(), health.text().as_str()),
        (503, "ALL SESSIONS IN USE\n")
    );
    assert_eq!(house.pool_sum(|slot| &slot.refused_full), 1);
}

#[test]
fn a_pool_whose_servers_report_that_they_are_full_says_so() {
    let (mut house, _, _) = two();
    house.publish(|_, pool| {
        pool.servers[0].standing = HELD;
        pool.servers[1].standing = REPORTS_FULL;
    });
    let mut client = house.client();
    let refused = client.get("/", "");
    assert_eq!(refused.status(), 503);
    assert!(refused.text().contains("all sessions are in use"));
    assert_eq!(
        client.get("/.ebbtide/health", "").text(),
        "ALL SESSIONS IN USE\n"
    );
    assert_eq!(house.pool_sum(|slot| &slot.refused_full), 1);
    assert_eq!(house.pool_sum(|slot| &slot.refused_unavailable), 0);
}

#[test]
fn a_deadline_that_has_passed_unnoticed_serves_no_session_any_more() {
    let (mut house, _, _) = two();
    let first = house.client().get("/", "");
    assert_eq!(first.text(), "one");
    house.publish(|_, pool| {
        pool.servers[0].standing = HELD;
        let half_a_second_ago = ebbtide_core::Moment(common::clock().moment.0 - 500);
        pool.servers[0].notice = common::drain_notice(half_a_second_ago);
    });
    let mut client = house.client();
    let session = client.get("/.ebbtide/session", &first.cookie()).text();
    assert!(
        session.contains(r#""state":"ended","reason":"deadline""#),
        "{session}"
    );
    let moved = client.get("/", &first.cookie());
    assert_eq!(moved.text(), "two");
    assert_eq!(client.get("/", &moved.cookie()).text(), "two");
}

#[test]
fn a_session_whose_server_is_down_moves() {
    let (mut house, _, _) = two();
    let first = house.client().get("/", "");
    house.stand(0, DOWN);
    let moved = house.client().get("/", &first.cookie());
    assert_eq!(moved.text(), "two");
    let old = house.sessions.list(&house.snapshot, None, 10, |_| true);
    assert_eq!(old.len(), 1, "the old session is over");
    house.stand(0, common::READY);
    // The old token is worth nothing; the new one is.
    assert_eq!(house.client().get("/", &moved.cookie()).text(), "two");
    house.client().get("/", &first.cookie());
    assert_eq!(house.pool_sum(|slot| &slot.tokens_ended), 1);
    assert_eq!(house.pool_sum(|slot| &slot.sessions_moved), 1);
}

#[test]
fn a_token_that_is_not_honoured_is_no_token_and_is_counted() {
    let (mut house, _, two) = two();
    house.stand(1, HELD);
    let other = TokenKeys {
        current: [8; 32],
        previous: None,
    };
    let valid = forge(|_| {}, &keys());
    let mut bent = valid.clone();
    bent.truncate(bent.len() - 1);
    let tokens = [
        "ebbtide_app=rubbish".to_owned(),
        bent,
        forge(|_| {}, &other),
        forge(|token| token.pool = tag("other"), &keys()),
        forge(|token| token.epoch = 2, &keys()),
        forge(|token| token.server = tag("app/gone"), &keys()),
        forge(|token| token.renewed_s -= 2000, &keys()),
    ];
    for token in &tokens {
        let answer = house.client().get("/", token);
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (200, "one"),
            "{token}"
        );
        assert!(answer.field("set-cookie").is_some());
    }
    assert_eq!(
        two.seen(),
        [""; 0],
        "a made-up token never reaches a held server"
    );
    let counts = [
        house.pool_sum(|slot| &slot.tokens_malformed),
        house.pool_sum(|slot| &slot.tokens_forged),
        house.pool_sum(|slot| &slot.tokens_other_pool),
        house.pool_sum(|slot| &slot.tokens_old_epoch),
        house.pool_sum(|slot| &slot.tokens_expired),
    ];
    assert_eq!(counts, [2, 1, 1, 2, 1]);
    // A true token that this node has not seen is taken in, though its server is held.
    let several = format!("ebbtide_app=rubbish; {valid}");
    assert_eq!(house.client().get("/", &several).text(), "two");
    assert!(matches!(house.sessions.find(SessionId(99)), Found::Live(_)));
}

#[test]
fn an_old_token_is_renewed() {
    let (house, _, _) = two();
    let fresh = forge(|_| {}, &keys());
    assert_eq!(house.client().get("/", &fresh).field("set-cookie"), None);
    let old = forge(|token| token.renewed_s -= 600, &keys());
    let answer = house.client().get("/", &old);
    assert_eq!(answer.text(), "two");
    let again = house.client().get("/", &answer.cookie());
    assert_eq!(
        (again.text().as_str(), again.field("set-cookie")),
        ("two", None)
    );
}

#[test]
fn a_raised_epoch_forgets_every_binding() {
    let (mut house, _, _) = two();
    let cookie = house.client().get("/", "").cookie();
    let mut kept = house.client();
    assert_eq!(kept.get("/", &cookie).text(), "one");
    house.publish(|_, pool| {
        pool.servers[0].epoch = 2;
        pool.servers[0].standing = MAINTENANCE;
    });
    let answer = kept.get("/", &cookie);
    assert_eq!(
        answer.text(),
        "two",
        "the connection lives, the binding does not"
    );
    assert!(answer.field("set-cookie").is_some());
    assert_eq!(house.pool_sum(|slot| &slot.tokens_old_epoch), 1);
}

#[test]
fn logging_out_ends_the_session() {
    let server = Server::named("one");
    let house = House::with(&[server.address], |pool| {
        pool.http.logout = vec!["/bye".into()]
    });
    let cookie = house.client().get("/", "").cookie();
    let answer = house.client().get("/bye?now", &cookie);
    assert_eq!(answer.status(), 200);
    let set = answer.field("set-cookie").unwrap();
    assert!(set.starts_with("ebbtide_app=; Max-Age=0"), "{set}");
    let answer = house.client().get("/", &cookie);
    assert!(answer.field("set-cookie").is_some());
    assert_eq!(house.pool_sum(|slot| &slot.tokens_ended), 1);
}

#[test]
fn an_ended_session_is_over_on_a_kept_connection_too() {
    let (house, _, _) = two();
    let mut kept = house.client();
    let cookie = kept.get("/", "").cookie();
    assert_eq!(kept.get("/", &cookie).field("set-cookie"), None);
    let session = house
        .sessions
        .list(&house.snapshot, None, 1, |_| true)
        .remove(0);
    house
        .sessions
        .end(&session, EndReason::EndedByOperator, common::clock());
    assert!(kept.get("/", &cookie).field("set-cookie").is_some());
}

#[test]
fn users_and_balancers_are_told_the_truth() {
    let (mut house, one, _) = two();
    let mut client = house.client();
    let none = client.get("/.ebbtide/session", "").text();
    assert!(
        none.contains(r#""state":"none","reason":null,"pool_state":"open","notice":null"#),
        "{none}"
    );
    let cookie = client.get("/", "").cookie();
    let session = client.get("/.ebbtide/session?x", &cookie);
    assert_eq!(session.field("cache-control"), Some("no-store"));
    let text = session.text();
    assert!(text.contains(r#""server":"app/web1","since":"2"#), "{text}");
    assert!(
        text.contains(r#""state":"active","reason":null,"pool_state":"open","notice":null"#),
        "{text}"
    );
    let health = client.get("/.ebbtide/health", "");
    assert_eq!(health.text(), "ACTIVE - 9999 Sessions Available\n");
    house.publish(|_, pool| {
        for server in &mut pool.servers {
            server.standing.reason = ebbtide_core::Reason::LastResort;
        }
    });
    let health = client.get("/.ebbtide/health", "");
    assert_eq!(health.text(), "ON HOLD\n");
    house.publish(|_, pool| {
        for server in &mut pool.servers {
            server.standing = HELD;
        }
        let in_a_minute = common::clock().moment.plus(ebbtide_core::Millis(60_000));
        pool.servers[0].notice = common::drain_notice(in_a_minute);
    });
    let text = client.get("/.ebbtide/session", &cookie).text();
    assert!(
        text.contains(r#""notice":{"kind":"drain","message":null,"ends":"2"#),
        "{text}"
    );
    let left = |seconds: u32| text.contains(&format!("\"seconds_left\":{seconds},"));
    assert!((30..=60).any(left), "{text}");
    let health = client.get("/.ebbtide/health", "");
    assert_eq!(
        (health.status(), health.text().as_str()),
        (503, "ON HOLD\n")
    );
    assert_eq!(client.get("/.ebbtide/other", "").status(), 404);
    client.send("POST /.ebbtide/session HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    let wrong = client.answer();
    assert_eq!(
        (wrong.status(), wrong.field("allow")),
        (405, Some("GET, HEAD"))
    );
    assert_eq!(one.seen(), [get("/", "").lines().next().unwrap()]);
}

#[test]
fn behind_a_trusted_proxy_that_ends_tls_cookies_are_for_tls_only() {
    let server = Server::named("web1");
    let ask = |house: &House, proto: &str| {
        let mut client = house.client();
        client.send(format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: {proto}\r\n\r\n"
        ));
        let answer = client.answer();
        answer.field("set-cookie").expect("a cookie").to_owned()
    };
    let trusting = House::with(&[server.address], |pool| pool.http.forwarded_trusted = true);
    assert!(ask(&trusting, "https").ends_with("; Path=/; Secure"));
    assert!(ask(&trusting, "http").ends_with("; Path=/"));
    let wary = House::new(&[server.address]);
    assert!(ask(&wary, "https").ends_with("; Path=/"));
}
