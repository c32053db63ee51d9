//! What the configuration says of a webhook.

use ebbtide_core::{EventKind, Millis};
use hyper::Uri;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The kinds of events that a hook may be told: all that happen.
pub const WEBHOOK_EVENTS: &[&str] = EventKind::LABELS;

/// The shortest secret that is worth being called one, and the longest that is read, in bytes.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=4096;

/// One webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Its name in the file.
    pub name: String,
    /// Where deliveries go.
    pub url: WebhookUrl,
    /// The kinds of events that it is told, of [`WEBHOOK_EVENTS`].
    pub events: Vec<String>,
    /// What deliveries are signed with; `None`: they are not.
    pub secret: Option<Secret>,
    /// What a delivery looks like.
    pub template: Template,
    /// How long one try may take.
    pub timeout: Millis,
    /// How often a delivery is tried, at least once.
    pub attempts: u32,
    /// Most events that wait; then the oldest are dropped.
    pub queue_max: usize,
}

impl Webhook {
    pub(super) fn wants(&self, kind: &str) -> bool {
        self.events.iter().any(|wanted| wanted == kind)
    }
}

/// What a delivery looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Template {
    /// The event, as `GET events` gives it.
    Json,
    /// A message for Slack, and for services that understand the same.
    Slack,
    /// A message for Microsoft Teams: an adaptive card.
    Teams,
}

/// An address of a webhook. Its path is often all that protects it, so it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl {
    pub(super) is_tls: bool,
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
    /// Host and port as they are written.
    pub(super) authority: String,
    /// Path and query.
    pub(super) target: String,
}

impl WebhookUrl {
    /// Reads `http://…` or `https://…`; an error says what is wrong, without the address.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.contains('#') {
            return Err("has a part after `#`, which is never sent");
        }
        let uri: Uri = text.parse().map_err(|_| "is not an address")?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("does not begin with http:// or https://"),
        };
        let authority = uri.authority().ok_or("names no host")?;
        if authority.as_str().contains('@') {
            return Err("names a user, which is not supported");
        }
        let host = authority.host().trim_matches(['[', ']']);
        if host.is_empty() {
            return Err("names no host");
        }
        // The crate passes over what is no number of a port.
        let written = &authority.as_str()[authority.host().len()..];
        let port = match written.strip_prefix(':').map(str::parse::<u16>) {
            None => None,
            Some(Ok(port)) if port > 0 => Some(port),
            Some(_) => return Err("has a port that is none: it goes from 1 to 65535"),
        };
        Ok(Self {
            is_tls,
            host: host.to_owned(),
            port: port.unwrap_or(if is_tls { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            target: uri
                .path_and_query()
                .map_or("/", |target| target.as_str())
                .to_owned(),
        })
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}/…", self.authority)
    }
}

/// What deliveries are signed with; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub(super) Vec<u8>);

impl Secret {
    /// Takes a secret without the line's end.
    pub fn new(text: &str) -> Result<Self, String> {
        let bytes = text.trim_end_matches(['\r', '\n']).as_bytes();
        let (least, most) = (SECRET_BYTES.start(), SECRET_BYTES.end());
        if !SECRET_BYTES.contains(&bytes.len()) {
            return Err(format!("has not {least} to {most} bytes"));
        }
        Ok(Self(bytes.to_vec()))
    }

    /// Reads the secret in a file that only its owner may read or write; an error goes on after the
    /// file's name.
    pub fn read(path: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("cannot be read: {error}");
        // Looked at before it is opened: opening a pipe would wait for its writer.
        let metadata = std::fs::metadata(path).map_err(failed)?;
        if !metadata.is_file() {
            return Err("is not a file".into());
        }
        if metadata.mode() & 0o077 != 0 {
            let mode = metadata.mode() & 0o777;
            return Err(format!(
                "may be read by others (its mode is {mode:04o}): chmod 600 {}",
                path.display()
            ));
        }
        if metadata.len() > *SECRET_BYTES.end() as u64 {
            return Err(format!("is longer than {} bytes", SECRET_BYTES.end()));
        }
        Self::new(&std::fs::read_to_string(path).map_err(failed)?)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
