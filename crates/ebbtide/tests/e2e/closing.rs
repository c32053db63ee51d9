//! Closing a whole pool: who is told what, who gets in, and when everyone is out.

use crate::harness::{Ebbtide, LIMIT, Setup, models, page, text, timestamp};
use ebbtide_testkit::{Answer, Client, Outcome, Request, Scratch, Tunnel, until};
use serde_json::Value;
use std::fs;
use std::time::{Duration, SystemTime};

/// What may lie between a deadline and the end of what it ends.
const SECOND: Duration = Duration::from_secs(1);

/// The pool as `status` shows it.
fn pool(ebbtide: &Ebbtide) -> Value {
    ebbtide.status()["pools"][0].clone()
}

fn label(ebbtide: &Ebbtide) -> String {
    text(&pool(ebbtide)["intent"]["label"])
}

fn deadline(ebbtide: &Ebbtide) -> SystemTime {
    timestamp(&pool(ebbtide)["intent"]["deadline"])
}

fn get(client: &mut Client) -> Answer {
    client.send(&Request::get("/")).answer()
}

/// What somebody without a session gets.
fn stranger(ebbtide: &Ebbtide) -> Answer {
    get(&mut Client::new(ebbtide.address, LIMIT))
}

/// When the answer says that its session ends.
fn told(answer: &Answer) -> Option<SystemTime> {
    let date = answer.head.field("ebbtide-session-ends")?;
    Some(httpdate::parse_http_date(date).expect("an HTTP date"))
}

fn cookies(client: &Client) -> String {
    let pairs = client
        .jar
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join("; ")
}

fn differ(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other)
        .unwrap_or_else(|error| error.duration())
}

#[track_caller]
fn assert_closed(answer: &Answer) {
    assert_eq!(answer.head.status(), 503, "{}", answer.text());
    assert_eq!(answer.head.field("cache-control"), Some("no-store"));
    assert!(answer.head.field("retry-after").is_some(), "{answer:?}");
    assert!(answer.text().contains("maintenance"), "{}", answer.text());
}

#[test]
fn users_of_a_closing_pool_go_on_until_their_deadline_and_nobody_comes_in() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let mut users: Vec<Client> = (0..6).map(|_| ebbtide.user().0).collect();
    assert_eq!(told(&get(&mut users[0])), None, "no notice, no field");
    let close = [
        "close",
        "app",
        "--within",
        "6s",
        "--message",
        "Upgrade <b>now</b>",
    ];
    ebbtide.cli(&close).exits(0);
    let deadline = deadline(&ebbtide);
    let refused = stranger(&ebbtide);
    assert_closed(&refused);
    assert!(refused.text().contains("Upgrade &lt;b&gt;now&lt;/b&gt;"));
    // Everyone is served, and told the same end, up to the end.
    let last = until("the deadline is reached", LIMIT, || {
        let now = SystemTime::now();
        for user in &mut users {
            let answer = get(user);
            if SystemTime::now() + Duration::from_millis(100) >= deadline {
                return Some(answer);
            }
            assert_eq!(
                answer.head.status(),
                200,
                "{now:?} {deadline:?} {}",
                answer.text()
            );
            let told = told(&answer).expect("the end is told");
            assert!(
                differ(told, deadline) < SECOND,
                "{told:?} is not {deadline:?}"
            );
        }
        None
    });
    drop(last);
    until("the pool is closed", LIMIT, || {
        (label(&ebbtide) == "closed").then_some(())
    });
    for user in &mut users {
        assert!(!user.jar.is_empty());
        assert_closed(&get(user));
        let left = user.jar.keys().any(|name| name.starts_with("ebbtide_"));
        assert!(!left, "the token cookie is cleared");
    }
}

#[test]
fn at_its_deadline_everything_ends_within_a_second() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers).with("end_grace = \"300ms\""));
    let users: Vec<Client> = (0..6).map(|_| ebbtide.user().0).collect();
    ebbtide.cli(&["close", "app", "--within", "3s"]).exits(0);
    let deadline = deadline(&ebbtide);
    // Two in a tunnel, two with an answer that trickles, two that wait for one.
    let ends: Vec<(&str, SystemTime, String)> = std::thread::scope(|scope| {
        let waiting: Vec<_> = users
            .into_iter()
            .enumerate()
            .map(|(index, mut client)| {
                let address = ebbtide.address;
                scope.spawn(move || match index % 3 {
                    0 => {
                        let opened = Tunnel::open(address, LIMIT, &cookies(&client));
                        let end = opened.unwrap().expect("101").wait_for_end();
                        ("a tunnel", end.at, format!("{end:?}"))
                    }
                    1 => {
                        let slow = "/download?bytes=100000000&pause_ms=20&chunked=1";
                        let end = client.send(&Request::get(slow));
                        assert!(matches!(end, Outcome::Truncated(_)), "{end:?}");
                        ("a slow answer", SystemTime::now(), format!("{end:?}"))
                    }
                    _ => {
                        let answer = client.send(&Request::get("/hang")).answer();
                        assert_closed(&answer);
                        ("no answer", SystemTime::now(), answer.head.first_line)
                    }
                })
            })
            .collect();
        let ended = waiting.into_iter().map(|thread| thread.join().unwrap());
        ended.collect()
    });
    for (what, at, end) in ends {
        assert!(at >= deadline, "{what} ended early: {end}");
        assert!(
            at <= deadline + SECOND,
            "{what} outlived its deadline: {end}"
        );
    }
}

