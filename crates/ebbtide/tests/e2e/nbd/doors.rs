//! Doors of NBD pools with programs that are not ours: an operator works on one server's disk, which
//! nobody else gets.

use super::{Farm, NAMES, Server, image};
use crate::harness::{LIMIT, text};
use ebbtide_testkit::{Client, Request, until};
use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

/// A server whose disk can be written.
fn writable(farm: &Farm, index: usize) -> Server {
    let address = farm.addresses[index];
    let mut command = Command::new("nbdkit");
    command.args(["-f", "-i", &address.ip().to_string()]);
    command.args(["-p", &address.port().to_string(), "file"]);
    command.arg(farm.file(NAMES[index]));
    Server::start(&mut command, address)
}

/// Why an export is refused: qemu shows what the server says.
fn refused(farm: &Farm, uri: &str) -> String {
    let ran = farm.run("qemu-img", &["info", "-f", "raw", uri]);
    assert!(!ran.status.success(), "{ran:?}");
    String::from_utf8(ran.stderr).unwrap()
}

#[test]
fn an_operator_writes_a_disk_in_maintenance_through_a_door() {
    let image = image();
    let mut farm = Farm::prepare(&image, 2);
    // A file of its own.
    fs::remove_file(farm.file("web2")).unwrap();
    fs::write(farm.file("web2"), &image).unwrap();
    let _servers = [0, 1].map(|index| writable(&farm, index));
    let resource = "[pools.app.resources.disk]\nmode = \"maintenance\"\n";
    farm.start_as("identity = \"read\"\n", resource);
    let why = refused(&farm, &farm.uri());
    assert!(why.contains("`disk` is in maintenance"), "{why}");
    let ebbtide = farm.ebbtide();
    ebbtide.cli(&["maintenance", "app/web1"]).exits(0);
    let opened = ebbtide.cli(&["door", "app/web1", "--json"]).exits(0).json();
    let (url, id) = (text(&opened["urls"][0]), text(&opened["id"]));
    let secret = url.split_once('@').unwrap().1;
    assert_eq!(url, format!("{}@{secret}", farm.uri()));

    let told = farm.printed("nbdinfo", &["--json", &url]);
    assert!(told.contains("\"is_read_only\": false"), "{told}");
    let write = ["-f", "raw", "-c", "write -P 90 4096 65536", &url];
    farm.printed("qemu-io", &write);
    let mut written = image.clone();
    written[4096..4096 + 65536].fill(90);
    assert!(fs::read(farm.file("web1")).unwrap() == written);
    assert!(fs::read(farm.file("web2")).unwrap() == image);
    let copied = farm.scratch.join("copied");
    farm.printed(
        "nbdcopy",
        &["--connections=4", &url, copied.to_str().unwrap()],
    );
    assert!(fs::read(copied).unwrap() == written);

    // Who is inside is seen, and put out.
    let mut inside = Command::new("nbdcopy")
        .args(["--connections=1", &url, "-"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = inside.stdout.take().unwrap();
    output.read_exact(&mut [0; 4096]).unwrap();
    let listed = ebbtide.cli(&["sessions", "app"]).exits(0).out;
    for expected in ["no sessions", "beside them: 1 connection of", &id] {
        assert!(listed.contains(expected), "{expected} in {listed}");
    }
    let doors = ebbtide.cli(&["door", "list", "--json"]).exits(0).json();
    assert_eq!(doors["doors"][0]["connections"], 1, "{doors}");
    ebbtide.cli(&["door", "close", &id]).exits(0);
    output.read_to_end(&mut Vec::new()).unwrap();
    assert!(!inside.wait().unwrap().success());
    let why = refused(&farm, &url);
    assert!(why.contains("this door is over"), "{why}");
    let metrics = Client::new(ebbtide.admin, LIMIT).send(&Request::get("/metrics"));
    let metrics = metrics.answer().text();
    let name = "ebbtide_pool_doors_refused_total{pool=\"app\"} ";
    let count = metrics.lines().find_map(|line| line.strip_prefix(name));
    assert!(count.is_some_and(|count| count != "0"), "{metrics}");
    until("the audit log tells it", LIMIT, || {
        let audit = ebbtide.cli(&["audit"]).exits(0).out;
        assert!(!audit.contains(&secret[16..]));
        let told = ["is open for 30m", "entered", "is closed"];
        told.iter().all(|words| audit.contains(words)).then_some(())
    });
    assert!(!ebbtide.log().contains(&secret[16..]));
}
