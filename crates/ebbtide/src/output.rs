//! Standard output: lines for people, JSON for programs. Whoever closed it does not want the rest.

use serde::Serialize;
use std::io::{self, Write};

/// Writes a line.
pub fn line(text: impl AsRef<str>) {
    write(&format!("{}\n", text.as_ref()));
}

/// Writes a JSON document.
pub fn json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => line(text),
        Err(error) => eprintln!("ebbtide: cannot write this as JSON: {error}"),
    }
}

/// Writes a JSON document on one line.
pub fn json_line(value: &impl Serialize) {
    match serde_json::to_string(value) {
        Ok(text) => line(text),
        Err(error) => eprintln!("ebbtide: cannot write this as JSON: {error}"),
    }
}

/// Writes text as it is.
pub fn write(text: &str) {
    let mut out = io::stdout().lock();
    // A closed pipe is the reader's choice, and there is nobody left to tell.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
