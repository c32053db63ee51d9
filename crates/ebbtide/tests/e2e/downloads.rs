//! Large files from nginx, fetched with curl, while their servers are killed, drained and returned; and
//! pools that lead curl to the servers themselves.

use crate::harness::{Ebbtide, Events, LIMIT, Setup, text};
use ebbtide_testkit::{Model, Scratch, free_address, pattern, until};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

const MEGABYTE: u64 = 1024 * 1024;
/// How much each server gives a second, so that there is time for something to happen.
const RATE: &str = "4m";
/// How long a download may take on a busy machine.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(100);

/// A file that no shift leaves alike.
pub fn content(megabytes: u64) -> Vec<u8> {
    let parts = (0..megabytes * 32).flat_map(|part| pattern(part as usize * 32_769, 32 * 1024));
    parts.copied().collect()
}

/// nginx with one file, of which the change of its time makes another entity tag.
pub struct Nginx {
    pub address: SocketAddr,
    scratch: Scratch,
    child: Option<Child>,
}

impl Nginx {
    fn start(content: &[u8], changed_s: u64) -> Self {
        Self::start_with(content, changed_s, RATE)
    }

    /// Gives so much a second to each client.
    pub fn start_with(content: &[u8], changed_s: u64, rate: &str) -> Self {
        let mut nginx = Self {
            address: free_address(),
            scratch: Scratch::new(),
            child: None,
        };
        let path = nginx.scratch.join("large");
        fs::write(&path, content).unwrap();
        let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(changed_s);
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(changed).unwrap();
        let root = nginx.scratch.path().display();
        let user = if rustix::process::geteuid().is_root() {
            "user root;"
        } else {
            ""
        };
        // One process, so that `kill -9` takes all of it.
        let text = format!(
            "{user} daemon off; master_process off; pid {root}/pid; error_log {root}/log;\n\
             events {{ worker_connections 512; }}\n\
             http {{ access_log off; client_body_temp_path {root}/body; proxy_temp_path {root}/proxy;\n\
             fastcgi_temp_path {root}/fastcgi; uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;\n\
             server {{ listen {}; root {root}; limit_rate {rate};\n\
             location = /health {{ return 200 \"ACTIVE\"; }} }} }}\n",
            nginx.address
        );
        fs::write(nginx.scratch.join("nginx.conf"), text).unwrap();
        nginx.start_again();
        nginx
    }

    pub fn start_again(&mut self) {
        let mut command = Command::new("nginx");
        command
            .arg("-p")
            .arg(self.scratch.path())
            .arg("-e")
            .arg(self.scratch.join("log"))
            .arg("-c")
            .arg(self.scratch.join("nginx.conf"))
            .stdin(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("nginx cannot be started ({error}); `cargo xtask test` installs it")
        });
        self.child = Some(child);
        until("nginx answers", LIMIT, || {
            TcpStream::connect(self.address).ok()
        });
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Nginx {
    /// The file that it serves.
    pub fn file(&self) -> PathBuf {
        self.scratch.join("large")
    }

    pub fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            kill_process(Pid::from_child(child), signal).expect("it runs");
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A download under way.
struct Download {
    path: PathBuf,
    curl: Child,
}

impl Download {
    fn start(ebbtide: &Ebbtide, name: &str) -> Self {
        let path = ebbtide.scratch.join(name);
        let limit = DOWNLOAD_LIMIT.as_secs().to_string();
        let curl = Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--fail",
                "--max-time",
                &limit,
                "-o",
            ])
            .arg(&path)
            .arg(format!("http://{}/large", ebbtide.address))
            .spawn()
            .unwrap_or_else(|error| {
                panic!("curl cannot be started ({error}); `cargo xtask test` installs it")
            });
        Self { path, curl }
    }

