//! A pool's doors, as the file says it, and the credentials that it does not hold itself.

use super::build::value;
use super::read::Section;
use ebbtide_core::{Credentials, DoorCredentials, DoorSettings};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;

/// The longest file with credentials, in bytes: one line.
const CREDENTIALS_BYTES_MAX: u64 = 1024;

/// The settings of a pool's doors.
pub(super) fn door(door: &Section<'_, '_>) -> DoorSettings {
    DoorSettings {
        credentials: credentials(door),
        admin_field: admin_field(door),
    }
}

fn credentials(door: &Section<'_, '_>) -> DoorCredentials {
    let (file, env) = (door.text("credentials_file"), door.text("credentials_env"));
    let word = value(door.word("credentials"));
    let sources = [file.as_ref(), env.as_ref()];
    if word != "default" {
        for read in sources.into_iter().flatten() {
            let title = format!("{}: credentials that nobody uses", door.shown());
            let help = "write `credentials = \"default\"`, or take this line away";
            door.report(&read.span, title, "not used", Some(help.into()));
        }
        return match word {
            "ask" => DoorCredentials::Ask,
            _ => DoorCredentials::None,
        };
    }
    let (span, found) = match (file, env) {
        (Some(file), None) => (file.span, read_file(&file.value)),
        (None, Some(env)) => (env.span, read_env(&env.value)),
        _ => (
            door.span.clone(),
            Err("the default credentials come from one of two places".to_owned()),
        ),
    };
    let pair = found.and_then(|line| {
        let pair = line.trim_end_matches(['\n', '\r']);
        let (user, password) = pair.split_once(':').ok_or("not `user:password`")?;
        match pair.chars().any(char::is_control) {
            true => Err("more than one line of plain text".to_owned()),
            false => Ok(Credentials::basic(user, password)),
        }
    });
    match pair {
        Ok(credentials) => DoorCredentials::Default(credentials),
        Err(why) => {
            let help = "write `credentials_file = \"/path\"` (mode 0600, one line `user:password`) \
                        or `credentials_env = \"NAME\"`";
            let title = format!("{}: {why}", door.shown());
            door.report(&span, title, "no credentials", Some(help.into()));
            DoorCredentials::None
        }
    }
}

fn read_file(path: &str) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("{path} cannot be read ({error})");
    let file = File::open(path).map_err(cannot)?;
    let mode = file.metadata().map_err(cannot)?.permissions().mode();
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
    std::env::var(name).map_err(|_| format!("the environment has no text in {name}"))
}

/// `X-Admin-Session: 1`.
fn admin_field(door: &Section<'_, '_>) -> Option<(String, String)> {
    let read = door.text("admin_field")?;
    let parts = read.value.split_once(':');
    let parts = parts.map(|(name, value)| (name.trim(), value.trim()));
    let is_name = |name: &str| {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        !name.is_empty()
            && name.bytes().all(is_token)
            && !RESERVED.contains(&name.to_ascii_lowercase().as_str())
    };
    let is_value = |value: &str| value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if let Some((name, value)) = parts.filter(|(name, value)| is_name(name) && is_value(value)) {
        return Some((name.to_owned(), value.to_owned()));
    }
    door.report(
        &read.span,
        format!("{}.admin_field: not a field of a request", door.shown()),
        "expected a name, a colon and a value",
        Some("write one such as \"X-Admin-Session: 1\"".into()),
    );
    None
}

/// Fields that the wire itself needs, or that Ebbtide writes.
const RESERVED: [&str; 12] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "cookie",
    "authorization",
    "via",
    "x-forwarded-for",
];
