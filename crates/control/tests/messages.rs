//! Messages to the users of single sessions, through the control API.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod support;

use ebbtide_api::{
    AuditEntry, AuditQuery, Client, ClientError, CreateToken, Role, TellSessionsRequest,
};
use ebbtide_control::clock;
use ebbtide_core::{Found, PoolConfig, Protocol, ServerConfig, SessionId};
use support::{Node, Scratch, api, config};

fn tell(message: &str) -> TellSessionsRequest {
    TellSessionsRequest {
        message: message.into(),
        ..TellSessionsRequest::default()
    }
}

fn ids(ids: &[u64]) -> TellSessionsRequest {
    TellSessionsRequest {
        ids: ids.iter().map(|id| format!("{id:016x}")).collect(),
        ..tell("Please call 4455")
    }
}

fn refused(result: Result<impl std::fmt::Debug, ClientError>) -> (u16, String) {
    match result {
        Err(ClientError::Refused { status, error }) => (status, error.message),
        other => panic!("not refused: {other:?}"),
    }
}

/// What the user of a session is told.
fn read(node: &Node, id: u64) -> Option<String> {
    let Found::Live(session) = node.sessions.find(SessionId(id)) else {
        panic!("there is no session {id}");
    };
    let message = session.message(clock().moment)?;
    Some(message.text.clone())
}

async fn told(client: &Client) -> Vec<AuditEntry> {
    let audit = client.audit(&AuditQuery::default()).await.unwrap();
    let mut lines = audit.entries;
    lines.retain(|line| line.action == "sessions tell");
    lines
}

#[tokio::test]
async fn a_message_is_left_for_whom_it_is_meant_and_the_audit_log_says_so() {
    let scratch = Scratch::new();
    let node = Node::start(config(2), &scratch);
    for id in 1..=4 {
        node.begin_session(id, if id % 2 == 0 { "web2" } else { "web1" });
        if let Found::Live(session) = node.sessions.find(SessionId(id)) {
            session.name_user(if id == 4 { "carla" } else { "bob" });
        }
    }
    let client = node.client();
    let one = TellSessionsRequest {
        reason: Some("ticket 7".into()),
        ..ids(&[1])
    };
    let done = client.tell_sessions(&one).await.unwrap();
    assert_eq!(
        done.changed.text,
        "the message was left for session 0000000000000001; users see it at once in pages that have \
         the notice's script, others on their next page"
    );
    assert_eq!((done.told, done.untold, done.unknown), (1, vec![], vec![]));
    let texts = |node: &Node| [1, 2, 3, 4].map(|id| read(node, id));
    let call = || Some("Please call 4455".to_owned());
    assert_eq!(texts(&node), [call(), None, None, None]);
    let [line] = &told(&client).await[..] else {
        panic!("one line");
    };
    assert_eq!(line.reason.as_deref(), Some("ticket 7"));
    assert_eq!(line.target, "0000000000000001");
    assert_eq!(
        line.outcome,
        "left for session 0000000000000001 on app/web1: Please call 4455"
    );

    let bob_at_web1 = TellSessionsRequest {
        pool: Some("app".into()),
        server: Some("web1".into()),
        user: Some("bob".into()),
        lasting_ms: Some(3_600_000),
        ..tell("<b>Line one</b>\r\nline two ")
    };
    let done = client.tell_sessions(&bob_at_web1).await.unwrap();
    assert_eq!(done.told, 2);
    let two = || Some("<b>Line one</b>\nline two".to_owned());
    assert_eq!(texts(&node), [two(), None, two(), None]);
    let outcome = &told(&client).await[0].outcome;
    assert_eq!(
        outcome,
        "left for 2 sessions on app/web1: <b>Line one</b> / line two"
    );
    // Who is not there is named; the others are told.
    let done = client.tell_sessions(&ids(&[4, 9])).await.unwrap();
    assert_eq!(
        (done.told, done.unknown),
        (1, vec!["0000000000000009".into()])
    );
    assert_eq!(read(&node, 4), call());
}

