//! A pool's doors, as the file says it, and the credentials that it does not hold itself.

use super::build::value;
use super::read::Section;
use ebbtide_core::{Credentials, DoorCredentials, DoorSettings, UserSource};
use rustix::fs::{Mode, OFlags};
use std::env::VarError;
use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;

/// The longest file with credentials, in bytes: one line.
const CREDENTIALS_BYTES_MAX: u64 = 1024;

/// The settings of a pool's doors; `user` is where its users' names come from.
pub(super) fn door(door: &Section<'_, '_>, user: Option<&UserSource>) -> DoorSettings {
    DoorSettings {
        credentials: credentials(door),
        admin_field: admin_field(door, user),
    }
}

fn credentials(door: &Section<'_, '_>) -> DoorCredentials {
    let (file, env) = (door.text("credentials_file"), door.text("credentials_env"));
    let word = value(door.word("credentials"));
    let refuse = |span: &Range<usize>, why: &str, label: &str, help: &str| {
        let title = format!("{}: {why}", door.shown());
        door.report(span, title, label, Some(help.into()));
        DoorCredentials::None
    };
    if word != "default" {
        for read in [file, env].into_iter().flatten() {
            let help = "write `credentials = \"default\"`, or take this line away";
            refuse(&read.span, "credentials that nobody uses", "not used", help);
        }
        return match word {
            "ask" => DoorCredentials::Ask,
            _ => DoorCredentials::None,
        };
    }
    let (span, found) = match (file, env) {
        (Some(file), None) => (file.span, read_file(&file.value)),
        (None, Some(env)) => (env.span, read_env(&env.value)),
        (Some(file), Some(env)) => {
            let second = if file.span.start < env.span.start {
                env
            } else {
                file
            };
            let why = "the default credentials come from one of two places";
            let help = "keep one of `credentials_file` and `credentials_env`";
            return refuse(&second.span, why, "the second one", help);
        }
        (None, None) => {
            let why = "does not say where the default credentials are";
            return refuse(&door.span, why, "no credentials", WHERE);
        }
    };
    match found.and_then(|line| pair(&line)) {
        Ok(credentials) => DoorCredentials::Default(credentials),
        Err(why) => refuse(&span, &why, "no credentials", WHERE),
    }
}

const WHERE: &str = "write `credentials_file = \"/path\"` (mode 0600, one line `user:password`) or \
                     `credentials_env = \"NAME\"`";

/// `user:password`, on one line. What is wrong with it is told without any of it.
fn pair(line: &str) -> Result<Credentials, String> {
    let pair = line.trim_end_matches(['\n', '\r']);
    if pair.chars().any(char::is_control) {
        return Err("the credentials are more than one line of plain text".into());
    }
    let (user, password) = pair
        .split_once(':')
        .ok_or("the credentials are not `user:password`")?;
    Ok(Credentials::basic(user, password))
}

/// Opens without waiting: a pipe would keep the program until somebody writes to it.
fn read_file(path: &str) -> Result<String, String> {
    let cannot = |error: io::Error| format!("{path} cannot be read ({error})");
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty());
    let file = File::from(opened.map_err(|error| cannot(error.into()))?);
    let metadata = file.metadata().map_err(cannot)?;
    if !metadata.is_file() {
        return Err(format!("{path} is no ordinary file"));
    }
    let mode = metadata.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(format!(
            "{path} can be read by others (mode {:04o}): chmod 600 {path}",
            mode & 0o7777
        ));
    }
    let mut line = String::new();
    let mut bounded = file.take(CREDENTIALS_BYTES_MAX + 1);
    bounded.read_to_string(&mut line).map_err(cannot)?;
    match line.len() as u64 > CREDENTIALS_BYTES_MAX {
        true => Err(format!(
            "{path} is longer than {CREDENTIALS_BYTES_MAX} bytes"
        )),
        false => Ok(line),
    }
}

fn read_env(name: &str) -> Result<String, String> {
    match std::env::var(name) {
        Ok(text) if text.is_empty() => Err(format!("{name} is empty in the environment")),
        Ok(text) => Ok(text),
        Err(VarError::NotPresent) => Err(format!("the environment has no {name}")),
        Err(VarError::NotUnicode(_)) => Err(format!("{name} is no text in the environment")),
    }
}

/// `X-Admin-Session: 1`.
fn admin_field(door: &Section<'_, '_>, user: Option<&UserSource>) -> Option<(String, String)> {
    let read = door.text("admin_field")?;
    let refuse = |why: &str, label: &str| {
        let title = format!("{}.admin_field: {why}", door.shown());
        let help = "write one of the application's own, such as \"X-Admin-Session: 1\"";
        door.report(&read.span, title, label, Some(help.into()));
        None
    };
    let parts = read.value.split_once(':');
    let parts = parts.map(|(name, value)| (name.trim(), value.trim()));
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(is_token);
    let is_value =
        |value: &str| !value.is_empty() && value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let Some((name, value)) = parts.filter(|(name, value)| is_name(name) && is_value(value)) else {
        return refuse(
            "not a field of a request",
            "expected a name, a colon and a value",
        );
    };
    let known_as = alike(name);
    let is_reserved = RESERVED.contains(&known_as.as_str())
        || RESERVED_PREFIXES
            .iter()
            .any(|prefix| known_as.starts_with(prefix));
    if is_reserved {
        let why = format!("the field {name} is reserved: HTTP or Ebbtide itself needs it");
        return refuse(&why, "reserved");
    }
    match user {
        Some(UserSource::Header(header)) if alike(header) == known_as => {
            let why = format!("{name} names the pool's users, so it cannot tell administrators");
            refuse(&why, "the field of `user`")
        }
        _ => Some((name.to_owned(), value.to_owned())),
    }
}

/// How servers that make variables of names read them.
fn alike(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// What the names of further such fields begin with.
const RESERVED_PREFIXES: [&str; 3] = ["accept", "if-", "sec-"];

/// Fields that HTTP itself needs, or that Ebbtide reads, drops or writes.
const RESERVED: [&str; 24] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "origin",
    "proxy",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "referer",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];
