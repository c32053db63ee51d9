//! Doors: an operator works on a server that is closed to users, and nobody else gets in.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;
use common::{Client, House, MAINTENANCE, Message, Server, clock, door_keys, ok, until};
use ebbtide_core::{
    Credentials, Door, DoorCredentials, DoorId, DoorKeys, Millis, PoolKey, Reason, ServerKey,
    Standing,
};
use std::sync::Arc;

/// Of every server of a pool that admits nobody but operators.
const DOOR_ONLY: Standing = Standing {
    admits_new: false,
    serves_own: false,
    reason: Reason::DoorOnly,
};

/// Opens a door to the first server, and does not enter.
fn open_door(house: &House, as_admin: bool) -> Arc<Door> {
    let until = clock().moment.plus(Millis(600_000));
    let place = (PoolKey(0), ServerKey(0));
    let door = Arc::new(Door::new(
        door_keys(7),
        place,
        until,
        as_admin,
        "ann".into(),
    ));
    house.snapshot.doors.open(Arc::clone(&door));
    door
}

fn enter(client: &mut Client) -> Message {
    let key = door_keys(7).entry_text();
    client.get(&format!("/.ebbtide/enter?key={key}"), "")
}

/// A house in maintenance with an operator inside: the cookie of the door.
fn inside(house: &mut House, as_admin: bool) -> (Client, String, Arc<Door>) {
    house.stand(0, MAINTENANCE);
    let door = open_door(house, as_admin);
    let mut client = house.client();
    let entered = enter(&mut client);
    assert_eq!(entered.status(), 303, "{}", entered.text());
    assert!(!entered.field("set-cookie").unwrap().contains("Secure"));
    let cookie = entered.cookie();
    (client, cookie, door)
}

fn post(client: &mut Client, cookie: &str, fields: &str, form: &str) -> Message {
    client.send(format!(
        "POST /.ebbtide/door HTTP/1.1\r\nHost: test\r\nCookie: {cookie}\r\n{fields}\
         Content-Length: {}\r\n\r\n{form}",
        form.len()
    ));
    client.answer()
}

#[test]
fn an_operator_is_inside_while_users_see_the_gate() {
    let server = Server::named("web1");
    let mut house = House::new(&[server.address]);
    let (mut operator, cookie, _) = inside(&mut house, false);
    let others = "theme=dark; ebbtide_app=x; ebbtide_door_other=of-another-pool";
    let answer = operator.get("/work", &format!("{cookie}; {others}"));
    assert_eq!((answer.status(), answer.text().as_str()), (200, "web1"));
    assert_eq!(answer.field("set-cookie"), None);
    let seen = server.log.lock().unwrap()[0].clone();
    assert_eq!(seen.field("cookie"), Some("theme=dark"));
    assert_eq!(house.client().get("/work", "").status(), 503);
    let sessions = house.sessions.list(&house.snapshot, None, 9, |_| true);
    assert_eq!(sessions.len(), 0, "an operator is no user");
}

#[test]
fn an_address_works_once_and_other_doors_not_at_all() {
    let server = Server::named("web1");
    let mut house = House::new(&[server.address]);
    let (_, cookie, door) = inside(&mut house, false);
    let again = enter(&mut house.client());
    assert_eq!(again.status(), 403);
    assert!(again.text().contains("used already"), "{}", again.text());
    assert_eq!(again.field("set-cookie"), None);
    assert_eq!(again.field("referrer-policy"), Some("no-referrer"));
    let forged = cookie.replace('c', "b");
    let refused = house
        .client()
        .get("/", &format!("ebbtide_door_app={}", &forged[17..]));
    assert_eq!(refused.status(), 403);
    let elsewhere = Arc::new(Door::new(
        DoorKeys {
            id: DoorId(8),
            ..door_keys(8)
        },
        (PoolKey(5), ServerKey(0)),
        door.until,
        false,
        "ann".into(),
    ));
    house.snapshot.doors.open(Arc::clone(&elsewhere));
    let other = format!("ebbtide_door_app={}", elsewhere.cookie_text());
    let refused = house.client().get("/", &other);
    assert_eq!(refused.status(), 403);
    assert!(
        refused.text().contains("another pool"),
        "{}",
        refused.text()
    );
    assert_eq!(house.pool_sum(|slot| &slot.doors_refused), 3);
    assert_eq!(server.seen().len(), 0);
}

