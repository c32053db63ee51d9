//! Starts that fail: which, why, what to do; and nothing is left half-started.

use crate::harness::{Ebbtide, LIMIT, Ran, Setup, models};
use ebbtide_testkit::{Model, Scratch, until};
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

/// Runs a start that must end by itself, and asserts that no user is let in.
fn fails(ebbtide: &Ebbtide, command: &mut Command) -> Ran {
    let log = File::create(ebbtide.scratch.join("log")).unwrap();
    let run = command
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    let mut child = run.spawn().expect("the program starts");
    let status = until("a start that fails ends", LIMIT, || {
        child.try_wait().expect("a child")
    });
    assert!(
        TcpStream::connect(ebbtide.address).is_err(),
        "users are let in"
    );
    Ran {
        code: status.code().unwrap_or(-1),
        out: String::new(),
        err: ebbtide.log(),
    }
}

fn one_server(scratch: &Scratch) -> (Vec<Model>, Ebbtide) {
    let servers = models(1, scratch);
    let ebbtide = Ebbtide::prepare(&Setup::new(&servers));
    (servers, ebbtide)
}

#[test]
fn a_state_directory_that_is_a_file() {
    let scratch = Scratch::new();
    let (_servers, ebbtide) = one_server(&scratch);
    fs::write(ebbtide.state_dir(), "in the way").unwrap();
    let ran = fails(&ebbtide, &mut ebbtide.command()).exits(1);
    assert!(
        ran.err.contains(&*ebbtide.state_dir().to_string_lossy()),
        "{ran:?}"
    );
    assert!(TcpStream::connect(ebbtide.admin).is_err());
}

#[test]
fn a_state_directory_that_cannot_be_written() {
    let scratch = Scratch::new();
    let (_servers, ebbtide) = one_server(&scratch);
    fs::create_dir(ebbtide.state_dir()).unwrap();
    fs::set_permissions(ebbtide.state_dir(), fs::Permissions::from_mode(0o555)).unwrap();
    let ran = fails(&ebbtide, &mut as_nobody(&ebbtide)).exits(1);
    assert!(
        ran.err.contains(&*ebbtide.state_dir().to_string_lossy()),
        "{ran:?}"
    );
    assert!(ran.err.contains("ermission"), "{ran:?}");
}

#[test]
fn a_state_directory_that_is_in_use() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let second = Ebbtide::prepare(&Setup::new(&servers));
    let file = second.configuration(&Setup::new(&servers));
    let state = format!("{:?}", second.state_dir());
    fs::write(
        second.file(),
        file.replace(&state, &format!("{:?}", ebbtide.state_dir())),
    )
    .unwrap();
    let ran = fails(&second, &mut second.command()).exits(1);
    assert!(
        ran.err.contains(&*ebbtide.state_dir().to_string_lossy()),
        "{ran:?}"
    );
    // The first one has not lost its socket over it.
    assert_eq!(ebbtide.status()["pools"][0]["name"], "app");
}

#[test]
fn an_admin_port_that_is_taken() {
    let scratch = Scratch::new();
    let (_servers, ebbtide) = one_server(&scratch);
    let _taken = TcpListener::bind(ebbtide.admin).unwrap();
    let ran = fails(&ebbtide, &mut ebbtide.command()).exits(1);
    assert!(ran.err.contains(&ebbtide.admin.to_string()), "{ran:?}");
    assert!(ran.err.contains("admin"), "{ran:?}");
}

#[test]
fn a_listener_port_that_is_taken() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let taken = TcpListener::bind(ebbtide_testkit::free_address()).unwrap();
    let address = taken.local_addr().unwrap();
    let mut setup = Setup::new(&servers);
    setup.more = format!("[listeners.second]\nbind = \"{address}\"\npool = \"app\"\n");
    let ebbtide = Ebbtide::prepare(&setup);
    let ran = fails(&ebbtide, &mut ebbtide.command()).exits(1);
    assert!(
        ran.err.contains(&address.to_string()) && ran.err.contains("second"),
        "{ran:?}"
    );
    assert!(TcpStream::connect(ebbtide.admin).is_err());
}

