//! `ebbtide manifest` from outside: what it writes, what it reads again, and what it refuses.

use ebbtide_testkit::Scratch;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

fn run(arguments: &[&OsStr]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ebbtide"));
    let command = command.arg("manifest").args(arguments);
    command.output().expect("the program starts")
}

/// Writes the manifest of a directory; what is said of it.
#[track_caller]
fn manifest(directory: &Path, more: &[&str], code: i32) -> Value {
    let mut arguments = vec![directory.as_os_str(), OsStr::new("--json")];
    arguments.extend(more.iter().map(OsStr::new));
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn files(path: &Path) -> Vec<Value> {
    let text = fs::read(path).expect("a manifest");
    let json: Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(json["ebbtide_manifest"], 1);
    json["files"].as_array().expect("files").clone()
}

fn names(path: &Path) -> Vec<String> {
    let files = files(path);
    let name = |file: &Value| file["name"].as_str().expect("a name").to_owned();
    files.iter().map(name).collect()
}

/// Says in a manifest that its reading began at that time: long after the files were changed, or
/// before. (The time of an inode's change cannot be set.)
fn began(manifest: &Path, seconds: &str) {
    let text = fs::read_to_string(manifest).expect("a manifest");
    let mut json: Value = serde_json::from_str(&text).expect("JSON");
    json["began"] = seconds.into();
    fs::write(manifest, json.to_string()).expect("it can be written");
}

const LATER: &str = "9999999999.0";

#[test]
fn it_says_what_is_in_every_file_and_reads_only_what_has_changed() {
    let scratch = Scratch::new();
    let directory = scratch.path();
    fs::create_dir_all(directory.join("images/old")).unwrap();
    fs::write(directory.join("images/old/a.img"), "abc").unwrap();
    fs::write(directory.join("b.img"), "").unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 5);
    let file = File::options().write(true).open(directory.join("b.img"));
    file.unwrap().set_modified(long_ago).unwrap();
    let report = manifest(directory, &[], 0);
    assert_eq!((&report["files"], &report["read"]), (&2.into(), &2.into()));
    let output = directory.join("manifest.json");
    assert_eq!(names(&output), ["b.img", "images/old/a.img"]);
    let files = files(&output);
    assert_eq!(files[0]["modified"], "1700000000.000000005");
    assert_eq!(files[1]["size"], 3);
    assert_eq!(files[1]["blake3"], blake3::hash(b"abc").to_string());
    // Changed while it was read, or just before: it may have been changed again within the same tick
    // of the file system's clock.
    began(&output, "1.0");
    let report = manifest(directory, &[], 0);
    assert_eq!((&report["kept"], &report["read"]), (&0.into(), &2.into()));
    began(&output, LATER);
    let report = manifest(directory, &[], 0);
    assert_eq!((&report["kept"], &report["read"]), (&2.into(), &0.into()));
    assert_eq!(names(&output), ["b.img", "images/old/a.img"]);
    began(&output, LATER);
    let report = manifest(directory, &["--full"], 0);
    assert_eq!((&report["kept"], &report["read"]), (&0.into(), &2.into()));
    began(&output, LATER);
    fs::write(directory.join("b.img"), "x").unwrap();
    fs::remove_file(directory.join("images/old/a.img")).unwrap();
    let report = manifest(directory, &[], 0);
    assert_eq!((&report["files"], &report["read"]), (&1.into(), &1.into()));
}

#[test]
fn a_change_that_leaves_size_and_time_as_they_were_is_seen_by_the_inode() {
    let scratch = Scratch::new();
    let path = scratch.join("disk");
    fs::write(&path, "one byte").unwrap();
    manifest(scratch.path(), &[], 0);
    let output = scratch.join("manifest.json");
    let before = files(&output)[0].clone();
    began(&output, LATER);
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, "One byte").unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.set_modified(modified).unwrap();
    manifest(scratch.path(), &[], 0);
    let after = files(&output)[0].clone();
    assert_eq!(before["modified"], after["modified"]);
    assert_ne!(before["blake3"], after["blake3"]);
}

