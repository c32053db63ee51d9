//! What users' windows are told: the JSON, the stream of events and the script, over real sockets.

mod common;

use common::{House, Message, PATIENCE, Plan, Server, Wire, get, until};
use ebbtide_core::{
    BlockNew, Closing, Closure, EndReason, Millis, Moment, Notice, NoticeKind, PoolIntent,
    PoolView, Reason, Standing, WallTime,
};
use std::sync::Arc;

const CLOSED: Standing = Standing {
    admits_new: false,
    serves_own: false,
    reason: Reason::Closed,
};
const CLOSING: Standing = Standing {
    admits_new: false,
    serves_own: true,
    reason: Reason::Closing,
};

fn notice(kind: NoticeKind, deadline: Moment, message: &str) -> Option<Arc<Notice>> {
    Some(Arc::new(Notice {
        kind,
        deadline,
        message: Some(message.into()),
        reminders: vec![Millis::from_secs(300), Millis::from_secs(60)],
    }))
}

fn in_seconds(seconds: u64) -> Moment {
    common::clock().moment.plus(Millis::from_secs(seconds))
}

/// The pool closes at `deadline`.
fn close(pool: &mut PoolView, deadline: Moment, message: &str) {
    pool.intent = PoolIntent::Closing(Closing {
        deadline,
        within: Millis::from_secs(600),
        block_new: BlockNew::Now,
        closure: Closure::default(),
    });
    for server in &mut pool.servers {
        server.standing = CLOSING;
        server.notice = notice(NoticeKind::Closing, deadline, message);
    }
}

/// The pool is closed: its deadline has come.
fn shut(pool: &mut PoolView) {
    pool.intent = PoolIntent::Closed(Closure::default());
    for server in &mut pool.servers {
        server.standing = CLOSED;
        server.notice = None;
        server.epoch += 1;
        server.epoch_reason = EndReason::Deadline;
    }
}

/// The events of a stream, one after the other; comments are left out.
struct Events(Wire);

impl Events {
    fn of(house: &House, cookie: &str) -> Self {
        let mut events = Self(house.client());
        events.0.send(get("/.ebbtide/events", cookie));
        let status = events.raw_line();
        assert_eq!(status, "HTTP/1.1 200 OK");
        let head: Vec<String> = std::iter::from_fn(|| Some(events.raw_line()))
            .take_while(|line| !line.is_empty())
            .collect();
        for field in [
            "Content-Type: text/event-stream",
            "Cache-Control: no-store",
            "Connection: close",
        ] {
            assert!(head.iter().any(|line| line == field), "{field} in {head:?}");
        }
        let all = head.join("\n").to_lowercase();
        assert!(!all.contains("access-control"), "{all}");
        assert!(!all.contains("set-cookie"), "{all}");
        let retry = events.raw_line();
        assert!(retry.starts_with("retry: "), "{retry}");
        events
    }

    fn raw_line(&mut self) -> String {
        let line = self.0.line_of_any_end().expect("a line");
        line.trim_end().to_owned()
    }

    /// The name and the data of the next event; `None` when the stream has ended.
    fn next(&mut self) -> Option<(String, String)> {
        let mut name = String::new();
        loop {
            let line = self.0.line_of_any_end()?;
            if let Some(event) = line.strip_prefix("event: ") {
                name = event.trim_end().to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Some((name, data.trim_end().to_owned()));
            }
        }
    }

    #[track_caller]
    fn expect(&mut self, name: &str, parts: &[&str]) -> String {
        let (event, data) = self.next().expect("an event");
        assert_eq!(event, name, "{data}");
        for part in parts {
            assert!(data.contains(part), "{part} in {data}");
        }
        data
    }
}

/// A house with two servers, and a cookie for each of them.
fn two() -> (House, [String; 2]) {
    let (one, other) = (Server::named("one"), Server::named("other"));
    let house = House::new(&[one.address, other.address]);
    let cookie = |_| house.client().get("/", "").cookie();
    let cookies = [0, 1].map(cookie);
    (house, cookies)
}

fn ask(house: &House, cookie: &str) -> Message {
    house.client().get("/.ebbtide/session", cookie)
}