#[tokio::test]
async fn what_cannot_be_said_is_refused_and_nobody_is_told() {
    let scratch = Scratch::new();
    let node = Node::start(config(1), &scratch);
    node.begin_session(1, "web1");
    let client = node.client();
    let said = |message: &str| TellSessionsRequest {
        message: message.into(),
        ..ids(&[1])
    };
    let long = "x".repeat(1001);
    for (wrong, says) in [
        (said(" \r\n "), "empty"),
        (said(&long), "longer than 1000"),
        (said("a\tb"), "control characters"),
        (said("a\u{202e}b"), "direction"),
        (tell("Hello"), "say which sessions"),
        (
            TellSessionsRequest {
                search: Some(" ".into()),
                ..tell("Hello")
            },
            "search: is empty",
        ),
        (
            TellSessionsRequest {
                idle: true,
                ..tell("Hello")
            },
            "say which sessions",
        ),
        (
            TellSessionsRequest {
                lasting_ms: Some(1),
                ..ids(&[1])
            },
            "1m to 24h",
        ),
        (ids(&(0..1001).collect::<Vec<_>>()), "at most 1000"),
    ] {
        let (status, text) = refused(client.tell_sessions(&wrong).await);
        assert_eq!(status, 422, "{text}");
        assert!(text.contains(says), "{says}: {text}");
    }
    let (status, text) = refused(client.tell_sessions(&ids(&[7])).await);
    assert_eq!(status, 404, "{text}");
    let (status, _) = node.raw("POST", &api("/sessions/tell"), "", "{}");
    assert_eq!(status, 401);
    let body = CreateToken {
        name: "vera".into(),
        role: Role::Viewer,
        reason: None,
    };
    let viewer = client.create_token(&body).await.unwrap().secret;
    let (status, text) = refused(node.over_tcp(&viewer).tell_sessions(&ids(&[1])).await);
    assert_eq!(status, 403, "{text}");
    assert_eq!(read(&node, 1), None);
    assert_eq!(told(&client).await, []);
    assert!(client.tell_sessions(&said(&long[1..])).await.is_ok());
}

#[tokio::test]
async fn users_who_cannot_be_told_are_counted_by_pool_and_why() {
    let scratch = Scratch::new();
    let mut config = config(1);
    for (name, protocol) in [("ssh", Protocol::Tcp), ("host", Protocol::Tcp)] {
        let mut pool = PoolConfig::new(name);
        pool.protocol = protocol;
        pool.tcp.telnet = name == "host";
        pool.health = None;
        let address = ([127, 0, 0, 1], 9000).into();
        pool.servers = vec![ServerConfig::new("s1", address)];
        config.pools.push(pool);
    }
    let node = Node::start(config, &scratch);
    node.begin_session(1, "web1");
    for (id, pool) in [(2, "ssh"), (3, "ssh"), (4, "host")] {
        node.begin_session_of(id, pool, "s1");
    }
    let client = node.client();
    let everybody = ids(&[1, 2, 3, 4]);
    let done = client.tell_sessions(&everybody).await.unwrap();
    assert_eq!(done.told, 2);
    let [untold] = &done.untold[..] else {
        panic!("{:?}", done.untold);
    };
    assert_eq!((&*untold.pool, untold.sessions), ("ssh", 2));
    assert!(untold.why.contains("Telnet"), "{untold:?}");
    let text = done.changed.text;
    for part in [
        "left for 2 sessions",
        "in pages that have the notice's script",
        "in terminals",
        "2 sessions of pool ssh cannot be told anything",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(read(&node, 4).is_some() && read(&node, 2).is_none());
    let of_ssh = TellSessionsRequest {
        pool: Some("ssh".into()),
        ..tell("Hello")
    };
    let (status, text) = refused(client.tell_sessions(&of_ssh).await);
    assert_eq!(status, 422);
    assert!(text.contains("users of pool ssh cannot be told"), "{text}");
}
