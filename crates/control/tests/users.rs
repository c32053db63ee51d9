//! Users of the console, changed by the control API.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod support;

use ebbtide_api::{
    Changed, ClientError, CreateToken, CreateUser, ErrorKind, ReasonQuery, ReasonRequest, Role,
    SetPassword, SetRole,
};
use ebbtide_control::{USERS_FILE, UsersFile};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use support::{Node, Scratch, api, config};

const SECRET: &str = "correct horse battery";
const OTHER: &str = "another good one";

fn new(name: &str, role: Role, password: &str) -> CreateUser {
    CreateUser {
        name: name.into(),
        role,
        password: password.into(),
        reason: None,
    }
}

fn role(role: Role) -> SetRole {
    SetRole { role, reason: None }
}

fn password(password: &str) -> SetPassword {
    SetPassword {
        password: password.into(),
        reason: None,
    }
}

fn refused(result: Result<Changed, ClientError>) -> (u16, ErrorKind, String) {
    match result {
        Err(ClientError::Refused { status, error }) => (status, error.kind, error.message),
        other => panic!("not refused: {other:?}"),
    }
}

/// Signs in: the cookie, if that is right.
fn sign_in(node: &Node, name: &str, password: &str) -> Option<String> {
    let form = format!("name={name}&password={password}");
    let fields = "Content-Type: application/x-www-form-urlencoded\r\n";
    let (status, head, _) = node.whole("POST", "/sign-in", fields, &form);
    assert!(status == 303 || status == 401, "{head}");
    let mut lines = head.lines();
    let cookie = lines.find_map(|line| line.strip_prefix("set-cookie: "))?;
    Some(format!("Cookie: {}\r\n", cookie.split(';').next().unwrap()))
}

fn is_in(node: &Node, cookie: &str) -> bool {
    node.raw("GET", &api("/status"), cookie, "").0 == 200
}

/// What the audit log says of users, the newest first.
async fn audit(node: &Node) -> Vec<String> {
    let page = node.client().audit(&Default::default()).await.unwrap();
    let lines = page.entries.into_iter();
    let lines = lines.filter(|line| line.action.starts_with("user"));
    let lines = lines.map(|line| {
        let why = line.reason.unwrap_or_default();
        format!("{} {}: {} ({why})", line.action, line.target, line.outcome)
    });
    lines.collect()
}

#[tokio::test]
async fn a_user_is_made_changed_and_removed_and_each_counts_when_it_is_answered() {
    let scratch = Scratch::new();
    let node = Node::start(config(1), &scratch);
    let client = node.client();
    let ada = client.create_user(&new("ada", Role::Admin, SECRET)).await;
    assert_eq!(ada.unwrap().text, "the user ada has the role admin");
    let mut otto = new("otto", Role::Viewer, SECRET);
    otto.reason = Some("joins the team".into());
    client.create_user(&otto).await.unwrap();
    let file = node.state.join(USERS_FILE);
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let cookie = sign_in(&node, "otto", SECRET).unwrap();
    assert!(is_in(&node, &cookie));
    let operator = role(Role::Operator);
    let set = client.set_user_role("otto", &operator).await.unwrap();
    let said = "the user otto has the role operator now, and is signed out everywhere";
    assert_eq!(set.text, said);
    assert!(!is_in(&node, &cookie));

    let cookie = sign_in(&node, "otto", SECRET).unwrap();
    let set = client.set_user_password("otto", &password(OTHER)).await;
    set.unwrap();
    assert!(!is_in(&node, &cookie) && sign_in(&node, "otto", SECRET).is_none());

    let cookie = sign_in(&node, "otto", OTHER).unwrap();
    let simply = ReasonRequest::default();
    client.sign_out_user("otto", &simply).await.unwrap();
    assert!(!is_in(&node, &cookie));

    let cookie = sign_in(&node, "otto", OTHER).unwrap();
    let query = ReasonQuery::default();
    client.delete_user("otto", &query).await.unwrap();
    assert!(!is_in(&node, &cookie) && sign_in(&node, "otto", OTHER).is_none());

    // One line each, and none "from the file of users".
    assert_eq!(
        audit(&node).await,
        [
            "user remove otto: the user otto is no more ()",
            "user sign-out otto: the user otto is signed out everywhere ()",
            "user password otto: the user otto has another password ()",
            "user role otto: the user otto has the role operator now ()",
            "user add otto: the user otto has the role viewer (joins the team)",
            "user add ada: the user ada has the role admin ()",
        ]
    );
    // What the command line changes is told of as before.
    UsersFile::new(file).sign_out("ada").unwrap();
    client.users().await.unwrap();
    let line = "users ada: the user ada is signed out everywhere ()";
    assert_eq!(audit(&node).await[0], line);
}

