//! `cargo xtask docs`: pages that the program prints about itself, so that they cannot say something else.

use std::fs;
use std::process::ExitCode;

use crate::shell;

/// What `ebbtide internal-docs` is asked for, and the page that its answer becomes.
const GENERATED: &[(&str, &str)] = &[
    ("settings", "docs/settings.md"),
    ("schema", "docs/ebbtide.schema.json"),
    ("openapi", "docs/openapi.json"),
    ("cli", "docs/cli.md"),
    ("metrics", "docs/metrics.md"),
];

/// Writes every generated page.
pub fn write() -> Result<(), String> {
    for (argument, page) in GENERATED {
        let text = generate(argument)?;
        fs::write(shell::root().join(page), text)
            .map_err(|error| format!("cannot write {page}: {error}"))?;
        println!("wrote {page}");
    }
    Ok(())
}

/// A complaint for each page that differs from what the program would print now.
pub fn out_of_date() -> Vec<String> {
    let mut complaints = Vec::new();
    for (argument, page) in GENERATED {
        let text = match generate(argument) {
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

fn generate(argument: &str) -> Result<String, String> {
    let mut program = shell::cargo(&[
        "run",
        "--quiet",
        "--bin",
        "ebbtide",
        "--",
        "internal-docs",
        argument,
    ]);
    shell::capture_text(&mut program)
}
