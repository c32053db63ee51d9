//! Who may do what over TCP, and what strangers, browsers and mistaken requests are told.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod support;

use ebbtide_api::{
    ClientError, CreateToken, ErrorKind, HoldRequest, ReasonQuery, ReasonRequest, Role, WaitFor,
    WaitQuery,
};
use support::{Node, Scratch, api, config};

async fn token(node: &Node, name: &str, role: Role) -> String {
    let body = CreateToken {
        name: name.into(),
        role,
        reason: None,
    };
    node.client().create_token(&body).await.unwrap().secret
}

fn status<T: std::fmt::Debug>(result: Result<T, ClientError>) -> (u16, ErrorKind, String) {
    match result {
        Err(ClientError::Refused { status, error }) => (status, error.kind, error.message),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn each_role_may_do_its_own_and_no_more() {
    let scratch = Scratch::new();
    let node = Node::start(config(2), &scratch);
    let viewer = node.over_tcp(&token(&node, "vera", Role::Viewer).await);
    let operator = node.over_tcp(&token(&node, "otto", Role::Operator).await);
    let admin = node.over_tcp(&token(&node, "ada", Role::Admin).await);

    viewer.status().await.unwrap();
    let hold = HoldRequest::default();
    let (code, kind, text) = status(viewer.hold("app", "web1", &hold).await);
    assert_eq!((code, kind), (403, ErrorKind::Forbidden));
    assert!(text.contains("operator") && text.contains("vera"), "{text}");

    operator.hold("app", "web1", &hold).await.unwrap();
    let (code, _, text) = status(operator.reload(&ReasonRequest::default()).await);
    assert_eq!(code, 403);
    assert!(text.contains("admin"), "{text}");
    assert_eq!(status(operator.tokens().await).0, 403);

    admin.reload(&ReasonRequest::default()).await.unwrap();
    let audit = admin.audit(&Default::default()).await.unwrap();
    let held = audit.entries.iter().find(|line| line.action == "hold");
    let held = held.unwrap();
    assert_eq!((&*held.who, &*held.from), ("otto", "127.0.0.1"));
}

#[tokio::test]
async fn tokens_are_listed_without_secrets_outlive_a_restart_and_end_when_removed() {
    let scratch = Scratch::new();
    let mut node = Node::start(config(1), &scratch);
    let secret = token(&node, "ada", Role::Admin).await;
    assert!(secret.starts_with("ebb_") && secret.len() == 47, "{secret}");
    let twice = CreateToken {
        name: "ada".into(),
        role: Role::Viewer,
        reason: None,
    };
    let (code, kind, _) = status(node.client().create_token(&twice).await);
    assert_eq!((code, kind), (409, ErrorKind::Conflict));
    node.stop();

    let node = Node::start(config(1), &scratch);
    let client = node.over_tcp(&secret);
    let tokens = client.tokens().await.unwrap();
    assert_eq!((&*tokens.tokens[0].name, tokens.tokens.len()), ("ada", 1));
    let audit = client.audit(&Default::default()).await.unwrap();
    let shown = serde_json::to_string(&(tokens, audit)).unwrap();
    assert!(!shown.contains(&secret) && shown.contains("token add"));
    client
        .delete_token("ada", &ReasonQuery::default())
        .await
        .unwrap();
    assert_eq!(status(client.status().await).0, 401);
    assert_eq!(
        status(
            node.client()
                .delete_token("ada", &ReasonQuery::default())
                .await
        )
        .0,
        404
    );
    for path in std::fs::read_dir(&node.state).unwrap() {
        let Ok(bytes) = std::fs::read(path.unwrap().path()) else {
            continue; // the socket
        };
        let found = bytes
            .windows(secret.len())
            .any(|window| window == secret.as_bytes());
        assert!(!found, "the store holds the secret itself");
    }
}

#[tokio::test]
async fn listeners_on_the_network_leave_room_for_others() {
    let scratch = Scratch::new();
    let node = Node::start(config(2), &scratch);
    let viewer = node.over_tcp(&token(&node, "vera", Role::Viewer).await);
    let mut open = Vec::new();
    for _ in 0..64 {
        open.push(viewer.events(None).await.unwrap());
    }
    let Err(refused) = viewer.events(None).await else {
        panic!("there is room for more than 64");
    };
    let (code, _, text) = status(Err::<(), _>(refused));
    assert_eq!(code, 503);
    assert!(text.contains("64 streams of events and waits"), "{text}");
    let query = WaitQuery {
        what: WaitFor::Ready,
        timeout_ms: Some(1),
    };
    assert_eq!(status(viewer.wait("app", "web1", &query).await).0, 503);
    // All else goes on, and on the node's own machine this too.
    viewer.status().await.unwrap();
    node.client().events(None).await.unwrap();
    open.pop();
    while viewer.events(None).await.is_err() {}
}

/// Every endpoint that the description names.
fn endpoints() -> Vec<(String, String)> {
    let document: serde_json::Value = serde_json::from_str(&ebbtide_control::openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().keys();
        methods.map(move |method| (method.to_uppercase(), path.clone()))
    });
    all.collect()
}

#[test]
fn every_endpoint_has_a_name_of_its_own() {
    let document: serde_json::Value = serde_json::from_str(&ebbtide_control::openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap().values();
    let calls = paths.flat_map(|methods| methods.as_object().unwrap().values());
    let mut names = std::collections::BTreeSet::new();
    for call in calls {
        let name = call["operationId"].as_str().unwrap();
        assert!(names.insert(name), "{name} stands there twice");
    }
}

#[tokio::test]
async fn every_endpoint_that_is_described_exists_and_needs_a_token() {
    let scratch = Scratch::new();
    let node = Node::start(config(1), &scratch);
    let viewer = token(&node, "vera", Role::Viewer).await;
    let viewer = format!("Authorization: Bearer {viewer}\r\n");
    let endpoints = endpoints();
    assert!(endpoints.len() >= 22, "{endpoints:?}");
    for (method, path) in endpoints {
        let known = path
            .replace("{pool}", "app")
            .replace("{server}", "web1")
            .replace("{id}", "0000000000000001")
            .replace("{name}", "nobody");
        for fields in [
            "",
            "Authorization: Bearer ebb_wrong\r\n",
            "Authorization: Basic eDp4\r\n",
        ] {
            let (status, body) = node.raw(&method, &api(&known), fields, "");
            assert_eq!(status, 401, "{method} {path}: {body}");
            assert!(body.contains("unauthorized"), "{body}");
        }
        if method != "GET" {
            let (status, body) = node.raw(&method, &api(&known), &viewer, "");
            assert_eq!(status, 403, "{method} {path}: {body}");
        }
    }
    let (status, _) = node.raw("GET", &api("/nothing"), &viewer, "");
    assert_eq!(status, 404);
    let (status, body) = node.raw("PUT", &api("/status"), &viewer, "");
    assert_eq!(status, 405, "{body}");
}

#[tokio::test]
async fn browsers_are_kept_from_doing_what_foreign_pages_want() {
    let scratch = Scratch::new();
    let node = Node::start(config(1), &scratch);
    let token = token(&node, "vera", Role::Viewer).await;
    let ask = |fields: &str| {
        let fields = format!("Authorization: Bearer {token}\r\n{fields}");
        node.raw("GET", &api("/status"), &fields, "").0
    };
    let own = node.address;
    assert_eq!(ask(""), 200);
    assert_eq!(ask(&format!("Origin: http://{own}\r\n")), 200);
    assert_eq!(ask("Origin: http://evil.example\r\n"), 403);
    assert_eq!(ask("Origin: null\r\n"), 403);
    assert_eq!(ask("Host: evil.example\r\n"), 403);
    assert_eq!(ask("Host: localhost.evil.example:80\r\n"), 403);
    assert_eq!(ask(&format!("Host: localhost:{}\r\n", own.port())), 200);
    assert_eq!(ask(&format!("Host: [::1]:{}\r\n", own.port())), 200);
    // `admin.url`
    let outside = "Host: console.example.com\r\n";
    assert_eq!(ask(outside), 200);
    assert_eq!(ask("Host: CONSOLE.example.com\r\n"), 200);
    assert_eq!(
        ask(&format!("{outside}Origin: https://console.example.com\r\n")),
        200
    );
    assert_eq!(
        ask(&format!("{outside}Origin: https://evil.example\r\n")),
        403
    );
    assert_eq!(ask("Host: console.example.com.evil.example\r\n"), 403);
    let (status, _) = node.raw("GET", "/metrics", "Host: evil.example\r\n", "");
    assert_eq!(status, 403);
}

#[tokio::test]
async fn a_mistaken_request_is_told_what_is_wrong_with_it() {
    let scratch = Scratch::new();
    let node = Node::start(config(2), &scratch);
    let token = token(&node, "otto", Role::Operator).await;
    let json = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
    let post = |path: &str, fields: &str, body: &str| {
        node.raw(
            "POST",
            &api(&format!("/servers/app/web1/{path}")),
            fields,
            body,
        )
    };
    let (status, text) = post("hold", &json, r#"{"forse":true}"#);
    assert_eq!(status, 422);
    assert!(text.contains("forse") && text.contains("force"), "{text}");
    let (status, text) = post("drain", &json, "");
    assert_eq!(status, 422);
    assert!(text.contains("within_ms"), "{text}");
    assert_eq!(post("hold", &json, "{").0, 400);
    let bare = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(post("hold", &bare, "{}").0, 415);
    let wordy = format!("{{\"reason\":\"{}\"}}", "é".repeat(1001));
    let (status, text) = post("hold", &json, &wordy);
    assert_eq!(status, 422);
    assert!(text.contains("1000"), "{text}");
    let long = format!("{{\"reason\":\"{}\"}}", "x".repeat(70_000));
    assert_eq!(post("hold", &json, &long).0, 413);
    let (status, text) = node.raw("GET", &api("/sessions?pol=app"), &bare, "");
    assert_eq!(status, 400);
    assert!(text.contains("pol"), "{text}");
    let (status, text) = node.raw("GET", &api("/servers/app/web9"), &bare, "");
    assert_eq!(status, 404);
    assert!(text.contains("app/web9"), "{text}");
    // None of it has changed anything, and without a body the defaults hold.
    assert_eq!(node.client().pool("app").await.unwrap().admitting, 2);
    assert_eq!(post("hold", &bare, "").0, 200);
}

#[test]
fn the_socket_is_private_replaced_when_stale_and_left_alone_when_live() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    let state = scratch.0.join("state");
    std::fs::create_dir(&state).unwrap();
    let socket = state.join(ebbtide_api::SOCKET_NAME);
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let mut node = Node::start(config(1), &scratch);
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let any = "127.0.0.1:0".parse().unwrap();
    let refused = ebbtide_control::Admin::bind(any, &state).err().unwrap();
    assert!(refused.to_string().contains("another Ebbtide"), "{refused}");
    let taken = ebbtide_control::Admin::bind(node.address, &scratch.0);
    let taken = taken.err().unwrap().to_string();
    assert!(taken.contains(&node.address.to_string()), "{taken}");
    assert!(taken.contains("another program has this port"), "{taken}");
    node.stop();
    assert!(!socket.exists());
}
