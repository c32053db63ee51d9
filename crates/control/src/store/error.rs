//! What can be wrong with the store, in words that say what to do.

use redb::{DatabaseError, StorageError};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What is wrong with the store.
#[derive(Debug)]
pub struct StoreError {
    path: PathBuf,
    kind: StoreErrorKind,
}

/// Kinds of trouble with the store.
#[derive(Debug)]
pub enum StoreErrorKind {
    /// The path cannot be used as a state directory, or a file in it cannot be used.
    Unusable(io::Error),
    /// The state directory is something else than a directory.
    NotADirectory,
    /// Another process has it open.
    InUse,
    /// The disk, or the quota, is full.
    Full,
    /// A newer program has written it, in a format of this number.
    Newer(u64),
    /// What it holds is not understood.
    Damaged(String),
    /// Any other failure of reading or writing.
    Failed(String),
}

impl StoreError {
    pub(super) fn new(path: &Path, kind: StoreErrorKind) -> Self {
        Self {
            path: path.to_owned(),
            kind,
        }
    }

    /// What kind of trouble it is.
    pub fn kind(&self) -> &StoreErrorKind {
        &self.kind
    }

    /// What happened, without what to do: for messages that say that themselves.
    pub fn cause(&self) -> String {
        let path = self.path.display();
        match &self.kind {
            StoreErrorKind::Full => {
                format!("the disk is full: nothing can be written to {path}")
            }
            StoreErrorKind::Failed(what) => format!("the store {path} failed: {what}"),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.kind {
            StoreErrorKind::Unusable(error) => write!(
                f,
                "cannot use the state directory: {path}: {error}; make it a directory that \
                 Ebbtide's user may write, or set another state_dir"
            ),
            StoreErrorKind::NotADirectory => write!(
                f,
                "state_dir {path} is not a directory; remove what is there, or set another"
            ),
            StoreErrorKind::InUse => write!(
                f,
                "the state directory {path} is in use by another Ebbtide that is running; stop \
                 that one, or set another state_dir"
            ),
            StoreErrorKind::Full => {
                write!(f, "{}; free some space there and try again", self.cause())
            }
            StoreErrorKind::Newer(format) => write!(
                f,
                "{path} was written by a newer Ebbtide (format {format}, this one knows {}); \
                 start that version, or set another state_dir",
                super::FORMAT
            ),
            StoreErrorKind::Damaged(what) => write!(
                f,
                "{path} is not understood: {what}; put back a copy of it, or move it away to \
                 start without the stored intents"
            ),
            StoreErrorKind::Failed(_) => write!(f, "{}; look at the disk's health", self.cause()),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<io::Error> for StoreErrorKind {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            io::ErrorKind::FileTooLarge => Self::Full,
            io::ErrorKind::InvalidData => Self::Damaged(error.to_string()),
            io::ErrorKind::NotADirectory => Self::NotADirectory,
            _ => Self::Unusable(error),
        }
    }
}

/// What reading and writing the open file came to: a disk that fails is no wrong setting.
fn of_open_file(error: io::Error) -> StoreErrorKind {
    let may_not_write = matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    );
    match StoreErrorKind::from(error) {
        StoreErrorKind::Unusable(error) if !may_not_write => {
            StoreErrorKind::Failed(error.to_string())
        }
        kind => kind,
    }
}

impl From<StorageError> for StoreErrorKind {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Io(error) => of_open_file(error),
            StorageError::Corrupted(what) => Self::Damaged(what),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<DatabaseError> for StoreErrorKind {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => Self::InUse,
            DatabaseError::Storage(error) => error.into(),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<redb::Error> for StoreErrorKind {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => of_open_file(error),
            redb::Error::DatabaseAlreadyOpen => Self::InUse,
            redb::Error::Corrupted(what) => Self::Damaged(what),
            other => Self::Failed(other.to_string()),
        }
    }
}
