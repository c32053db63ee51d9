//! The control API end to end: typed client, both sockets, the real driver and store.

mod support;

use ebbtide_api::{
    AddServer, AuditQuery, BlockNew, ClientError, CloseRequest, DrainRequest, EndSessionsRequest,
    ErrorKind, EventKind, HoldRequest, PoolStatus, ReasonQuery, ReasonRequest, RemoveQuery,
    ServerStatus, SessionQuery, SetServer, Timestamp, WaitFor, WaitQuery,
};
use ebbtide_core::{Actor, EndReason, Found, LoadMeasure, LoadSettings, Millis, SessionId};
use support::{Node, Scratch, api, config};

fn refused(result: Result<impl std::fmt::Debug, ClientError>) -> (u16, ebbtide_api::ErrorDetail) {
    match result {
        Err(ClientError::Refused { status, error }) => (status, error),
        other => panic!("not refused: {other:?}"),
    }
}

fn force() -> HoldRequest {
    HoldRequest {
        force: true,
        reason: Some("new disk".into()),
    }
}

fn drain(within_ms: u64) -> DrainRequest {
    DrainRequest {
        within_ms: Some(within_ms),
        message: Some("back at six".into()),
        force: false,
        reason: None,
    }
}

#[tokio::test]
async fn a_server_is_held_and_brought_back_and_a_restart_remembers() {
    let scratch = Scratch::new();
    let mut node = Node::start(config(2), &scratch);
    let client = node.client();
    let held = client
        .hold("app", "web1", &HoldRequest::default())
        .await
        .unwrap();
    assert!(held.text.contains("app/web1"), "{held:?}");
    let server = client.server("app", "web1").await.unwrap();
    assert_eq!(
        (&*server.intent.label, server.standing.admits_new),
        ("hold", false)
    );
    assert!(server.intent.since.is_some());
    drop(client);
    node.stop();

    let node = Node::start(config(2), &scratch);
    let client = node.client();
    // Traffic is watched in windows, of which the first may end between the two.
    let no_traffic = |pool: &mut PoolStatus| {
        for server in &mut pool.servers {
            server.traffic = None;
        }
    };
    let mut status = client.status().await.unwrap();
    assert_eq!(status.node.version, "0.0.0-test");
    assert!(status.node.store.ok);
    let mut pool = client.pool("app").await.unwrap();
    no_traffic(&mut status.pools[0]);
    no_traffic(&mut pool);
    assert_eq!(status.pools[0], pool);
    assert_eq!((pool.admitting, &*pool.listeners[0].name), (1, "web"));
    assert_eq!(pool.servers[0].intent.label, "hold");
    client
        .ready("app", "web1", &HoldRequest::default())
        .await
        .unwrap();
    let back = client.server("app", "web1").await.unwrap();
    assert!(back.standing.admits_new, "{back:?}");
}

#[tokio::test]
async fn a_guard_says_what_would_be_left_and_force_goes_past_it_into_the_audit_log() {
    let scratch = Scratch::new();
    let node = Node::start(config(1), &scratch);
    let client = node.client();
    let (status, error) = refused(client.hold("app", "web1", &HoldRequest::default()).await);
    assert_eq!((status, error.kind), (409, ErrorKind::Guarded));
    assert_eq!((error.would_leave, error.minimum), (Some(vec![]), Some(1)));
    client.hold("app", "web1", &force()).await.unwrap();
    let audit = client.audit(&AuditQuery::default()).await.unwrap();
    let line = &audit.entries[0];
    assert!(line.forced, "{line:?}");
    assert_eq!(
        (&*line.target, line.reason.as_deref()),
        ("app/web1", Some("new disk"))
    );
    assert_eq!(line.from, "the UNIX socket");
    assert!(!line.who.is_empty());
}

