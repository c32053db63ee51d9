//! The configuration file: read, checked by the settings table, and made into what the rest of the
//! program works from. Every mistake of a file is found in one reading and shown at its place.

mod build;
mod door;
mod gate;
mod load;
mod names;
mod openid;
mod outliers;
mod outside;
mod placing;
mod problem;
mod read;
mod redirect;
mod reference;
mod replicas;
mod schema;
mod settings;
mod tcp;
mod user;
mod value;

pub use problem::{ConfigErrors, MistakeAt};
pub use reference::settings_page;
pub use schema::schema;
pub use value::{Mistake, address, duration};

use ebbtide_control::{SignInOptions, USERS_FILE, Webhook};
use ebbtide_core::{Config, Millis};
use problem::{Problem, place};
use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::de::DeTable;

/// What a file says, all of it checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Listeners and pools.
    pub config: Arc<Config>,
    /// Who is told of events.
    pub webhooks: Vec<Webhook>,
    /// The node itself.
    pub node: NodeConfig,
}

/// The settings of the node itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// Where the store and the admin socket live.
    pub state_dir: PathBuf,
    /// Where the control API listens.
    pub admin: SocketAddr,
    /// How people sign in to the console.
    pub signin: SignInOptions,
    /// Threads that serve clients, at least 1.
    pub workers: usize,
    /// How long requests may still run after the order to stop.
    pub stop_grace: Millis,
    /// The access log; `None`: off.
    pub access_log: Option<AccessLog>,
}

/// Where a line for each request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// JSON lines, or else the combined format.
    pub json: bool,
    /// The file; `None`: standard output.
    pub path: Option<PathBuf>,
}

/// Why there is no configuration.
#[derive(Debug)]
pub enum LoadError {
    /// The file cannot be read at all.
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It can be read, but not used.
    Mistaken(ConfigErrors),
}

impl LoadError {
    /// Every mistake of the file by itself; none if it cannot be read at all.
    pub fn mistakes(&self) -> Vec<MistakeAt> {
        match self {
            Self::Unreadable { .. } => Vec::new(),
            Self::Mistaken(errors) => errors.mistakes(),
        }
    }

    /// As [`fmt::Display`], in colour where standard error is a terminal that wants it.
    pub fn for_terminal(&self) -> String {
        match self {
            Self::Unreadable { .. } => format!("error: {self}"),
            Self::Mistaken(errors) => errors.for_terminal(),
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, error } => write!(
                f,
                "cannot read {}: {error}; name a file that exists and that this user may read",
                path.display()
            ),
            Self::Mistaken(errors) => errors.fmt(f),
        }
    }
}

impl std::error::Error for LoadError {}

/// Reads and checks a file. Host names in it are looked up, so this can take as long as DNS does.
pub fn load(path: &Path) -> Result<Loaded, LoadError> {
    read(path, false)
}

/// The same with the pages that the file names: mistakes are also that one of them cannot be read, or
/// has a placeholder that nobody knows. A node runs all the same, so only `ebbtide check` asks for it.
pub fn load_with_pages(path: &Path) -> Result<Loaded, LoadError> {
    read(path, true)
}

fn read(path: &Path, looks_into_pages: bool) -> Result<Loaded, LoadError> {
    let bytes = std::fs::read(path).map_err(|error| LoadError::Unreadable {
        path: path.into(),
        error,
    })?;
    let shown = path.display().to_string();
    judge(&shown, &bytes, looks_into_pages).map_err(LoadError::Mistaken)
}

/// The `state_dir` that a file names, whatever else is in it: a node goes on running while its file
/// is being mistaken. `None` without a file or without that setting.
pub fn state_dir(path: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(path).ok()?;
    let (table, _) = DeTable::parse_recoverable(&text);
    let state_dir = table.get_ref().get("state_dir")?.get_ref().as_str()?;
    Some(state_dir.into())
}

