//! Files that are read, and files with mistakes.

use ebbtide::config::{Loaded, parse};

/// The smallest file.
pub const SMALL: &str = r#"
[listeners.web]
bind = "127.0.0.1:8080"
pool = "app"

[pools.app.servers]
web1 = "10.0.0.11:8080"
"#;

/// What a file becomes.
#[track_caller]
pub fn good(text: &str) -> Loaded {
    parse("ebbtide.toml", text.as_bytes()).unwrap_or_else(|errors| panic!("{errors}"))
}

/// What is said of a file with mistakes.
#[track_caller]
pub fn errors(text: &str) -> String {
    errors_of_bytes(text.as_bytes())
}

#[track_caller]
pub fn errors_of_bytes(bytes: &[u8]) -> String {
    parse("ebbtide.toml", bytes)
        .expect_err("the file has a mistake")
        .to_string()
}

/// [`SMALL`] with these lines of the pool before its servers.
pub fn in_pool(lines: &str) -> String {
    SMALL.replace(
        "[pools.app.servers]",
        &format!("[pools.app]\n{lines}\n[pools.app.servers]"),
    )
}

/// What is said of [`SMALL`] with these lines of the pool before its servers.
#[track_caller]
pub fn errors_in_pool(lines: &str) -> String {
    errors(&in_pool(lines))
}

/// Everything of this is said.
#[track_caller]
pub fn shows(errors: &str, parts: &[&str]) {
    for part in parts {
        assert!(errors.contains(part), "{part:?} is not in:\n{errors}");
    }
}

/// How many mistakes are told of.
pub fn count(errors: &str) -> usize {
    errors
        .lines()
        .filter(|line| line.starts_with("error: "))
        .count()
}