    fn bytes(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |file| file.len())
    }

    /// Waits until so much more has come, or all.
    fn go_on(&mut self, bytes: u64) {
        let end = self.bytes() + bytes;
        until("the download goes on", DOWNLOAD_LIMIT, || {
            let is_over = self.curl.try_wait().unwrap().is_some();
            (is_over || self.bytes() >= end).then_some(())
        });
    }

    /// curl's exit code, and what it has written.
    fn finish(mut self) -> (Option<i32>, Vec<u8>) {
        let status = until("curl ends", DOWNLOAD_LIMIT, || {
            self.curl.try_wait().unwrap()
        });
        (status.code(), fs::read(&self.path).unwrap_or_default())
    }
}

/// Ebbtide before these, as replicas, with its access log in `access`.
pub fn before(servers: &[&Nginx]) -> Ebbtide {
    before_with(servers, "5s", "1m")
}

/// The same, with these limits for checks and for bodies.
pub fn before_with(servers: &[&Nginx], check: &str, body: &str) -> Ebbtide {
    let mut setup = Setup::new(&[]).pool(&format!(
        "replica = true\ntimeouts = {{ body = \"{body}\" }}\n\
         health = {{ path = \"/health\", expect = \"ACTIVE\", every = \"200ms\", timeout = \"{check}\" }}\n",
    ));
    let named = servers.iter().enumerate();
    setup.servers = named
        .map(|(index, nginx)| (format!("web{}", index + 1), nginx.address))
        .collect();
    let mut ebbtide = Ebbtide::prepare(&setup);
    let log = ebbtide.scratch.join("access");
    setup.top = format!("access_log = {{ format = \"json\", path = {log:?} }}");
    ebbtide.configure(&setup);
    ebbtide.run(&mut ebbtide.command());
    ebbtide.wait_until_probed();
    ebbtide
}

/// How often the answers that are logged were gone on with, once so many are.
fn resumed(ebbtide: &Ebbtide, answers: usize) -> u64 {
    let lines = until("every download is logged", LIMIT, || {
        let text = fs::read_to_string(ebbtide.scratch.join("access")).ok()?;
        let lines = text.lines().map(serde_json::from_str);
        let lines: Vec<serde_json::Value> = lines.collect::<Result<_, _>>().ok()?;
        (lines.len() >= answers).then_some(lines)
    });
    let counts = lines.iter().map(|line| line["resumed"].as_u64().unwrap());
    counts.sum()
}

#[test]
fn downloads_outlive_servers_that_are_killed_and_returned() {
    let content = content(24);
    let mut servers = [0; 2].map(|_| Nginx::start(&content, 1_640_995_200));
    let ebbtide = before(&servers.each_ref());
    let mut downloads: Vec<Download> = (0..4)
        .map(|number| Download::start(&ebbtide, &format!("file{number}")))
        .collect();
    for round in 0..3 {
        for download in &mut downloads {
            download.go_on(2 * MEGABYTE);
        }
        let server = &mut servers[round % 2];
        server.kill();
        for download in &mut downloads {
            download.go_on(2 * MEGABYTE);
        }
        server.start_again();
        ebbtide.wait_for_reason(&format!("web{}", round % 2 + 1), "ready");
    }
    for download in downloads {
        let (code, got) = download.finish();
        assert_eq!(code, Some(0));
        assert!(got == content, "{} bytes, or others", got.len());
    }
    // On a slow machine they may be through before the second round, but not before the first.
    assert!(resumed(&ebbtide, 4) >= 2);
}

