//! `cargo xtask fuzz`: throws bytes at everything that reads bytes from strangers.
//!
//! With libFuzzer where a nightly toolchain and a C++ compiler are installed. Elsewhere the same functions run on
//! seeded random mutations of the committed corpora, so that a fresh machine can do it too; what ran is said.
//! The build does the latter with a fixed seed, so that it does not fail by chance.

use std::fs;
use std::process::{Command, ExitCode};
use std::thread::available_parallelism;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::shell;

/// What can be asked of the fuzzers.
#[derive(clap::Args)]
pub struct Options {
    /// Only this one; all of them if none is named
    target: Option<String>,
    /// How long for each, such as 60s, 3m or 1h
    #[arg(long = "for", default_value = "60s", value_parser = duration)]
    time: Duration,
    /// Do not use libFuzzer, even if it could be
    #[arg(long)]
    stable: bool,
    /// What the dice begin with; by default another one each time
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    seed: Option<u32>,
    /// At most so many inputs for each, without libFuzzer: with a seed, the same ones on every machine
    /// that is fast enough
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    inputs: u64,
}

/// No input gets longer: what matters fits, and short ones run faster and are read by people.
const INPUT_BYTES_MAX: u32 = 4096;
/// One input may not take longer; most take some microseconds.
const INPUT_S_MAX: u32 = 10;

/// What is going to run the targets.
enum Engine {
    /// libFuzzer, with this nightly toolchain.
    LibFuzzer(String),
    /// The stable runner, and why.
    Stable(String),
}

/// Runs one target or all of them; all are run even if one fails.
pub fn run(options: &Options) -> Result<ExitCode, String> {
    let targets = match &options.target {
        None => target_names()?,
        Some(name) if target_names()?.contains(name) => vec![name.clone()],
        Some(name) => {
            let known = target_names()?.join(", ");
            return Err(format!("no target is called {name}; there are {known}"));
        }
    };
    let engine = match options.stable {
        true => Engine::Stable("--stable was given".to_owned()),
        false => find_engine()?,
    };
    let failed = match &engine {
        Engine::LibFuzzer(toolchain) => one_by_one(toolchain, &targets, options)?,
        Engine::Stable(_) => side_by_side(&targets, options)?,
    };
    match engine {
        Engine::LibFuzzer(toolchain) => println!("ran libFuzzer ({toolchain})"),
        Engine::Stable(why) => {
            println!("ran random mutations of the committed corpora, not libFuzzer: {why}")
        }
    }
    if failed.is_empty() {
        println!("ok  {}", targets.join(", "));
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "FAILED  {}: the inputs are in fuzz/artifacts/",
        failed.join(", ")
    );
    Ok(ExitCode::FAILURE)
}

/// Runs libFuzzer on each; those that failed.
fn one_by_one<'a>(
    toolchain: &str,
    targets: &'a [String],
    options: &Options,
) -> Result<Vec<&'a str>, String> {
    let mut failed = Vec::new();
    for target in targets {
        println!("---- {target}");
        if !shell::stream(&mut libfuzzer(toolchain, target, options)?)?.success() {
            failed.push(target.as_str());
        }
    }
    Ok(failed)
}

/// Runs the stable runner on as many at a time as there are cores; those that failed.
fn side_by_side<'a>(targets: &'a [String], options: &Options) -> Result<Vec<&'a str>, String> {
    if !shell::stream(&mut stable("build", &[]))?.success() {
        return Err("the targets do not build: mend that first".to_owned());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let chance = now.map_or(0, |since| since.as_secs());
    let seed = options.seed.map_or(chance, u64::from).to_string();
    let inputs = options.inputs.to_string();
    let seconds = options.time.as_secs().to_string();
    let mut failed = Vec::new();
    for together in targets.chunks(available_parallelism().map_or(1, usize::from)) {
        println!("---- {}", together.join(", "));
        let mut running = Vec::new();
        for target in together {
            let child = stable("run", &["--", target, &seconds, &seed, &inputs]).spawn();
            let child = child.map_err(|error| format!("cannot run {target}: {error}"))?;
            running.push((target, child));
        }
        for (target, mut child) in running {
            if !child.wait().is_ok_and(|status| status.success()) {
                failed.push(target.as_str());
            }
        }
    }
    Ok(failed)
}

/// The programs in fuzz/fuzz_targets/, in the order of their names.
fn target_names() -> Result<Vec<String>, String> {
    let folder = shell::root().join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder)
        .map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.path().file_stem()?.to_str().map(String::from))
        .collect();
    names.sort();
    Ok(names)
}