#[test]
fn nothing_works_after_the_end_and_the_browser_is_a_users_again() {
    let server = Server::named("web1");
    let mut house = House::new(&[server.address]);
    let (mut operator, cookie, door) = inside(&mut house, false);
    house.snapshot.doors.close(door.id());
    let refused = operator.get("/work", &cookie);
    assert_eq!(refused.status(), 403);
    assert!(refused.field("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(operator.get("/.ebbtide/door", &cookie).status(), 403);
    assert_eq!(server.seen().len(), 0);
}

/// That the door is over, said to whoever shows its cookie or address, which is taken back.
#[track_caller]
fn is_told_that_it_is_over(answer: &Message) {
    assert_eq!(answer.status(), 403, "{}", answer.text());
    assert!(
        answer.text().contains("This door is over"),
        "{}",
        answer.text()
    );
    let taken = answer.field("set-cookie").unwrap();
    assert!(taken.starts_with("ebbtide_door_app=; Max-Age=0"), "{taken}");
}

#[test]
fn without_any_door_old_ones_are_over_and_nobody_becomes_a_user() {
    let server = Server::named("web1");
    let mut house = House::new(&[server.address]);
    let until = clock().moment.plus(Millis(600_000));
    let place = (PoolKey(0), ServerKey(0));
    let old = Door::new(door_keys(7), place, until, false, "ann".into());
    let old = format!("ebbtide_door_app={}", old.cookie_text());
    let mut browser = house.client();
    for cookies in [
        old.clone(),
        format!("theme=dark; {old}"),
        format!("{old}; theme=dark"),
        format!("ebbtide_app=x; {old}"),
        "ebbtide_door_app=forged".to_owned(),
        "ebbtide_door_app=".to_owned(),
    ] {
        is_told_that_it_is_over(&browser.get("/work", &cookies));
    }
    is_told_that_it_is_over(&browser.get("/.ebbtide/door", &old));
    is_told_that_it_is_over(&browser.get("/.ebbtide/door", ""));
    is_told_that_it_is_over(&enter(&mut browser));
    assert_eq!(house.live().len(), 0, "nobody is a user by that");
    house.stand(0, MAINTENANCE);
    is_told_that_it_is_over(&browser.get("/work", &old));
    house.stand(0, common::READY);
    assert_eq!(server.seen().len(), 0);
    let user = browser.get("/work", "theme=dark");
    assert_eq!(user.text(), "web1");
    let token = user.cookie();
    is_told_that_it_is_over(&browser.get("/work", &format!("{token}; {old}")));
    assert_eq!(browser.get("/work", &token).text(), "web1");
    assert_eq!(house.pool_sum(|slot| &slot.doors_refused), 11);
}

#[test]
fn an_address_that_is_none_takes_nobodys_door() {
    let server = Server::named("web1");
    let mut house = House::new(&[server.address]);
    let (mut operator, cookie, _) = inside(&mut house, false);
    let refused = operator.get("/.ebbtide/enter?key=1", &cookie);
    assert_eq!(refused.status(), 403);
    assert_eq!(refused.field("set-cookie"), None, "the other door is open");
    assert_eq!(operator.get("/work", &cookie).text(), "web1");
    let two = format!("ebbtide_door_app=of-another-path; {cookie}");
    assert_eq!(operator.get("/work", &two).text(), "web1");
}

#[test]
fn a_pool_for_operators_says_so_to_strangers() {
    let server = Server::named("web1");
    let mut house = House::with(&[server.address], |pool| {
        pool.balance = ebbtide_core::Balance::DoorOnly;
        pool.contact = Some("Operations, ext. 4455".into());
    });
    house.stand(0, DOOR_ONLY);
    let mut stranger = house.client();
    let mut ask = |fields: &str| {
        stranger.send(format!("GET /work HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        let answer = stranger.answer();
        assert_eq!(answer.status(), 403, "{}", answer.text());
        assert_eq!(answer.field("retry-after"), None);
        assert_eq!(answer.field("cache-control"), Some("no-store"));
        assert!(!answer.text().contains("refresh"), "it does not open");
        answer.text()
    };
    for (language, words) in [
        ("en", "for operators only"),
        ("de", "nur für"),
        ("fr", "réservé"),
        ("es", "reservado"),
        ("ja", "専用"),
        ("zh", "仅供"),
    ] {
        let html = ask(&format!("Accept-Language: {language}\r\n"));
        assert!(
            html.contains(words) && html.contains("ext. 4455"),
            "{language}: {html}"
        );
        assert!(!html.contains("<script"), "{html}");
    }
    let json = ask("Accept: application/json\r\n");
    assert!(json.contains("\"status\":403"), "{json}");
    assert!(json.contains("\"reason\":\"operators-only\""), "{json}");
    assert!(json.contains("\"retry_after\":null"), "{json}");
    let plain = ask("Accept: text/plain\r\n");
    assert!(plain.contains("for operators only"), "{plain}");
    assert_eq!(house.pool_sum(|slot| &slot.refused_unavailable), 0);
}

#[test]
fn what_goes_through_a_door_ends_with_it() {
    let server = Server::scripted(|_, mut wire, _| {
        if wire.message(true).is_some() {
            wire.send("HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
            wire.line();
        }
    });
    let mut house = House::new(&[server.address]);
    let (mut operator, cookie, door) = inside(&mut house, false);
    operator.send(format!(
        "GET /ws HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\nConnection: upgrade\r\n\
         Upgrade: websocket\r\n\r\n"
    ));
    assert_eq!(operator.answer().status(), 101);
    house.publish(|_, pool| pool.servers[0].epoch += 1);
    assert_eq!(
        house.server_sum(0, |slot| &slot.tunnels),
        1,
        "no user's deadline ends it"
    );
    house.snapshot.doors.close(door.id());
    assert_eq!(operator.exactly(2)[0], 0x88, "a close frame");
    until("the end", || house.server_sum(0, |slot| &slot.tunnels) == 0);
}

#[test]
fn a_server_that_is_down_is_tried_and_said_to_be() {
    let mut house = House::new(&[common::dead_address()]);
    let (mut operator, cookie, _) = inside(&mut house, false);
    let answer = operator.get("/work", &cookie);
    assert_eq!((answer.status(), answer.field("refresh")), (502, Some("5")));
    assert!(
        answer.text().contains("/.ebbtide/door"),
        "{}",
        answer.text()
    );
}

#[test]
fn the_holder_switches_servers_and_leaves() {
    let (first, second) = (Server::named("one"), Server::named("two"));
    let mut house = House::new(&[first.address, second.address]);
    let (mut operator, cookie, door) = inside(&mut house, false);
    let page = operator.get("/.ebbtide/door", &cookie).text();
    assert!(
        page.contains("web1") && page.contains("Go to web2"),
        "{page}"
    );
    let form = door.form_text();
    let switch = format!("form={form}&action=switch&server=web2");
    let forged = post(
        &mut operator,
        &cookie,
        "",
        "form=0&action=switch&server=web2",
    );
    assert_eq!(forged.status(), 403);
    let foreign = post(&mut operator, &cookie, "Origin: http://evil\r\n", &switch);
    assert_eq!(foreign.status(), 403);
    let mut operator = house.client();
    assert_eq!(operator.get("/", &cookie).text(), "one");
    let switched = post(&mut operator, &cookie, "Origin: http://test\r\n", &switch);
    assert_eq!(
        (switched.status(), switched.field("location")),
        (303, Some("/"))
    );
    assert_eq!(operator.get("/", &cookie).text(), "two");
    let gone = format!("form={form}&action=switch&server=web9");
    assert_eq!(post(&mut operator, &cookie, "", &gone).status(), 403);
    let left = post(
        &mut operator,
        &cookie,
        "",
        &format!("form={form}&action=leave"),
    );
    assert!(left.field("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(operator.get("/", &cookie).status(), 403);
}

/// What the server saw of one request through a door, with what the browser said itself.
fn seen_with(edit: fn(&mut ebbtide_core::PoolConfig), as_admin: bool, form: &str) -> Message {
    let server = Server::answering(|wire, _| {
        wire.send(ok("seen"));
        true
    });
    let mut house = House::with(&[server.address], edit);
    let (mut operator, cookie, door) = inside(&mut house, as_admin);
    if !form.is_empty() {
        let form = format!("form={}&{form}", door.form_text());
        assert_eq!(post(&mut operator, &cookie, "", &form).status(), 303);
    }
    operator.send(format!(
        "GET / HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\nAuthorization: Basic bWluZQ==\r\n\
         X_Admin-Session: forged\r\n\r\n"
    ));
    assert_eq!(operator.answer().text(), "seen");
    server.log.lock().unwrap()[0].clone()
}

#[test]
fn credentials_reach_the_server_in_place_of_the_browsers() {
    let none = seen_with(|_| {}, false, "");
    assert_eq!(none.field("authorization"), Some("Basic bWluZQ=="));
    let own = seen_with(
        |pool| {
            let credentials = Credentials::basic("Aladdin", "open sesame");
            pool.door.credentials = DoorCredentials::Default(credentials);
        },
        false,
        "",
    );
    let sesame = Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert_eq!(own.field("authorization"), sesame);
    let ask = |pool: &mut ebbtide_core::PoolConfig| pool.door.credentials = DoorCredentials::Ask;
    let asked = seen_with(
        ask,
        false,
        "action=credentials&user=Aladdin&password=open+sesame",
    );
    assert_eq!(asked.field("authorization"), sesame);
    let fields = asked.fields.iter();
    let names = fields.filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    assert_eq!(names.count(), 1);
}

#[test]
fn only_an_administrators_door_says_so() {
    let admin = |pool: &mut ebbtide_core::PoolConfig| {
        pool.door.admin_field = Some(("X-Admin-Session".into(), "1".into()));
    };
    let said = |seen: &Message| {
        let fields = seen.fields.iter();
        let of_admin =
            fields.filter(|(name, _)| name.to_lowercase().replace('_', "-") == "x-admin-session");
        of_admin.map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    assert_eq!(said(&seen_with(admin, true, "")), ["1"]);
    assert_eq!(said(&seen_with(admin, false, "")), [""; 0]);
    let server = Server::named("web1");
    let house = House::with(&[server.address], admin);
    let mut user = house.client();
    user.send("GET / HTTP/1.1\r\nHost: a\r\nx-admin-session: 1\r\n\r\n");
    assert_eq!(user.answer().status(), 200);
    assert_eq!(said(&server.log.lock().unwrap()[0]), [""; 0]);
}
