//! Which files there are in a directory.

use super::{Remark, write};
use crate::exit::Failure;
use ebbtide_core::Modified;
use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// As many names that are not UTF-8 are listed.
const LISTED_MAX: usize = 5;

/// What tells one content of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub size: u64,
    pub inode: u64,
    pub modified: Modified,
    pub changed: Modified,
}

impl Stamp {
    pub fn of(metadata: &Metadata) -> Self {
        let time = |seconds, nanoseconds: i64| Modified {
            seconds,
            nanoseconds: u32::try_from(nanoseconds).unwrap_or(0),
        };
        Self {
            size: metadata.len(),
            inode: metadata.ino(),
            modified: time(metadata.mtime(), metadata.mtime_nsec()),
            changed: time(metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its path within the directory, with `/` between the parts.
    pub name: String,
    pub stamp: Stamp,
}

/// What is in a directory.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Its files, by ascending name.
    pub files: Vec<Found>,
    pub skipped: Vec<Remark>,
    pub problems: Vec<Remark>,
}

/// Finds the files in `directory` and below, but not the manifest itself.
pub(super) fn walk(directory: &Path, output: &Path) -> Result<Walk, Failure> {
    let own = [output.to_owned(), write::temporary(output)];
    let own: Vec<PathBuf> = own.iter().filter_map(|path| whole(path)).collect();
    let mut walk = Walk::default();
    let mut not_utf8 = Vec::new();
    // Relative paths of directories that are still to be looked at.
    let mut waiting = vec![PathBuf::new()];
    while let Some(inner) = waiting.pop() {
        let path = directory.join(&inner);
        let real = path.canonicalize().unwrap_or_default();
        let entries = std::fs::read_dir(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                let name = inner.to_string_lossy().into_owned();
                let why = format!("the directory cannot be read: {error}");
                walk.problems.push(Remark { name, why });
                continue;
            }
        };
        for entry in entries {
            let relative = inner.join(entry.file_name());
            let Some(name) = relative.to_str().map(str::to_owned) else {
                not_utf8.push(relative);
                continue;
            };
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // It was removed meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => {
                    let why = format!("cannot be looked at: {error}");
                    walk.problems.push(Remark { name, why });
                    continue;
                }
            };
            if metadata.is_dir() {
                waiting.push(relative);
            } else if !metadata.is_file() {
                let why = kind(&metadata).to_owned();
                walk.skipped.push(Remark { name, why });
            } else if !own.contains(&real.join(entry.file_name())) {
                let stamp = Stamp::of(&metadata);
                walk.files.push(Found { name, stamp });
            }
        }
    }
    if !not_utf8.is_empty() {
        return Err(refuse(&not_utf8));
    }
    walk.files.sort_by(|one, other| one.name.cmp(&other.name));
    walk.skipped.sort_by(|one, other| one.name.cmp(&other.name));
    walk.problems
        .sort_by(|one, other| one.name.cmp(&other.name));
    Ok(walk)
}

/// The path of a file, whether it is there or not, as it is once links in its directory are
/// followed.
fn whole(path: &Path) -> Option<PathBuf> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    Some(directory.canonicalize().ok()?.join(path.file_name()?))
}

fn kind(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

fn refuse(names: &[PathBuf]) -> Failure {
    let shown = names.iter().take(LISTED_MAX);
    let shown: Vec<String> = shown.map(|name| format!("{name:?}")).collect();
    let more = names.len().saturating_sub(LISTED_MAX);
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Failure::failed(format!(
        "nothing was written: names that are not UTF-8 cannot stand in a manifest; rename {}{more}",
        shown.join(", ")
    ))
}