#[test]
fn what_is_no_file_is_skipped_with_a_word() {
    let scratch = Scratch::new();
    let directory = scratch.join("dir");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("disk"), "x").unwrap();
    symlink("disk", directory.join("link")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(directory.join("socket")).unwrap();
    let output = scratch.join("out.json");
    let arguments = [directory.as_os_str(), OsStr::new("-o"), output.as_os_str()];
    let ran = run(&arguments);
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    let said = String::from_utf8(ran.stderr).unwrap();
    assert!(said.contains("skipped link: a symbolic link"), "{said}");
    assert!(said.contains("skipped socket: a socket"), "{said}");
    let said = String::from_utf8(ran.stdout).unwrap();
    assert!(
        said.contains("1 file, 1 read (1) and 0 as before"),
        "{said}"
    );
    assert_eq!(names(&output), ["disk"]);
    let left: Vec<_> = fs::read_dir(scratch.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "nothing else is left: {left:?}");
}

#[test]
fn a_file_that_cannot_be_read_is_left_out_and_told() {
    let scratch = Scratch::new();
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    mode(scratch.path(), 0o777);
    fs::write(scratch.join("disk"), "x").unwrap();
    fs::write(scratch.join("secret"), "x").unwrap();
    mode(&scratch.join("secret"), 0o000);
    let mut command = Command::new(env!("CARGO_BIN_EXE_ebbtide"));
    command.arg("manifest").arg(scratch.path());
    if rustix::process::geteuid().is_root() {
        // root reads everything.
        command.uid(65_534).gid(65_534);
    }
    let ran = command.output().expect("the program starts");
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    let said = String::from_utf8(ran.stderr).unwrap();
    assert!(said.contains("left out secret: cannot be read: "), "{said}");
    assert_eq!(names(&scratch.join("manifest.json")), ["disk"]);
}

#[test]
fn names_that_cannot_be_written_are_refused_and_nothing_is_overwritten() {
    let scratch = Scratch::new();
    fs::write(scratch.join("disk"), "x").unwrap();
    manifest(scratch.path(), &[], 0);
    let before = fs::read(scratch.join("manifest.json")).unwrap();
    fs::write(scratch.path().join(OsStr::from_bytes(b"caf\xe9")), "x").unwrap();
    let ran = run(&[scratch.path().as_os_str()]);
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    let said = String::from_utf8(ran.stderr).unwrap();
    assert!(said.contains("nothing was written"), "{said}");
    assert!(said.contains("\"caf\\xE9\""), "{said}");
    assert_eq!(fs::read(scratch.join("manifest.json")).unwrap(), before);
}

#[test]
fn wrong_arguments_say_what_is_wrong() {
    let scratch = Scratch::new();
    fs::write(scratch.join("disk"), "not a manifest").unwrap();
    let disk = scratch.join("disk");
    let cases = [
        (vec![disk.as_os_str()], "is not a directory"),
        (
            vec![
                scratch.path().as_os_str(),
                OsStr::new("-o"),
                disk.as_os_str(),
            ],
            "it is not overwritten",
        ),
    ];
    for (arguments, expected) in cases {
        let ran = run(&arguments);
        assert_eq!(ran.status.code(), Some(2), "{ran:?}");
        let said = String::from_utf8(ran.stderr).unwrap();
        assert!(said.contains(expected), "{said}");
    }
    assert_eq!(fs::read(&disk).unwrap(), b"not a manifest");
    let nowhere = scratch.join("no/such/m.json");
    let arguments = [
        scratch.path().as_os_str(),
        OsStr::new("-o"),
        nowhere.as_os_str(),
    ];
    let ran = run(&arguments);
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    let said = String::from_utf8(ran.stderr).unwrap();
    assert!(said.contains("cannot be written"), "{said}");
}
