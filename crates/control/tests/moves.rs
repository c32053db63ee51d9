//! Moving sessions over the control API: what is answered when, and what is refused.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod support;

use ebbtide_api::{
    AuditQuery, Client, ClientError, DrillRequest, ErrorDetail, ErrorKind, MoveRequest,
    MovesReport, OpenDoor, StopRequest,
};
use ebbtide_control::clock;
use ebbtide_core::{
    Attachment, Config, Digest, Fact, Found, Identity, IdentitySource, Moved, Protocol,
    ResourceConfig, SessionId,
};
use std::time::Duration;
use support::{Node, Scratch, config};
use tokio::time::sleep;

const SIZE: u64 = 4096;
const FIRST: &str = "0000000000000001";

/// A pool of protocol nbd, whose copies of `disk` are the same.
async fn node(scratch: &Scratch, servers: u32) -> Node {
    let Config {
        listeners,
        mut pools,
    } = config(servers);
    let pool = &mut pools[0];
    pool.protocol = Protocol::Nbd;
    pool.replicas.source = IdentitySource::Manifest;
    let place = scratch.0.join("{server}.json");
    pool.replicas.manifest = Some(place.to_str().unwrap().into());
    pool.replicas.resources = vec![ResourceConfig::shared("disk")];
    for server in &pool.servers {
        let digest = "07".repeat(32);
        let manifest = format!(
            r#"{{"ebbtide_manifest":1,"files":[{{"name":"disk","size":{SIZE},"blake3":"{digest}"}}]}}"#
        );
        let file = scratch.0.join(format!("{}.json", server.name));
        std::fs::write(file, manifest).unwrap();
    }
    let node = Node::start(Config { listeners, pools }, scratch);
    let client = node.client();
    loop {
        let shown = client.replicas("app").await.unwrap();
        if shown.resources[0].copies.iter().all(|copy| copy.stands_in) {
            return node;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Begins a session that uses `disk`.
fn begin(node: &Node, id: u64, server: &str) {
    node.begin_session(id, server);
    let Found::Live(session) = node.sessions.find(SessionId(id)) else {
        panic!("it has begun");
    };
    session.attach(Attachment {
        resource: "disk".into(),
        began_on: Some(Identity {
            digest: Some(Digest([7; 32])),
            ..Identity::of_size(SIZE)
        }),
    });
}

/// Moves a session, as a worker would.
fn shift(node: &Node, id: u64, server: &str, micros: u64) {
    let Found::Live(session) = node.sessions.find(SessionId(id)) else {
        panic!("it is live");
    };
    let snapshot = node.snapshot();
    let servers = &snapshot.pool_named("app").unwrap().servers;
    let to = servers.iter().find(|view| *view.name == *server).unwrap();
    let place = to.reserve().unwrap();
    node.sessions.shift(&session, place, clock()).unwrap();
    node.inbox.fact(Fact::Moved(Moved {
        session: session.id,
        from: session.server,
        to: to.key,
        pause: Duration::from_micros(micros),
    }));
}

/// Waits for the next order to workers, and takes it: which sessions, where to, and whether cut.
async fn order(node: &Node) -> (Vec<u64>, Option<u32>, bool) {
    loop {
        if let Some(order) = node.orders.lock().unwrap().pop() {
            let sessions = order.sessions.iter().map(|id| id.0).collect();
            return (sessions, order.to.map(|key| key.0), order.cut);
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// The lines of the audit log, the newest first, once there are so many.
async fn audit(client: &Client, count: usize) -> Vec<String> {
    loop {
        let page = client.audit(&AuditQuery::default()).await.unwrap();
        if page.entries.len() >= count {
            let entries = page.entries.into_iter();
            let told =
                entries.map(|line| format!("{} {}: {}", line.action, line.target, line.outcome));
            return told.collect();
        }
        sleep(Duration::from_millis(10)).await;
    }
}

async fn wait_for_reason(client: &Client, server: &str, reason: &str) {
    while client.server("app", server).await.unwrap().standing.reason != reason {
        sleep(Duration::from_millis(10)).await;
    }
}

fn refused(result: Result<MovesReport, ClientError>) -> (u16, ErrorDetail) {
    match result {
        Err(ClientError::Refused { status, error }) => (status, error),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_move_is_answered_when_the_session_is_served_elsewhere() {
    let scratch = Scratch::new();
    let node = node(&scratch, 2).await;
    begin(&node, 1, "web1");
    let client = node.client();
    let moving = tokio::spawn(async move {
        let body = MoveRequest {
            to: Some("app/web2".into()),
            reason: Some("slow".into()),
        };
        client.move_session(FIRST, &body).await.unwrap()
    });
    assert_eq!(order(&node).await, (vec![1], Some(1), false));
    shift(&node, 1, "web2", 1240);
    let report = moving.await.unwrap();
    assert_eq!(
        report.changed.text,
        format!("session {FIRST}: app/web1 -> app/web2, longest pause 1.2 ms")
    );
    assert_eq!((report.moved, report.stayed, report.ended), (1, 0, 0));
    assert_eq!(report.longest_pause_us, Some(1240));
    assert!(report.complete);
    let moved = &report.sessions[0];
    assert_eq!((moved.id.as_str(), moved.pause_us), (FIRST, 1240));
    assert_eq!(
        (moved.from.as_str(), moved.to.as_str()),
        ("app/web1", "app/web2")
    );
    assert_eq!(
        audit(&node.client(), 1).await[0],
        format!("move {FIRST}: session {FIRST} is to move from app/web1 to app/web2")
    );
}

#[tokio::test]
async fn what_cannot_move_is_refused_by_kind() {
    let scratch = Scratch::new();
    let node = node(&scratch, 2).await;
    let client = node.client();
    let to = |to: &str| MoveRequest {
        to: Some(to.into()),
        reason: None,
    };
    let any = MoveRequest::default();
    for (id, body, status, kind, word) in [
        ("nonsense", &any, 404, ErrorKind::NotFound, "sixteen digits"),
        (FIRST, &any, 404, ErrorKind::NotFound, "no session"),
    ] {
        let (code, error) = refused(client.move_session(id, body).await);
        assert_eq!((code, error.kind), (status, kind), "{id}");
        assert!(error.message.contains(word), "{error}");
    }
    begin(&node, 1, "web1");
    for (target, status, kind, word) in [
        ("web2", 422, ErrorKind::Invalid, "pool/server"),
        ("app/web1", 422, ErrorKind::Invalid, "already"),
        ("app/web9", 404, ErrorKind::NotFound, "no server"),
        ("other/web1", 422, ErrorKind::Invalid, "another one"),
    ] {
        let (code, error) = refused(client.move_session(FIRST, &to(target)).await);
        assert_eq!((code, error.kind), (status, kind), "{target}");
        assert!(error.message.contains(word), "{error}");
    }
    client
        .hold("app", "web2", &Default::default())
        .await
        .unwrap();
    let (code, error) = refused(client.move_session(FIRST, &any).await);
    assert_eq!((code, error.kind), (422, ErrorKind::Invalid));
    assert!(error.message.contains("held"), "{error}");
    let (code, error) = refused(client.drill("app", "web1", &DrillRequest::default()).await);
    assert_eq!((code, error.kind), (409, ErrorKind::Guarded));
    assert!(error.message.contains("no server for them"), "{error}");
    let within = DrillRequest {
        within_ms: Some(60_001),
        ..DrillRequest::default()
    };
    assert_eq!(refused(client.drill("app", "web1", &within).await).0, 422);
    assert!(
        node.orders.lock().unwrap().is_empty(),
        "nobody was told to move"
    );
}

#[tokio::test]
async fn a_move_that_does_not_come_to_pass_times_out_and_says_where_the_session_is() {
    let scratch = Scratch::new();
    let node = node(&scratch, 2).await;
    begin(&node, 1, "web1");
    let client = node.client();
    let (code, error) = refused(client.move_session(FIRST, &MoveRequest::default()).await);
    assert_eq!((code, error.kind), (504, ErrorKind::NotMoved));
    assert!(error.message.contains("goes on with app/web1"), "{error}");
}

#[tokio::test]
async fn a_stop_is_a_drain_that_waits_for_those_who_can_leave() {
    let scratch = Scratch::new();
    let node = node(&scratch, 2).await;
    begin(&node, 1, "web1");
    // This one has not said what it wants.
    node.begin_session(2, "web1");
    let client = node.client();
    let stopping = tokio::spawn(async move {
        let body = StopRequest {
            message: Some("Upgrade".into()),
            ..StopRequest::default()
        };
        client.stop("app", "web1", &body).await.unwrap()
    });
    let client = node.client();
    wait_for_reason(&client, "web1", "draining").await;
    let intent = client.server("app", "web1").await.unwrap().intent;
    assert_eq!(intent.message.as_deref(), Some("Upgrade"));
    shift(&node, 1, "web2", 300);
    let report = stopping.await.unwrap();
    assert!(report.complete, "{report:?}");
    assert_eq!((report.moved, report.stayed), (1, 1));
    assert_eq!(report.changed.deadline, intent.deadline);
    let left = intent.deadline.unwrap().0 - intent.since.unwrap().0;
    assert_eq!(left, 600_000, "ten minutes where nobody says");
    let staying = &report.staying[0];
    assert!(staying.why.contains("has not said yet"), "{staying:?}");
    assert!(
        report.changed.text.contains("1 session to go"),
        "{report:?}"
    );
    assert!(audit(&client, 1).await[0].starts_with("stop app/web1: "));
    let (code, error) = refused(client.stop("app", "web2", &StopRequest::default()).await);
    assert_eq!((code, error.kind), (409, ErrorKind::Guarded));
}

#[tokio::test]
async fn a_drill_goes_on_without_whoever_asked_for_it() {
    let scratch = Scratch::new();
    let node = node(&scratch, 2).await;
    begin(&node, 1, "web1");
    let client = node.client();
    let mut events = client.events(None).await.unwrap();
    let asking = tokio::spawn(async move {
        let body = DrillRequest {
            cut: true,
            ..DrillRequest::default()
        };
        client.drill("app", "web1", &body).await
    });
    assert_eq!(order(&node).await, (vec![1], None, true));
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    let client = node.client();
    let server = client.server("app", "web1").await.unwrap();
    assert_eq!(
        (
            server.standing.reason.as_str(),
            server.intent.label.as_str()
        ),
        ("drill", "ready")
    );
    assert!(!server.standing.admits_new && server.standing.serves_own);
    // Nobody makes a drill of a drill.
    let (code, error) = refused(client.drill("app", "web1", &DrillRequest::default()).await);
    assert_eq!((code, error.kind), (409, ErrorKind::Guarded));
    shift(&node, 1, "web2", 41_000);
    wait_for_reason(&client, "web1", "ready").await;
    let told = audit(&client, 2).await;
    assert_eq!(
        told[0],
        "drill end app/web1: drill of app/web1 passed: 1 session moved, longest pause 41.0 ms; it \
         takes new sessions again"
    );
    assert!(
        told[1].starts_with("drill app/web1: a drill of app/web1 begins"),
        "{told:?}"
    );
    let mut told = Vec::new();
    loop {
        let event = events.next().await.unwrap().unwrap();
        if let ebbtide_api::EventKind::DrillEnded {
            passed,
            moved,
            longest_pause_us,
            ..
        } = event.kind
        {
            assert_eq!((passed, moved, longest_pause_us), (true, 1, Some(41_000)));
            break;
        }
        told.push(event.text);
    }
    // In the order in which they happened.
    let last: Vec<&str> = told[told.len() - 2..].iter().map(String::as_str).collect();
    assert_eq!(
        last,
        [
            "session 0000000000000001 moved here from app/web1",
            "standing drill -> ready"
        ]
    );
}

#[tokio::test]
async fn a_drill_without_sessions_proves_nothing_and_is_refused() {
    let scratch = Scratch::new();
    let node = node(&scratch, 2).await;
    let client = node.client();
    let (code, error) = refused(client.drill("app", "web1", &DrillRequest::default()).await);
    assert_eq!((code, error.kind), (409, ErrorKind::Guarded));
    assert!(error.message.contains("would test nothing"), "{error}");
    assert!(audit(&client, 0).await.is_empty());
}

#[tokio::test]
async fn pauses_are_a_histogram() {
    let scratch = Scratch::new();
    let node = node(&scratch, 2).await;
    let snapshot = node.snapshot();
    let slot = snapshot.pool_named("app").unwrap().counters.slot(0);
    for micros in [400, 1_000, 30_000, 90_000_000] {
        slot.pauses_failure.record(Duration::from_micros(micros));
    }
    let (status, text) = node.raw("GET", "/metrics", "", "");
    assert_eq!(status, 200);
    for line in [
        r#"ebbtide_pool_session_pause_seconds_count{pool="app",cause="failure"} 4"#,
        r#"ebbtide_pool_session_pause_seconds_sum{pool="app",cause="failure"} 90.0314"#,
        r#"ebbtide_pool_session_pause_seconds_bucket{le="0.001",pool="app",cause="failure"} 2"#,
        r#"ebbtide_pool_session_pause_seconds_bucket{le="0.05",pool="app",cause="failure"} 3"#,
        r#"ebbtide_pool_session_pause_seconds_bucket{le="+Inf",pool="app",cause="failure"} 4"#,
        r#"ebbtide_pool_session_pause_seconds_count{pool="app",cause="move"} 0"#,
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[tokio::test]
async fn a_door_of_an_nbd_pool_stands_behind_the_name_of_a_resource() {
    let scratch = Scratch::new();
    let node = node(&scratch, 2).await;
    let admin = OpenDoor {
        as_admin: true,
        ..OpenDoor::default()
    };
    let opened = node.client().open_door("app", "web1", &admin).await;
    let Err(ClientError::Refused { status, error }) = opened else {
        panic!("it is refused");
    };
    assert_eq!(status, 422);
    assert!(error.message.contains("for http pools"), "{error:?}");
    assert!(node.client().doors().await.unwrap().doors.is_empty());
    let wish = OpenDoor::default();
    let opened = node.client().open_door("app", "web1", &wish).await.unwrap();
    assert_eq!(opened.path.len(), 1 + 48);
    assert!(opened.path.starts_with(&format!("@{}", opened.id)));
    assert!(!opened.works_once);
    let doors = node.client().doors().await.unwrap().doors;
    assert_eq!((doors.len(), doors[0].connections), (1, 0));
}
