//! A full pool: the full page, the line in which people wait for a place, and what a balancer in
//! front is told.

use crate::harness::{Ebbtide, LIMIT, Setup, models};
use ebbtide_testkit::{Answer, Client, Model, Request, Scratch, Wire, until};
use std::thread::ScopedJoinHandle;

/// One server with one place, which is taken by the user that is returned.
fn full(setup: Setup) -> (Ebbtide, Client) {
    let ebbtide = Ebbtide::start(&setup);
    let one = ["server", "set", "app/web1", "max_sessions=1"];
    ebbtide.cli(&one).exits(0);
    let (user, _) = ebbtide.user();
    (ebbtide, user)
}

fn leave(ebbtide: &Ebbtide) {
    ebbtide.cli(&["forget", "app/web1"]).exits(0);
}

fn setup(servers: &[Model], line: &str) -> Setup {
    Setup::new(servers).with(line)
}

/// Asks without a session, and waits as long as it takes.
fn ask(ebbtide: &Ebbtide) -> Answer {
    let mut client = Client::new(ebbtide.address, LIMIT * 2);
    client.send(&Request::get("/")).answer()
}

/// How many wait in line.
fn waiting(ebbtide: &Ebbtide) -> u64 {
    let mut client = Client::new(ebbtide.address, LIMIT);
    let state = client.send(&Request::get("/.ebbtide/gate")).answer();
    let state: serde_json::Value = serde_json::from_slice(&state.body).unwrap();
    state["waiting"].as_u64().unwrap()
}

#[track_caller]
fn wait_for_line(ebbtide: &Ebbtide, number: u64) {
    let what = format!("{number} wait in line");
    until(&what, LIMIT, || (waiting(ebbtide) == number).then_some(()));
}

#[test]
fn a_full_pool_says_so_in_its_own_words_and_to_the_balancer_in_front() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let setup = setup(&servers, "health_alias = \"/FVHealth.aspx\"")
        .with("pages = { full_text = \"Ring <4455>\" }")
        .with("health_page = { template = \"<html>{{status}}</html>\", content_type = \"text/html\", full = 429, hold = 404 }");
    let (ebbtide, _user) = full(setup);
    let answer = ask(&ebbtide);
    assert_eq!(answer.head.status(), 503);
    assert_eq!(answer.head.field("retry-after"), Some("30"));
    assert!(
        answer.text().contains("Ring &lt;4455&gt;"),
        "{}",
        answer.text()
    );
    let health = || {
        let mut client = Client::new(ebbtide.address, LIMIT);
        let answer = client.send(&Request::get("/FVHealth.aspx")).answer();
        assert_eq!(answer.head.field("content-type"), Some("text/html"));
        (answer.head.status(), answer.text())
    };
    assert_eq!(health(), (429, "<html>ALL SESSIONS IN USE</html>".into()));
    leave(&ebbtide);
    assert_eq!(
        health(),
        (200, "<html>ACTIVE - 1 Sessions Available</html>".into())
    );
    ebbtide.cli(&["hold", "app/web1", "--force"]).exits(0);
    assert_eq!(health(), (404, "<html>ON HOLD</html>".into()));
}

#[test]
fn a_server_is_given_as_many_users_as_its_page_has_places_until_it_is_asked_again() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    servers[0].say("<b>ACTIVE</b> - 2 Sessions Available");
    let once =
        "health = { path = \"/health\", expect = \"ACTIVE\", every = \"1h\", timeout = \"9s\" }\n";
    let ebbtide = Ebbtide::start(&Setup::new(&servers).pool(once));
    let mut users: Vec<Client> = (0..2).map(|_| ebbtide.user().0).collect();
    assert_eq!(ask(&ebbtide).head.status(), 503, "both places are taken");
    assert_eq!(ebbtide.reason("web1"), "reports-full");
    assert_eq!(ebbtide.server("web1")["health"]["places"], 0);
    for user in &mut users {
        let answer = user.send(&Request::get("/")).answer();
        assert_eq!(answer.head.status(), 200, "who is there stays");
    }
}

#[test]
fn people_wait_in_line_in_the_order_of_arrival() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let (ebbtide, user) = full(setup(&servers, "queue = \"5m\"\nqueue_max = 3"));
    std::thread::scope(|scope| {
        let mut line: Vec<ScopedJoinHandle<'_, Answer>> = Vec::new();
        for number in 0..3 {
            line.push(scope.spawn(|| ask(&ebbtide)));
            wait_for_line(&ebbtide, number + 1);
        }
        // The line has an end: who comes then is told at once.
        assert_eq!(ask(&ebbtide).head.status(), 503);
        drop(user);
        for waiting in line {
            leave(&ebbtide);
            // Whoever came first gets the place, and keeps it until it is forgotten.
            assert_eq!(waiting.join().unwrap().head.status(), 200);
        }
    });
}

#[test]
fn whoever_leaves_the_line_gives_the_place_up() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let (ebbtide, _user) = full(setup(&servers, "queue = \"5m\"\nqueue_max = 1"));
    let mut first = Wire::connect(ebbtide.address, LIMIT).unwrap();
    first.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    wait_for_line(&ebbtide, 1);
    assert_eq!(ask(&ebbtide).head.status(), 503, "there is room for one");
    drop(first);
    std::thread::scope(|scope| {
        wait_for_line(&ebbtide, 0);
        let second = scope.spawn(|| ask(&ebbtide));
        wait_for_line(&ebbtide, 1);
        leave(&ebbtide);
        assert_eq!(second.join().unwrap().head.status(), 200);
    });
}

#[test]
fn the_line_ends_with_its_time_or_with_the_pool() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let (ebbtide, _user) = full(setup(&servers, "queue = \"1s\""));
    let late = ask(&ebbtide);
    assert_eq!(late.head.status(), 503);
    assert!(
        late.text().contains("All sessions in use"),
        "{}",
        late.text()
    );
    let longer = setup(&servers, "queue = \"5m\"");
    ebbtide.configure(&longer);
    ebbtide.cli(&["reload"]).exits(0);
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ask(&ebbtide));
        wait_for_line(&ebbtide, 1);
        ebbtide.cli(&["close", "app", "--within", "10m"]).exits(0);
        let closed = waiting.join().unwrap();
        ebbtide.cli(&["open", "app"]).exits(0);
        let waiting = scope.spawn(|| ask(&ebbtide));
        wait_for_line(&ebbtide, 1);
        ebbtide.cli(&["hold", "app/web1", "--force"]).exits(0);
        vec![closed, waiting.join().unwrap()]
    });
    let said = ["Down for maintenance", "Service unavailable"];
    for (answer, said) in answers.iter().zip(said) {
        assert_eq!(answer.head.status(), 503);
        assert!(answer.text().contains(said), "{}", answer.text());
    }
}
