//! What the configuration says of a webhook.

use crate::outside::HttpUrl;
use ebbtide_core::{EventKind, Millis};
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
    pub url: HttpUrl,
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

/// What deliveries are signed with, or Ebbtide shows itself with to a provider; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub(super) Vec<u8>);

impl Secret {
    /// The secret itself.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

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
