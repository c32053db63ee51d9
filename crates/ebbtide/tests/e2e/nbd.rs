//! NBD pools with programs that are not ours: nbdkit and qemu-nbd serve, nbdcopy, qemu-img, nbdinfo and
//! fio read, and servers die, stop, and are drained meanwhile.

mod doors;
pub mod moves;

use crate::harness::{Ebbtide, Events, LIMIT, Setup, text};
use ebbtide_testkit::{Scratch, free_address, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

pub const IMAGE_BYTES: usize = 64 << 20;
/// What a server gives out at most: all of the image takes half a minute.
const SLOW: &str = "rate=16M";
/// How long a copy may take that slow servers answer.
const COPY_LIMIT: Duration = Duration::from_secs(240);

/// A server; it dies by `kill -9` with this value.
pub struct Server {
    pub address: SocketAddr,
    pub child: Child,
}

impl Server {
    pub fn start(command: &mut Command, address: SocketAddr) -> Self {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| {
            panic!("{program} cannot be started ({error}); `cargo xtask test` installs it")
        });
        until(&format!("{program} answers"), LIMIT, || {
            TcpStream::connect(address).ok()
        });
        Self { address, child }
    }

    pub fn nbdkit(address: SocketAddr, file: &Path, filter: &[&str]) -> Self {
        let mut command = Command::new("nbdkit");
        command.args(["-f", "-r", "-i", &address.ip().to_string()]);
        command.args(["-p", &address.port().to_string()]);
        if !filter.is_empty() {
            command.arg("--filter=rate");
        }
        command.arg("file").arg(file).args(filter);
        Self::start(&mut command, address)
    }

    fn qemu(address: SocketAddr, file: &Path) -> Self {
        let mut command = Command::new("qemu-nbd");
        command
            .args(["-r", "-t", "-e", "0", "-f", "raw", "-x", "disk"])
            .args(["-b", &address.ip().to_string()])
            .args(["-p", &address.port().to_string()])
            .arg(file);
        Self::start(&mut command, address)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }
}

impl Server {
    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Servers with a copy each, what their manifests say, and Ebbtide before them.
pub struct Farm {
    pub scratch: Scratch,
    pub addresses: Vec<SocketAddr>,
    ebbtide: Option<Ebbtide>,
}

pub const NAMES: [&str; 4] = ["web1", "web2", "web3", "web4"];

/// Data that is different everywhere, with zeroes in between.
pub fn image() -> Vec<u8> {
    image_of(IMAGE_BYTES)
}

pub fn image_of(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut bytes = vec![0; length];
    for (index, word) in bytes.chunks_exact_mut(8).enumerate() {
        if index % 65_536 < 49_152 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            word.copy_from_slice(&state.to_be_bytes());
        }
    }
    bytes
}