#[test]
fn until_the_deadline_new_users_come_in_where_that_was_asked_for() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let close = [
        "close",
        "app",
        "--within",
        "10m",
        "--block-new",
        "at-deadline",
    ];
    ebbtide.cli(&close).exits(0);
    let answer = stranger(&ebbtide);
    assert_eq!(answer.head.status(), 200);
    assert!(differ(told(&answer).unwrap(), deadline(&ebbtide)) < SECOND);
    ebbtide
        .cli(&["close", "app", "--block-new", "now"])
        .exits(0);
    assert_closed(&stranger(&ebbtide));
    ebbtide
        .cli(&["close", "app", "--block-new", "at-deadline"])
        .exits(0);
    assert_eq!(stranger(&ebbtide).head.status(), 200);
    ebbtide.cli(&["close", "app", "--within", "0s"]).exits(0);
    assert_closed(&stranger(&ebbtide));
}

#[test]
fn a_countdown_is_extended_and_cancelled_and_users_are_told_at_once() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let (mut user, page_before) = ebbtide.user();
    ebbtide.cli(&["close", "app", "--within", "5m"]).exits(0);
    let first = deadline(&ebbtide);
    assert!(differ(told(&get(&mut user)).unwrap(), first) < SECOND);
    ebbtide.cli(&["close", "app", "--within", "40m"]).exits(0);
    let second = deadline(&ebbtide);
    assert!(second > first + Duration::from_secs(30 * 60));
    assert!(differ(told(&get(&mut user)).unwrap(), second) < SECOND);
    ebbtide.cli(&["close", "app", "--within", "2m"]).exits(0);
    assert!(differ(told(&get(&mut user)).unwrap(), deadline(&ebbtide)) < SECOND);
    ebbtide.cli(&["open", "app"]).exits(0);
    assert_eq!(told(&get(&mut user)), None);
    assert_eq!(stranger(&ebbtide).head.status(), 200);
    assert_eq!(
        page(&mut user).login,
        page_before.login,
        "the session went on"
    );
}

#[test]
fn a_countdown_outlives_kill_9() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let mut ebbtide = Ebbtide::start(&Setup::new(&servers));
    let (mut user, _) = ebbtide.user();
    ebbtide
        .cli(&[
            "close",
            "app",
            "--within",
            "15s",
            "--message",
            "Back at six",
        ])
        .exits(0);
    let before = deadline(&ebbtide);
    ebbtide.kill();
    ebbtide.start_again();
    assert!(differ(deadline(&ebbtide), before) < SECOND);
    let refused = stranger(&ebbtide);
    assert_closed(&refused);
    assert!(refused.text().contains("Back at six"));
    user.disconnect();
    let answer = get(&mut user);
    if SystemTime::now() < before {
        assert_eq!(answer.head.status(), 200, "{}", answer.text());
        assert!(differ(told(&answer).unwrap(), before) < SECOND);
    }
    until("the pool is closed", 2 * LIMIT, || {
        (label(&ebbtide) == "closed").then_some(())
    });
    assert!(SystemTime::now() >= before);
    assert_closed(&get(&mut user));
    ebbtide.kill();
    ebbtide.start_again();
    assert_eq!(label(&ebbtide), "closed");
    assert_closed(&stranger(&ebbtide));
}

