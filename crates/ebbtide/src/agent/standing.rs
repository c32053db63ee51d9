//! What the server's own operator wants: a file, so that it outlives the agent.

use crate::exit::Failure;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// What is kept of a reason, in characters: all of it goes into one line.
const REASON_CHARACTERS_MAX: usize = 200;

/// The hold, or none.
pub(super) struct Standing {
    directory: PathBuf,
    /// There while there is a hold; it has the reason.
    file: PathBuf,
}

impl Standing {
    pub fn of(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            file: directory.join("hold"),
        }
    }

    /// For what operators type: an error if there is no such directory, as balancers would not be told.
    pub fn there(directory: &Path) -> Result<Self, Failure> {
        match directory.is_dir() {
            true => Ok(Self::of(directory)),
            false => Err(Failure::failed(format!(
                "there is no directory {}: `ebbtide agent` makes it when it starts; start that, or say its \
                 directory with --state-dir",
                directory.display()
            ))),
        }
    }

    /// Makes the directory, for operators to find.
    pub fn prepare(&self) -> Result<(), Failure> {
        fs::create_dir_all(&self.directory).map_err(|error| self.complain(&error))
    }

    /// The reason of the hold, which may be empty; `None`: there is no hold.
    pub fn held(&self) -> Result<Option<String>, Failure> {
        match fs::read_to_string(&self.file) {
            Ok(reason) => Ok(Some(seemly(&reason))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::failed(format!(
                "cannot read {}: {error}",
                self.file.display()
            ))),
        }
    }

    /// Begins a hold, or changes its reason.
    pub fn hold(&self, reason: &str) -> Result<(), Failure> {
        let hidden = self.directory.join(".hold.new");
        let write = || {
            let mut file = fs::File::create(&hidden)?;
            file.write_all(seemly(reason).as_bytes())?;
            file.sync_all()?;
            fs::rename(&hidden, &self.file)?;
            fs::File::open(&self.directory)?.sync_all()
        };
        write().map_err(|error| self.complain(&error))
    }

    /// Ends the hold.
    pub fn ready(&self) -> Result<(), Failure> {
        match fs::remove_file(&self.file) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.complain(&error)),
        }
        let directory = fs::File::open(&self.directory).and_then(|directory| directory.sync_all());
        directory.map_err(|error| self.complain(&error))
    }

    fn complain(&self, error: &std::io::Error) -> Failure {
        Failure::failed(format!(
            "cannot write to {}: {error}; the agent's directory can be chosen with --state-dir",
            self.directory.display()
        ))
    }
}

/// One line, without what is no text.
fn seemly(reason: &str) -> String {
    let plain = reason.trim().chars().map(|character| match character {
        character if character.is_control() => ' ',
        character => character,
    });
    plain.take(REASON_CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebbtide_testkit::Scratch;

    #[test]
    fn a_hold_lasts_until_it_is_ended() {
        let scratch = Scratch::new();
        let directory = scratch.join("agent");
        Standing::of(&directory).prepare().unwrap();
        let standing = || Standing::there(&directory).unwrap();
        assert_eq!(standing().held().unwrap(), None);
        standing().ready().unwrap();
        standing().hold("new disks\nat noon").unwrap();
        assert_eq!(
            standing().held().unwrap().as_deref(),
            Some("new disks at noon")
        );
        standing().hold("").unwrap();
        assert_eq!(standing().held().unwrap().as_deref(), Some(""));
        standing().ready().unwrap();
        assert_eq!(standing().held().unwrap(), None);
    }

    #[test]
    fn a_directory_that_no_agent_has_is_told() {
        let scratch = Scratch::new();
        let file = scratch.join("file");
        std::fs::write(&file, "").unwrap();
        for directory in [scratch.join("agnet"), file] {
            let failure = Standing::there(&directory).map(|_| ()).unwrap_err();
            let text = failure.detail.message;
            let told = format!("there is no directory {}: ", directory.display());
            assert!(
                text.starts_with(&told) && text.contains("--state-dir"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_named() {
        let scratch = Scratch::new();
        let file = scratch.join("no-directory");
        std::fs::write(&file, "").unwrap();
        let failure = Standing::of(&file).hold("").unwrap_err();
        let text = failure.detail.message;
        assert!(
            text.contains("no-directory") && text.contains("--state-dir"),
            "{text}"
        );
    }
}
