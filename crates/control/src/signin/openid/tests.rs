//! The way to a provider and back, with one that lies as it is told.

use super::token::tests::Private;
use super::*;
use crate::outside::{HttpUrl, Secret};
use crate::signin::tests::{House, SECRET, field};
use axum::extract::Request;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// What the provider answers by now.
struct Script {
    key: Private,
    /// What it publishes.
    keys: Value,
    /// What it says of itself, beyond the usual.
    metadata: Value,
    header: Value,
    claims: Value,
    user: Value,
    token_status: u16,
    /// What it was asked: the path, the field `Authorization`, and the form.
    asked: Vec<(String, String, String)>,
}

/// A provider on this machine.
struct Provider {
    issuer: String,
    script: Arc<Mutex<Script>>,
}

impl Provider {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let key = Private::p256();
        let script = Arc::new(Mutex::new(Script {
            keys: json!({ "keys": [key.jwk("k")] }),
            key,
            metadata: json!({}),
            header: json!({ "alg": "ES256", "kid": "k" }),
            claims: json!({}),
            user: json!({}),
            token_status: 200,
            asked: Vec::new(),
        }));
        let (answers, own) = (Arc::clone(&script), issuer.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(&own, &mut answers.lock().unwrap(), &stream);
            }
        });
        Self { issuer, script }
    }

    fn script<T>(&self, work: impl FnOnce(&mut Script) -> T) -> T {
        work(&mut self.script.lock().unwrap())
    }

    /// How often it was asked for this.
    fn asked(&self, path: &str) -> usize {
        self.script(|script| {
            script
                .asked
                .iter()
                .filter(|(asked, ..)| asked == path)
                .count()
        })
    }

    fn options(&self) -> OpenIdOptions {
        let list = |value: &str| vec![value.to_owned()];
        OpenIdOptions {
            issuer: HttpUrl::parse(&self.issuer).unwrap(),
            client_id: "ebb tide".into(),
            secret: Secret::new("0123456789:abcdef").unwrap(),
            redirect: HttpUrl::parse(&format!("https://console.example{OPENID_BACK}")).unwrap(),
            scopes: vec!["openid".into(), "groups".into()],
            name: None,
            roles: OpenIdRoles {
                claim: "groups".into(),
                viewer: list("staff"),
                operator: list("ops"),
                admin: list("leads"),
            },
        }
    }
}

fn answer(issuer: &str, script: &mut Script, mut stream: &TcpStream) {
    let mut reader = BufReader::new(stream);
    let (mut path, mut authorization, mut length) = (String::new(), String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap() == 0 {
            return;
        }
        let line = line.trim_end();
        if path.is_empty() {
            path = line.split(' ').nth(1).unwrap().to_owned();
        }
        match line.split_once(": ") {
            Some(("authorization", value)) => authorization = value.to_owned(),
            Some(("content-length", value)) => length = value.parse().unwrap(),
            _ if line.is_empty() => break,
            _ => {}
        }
    }
    let mut form = vec![0; length];
    reader.read_exact(&mut form).unwrap();
    let (status, body) = match path.as_str() {
        "/.well-known/openid-configuration" => {
            let mut body = json!({
                "issuer": issuer,
                "authorization_endpoint": format!("{issuer}/authorize?tenant=a%26b"),
                "token_endpoint": format!("{issuer}/token"),
                "jwks_uri": format!("{issuer}/keys"),
                "userinfo_endpoint": format!("{issuer}/user"),
            });
            for (name, value) in script.metadata.as_object().unwrap() {
                body[name] = value.clone();
            }
            (200, body)
        }
        "/keys" => (200, script.keys.clone()),
        "/user" => (200, script.user.clone()),
        _ if script.token_status != 200 => {
            (script.token_status, json!({ "error": "invalid_grant" }))
        }
        _ => {
            let token = script.key.sign(&script.header, &script.claims);
            (
                200,
                json!({ "id_token": token, "access_token": "a1", "token_type": "Bearer" }),
            )
        }
    };
    script
        .asked
        .push((path, authorization, String::from_utf8(form).unwrap()));
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    // Whoever asked may have hung up.
    drop(stream.write_all(format!("{head}{body}").as_bytes()));
}

