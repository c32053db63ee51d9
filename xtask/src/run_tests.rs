//! `cargo xtask test`: all of the tests, in a way that works on a fresh machine.

use std::process::ExitCode;

use crate::npm;
use crate::shell;
use crate::system_packages::{self, FOR_TESTS};

/// Runs the tests and passes the runner's exit code on. Prints nothing after the runner, whose own summary is
/// what a reader looks for at the end.
pub fn run(arguments: &[String]) -> Result<ExitCode, String> {
    system_packages::require(FOR_TESTS)?;
    npm::require()?;
    let nextest = has_nextest()?;
    // nextest leaves doctests out. Arguments select particular tests, which doctests are then not among.
    if nextest && arguments.is_empty() {
        let status = shell::stream(&mut shell::cargo(&[
            "test",
            "--workspace",
            "--doc",
            "--quiet",
        ]))?;
        if !status.success() {
            return Ok(shell::exit_code(status));
        }
    }
    let mut runner = if nextest {
        shell::cargo(&["nextest", "run"])
    } else {
        shell::cargo(&["test"])
    };
    if !selects_package(arguments) {
        runner.arg("--workspace");
    }
    shell::stream(runner.args(arguments)).map(shell::exit_code)
}

fn has_nextest() -> Result<bool, String> {
    Ok(
        shell::capture(&mut shell::cargo(&["nextest", "--version"]))?
            .status
            .success(),
    )
}

/// Whether the arguments name packages, which `--workspace` would override.
fn selects_package(arguments: &[String]) -> bool {
    let before_separator = arguments.iter().take_while(|argument| *argument != "--");
    let mut options = before_separator.map(String::as_str);
    options.any(|option| {
        option.starts_with("-p") || option == "--package" || option.starts_with("--package=")
    })
}

#[cfg(test)]
mod tests {
    use super::selects_package;

    #[test]
    fn a_package_named_before_the_separator_narrows_the_run() {
        let selects = |words: &str| {
            selects_package(
                &words
                    .split_whitespace()
                    .map(String::from)
                    .collect::<Vec<_>>(),
            )
        };
        assert!(selects("-p ebbtide-core"));
        assert!(selects("--package=ebbtide-core"));
        assert!(!selects(""));
        assert!(!selects("drain -- -p"));
        assert!(!selects("--no-fail-fast"));
    }
}
