//! A small ordered map from text to JSON text, kept by redb: get, list, commit.
//!
//! redb refuses every use after a failed write until it is opened anew, so that is done here at
//! the next use: a disk that was full for a while costs the writes of that while and no more.

use super::error::{StoreError, StoreErrorKind};
use redb::{Database as Redb, DatabaseError, Durability, ReadableDatabase, TableDefinition};
use std::path::{Path, PathBuf};

const TABLE: TableDefinition<'_, &str, &str> = TableDefinition::new("ebbtide");

type Result<T> = std::result::Result<T, StoreError>;
type Opener = Box<dyn FnMut() -> std::result::Result<Redb, DatabaseError> + Send>;

/// One change: the value to put at the key, or `None` to delete it.
pub(super) type Change = (String, Option<String>);

pub(super) struct Database {
    path: PathBuf,
    open: Opener,
    redb: Option<Redb>,
}

impl Database {
    /// `path` is for messages; `open` opens it, and opens it again after a failure.
    pub fn new(path: &Path, open: Opener) -> Self {
        Self {
            path: path.to_owned(),
            open,
            redb: None,
        }
    }

    /// Every key that begins with `prefix`, in order, with its value.
    pub fn list(&mut self, prefix: &str) -> Result<Vec<(String, String)>> {
        self.attempt(|redb| {
            let Some(table) = open_table(redb)? else {
                return Ok(Vec::new());
            };
            let mut found = Vec::new();
            for row in table.range(prefix..)? {
                let (key, value) = row?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                found.push((key.value().to_owned(), value.value().to_owned()));
            }
            Ok(found)
        })
    }

    /// The last `limit` keys from `from` on and before `to`, the last first, with their values.
    pub fn list_back(
        &mut self,
        from: &str,
        to: &str,
        limit: usize,
    ) -> Result<Vec<(String, String)>> {
        self.attempt(|redb| {
            let Some(table) = open_table(redb)? else {
                return Ok(Vec::new());
            };
            let rows = table.range(from..to)?.rev().take(limit);
            rows.map(|row| {
                let (key, value) = row?;
                Ok((key.value().to_owned(), value.value().to_owned()))
            })
            .collect()
        })
    }

    /// The value at `key`.
    pub fn get(&mut self, key: &str) -> Result<Option<String>> {
        self.attempt(|redb| {
            let Some(table) = open_table(redb)? else {
                return Ok(None);
            };
            Ok(table.get(key)?.map(|value| value.value().to_owned()))
        })
    }

    /// Makes all the changes or none; when it returns they are on the disk.
    pub fn commit(&mut self, changes: &[Change]) -> Result<()> {
        self.attempt(|redb| {
            let mut transaction = redb.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            {
                let mut table = transaction.open_table(TABLE)?;
                for (key, value) in changes {
                    match value {
                        Some(value) => drop(table.insert(key.as_str(), value.as_str())?),
                        None => drop(table.remove(key.as_str())?),
                    }
                }
            }
            transaction.commit()?;
            Ok(())
        })
    }

    fn attempt<T>(
        &mut self,
        work: impl FnOnce(&Redb) -> std::result::Result<T, redb::Error>,
    ) -> Result<T> {
        let redb = match self.redb.take() {
            Some(redb) => redb,
            None => (self.open)().map_err(|error| self.error(error))?,
        };
        match work(&redb) {
            Ok(done) => {
                self.redb = Some(redb);
                Ok(done)
            }
            // The handle is dropped with the error: the next use opens anew.
            Err(error) => Err(self.error(error)),
        }
    }

    fn error(&self, kind: impl Into<StoreErrorKind>) -> StoreError {
        StoreError::new(&self.path, kind.into())
    }
}

/// The table, unless nothing has ever been written.
fn open_table(
    redb: &Redb,
) -> std::result::Result<Option<redb::ReadOnlyTable<&'static str, &'static str>>, redb::Error> {
    match redb.begin_read()?.open_table(TABLE) {
        Ok(table) => Ok(Some(table)),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