#[test]
fn a_closed_pool_speaks_to_people_and_programs() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers).with("contact = \"Ops & co, 4455\""));
    let message = "Größeres Updateשלום <script>\"x\"</script> 🚧";
    let close = [
        "close",
        "app",
        "--within",
        "0s",
        "--for",
        "2h",
        "--message",
        message,
    ];
    ebbtide.cli(&close).exits(0);
    let ask = |accept: &str, language: &str| {
        let request = Request::get("/deep?a=b")
            .with("Accept", accept)
            .with("Accept-Language", language);
        Client::new(ebbtide.address, LIMIT).send(&request).answer()
    };
    let html = ask("text/html,*/*;q=0.8", "de-AT,en;q=0.5");
    assert_eq!(html.head.status(), 503);
    let text = html.text();
    assert!(
        text.contains("lang=\"de\"") && text.contains("Wartungsarbeiten"),
        "{text}"
    );
    assert!(
        text.contains("&lt;script&gt;&quot;x&quot;&lt;/script&gt; 🚧"),
        "{text}"
    );
    assert!(text.contains("Ops &amp; co, 4455") && text.contains("<time datetime="));
    let policy = html.head.field("content-security-policy").unwrap();
    let (_, nonce) = policy.split_once("'nonce-").unwrap();
    let (nonce, _) = nonce.split_once('\'').unwrap();
    assert_eq!(text.matches(&format!("nonce=\"{nonce}\"")).count(), 2);
    let again: u64 = html.head.field("retry-after").unwrap().parse().unwrap();
    assert!((7100..=7200).contains(&again), "{again}");
    let json = ask("application/json", "ja");
    assert_eq!(json.head.field("content-type"), Some("application/json"));
    let said: Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(said["reason"], "closed");
    assert_eq!(said["message"], message);
    assert!(timestamp(&said["expected_end"]) > timestamp(&said["began"]) + 100 * 60 * SECOND);
    let plain = ask("text/plain", "");
    assert!(plain.text().contains(message) && plain.text().contains("Ops & co, 4455"));
    let head = Request {
        method: "HEAD",
        ..Request::get("/")
    };
    let head = Client::new(ebbtide.address, LIMIT).send(&head).answer();
    assert_eq!((head.head.status(), head.body.len()), (503, 0));
    let upgrade = Tunnel::open(ebbtide.address, LIMIT, "").unwrap();
    let refused = upgrade.expect_err("no tunnel into a closed pool");
    assert_eq!(refused.status(), 503);
    assert!(refused.field("retry-after").is_some());
    let posted = Client::new(ebbtide.address, LIMIT).send(&Request::post("/", b"order"));
    let posted = posted.answer().text();
    assert!(posted.contains("was not processed") && posted.contains("data-again=\"no\""));
    assert!(
        !posted.contains("http-equiv"),
        "a POST is not repeated by itself"
    );
}

#[test]
fn the_page_knows_when_the_pool_is_open_again() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers).with("health_alias = \"/up\""));
    let mut client = Client::new(ebbtide.address, LIMIT);
    let mut state = || -> Value {
        let answer = client.send(&Request::get("/.ebbtide/gate")).answer();
        assert_eq!(
            answer.head.field("set-cookie"),
            None,
            "asking begins no session"
        );
        serde_json::from_slice(&answer.body).unwrap()
    };
    let up = || {
        Client::new(ebbtide.address, LIMIT)
            .send(&Request::get("/up"))
            .answer()
    };
    assert_eq!(state()["open"], true);
    ebbtide
        .cli(&["close", "app", "--within", "0s", "--message", "Soon"])
        .exits(0);
    assert_eq!(state()["open"], false);
    assert_eq!(state()["message"], "Soon");
    assert_eq!((up().head.status(), up().text()), (503, "ON HOLD\n".into()));
    ebbtide.cli(&["open", "app"]).exits(0);
    assert_eq!(state()["open"], true);
    assert_eq!(stranger(&ebbtide).head.status(), 200);
    assert!(up().text().starts_with("ACTIVE - "));
}

#[test]
fn a_page_of_the_operators_own_is_read_again_and_outlives_its_file() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let file = scratch.join("closed.html");
    fs::write(&file, "<h1>Ours</h1>{{message}}|{{contact}}|{{pool}}").unwrap();
    let setup = Setup::new(&servers)
        .with(&format!(
            "pages = {{ closed = {file:?}, full = {:?} }}",
            scratch.join("none")
        ))
        .with("contact = \"<Ops>\"");
    let ebbtide = Ebbtide::start(&setup);
    let check = ebbtide
        .cli(&["check", ebbtide.file().to_str().unwrap()])
        .exits(2);
    assert!(check.err.contains("pages.full"), "{check:?}");
    ebbtide
        .cli(&["close", "app", "--within", "0s", "--message", "a<b"])
        .exits(0);
    let shows = |text: &str| {
        until(text, LIMIT, || {
            (stranger(&ebbtide).text() == text).then_some(())
        });
    };
    shows("<h1>Ours</h1>a&lt;b|&lt;Ops&gt;|app");
    fs::write(&file, "<h1>Another</h1>").unwrap();
    shows("<h1>Another</h1>");
    fs::remove_file(&file).unwrap();
    until("the loss is told", LIMIT, || {
        ebbtide
            .log()
            .contains("users get as it was last read")
            .then_some(())
    });
    shows("<h1>Another</h1>");
    fs::write(&file, "<h1>Back</h1>").unwrap();
    shows("<h1>Back</h1>");
}

#[test]
fn servers_do_not_say_when_a_session_ends() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let (mut user, _) = ebbtide.user();
    ebbtide
        .cli(&["drain", "app/web1", "--within", "10m", "--force"])
        .exits(0);
    assert!(differ(told(&get(&mut user)).unwrap(), ebbtide.deadline("web1")) < SECOND);
    ebbtide.cli(&["ready", "app/web1"]).exits(0);
    assert_eq!(told(&get(&mut user)), None);
}
