//! Sessions that operators move: one, all of a server, and for a test. Their clients see nothing of it.

use super::{Farm, NAMES, Server, image};
use crate::harness::{Events, LIMIT, text};
use ebbtide_testkit::until;
use rustix::process::Signal;
use serde_json::Value;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// What is read between two events.
const PIECE_BYTES: usize = 8 << 20;

/// Three servers with the same image, and a client that reads it as fast as the test takes it.
pub struct Scene {
    image: Vec<u8>,
    pub farm: Farm,
    servers: Vec<Server>,
    client: Child,
    output: ChildStdout,
    read: usize,
}

impl Scene {
    pub fn begin(start: impl Fn(SocketAddr, &Path) -> Server) -> Self {
        let image = image();
        let mut farm = Farm::prepare(&image, 3);
        let start = |index: usize| start(farm.addresses[index], &farm.file(NAMES[index]));
        let servers = (0..3).map(start).collect();
        farm.start();
        let mut client = Command::new("nbdcopy")
            .args([&farm.uri(), "-"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("nbdcopy starts; `cargo xtask test` installs it");
        let output = client.stdout.take().unwrap();
        Self {
            image,
            farm,
            servers,
            client,
            output,
            read: 0,
        }
    }

    /// Reads on: the bytes must be right. Then the session has moved so often; the server it is on.
    pub fn read_on(&mut self, moves: u64) -> usize {
        let mut bytes = vec![0; PIECE_BYTES];
        self.output.read_exact(&mut bytes).expect("no error");
        let expected = &self.image[self.read..self.read + PIECE_BYTES];
        assert!(bytes == expected, "the same bytes from {} on", self.read);
        self.read += PIECE_BYTES;
        let session = self.farm.session().expect("it is live");
        assert_eq!(session["moves"], moves, "{}", self.farm.ebbtide().log());
        let server = text(&session["server"]);
        NAMES.iter().position(|name| *name == server).unwrap()
    }

    /// What a command printed as JSON that ended with this code.
    fn told(&self, arguments: &[&str], code: i32) -> Value {
        let ran = self.farm.ebbtide().cli(arguments);
        ran.exits(code).json()
    }

    /// Reads the rest.
    pub fn finish(mut self) {
        let mut rest = Vec::new();
        self.output.read_to_end(&mut rest).unwrap();
        assert!(rest == self.image[self.read..], "the same bytes");
        assert!(self.client.wait().unwrap().success());
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

pub fn nbdkit(address: SocketAddr, file: &Path) -> Server {
    Server::nbdkit(address, file, &[])
}

fn name(server: usize) -> String {
    format!("app/{}", NAMES[server])
}

#[test]
fn a_session_is_moved_and_a_server_is_stopped_under_a_copy() {
    let mut scene = Scene::begin(nbdkit);
    let first = scene.read_on(0);
    let id = text(&scene.farm.session().unwrap()["id"]);
    let (second, third) = ((first + 1) % 3, (first + 2) % 3);

    let told = scene.told(&["move", &id, "--to", &name(second), "--json"], 0);
    assert_eq!(told["sessions"][0]["to"], name(second), "{told}");
    assert_eq!(
        text(&scene.farm.session().unwrap()["server"]),
        NAMES[second]
    );
    assert!(told["longest_pause_us"].is_u64(), "{told}");
    assert_eq!(scene.read_on(1), second);
    let said = scene
        .farm
        .ebbtide()
        .cli(&["move", &id, "--to", &name(third)])
        .exits(0)
        .out;
    let expected = format!(
        "session {id}: {} -> {}, longest pause ",
        name(second),
        name(third)
    );
    assert!(said.starts_with(&expected), "{said}");
    assert_eq!(scene.read_on(2), third);
    let again = scene
        .farm
        .ebbtide()
        .cli(&["move", &id, "--to", &name(third)])
        .exits(2);
    assert!(again.err.contains("already"), "{}", again.err);
    scene
        .farm
        .ebbtide()
        .cli(&["move", "00c0ffee00c0ffee"])
        .exits(1);

    let told = scene.told(&["stop", &name(third), "--within", "5m", "--json"], 0);
    assert_eq!(
        (&told["moved"], &told["stayed"]),
        (&1.into(), &0.into()),
        "{told}"
    );
    let fourth = scene.read_on(3);
    assert_ne!(fourth, third);
    scene
        .farm
        .ebbtide()
        .wait_for_reason(NAMES[third], "maintenance");
    let audit = scene.farm.ebbtide().cli(&["audit"]).exits(0).out;
    for word in [" move ", " stop ", " drain end "] {
        assert!(audit.contains(word), "{word} in {audit}");
    }
    scene.farm.ebbtide().cli(&["ready", &name(third)]).exits(0);
    scene.finish();
}

#[test]
fn drills_move_and_cut_under_a_copy_and_put_the_server_back() {
    let mut scene = Scene::begin(Server::qemu);
    let events = Events::follow(scene.farm.ebbtide());
    let first = scene.read_on(0);
    let told = scene.told(&["drill", &name(first), "--within", "1m", "--json"], 0);
    assert_eq!(told["moved"], 1, "{told}");
    assert_eq!(told["complete"], true, "{told}");
    let second = scene.read_on(1);
    assert_ne!(second, first);
    assert_eq!(scene.farm.ebbtide().reason(NAMES[first]), "ready");

    let said = scene
        .farm
        .ebbtide()
        .cli(&["drill", &name(second), "--cut", "--within", "1m"]);
    let said = said.exits(0).out;
    assert!(
        said.contains("passed: 1 session moved, longest pause "),
        "{said}"
    );
    let third = scene.read_on(2);
    assert_ne!(third, second);
    assert_eq!(scene.farm.ebbtide().intent(NAMES[second]), "ready");
    let ended = events.wait_for(&name(second), "drill-ended", &[]);
    assert_eq!(
        (&ended["passed"], &ended["moved"]),
        (&true.into(), &1.into()),
        "{ended}"
    );
    scene.finish();
}

#[test]
fn a_drill_that_fails_or_is_left_alone_puts_the_server_back_too() {
    let mut scene = Scene::begin(nbdkit);
    let third = scene.read_on(0);
    // The others take connections and say nothing: the drill takes its time, and fails.
    let others = [(third + 1) % 3, (third + 2) % 3];
    for other in others {
        scene.servers[other].signal(Signal::STOP);
    }
    let told = scene.told(&["drill", &name(third), "--within", "1s", "--json"], 3);
    assert_eq!(
        (&told["moved"], &told["stayed"]),
        (&0.into(), &1.into()),
        "{told}"
    );
    assert_eq!(scene.farm.ebbtide().reason(NAMES[third]), "ready");

    // Whoever asked for it goes away in the middle.
    let mut asking = scene
        .farm
        .ebbtide()
        .cli_command(&["drill", &name(third), "--within", "3s"]);
    let mut asking = asking.spawn().unwrap();
    scene.farm.ebbtide().wait_for_reason(NAMES[third], "drill");
    asking.kill().unwrap();
    asking.wait().unwrap();
    scene.farm.ebbtide().wait_for_reason(NAMES[third], "ready");
    until("every drill's end is in the audit log", LIMIT, || {
        let audit = scene.farm.ebbtide().cli(&["audit"]).exits(0).out;
        (audit.matches(" drill end ").count() == 2).then_some(())
    });
    for other in others {
        scene.servers[other].signal(Signal::CONT);
    }

    // What would harm is refused.
    scene
        .farm
        .ebbtide()
        .cli(&["hold", &name(others[0])])
        .exits(0);
    scene
        .farm
        .ebbtide()
        .cli(&["drill", &name(others[0])])
        .exits(4);
    scene
        .farm
        .ebbtide()
        .cli(&["hold", &name(others[1]), "--force"])
        .exits(0);
    let refused = scene.farm.ebbtide().cli(&["drill", &name(third)]).exits(4);
    assert!(
        refused.err.contains("no server for them"),
        "{}",
        refused.err
    );
    for other in others {
        scene.farm.ebbtide().cli(&["ready", &name(other)]).exits(0);
    }
    scene.finish();
}

#[test]
fn a_drill_ends_with_the_program() {
    let mut scene = Scene::begin(nbdkit);
    let first = scene.read_on(0);
    for other in (0..3).filter(|other| *other != first) {
        scene.servers[other].signal(Signal::STOP);
    }
    let mut asking = scene
        .farm
        .ebbtide()
        .cli_command(&["drill", &name(first), "--within", "1m"]);
    let mut asking = asking.spawn().unwrap();
    scene.farm.ebbtide().wait_for_reason(NAMES[first], "drill");
    let ebbtide = scene.farm.ebbtide.as_mut().unwrap();
    ebbtide.kill();
    asking.wait().unwrap();
    ebbtide.start_again();
    until("the server is as before", LIMIT, || {
        let server = scene.farm.ebbtide().server(NAMES[first]);
        (server["standing"]["admits_new"] == true).then_some(())
    });
    assert_eq!(scene.farm.ebbtide().intent(NAMES[first]), "ready");
}
