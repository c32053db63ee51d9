//! Pages and panels on a phone and on a wide screen, in light and dark: whether everybody can use them,
//! and whether all of them fits.

use super::axe::faults;
use super::desk::Desk;
use crate::harness::{Ebbtide, LIMIT, Setup, models};
use ebbtide_api::Role;
use ebbtide_testkit::{Client, Model, Request, Scratch};
use serde_json::json;
use std::collections::BTreeSet;

const PAGES: [&str; 12] = [
    "/",
    "/servers/app/web1",
    "/servers/app/web2",
    "/sessions?pool=app",
    "/maintenance",
    "/replicas",
    "/events?kind=all",
    "/audit",
    "/node",
    "/access",
    "/sessions?pool=app&ended=1",
    "/api",
];

/// Everything that the console can do: each of them has its panel.
const ACTS: [&str; 29] = [
    "add",
    "add-token",
    "add-user",
    "all-at-once",
    "close",
    "close-door",
    "door",
    "drain",
    "drill",
    "end",
    "forget",
    "hold",
    "maintenance",
    "move",
    "open",
    "ready",
    "rebalance",
    "reload",
    "remove",
    "remove-token",
    "remove-user",
    "rotate",
    "set",
    "stop",
    "stop-rebalance",
    "tell",
    "user-password",
    "user-role",
    "user-sign-out",
];

/// What does not fit, although nothing but tables and the row of pages may be moved sideways.
const TOO_WIDE: &str = "const page = document.scrollingElement;\
    const wide = page.scrollWidth > WIDTH ? ['the page: ' + page.scrollWidth] : [];\
    for (const one of document.querySelectorAll('body *')) {\
      const kept = getComputedStyle(one).overflowX === 'visible' || one.matches('.table, nav, .unseen, .skip, input');\
      if (kept || one.scrollWidth <= one.clientWidth) continue;\
      wide.push(one.outerHTML.slice(0, 100) + ': ' + one.scrollWidth + ' of ' + one.clientWidth);\
    } return wide";

/// A pool in which there is something to be done of every kind, with words that are hard to break.
struct Scene {
    ebbtide: Ebbtide,
    desk: Desk,
    width: u32,
    faults: Vec<String>,
    _servers: Vec<Model>,
    _scratch: Scratch,
}

impl Scene {
    fn of(width: u32, height: u32) -> Self {
        let scratch = Scratch::new();
        let servers = models(4, &scratch);
        let mut setup = Setup::new(&servers)
            .with("replica = true\nminimum = 3\nslow_start = \"1h\"\nuser = { cookie = \"user\" }")
            .with("sticky = { active = \"1s\" }");
        setup.servers.truncate(3);
        let ebbtide = Ebbtide::start(&setup);
        ebbtide.cli(&["hold", "app/web3", "--force"]).exits(0);
        let mut client = Client::new(ebbtide.address, LIMIT);
        for number in 0..300 {
            client.jar.clear();
            let user = format!("{}{number}", "long.name.of.somebody".repeat(4));
            client.jar.insert("user".into(), user);
            client.send(&Request::get("/")).answer();
        }
        let web4 = servers[3].address.to_string();
        let long = "Donaudampfschifffahrtsgesellschaftskapitän".repeat(3);
        for command in [
            &["maintenance", "app/web3", "--force"][..],
            &["ready", "app/web3", "--force"],
            &["server", "add", "app/web4", &web4, "--max-sessions", "5000"],
            &[
                "drain",
                "app/web2",
                "--within",
                "1h",
                "--message",
                &long,
                "--reason",
                &long,
                "--force",
            ],
            &["door", "app/web3"],
            &["token", "add", "ci", "--role", "viewer"],
        ] {
            ebbtide.cli(command).exits(0);
        }
        let desk = Desk::sign_in(&ebbtide, "anna", Role::Admin);
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        let emulate = "Emulation.setDeviceMetricsOverride";
        desk.browser.devtools(emulate, &size);
        Self {
            ebbtide,
            desk,
            width,
            faults: Vec::new(),
            _servers: servers,
            _scratch: scratch,
        }
    }

    /// Judges what is open, in light and dark.
    fn judge(&mut self, what: &str) {
        let script = TOO_WIDE.replace("WIDTH", &self.width.to_string());
        let mut found = self.desk.run(&script);
        for scheme in ["light", "dark"] {
            self.desk.browser.prefer("prefers-color-scheme", scheme);
            let judged = faults(&self.desk);
            found.as_array_mut().expect("a list").extend(judged);
        }
        let found = found.as_array().expect("a list");
        self.faults
            .extend(found.iter().map(|fault| format!("{what}: {fault}")));
    }

    /// Judges a page and each of its panels, one of each kind; which they were.
    fn judge_all(&mut self, page: &str) -> BTreeSet<String> {
        self.desk.open(page);
        self.judge(page);
        let links = self.desk.run(
            "return [...document.querySelectorAll('main a[data-panel]')].map((link) => link.getAttribute('href'))",
        );
        let mut acts = BTreeSet::new();
        for link in links.as_array().expect("links") {
            let link = link.as_str().expect("an address");
            if !acts.contains(act(link)) {
                acts.insert(self.judge_panel(link));
            }
        }
        acts
    }

    /// Judges the panel of this link; what would be done by it.
    fn judge_panel(&mut self, link: &str) -> String {
        self.desk.panel(link);
        self.judge(link);
        self.desk.click("dialog [data-close]");
        self.desk.wait_without("dialog[open]");
        act(link).to_owned()
    }
}

/// The word in the address of a panel.
fn act(link: &str) -> &str {
    let act = link.trim_start_matches("/do/");
    act.split_once('?').map_or(act, |(act, _)| act)
}

fn everything_fits(width: u32, height: u32) {
    let mut scene = Scene::of(width, height);
    let mut acts = BTreeSet::new();
    for page in PAGES {
        acts.append(&mut scene.judge_all(page));
    }
    // What was done, and why it was not.
    scene.desk.open("/");
    for (link, shown) in [
        ("/do/door?server=app/web1", "dialog .links"),
        ("/do/add?pool=app", "dialog [role=alert]"),
    ] {
        scene.desk.panel(link);
        scene.desk.click("dialog button.main");
        scene.desk.wait_for(shown);
        scene.judge(&format!("what came of {link}"));
        scene.desk.click("dialog [data-close]");
    }
    let rebalance = ["rebalance", "app", "--rate", "1", "--go"];
    scene.ebbtide.cli(&rebalance).exits(0);
    scene.desk.open("/");
    acts.insert(scene.judge_panel("/do/stop-rebalance?pool=app"));
    let close = ["close", "app", "--within", "1h", "--message", "Later"];
    scene.ebbtide.cli(&close).exits(0);
    scene.desk.open("/");
    scene.desk.wait_for(".alarm");
    scene.judge("the red banner");
    acts.append(&mut scene.judge_all("/maintenance"));
    assert!(scene.faults.is_empty(), "{}", scene.faults.join("\n"));
    let all = ACTS.map(str::to_owned).into();
    assert_eq!(acts, all, "every kind of panel was there");
}

#[test]
fn everything_fits_on_a_phone() {
    everything_fits(360, 740);
}

#[test]
fn everything_fits_a_wide_screen() {
    everything_fits(1920, 1080);
}
