//! `ebbtide manifest`: writes down which bytes the files of a directory hold, so that nodes know
//! which servers have the same ones.
//!
//! A file that is as it was in the manifest before is not read again. Nothing of the manifest is
//! seen before all of it is on disk.

mod hash;
mod progress;
mod walk;
mod write;

use crate::cli::ManifestArgs;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::view::bytes;
use ebbtide_control::{MANIFEST_VERSION, Manifest, ManifestFile, clock};
use ebbtide_core::{Millis, Modified, count, is_unseemly};
use hash::{Hashed, Outcome};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;
use walk::{Found, Stamp, Walk};

/// The name of a manifest within its directory, unless another place is given.
const NAME: &str = "manifest.json";

/// What was done, for programs.
#[derive(Debug, Serialize)]
struct Report {
    manifest: PathBuf,
    /// Files in the manifest.
    files: usize,
    /// Files that were read.
    read: usize,
    /// Bytes that were read.
    bytes: u64,
    /// Files that are as they were, and were not read.
    kept: usize,
    /// What is in the directory and is no file.
    skipped: Vec<Remark>,
    /// Files and directories that are not in the manifest, though they should be.
    problems: Vec<Remark>,
}

/// Something that is to be said of a file.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Remark {
    name: String,
    why: String,
}

/// Carries the command out.
pub fn run(arguments: &ManifestArgs, json: bool) -> Result<Exit, Failure> {
    let directory = &arguments.directory;
    if !directory.is_dir() {
        let text = format!("{} is not a directory", directory.display());
        return Err(Failure::usage(text));
    }
    let output = arguments.output.clone();
    let output = output.unwrap_or_else(|| directory.join(NAME));
    let before = previous(&output)?;
    let began = now();
    let started = Instant::now();
    let walk = walk::walk(directory, &output)?;
    let before = if arguments.full { None } else { before };
    let (kept, changed) = sort_out(&walk, before);
    let hashed = hash::hash_all(directory, changed, !json);
    let report = finish(began, output, walk, kept, hashed)?;
    tell(&report, started, json);
    Ok(match report.problems.is_empty() {
        true => Exit::Done,
        false => Exit::Failed,
    })
}

fn now() -> Modified {
    let milliseconds = clock().wall.0;
    Modified {
        seconds: i64::try_from(milliseconds / 1000).unwrap_or(i64::MAX),
        nanoseconds: (milliseconds % 1000) as u32 * 1_000_000,
    }
}

/// The manifest that is there already. What is something else is not overwritten.
fn previous(path: &Path) -> Result<Option<Manifest>, Failure> {
    let shown = path.display();
    match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::usage(format!(
            "{shown} cannot be read: {error}; name another file with -o"
        ))),
        Ok(bytes) => Manifest::parse(&bytes).map(Some).map_err(|why| {
            let text =
                format!("{shown} {why}; it is not overwritten: remove it, or name another with -o");
            Failure::usage(text)
        }),
    }
}

/// Files that are as they were, by name, and those that must be read.
fn sort_out(walk: &Walk, before: Option<Manifest>) -> (BTreeMap<String, ManifestFile>, Vec<Found>) {
    let began = before
        .as_ref()
        .and_then(|manifest| manifest.began.as_deref());
    let began = began.and_then(Modified::parse);
    let files = before.map(|manifest| manifest.files).unwrap_or_default();
    let mut known: BTreeMap<String, ManifestFile> = files
        .into_iter()
        .map(|file| (file.name.clone(), file))
        .collect();
    let (mut kept, mut changed) = (BTreeMap::new(), Vec::new());
    for found in &walk.files {
        match known.remove(&found.name) {
            Some(file) if began.is_some_and(|began| found.stamp.is_of(&file, began)) => {
                kept.insert(found.name.clone(), file);
            }
            _ => changed.push(found.clone()),
        }
    }
    (kept, changed)
}

impl Stamp {
    /// Whether an entry of a manifest, whose reading began at that time, is surely of this file as it
    /// is now. The clocks of file systems tick slowly: what was changed just before or while it was
    /// read may be changed again within the same tick.
    fn is_of(&self, file: &ManifestFile, began: Modified) -> bool {
        let quiet = Modified {
            seconds: self.changed.seconds.saturating_add(2),
            ..self.changed
        };
        file.size == self.size
            && file.inode == Some(self.inode)
            && file.modified.as_deref() == Some(&self.modified.to_string())
            && file.changed.as_deref() == Some(&self.changed.to_string())
            && file.blake3.is_some()
            && quiet < began
    }
}

/// Puts everything together and writes it.
fn finish(
    began: Modified,
    output: PathBuf,
    walk: Walk,
    mut files: BTreeMap<String, ManifestFile>,
    hashed: Vec<Hashed>,
) -> Result<Report, Failure> {
    let mut report = Report {
        manifest: output,
        files: 0,
        read: 0,
        bytes: 0,
        kept: files.len(),
        skipped: walk.skipped,
        problems: walk.problems,
    };
    for Hashed { name, outcome } in hashed {
        match outcome {
            Outcome::Whole { digest, stamp } => {
                report.read += 1;
                report.bytes += stamp.size;
                let file = ManifestFile {
                    name: name.clone(),
                    size: stamp.size,
                    modified: Some(stamp.modified.to_string()),
                    blake3: Some(digest.to_string()),
                    version: None,
                    changed: Some(stamp.changed.to_string()),
                    inode: Some(stamp.inode),
                };
                files.insert(name, file);
            }
            Outcome::Failed(why) => report.problems.push(Remark { name, why }),
        }
    }
    report.files = files.len();
    let manifest = Manifest {
        version: MANIFEST_VERSION,
        began: Some(began.to_string()),
        files: files.into_values().collect(),
    };
    write::write(&report.manifest, &manifest)?;
    Ok(report)
}

fn tell(report: &Report, started: Instant, json: bool) {
    if json {
        return output::json(report);
    }
    for Remark { name, why } in &report.skipped {
        eprintln!("ebbtide: skipped {}: {why}", plain(name));
    }
    for Remark { name, why } in &report.problems {
        eprintln!("ebbtide: left out {}: {why}", plain(name));
    }
    let took = Millis(started.elapsed().as_millis() as u64);
    output::line(format!(
        "{}: {}, {} read ({}) and {} as before, in {took}",
        report.manifest.display(),
        count(report.files, "file"),
        report.read,
        bytes(report.bytes),
        report.kept,
    ));
}

/// Names are others' choice: they must not steer the operator's terminal.
fn plain(name: &str) -> String {
    name.replace(is_unseemly, "\u{fffd}")
}
