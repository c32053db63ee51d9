//! The store: what must survive a `kill -9`, a power cut and a restart.
//!
//! One file, `ebbtide.redb`, in the state directory: keys are text, values JSON. An acknowledged
//! write is on the disk.

mod database;
mod error;
mod rows;
#[cfg(test)]
mod tests;
mod thread;

use database::{Change, Database};
use ebbtide_api::{Role, Timestamp};
use ebbtide_core::{
    AuditEntry, DoorId, DoorRecord, Now, PoolIntentRecord, Restored, RestoredServer, ServerName,
    ServerOverride, SessionId, TokenSecrets, Versions, WallTime, Write,
};
pub use error::{StoreError, StoreErrorKind};
pub use redb::StorageBackend;
use redb::backends::FileBackend;
pub(crate) use rows::ConsoleSession;
use rows::{
    AuditRow, DoorRow, EndedRow, IntentRow, LiveRow, OperatorRow, OverrideRow, PoolIntentRow,
    SecretsRow, VersionsRow,
};
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
pub(crate) use thread::StoreThread;

/// The number of the arrangement of keys and values below.
const FORMAT: u64 = 1;
const FILE: &str = "ebbtide.redb";
/// Lines kept of the audit log.
const AUDIT_LINES_MAX: u64 = 100_000;

const FORMAT_KEY: &str = "format";
const SECRETS_KEY: &str = "secret/token";
const POOL_INTENT: &str = "pool-intent/";
const INTENT: &str = "intent/";
const VERSIONS: &str = "versions/";
const EPOCH: &str = "epoch/";
const LIVE: &str = "live/";
const OVERRIDE: &str = "override/";
const ENDED: &str = "ended/";
const DOOR: &str = "door/";
const AUDIT: &str = "audit/";
const OPERATOR: &str = "operator/";
const CONSOLE_SESSION: &str = "console-session/";

/// An operator's bearer token, as it is kept: the secret's hash, never the secret.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    pub name: String,
    pub role: Role,
    pub created: Timestamp,
    pub hash: [u8; 32],
}

/// The store. Use [`restore`](Self::restore) once, then hand it to [`Options`](crate::Options).
pub struct Store {
    path: PathBuf,
    database: Database,
    /// The number of the newest line of the audit log.
    audit_last: u64,
    /// Holds the state directory against other processes for as long as this lives.
    _directory: Option<File>,
}

impl Store {
    /// Opens the store in `state_dir`; makes the directory (mode 0700) and the file where missing.
    pub fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let failed = |error: io::Error| StoreError::new(state_dir, error.into());
        match fs::metadata(state_dir) {
            Ok(metadata) if !metadata.is_dir() => {
                return Err(StoreError::new(state_dir, StoreErrorKind::NotADirectory));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(state_dir)
                .map_err(failed)?,
            Err(error) => return Err(failed(error)),
        }
        let directory = File::open(state_dir).map_err(failed)?;
        // A file system without such locks fails otherwise: the database has a lock of its own.
        let locked = flock(&directory, FlockOperation::NonBlockingLockExclusive);
        if locked == Err(rustix::io::Errno::WOULDBLOCK) {
            return Err(StoreError::new(state_dir, StoreErrorKind::InUse));
        }
        let path = state_dir.join(FILE);
        if !path.exists() {
            create(&path, &directory)?;
        }
        let file = path.clone();
        let database = Database::new(&path, Box::new(move || redb::Database::open(&file)));
        Self::with_database(&path, database, Some(directory))
    }

    /// Opens the store on a file of the caller's own making, for tests of what a disk can do to it:
    /// `file` is asked for it now, and again after every failure. `path` is for messages.
    pub fn open_on<File: StorageBackend>(
        path: &Path,
        mut file: impl FnMut() -> io::Result<File> + Send + 'static,
    ) -> Result<Self, StoreError> {
        let open = move || redb::Database::builder().create_with_backend(file()?);
        Self::with_database(path, Database::new(path, Box::new(open)), None)
    }