#[tokio::test]
async fn a_drain_is_waited_for_until_its_last_session_has_left() {
    let scratch = Scratch::new();
    let node = Node::start(config(2), &scratch);
    node.begin_session(1, "web1");
    let client = node.client();
    let changed = client.drain("app", "web1", &drain(600_000)).await.unwrap();
    let server = client.server("app", "web1").await.unwrap();
    // Both clocks are read one after the other, so the last millisecond may differ.
    let deadlines = [changed.deadline, server.intent.deadline].map(|time| time.unwrap().0);
    assert!(deadlines[0].abs_diff(deadlines[1]) <= 1, "{deadlines:?}");
    assert_eq!(server.intent.message.as_deref(), Some("back at six"));
    let query = |what, timeout_ms| WaitQuery {
        what,
        timeout_ms: Some(timeout_ms),
    };
    let early = client
        .wait("app", "web1", &query(WaitFor::Drained, 1))
        .await;
    let early = early.unwrap();
    assert!(!early.reached);
    assert_eq!(early.server.sessions.all(), 1);

    let waiting = tokio::spawn(async move {
        let query = query(WaitFor::Drained, 60_000);
        client.wait("app", "web1", &query).await.unwrap()
    });
    let now = ebbtide_control::clock();
    node.sessions
        .end_by_id(SessionId(1), EndReason::LoggedOut, now)
        .unwrap();
    let done = waiting.await.unwrap();
    assert!(done.reached);
    let ready = node.client();
    let other = ready.wait("app", "web2", &query(WaitFor::Ready, 0)).await;
    assert!(other.unwrap().reached);
}

#[tokio::test]
async fn a_peak_load_is_set_live_and_a_restart_remembers_what_it_was() {
    let scratch = Scratch::new();
    let read = || {
        let mut config = config(1);
        // Nobody is there, which changes nothing here.
        let load = LoadSettings {
            exporter: "http://127.0.0.1:9/".into(),
            by: LoadMeasure::Greatest,
            sessions_max: None,
            every: Millis(3_600_000),
            timeout: Millis(50),
        };
        config.pools[0].load = Some(load);
        config
    };
    let mut node = Node::start(read(), &scratch);
    let client = node.client();
    let peak = |percent, force| SetServer {
        peak_load: Some(percent),
        force,
        ..SetServer::default()
    };
    let set = async |change: SetServer| client.set_server("app", "web1", &change).await;
    let (status, error) = refused(set(peak(Some(101), false)).await);
    assert_eq!(status, 422, "{error}");
    let text = set(peak(Some(60), false)).await.unwrap().text;
    assert!(text.contains("peak_load 60"), "{text}");
    let (status, error) = refused(set(peak(Some(0), false)).await);
    assert_eq!((status, error.kind), (409, ErrorKind::Guarded), "the last");
    let text = set(peak(Some(0), true)).await.unwrap().text;
    assert!(text.contains("before: peak_load 60"), "{text}");
    drop(client);
    node.stop();

    let node = Node::start(read(), &scratch);
    let client = node.client();
    let server = async || client.server("app", "web1").await.unwrap();
    let peaks = |server: &ServerStatus| (server.peak_load, server.peak_load_before);
    assert_eq!(peaks(&server().await), (Some(0), Some(60)));
    assert_eq!(server().await.standing.reason, "peak-zero");
    let back = SetServer {
        peak_load_back: true,
        ..SetServer::default()
    };
    client.set_server("app", "web1", &back).await.unwrap();
    assert_eq!(peaks(&server().await), (Some(60), None));
    let (status, error) = refused(client.set_server("app", "web1", &back).await);
    assert_eq!(status, 422);
    assert!(error.message.contains("nothing to go back to"), "{error}");
    let none = peak(None, false);
    let none = client.set_server("app", "web1", &none).await.unwrap();
    assert!(none.text.contains("no peak_load"), "{}", none.text);
}

