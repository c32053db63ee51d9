//! NBD pools whose servers have no manifests: Ebbtide reads their copies itself.

use crate::harness::{Events, LIMIT, text};
use crate::nbd::{Copy, Farm, IMAGE_BYTES, NAMES, Server, image};
use ebbtide_testkit::{Client, Request, until};
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long reading all copies may take.
const READ_LIMIT: Duration = Duration::from_secs(120);
const FAST: &str = "identity = \"read\"\nidentity_rate = \"1GB/s\"\n";

/// Servers of which each gives out as much as is in its file.
struct Paced {
    farm: Farm,
    servers: Vec<Server>,
}

impl Paced {
    fn start(mut farm: Farm, lines: &str) -> Self {
        let begin = |index: usize| Self::server(&farm, index);
        let servers = (0..farm.addresses.len()).map(begin).collect();
        farm.start_with(lines);
        Self { farm, servers }
    }

    fn rate_file(farm: &Farm, index: usize) -> PathBuf {
        farm.scratch.join(&format!("rate-of-{}", NAMES[index]))
    }

    fn server(farm: &Farm, index: usize) -> Server {
        let rate_file = format!("rate-file={}", Self::rate_file(farm, index).display());
        let file = farm.file(NAMES[index]);
        Server::nbdkit(farm.addresses[index], &file, &[&rate_file])
    }

    /// Lets a server give out so much, in bits per second.
    fn pace(&self, index: usize, rate: &str) {
        let file = Self::rate_file(&self.farm, index);
        let new = file.with_extension("new");
        fs::write(&new, rate).unwrap();
        fs::rename(new, file).unwrap();
    }

    /// `kill -9`.
    fn kill(&mut self, index: usize) {
        self.servers[index].child.kill().unwrap();
        self.servers[index].child.wait().unwrap();
    }

    fn copies(&self) -> Vec<Value> {
        let shown = self.farm.ebbtide().cli(&["replicas", "app", "--json"]);
        let shown = shown.exits(0).json();
        assert_eq!(shown["identity"], "read");
        shown["resources"][0]["copies"].as_array().unwrap().clone()
    }

    /// What the metrics say was read of a server's copies.
    fn bytes_read(&self, server: &str) -> usize {
        let admin = self.farm.ebbtide().admin;
        let metrics = Client::new(admin, LIMIT).send(&Request::get("/metrics"));
        let metrics = metrics.answer().text();
        let name = format!(
            "ebbtide_server_identity_read_bytes_total{{pool=\"app\",server=\"{server}\"}} "
        );
        let mut lines = metrics.lines();
        let figure = lines.find_map(|line| line.strip_prefix(&name));
        figure
            .unwrap_or_else(|| panic!("{metrics}"))
            .parse()
            .unwrap()
    }

    #[track_caller]
    fn wait_for(&self, expected: &[&str]) {
        until(&format!("copies are {expected:?}"), READ_LIMIT, || {
            let copies = self.copies();
            let reasons: Vec<String> = copies.iter().map(|copy| text(&copy["reason"])).collect();
            (reasons == expected).then_some(())
        });
    }
}

/// Another image at the place of this one, whose file is left as it is to those who have it open.
fn replace(farm: &Farm, server: &str, image: &[u8]) {
    fs::remove_file(farm.file(server)).unwrap();
    fs::write(farm.file(server), image).unwrap();
}

fn changed(image: &[u8]) -> Vec<u8> {
    let mut changed = image.to_vec();
    changed[IMAGE_BYTES / 2] ^= 1;
    changed
}