#[test]
fn the_state_is_told_at_once_and_whenever_it_changes() {
    let (mut house, [cookie, _]) = two();
    let mut events = Events::of(&house, &cookie);
    events.expect(
        "state",
        &[
            r#""server":"app/web1""#,
            r#""state":"active""#,
            r#""pool_state":"open","notice":null"#,
        ],
    );
    let deadline = in_seconds(600);
    house.publish(|_, pool| close(pool, deadline, "<b>\"Save\"\n\u{202e}now 🌊"));
    events.expect(
        "state",
        &[
            r#""pool_state":"closing""#,
            r#""kind":"closing","message":"<b>\"Save\"\u000a"#,
            "🌊",
            r#""reminders":[300,60],"new_sessions_blocked":true"#,
        ],
    );
    // Another deadline, then another message, then none of it any more.
    house.publish(|_, pool| close(pool, in_seconds(1200), "Save"));
    let told = events.expect("state", &[r#""message":"Save""#]);
    let asked = ask(&house, &cookie).text();
    let ends = |text: &str| text.split(r#""ends":""#).nth(1).unwrap()[..19].to_owned();
    assert_eq!(ends(&told), ends(&asked), "the same deadline everywhere");
    house.publish(|_, pool| close(pool, in_seconds(1200), "Go"));
    events.expect("state", &[r#""message":"Go""#, r#""expected_end":null"#]);
    house.publish(|_, pool| {
        close(pool, in_seconds(1200), "Go");
        if let PoolIntent::Closing(closing) = &mut pool.intent {
            closing.closure.expected_end = Some(WallTime(1_795_367_481_042));
        }
    });
    events.expect("state", &[r#""expected_end":"2026-11-22T17:11:21.042Z""#]);
    house.publish(|_, pool| {
        pool.intent = PoolIntent::Open;
        for server in &mut pool.servers {
            (server.standing, server.notice) = (common::READY, None);
        }
    });
    events.expect("state", &[r#""pool_state":"open","notice":null"#]);
}

#[test]
fn a_snapshot_that_changes_nothing_for_a_user_tells_nothing() {
    let (mut house, [cookie, other]) = two();
    let (mut here, mut there) = (Events::of(&house, &cookie), Events::of(&house, &other));
    here.expect("state", &[r#""server":"app/web1""#]);
    there.expect("state", &[r#""server":"app/web2""#]);
    // A drain of the other server is not our business.
    house.publish(|_, pool| {
        pool.servers[1].notice = notice(NoticeKind::Drain, in_seconds(600), "bye");
    });
    there.expect(
        "state",
        &[
            r#""kind":"drain","message":"bye""#,
            r#""pool_state":"open""#,
        ],
    );
    house.publish(|_, pool| close(pool, in_seconds(100), "all"));
    here.expect("state", &[r#""kind":"closing","message":"all""#]);
    there.expect("state", &[r#""kind":"closing","message":"all""#]);
}

#[test]
fn at_the_deadline_the_stream_says_so_and_ends() {
    let (mut house, [cookie, _]) = two();
    let mut events = Events::of(&house, &cookie);
    events.expect("state", &[]);
    house.publish(|_, pool| shut(pool));
    let parts = [
        r#""state":"ended","reason":"deadline""#,
        r#""pool_state":"closed""#,
    ];
    events.expect("ended", &parts);
    assert_eq!(events.next(), None);
    let asked = ask(&house, &cookie).text();
    for part in parts {
        assert!(asked.contains(part), "{asked}");
    }
    // Who has no session learns when the pool opens.
    for cookie in ["", "ebbtide_app=x"] {
        let mut waiting = Events::of(&house, cookie);
        waiting.expect("state", &[r#""server":null"#, r#""pool_state":"closed""#]);
        house.publish(|_, pool| {
            pool.intent = PoolIntent::Open;
            pool.servers[0].standing = common::READY;
        });
        waiting.expect("state", &[r#""state":"none""#, r#""pool_state":"open""#]);
        house.publish(|_, pool| shut(pool));
    }
}

#[test]
fn a_deadline_ends_the_stream_even_if_the_driver_sleeps() {
    let (mut house, [cookie, _]) = two();
    house.publish(|_, pool| close(pool, in_seconds(1), "now"));
    let mut events = Events::of(&house, &cookie);
    let told: Vec<_> = std::iter::from_fn(|| events.next()).collect();
    let (name, data) = told.last().expect("an event");
    assert!(
        name == "ended" && data.contains(r#""reason":"deadline""#),
        "{told:?}"
    );
}

#[test]
fn a_reminder_is_told_when_its_time_comes() {
    let (mut house, [cookie, _]) = two();
    let deadline = common::clock().moment.plus(Millis(62_000));
    house.publish(|_, pool| close(pool, deadline, "now"));
    let mut events = Events::of(&house, &cookie);
    let mut left = || {
        let told = events.expect("state", &[]);
        let left = told
            .split(r#""milliseconds_left":"#)
            .nth(1)
            .expect("a notice");
        let digits = left.split(',').next().expect("a number");
        digits.parse::<u64>().expect("a number")
    };
    // On a machine that was busy for two seconds the first event is the reminder.
    assert!(left() <= 60_000 || left() <= 60_000);
}

#[test]
fn nobody_is_told_of_more_time_than_there_is() {
    let (mut house, [cookie, _]) = two();
    // In every part of a second.
    for more in [1, 250, 499, 500, 501, 999] {
        let deadline = common::clock().moment.plus(Millis(600_000 + more));
        house.publish(|_, pool| close(pool, deadline, "now"));
        let answer = house.client().get("/", &cookie);
        let field = answer.field("ebbtide-session-ends").expect("the end");
        let told = ask(&house, &cookie).text();
        let part = |name: &str| {
            let text = told
                .split(&format!("\"{name}\":"))
                .nth(1)
                .expect("it is told");
            text.split(',').next().unwrap().trim_matches('"').to_owned()
        };
        let (seconds, millis): (u64, u64) = (
            part("seconds_left").parse().unwrap(),
            part("milliseconds_left").parse().unwrap(),
        );
        assert!(
            seconds * 1000 <= millis && millis < seconds * 1000 + 1000,
            "{told}"
        );
        // The wall clock and the boot clock are read one after the other: a millisecond between them
        // can be the one in which a second begins.
        let ends = part("ends");
        let is_edge = ends.contains(".000Z") || ends.contains(".001Z") || ends.contains(".999Z");
        assert!(is_edge || field.contains(&ends[11..19]), "{field}, {ends}");
    }
}

#[test]
fn a_session_that_is_ended_by_the_operator_is_told() {
    let (house, [cookie, _]) = two();
    let mut events = Events::of(&house, &cookie);
    events.expect("state", &[]);
    for session in house.live() {
        let (reason, now) = (EndReason::EndedByOperator, common::clock());
        assert!(house.sessions.end(&session, reason, now));
    }
    events.expect("ended", &[r#""reason":"ended-by-operator""#]);
    assert_eq!(events.next(), None);
}

#[test]
fn who_only_asks_is_not_active_and_begins_nothing() {
    let (house, [cookie, _]) = two();
    let activity = |house: &House| {
        let all = house.live();
        let entries = all
            .iter()
            .map(|session| (session.last_activity(), session.requests(), session.open()));
        entries.collect::<Vec<_>>()
    };
    until("both requests are finished", || {
        house.live().iter().all(|session| session.open() == 0)
    });
    let before = activity(&house);
    let started = common::clock().moment;
    until("time passes", || common::clock().moment > started);
    let mut events = Events::of(&house, &cookie);
    events.expect("state", &[]);
    assert_eq!(ask(&house, &cookie).field("set-cookie"), None);
    ask(&house, "");
    assert_eq!(activity(&house), before);
    // Nor does it bring back a session that this node has not seen: a token of another life.
    let (other, _) = two();
    let asked = ask(&other, &cookie).text();
    assert!(asked.contains(r#""server":"app/web1""#), "{asked}");
    assert_eq!(activity(&other).len(), 2);
}

#[test]
fn as_many_streams_as_may_be_and_no_more() {
    let server = Server::named("one");
    let house = House::build(Plan {
        servers: vec![server.address],
        edit: |pool| pool.http.event_streams_max = 2,
        ..Plan::default()
    });
    let cookie = house.client().get("/", "").cookie();
    let mut streams: Vec<Events> = (0..2).map(|_| Events::of(&house, &cookie)).collect();
    let refused = house.client().get("/.ebbtide/events", &cookie);
    assert_eq!(
        (refused.status(), refused.field("retry-after")),
        (503, Some("15"))
    );
    assert!(ask(&house, &cookie).text().contains(r#""state":"active""#));
    drop(streams.pop());
    until("a stream is free again", || {
        house.pool_sum(|slot| &slot.event_streams) == 1
    });
    Events::of(&house, &cookie).expect("state", &[]);
    let head = "HEAD /.ebbtide/events HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut client = house.client();
    client.send(head);
    assert_eq!(client.line().as_deref(), Some("HTTP/1.1 200 OK"));
}

#[test]
fn streams_end_at_once_when_the_program_stops() {
    let (mut house, [cookie, _]) = two();
    let mut events = Events::of(&house, &cookie);
    events.expect("state", &[]);
    // Within the whole grace, which is as long as the patience of this test.
    let grace = Millis(u64::try_from(PATIENCE.as_millis()).unwrap() * 10);
    assert_eq!(house.stop(grace), 0);
    assert_eq!(events.next(), None);
}

#[test]
fn who_floods_a_stream_is_cut_off() {
    let (house, [cookie, _]) = two();
    let mut events = Events::of(&house, &cookie);
    events.expect("state", &[]);
    let mut stream = events.0.stream.try_clone().unwrap();
    // Far more than the kernel's buffers hold.
    let junk = vec![b'x'; 64 * 1024 * 1024];
    assert!(std::io::Write::write_all(&mut stream, &junk).is_err());
    until("it is counted no more", || {
        house.pool_sum(|slot| &slot.event_streams) == 0
    });
}

#[test]
fn the_script_is_cached_for_a_short_time() {
    let (house, _) = two();
    let script = house.client().get("/.ebbtide/notice.js", "");
    assert_eq!(script.status(), 200);
    assert_eq!(
        script.field("content-type"),
        Some("text/javascript; charset=utf-8")
    );
    assert_eq!(script.field("cache-control"), Some("public, max-age=300"));
    assert!(script.complete && script.text().contains("ebbtide:notice"));
    let tag = script.field("etag").expect("an ETag").to_owned();
    let mut client = house.client();
    for known in [
        tag.clone(),
        format!("W/{tag}"),
        format!("\"x\", {tag}"),
        "*".into(),
    ] {
        client.send(format!(
            "GET /.ebbtide/notice.js HTTP/1.1\r\nHost: a\r\nIf-None-Match: {known}\r\n\r\n"
        ));
        let again = client.answer();
        assert_eq!(
            (again.status(), again.field("etag")),
            (304, Some(tag.as_str()))
        );
    }
    for path in ["notice.js", "events", "session"] {
        client.send(format!(
            "POST /.ebbtide/{path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
        ));
        assert_eq!(client.answer().status(), 405);
    }
}

/// Says that the message was read, with these fields after the target.
fn dismiss(house: &House, message: &str, cookie: &str) -> Message {
    let mut client = house.client();
    client.send(format!(
        "POST /.ebbtide/dismiss{message} HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\nContent-Length: 0\r\n\r\n"
    ));
    client.answer()
}

#[test]
fn a_message_is_told_to_its_user_alone_until_they_dismiss_it() {
    let (house, [cookie, other]) = two();
    let (mut here, mut there) = (Events::of(&house, &cookie), Events::of(&house, &other));
    here.expect("state", &[r#""notice":null"#, r#""message":null}"#]);
    there.expect("state", &[r#""message":null}"#]);
    for session in house.live() {
        let is_mine = session.server == house.snapshot.pools[0].servers[0].key;
        let text = if is_mine {
            "<b>\"you\"\nthere"
        } else {
            "not you"
        };
        let message = Arc::new(ebbtide_core::Message {
            at: WallTime(1_795_367_481_042),
            text: text.into(),
            ends: in_seconds(600),
        });
        house.sessions.leave_message(session.id, &message);
    }
    let mine = r#""message":{"id":1795367481042,"text":"<b>\"you\"\u000athere","at":"2026-11-22T17:11:21.042Z"}}"#;
    here.expect("state", &[mine, r#""notice":null"#]);
    there.expect("state", &[r#""text":"not you""#]);
    assert!(ask(&house, &cookie).text().contains(mine));
    assert!(ask(&house, "").text().contains(r#""message":null"#));
    // What is no message of theirs, or not asked for so, changes nothing.
    for wrong in [
        "",
        "?",
        "?message=",
        "?message=x",
        "?message=1",
        "?message=-1795367481042",
    ] {
        let answer = dismiss(&house, wrong, &cookie);
        assert!(answer.text().contains(mine), "{wrong}");
    }
    assert_eq!(dismiss(&house, "?message=1795367481042", "").status(), 200);
    let got = house
        .client()
        .get("/.ebbtide/dismiss?message=1795367481042", &cookie);
    assert_eq!((got.status(), got.field("allow")), (405, Some("POST")));
    assert!(ask(&house, &cookie).text().contains(mine));
    let answer = dismiss(&house, "?message=1795367481042", &cookie);
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    assert!(
        answer.text().contains(r#""message":null"#),
        "{}",
        answer.text()
    );
    // Their other windows are told; other users keep theirs.
    here.expect("state", &[r#""message":null"#]);
    assert!(ask(&house, &other).text().contains("not you"));
}

#[test]
fn a_message_ends_by_time_and_with_its_session() {
    let (house, [cookie, _]) = two();
    let mut events = Events::of(&house, &cookie);
    events.expect("state", &[r#""message":null"#]);
    let message = Arc::new(ebbtide_core::Message {
        at: WallTime(1),
        text: "Soon over".into(),
        ends: in_seconds(4),
    });
    for session in house.live() {
        house.sessions.leave_message(session.id, &message);
    }
    events.expect("state", &[r#""text":"Soon over""#]);
    events.expect("state", &[r#""message":null"#]);
    common::tell_all(&house, 2, "Not for long");
    events.expect("state", &[r#""text":"Not for long""#]);
    for session in house.live() {
        let (reason, now) = (EndReason::EndedByOperator, common::clock());
        assert!(house.sessions.end(&session, reason, now));
    }
    events.expect("ended", &[r#""message":null"#]);
    assert!(ask(&house, &cookie).text().contains(r#""message":null"#));
}