#[tokio::test]
async fn servers_come_go_and_change_live() {
    let scratch = Scratch::new();
    let node = Node::start(config(1), &scratch);
    let client = node.client();
    let new = AddServer {
        address: "127.0.0.1:9100".into(),
        weight: Some(3),
        max_sessions: Some(4),
        reason: None,
    };
    client.add_server("app", "extra", &new).await.unwrap();
    let set = SetServer {
        max_sessions: Some(None),
        ..SetServer::default()
    };
    client.set_server("app", "extra", &set).await.unwrap();
    let server = client.server("app", "extra").await.unwrap();
    assert!(server.live);
    assert_eq!((server.weight, server.max_sessions), (3, None));
    let reset = SetServer {
        reset: true,
        ..SetServer::default()
    };
    client.set_server("app", "extra", &reset).await.unwrap();
    let server = client.server("app", "extra").await.unwrap();
    assert_eq!((server.weight, server.max_sessions), (3, Some(4)));
    let removed = RemoveQuery {
        force: true,
        reason: Some("a & b = c?".into()),
    };
    client
        .remove_server("app", "extra", &removed)
        .await
        .unwrap();
    let (status, error) = refused(client.server("app", "extra").await);
    assert_eq!((status, error.kind), (404, ErrorKind::NotFound));
    let audit = client.audit(&AuditQuery::default()).await.unwrap();
    assert_eq!(audit.entries[0].reason.as_deref(), Some("a & b = c?"));
    let mut bad = new;
    bad.address = "127.0.0.1".into();
    let (status, error) = refused(client.add_server("app", "extra", &bad).await);
    assert_eq!(status, 422);
    assert!(error.message.contains("no port"), "{error}");
    bad.address = "127.0.0.1:8080".into();
    let (status, error) = refused(client.add_server("app", "extra", &bad).await);
    assert_eq!(status, 422);
    let why = "127.0.0.1:8080 leads back here, to listener web";
    assert!(error.message.contains(why), "{error}");
}

#[tokio::test]
async fn sessions_are_listed_in_pages_and_ended() {
    let scratch = Scratch::new();
    let node = Node::start(config(2), &scratch);
    for id in 1..=5 {
        node.begin_session(id, if id % 2 == 0 { "web2" } else { "web1" });
    }
    let client = node.client();
    let mut query = SessionQuery {
        pool: Some("app".into()),
        server: Some("web1".into()),
        active: true,
        limit: Some(2),
        ..SessionQuery::default()
    };
    let first = client.sessions(&query).await.unwrap();
    query.after = first.next.clone();
    let second = client.sessions(&query).await.unwrap();
    let ids = |page: &ebbtide_api::SessionPage| -> Vec<String> {
        page.sessions.iter().map(|one| one.id.clone()).collect()
    };
    assert_eq!(ids(&first), ["0000000000000001", "0000000000000003"]);
    assert_eq!(ids(&second), ["0000000000000005"]);
    assert_eq!(second.next, None);
    assert_eq!(second.sessions[0].client.as_deref(), Some("192.0.2.7"));

    let reason = ReasonQuery::default();
    client
        .end_session("0000000000000003", &reason)
        .await
        .unwrap();
    let (status, _) = refused(client.end_session("0000000000000003", &reason).await);
    assert_eq!(status, 404);
    let (status, _) = refused(client.end_session("three", &reason).await);
    assert_eq!(status, 404);
    let all = client.sessions(&SessionQuery::default()).await.unwrap();
    assert_eq!(all.sessions.len(), 4);
    query.limit = Some(1001);
    assert_eq!(refused(client.sessions(&query).await).0, 422);
    query.pool = None;
    query.limit = None;
    assert_eq!(refused(client.sessions(&query).await).0, 422);
}