#[test]
fn a_client_goes_on_with_copies_that_were_read_and_never_with_one_that_differs() {
    let image = image();
    let farm = Farm::prepare(&image, 3);
    replace(&farm, "web1", &changed(&image));
    let mut farm = Paced::start(farm, FAST);
    farm.wait_for(&["digest-differs", "identical", "identical"]);
    assert!(farm.bytes_read("web1") >= IMAGE_BYTES);
    let events = Events::follow(farm.farm.ebbtide());
    for index in 0..3 {
        farm.pace(index, "16M");
    }
    let mut copy = Copy::begin(&farm.farm);
    let first = farm.farm.moved(&mut copy, 0);
    farm.kill(first);
    let second = farm.farm.moved(&mut copy, 1);
    assert_eq!(first + second, 3, "one of the two that are the same");

    // Who comes back is read again, and stands in after that.
    farm.pace(first, "10G");
    farm.servers[first] = Paced::server(&farm.farm, first);
    farm.wait_for(&["digest-differs", "identical", "identical"]);
    farm.pace(first, "16M");
    farm.kill(second);
    assert_eq!(farm.farm.moved(&mut copy, 2), first);
    farm.pace(first, "10G");
    assert!(copy.finish() == image, "the same bytes");
    let touched = events.all().into_iter().find(|event| {
        event["server"] == "app/web1"
            && matches!(
                event["kind"].as_str(),
                Some("session-began" | "session-moved")
            )
    });
    assert_eq!(touched, None);
}

#[test]
fn a_server_that_comes_back_with_another_copy_does_not_stand_in() {
    let image = image();
    let farm = Farm::prepare(&image, 2);
    let mut farm = Paced::start(farm, "identity = \"read\"\nidentity_rate = \"8MB/s\"\n");
    let said = until("reading gets on", READ_LIMIT, || {
        let copies = farm.copies();
        let reading = copies
            .iter()
            .find(|copy| copy["percent"].as_u64() > Some(0));
        reading.map(|copy| text(&copy["text"]))
    });
    assert!(said.contains(" %"), "{said}");
    farm.wait_for(&["identical", "identical"]);

    // So fast that it may never count as down.
    replace(&farm.farm, "web2", &changed(&image));
    farm.kill(1);
    farm.servers[1] = Paced::server(&farm.farm, 1);
    farm.wait_for(&["alone", "digest-differs"]);

    // Operators change copies in maintenance.
    let ebbtide = farm.farm.ebbtide();
    ebbtide.cli(&["maintenance", "app/web2"]).exits(0);
    let listed = ebbtide.cli(&["replicas", "app"]).exits(0).out;
    assert!(listed.contains("it is in maintenance"), "{listed}");
    farm.kill(1);
    replace(&farm.farm, "web2", &image);
    farm.servers[1] = Paced::server(&farm.farm, 1);
    let ebbtide = farm.farm.ebbtide();
    ebbtide.cli(&["ready", "app/web2"]).exits(0);
    farm.wait_for(&["identical", "identical"]);
}

#[test]
fn a_client_that_came_before_copies_were_known_outlives_its_server() {
    let image = image();
    let farm = Farm::prepare(&image, 2);
    let mut farm = Paced::start(farm, "identity = \"read\"\nidentity_rate = \"1MB/s\"\n");
    until("the first of the file serves", READ_LIMIT, || {
        let copies = farm.copies();
        (text(&copies[0]["reason"]) == "first-of-file").then_some(())
    });
    let mut client = Command::new("nbdcopy")
        .args(["--connections=1", &farm.farm.uri(), "-"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("nbdcopy starts; `cargo xtask test` installs it");
    let mut output = client.stdout.take().unwrap();
    let mut copied = vec![0; 8 << 20];
    output.read_exact(&mut copied).unwrap();
    let reason = text(&farm.copies()[0]["reason"]);
    assert_eq!(reason, "first-of-file", "it is still being read");
    let ebbtide = farm.farm.ebbtide();
    let file = fs::read_to_string(ebbtide.file()).unwrap();
    fs::write(ebbtide.file(), file.replace("1MB/s", "1GB/s")).unwrap();
    ebbtide.cli(&["reload"]).exits(0);
    farm.wait_for(&["identical", "identical"]);
    farm.kill(0);
    output.read_to_end(&mut copied).unwrap();
    assert!(client.wait().unwrap().success());
    assert!(copied == image, "the same bytes");
}
