//! The JSON that the store holds: readable with the engine's own tools, and independent of how the
//! rules arrange the same things in memory.

use ebbtide_api::{Role, Timestamp};
use ebbtide_core::{
    Actor, AuditEntry, BlockNew, Closure, DoorRecord, IntentRecord, Millis, Moment,
    PoolIntentRecord, ServerConfig, ServerName, ServerOverride, StoredIntent, StoredPoolIntent,
    StoredVerification, TokenSecrets, VersionBefore, VersionPage, Versions, WallTime,
};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// `intent/{pool}/{server}`
#[derive(Serialize, Deserialize)]
pub(super) struct IntentRow {
    since: Timestamp,
    by: String,
    reason: Option<String>,
    /// Absent in what earlier versions stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verification: Option<VerificationRow>,
    #[serde(flatten)]
    intent: IntentKind,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum VerificationRow {
    Pending,
    Failed(String),
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "intent", rename_all = "kebab-case")]
enum IntentKind {
    Ready,
    Hold,
    Drain {
        boot: String,
        moment_ms: i64,
        deadline: Timestamp,
        within_ms: u64,
        message: Option<String>,
    },
    Maintenance,
}

impl From<&IntentRecord> for IntentRow {
    fn from(record: &IntentRecord) -> Self {
        let intent = match &record.intent {
            StoredIntent::Ready => IntentKind::Ready,
            StoredIntent::Hold => IntentKind::Hold,
            StoredIntent::Maintenance => IntentKind::Maintenance,
            StoredIntent::Drain {
                boot,
                moment,
                wall,
                within,
                message,
            } => IntentKind::Drain {
                boot: boot.clone(),
                moment_ms: moment.0,
                deadline: Timestamp(wall.0),
                within_ms: within.0,
                message: message.clone(),
            },
        };
        Self {
            since: Timestamp(record.since.0),
            by: record.by.clone(),
            reason: record.reason.clone(),
            verification: record.verification.as_ref().map(|stored| match stored {
                StoredVerification::Pending => VerificationRow::Pending,
                StoredVerification::Failed(why) => VerificationRow::Failed(why.clone()),
            }),
            intent,
        }
    }
}

impl From<IntentRow> for IntentRecord {
    fn from(row: IntentRow) -> Self {
        let intent = match row.intent {
            IntentKind::Ready => StoredIntent::Ready,
            IntentKind::Hold => StoredIntent::Hold,
            IntentKind::Maintenance => StoredIntent::Maintenance,
            IntentKind::Drain {
                boot,
                moment_ms,
                deadline,
                within_ms,
                message,
            } => StoredIntent::Drain {
                boot,
                moment: Moment(moment_ms),
                wall: WallTime(deadline.0),
                within: Millis(within_ms),
                message,
            },
        };
        Self {
            intent,
            since: WallTime(row.since.0),
            by: row.by,
            reason: row.reason,
            verification: row.verification.map(|row| match row {
                VerificationRow::Pending => StoredVerification::Pending,
                VerificationRow::Failed(why) => StoredVerification::Failed(why),
            }),
        }
    }
}

/// `pool-intent/{pool}`
#[derive(Serialize, Deserialize)]
pub(super) struct PoolIntentRow {
    closures: u32,
    since: Timestamp,
    by: String,
    reason: Option<String>,
    #[serde(flatten)]
    intent: PoolIntentKind,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "intent", rename_all = "kebab-case")]
enum PoolIntentKind {
    Open,
    Closing {
        boot: String,
        moment_ms: i64,
        deadline: Timestamp,
        within_ms: u64,
        new_until_deadline: bool,
        #[serde(flatten)]
        closure: ClosureRow,
    },
    Closed(ClosureRow),
}

#[derive(Serialize, Deserialize)]
struct ClosureRow {
    message: Option<String>,
    expected_end: Option<Timestamp>,
    until_upgraded: bool,
}

impl From<&Closure> for ClosureRow {
    fn from(closure: &Closure) -> Self {
        Self {
            message: closure.message.clone(),
            expected_end: closure.expected_end.map(|at| Timestamp(at.0)),
            until_upgraded: closure.until_upgraded,
        }
    }
}

impl From<ClosureRow> for Closure {
    fn from(row: ClosureRow) -> Self {
        Self {
            message: row.message,
            expected_end: row.expected_end.map(|at| WallTime(at.0)),
            until_upgraded: row.until_upgraded,
        }
    }
}