    fn with_database(
        path: &Path,
        mut database: Database,
        directory: Option<File>,
    ) -> Result<Self, StoreError> {
        let format = match database.get(FORMAT_KEY)? {
            None => {
                database.commit(&[(FORMAT_KEY.into(), Some(FORMAT.to_string()))])?;
                FORMAT
            }
            Some(text) => parse(path, FORMAT_KEY, &text)?,
        };
        if format != FORMAT {
            return Err(StoreError::new(path, StoreErrorKind::Newer(format)));
        }
        let newest = database.list_back(AUDIT, &after_all(AUDIT), 1)?;
        let audit_last = newest.first().map_or(Ok(0), |(key, _)| {
            number(key).ok_or_else(|| damaged(path, key, "its key is no number"))
        })?;
        Ok(Self {
            path: path.to_owned(),
            database,
            audit_last,
            _directory: directory,
        })
    }

    /// What the driver takes up from. Makes and stores the token secrets on the first start, and
    /// drops records that have expired by `now`.
    pub fn restore(&mut self, now: Now) -> Result<Restored, StoreError> {
        Ok(Restored {
            servers: self.restore_servers()?,
            pools: self.restore_pools()?,
            versions: self.restore_versions()?,
            ended_sessions: self.restore_ended(now.wall)?,
            doors: self.restore_doors()?,
            first_start: self.database.get(SECRETS_KEY)?.is_none(),
            token_secrets: self.restore_secrets()?,
        })
    }

    fn restore_servers(&mut self) -> Result<Vec<RestoredServer>, StoreError> {
        let mut servers = BTreeMap::<ServerName, RestoredServer>::new();
        for (name, row) in self.rows_of_servers::<IntentRow>(INTENT)? {
            entry(&mut servers, name).intent = Some(row.into());
        }
        for (name, epoch) in self.rows_of_servers::<u32>(EPOCH)? {
            entry(&mut servers, name).epoch = epoch;
        }
        for (name, row) in self.rows_of_servers::<LiveRow>(LIVE)? {
            let live = row.into_server(&name.server);
            entry(&mut servers, name).live = Some(live);
        }
        for (name, row) in self.rows_of_servers::<OverrideRow>(OVERRIDE)? {
            entry(&mut servers, name).set = row.into();
        }
        Ok(servers.into_values().collect())
    }

    fn restore_pools(&mut self) -> Result<Vec<(String, PoolIntentRecord)>, StoreError> {
        let rows = self.rows::<PoolIntentRow>(POOL_INTENT)?.into_iter();
        Ok(rows
            .map(|(key, row)| (key[POOL_INTENT.len()..].to_owned(), row.into()))
            .collect())
    }

    fn restore_versions(&mut self) -> Result<Vec<(String, Versions)>, StoreError> {
        let rows = self.rows::<VersionsRow>(VERSIONS)?.into_iter();
        Ok(rows
            .map(|(key, row)| (key[VERSIONS.len()..].to_owned(), row.into()))
            .collect())
    }

    fn restore_ended(&mut self, now: WallTime) -> Result<Vec<(SessionId, ServerName)>, StoreError> {
        let mut ended = Vec::new();
        let mut expired = Vec::new();
        for (key, row) in self.rows::<EndedRow>(ENDED)? {
            if row.until.0 <= now.0 {
                expired.push((key, None));
                continue;
            }
            let id = SessionId::parse(&key[ENDED.len()..]);
            match (id, ServerName::parse(&row.server)) {
                (Some(id), Some(server)) => ended.push((id, server)),
                _ => return Err(damaged(&self.path, &key, "it names no session or server")),
            }
        }
        if !expired.is_empty() {
            self.database.commit(&expired)?;
        }
        Ok(ended)
    }

    fn restore_doors(&mut self) -> Result<Vec<(DoorId, DoorRecord)>, StoreError> {
        let rows = self.rows::<DoorRow>(DOOR)?.into_iter();
        rows.map(|(key, row)| {
            let id = DoorId::from_text(&key[DOOR.len()..]);
            let record = row.into_record();
            id.zip(record)
                .ok_or_else(|| damaged(&self.path, &key, "it names no door or server"))
        })
        .collect()
    }

    fn restore_secrets(&mut self) -> Result<TokenSecrets, StoreError> {
        if let Some(text) = self.database.get(SECRETS_KEY)? {
            let row: SecretsRow = parse(&self.path, SECRETS_KEY, &text)?;
            let secrets = row.into_secrets();
            return secrets.ok_or_else(|| damaged(&self.path, SECRETS_KEY, "not 32 bytes each"));
        }
        let mut current = [0; 32];
        getrandom::fill(&mut current).map_err(|error| {
            let what = format!("the system gives no random bytes: {error}");
            StoreError::new(&self.path, StoreErrorKind::Failed(what))
        })?;
        let secrets = TokenSecrets {
            current,
            previous: None,
        };
        self.write(&[Write::TokenSecrets(secrets.clone())])?;
        Ok(secrets)
    }

