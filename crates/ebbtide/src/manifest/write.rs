//! The manifest's way to the disk: all of it or nothing.

use crate::exit::Failure;
use ebbtide_control::{MANIFEST_BYTES_MAX, Manifest};
use std::fs::{File, remove_file, rename};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Where the manifest is until all of it is on disk.
pub(super) fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default();
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".new");
    path.with_file_name(hidden)
}

/// Writes it in place of what is there.
pub(super) fn write(path: &Path, manifest: &Manifest) -> Result<(), Failure> {
    let text = text(manifest).map_err(|error| Failure::failed(error.to_string()))?;
    if text.len() > MANIFEST_BYTES_MAX {
        return Err(Failure::failed(format!(
            "nothing was written: the manifest of {} files would be longer than 16 MiB, and nodes \
             read no longer ones; make one for each directory below",
            manifest.files.len()
        )));
    }
    let hidden = temporary(path);
    replace(path, &hidden, text.as_bytes()).map_err(|error| {
        // Whatever it is that fails, nothing half-written stays.
        drop(remove_file(&hidden));
        Failure::failed(format!(
            "{} cannot be written: {error}; it is as it was",
            path.display()
        ))
    })
}

/// One file on each line: two manifests can be compared with `diff`.
fn text(manifest: &Manifest) -> serde_json::Result<String> {
    let head = Manifest {
        files: Vec::new(),
        ..manifest.clone()
    };
    let head = serde_json::to_string(&head)?;
    let files: Result<Vec<String>, _> = manifest.files.iter().map(serde_json::to_string).collect();
    let files = files?.join(",\n");
    let head = head.strip_suffix("]}").unwrap_or(&head);
    Ok(format!("{head}\n{files}\n]}}\n"))
}

fn replace(path: &Path, hidden: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(hidden)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    rename(hidden, path)?;
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}