#[test]
fn a_copy_that_differs_is_never_mixed_in() {
    let first = content(24);
    let mut second = first.clone();
    second[23 * MEGABYTE as usize] ^= 1;
    let mut servers = [
        Nginx::start(&first, 1_640_995_200),
        Nginx::start(&second, 1_640_995_201),
        Nginx::start(&first, 1_640_995_200),
    ];
    // Nobody is waited for who may come back.
    let ebbtide = before_with(&servers.each_ref(), "5s", "5s");
    for (others, code) in [(&["web2"][..], Some(18)), (&["web2", "web3"], Some(0))] {
        for name in ["web2", "web3"] {
            ebbtide.cli(&["hold", &format!("app/{name}")]).exits(0);
        }
        let mut download = Download::start(&ebbtide, "file");
        download.go_on(2 * MEGABYTE);
        for name in others {
            ebbtide.cli(&["ready", &format!("app/{name}")]).exits(0);
        }
        servers[0].kill();
        let (ended, got) = download.finish();
        assert_eq!(ended, code, "with {others:?}");
        assert!(first.starts_with(&got), "another copy's bytes");
        assert_eq!(got.len() == first.len(), code == Some(0));
        servers[0].start_again();
        ebbtide.wait_for_reason("web1", "ready");
        fs::remove_file(ebbtide.scratch.join("file")).unwrap();
    }
}

#[test]
fn a_download_goes_on_elsewhere_when_its_servers_time_is_over() {
    let content = content(40);
    let servers = [0; 2].map(|_| Nginx::start(&content, 1_640_995_200));
    let ebbtide = before(&servers.each_ref());
    ebbtide.cli(&["hold", "app/web2"]).exits(0);
    let mut download = Download::start(&ebbtide, "file");
    download.go_on(MEGABYTE);
    ebbtide.cli(&["ready", "app/web2"]).exits(0);
    let drain = ["drain", "app/web1", "--within", "1s"];
    ebbtide.cli(&drain).exits(0);
    ebbtide.wait_for_reason("web1", "maintenance");
    download.go_on(3 * MEGABYTE);
    assert_eq!(ebbtide.sessions("web1"), 0);
    // And back again, without a deadline.
    ebbtide.cli(&["ready", "app/web1"]).exits(0);
    ebbtide.wait_for_reason("web1", "ready");
    ebbtide.cli(&["maintenance", "app/web2"]).exits(0);
    let (code, got) = download.finish();
    assert_eq!(code, Some(0));
    assert!(got == content, "{} bytes, or others", got.len());
    assert_eq!(resumed(&ebbtide, 1), 2);
    // All of it was one session, which went along.
    assert_eq!(the_session(&ebbtide)["moves"], 2);
}

/// The only session there is.
pub fn the_session(ebbtide: &Ebbtide) -> serde_json::Value {
    let listed = ebbtide.cli(&["sessions", "app", "--json"]).json();
    let [session] = listed["sessions"].as_array().unwrap().as_slice() else {
        panic!("one session: {listed}");
    };
    session.clone()
}

#[test]
fn a_download_moves_by_command_and_its_session_is_told_of() {
    let content = content(48);
    let servers = [0; 2].map(|_| Nginx::start(&content, 1_640_995_200));
    let ebbtide = before(&servers.each_ref());
    // Nothing would be tested.
    let ran = ebbtide.cli(&["drill", "app/web1", "--json"]).exits(4);
    let said = ran.json()["error"]["message"].to_string();
    assert!(said.contains("would test nothing"), "{said}");

    ebbtide.cli(&["hold", "app/web2"]).exits(0);
    let events = Events::follow(&ebbtide);
    let mut download = Download::start(&ebbtide, "file");
    download.go_on(MEGABYTE);
    ebbtide.cli(&["ready", "app/web2"]).exits(0);
    let before = the_session(&ebbtide);
    let id = text(&before["id"]);
    assert!(before["bytes"].as_u64() > Some(0), "{before}");

    let moved = ebbtide
        .cli(&["move", &id, "--to", "app/web2", "--json"])
        .exits(0)
        .json();
    assert_eq!(moved["sessions"][0]["to"], "app/web2");
    let fields = [("session", id.as_str()), ("from", "app/web1")];
    events.wait_for("app/web2", "session-moved", &fields);
    download.go_on(MEGABYTE);
    for arguments in [
        &["drill", "app/web2", "--json"][..],
        &["drill", "app/web1", "--cut", "--json"],
        &["stop", "app/web2", "--json"],
    ] {
        let report = ebbtide.cli(arguments).exits(0).json();
        assert_eq!(
            (&report["moved"], &report["complete"]),
            (&1.into(), &true.into()),
            "{arguments:?}: {report}"
        );
        assert!(report["longest_pause_us"].is_number(), "{report}");
        download.go_on(MEGABYTE);
    }
    let (code, got) = download.finish();
    assert_eq!(code, Some(0));
    assert!(got == content, "{} bytes, or others", got.len());
    let after = the_session(&ebbtide);
    assert_eq!(
        (&after["id"], &after["started"], &after["server"]),
        (&before["id"], &before["started"], &"web1".into())
    );
    assert_eq!(
        (&after["moves"], &after["requests"]),
        (&4.into(), &1.into())
    );
    assert_eq!(after["bytes"], content.len());
}