#[tokio::test]
async fn passwords_are_nowhere_but_hashed() {
    let scratch = Scratch::new();
    let mut node = Node::start(config(1), &scratch);
    let client = node.client();
    let create = new("ada", Role::Admin, SECRET);
    client.create_user(&create).await.unwrap();
    let set = client.set_user_password("ada", &password(OTHER)).await;
    set.unwrap();
    let (_, _, short) = refused(client.set_user_password("ada", &password("hush")).await);
    assert!(!short.contains("hush"), "{short}");
    node.stop();
    for entry in fs::read_dir(&node.state).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap_or_default();
        for secret in [SECRET, OTHER, "hush"] {
            let mut windows = bytes.windows(secret.len());
            assert!(!windows.any(|window| window == secret.as_bytes()));
        }
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_told_and_changes_nothing() {
    let scratch = Scratch::new();
    let node = Node::start(config(1), &scratch);
    let client = node.client();
    let create = new("ada", Role::Admin, SECRET);
    client.create_user(&create).await.unwrap();
    let file = node.state.join(USERS_FILE);
    let before = fs::read_to_string(&file).unwrap();
    let (query, simply) = (ReasonQuery::default(), ReasonRequest::default());
    let (viewer, good) = (role(Role::Viewer), password(OTHER));
    let admin = client.set_user_role("ada", &role(Role::Admin)).await;
    let strange = new("a b", Role::Viewer, SECRET);
    let weak = new("bo", Role::Viewer, "short");
    let last = "`ebbtide user` on the node's own machine";
    for (result, status, says) in [
        (client.create_user(&create).await, 409, "already"),
        (client.create_user(&strange).await, 422, "letters, digits"),
        (client.create_user(&weak).await, 422, "at least 12"),
        (admin, 409, "already"),
        (client.set_user_role("ada", &viewer).await, 409, last),
        (client.delete_user("ada", &query).await, 409, last),
        (client.set_user_role("bo", &viewer).await, 404, "no user bo"),
        (
            client.set_user_password("bo", &good).await,
            404,
            "no user bo",
        ),
        (client.sign_out_user("bo", &simply).await, 404, "no user bo"),
        (client.delete_user("bo", &query).await, 404, "no user bo"),
    ] {
        let (code, kind, text) = refused(result);
        let meant = match status {
            404 => ErrorKind::NotFound,
            409 => ErrorKind::Conflict,
            _ => ErrorKind::Invalid,
        };
        assert_eq!((code, kind), (status, meant), "{text}");
        assert!(text.contains(says), "{text}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
    assert_eq!(audit(&node).await.len(), 1);
}

#[tokio::test]
async fn a_file_that_takes_no_change_is_told_of() {
    let scratch = Scratch::new();
    let node = Node::start(config(1), &scratch);
    let client = node.client();
    let create = new("ada", Role::Admin, SECRET);
    client.create_user(&create).await.unwrap();
    let file = node.state.join(USERS_FILE);
    let before = fs::read_to_string(&file).unwrap();
    let more = new("bo", Role::Viewer, SECRET);

    // Something stands where the new file would be written, also for root.
    let beside = node.state.join(format!("{USERS_FILE}.new"));
    fs::create_dir(&beside).unwrap();
    let (status, kind, text) = refused(client.create_user(&more).await);
    assert_eq!((status, kind), (503, ErrorKind::Internal), "{text}");
    let path = file.display().to_string();
    assert!(
        text.contains(&path) && text.contains("`ebbtide user`"),
        "{text}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
    fs::remove_dir(&beside).unwrap();

    fs::write(&file, "[ada]\nrole = \"boss\"\n").unwrap();
    let (status, kind, text) = refused(client.create_user(&more).await);
    assert_eq!((status, kind), (500, ErrorKind::Internal), "{text}");
    assert!(
        text.contains("boss") && text.contains("Nothing has changed"),
        "{text}"
    );
    fs::write(&file, &before).unwrap();
    client.create_user(&more).await.unwrap();
    assert_eq!(audit(&node).await.len(), 2, "what failed left no line");
}

#[tokio::test]
async fn users_are_for_admins() {
    let scratch = Scratch::new();
    let node = Node::start(config(1), &scratch);
    for (holder, of) in [("vera", Role::Viewer), ("otto", Role::Operator)] {
        let token = CreateToken {
            name: holder.into(),
            role: of,
            reason: None,
        };
        let token = node.client().create_token(&token).await.unwrap().secret;
        let client = node.over_tcp(&token);
        let (query, simply) = (ReasonQuery::default(), ReasonRequest::default());
        for result in [
            client.create_user(&new("bo", Role::Admin, SECRET)).await,
            client.set_user_role("bo", &role(Role::Admin)).await,
            client.set_user_password("bo", &password(OTHER)).await,
            client.sign_out_user("bo", &simply).await,
            client.delete_user("bo", &query).await,
        ] {
            let (status, kind, text) = refused(result);
            assert_eq!((status, kind), (403, ErrorKind::Forbidden), "{text}");
        }
        let page = node.client().audit(&Default::default()).await.unwrap();
        let lines = page.entries.iter();
        let lines = lines.filter(|line| line.who == holder && line.action == "refused");
        let asked: Vec<_> = lines.map(|line| &*line.target).collect();
        assert_eq!(
            asked,
            [
                "DELETE /api/v1/users/bo",
                "POST /api/v1/users/bo/sign-out",
                "POST /api/v1/users/bo/password",
                "POST /api/v1/users/bo/role",
                "POST /api/v1/users",
            ]
        );
    }
    assert!(node.client().users().await.unwrap().users.is_empty());
}

#[tokio::test]
async fn changes_at_once_lose_nothing() {
    let scratch = Scratch::new();
    let node = Node::start(config(1), &scratch);
    let made = (0..8).map(|number| {
        let client = node.client();
        tokio::spawn(async move {
            let name = format!("user{number}");
            let create = new(&name, Role::Viewer, SECRET);
            client.create_user(&create).await.unwrap();
        })
    });
    let made: Vec<_> = made.collect();
    for one in made {
        one.await.unwrap();
    }
    assert_eq!(node.client().users().await.unwrap().users.len(), 8);
    let lines = audit(&node).await;
    let own = lines
        .iter()
        .filter(|line| line.starts_with("user add user"));
    assert_eq!((lines.len(), own.count()), (8, 8), "{lines:?}");
}