#[test]
fn a_listener_port_that_needs_privileges() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let first_free = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    assert!(
        first_free.trim().parse::<u16>().unwrap() > 81,
        "this machine has no privileged ports"
    );
    let mut setup = Setup::new(&servers);
    setup.more = "[listeners.low]\nbind = \"127.0.0.1:81\"\npool = \"app\"\n".into();
    let ebbtide = Ebbtide::prepare(&setup);
    fs::create_dir(ebbtide.state_dir()).unwrap();
    fs::set_permissions(ebbtide.state_dir(), fs::Permissions::from_mode(0o777)).unwrap();
    let ran = fails(&ebbtide, &mut as_nobody(&ebbtide)).exits(1);
    assert!(ran.err.contains("127.0.0.1:81"), "{ran:?}");
    assert!(
        ran.err.contains("privilege") || ran.err.contains("1024") || ran.err.contains("CAP_NET"),
        "{ran:?}"
    );
}

#[test]
fn a_full_disk_at_the_start() {
    let scratch = Scratch::new();
    let (_servers, ebbtide) = one_server(&scratch);
    let Some(_disk) = SmallDisk::mount(&ebbtide, "16k") else {
        return;
    };
    let ran = fails(&ebbtide, &mut ebbtide.command()).exits(1);
    assert!(
        ran.err.contains(&*ebbtide.state_dir().to_string_lossy()),
        "{ran:?}"
    );
    assert!(ran.err.contains("space"), "{ran:?}");
}

#[test]
fn a_disk_that_fills_up_costs_no_user_anything() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let mut ebbtide = Ebbtide::prepare(&Setup::new(&servers));
    let Some(_disk) = SmallDisk::mount(&ebbtide, "16m") else {
        return;
    };
    ebbtide.start_again();
    ebbtide.wait_until_probed();
    let ballast = ebbtide.state_dir().join("ballast");
    // Fills it to the last byte: what does not fit fails.
    let _ = fs::write(&ballast, vec![1; 16 * 1024 * 1024]);
    // The store may have some room of its own left, which changes use up.
    let refused = until("a change is refused", LIMIT, || {
        let change = ebbtide.cli(&["hold", "app/web1", "--reason", &"x".repeat(400)]);
        let back = ebbtide.cli(&["ready", "app/web1", "--reason", &"x".repeat(400)]);
        [change, back].into_iter().find(|ran| ran.code != 0)
    });
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.err.contains("space") || refused.err.contains("full"),
        "{refused:?}"
    );
    for _ in 0..5 {
        ebbtide.user();
    }
    fs::remove_file(ballast).unwrap();
    until("changes are taken again", LIMIT, || {
        (ebbtide.cli(&["hold", "app/web2", "--force"]).code == 0).then_some(())
    });
    let before = ebbtide.intent("web2");
    ebbtide.kill();
    ebbtide.start_again();
    assert_eq!(ebbtide.intent("web2"), before);
}

#[test]
fn a_configuration_with_a_mistake_exits_2_and_shows_the_place() {
    let scratch = Scratch::new();
    let (_servers, ebbtide) = one_server(&scratch);
    let good = fs::read_to_string(ebbtide.file()).unwrap();
    fs::write(
        ebbtide.file(),
        good.replace("protocol = \"http\"", "protocoll = \"http\""),
    )
    .unwrap();
    let ran = fails(&ebbtide, &mut ebbtide.command()).exits(2);
    assert!(
        ran.err.contains("protocoll") && ran.err.contains("ebbtide.toml"),
        "{ran:?}"
    );
    fs::remove_file(ebbtide.file()).unwrap();
    fails(&ebbtide, &mut ebbtide.command()).exits(2);
}

/// The same start, as a user without rights.
fn as_nobody(ebbtide: &Ebbtide) -> Command {
    let run = ebbtide.command();
    if !rustix::process::geteuid().is_root() {
        return run;
    }
    // The build's own folder may be closed to others.
    let copy = ebbtide.scratch.join("ebbtide");
    fs::copy(run.get_program(), &copy).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.arg(copy).args(run.get_args());
    command
}

/// A file system of its own for the state directory.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    /// Only root may mount; without it, the test says so and shows nothing.
    fn mount(ebbtide: &Ebbtide, size: &str) -> Option<Self> {
        let at = ebbtide.state_dir();
        fs::create_dir(&at).unwrap();
        let options = format!("size={size}");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "none"])
            .arg(&at)
            .status();
        if mount.expect("mount can be started").success() {
            return Some(Self(at));
        }
        eprintln!("not shown here: a small disk can be mounted by root only");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