#[tokio::test]
async fn sessions_are_found_by_user_and_words_and_ended_together() {
    let scratch = Scratch::new();
    let node = Node::start(config(2), &scratch);
    for id in 1..=6 {
        node.begin_session(id, if id % 2 == 0 { "web2" } else { "web1" });
        if let Found::Live(session) = node.sessions.find(SessionId(id)) {
            session.name_user(match id {
                1..=3 => "bob",
                4 => "Bobby Öztürk",
                _ => "Bobby Tables",
            });
        }
    }
    let client = node.client();
    let count = async |query: SessionQuery| client.sessions(&query).await.unwrap().sessions.len();
    let user = |name: &str| SessionQuery {
        user: Some(name.into()),
        ..SessionQuery::default()
    };
    let search = |text: &str| SessionQuery {
        search: Some(text.into()),
        ..SessionQuery::default()
    };
    assert_eq!(count(user("bob")).await, 3);
    assert_eq!(count(search("BOB")).await, 6);
    assert_eq!(count(search("ÖZTÜRK")).await, 1);
    assert_eq!(count(search("000000004")).await, 1);
    assert_eq!(count(search("192.0.2")).await, 6);

    let nothing = client.end_sessions(&EndSessionsRequest::default()).await;
    assert_eq!(refused(nothing).0, 422);
    let all_idle = EndSessionsRequest {
        idle: true,
        ..EndSessionsRequest::default()
    };
    assert_eq!(refused(client.end_sessions(&all_idle).await).0, 422);
    let of_bob = EndSessionsRequest {
        user: Some("bob".into()),
        pool: Some("app".into()),
        server: Some("web1".into()),
        ..EndSessionsRequest::default()
    };
    let done = client.end_sessions(&of_bob).await.unwrap();
    assert_eq!(done.changed.text, "2 sessions were ended");
    assert_eq!(done.unknown, Vec::<String>::new());
    assert_eq!(refused(client.end_sessions(&of_bob).await).0, 404);
    let ids = EndSessionsRequest {
        ids: vec!["0000000000000004".into(), "0000000000000001".into()],
        ..EndSessionsRequest::default()
    };
    let done = client.end_sessions(&ids).await.unwrap();
    let text = "session 0000000000000004 on app/web2 was ended";
    assert_eq!(done.changed.text, text);
    assert_eq!(done.unknown, ["0000000000000001"]);
    let ended = SessionQuery {
        ended: true,
        ..SessionQuery::default()
    };
    let ended = client.sessions(&ended).await.unwrap().sessions;
    assert_eq!(ended.len(), 3);
    assert_eq!(ended[0].ended.as_deref(), Some("ended-by-operator"));
    assert_eq!(count(SessionQuery::default()).await, 3);
}

#[tokio::test]
async fn after_a_restart_nothing_is_invented_of_a_session_that_had_ended() {
    let scratch = Scratch::new();
    let mut node = Node::start(config(1), &scratch);
    node.begin_session(7, "web1");
    let reason = ReasonQuery::default();
    let id = "0000000000000007";
    node.client().end_session(id, &reason).await.unwrap();
    node.stop();
    let node = Node::start(config(1), &scratch);
    let query = SessionQuery {
        ended: true,
        ..SessionQuery::default()
    };
    let ended = node.client().sessions(&query).await.unwrap().sessions;
    let [session] = &ended[..] else {
        panic!("{ended:?}");
    };
    assert_eq!((&*session.id, &*session.server), (id, "web1"));
    assert_eq!(session.ended.as_deref(), Some("ended-by-operator"));
    assert_eq!((&session.client, session.started), (&None, None));
    assert_eq!((session.quiet_ms, session.requests), (None, None));
    let search = SessionQuery {
        search: Some("0.0.0.0".into()),
        ..query
    };
    let found = node.client().sessions(&search).await.unwrap();
    assert!(found.sessions.is_empty(), "{found:?}");
    // Those from before that are still alive are not known yet.
    let pool = node.client().pool("app").await.unwrap();
    assert!(pool.counting_until.is_some());
}

