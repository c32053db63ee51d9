//! Servers that come from a name, and servers that are added beside the file.

use crate::harness::{Ebbtide, HEALTH, LIMIT, Setup, models, text};
use ebbtide_testkit::{Model, Scratch, free_address, until};
use std::net::SocketAddr;

/// Below the ports of outgoing connections, and not one that another test has at the same moment.
fn port() -> u16 {
    let spread = std::process::id() % 6_000;
    10_000 + spread as u16
}

#[test]
fn a_name_of_this_machine_becomes_a_server_that_users_reach() {
    let scratch = Scratch::new();
    let address = SocketAddr::from(([127, 0, 0, 1], port()));
    let _model = Model::start_at("local", address, &scratch.join("ledger"));
    let mut setup = Setup::new(&[]).pool(HEALTH);
    setup.more = format!(
        "[pools.app.servers.web]\naddress = \"localhost:{}\"\nresolve = \"1s\"\nweight = 3\n",
        address.port()
    );
    let ebbtide = Ebbtide::start(&setup);
    let name = until("a server by the name is ready", LIMIT, || {
        let servers = ebbtide.status()["pools"][0]["servers"].clone();
        let ready = servers
            .as_array()?
            .iter()
            .find(|server| server["of_name"] == "web" && server["standing"]["reason"] == "ready");
        ready.map(|server| text(&server["name"]))
    });
    assert!(name.starts_with("web-"), "{name}");
    assert_eq!(ebbtide.server(&name)["weight"], 3);
    assert_eq!(ebbtide.user().1.server, "local");
    // `localhost` may be an IPv6 address too, where nobody answers: as any server that is down.
    let shown = ebbtide.cli(&["status"]).exits(0).out;
    assert!(shown.contains("by the name web"), "{shown}");
    let refused = ebbtide
        .cli(&["server", "remove", &format!("app/{name}")])
        .exits(2);
    assert!(refused.err.contains("would come again"), "{refused:?}");
}

#[test]
fn an_own_listener_behind_a_name_is_left_out() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let mut setup = Setup::new(&servers);
    let ebbtide = Ebbtide::prepare(&setup);
    let own = ebbtide.address;
    let mut ebbtide = ebbtide;
    setup.more = format!(
        "[listeners.loop]\nbind = \"0.0.0.0:{port}\"\npool = \"app\"\n\
         [pools.app.servers.web]\naddress = \"localhost:{port}\"\nresolve = \"1s\"\n",
        port = port() + 6_000
    );
    ebbtide.configure(&setup);
    ebbtide.start_again();
    assert_eq!(ebbtide.address, own);
    until("the name has its mark", LIMIT, || {
        let names = ebbtide.status()["pools"][0]["names"].clone();
        let trouble = names[0]["trouble"].as_str()?.to_owned();
        trouble
            .contains("leads back here, to listener loop")
            .then_some(())
    });
    let shown = ebbtide.cli(&["status"]).exits(0).out;
    assert!(shown.contains("web (localhost): "), "{shown}");
}

#[test]
fn a_server_that_was_added_and_the_files_own_are_kept_apart() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let mut ebbtide = Ebbtide::start(&Setup::new(&servers[..1]));
    let added = servers[1].address.to_string();
    ebbtide.cli(&["server", "add", "app/web2", &added]).exits(0);
    ebbtide.wait_for_reason("web2", "ready");
    ebbtide.kill();
    ebbtide.start_again();
    ebbtide.wait_for_reason("web2", "ready");

    let mut both = Setup::new(&servers);
    both.servers[1].1 = free_address();
    ebbtide.configure(&both);
    let came = ebbtide.cli(&["reload"]).exits(0).out;
    assert!(came.contains("app/web2 is in the file now"), "{came}");
    let refused = ebbtide.cli(&["server", "remove", "app/web2"]).exits(2);
    assert!(
        refused.err.contains("in the configuration file"),
        "{refused:?}"
    );
    ebbtide.configure(&Setup::new(&servers[..1]));
    let left = ebbtide.cli(&["reload"]).exits(0).out;
    assert!(left.contains("goes on as it was added live"), "{left}");
    ebbtide.wait_for_reason("web2", "ready");
    assert_eq!(ebbtide.server("web2")["address"], added.as_str());
}

#[test]
fn a_server_that_is_down_is_removed_with_a_warning() {
    let scratch = Scratch::new();
    let mut servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers[..1]));
    let added = servers[1].address.to_string();
    ebbtide.cli(&["server", "add", "app/web2", &added]).exits(0);
    ebbtide.wait_for_reason("web2", "ready");
    let [_on_web2, _others] = ebbtide.users(6, "web2");
    let refused = ebbtide.cli(&["server", "remove", "app/web2"]).exits(4);
    assert!(refused.err.contains("drain it first"), "{refused:?}");
    servers[1].kill();
    ebbtide.wait_for_reason("web2", "down");
    let removed = ebbtide.cli(&["server", "remove", "app/web2"]).exits(0).out;
    assert!(
        removed.contains("beware: it was down (connection refused)"),
        "{removed}"
    );
    assert_eq!(ebbtide.user().1.server, "web1");
}
