//! nbdkit and qemu-nbd, asked by us.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command as Program, Stdio};

use ebbtide_protocol::nbd::{
    ClientStep, Command, ErrorNumber, HandshakeFault, Request, command_flag, transmission_flag,
};

use crate::client::{Client, names, request};
use crate::{MEBIBYTE, folder, image};

/// nbdkit for one connection, which is its standard input and output.
struct Nbdkit(Child);

impl Nbdkit {
    fn start(arguments: &[&str]) -> (Self, UnixStream) {
        let (ours, its) = UnixStream::pair().unwrap();
        let output: OwnedFd = its.try_clone().unwrap().into();
        let child = Program::new("nbdkit")
            .arg("-s")
            .args(arguments)
            .stdin(OwnedFd::from(its))
            .stdout(output)
            .stderr(Stdio::null())
            .spawn()
            .expect("nbdkit starts: cargo xtask test installs it");
        (Nbdkit(child), ours)
    }
}

impl Drop for Nbdkit {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().unwrap();
    }
}

fn saved(test: &str) -> String {
    let path = folder(test).join("disk");
    std::fs::write(&path, image()).unwrap();
    path.into_os_string().into_string().unwrap()
}

#[test]
fn nbdkit_is_read_with_and_without_chunks() {
    let path = saved("nbdkit-read");
    for (arguments, structured_replies, expected) in [
        (&["-r"][..], false, false),
        (&["-r"], true, true),
        (&["-r", "--no-sr"], true, false),
        // Fixed newstyle with zeroes, and newstyle that is not fixed.
        (&["-r", "--mask-handshake=1"], true, true),
        (&["-r", "--mask-handshake=0"], true, false),
    ] {
        let (_nbdkit, stream) = Nbdkit::start(&[arguments, &["file", &path]].concat());
        let mut client = Client::connect(stream, "", structured_replies).unwrap();
        assert_eq!(client.agreed.structured_replies, expected, "{arguments:?}");
        assert!(client.agreed.export.has(transmission_flag::READ_ONLY));
        assert!(client.read_all() == image(), "{arguments:?}");
        client.leave();
    }
}

#[test]
fn nbdkit_says_what_is_allocated() {
    let path = saved("nbdkit-status");
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(8 * MEBIBYTE as u64).unwrap();
    let (_nbdkit, stream) = Nbdkit::start(&["file", &path]);
    let mut client = Client::connect(stream, "", true).unwrap();
    assert!(client.agreed.allocation_context.is_some());
    let all = 8 * MEBIBYTE as u32;
    let asked = client.ask_one(request(Command::BlockStatus, 0, all), &[]);
    assert!(asked.extents.len() >= 16, "data, and a hole: {asked:?}");
    let only_one = Request {
        flags: command_flag::REQ_ONE,
        ..request(Command::BlockStatus, 0, all)
    };
    let asked = client.ask_one(only_one, &[]);
    assert_eq!(asked.extents.len(), 8);
    client.leave();
}

#[test]
fn nbdkit_is_written_to() {
    let (_nbdkit, stream) = Nbdkit::start(&["memory", "1M"]);
    let mut client = Client::connect(stream, "", true).unwrap();
    let block = [7; 4096];
    let flush = Request {
        cookie: 1,
        ..request(Command::Flush, 0, 0)
    };
    for (request, payload) in [
        (request(Command::Write, 8192, 4096), &block[..]),
        (request(Command::Write, 12_288, 4096), &block),
        (request(Command::Trim, 8192, 1024), &[]),
        (request(Command::WriteZeroes, 12_288, 1024), &[]),
        (flush, &[]),
    ] {
        assert_eq!(client.ask_one(request, payload).error, None, "{request:?}");
    }
    let bytes = client.read_all();
    assert_eq!(bytes[13_312..16_384], block[..3072]);
    assert!(bytes[12_288..13_312].iter().all(|byte| *byte == 0));
    client.leave();
}