#[tokio::test]
async fn a_pool_is_closed_and_opened() {
    let scratch = Scratch::new();
    let node = Node::start(config(2), &scratch);
    let client = node.client();
    let close = |request: CloseRequest| {
        let client = client.clone();
        async move { client.close("app", &request).await }
    };
    assert_eq!(refused(close(CloseRequest::default()).await).0, 422);
    let past = CloseRequest {
        at: Some(Timestamp(1_000)),
        ..CloseRequest::default()
    };
    let (status, error) = refused(close(past).await);
    assert_eq!(status, 422);
    assert!(error.message.contains("not in the future"), "{error}");
    let both = CloseRequest {
        at: Some(Timestamp(u64::MAX / 2)),
        within_ms: Some(1),
        ..CloseRequest::default()
    };
    assert_eq!(refused(close(both).await).0, 422);
    let week_ms = 7 * 24 * 3_600_000;
    let far = CloseRequest {
        at: Some(Timestamp(
            ebbtide_control::clock().wall.0 + week_ms + 60_000,
        )),
        ..CloseRequest::default()
    };
    let (status, error) = refused(close(far).await);
    assert_eq!(status, 422);
    assert!(error.message.contains("is too far away"), "{error}");
    assert!(!error.message.contains("--within"), "{error}");
    let long = CloseRequest {
        within_ms: Some(60_000),
        message: Some("x".repeat(10_000)),
        ..CloseRequest::default()
    };
    assert_eq!(refused(close(long).await).0, 422);

    let done = close(CloseRequest {
        within_ms: Some(600_000),
        message: Some("<b>\u{5e9}\u{5dc}\u{5d5}\u{5dd} \u{1f6a7}</b>".into()),
        lasting_ms: Some(3_600_000),
        block_new: Some(BlockNew::AtDeadline),
        ..CloseRequest::default()
    });
    let deadline = done.await.unwrap().deadline.unwrap();
    let pool = client.pool("app").await.unwrap();
    assert_eq!(pool.intent.label, "closing");
    assert_eq!(pool.intent.deadline, Some(deadline));
    assert_eq!(pool.intent.expected_end.unwrap().0, deadline.0 + 3_600_000);
    assert!(!pool.intent.blocks_new);
    assert!(pool.servers[0].standing.admits_new);
    let open = client.open("app", &ReasonRequest::default()).await.unwrap();
    assert!(open.text.contains("its closing is off"), "{}", open.text);
    let nowhere = client.open("nowhere", &ReasonRequest::default()).await;
    assert_eq!(refused(nowhere).0, 404);
}

#[tokio::test]
async fn events_are_told_and_told_again_from_where_a_listener_left_off() {
    let scratch = Scratch::new();
    let node = Node::start(config(2), &scratch);
    let client = node.client();
    let mut events = client.events(None).await.unwrap();
    client
        .hold("app", "web1", &HoldRequest::default())
        .await
        .unwrap();
    let mut seen = Vec::new();
    let held = loop {
        let event = events.next().await.unwrap().unwrap();
        seen.push(event.clone());
        if matches!(&event.kind, EventKind::Intent { to, .. } if to == "hold") {
            break event;
        }
    };
    assert_eq!(held.server.as_deref(), Some("app/web1"));
    let mut again = client.events(Some(held.id - 1)).await.unwrap();
    assert_eq!(again.next().await.unwrap().unwrap(), held);
    // A number from before a restart: everything of this run.
    let mut all = client.events(Some(1_000_000)).await.unwrap();
    assert_eq!(all.next().await.unwrap().unwrap().id, 1);
}

#[tokio::test]
async fn whoever_asks_for_events_that_are_gone_learns_how_many() {
    let scratch = Scratch::new();
    let node = Node::start(config(2), &scratch);
    let client = node.client();
    let mut events = client.events(None).await.unwrap();
    for id in 1..=1100 {
        node.begin_session(id, "web2");
    }
    // The first listener keeps up, or is told too; either way it sees the last one.
    let mut told = 0;
    while told < 1100 {
        let event = events.next().await.unwrap().unwrap();
        told = event.id;
    }
    let mut late = client.events(Some(0)).await.unwrap();
    let first = late.next().await.unwrap().unwrap();
    let EventKind::Missed { count } = first.kind else {
        panic!("not told of what was missed: {first:?}");
    };
    assert!(count >= 1100 - 1024, "{count}");
    assert_eq!(late.next().await.unwrap().unwrap().id, count + 1);
}

#[tokio::test]
async fn a_reload_changes_what_exists_and_a_mistake_changes_nothing() {
    let scratch = Scratch::new();
    let node = Node::start(config(2), &scratch);
    let client = node.client();
    client
        .hold("app", "web1", &HoldRequest::default())
        .await
        .unwrap();
    *node.file.lock().unwrap() = Err("line 3, column 5: no such key".into());
    let (status, error) = refused(client.reload(&ReasonRequest::default()).await);
    assert_eq!(status, 422);
    assert_eq!(error.message, "line 3, column 5: no such key");
    *node.file.lock().unwrap() = Ok(config(3));
    let changed = client.reload(&ReasonRequest::default()).await.unwrap();
    assert!(!changed.changes.is_empty());
    let pool = client.pool("app").await.unwrap();
    assert_eq!(pool.servers.len(), 3);
    assert_eq!(pool.servers[0].intent.label, "hold");
    let answer = node.inbox.reload(Actor::ebbtide()).await.unwrap();
    assert!(answer.changes.is_empty(), "{answer:?}");
}

