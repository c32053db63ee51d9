//! The wall clock of a running Ebbtide steps by an hour, both ways: nothing that it waits for comes
//! early or late, nobody is moved, and what is shown follows the clock.

use crate::harness::{Ebbtide, LIMIT, Setup, models, page, text, timestamp};
use ebbtide_testkit::{Client, Page, Request, Scratch, Tunnel, until};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

const HOUR: i64 = 3600;
const LONG: Duration = Duration::from_secs(1200);
const SHORT: Duration = Duration::from_secs(3);
/// Between reading one clock and the other, and of a status that is shown twice.
const TOLERANCE: Duration = Duration::from_secs(2);

/// What libfaketime adds to the wall clock.
struct Offset(PathBuf);

impl Offset {
    /// Steps the clock to that many seconds off; whoever reads it next sees all of the step.
    fn set(&self, seconds: i64) {
        let new = self.0.with_extension("new");
        fs::write(&new, format!("{seconds:+}\n")).expect("the offset can be written");
        fs::rename(new, &self.0).expect("the offset can be replaced");
    }
}

/// Starts it with a wall clock that can be stepped. All its other clocks are the machine's own.
fn start(setup: &Setup) -> (Ebbtide, Offset) {
    let mut ebbtide = Ebbtide::prepare(setup);
    let offset = Offset(ebbtide.scratch.join("offset"));
    offset.set(0);
    let asked = Command::new("faketime")
        .args(["-m", "-f", "+0", "printenv", "LD_PRELOAD"])
        .output()
        .expect("faketime is installed, as `cargo xtask test` does");
    let library = String::from_utf8(asked.stdout).expect("a path");
    let mut command = ebbtide.command();
    command
        .env("LD_PRELOAD", library.trim())
        .env("FAKETIME_TIMESTAMP_FILE", &offset.0)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    ebbtide.run(&mut command);
    ebbtide.wait_until_probed();
    (ebbtide, offset)
}

/// A drain, and between which two moments its deadline must be, by a clock that does not step.
struct Drain {
    server: &'static str,
    earliest: Instant,
    latest: Instant,
}

impl Drain {
    fn begin(ebbtide: &Ebbtide, server: &'static str, within: Duration) -> Self {
        let span = format!("{}s", within.as_secs());
        let earliest = Instant::now() + within;
        ebbtide
            .cli(&["drain", &format!("app/{server}"), "--within", &span])
            .exits(0);
        let latest = Instant::now() + within;
        Self {
            server,
            earliest,
            latest,
        }
    }

    /// The operator and a user of it see the time that is really left, and the same deadline.
    fn is_shown_truly(&self, ebbtide: &Ebbtide, user: &mut Client) {
        let begin = Instant::now();
        let intent = ebbtide.server(self.server)["intent"].clone();
        let own: Value = {
            let answer = user.send(&Request::get("/.ebbtide/session")).answer();
            serde_json::from_slice(&answer.body).expect("JSON")
        };
        let least = self.earliest - Instant::now();
        let most = self.latest - begin;
        let left = [
            Duration::from_millis(intent["left_ms"].as_u64().expect("a span")),
            Duration::from_secs(own["notice"]["seconds_left"].as_u64().expect("a span")),
        ];
        for left in left {
            assert!(
                left + TOLERANCE >= least && left <= most + TOLERANCE,
                "{left:?} left, not {least:?} to {most:?}"
            );
        }
        let shown = [
            timestamp(&intent["deadline"]),
            timestamp(&own["notice"]["ends"]),
        ];
        assert!(is_near(shown[0], shown[1]), "{intent} {own}");
    }
}

fn is_near(one: SystemTime, other: SystemTime) -> bool {
    let (earlier, later) = (one.min(other), one.max(other));
    later.duration_since(earlier).expect("the later one") <= TOLERANCE
}

fn assert_stay(users: &mut [(Client, Page)]) {
    for (client, before) in users {
        let now = page(client);
        assert_eq!((&now.server, &now.login), (&before.server, &before.login));
    }
}

/// A pool that was probed at the start and is not to be probed again for almost an hour.
fn standing_of_rare(ebbtide: &Ebbtide) -> String {
    let status = ebbtide.status();
    let pools = status["pools"].as_array().expect("pools");
    let rare = pools.iter().find(|pool| pool["name"] == "rare");
    text(&rare.expect("rare")["servers"][0]["standing"]["reason"])
}