    /// The bearer tokens, by name.
    pub(crate) fn operators(&mut self) -> Result<Vec<Operator>, StoreError> {
        let rows = self.rows::<OperatorRow>(OPERATOR)?;
        let operators = rows.into_iter().map(|(key, row)| {
            let hash = rows::from_hex(&row.hash);
            Ok(Operator {
                name: key[OPERATOR.len()..].to_owned(),
                role: row.role,
                created: row.created,
                hash: hash.ok_or_else(|| damaged(&self.path, &key, "its hash is not 32 bytes"))?,
            })
        });
        operators.collect()
    }

    /// Stores all of these or none; when it returns they are on the disk.
    ///
    /// # Errors
    /// After most errors nothing is stored; after one that came at the very end all of it may be.
    pub fn write(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        self.commit(Vec::new(), writes)
    }

    /// Stores or removes a bearer token, with its line of the audit log.
    pub(crate) fn write_operator(
        &mut self,
        name: &str,
        operator: Option<&Operator>,
        audit: AuditEntry,
    ) -> Result<(), StoreError> {
        let row = operator.map(|operator| OperatorRow {
            role: operator.role,
            created: operator.created,
            hash: rows::to_hex(&operator.hash),
        });
        let change = (format!("{OPERATOR}{name}"), row.as_ref().map(json));
        self.commit(vec![change], &[Write::Audit(audit)])
    }

    /// The browsers that are signed in, by the hash of what their cookies hold.
    pub(crate) fn console_sessions(
        &mut self,
    ) -> Result<Vec<([u8; 32], ConsoleSession)>, StoreError> {
        let rows = self.rows::<ConsoleSession>(CONSOLE_SESSION)?;
        let sessions = rows.into_iter().map(|(key, row)| {
            let hash = rows::from_hex(&key[CONSOLE_SESSION.len()..]);
            hash.map(|hash| (hash, row))
                .ok_or_else(|| damaged(&self.path, &key, "its key is not 32 bytes"))
        });
        sessions.collect()
    }

    /// Stores or removes browsers that are signed in, with lines of the audit log.
    pub(crate) fn write_console(
        &mut self,
        sessions: &[([u8; 32], Option<ConsoleSession>)],
        audit: Vec<AuditEntry>,
    ) -> Result<(), StoreError> {
        let changes = sessions.iter().map(|(hash, row)| {
            let key = format!("{CONSOLE_SESSION}{}", rows::to_hex(hash));
            (key, row.as_ref().map(json))
        });
        let lines: Vec<Write> = audit.into_iter().map(Write::Audit).collect();
        self.commit(changes.collect(), &lines)
    }

    /// Lines of the audit log before the line `before`, the newest first, with their numbers.
    pub(crate) fn audit(
        &mut self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, AuditEntry)>, StoreError> {
        let end = before.map_or_else(|| after_all(AUDIT), audit_key);
        let rows = self.database.list_back(AUDIT, &end, limit)?;
        let entries = rows.into_iter().map(|(key, text)| {
            let id = number(&key).ok_or_else(|| damaged(&self.path, &key, "no number"))?;
            let row: AuditRow = parse(&self.path, &key, &text)?;
            Ok((id, row.into_entry()))
        });
        entries.collect()
    }

    fn commit(&mut self, mut changes: Vec<Change>, writes: &[Write]) -> Result<(), StoreError> {
        let mut audit_last = self.audit_last;
        for write in writes {
            match write {
                Write::Audit(entry) => {
                    audit_last += 1;
                    changes.push((audit_key(audit_last), Some(json(&AuditRow::from(entry)))));
                    if let Some(oldest) = audit_last.checked_sub(AUDIT_LINES_MAX) {
                        changes.push((audit_key(oldest), None));
                    }
                }
                Write::Removed(name) => {
                    let gone = [LIVE, INTENT, OVERRIDE];
                    changes.extend(gone.map(|prefix| (format!("{prefix}{name}"), None)));
                }
                other => changes.push(change(other)),
            }
        }
        self.database.commit(&changes)?;
        self.audit_last = audit_last;
        Ok(())
    }