/// libFuzzer if this machine has what it needs; cargo-fuzz itself is installed if it is missing.
fn find_engine() -> Result<Engine, String> {
    let missing = |what: &str| Ok(Engine::Stable(what.to_owned()));
    if shell::find_program("rustup").is_none() {
        return missing("rustup, which finds a nightly toolchain, is not installed");
    }
    let toolchains = shell::capture_text(&mut shell::command("rustup", &["toolchain", "list"]))?;
    let mut words = toolchains
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let Some(nightly) = words.find(|name| name.starts_with("nightly")) else {
        return missing(
            "no nightly toolchain is installed (rustup toolchain install nightly --profile minimal)",
        );
    };
    if !["c++", "g++", "clang++"]
        .iter()
        .any(|name| shell::find_program(name).is_some())
    {
        return missing("no C++ compiler is installed, and libFuzzer is written in C++");
    }
    let version = shell::capture(&mut rustup_cargo(nightly, &["fuzz", "--version"]))?;
    if !version.status.success() {
        println!("cargo-fuzz is missing: installing it");
        let mut install = rustup_cargo(nightly, &["install", "cargo-fuzz", "--locked"]);
        if !shell::stream(&mut install)?.success() {
            return missing(
                "cargo-fuzz could not be installed (cargo install cargo-fuzz --locked)",
            );
        }
    }
    Ok(Engine::LibFuzzer(nightly.to_owned()))
}

fn rustup_cargo(toolchain: &str, arguments: &[&str]) -> Command {
    let mut command = shell::command("rustup", &["run", toolchain, "cargo"]);
    command.args(arguments);
    command
}

/// New inputs go to fuzz/found/, which git ignores; the committed ones are only read.
fn libfuzzer(toolchain: &str, target: &str, options: &Options) -> Result<Command, String> {
    let found = format!("fuzz/found/{target}");
    fs::create_dir_all(shell::root().join(&found))
        .map_err(|error| format!("cannot make {found}: {error}"))?;
    // There is no `unsafe` of ours for a sanitizer to look at, and without one it is twice as fast.
    let run = [
        "fuzz",
        "run",
        "--sanitizer=none",
        "--features=libfuzzer",
        "--target-dir=target/fuzz",
    ];
    let mut command = rustup_cargo(toolchain, &run);
    command
        .args([target, &found, &format!("fuzz/corpus/{target}"), "--"])
        .arg(format!("-max_total_time={}", options.time.as_secs()))
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg(format!("-timeout={INPUT_S_MAX}"))
        // A word of the dictionary may be put in from the start, however long it makes the input.
        .arg("-len_control=0")
        .arg("-print_final_stats=1")
        .arg(format!(
            "-dict=fuzz/dictionaries/{}.dict",
            dictionary(target)
        ));
    if let Some(seed) = options.seed {
        command.arg(format!("-seed={seed}"));
    }
    Ok(quick_to_build(command))
}

/// The targets of HTTP/1 share one dictionary; the others have their own.
fn dictionary(target: &str) -> &str {
    let own = format!("fuzz/dictionaries/{target}.dict");
    match shell::root().join(own).is_file() {
        true => target,
        false => "http",
    }
}

/// cargo, to `build` or to `run` the stable runner.
fn stable(task: &str, arguments: &[&str]) -> Command {
    let mut command = shell::cargo(&[
        task,
        "--quiet",
        "--release",
        "--package=ebbtide-fuzz",
        "--example=stable",
        "--target-dir=target/fuzz",
    ]);
    command
        .env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true")
        .args(arguments);
    quick_to_build(command)
}

/// Optimisation across crates takes minutes, and finds no faults.
fn quick_to_build(mut command: Command) -> Command {
    command.env("CARGO_PROFILE_RELEASE_LTO", "off");
    command
}

/// Reads `60s`, `3m` or `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration: write 60s, 3m or 1h");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return Err(wrong()),
    };
    let number: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    match number {
        // libFuzzer takes 0 for "for ever".
        0 => Err(wrong()),
        _ => Ok(Duration::from_secs(u64::from(number) * factor)),
    }
}

#[cfg(test)]
mod tests {
    use super::{duration, target_names};
    use std::time::Duration;

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(duration("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(duration("3m"), Ok(Duration::from_secs(180)));
        for wrong in ["", "60", "0s", "m", "1d", "1µ"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn targets_are_found_by_their_files() {
        assert!(target_names().is_ok_and(|names| names.contains(&"request".to_owned())));
    }
}