impl Farm {
    /// `count` copies of the image.
    pub fn prepare(image: &[u8], count: usize) -> Self {
        let scratch = Scratch::new();
        let farm = Self {
            addresses: (0..count).map(|_| free_address()).collect(),
            scratch,
            ebbtide: None,
        };
        for name in &NAMES[..count] {
            let file = farm.file(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            // The same file for all of them: nobody changes it.
            match *name {
                "web1" => fs::write(file, image).unwrap(),
                _ => fs::hard_link(farm.file("web1"), file).unwrap(),
            }
        }
        farm
    }

    pub fn file(&self, server: &str) -> PathBuf {
        self.scratch.join(server).join("disk")
    }

    pub fn start(&mut self) {
        for name in &NAMES[..self.addresses.len()] {
            let manifest = self.scratch.join(&format!("{name}.json"));
            let mut command = Command::new(env!("CARGO_BIN_EXE_ebbtide"));
            command.arg("manifest").arg(self.scratch.join(name));
            let ran = command.arg("-o").arg(manifest).output().unwrap();
            assert!(ran.status.success(), "{ran:?}");
        }
        let manifest = self.scratch.join("{server}.json");
        self.start_with(&format!(
            "manifest = {manifest:?}\nmanifest_every = \"1s\"\n"
        ));
        until("the manifests are known", LIMIT, || {
            self.run("nbdinfo", &["--size", &self.uri()])
                .status
                .success()
                .then_some(())
        });
        until("nobody is left", LIMIT, || {
            self.session().is_none().then_some(())
        });
    }

    /// Starts it with these lines of the pool.
    pub fn start_with(&mut self, lines: &str) {
        self.start_as(lines, "[pools.app.resources.disk]\n");
    }

    /// The same, with these resources.
    fn start_as(&mut self, lines: &str, resources: &str) {
        let servers = NAMES.iter().map(|name| (*name).to_owned());
        self.ebbtide = Some(Ebbtide::start(&Setup {
            top: String::new(),
            protocol: "nbd",
            pool: format!(
                "health = {{ every = \"200ms\", timeout = \"5s\" }}\n{lines}\
                 timeouts = {{ response = \"1s\", connect = \"1s\" }}\n"
            ),
            servers: servers.zip(self.addresses.iter().copied()).collect(),
            more: resources.into(),
        }));
    }

    pub fn ebbtide(&self) -> &Ebbtide {
        self.ebbtide.as_ref().unwrap()
    }

    pub fn uri(&self) -> String {
        format!("nbd://{}/disk", self.ebbtide().address)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let ran = Command::new(program).args(arguments).output();
        ran.unwrap_or_else(|error| panic!("{program}: {error}; `cargo xtask test` installs it"))
    }

    /// What a program printed that succeeded.
    fn printed(&self, program: &str, arguments: &[&str]) -> String {
        let ran = self.run(program, arguments);
        assert!(ran.status.success(), "{program}: {ran:?}");
        String::from_utf8(ran.stdout).unwrap()
    }

    /// The only session.
    pub fn session(&self) -> Option<Value> {
        let shown = self
            .ebbtide()
            .cli(&["sessions", "app", "--json"])
            .exits(0)
            .json();
        shown["sessions"].as_array().unwrap().first().cloned()
    }

    /// Waits until the session has been moved so often, and until more bytes have come to its client
    /// than before; the server that it is on.
    pub fn moved(&self, copy: &mut Copy, moves: u64) -> usize {
        let mut before = None;
        let server = until(&format!("move {moves}, and bytes after it"), LIMIT, || {
            assert!(
                copy.is_running(),
                "the copy goes on: {}",
                self.ebbtide().log()
            );
            let session = self.session().filter(|session| session["moves"] == moves)?;
            let bytes = session["bytes"].as_u64().unwrap();
            let before = *before.get_or_insert(bytes);
            (bytes > before).then(|| text(&session["server"]))
        });
        NAMES.iter().position(|name| *name == server).unwrap()
    }
}

/// A copy under way.
pub struct Copy {
    child: Child,
    target: PathBuf,
}

impl Copy {
    pub fn begin(farm: &Farm) -> Self {
        let target = farm.scratch.join("copied");
        let mut command = Command::new("nbdcopy");
        command.args(["--connections=1", "--requests=16"]);
        command.arg(farm.uri()).arg(&target);
        Self::by(&mut command, target)
    }

    /// What a program reads that was not started yet.
    pub fn by(command: &mut Command, target: PathBuf) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let child = child.expect("the client starts; `cargo xtask test` installs it");
        Self { child, target }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The bytes, after it has succeeded.
    pub fn finish(mut self) -> Vec<u8> {
        self.succeed();
        fs::read(&self.target).unwrap()
    }