impl From<&PoolIntentRecord> for PoolIntentRow {
    fn from(record: &PoolIntentRecord) -> Self {
        let intent = match &record.intent {
            StoredPoolIntent::Open => PoolIntentKind::Open,
            StoredPoolIntent::Closed(closure) => PoolIntentKind::Closed(closure.into()),
            StoredPoolIntent::Closing {
                boot,
                moment,
                wall,
                within,
                block_new,
                closure,
            } => PoolIntentKind::Closing {
                boot: boot.clone(),
                moment_ms: moment.0,
                deadline: Timestamp(wall.0),
                within_ms: within.0,
                new_until_deadline: *block_new == BlockNew::AtDeadline,
                closure: closure.into(),
            },
        };
        Self {
            closures: record.closures,
            since: Timestamp(record.since.0),
            by: record.by.clone(),
            reason: record.reason.clone(),
            intent,
        }
    }
}

impl From<PoolIntentRow> for PoolIntentRecord {
    fn from(row: PoolIntentRow) -> Self {
        let intent = match row.intent {
            PoolIntentKind::Open => StoredPoolIntent::Open,
            PoolIntentKind::Closed(closure) => StoredPoolIntent::Closed(closure.into()),
            PoolIntentKind::Closing {
                boot,
                moment_ms,
                deadline,
                within_ms,
                new_until_deadline,
                closure,
            } => StoredPoolIntent::Closing {
                boot,
                moment: Moment(moment_ms),
                wall: WallTime(deadline.0),
                within: Millis(within_ms),
                block_new: match new_until_deadline {
                    true => BlockNew::AtDeadline,
                    false => BlockNew::Now,
                },
                closure: closure.into(),
            },
        };
        Self {
            intent,
            closures: row.closures,
            since: WallTime(row.since.0),
            by: row.by,
            reason: row.reason,
        }
    }
}

