//! Programs that come from the system and not from cargo: present, installed, or named with what to type.

use std::path::Path;

use crate::shell;

/// One program that a task starts.
pub struct SystemPackage {
    /// The name to look for on PATH.
    pub program: &'static str,
    /// The Debian package that has it.
    pub debian: &'static str,
    /// What it is needed for; shown when it is missing.
    pub reason: &'static str,
}

/// What the tests need.
pub const FOR_TESTS: &[SystemPackage] = &[
    SystemPackage {
        program: "nginx",
        debian: "nginx-light",
        reason: "a real server in the pools of the tests",
    },
    SystemPackage {
        program: "curl",
        debian: "curl",
        reason: "a client that is not ours",
    },
    SystemPackage {
        program: "python3",
        debian: "python3",
        reason: "a second real server, with its own HTTP/1",
    },
    SystemPackage {
        program: "faketime",
        debian: "faketime",
        reason: "steps the wall clock of a running Ebbtide",
    },
    SystemPackage {
        program: "chromium",
        debian: "chromium",
        reason: "a real browser, to see what users see",
    },
    SystemPackage {
        program: "chromedriver",
        debian: "chromium-driver",
        reason: "drives the browser",
    },
    SystemPackage {
        program: "npm",
        debian: "npm",
        reason: "gets axe-core, which judges whether everybody can use a page, and a provider to sign in by",
    },
    SystemPackage {
        program: "node",
        debian: "nodejs",
        reason: "runs that provider",
    },
    SystemPackage {
        program: "nbdkit",
        debian: "nbdkit",
        reason: "a disk's server that is not ours, and that can misbehave",
    },
    SystemPackage {
        program: "qemu-nbd",
        debian: "qemu-utils",
        reason: "another one, and qemu-img, which reads and writes disks",
    },
    SystemPackage {
        program: "nbdcopy",
        debian: "libnbd-bin",
        reason: "clients of disks that are not ours",
    },
    SystemPackage {
        program: "fio",
        debian: "fio",
        reason: "another one, which checks each block that it reads",
    },
    SystemPackage {
        program: "prometheus-node-exporter",
        debian: "prometheus-node-exporter",
        reason: "tells how busy a machine is",
    },
    SystemPackage {
        program: "sshd",
        debian: "openssh-server",
        reason: "a server of sessions that are connections",
    },
    SystemPackage {
        program: "ssh",
        debian: "openssh-client",
        reason: "its client",
    },
    SystemPackage {
        program: "telnetd",
        debian: "inetutils-telnetd",
        reason: "a server of terminals",
    },
    SystemPackage {
        program: "telnet",
        debian: "inetutils-telnet",
        reason: "its client",
    },
    SystemPackage {
        program: "socat",
        debian: "socat",
        reason: "takes connections for telnetd",
    },
    SystemPackage {
        program: "haproxy",
        debian: "haproxy",
        reason: "a balancer that asks agents",
    },
    SystemPackage {
        program: "pg_ctlcluster",
        debian: "postgresql",
        reason: "a server whose sessions are transactions, and psql",
    },
];

/// What the comparison needs.
pub const FOR_BENCH: &[SystemPackage] = &[
    SystemPackage {
        program: "nginx",
        debian: "nginx-light",
        reason: "the origin, and a peer",
    },
    SystemPackage {
        program: "haproxy",
        debian: "haproxy",
        reason: "a peer",
    },
    SystemPackage {
        program: "wrk",
        debian: "wrk",
        reason: "the load",
    },
    SystemPackage {
        program: "nbdkit",
        debian: "nbdkit",
        reason: "the disks' servers",
    },
    SystemPackage {
        program: "nbdcopy",
        debian: "libnbd-bin",
        reason: "reads disks in order",
    },
    SystemPackage {
        program: "fio",
        debian: "fio",
        reason: "reads disks in small parts",
    },
    SystemPackage {
        program: "prometheus-node-exporter",
        debian: "prometheus-node-exporter",
        reason: "the page of an exporter",
    },
    SystemPackage {
        program: "b3sum",
        debian: "b3sum",
        reason: "a peer in making digests",
    },
    SystemPackage {
        program: "taskset",
        debian: "util-linux",
        reason: "pins each side to its own core",
    },
];

/// Returns when every program is there; installs the missing ones when this is root on Debian.
pub fn require(packages: &[SystemPackage]) -> Result<(), String> {
    let missing: Vec<_> = packages
        .iter()
        .filter(|package| shell::find_program(package.program).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    for package in &missing {
        eprintln!("missing: {} ({})", package.program, package.reason);
    }
    let names: Vec<_> = missing.iter().map(|package| package.debian).collect();
    let by_hand = format!(
        "apt-get update && apt-get install -y --no-install-recommends {}",
        names.join(" ")
    );
    if shell::find_program("apt-get").is_none() {
        return Err(format!(
            "install the missing programs with your system's packager; on Debian: {by_hand}"
        ));
    }
    if !is_root() {
        return Err(format!(
            "the missing programs need root to install: sudo sh -c '{by_hand}'"
        ));
    }
    apt_get(&["update"])?;
    apt_get(
        &[
            &["install", "-y", "--no-install-recommends"],
            names.as_slice(),
        ]
        .concat(),
    )?;
    match missing
        .iter()
        .find(|package| shell::find_program(package.program).is_none())
    {
        Some(package) => Err(format!(
            "installed {}, but {} is still not on PATH",
            package.debian, package.program
        )),
        None => Ok(()),
    }
}

fn apt_get(arguments: &[&str]) -> Result<(), String> {
    eprintln!("running apt-get {}", arguments.join(" "));
    let mut command = shell::command("apt-get", arguments);
    let status = shell::stream(command.env("DEBIAN_FRONTEND", "noninteractive"))?;
    status
        .success()
        .then_some(())
        .ok_or_else(|| format!("apt-get {} failed ({status})", arguments.join(" ")))
}

/// A process's own folder in /proc belongs to its effective user.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    Path::new("/proc/self")
        .metadata()
        .is_ok_and(|entry| entry.uid() == 0)
}