#[tokio::test]
async fn rotating_the_token_secret_keeps_the_one_before() {
    let scratch = Scratch::new();
    let node = Node::start(config(1), &scratch);
    let before = node.snapshot().token_secrets.clone();
    node.client()
        .rotate_token_secret(&ReasonRequest::default())
        .await
        .unwrap();
    let after = node.snapshot().token_secrets.clone();
    assert_ne!(after.current, before.current);
    assert!(after.previous == Some(before.current));
}

#[tokio::test]
async fn nobody_at_the_socket_says_what_to_do() {
    let scratch = Scratch::new();
    let client = ebbtide_api::Client::unix(scratch.0.join("admin.sock"));
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable(_)));
    assert!(error.to_string().contains("ebbtide run"), "{error}");
}

#[test]
fn a_node_is_ready_when_every_worker_has_taken_a_snapshot() {
    let scratch = Scratch::new();
    let node = Node::with_workers(config(1), &scratch, 2);
    assert_eq!(node.raw("GET", "/livez", "", ""), (200, "ok\n".into()));
    let (status, body) = node.raw("GET", "/readyz", "", "");
    assert_eq!(status, 503);
    assert!(body.contains("worker"), "{body}");
    let (worker, generation) = (1, node.snapshot().generation);
    node.inbox
        .fact(ebbtide_core::Fact::Acknowledged { worker, generation });
    // A status is given out again for a moment, so that asking without end costs little.
    let ready = (200, "ready\n".to_owned());
    while node.raw("GET", "/readyz", "", "") != ready {}
}

#[tokio::test]
async fn a_node_that_stops_is_not_ready_shows_it_and_refuses_changes_at_once() {
    let scratch = Scratch::new();
    let node = Node::start(config(2), &scratch);
    let client = node.client();
    assert!(!client.status().await.unwrap().node.stopping);
    node.control.as_ref().unwrap().stopping();
    let (status, body) = node.raw("GET", "/readyz", "", "");
    assert_eq!(status, 503);
    assert!(body.contains("\"stopping\""), "{body}");
    assert!(client.status().await.unwrap().node.stopping);
    let reason = ReasonRequest::default();
    let (status, error) = refused(client.reload(&reason).await);
    assert_eq!((status, error.kind), (503, ErrorKind::Stopping));
    let (status, error) = refused(client.hold("app", "web1", &HoldRequest::default()).await);
    assert_eq!((status, error.kind), (503, ErrorKind::Stopping));
    assert!(error.message.contains("Ebbtide is stopping"), "{error}");
    let server = client.server("app", "web1").await.unwrap();
    assert_eq!(server.intent.label, "ready");
}

#[tokio::test]
async fn nobody_waits_for_the_drain_of_a_server_that_is_ready() {
    let scratch = Scratch::new();
    let node = Node::start(config(2), &scratch);
    node.begin_session(1, "web1");
    let client = node.client();
    client.drain("app", "web1", &drain(600_000)).await.unwrap();
    let waiting = tokio::spawn(async move {
        let query = WaitQuery {
            what: WaitFor::Drained,
            timeout_ms: Some(60_000),
        };
        client.wait("app", "web1", &query).await.unwrap()
    });
    let other = node.client();
    other
        .ready("app", "web1", &HoldRequest::default())
        .await
        .unwrap();
    let answer = waiting.await.unwrap();
    assert!(!answer.reached);
    assert_eq!(answer.server.intent.label, "ready");
}