/// `versions/{pool}`: what its servers said before the upgrade, by name.
#[derive(Serialize, Deserialize)]
pub(super) struct VersionsRow {
    before: BTreeMap<String, VersionRow>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum VersionRow {
    NotAsked,
    Unknown,
    Said { digest: String, says: String },
}

impl From<&Versions> for VersionsRow {
    fn from(versions: &Versions) -> Self {
        let row = |before: &VersionBefore| match before {
            VersionBefore::NotAsked => VersionRow::NotAsked,
            VersionBefore::Unknown => VersionRow::Unknown,
            VersionBefore::Said(page) => VersionRow::Said {
                digest: page.digest.clone(),
                says: page.says.clone(),
            },
        };
        let versions = versions.iter();
        Self {
            before: versions
                .map(|(server, before)| (server.clone(), row(before)))
                .collect(),
        }
    }
}

impl From<VersionsRow> for Versions {
    fn from(row: VersionsRow) -> Self {
        let before = |row| match row {
            VersionRow::NotAsked => VersionBefore::NotAsked,
            VersionRow::Unknown => VersionBefore::Unknown,
            VersionRow::Said { digest, says } => VersionBefore::Said(VersionPage { digest, says }),
        };
        let rows = row.before.into_iter();
        rows.map(|(server, row)| (server, before(row))).collect()
    }
}

/// `live/{pool}/{server}`
#[derive(Serialize, Deserialize)]
pub(super) struct LiveRow {
    address: SocketAddr,
    address_text: String,
    weight: u32,
    max_sessions: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of_name: Option<String>,
}

impl From<&ServerConfig> for LiveRow {
    fn from(server: &ServerConfig) -> Self {
        Self {
            address: server.address,
            address_text: server.address_text.clone(),
            weight: server.weight,
            max_sessions: server.max_sessions,
            of_name: server.of_name.clone(),
        }
    }
}

impl LiveRow {
    pub fn into_server(self, name: &str) -> ServerConfig {
        ServerConfig {
            name: name.to_owned(),
            address: self.address,
            address_text: self.address_text,
            weight: self.weight,
            max_sessions: self.max_sessions,
            peak_load: None,
            manifest: None,
            exporter: None,
            public_url: None,
            of_name: self.of_name,
        }
    }
}

/// `override/{pool}/{server}`; `null` is a limit taken away.
#[derive(Serialize, Deserialize)]
pub(super) struct OverrideRow {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    max_sessions: Option<Option<u32>>,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    peak_load: Option<Option<u8>>,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    peak_load_before: Option<Option<u8>>,
}

fn present<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

impl From<&ServerOverride> for OverrideRow {
    fn from(set: &ServerOverride) -> Self {
        Self {
            weight: set.weight,
            max_sessions: set.max_sessions,
            peak_load: set.peak_load,
            peak_load_before: set.peak_load_before,
        }
    }
}

impl From<OverrideRow> for ServerOverride {
    fn from(row: OverrideRow) -> Self {
        Self {
            weight: row.weight,
            max_sessions: row.max_sessions,
            peak_load: row.peak_load,
            peak_load_before: row.peak_load_before,
        }
    }
}

/// `ended/{session}`
#[derive(Serialize, Deserialize)]
pub(super) struct EndedRow {
    pub server: String,
    pub until: Timestamp,
}

/// `door/{number}`
#[derive(Serialize, Deserialize)]
pub(super) struct DoorRow {
    server: String,
    by: String,
}

impl From<&DoorRecord> for DoorRow {
    fn from(record: &DoorRecord) -> Self {
        Self {
            server: record.server.to_string(),
            by: record.by.clone(),
        }
    }
}

impl DoorRow {
    /// `None` if it names no server.
    pub fn into_record(self) -> Option<DoorRecord> {
        Some(DoorRecord {
            server: ServerName::parse(&self.server)?,
            by: self.by,
        })
    }
}

/// `secret/token`
#[derive(Serialize, Deserialize)]
pub(super) struct SecretsRow {
    current: String,
    previous: Option<String>,
}

impl From<&TokenSecrets> for SecretsRow {
    fn from(secrets: &TokenSecrets) -> Self {
        Self {
            current: to_hex(&secrets.current),
            previous: secrets.previous.as_ref().map(to_hex),
        }
    }
}

impl SecretsRow {
    /// `None` if these are not 32 hexadecimal bytes each.
    pub fn into_secrets(self) -> Option<TokenSecrets> {
        let previous = match self.previous {
            None => None,
            Some(text) => Some(from_hex(&text)?),
        };
        Some(TokenSecrets {
            current: from_hex(&self.current)?,
            previous,
        })
    }
}

/// `audit/{number}`
#[derive(Serialize, Deserialize)]
pub(super) struct AuditRow {
    at: Timestamp,
    who: String,
    from: String,
    reason: Option<String>,
    action: String,
    target: String,
    outcome: String,
    forced: bool,
}

impl From<&AuditEntry> for AuditRow {
    fn from(entry: &AuditEntry) -> Self {
        Self {
            at: Timestamp(entry.at.0),
            who: entry.actor.who.clone(),
            from: entry.actor.from.clone(),
            reason: entry.actor.reason.clone(),
            action: entry.action.clone(),
            target: entry.target.clone(),
            outcome: entry.outcome.clone(),
            forced: entry.forced,
        }
    }
}

impl AuditRow {
    pub fn into_entry(self) -> AuditEntry {
        AuditEntry {
            at: WallTime(self.at.0),
            actor: Actor {
                who: self.who,
                from: self.from,
                reason: self.reason,
            },
            action: self.action,
            target: self.target,
            outcome: self.outcome,
            forced: self.forced,
        }
    }
}

/// `operator/{name}`: a bearer token; only the hash of its secret is kept.
#[derive(Serialize, Deserialize)]
pub(super) struct OperatorRow {
    pub role: Role,
    pub created: Timestamp,
    pub hash: String,
}

/// `console-session/{hash}`: a browser that is signed in; the key is the hash of what its cookie holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ConsoleSession {
    pub user: String,
    pub role: Role,
    /// What the file of users, or the configuration of the provider, said then.
    pub stamp: String,
    /// What the provider knows him by, if one vouched for him.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    pub from: IpAddr,
    pub began: Timestamp,
    /// The last sign of life.
    pub seen: Timestamp,
    /// When he showed last who he is.
    pub proven: Timestamp,
}

pub(super) fn to_hex(bytes: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*bytes).to_hex().to_string()
}

pub(super) fn from_hex(text: &str) -> Option<[u8; 32]> {
    blake3::Hash::from_hex(text)
        .ok()
        .map(|hash| *hash.as_bytes())
}