/// A browser on its way.
struct Away {
    cookie: String,
    query: Vec<(String, String)>,
}

impl Away {
    fn told(&self, name: &str) -> &str {
        let found = self.query.iter().find(|(found, _)| found == name);
        &found
            .unwrap_or_else(|| panic!("no {name}: {:?}", self.query))
            .1
    }
}

impl House {
    /// Sends a browser out.
    async fn send_out(&mut self, path: &str, cookie: &str, form: &str) -> Away {
        let (status, set, page) = self.post(path, cookie, form).await;
        assert_eq!(status, 200, "{page}");
        let address = page
            .split("0;url=")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        let query = address.replace("&#38;", "&");
        let query = query.split_once('?').unwrap().1;
        let away = Away {
            cookie: set,
            query: super::super::csrf::fields(query.as_bytes()),
        };
        assert!(away.cookie.starts_with("ebbtide_openid="));
        away
    }

    /// Has the provider vouch for somebody, and brings the browser back: the status, the cookie of the
    /// session, and the page.
    async fn bring_back(
        &mut self,
        provider: &Provider,
        away: &Away,
        changes: Value,
    ) -> (u16, String, String) {
        provider.script(|script| {
            let now = seconds();
            script.claims = json!({
                "iss": provider.issuer, "sub": "7", "aud": "ebb tide", "nonce": away.told("nonce"),
                "exp": now + 60, "iat": now, "preferred_username": "otto", "groups": ["ops"],
            });
            for (name, value) in changes.as_object().unwrap() {
                script.claims[name] = value.clone();
            }
            // `null`: without.
            let claims = script.claims.as_object_mut().unwrap();
            claims.retain(|_, value| !value.is_null());
        });
        let query = format!("code=c1&state={}", away.told("state"));
        self.come_in(&away.cookie, &query).await
    }

    async fn come_in(&mut self, cookie: &str, query: &str) -> (u16, String, String) {
        let request = Request::get(format!("/sign-in/openid/in?{query}")).header("cookie", cookie);
        let (status, set, body) = self.ask_for_all(request, "").await;
        let session = set
            .iter()
            .find(|cookie| cookie.starts_with("ebbtide_console="));
        let session = session.map_or("", |cookie| cookie.split(';').next().unwrap());
        (status, session.to_owned(), body)
    }
}

/// Ebbtide has shown the provider who it is, and that it is the one that asked (RFC 7636).
fn check_exchange(provider: &Provider, away: &Away) {
    let (_, authorization, form) = provider.script(|script| {
        script
            .asked
            .iter()
            .find(|(path, ..)| path == "/token")
            .unwrap()
            .clone()
    });
    // ebb+tide:0123456789%3Aabcdef
    assert_eq!(
        authorization,
        "Basic ZWJiK3RpZGU6MDEyMzQ1Njc4OSUzQWFiY2RlZg=="
    );
    let form = super::super::csrf::fields(form.as_bytes());
    let verifier = &form
        .iter()
        .find(|(name, _)| name == "code_verifier")
        .unwrap()
        .1;
    let hash = ring::digest::digest(&ring::digest::SHA256, verifier.as_bytes());
    let hash = URL_SAFE_NO_PAD.encode(hash);
    assert_eq!(hash, away.told("code_challenge"));
}