/// The file of users of a node that runs by the file at `path`, whatever else is in that. `None` without
/// a file or without `state_dir`.
pub fn users_file(path: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(path).ok()?;
    let (table, _) = DeTable::parse_recoverable(&text);
    let admin = table.get_ref().get("admin");
    let users =
        admin.and_then(|admin| admin.get_ref().as_table()?.get("users")?.get_ref().as_str());
    match users {
        Some(users) => Some(users.into()),
        None => state_dir(path).map(|state_dir| state_dir.join(USERS_FILE)),
    }
}

/// Checks the bytes of a file; `path` is for the messages.
pub fn parse(path: &str, bytes: &[u8]) -> Result<Loaded, ConfigErrors> {
    judge(path, bytes, false)
}

fn judge(path: &str, bytes: &[u8], looks_into_pages: bool) -> Result<Loaded, ConfigErrors> {
    let source = std::str::from_utf8(bytes).map_err(|error| not_utf8(path, bytes, error))?;
    let (table, syntax) = DeTable::parse_recoverable(source);
    if !syntax.is_empty() {
        let problems = syntax
            .iter()
            .map(|error| syntax_problem(source, table.get_ref(), error))
            .collect();
        return Err(ConfigErrors::new(path, source, problems));
    }
    build::build(table.get_ref(), looks_into_pages)
        .map_err(|problems| ConfigErrors::new(path, source, problems))
}

fn syntax_problem(source: &str, table: &DeTable<'_>, error: &toml::de::Error) -> Problem {
    let mut lines = error.message().lines();
    let title = lines.next().unwrap_or("not TOML").to_owned();
    let rest: Vec<&str> = lines.collect();
    let span = error.span().unwrap_or(source.len()..source.len());
    let is_duplicate = title.contains("duplicate key");
    let name = source.get(span.clone()).unwrap_or_default();
    Problem {
        title: if is_duplicate {
            format!("`{name}` is written twice")
        } else {
            title
        },
        label: if is_duplicate { "again here" } else { "here" }.into(),
        help: match is_duplicate.then(|| first_place(source, table, &span)) {
            Some(Some(first)) => {
                let (line, column) = place(source, first);
                Some(format!(
                    "it is first written in line {line}, column {column}"
                ))
            }
            _ => (!rest.is_empty()).then(|| rest.join("; ")),
        },
        span,
    }
}

/// Where the key that is written again at `span` is written first; `None` where that is not plain
/// to see (within an inline table).
fn first_place(source: &str, table: &DeTable<'_>, span: &Range<usize>) -> Option<usize> {
    let before = source.get(..span.start)?;
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let (before, dotted) = (&before[..line_start], before[line_start..].trim_start());
    let key = source.get(span.clone())?;
    if dotted.starts_with('[') {
        let header = format!("\n{dotted}{key}]");
        let found = format!("\n{before}").find(&header)?;
        return Some(found + dotted.len());
    }
    let mut headers = before.lines().map(str::trim_start);
    let header = headers.rfind(|line| line.starts_with('[')).unwrap_or("[");
    let header = header.trim_start_matches('[').split(']').next()?;
    let path = format!("{header}.{dotted}{key}");
    let names = path
        .split('.')
        .map(|name| name.trim().trim_matches(['"', '\'']));
    let mut names = names.filter(|name| !name.is_empty()).peekable();
    let mut table = table;
    while let Some(name) = names.next() {
        let (key, value) = table.get_key_value(name)?;
        if names.peek().is_none() {
            return Some(key.span().start).filter(|first| *first < span.start);
        }
        table = value.get_ref().as_table()?;
    }
    None
}

/// The text up to the first byte that is not UTF-8 is shown as it is, that byte as `�`.
fn not_utf8(path: &str, bytes: &[u8], error: std::str::Utf8Error) -> ConfigErrors {
    let good = error.valid_up_to();
    let text = String::from_utf8_lossy(bytes).into_owned();
    let problem = Problem {
        title: format!(
            "not UTF-8: byte {:#04x}",
            bytes.get(good).copied().unwrap_or(0)
        ),
        span: good..good + '\u{fffd}'.len_utf8(),
        label: "not UTF-8 from here".into(),
        help: Some("save the file as UTF-8".into()),
    };
    ConfigErrors::new(path, &text, vec![problem])
}