#[test]
fn what_is_wrong_with_an_address_is_said_plainly_and_in_the_one_shape() {
    let scratch = Scratch::new();
    let node = Node::start(config(1), &scratch);
    for (path, says) in [
        ("/sessions?limit=many", "limit: invalid digit"),
        ("/sessions?colour=red", "unknown field `colour`"),
        ("/servers/app/web1/wait", "missing field `for`"),
        ("/servers/app/web1/wait?for=godot", "godot"),
        ("/servers/app/%ff", "UTF-8"),
        ("/pools/%ff", "UTF-8"),
    ] {
        let path = api(path);
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let (status, body) = node.raw_unix(&request);
        assert_eq!(status, 400, "{path}: {body}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains(says), "{path}: {message}");
        assert!(!message.contains("eserialize"), "{path}: {message}");
    }
}

#[test]
fn metrics_name_servers_and_no_users() {
    let scratch = Scratch::new();
    let node = Node::start(config(2), &scratch);
    node.begin_session(0xfeed, "web2");
    let (status, text) = node.raw("GET", "/metrics", "", "");
    assert_eq!(status, 200);
    for line in [
        "# HELP ebbtide_server_requests Requests sent to the server; a retry counts again",
        "# TYPE ebbtide_server_requests counter",
        "ebbtide_server_requests_total{pool=\"app\",server=\"web1\"} 0",
        "ebbtide_server_responses_total{pool=\"app\",server=\"web2\",class=\"5xx\"} 0",
        "# UNIT ebbtide_server_sent_bytes bytes",
        "ebbtide_server_sent_bytes_total{pool=\"app\",server=\"web1\"} 0",
        "ebbtide_server_sessions{pool=\"app\",server=\"web2\",state=\"active\"} 1",
        "ebbtide_server_intent{pool=\"app\",server=\"web1\",intent=\"ready\"} 1",
        "ebbtide_pool_tokens_refused_total{pool=\"app\",reason=\"forged\"} 0",
        "ebbtide_build_info{version=\"0.0.0-test\"} 1",
        "ebbtide_generation 1",
        "# EOF",
    ] {
        assert!(
            text.lines().any(|known| known == line),
            "{line}\nis not in\n{text}"
        );
    }
    assert!(!text.contains("feed") && !text.contains("192.0.2.7"));
    let reference = ebbtide_control::metrics_reference();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        assert!(reference.contains(&format!("`{name}`")), "{name}");
    }
}

#[tokio::test]
async fn the_description_is_served_as_it_is_generated() {
    let scratch = Scratch::new();
    let node = Node::start(config(1), &scratch);
    let served = node.client().openapi().await.unwrap();
    let generated: serde_json::Value = serde_json::from_str(&ebbtide_control::openapi()).unwrap();
    assert_eq!(served, generated);
    assert_eq!(served["servers"][0]["url"], api(""));
    let token = &served["components"]["schemas"]["NewToken"];
    let fields = serde_json::json!(["name", "role", "created", "secret"]);
    assert_eq!(token["required"], fields);
}

#[tokio::test]
async fn a_worker_that_does_not_take_a_change_is_told_of_and_the_change_is_kept() {
    let scratch = Scratch::new();
    let mut node = Node::with_workers(config(2), &scratch, 2);
    let client = node.client();
    let (status, error) = refused(client.hold("app", "web1", &HoldRequest::default()).await);
    assert_eq!((status, error.kind), (504, ErrorKind::Unacknowledged));
    drop(client);
    node.stop();
    let node = Node::start(config(2), &scratch);
    let server = node.client().server("app", "web1").await.unwrap();
    assert_eq!(server.intent.label, "hold");
}

#[test]
fn a_reload_by_signal_waits_for_its_answer() {
    let scratch = Scratch::new();
    let node = Node::start(config(1), &scratch);
    *node.file.lock().unwrap() = Ok(config(2));
    let control = node.control.as_ref().unwrap();
    let answer = control.reload(Actor::ebbtide()).unwrap();
    assert!(!answer.changes.is_empty(), "{answer:?}");
    *node.file.lock().unwrap() = Err("line 1: what is this?".into());
    let refusal = control.reload(Actor::ebbtide()).unwrap_err();
    assert_eq!(refusal.text, "line 1: what is this?");
}