#[test]
fn nbdkit_fails_and_the_connection_goes_on() {
    for structured_replies in [false, true] {
        let error = [
            "--filter=error",
            "memory",
            "1M",
            "error=ENOSPC",
            "error-pread-rate=100%",
        ];
        let (_nbdkit, stream) = Nbdkit::start(&error);
        let mut client = Client::connect(stream, "", structured_replies).unwrap();
        for offset in [0, 4096] {
            let answer = client.ask_one(request(Command::Read, offset, 512), &[]);
            assert_eq!(answer.error, Some(ErrorNumber::NoSpace));
        }
        client.leave();
    }
}

#[test]
fn nbdkit_lists_and_refuses() {
    let folder = folder("nbdkit-list");
    for name in ["alpha", "beta"] {
        std::fs::write(folder.join(name), [0; 512]).unwrap();
    }
    let of_folder = format!("dir={}", folder.display());
    let (_nbdkit, stream) = Nbdkit::start(&["file", &of_folder]);
    let mut listed = names(stream);
    listed.sort();
    assert_eq!(listed, ["alpha", "beta"]);
    let (_nbdkit, stream) = Nbdkit::start(&["file", &of_folder]);
    let fault = Client::connect(stream, "gamma", true).err().unwrap();
    assert!(matches!(fault, HandshakeFault::Refused { .. }), "{fault}");
    let (_nbdkit, stream) = Nbdkit::start(&["-o", "memory", "1M"]);
    let fault = Client::connect(stream, "", true).err();
    assert_eq!(fault, Some(HandshakeFault::Oldstyle));
    let (_nbdkit, mut stream) = Nbdkit::start(&["memory", "1M"]);
    let goal = ebbtide_protocol::nbd::ClientGoal::List;
    let step = crate::client::shake(&mut stream, &goal).unwrap().0;
    assert_eq!(step, ClientStep::Listed(vec![String::new()]));
}

/// qemu-nbd for any number of connections.
struct QemuNbd {
    socket: std::path::PathBuf,
    process: String,
}

impl QemuNbd {
    fn start(folder: &Path, image: &str) -> Self {
        let (socket, pid_file) = (folder.join("socket"), folder.join("pid"));
        // It leaves for the background when it can be connected to.
        let status = Program::new("qemu-nbd")
            .args(["--fork", "--read-only", "--persistent", "--format=raw"])
            .args(["--export-name=disk", "--shared=4"])
            .arg(format!("--socket={}", socket.display()))
            .arg(format!("--pid-file={}", pid_file.display()))
            .arg(image)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("qemu-nbd starts: cargo xtask test installs it");
        assert!(status.success());
        let process = std::fs::read_to_string(pid_file).unwrap().trim().to_owned();
        QemuNbd { socket, process }
    }

    fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.socket).unwrap()
    }
}

impl Drop for QemuNbd {
    fn drop(&mut self) {
        Program::new("kill").arg(&self.process).status().unwrap();
    }
}

#[test]
fn qemu_nbd_is_read_with_and_without_chunks() {
    let path = saved("qemu-nbd-read");
    let qemu_nbd = QemuNbd::start(Path::new(&path).parent().unwrap(), &path);
    assert_eq!(names(qemu_nbd.connect()), ["disk"]);
    for structured_replies in [false, true] {
        let mut client = Client::connect(qemu_nbd.connect(), "disk", structured_replies).unwrap();
        assert_eq!(client.agreed.structured_replies, structured_replies);
        assert!(client.agreed.export.has(transmission_flag::READ_ONLY));
        assert!(client.agreed.export.block_sizes.is_some());
        assert!(client.read_all() == image());
        if structured_replies {
            let answer = client.ask_one(request(Command::BlockStatus, 0, 1 << 20), &[]);
            assert!(answer.extents.len() >= 8);
        }
        client.leave();
    }
    let fault = Client::connect(qemu_nbd.connect(), "other", true)
        .err()
        .unwrap();
    assert_eq!(fault.reason(), "unknown");
}
