//! `cargo xtask docs`: pages that the program prints about itself, so that they cannot say something else.

use std::fs;
use std::process::ExitCode;

use crate::shell;

/// The program's pages about itself.
const OF_PROGRAM: &[&str] = &["--bin", "ebbtide", "--", "internal-docs"];
/// What a simulation of the policies shows.
const OF_BALANCING: &[&str] = &["--package", "ebbtide-core", "--example", "balancing", "--"];

/// What is run, what it is asked for, and the page that its answer becomes.
const GENERATED: &[(&[&str], &str, &str)] = &[
    (OF_PROGRAM, "settings", "docs/settings.md"),
    (OF_PROGRAM, "schema", "docs/ebbtide.schema.json"),
    (OF_PROGRAM, "openapi", "docs/openapi.json"),
    (OF_PROGRAM, "cli", "docs/cli.md"),
    (OF_PROGRAM, "metrics", "docs/metrics.md"),
    (OF_BALANCING, "page", "docs/balancing.md"),
    (OF_BALANCING, "picture", "docs/images/balancing.svg"),
];

/// Writes every generated page.
pub fn write() -> Result<(), String> {
    for (program, argument, page) in GENERATED {
        let text = generate(program, argument)?;
        fs::write(shell::root().join(page), text)
            .map_err(|error| format!("cannot write {page}: {error}"))?;
        println!("wrote {page}");
    }
    Ok(())
}

/// A complaint for each page that differs from what the program would print now.
pub fn out_of_date() -> Vec<String> {
    let mut complaints = Vec::new();
    for (program, argument, page) in GENERATED {
        let text = match generate(program, argument) {
            Ok(text) => text,
            Err(error) => {
                // The rest would fail alike, and a compiler's complaint is long.
                complaints.push(format!("{page} cannot be generated: {error}"));
                break;
            }
        };
        if fs::read_to_string(shell::root().join(page)).ok() != Some(text) {
            complaints.push(format!("{page} is out of date: run cargo xtask docs"));
        }
    }
    complaints
}

/// `cargo xtask docs --check`.
pub fn check_and_print() -> Result<ExitCode, String> {
    let complaints = out_of_date();
    for complaint in &complaints {
        println!("{complaint}");
    }
    Ok(if complaints.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn generate(program: &[&str], argument: &str) -> Result<String, String> {
    let arguments = [&["run", "--quiet"], program, &[argument]].concat();
    shell::capture_text(&mut shell::cargo(&arguments))
}