    /// Waits until it has succeeded.
    pub fn succeed(&mut self) {
        let status = until("the copy ends", COPY_LIMIT, || {
            self.child.try_wait().unwrap()
        });
        assert!(status.success(), "{status}");
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_copy_outlives_servers_that_are_killed_stopped_drained_and_returned() {
    let image = image();
    let mut farm = Farm::prepare(&image, 3);
    let slow = |index: usize, farm: &Farm| {
        Server::nbdkit(farm.addresses[index], &farm.file(NAMES[index]), &[SLOW])
    };
    let mut servers: Vec<Server> = (0..3).map(|index| slow(index, &farm)).collect();
    farm.start();
    let mut copy = Copy::begin(&farm);
    let first = farm.moved(&mut copy, 0);
    let id = text(&farm.session().unwrap()["id"]);

    // kill -9.
    servers[first].child.kill().unwrap();
    servers[first].child.wait().unwrap();
    let second = farm.moved(&mut copy, 1);
    assert_ne!(second, first);
    servers[first] = slow(first, &farm);

    // A stop: it takes connections, and says nothing.
    farm.ebbtide().wait_for_reason(NAMES[first], "ready");
    servers[second].signal(Signal::STOP);
    let third = farm.moved(&mut copy, 2);
    assert_ne!(third, second);
    servers[second].signal(Signal::CONT);

    // A drain, and the return.
    let name = format!("app/{}", NAMES[third]);
    farm.ebbtide()
        .cli(&["drain", &name, "--within", "1m"])
        .exits(0);
    let fourth = farm.moved(&mut copy, 3);
    assert_ne!(fourth, third);
    farm.ebbtide().wait_for_reason(NAMES[third], "maintenance");
    farm.ebbtide().cli(&["ready", &name]).exits(0);

    let session = farm.session().unwrap();
    assert_eq!(text(&session["id"]), id, "the same session");
    // As fast as it goes from now on.
    for (index, server) in servers.iter_mut().enumerate() {
        let (address, file) = (server.address, farm.file(NAMES[index]));
        server.child.kill().unwrap();
        server.child.wait().unwrap();
        *server = Server::nbdkit(address, &file, &[]);
    }
    assert!(copy.finish() == image, "the same bytes");
}

#[test]
fn a_copy_that_differs_in_one_byte_is_never_used() {
    let image = image();
    let mut farm = Farm::prepare(&image, 3);
    let mut changed = image.clone();
    changed[IMAGE_BYTES / 2] ^= 1;
    fs::remove_file(farm.file("web3")).unwrap();
    fs::write(farm.file("web3"), &changed).unwrap();
    let slow = |index: usize, farm: &Farm| {
        Server::nbdkit(farm.addresses[index], &farm.file(NAMES[index]), &[SLOW])
    };
    let mut servers: Vec<Server> = (0..3).map(|index| slow(index, &farm)).collect();
    farm.start();
    let events = Events::follow(farm.ebbtide());
    let mut copy = Copy::begin(&farm);
    let first = farm.moved(&mut copy, 0);
    servers[first].child.kill().unwrap();
    let second = farm.moved(&mut copy, 1);
    assert_eq!(first + second, 1, "one of the two that are the same");
    // Nobody is left but the one that differs: the client waits.
    servers[second].child.kill().unwrap();
    farm.ebbtide().wait_for_reason(NAMES[first], "down");
    assert!(copy.is_running());
    servers[first].child.wait().unwrap();
    servers[first] = Server::nbdkit(farm.addresses[first], &farm.file(NAMES[first]), &[]);
    assert!(copy.finish() == image, "the same bytes");
    let server = format!("app/{}", NAMES[first]);
    let from = format!("app/{}", NAMES[second]);
    events.wait_for(&server, "session-moved", &[("from", &from)]);
    let touched = events.all().into_iter().find(|event| {
        event["server"] == "app/web3"
            && matches!(
                event["kind"].as_str(),
                Some("session-began" | "session-moved")
            )
    });
    assert_eq!(touched, None);
    let listed = farm.ebbtide().cli(&["replicas", "app"]).exits(0).out;
    assert!(listed.contains("digest differs"), "{listed}");
}

#[test]
fn clients_of_qemu_and_libnbd_find_everything_in_order() {
    let image = image();
    let mut farm = Farm::prepare(&image, 2);
    let mut servers: Vec<Server> = (0..2)
        .map(|index| Server::qemu(farm.addresses[index], &farm.file(NAMES[index])))
        .collect();
    farm.start();
    let uri = farm.uri();
    let listed = farm.printed("nbdinfo", &["--list", &uri.replace("/disk", "/")]);
    assert!(listed.contains("export=\"disk\""), "{listed}");
    let told = farm.printed("nbdinfo", &["--json", &uri]);
    for expected in [
        "\"is_read_only\": true",
        "\"TLS\": false",
        "base:allocation",
    ] {
        assert!(told.contains(expected), "{expected} in {told}");
    }
    let refused = farm.run("nbdinfo", &[&uri.replace("/disk", "/other")]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && said.contains("No such file"),
        "{said}"
    );
    // There is no TLS: who demands it is refused in order, and leaves.
    let refused = farm.run("nbdinfo", &[&uri.replace("nbd:", "nbds:")]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert_eq!(farm.session(), None);
    let map = farm.printed("nbdinfo", &["--map", "--totals", &uri]);
    assert!(map.contains("data"), "{map}");
    let target = farm.scratch.join("converted");
    let path = target.to_str().unwrap();
    farm.printed(
        "qemu-img",
        &["convert", "-f", "raw", "-O", "raw", &uri, path],
    );
    assert!(fs::read(&target).unwrap() == image);
    // Several connections of one client, which may be on different servers.
    servers[0].child.kill().unwrap();
    farm.ebbtide().wait_for_reason("web1", "down");
    let listed = farm.ebbtide().cli(&["replicas", "app", "--json"]);
    let copy = &listed.exits(0).json()["resources"][0]["copies"][0];
    let why = "identical to one other copy, but the server is down: ";
    assert!(text(&copy["text"]).starts_with(why), "{copy}");
    assert!(text(&copy["text"]).contains("refused"), "{copy}");
    assert_eq!(
        (&copy["serves"], &copy["stands_in"]),
        (&false.into(), &false.into())
    );
    assert_eq!(
        (text(&copy["reason"]), text(&copy["standing"])),
        ("identical".into(), "down".into())
    );
    farm.printed("nbdcopy", &["--connections=4", &uri, path]);
    assert!(fs::read(&target).unwrap() == image);
    let errors = farm.printed(
        "qemu-img",
        &["compare", "-f", "raw", "-F", "raw", &uri, path],
    );
    assert!(errors.contains("identical"), "{errors}");
}

/// fio writes a sum and its place into each block, and compares them when it reads.
#[test]
fn fio_finds_every_block_right_while_servers_die() {
    let fio = |more: &[String]| {
        let mut command = Command::new("fio");
        command.args([
            "--name=disk",
            "--bs=64k",
            "--verify=crc32c",
            "--verify_fatal=1",
            // Else it leaves a file where the tests run.
            "--verify_state_save=0",
        ]);
        command.arg(format!("--size={IMAGE_BYTES}")).args(more);
        command
    };
    let scratch = Scratch::new();
    let written = scratch.join("written");
    let write = ["--ioengine=psync", "--rw=write", "--do_verify=0"].map(String::from);
    let file = format!("--filename={}", written.display());
    let ran = fio(&[&write[..], &[file]].concat()).output();
    let ran = ran.expect("fio starts; `cargo xtask test` installs it");
    assert!(ran.status.success(), "{ran:?}");
    let mut farm = Farm::prepare(&fs::read(&written).unwrap(), 3);
    let slow = |index: usize, farm: &Farm| {
        Server::nbdkit(farm.addresses[index], &farm.file(NAMES[index]), &[SLOW])
    };
    let mut servers: Vec<Server> = (0..3).map(|index| slow(index, &farm)).collect();
    farm.start();
    let read = ["--ioengine=nbd", "--rw=read", "--iodepth=16"].map(String::from);
    let uri = format!("--uri={}", farm.uri());
    let mut reading = Copy::by(&mut fio(&[&read[..], &[uri]].concat()), written);
    let first = farm.moved(&mut reading, 0);
    servers[first].kill();
    let second = farm.moved(&mut reading, 1);
    // Whoever loses two servers over one request waits for one of them.
    servers[first] = slow(first, &farm);
    farm.ebbtide().wait_for_reason(NAMES[first], "ready");
    servers[second].kill();
    farm.moved(&mut reading, 2);
    for index in 0..3 {
        servers[index].kill();
        servers[index] = Server::nbdkit(farm.addresses[index], &farm.file(NAMES[index]), &[]);
    }
    reading.succeed();
}
