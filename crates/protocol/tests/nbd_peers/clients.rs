//! nbdinfo, nbdcopy and qemu-img, answered by us.

use std::process::{Command, Output};

use crate::server::{READ_ONLY, Server, WRITABLE};
use crate::{MEBIBYTE, folder, image};

fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output();
    output.unwrap_or_else(|error| panic!("{program}: {error}: cargo xtask test installs it"))
}

/// What it printed, after it succeeded.
fn printed(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn nbdinfo_understands_the_handshake() {
    let server = Server::start(image(), READ_ONLY);
    let size = printed("nbdinfo", &["--size", &server.uri("disk")]);
    assert_eq!(size.trim(), (2 * MEBIBYTE).to_string());
    let all = printed("nbdinfo", &["--json", &server.uri("disk")]);
    for expected in [
        "\"protocol\": \"newstyle-fixed\"",
        "\"TLS\": false",
        "\"structured\": true",
        "\"is_read_only\": true",
        "\"can_multi_conn\": true",
        "\"can_df\": true",
        "\"block_size_preferred\": 4096",
        "base:allocation",
    ] {
        assert!(all.contains(expected), "{expected} in {all}");
    }
    let listed = printed("nbdinfo", &["--list", &server.uri("")]);
    assert!(listed.contains("export=\"disk\""), "{listed}");
}

#[test]
fn an_export_that_does_not_exist_is_refused_in_words() {
    let server = Server::start(image(), READ_ONLY);
    let uri = server.uri("other");
    for (program, arguments, expected) in [
        ("nbdinfo", &[uri.as_str()][..], "No such file or directory"),
        ("qemu-img", &["info", &uri], "there is only disk"),
    ] {
        let output = run(program, arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{program}");
        assert!(said.contains(expected), "{program}: {said}");
    }
}

#[test]
fn nbdinfo_maps_what_is_allocated() {
    let server = Server::start(image(), READ_ONLY);
    let totals = printed(
        "nbdinfo",
        &["--map=base:allocation", "--totals", &server.uri("disk")],
    );
    assert!(
        totals.contains("hole,zero") && totals.contains("data"),
        "{totals}"
    );
}

#[test]
fn nbdcopy_and_qemu_img_read_the_same_bytes() {
    let server = Server::start(image(), READ_ONLY);
    let folder = folder("clients-read");
    let uri = server.uri("disk");
    for (name, program, arguments) in [
        ("copy", "nbdcopy", &[][..]),
        ("alone", "nbdcopy", &["--synchronous"]),
        (
            "many",
            "nbdcopy",
            &["--connections=4", "--requests=32", "--request-size=65536"],
        ),
        ("img", "qemu-img", &["convert", "-f", "raw", "-O", "raw"]),
    ] {
        let path = folder.join(name);
        let ends = [uri.as_str(), path.to_str().unwrap()];
        printed(program, &[arguments, &ends].concat());
        assert!(std::fs::read(&path).unwrap() == image(), "{name}");
    }
    let map = printed("qemu-img", &["map", "--output=json", "-f", "raw", &uri]);
    assert!(
        map.contains("\"zero\": true") && map.contains("\"zero\": false"),
        "{map}"
    );
}

#[test]
fn nbdcopy_and_qemu_img_write_the_same_bytes() {
    let path = folder("clients-write").join("disk");
    std::fs::write(&path, image()).unwrap();
    let path = path.to_str().unwrap();
    for (program, arguments) in [
        ("nbdcopy", &["--flush"][..]),
        ("qemu-img", &["convert", "-n", "-f", "raw", "-O", "raw"]),
    ] {
        let server = Server::start(vec![0x55; 2 * MEBIBYTE], WRITABLE);
        printed(program, &[arguments, &[path, &server.uri("disk")]].concat());
        assert!(*server.image.lock().unwrap() == image(), "{program}");
    }
}
