//! Tokens: what binds users to servers, and what does not.

use crate::harness::{Ebbtide, HEALTH, LIMIT, Setup, models, page, text};
use ebbtide_testkit::{Client, Page, Request, Scratch, free_address, until};

/// The page for a bare request with this cookie.
fn page_with_cookie(ebbtide: &Ebbtide, name: &str, value: &str) -> (Page, bool) {
    let mut client = Client::new(ebbtide.address, LIMIT);
    client.jar.insert(name.into(), value.into());
    let answer = client.send(&Request::get("/")).answer();
    let page = Page::parse(&answer.body);
    let page = page.unwrap_or_else(|| panic!("{}: {}", answer.head.first_line, answer.text()));
    let renewed = client.jar.get(name).is_some_and(|now| now != value);
    (page, renewed)
}

#[test]
fn what_is_no_token_never_reaches_a_held_server_and_is_never_an_error() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let [at_web1, _] = ebbtide.users(4, "web1");
    let token = at_web1[0].0.jar["ebbtide_app"].clone();
    ebbtide.cli(&["hold", "app/web1"]).exits(0);
    assert_eq!(
        page_with_cookie(&ebbtide, "ebbtide_app", &token).0.server,
        "web1"
    );
    let flipped = |at: usize| {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    let mut forged: Vec<String> = (0..token.len()).step_by(7).map(flipped).collect();
    forged
        .extend([1, 8, token.len() / 2, token.len() - 1].map(|length| token[..length].to_owned()));
    forged.extend([
        "web1".into(),
        "\"\"".into(),
        format!("{token}A"),
        format!("A{token}"),
        "A".repeat(4000),
    ]);
    for value in forged {
        let (page, renewed) = page_with_cookie(&ebbtide, "ebbtide_app", &value);
        assert_eq!(page.server, "web2", "{value}");
        assert!(renewed, "{value}");
    }
    assert_eq!(ebbtide.sessions("web1"), at_web1.len() as u64);
}

#[test]
fn a_token_of_another_pool_means_nothing() {
    let scratch = Scratch::new();
    let servers = models(4, &scratch);
    let other = free_address();
    let mut setup = Setup::new(&servers[..2]);
    setup.more = format!(
        "[listeners.other]\nbind = \"{other}\"\npool = \"other\"\n[pools.other]\n{HEALTH}\n[pools.other.servers]\n\
         web1 = \"{}\"\nweb2 = \"{}\"\n",
        servers[2].address, servers[3].address
    );
    let ebbtide = Ebbtide::start(&setup);
    ebbtide.cli(&["hold", "app/web1"]).exits(0);
    // The servers have the same names in both pools: only the pool tells the tokens apart.
    for _ in 0..4 {
        let mut stranger = Client::new(other, LIMIT);
        stranger.send(&Request::get("/")).answer();
        let (page, renewed) =
            page_with_cookie(&ebbtide, "ebbtide_app", &stranger.jar["ebbtide_other"]);
        assert_eq!(page.server, "web2");
        assert!(renewed);
    }
}

#[test]
fn a_forgotten_user_is_placed_anew() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let [mut at_web1, mut elsewhere] = ebbtide.users(6, "web1");
    ebbtide.cli(&["hold", "app/web1"]).exits(0);
    ebbtide.cli(&["forget", "app/web1"]).exits(0);
    assert_eq!(ebbtide.sessions("web1"), 0);
    for (client, _) in &mut at_web1 {
        assert_eq!(page(client).server, "web2");
    }
    for (client, before) in &mut elsewhere {
        assert_eq!(page(client).login, before.login);
    }
}

#[test]
fn a_session_that_an_operator_ends_is_over() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let [mut at_web1, _] = ebbtide.users(2, "web1");
    ebbtide.cli(&["hold", "app/web1"]).exits(0);
    let listed = ebbtide
        .cli(&["sessions", "app/web1", "--json"])
        .exits(0)
        .json();
    let sessions = listed["sessions"].as_array().expect("sessions").clone();
    assert_eq!(sessions.len(), at_web1.len());
    ebbtide
        .cli(&["sessions", "end", &text(&sessions[0]["id"])])
        .exits(0);
    assert_eq!(page(&mut at_web1[0].0).server, "web2");
}