    fn rows<T: DeserializeOwned>(&mut self, prefix: &str) -> Result<Vec<(String, T)>, StoreError> {
        let rows = self.database.list(prefix)?;
        rows.into_iter()
            .map(|(key, text)| {
                let row = parse(&self.path, &key, &text)?;
                Ok((key, row))
            })
            .collect()
    }

    fn rows_of_servers<T: DeserializeOwned>(
        &mut self,
        prefix: &str,
    ) -> Result<Vec<(ServerName, T)>, StoreError> {
        let rows = self.rows(prefix)?;
        rows.into_iter()
            .map(|(key, row)| {
                let name = ServerName::parse(&key[prefix.len()..])
                    .ok_or_else(|| damaged(&self.path, &key, "its key names no server"))?;
                Ok((name, row))
            })
            .collect()
    }
}

/// Makes the database under another name first: a crash in the middle of that leaves no half file.
fn create(path: &Path, directory: &File) -> Result<(), StoreError> {
    let fresh = path.with_extension("new");
    let failed = |error: io::Error| StoreError::new(path, error.into());
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)
        .map_err(failed)?;
    let made = FileBackend::new(file)
        .and_then(|backend| redb::Database::builder().create_with_backend(backend));
    drop(made.map_err(|error| StoreError::new(path, error.into()))?);
    fs::rename(&fresh, path).map_err(failed)?;
    directory.sync_all().map_err(failed)
}

fn change(write: &Write) -> Change {
    match write {
        Write::Intent(name, record) => (
            format!("{INTENT}{name}"),
            Some(json(&IntentRow::from(record))),
        ),
        Write::PoolIntent(pool, record) => (
            format!("{POOL_INTENT}{pool}"),
            Some(json(&PoolIntentRow::from(record))),
        ),
        Write::Versions(pool, versions) => {
            let row = versions.as_ref().map(VersionsRow::from);
            (format!("{VERSIONS}{pool}"), row.as_ref().map(json))
        }
        Write::Epoch(name, epoch) => (format!("{EPOCH}{name}"), Some(json(epoch))),
        Write::LiveServer(name, server) => {
            let row = LiveRow::from(server);
            (format!("{LIVE}{name}"), Some(json(&row)))
        }
        Write::Override(name, set) => {
            let row = (*set != ServerOverride::default()).then(|| OverrideRow::from(set));
            (format!("{OVERRIDE}{name}"), row.as_ref().map(json))
        }
        Write::EndedSession { id, server, until } => {
            let row = EndedRow {
                server: server.to_string(),
                until: Timestamp(until.0),
            };
            (format!("{ENDED}{id}"), Some(json(&row)))
        }
        Write::Door(id, record) => {
            let row = record.as_ref().map(DoorRow::from);
            (format!("{DOOR}{id}"), row.as_ref().map(json))
        }
        Write::TokenSecrets(secrets) => {
            (SECRETS_KEY.into(), Some(json(&SecretsRow::from(secrets))))
        }
        Write::Removed(_) | Write::Audit(_) => {
            unreachable!("their rows are several, or numbered: the caller makes them")
        }
    }
}

fn entry(
    servers: &mut BTreeMap<ServerName, RestoredServer>,
    name: ServerName,
) -> &mut RestoredServer {
    servers.entry(name.clone()).or_insert(RestoredServer {
        name,
        intent: None,
        epoch: 0,
        live: None,
        set: ServerOverride::default(),
    })
}

/// Numbers are padded, so that their order as text is their order.
fn audit_key(number: u64) -> String {
    format!("{AUDIT}{number:020}")
}

fn number(key: &str) -> Option<u64> {
    key.strip_prefix(AUDIT)?.parse().ok()
}

/// A key after every key that begins with `prefix`: `0` is the character after `/`.
fn after_all(prefix: &str) -> String {
    prefix.replace('/', "0")
}

fn json(row: &impl Serialize) -> String {
    serde_json::to_string(row).expect("rows are structs of text and numbers, which JSON can hold")
}

fn parse<T: DeserializeOwned>(path: &Path, key: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| damaged(path, key, &error.to_string()))
}

fn damaged(path: &Path, key: &str, what: &str) -> StoreError {
    let what = format!("its entry {key}: {what}");
    StoreError::new(path, StoreErrorKind::Damaged(what))
}
