//! `cargo xtask pgo`: the program built with what a profile of its own work says (profile-guided optimisation).
//!
//! Three steps: a build that counts, the demo under load as the work that is counted, and the build that uses it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::shell;
use crate::system_packages::{self, SystemPackage};

/// Where everything of it goes, below the tree.
const TARGET: &str = "target/pgo";
/// The demo's own time; the load ends before it.
const DEMO_SECONDS: u32 = 40;
const LOAD_SECONDS: u32 = 8;
const PORT: u16 = 18_999;

/// A profile can be read by tools of the compiler's own LLVM, and as a rule by somewhat older ones.
const MERGERS: [&str; 4] = [
    "llvm-profdata-22",
    "llvm-profdata-21",
    "llvm-profdata-19",
    "llvm-profdata",
];

const NEEDED: &[SystemPackage] = &[
    SystemPackage {
        program: "wrk",
        debian: "wrk",
        reason: "the load that is counted",
    },
    SystemPackage {
        program: "curl",
        debian: "curl",
        reason: "waits until the demo answers",
    },
];

/// Builds it; prints where it is.
pub fn run() -> Result<ExitCode, String> {
    system_packages::require(NEEDED)?;
    let target = shell::root().join(TARGET);
    let raw = target.join("raw");
    // What an earlier version of the program counted would not fit.
    if raw.exists() {
        fs::remove_dir_all(&raw)
            .map_err(|error| format!("cannot remove {}: {error}", raw.display()))?;
    }
    let counting = build(&target, &format!("-Cprofile-generate={}", raw.display()))?;
    work(&counting)?;
    let profile = target.join("ebbtide.profdata");
    merge(&raw, &profile)?;
    let program = build(&target, &format!("-Cprofile-use={}", profile.display()))?;
    println!("built {}", program.display());
    Ok(ExitCode::SUCCESS)
}

/// Builds the program in the way that is meant for users, with this flag. A target that is named keeps the flag
/// away from build scripts.
fn build(target: &Path, flag: &str) -> Result<PathBuf, String> {
    let host = shell::capture_text(&mut shell::command("rustc", &["--print", "host-tuple"]))?;
    let host = host.trim();
    let mut cargo = shell::cargo(&["build", "--release", "--bin", "ebbtide", "--target", host]);
    cargo.env("RUSTFLAGS", flag).env("CARGO_TARGET_DIR", target);
    match shell::stream(&mut cargo)?.success() {
        true => Ok(target.join(host).join("release/ebbtide")),
        false => Err("the program does not build: mend that first".to_owned()),
    }
}

/// The demo's users and operators, and beside them as many requests as there can be: connections that are kept,
/// and one for each request.
fn work(program: &Path) -> Result<(), String> {
    let (port, seconds) = (PORT.to_string(), format!("{DEMO_SECONDS}s"));
    let mut demo = shell::command(
        program,
        &["demo", "--plain", "--port", &port, "--for", &seconds],
    )
    .spawn()
    .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    let address = format!("http://127.0.0.1:{port}/");
    let duration = format!("-d{LOAD_SECONDS}s");
    let patience = [
        "--silent",
        "--output",
        "/dev/null",
        "--retry",
        "30",
        "--retry-delay",
        "1",
        "--retry-connrefused",
    ];
    shell::stream(shell::command("curl", &patience).arg(&address))?;
    for extra in [&["-c64"][..], &["-c64", "-H", "Connection: close"]] {
        let mut wrk = shell::command("wrk", &["-t1", &duration]);
        shell::stream(wrk.args(extra).arg(&address))?;
    }
    let ended = demo.wait().map_err(|error| format!("the demo: {error}"))?;
    ended
        .success()
        .then_some(())
        .ok_or_else(|| format!("the demo ended with {ended}"))
}

fn merge(raw: &Path, profile: &Path) -> Result<(), String> {
    let Some(merger) = MERGERS
        .iter()
        .find(|name| shell::find_program(name).is_some())
    else {
        return Err(
            "llvm-profdata is missing: `rustup component add llvm-tools` (and its folder on PATH), or the \
             package llvm-19 on Debian"
                .to_owned(),
        );
    };
    let mut command = shell::command(merger, &["merge", "-o"]);
    let status = shell::stream(command.arg(profile).arg(raw))?;
    status.success().then_some(()).ok_or_else(|| {
        format!("{merger} cannot read the profile: take that of the compiler's own LLVM")
    })
}