/// A drain that began just before a step is over when it is due: its users are not moved before,
/// nor kept for an hour.
fn drain_over_a_step(ebbtide: &Ebbtide, offset: &Offset, seconds: i64) {
    let [mut users, _] = ebbtide.users(12, "web3");
    let drain = Drain::begin(ebbtide, "web3", SHORT);
    offset.set(seconds);
    until("the drain is over", LIMIT, || {
        let over = ebbtide.intent("web3") == "maintenance";
        let moved = users
            .iter_mut()
            .any(|(client, _)| page(client).server != "web3");
        let early = Instant::now() < drain.earliest;
        assert!(!early || !over && !moved, "over before its deadline");
        over.then_some(())
    });
    for (client, _) in &mut users {
        assert_eq!(page(client).server, "web4");
    }
    // What is new is dated by the stepped clock: it has really been stepped.
    let now = SystemTime::now();
    let expected = match u64::try_from(seconds) {
        Ok(ahead) => now + Duration::from_secs(ahead),
        Err(_) => now - Duration::from_secs(seconds.unsigned_abs()),
    };
    let since = timestamp(&ebbtide.server("web3")["intent"]["since"]);
    assert!(is_within_minutes(since, expected), "{since:?} {expected:?}");
}

fn is_within_minutes(one: SystemTime, other: SystemTime) -> bool {
    let (earlier, later) = (one.min(other), one.max(other));
    later.duration_since(earlier).expect("the later one") < Duration::from_secs(600)
}

/// One step to `seconds` off, and back to the right time.
fn step_and_return(seconds: i64) {
    let scratch = Scratch::new();
    let mut servers = models(5, &scratch);
    let rare = servers.pop().expect("five");
    let mut setup = Setup::new(&servers);
    setup.more = format!(
        "[pools.rare]\nprotocol = \"http\"\n\
         health = {{ path = \"/health\", expect = \"ACTIVE\", every = \"50m\" }}\n\
         [pools.rare.servers]\nweb5 = \"{}\"\n",
        rare.address
    );
    let (ebbtide, offset) = start(&setup);
    rare.say("ON HOLD");
    let [mut at_web1, others] = ebbtide.users(16, "web1");
    let mut at_web2: Vec<_> = others
        .into_iter()
        .filter(|(_, page)| page.server == "web2")
        .collect();
    let cookies = at_web1[0].0.jar.iter();
    let cookies: Vec<_> = cookies
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let mut tunnel = Tunnel::open(ebbtide.address, LIMIT, &cookies.join("; "))
        .expect("a connection")
        .expect("101");
    let drain = Drain::begin(&ebbtide, "web1", LONG);
    ebbtide.cli(&["hold", "app/web2"]).exits(0);
    let deadline = ebbtide.deadline("web1");

    for seconds in [seconds, 0] {
        drain_over_a_step(&ebbtide, &offset, seconds);
        drain.is_shown_truly(&ebbtide, &mut at_web1[0].0);
        assert_eq!(ebbtide.intent("web1"), "drain");
        assert_eq!(ebbtide.intent("web2"), "hold");
        assert_stay(&mut at_web1);
        assert_stay(&mut at_web2);
        tunnel.echo(b"still there?").expect("the tunnel is open");
        assert_eq!(standing_of_rare(&ebbtide), "ready", "a probe came early");

        ebbtide.cli(&["ready", "app/web3"]).exits(0);
        servers[3].kill();
        ebbtide.wait_for_reason("web4", "down");
        servers[3].start_again();
        ebbtide.wait_for_reason("web4", "ready");
        for _ in 0..8 {
            let server = ebbtide.user().1.server;
            assert!(server == "web3" || server == "web4", "sent to {server}");
        }
    }
    assert!(is_near(ebbtide.deadline("web1"), deadline));
}

#[test]
fn the_wall_clock_steps_an_hour_ahead_and_back() {
    step_and_return(HOUR);
}

#[test]
fn the_wall_clock_steps_an_hour_back_and_ahead() {
    step_and_return(-HOUR);
}