#[test]
fn a_session_expires_when_nothing_is_heard_of_its_user() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers).with("sticky = { reuse = \"1s\" }"));
    let [at_web1, _] = ebbtide.users(4, "web1");
    let tokens: Vec<_> = at_web1
        .iter()
        .map(|(client, _)| client.jar["ebbtide_app"].clone())
        .collect();
    ebbtide.cli(&["hold", "app/web1"]).exits(0);
    until("the sessions have expired", LIMIT, || {
        (ebbtide.sessions("web1") == 0).then_some(())
    });
    for token in tokens {
        assert_eq!(
            page_with_cookie(&ebbtide, "ebbtide_app", &token).0.server,
            "web2"
        );
    }
}

#[test]
fn the_servers_never_see_the_token_and_keep_their_own_cookies() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let (mut client, first) = ebbtide.user();
    assert!(client.jar.contains_key("ebbtide_app") && client.jar.contains_key("login"));
    let second = page(&mut client);
    assert_eq!((second.count, second.login), (2, first.login));
    let answer = client.send(&Request::get("/cookies")).answer();
    assert!(answer.text().contains("login="), "{}", answer.text());
    assert!(!answer.text().contains("ebbtide"), "{}", answer.text());
}

#[test]
fn a_server_that_says_it_is_on_hold_keeps_its_users_only() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let [mut at_web1, _] = ebbtide.users(6, "web1");
    servers[0].say("<html><b>ON HOLD</b></html>");
    ebbtide.wait_for_reason("web1", "reports-hold");
    for _ in 0..5 {
        assert_eq!(ebbtide.user().1.server, "web2");
    }
    for (client, before) in &mut at_web1 {
        assert_eq!(page(client).login, before.login);
    }
    servers[0].say("ALL SESSIONS IN USE");
    ebbtide.wait_for_reason("web1", "reports-full");
    servers[0].say("ACTIVE \u{2013} 7 Sessions Available");
    ebbtide.wait_for_reason("web1", "ready");
    assert_eq!(ebbtide.server("web1")["health"]["places"], 7);
}

#[test]
fn when_every_server_is_down_users_see_the_service_and_not_us() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    servers
        .iter()
        .for_each(|server| server.say("database lost"));
    until("both are down", LIMIT, || {
        let reasons = [ebbtide.reason("web1"), ebbtide.reason("web2")];
        reasons
            .iter()
            .all(|reason| reason == "down" || reason == "last-resort")
            .then_some(())
    });
    let (_, page) = ebbtide.user();
    assert!(page.server.starts_with("web"));
}

#[test]
fn users_and_balancers_are_told_what_operators_are_told() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let setup = Setup::new(&servers).with("health_alias = \"/FVTerm/FVHealth.aspx\"");
    let ebbtide = Ebbtide::start(&setup);
    let ask = |client: &mut Client, path: &str| client.send(&Request::get(path)).answer();
    let mut balancer = Client::new(ebbtide.address, LIMIT);
    let health = ask(&mut balancer, "/FVTerm/FVHealth.aspx");
    assert_eq!(health.head.status(), 200);
    assert!(health.text().starts_with("ACTIVE"), "{}", health.text());

    let [mut at_web1, _] = ebbtide.users(4, "web1");
    let mut told = |path: &str| -> serde_json::Value {
        serde_json::from_str(&ask(&mut at_web1[0].0, path).text()).expect("JSON")
    };
    let before = told("/.ebbtide/session");
    assert_eq!(
        (&before["server"], &before["notice"]),
        (&"app/web1".into(), &serde_json::Value::Null)
    );
    ebbtide
        .cli(&["drain", "app/web1", "--within", "1h"])
        .exits(0);
    let notice = told("/.ebbtide/session")["notice"].clone();
    assert_eq!(notice["ends"], ebbtide.server("web1")["intent"]["deadline"]);
    let left = notice["seconds_left"].as_u64().expect("seconds");
    assert!((3590..=3600).contains(&left), "{left}");

    ebbtide.cli(&["hold", "app/web2", "--force"]).exits(0);
    let health = ask(&mut balancer, "/.ebbtide/health");
    assert_eq!(
        (health.head.status(), health.text().trim()),
        (503, "ON HOLD")
    );
    let refused = ask(&mut Client::new(ebbtide.address, LIMIT), "/");
    assert_eq!(refused.head.status(), 503);
}
