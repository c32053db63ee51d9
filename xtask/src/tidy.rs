//! `cargo xtask tidy`: style as a test. Every check runs, so that one run shows all there is to mend.

mod floors;
mod graphs;
mod links;
mod source;
mod text;

use std::fs;
use std::process::{Command, ExitCode};

use crate::{docs, shell};
use source::RustFile;

/// A file of the tree, by its path from the root.
pub struct TreeFile {
    /// From the root, with `/`.
    pub path: String,
    /// The whole file; files that are not UTF-8 are left out of the tree.
    pub text: String,
}

/// Runs every check; prints `ok  name`, or what is wrong.
pub fn run() -> Result<ExitCode, String> {
    let paths = list_paths()?;
    let files = read_files(&paths);
    let (rust, unreadable) = source::parse_all(&files);
    let mut good = true;
    let mut report = |name: &str, complaints: Vec<String>| {
        good &= complaints.is_empty();
        if complaints.is_empty() {
            println!("ok  {name}");
        }
        for complaint in complaints {
            println!("{complaint}");
        }
    };
    report(
        "fmt",
        run_tool(
            &mut shell::cargo(&["fmt", "--all", "--check"]),
            "run cargo fmt --all",
        ),
    );
    report("floors", floors::check(&files));
    report("sizes", [unreadable, source::check_sizes(&rust)].concat());
    report("unsafe", source::check_unsafe(&rust));
    report("graphs", graphs::check(&files, &function_names(&rust)));
    report("markers", text::check_markers(&files));
    report("changelog", text::check_changelog(&files));
    report("snapshots", text::check_snapshots(&paths));
    report("links", links::check(&files, &shell::root()));
    let clippy = &[
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    report(
        "clippy",
        run_tool(&mut shell::cargo(clippy), "mend each of these"),
    );
    report("docs", docs::out_of_date());
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Every file that is committed or would be: what git ignores is not part of the tree.
fn list_paths() -> Result<Vec<String>, String> {
    // A checkout by another user, as build machines make, is safe to list.
    let arguments = [
        "-c",
        "safe.directory=*",
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ];
    let listing = shell::capture_text(&mut shell::command("git", &arguments))?;
    Ok(listing
        .split('\0')
        .filter(|path| !path.is_empty())
        .map(String::from)
        .collect())
}

/// Reads what is there and is text; a file deleted but not yet committed so is simply gone.
fn read_files(paths: &[String]) -> Vec<TreeFile> {
    let read = |path: &String| {
        let text = fs::read_to_string(shell::root().join(path)).ok()?;
        Some(TreeFile {
            path: path.clone(),
            text,
        })
    };
    paths.iter().filter_map(read).collect()
}

/// The functions that a graph may name: those of the product, not of its tests.
fn function_names<'a>(rust: &'a [RustFile<'a>]) -> Vec<&'a str> {
    let product = rust
        .iter()
        .filter(|file| file.path.starts_with("crates/") && file.path.contains("/src/"));
    product
        .flat_map(|file| &file.functions)
        .map(|function| function.name.as_str())
        .collect()
}

fn run_tool(command: &mut Command, advice: &str) -> Vec<String> {
    match shell::capture(command) {
        Err(error) => vec![error],
        Ok(output) if output.status.success() => Vec::new(),
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            vec![
                String::from_utf8_lossy(&text).trim_end().to_owned(),
                format!("to mend it: {advice}"),
            ]
        }
    }
}