#[tokio::test]
async fn whoever_the_provider_vouches_for_is_in_with_the_role_of_his_groups() {
    let provider = Provider::start();
    let mut house = House::with("openid", Millis::from_secs(300), Some(provider.options()));
    let (_, _, page) = house.ask(Request::get("/sign-in?next=/form"), "").await;
    assert!(page.contains("Sign in by 127.0.0.1"), "{page}");
    let away = house.send_out("/sign-in/openid", "", "next=/form").await;
    for (name, value) in [
        ("tenant", "a&b"),
        ("response_type", "code"),
        ("client_id", "ebb tide"),
        (
            "redirect_uri",
            "https://console.example/sign-in/openid/back",
        ),
        ("scope", "openid groups"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(away.told(name), value);
    }
    assert!(
        away.query
            .iter()
            .all(|(name, _)| name != "prompt" && name != "max_age")
    );

    // The page of the way back leads on, so that the cookies come with what it asks for.
    let back = format!("{OPENID_BACK}?code=c1&state=%22%3E%3Cb%3E");
    let (status, set, page) = house.ask(Request::get(back), "").await;
    assert_eq!((status, set.as_str()), (200, ""));
    assert!(
        page.contains("url=/sign-in/openid/in?code=c1&#38;state=%22%3E%3Cb%3E\""),
        "{page}"
    );

    let (status, session, body) = house.bring_back(&provider, &away, json!({})).await;
    assert_eq!(status, 303, "{body}");
    let (_, page) = house.get(&session).await;
    assert!(page.starts_with("openid:otto operator "), "{page}");
    check_exchange(&provider, &away);

    // He comes back once.
    let query = format!("code=c1&state={}", away.told("state"));
    let (status, session, page) = house.come_in(&away.cookie, &query).await;
    assert_eq!((status, session.as_str()), (400, ""));
    assert!(page.contains("came back by it before"), "{page}");
    assert_eq!(provider.asked("/token"), 1);
    assert_eq!(provider.asked("/.well-known/openid-configuration"), 1);
    assert_eq!(provider.asked("/keys"), 1);
}

#[tokio::test]
async fn nobody_comes_back_by_a_way_that_he_was_not_sent_on() {
    let provider = Provider::start();
    let mut house = House::with("forged", Millis::from_secs(300), Some(provider.options()));
    let (mine, other) = (
        house.send_out("/sign-in/openid", "", "next=/").await,
        house.send_out("/sign-in/openid", "", "next=/").await,
    );
    let state = mine.told("state").to_owned();
    let old = {
        let flow = Flow::begin(false, "/", seconds() - 601).unwrap();
        (format!("ebbtide_openid={}", flow.cookie()), flow.state())
    };
    for (cookie, query) in [
        ("", format!("code=c1&state={state}")),
        (other.cookie.as_str(), format!("code=c1&state={state}")),
        (mine.cookie.as_str(), "code=c1".to_owned()),
        (mine.cookie.as_str(), "code=c1&state=".to_owned()),
        (mine.cookie.as_str(), format!("code=&state={state}")),
        (mine.cookie.as_str(), format!("state={state}")),
        (
            mine.cookie.as_str(),
            format!("code={}&state={state}", "x".repeat(5000)),
        ),
        (old.0.as_str(), format!("code=c1&state={}", old.1)),
    ] {
        let (status, session, page) = house.come_in(cookie, &query).await;
        assert_eq!((status, session.as_str()), (400, ""), "{query}");
        assert!(page.contains("not the way"), "{page}");
    }
    let refused = [
        (
            format!("error=access_denied&state={state}"),
            "access_denied",
        ),
        (
            format!("error=%3Cb%3E&state={state}"),
            "did not let you in.",
        ),
        (
            format!("code=c1&state={state}&iss=https%3A%2F%2Fevil.example"),
            "(iss)",
        ),
    ];
    for (query, says) in refused {
        let (status, session, page) = house.come_in(&mine.cookie, &query).await;
        assert_eq!((status, session.as_str()), (403, ""), "{query}");
        assert!(page.contains(says), "{page}");
    }
    assert_eq!(provider.asked("/token"), 0);
    // From another address than that which he comes back to nobody is sent out.
    let request = Request::post("/sign-in/openid")
        .header("origin", "http://127.0.0.1:7070")
        .header("content-type", "application/x-www-form-urlencoded");
    let (status, cookie, page) = house.ask(request, "next=/").await;
    assert_eq!((status, cookie.as_str()), (400, ""));
    assert!(page.contains("https://console.example."), "{page}");
    // Nowhere else can be gone on to.
    for evil in ["https://evil.example/", "//evil.example/", "/sign-out"] {
        let form = format!("next={evil}");
        let away = house.send_out("/sign-in/openid", "", &form).await;
        let (status, ..) = house.bring_back(&provider, &away, json!({})).await;
        assert_eq!((status, house.location.as_str()), (303, "/"), "{evil}");
    }
}

#[tokio::test]
async fn whoever_has_no_role_or_no_name_or_a_bad_token_is_told_so_and_written_down() {
    let provider = Provider::start();
    let mut house = House::with("refused", Millis::from_secs(300), Some(provider.options()));
    for (changes, says) in [
        (
            json!({ "groups": ["other"] }),
            "knows you as openid:otto, but nothing in your groups",
        ),
        (json!({ "groups": null }), "is of somebody else (sub)"),
        (json!({ "nonce": "other" }), "(nonce)"),
        (json!({ "iss": "https://evil.example" }), "(iss)"),
        (json!({ "aud": "other" }), "(aud)"),
    ] {
        let away = house
            .send_out("/sign-in/openid", "", "next=/form&replay=a%3D1")
            .await;
        let (status, session, page) = house.bring_back(&provider, &away, changes).await;
        assert!(status == 403 || status == 503, "{status}: {page}");
        assert_eq!(session, "");
        assert!(page.contains(says), "{page}");
        // What was typed is still there, for another try or another way.
        assert_eq!(field(&page, "replay"), "a=1");
    }
    // Where the token has no groups or no name, what the provider knows beyond it may have.
    provider.script(|script| {
        script.user = json!({ "sub": "7", "groups": ["leads"], "preferred_username": "eve" })
    });
    let away = house.send_out("/sign-in/openid", "", "next=/form").await;
    let (status, session, page) = house
        .bring_back(&provider, &away, json!({ "groups": null }))
        .await;
    assert_eq!(status, 303, "{page}");
    assert!(
        house
            .get(&session)
            .await
            .1
            .starts_with("openid:otto admin ")
    );
    let mut options = provider.options();
    options.name = Some("nick".into());
    let mut house = House::with("nick", Millis::from_secs(300), Some(options));
    provider.script(|script| script.user = json!({ "sub": "7", "nick": "ott", "groups": ["x"] }));
    let away = house.send_out("/sign-in/openid", "", "next=/form").await;
    let (status, session, page) = house.bring_back(&provider, &away, json!({})).await;
    assert_eq!(status, 303, "{page}");
    let (_, page) = house.get(&session).await;
    assert!(page.starts_with("openid:ott operator "), "{page}");
}

#[test]
fn nobody_pushes_out_what_others_have_typed() {
    let mut ways = Ways::default();
    let mut keep = |number: usize, from: [u8; 4]| {
        ways.keep(Waiting {
            state: number.to_string(),
            from: from.into(),
            form: String::new(),
        });
    };
    keep(0, [10, 0, 0, 1]);
    keep(1, [10, 0, 0, 2]);
    for number in 2..300 {
        keep(number, [10, 0, 0, 9]);
    }
    keep(300, [10, 0, 0, 3]);
    let kept: Vec<usize> = ways
        .forms
        .iter()
        .map(|form| form.state.parse().unwrap())
        .collect();
    assert_eq!(kept.len(), FORMS_MAX);
    assert_eq!(kept[..3], [0, 1, 239]);
    assert_eq!(kept.last(), Some(&300));
}

#[tokio::test]
async fn who_fails_again_and_again_has_to_wait() {
    let provider = Provider::start();
    let mut house = House::with("rate", Millis::from_secs(300), Some(provider.options()));
    provider.script(|script| script.token_status = 400);
    let mut waits = 0;
    for _ in 0..20 {
        let away = house.send_out("/sign-in/openid", "", "next=/").await;
        let (status, _, page) = house.bring_back(&provider, &away, json!({})).await;
        match status {
            429 => waits += 1,
            403 => assert!(page.contains("invalid_grant"), "{page}"),
            other => panic!("{other}: {page}"),
        }
    }
    assert!(waits >= 9, "{waits}");
    assert!(provider.asked("/token") <= 11);
    // That is no reason to keep others from typing their passwords.
    house.sign_in("otto").await;
}

#[tokio::test]
async fn a_provider_that_is_away_or_another_is_told_of_and_passwords_go_on() {
    let provider = Provider::start();
    let issuer = provider.issuer.clone();
    for (metadata, says) in [
        (
            json!({ "issuer": format!("{issuer}/") }),
            "must be written exactly like that",
        ),
        (
            json!({ "token_endpoint": "http://10.0.0.1/token" }),
            "a token_endpoint without TLS",
        ),
        (
            json!({ "jwks_uri": "file:///etc/passwd" }),
            "a jwks_uri that is not an address",
        ),
        (json!({ "authorization_endpoint": 7 }), "is not understood"),
        (json!({ "padding": "x".repeat(300_000) }), "longer than"),
    ] {
        provider.script(|script| script.metadata = metadata);
        let mut house = House::with("mistaken", Millis::from_secs(300), Some(provider.options()));
        let (status, cookie, page) = house
            .post("/sign-in/openid", "", "next=/form&replay=a%3D1")
            .await;
        assert_eq!((status, cookie.as_str()), (503, ""), "{page}");
        assert!(
            page.contains(says) && page.contains("Users with a password"),
            "{page}"
        );
        assert_eq!(field(&page, "replay"), "a=1");
        house.sign_in("otto").await;
        // It is not asked for every click.
        let before = provider.asked("/.well-known/openid-configuration");
        for _ in 0..5 {
            house.post("/sign-in/openid", "", "next=/").await;
        }
        assert!(provider.asked("/.well-known/openid-configuration") <= before + 1);
    }
    let mut gone = provider.options();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    gone.issuer = HttpUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let mut house = House::with("away", Millis::from_secs(300), Some(gone));
    let (status, _, page) = house.post("/sign-in/openid", "", "next=/").await;
    assert_eq!(status, 503);
    assert!(
        page.contains("cannot be used at this moment") && page.contains("cannot be asked for"),
        "{page}"
    );
    // Where there is no provider, there is no way to it.
    let mut house = House::new("none", Millis::from_secs(300));
    assert_eq!(house.post("/sign-in/openid", "", "next=/").await.0, 404);
    assert_eq!(house.come_in("", "code=c1&state=s1").await.0, 404);
}

#[tokio::test]
async fn newer_keys_are_looked_for_once_in_a_while() {
    let provider = Provider::start();
    let mut house = House::with("keys", Millis::from_secs(300), Some(provider.options()));
    let away = house.send_out("/sign-in/openid", "", "next=/").await;
    assert_eq!(house.bring_back(&provider, &away, json!({})).await.0, 303);
    provider.script(|script| script.header = json!({ "alg": "ES256", "kid": "new" }));
    for _ in 0..3 {
        let away = house.send_out("/sign-in/openid", "", "next=/").await;
        let (status, _, page) = house.bring_back(&provider, &away, json!({})).await;
        assert_eq!(status, 403);
        assert!(page.contains("a key that it does not publish"), "{page}");
    }
    // The first are younger than the pause.
    assert_eq!(provider.asked("/keys"), 1);
}

impl House {
    /// Signs otto in: the cookie of his session, and what his forms carry.
    async fn vouched(&mut self, provider: &Provider, changes: Value) -> (String, String) {
        let away = self.send_out("/sign-in/openid", "", "next=/form").await;
        let (status, session, page) = self.bring_back(provider, &away, changes).await;
        assert_eq!(status, 303, "{page}");
        let csrf = self.csrf(&session).await;
        (session, csrf)
    }

    async fn csrf(&mut self, session: &str) -> String {
        let (_, page) = self.get(session).await;
        page.split(' ').next_back().unwrap().to_owned()
    }

    /// Sends somebody out who is signed in, and brings him back.
    async fn ask_again(
        &mut self,
        provider: &Provider,
        session: &str,
        changes: Value,
    ) -> (u16, String, String) {
        let csrf = self.csrf(session).await;
        let form = format!("csrf={csrf}&next=/form&replay=force%3D1");
        let mut away = self.send_out("/sign-in/openid/again", session, &form).await;
        assert_eq!((away.told("prompt"), away.told("max_age")), ("login", "0"));
        away.cookie = format!("{}; {session}", away.cookie);
        self.bring_back(provider, &away, changes).await
    }
}

#[tokio::test]
async fn a_forced_change_asks_the_provider_again() {
    let provider = Provider::start();
    let mut house = House::with("again", Millis::from_secs(300), Some(provider.options()));
    let (session, csrf) = house.vouched(&provider, json!({})).await;
    // The provider did not say when it asked him, so that may be long ago.
    let forced = format!("force=1&csrf={csrf}");
    let (status, _, page) = house.post("/form", &session, &forced).await;
    assert_eq!(status, 403);
    assert!(
        page.contains("Show again who you are") && !page.contains("type=\"password\""),
        "{page}"
    );
    assert_eq!(field(&page, "replay"), "force=1");
    let unsigned = house.post("/sign-in/openid/again", &session, "next=/form");
    assert_eq!(unsigned.await.0, 403, "CSRF");

    let now = seconds();
    for (changes, says) in [
        (json!({}), "(auth_time)"),
        (json!({ "auth_time": now - 120 }), "(auth_time)"),
        (
            json!({ "auth_time": now, "sub": "8", "preferred_username": "eve" }),
            "vouches for openid:eve, but openid:otto is signed in",
        ),
        (json!({ "auth_time": now, "sub": "8" }), "Nothing was done"),
    ] {
        let (status, _, page) = house.ask_again(&provider, &session, changes).await;
        assert_eq!(status, 403);
        assert!(page.contains(says), "{page}");
        assert_eq!(field(&page, "replay"), "force=1");
        assert_eq!(house.post("/form", &session, &forced).await.0, 403);
    }
    let changes = json!({ "auth_time": now });
    let (status, other, page) = house.ask_again(&provider, &session, changes).await;
    assert_eq!((status, other.as_str()), (200, ""), "the session goes on");
    assert!(
        page.contains("Nothing of it has been done so far"),
        "{page}"
    );
    assert_eq!(
        (field(&page, "force"), field(&page, "csrf")),
        ("1".into(), csrf)
    );
    assert_eq!(house.post("/form", &session, &forced).await.0, 200);
}

#[tokio::test]
async fn what_a_sign_in_by_a_provider_is_worth() {
    let provider = Provider::start();
    let mut house = House::with("worth", Millis::from_secs(300), Some(provider.options()));
    let (session, _) = house.vouched(&provider, json!({})).await;
    // With another role it is another session.
    let changes = json!({ "auth_time": seconds(), "groups": ["leads"] });
    let (_, other, _) = house.ask_again(&provider, &session, changes).await;
    let (_, page) = house.get(&other).await;
    assert!(page.starts_with("openid:otto admin"), "{page}");
    assert_eq!(house.get(&session).await.0, 303);
    // There is no password to guess.
    let csrf = house.csrf(&other).await;
    let typed = format!("csrf={csrf}&password={SECRET}");
    let (status, ..) = house.post("/sign-in/again", &other, &typed).await;
    assert_eq!((status, house.location.as_str()), (303, "/sign-in/again"));
    // Who has just shown the provider who he is need not do so twice.
    let changes = json!({ "auth_time": seconds() });
    let (session, csrf) = house.vouched(&provider, changes).await;
    let forced = format!("force=1&csrf={csrf}");
    assert_eq!(house.post("/form", &session, &forced).await.0, 200);
}