#[test]
fn a_download_leaves_a_server_that_is_stopped_as_soon_as_it_is_down() {
    let content = content(24);
    let servers = [0; 2].map(|_| Nginx::start(&content, 1_640_995_200));
    // The limit for bodies would not be lived to see.
    let ebbtide = before_with(&servers.each_ref(), "1s", "1h");
    ebbtide.cli(&["hold", "app/web2"]).exits(0);
    let mut download = Download::start(&ebbtide, "file");
    download.go_on(2 * MEGABYTE);
    ebbtide.cli(&["ready", "app/web2"]).exits(0);
    servers[0].signal(Signal::STOP);
    let (code, got) = download.finish();
    assert_eq!(code, Some(0));
    assert!(got == content, "{} bytes, or others", got.len());
    assert!(resumed(&ebbtide, 1) >= 1);
}

#[test]
fn curl_is_led_to_the_servers_themselves_and_back_to_its_own() {
    let scratch = Scratch::new();
    let ledger = scratch.join("ledger");
    let models = ["web1", "web2"].map(|name| Model::start(name, &ledger));
    let mut setup = Setup::new(&[]).with("mode = \"redirect\"");
    let tables = models.iter().map(|model| {
        let (name, address) = (&model.name, model.address);
        format!("{name} = {{ address = \"{address}\", public_url = \"http://{address}\" }}\n")
    });
    setup.more = tables.collect();
    let ebbtide = Ebbtide::start(&setup);
    let fetch = |jar: &str, path: &str| {
        let jar = scratch.join(jar);
        let curl = Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--fail",
                "--location",
                "--max-time",
                "15",
                "-b",
            ])
            .arg(&jar)
            .arg("-c")
            .arg(&jar)
            .args(["-o", "/dev/null", "-w", "%{url_effective}"])
            .arg(format!("http://{}{path}", ebbtide.address))
            .output()
            .unwrap();
        assert!(curl.status.success(), "{curl:?}");
        String::from_utf8(curl.stdout).unwrap()
    };
    let at = |url: &str| {
        let found = models.iter().find(|model| {
            let own = format!("http://{}/", model.address);
            url.starts_with(&own)
        });
        found
            .unwrap_or_else(|| panic!("{url} is no server's"))
            .name
            .clone()
    };
    let homes: Vec<String> = (0..6)
        .map(|user| at(&fetch(&format!("jar{user}"), "/?a=b")))
        .collect();
    assert!(homes.iter().any(|home| home == "web1") && homes.iter().any(|home| home == "web2"));
    let sum = |name: &str| homes.iter().filter(|home| *home == name).count() as u64;
    assert_eq!(ebbtide.sessions("web1"), sum("web1"));
    ebbtide.cli(&["hold", "app/web1"]).exits(0);
    for (user, home) in homes.iter().enumerate() {
        assert_eq!(at(&fetch(&format!("jar{user}"), "/")), *home);
        assert_eq!(at(&fetch(&format!("new{user}"), "/")), "web2");
    }
    let added = ebbtide.cli(&["server", "add", "app/web3", "127.0.0.1:9"]);
    assert_eq!(added.code, 2, "{added:?}");
    assert!(added.err.contains("public_url"), "{added:?}");
}
