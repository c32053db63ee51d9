//! The pictures of docs/console.md, of a pool at work:
//!
//! ```text
//! EBBTIDE_PICTURES=$PWD/docs/images cargo test -p ebbtide --test e2e -- --ignored pictures_of_the_console
//! ```

use super::desk::Desk;
use crate::harness::{Ebbtide, LIMIT, Setup, models};
use ebbtide_api::Role;
use ebbtide_testkit::{Client, Model, Request, Scratch, free_address, until};
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

const NAMES: [&str; 24] = [
    "anna", "boris", "carla", "deniz", "emeka", "fatima", "gwen", "hiro", "ines", "jonas", "katya",
    "liam", "mira", "noor", "olga", "pavel", "quinn", "rosa", "sven", "tara", "uma", "viktor",
    "wen", "xenia",
];
/// How long users stay, in milliseconds, one after the other: a few long, many short.
const STAYS: [u64; 8] = [
    9_000, 31_000, 14_000, 95_000, 22_000, 48_000, 11_000, 160_000,
];

/// The file of users is shown where it stands at home, and not in the folder of this test.
const WITHOUT_THE_TEST: &str = "const file = '/var/lib/ebbtide/users'; const put = () => {\
     const place = document.querySelector('[aria-labelledby=a-users] .aside code');\
     if (place && place.textContent !== file) place.textContent = file; };\
     put(); new MutationObserver(put).observe(document.body, { subtree: true, childList: true, characterData: true })";

/// Users who come, work, and log out, until they are dropped.
struct Users {
    /// Each user stops when what it holds here is dropped.
    _stops: Vec<Sender<()>>,
}

impl Users {
    fn start(front: SocketAddr, count: usize) -> Self {
        let begin = |number: usize| {
            let (sender, stop) = channel();
            thread::spawn(move || work(front, number, &stop));
            sender
        };
        Self {
            _stops: (0..count).map(begin).collect(),
        }
    }
}

fn work(front: SocketAddr, number: usize, stop: &Receiver<()>) {
    let mut stays = (0..).map(|visit| STAYS[(number * 5 + visit * 3) % STAYS.len()]);
    let mut client = Client::new(front, LIMIT);
    loop {
        client.jar.clear();
        client
            .jar
            .insert("user".into(), NAMES[number % NAMES.len()].into());
        let end = Instant::now() + Duration::from_millis(stays.next().unwrap_or(10_000));
        let pause = Duration::from_millis(700 + 430 * (number as u64 % 9));
        while Instant::now() < end {
            client.send(&Request::get("/"));
            match stop.recv_timeout(pause) {
                Err(RecvTimeoutError::Timeout) => {}
                _ => return,
            }
        }
        client.send(&Request::get("/version"));
    }
}

fn take(desk: &Desk, name: &str, width: u32, height: u32) {
    let Some(folder) = std::env::var_os("EBBTIDE_PICTURES").map(PathBuf::from) else {
        return;
    };
    for scheme in ["light", "dark"] {
        desk.browser.prefer("prefers-color-scheme", scheme);
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        desk.browser
            .devtools("Emulation.setDeviceMetricsOverride", &size);
        desk.run("return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))");
        let name = match scheme {
            "light" => format!("console-{name}.png"),
            _ => format!("console-{name}-{scheme}.png"),
        };
        desk.browser.picture(&folder.join(name));
    }
}

fn take_all(ebbtide: &Ebbtide, desk: &Desk) {
    for (name, role) in [("deploy", "operator"), ("grafana", "viewer")] {
        let add = ["token", "add", name, "--role", role];
        ebbtide.cli(&add).exits(0);
    }
    desk.open("/");
    take(desk, "pools", 1280, 1010);
    take(desk, "pools-phone", 390, 800);
    desk.open("/servers/orders/web2");
    take(desk, "server", 1280, 900);
    desk.open("/sessions?pool=orders");
    take(desk, "sessions", 1280, 800);
    desk.open("/");
    desk.panel("/do/drain?server=orders/web1");
    desk.fill("#p-within", "10m");
    desk.fill("#p-message", "Upgrade tonight. Please save your work.");
    desk.wait_for_text("#foretold .as-message", "Upgrade");
    take(desk, "drain-panel", 1280, 900);
    desk.click("dialog [data-close]");
    let close = [
        "close",
        "orders",
        "--within",
        "15m",
        "--for",
        "2h",
        "--message",
        "Upgrade tonight. Please save your work.",
    ];
    ebbtide.cli(&close).exits(0);
    desk.open("/maintenance");
    take(desk, "maintenance", 1280, 800);
    for (page, name) in [
        ("/events", "events"),
        ("/audit", "audit"),
        ("/node", "node"),
        ("/access", "access"),
        ("/api", "api"),
        ("/replicas", "replicas"),
    ] {
        desk.open(page);
        desk.run(WITHOUT_THE_TEST);
        take(desk, name, 1280, 700);
    }
}

/// A pool whose users have names, beside the plain one.
fn orders(servers: &[Model], front: SocketAddr) -> Setup {
    let mut setup = Setup::new(&servers[4..]);
    let address = |index: usize| servers[index].address;
    setup.more = format!(
        "[listeners.orders]\nbind = \"{front}\"\npool = \"orders\"\n[pools.orders]\nminimum = 2\n\
         user = {{ cookie = \"user\" }}\nsticky = {{ reuse = \"5m\", active = \"3s\" }}\nlogout = [\"/version\"]\n\
         health = {{ path = \"/health\", expect = \"ACTIVE\", every = \"500ms\", rise = 1 }}\n\
         contact = \"Operations, ext. 4455\"\n[pools.orders.servers]\n\
         web1 = {{ address = \"{}\", max_sessions = 40 }}\nweb2 = {{ address = \"{}\", max_sessions = 40 }}\n\
         web3 = {{ address = \"{}\", max_sessions = 25 }}\nweb4 = {{ address = \"{}\", max_sessions = 25 }}\n",
        address(0),
        address(1),
        address(2),
        address(3)
    );
    setup
}

#[test]
#[ignore = "takes the pictures of docs/console.md"]
fn pictures_of_the_console() {
    let scratch = Scratch::new();
    let servers = models(6, &scratch);
    let front = free_address();
    let setup = orders(&servers, front);
    let ebbtide = Ebbtide::start(&setup);
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Admin);
    let (users, others) = (Users::start(front, 72), Users::start(ebbtide.address, 18));
    let begun = Instant::now();
    until("some have come and gone", Duration::from_secs(200), || {
        (begun.elapsed() > Duration::from_secs(100)).then_some(())
    });
    let drain = [
        "drain",
        "orders/web2",
        "--within",
        "4m",
        "--reason",
        "kernel update",
        "--message",
        "web2 is updated tonight. Please save your work; you can go on at once on another server.",
    ];
    ebbtide.cli(&drain).exits(0);
    ebbtide
        .cli(&["hold", "orders/web4", "--reason", "disk is slow"])
        .exits(0);
    ebbtide
        .cli(&["maintenance", "app/web6", "--reason", "new memory"])
        .exits(0);
    servers[2].say("ON HOLD");
    until("some have left", Duration::from_secs(200), || {
        (begun.elapsed() > Duration::from_secs(150)).then_some(())
    });
    take_all(&ebbtide, &desk);
    drop((users, others));
}
