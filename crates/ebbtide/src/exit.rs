//! How the program ends.

use crate::config::LoadError;
use crate::screen;
use ebbtide_api::{ClientError, ErrorBody, ErrorDetail, ErrorKind};
use std::process::ExitCode;

/// The program's exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// It could not be done.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// What was waited for has not come in time.
    TimedOut = 3,
    /// A guard refused; `--force` would do it.
    Guarded = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why the program ends without having done what it was asked.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What happened, and what to do.
    pub detail: ErrorDetail,
    /// The same for people, where it has a form of its own.
    pub shown: Option<String>,
    /// The same for programs, where there is more to say than the detail.
    pub json: Option<Box<serde_json::Value>>,
}

impl Failure {
    /// It could not be done.
    pub fn failed(text: impl Into<String>) -> Self {
        Self::new(Exit::Failed, ErrorKind::Internal, text)
    }

    /// The time was up.
    pub fn timed_out(text: impl Into<String>) -> Self {
        Self::new(Exit::TimedOut, ErrorKind::Internal, text)
    }

    /// The command line is wrong.
    pub fn usage(text: impl Into<String>) -> Self {
        let text = text.into();
        let json = serde_json::json!({ "error": { "kind": "usage", "message": text } });
        Self {
            json: Some(Box::new(json)),
            ..Self::new(Exit::Usage, ErrorKind::Invalid, text)
        }
    }

    fn new(exit: Exit, kind: ErrorKind, text: impl Into<String>) -> Self {
        Self {
            exit,
            detail: ErrorDetail::new(kind, text),
            shown: None,
            json: None,
        }
    }

    /// Tells people on standard error, programs (`--json`) on standard output.
    pub fn tell(self, json: bool) -> Exit {
        if json {
            match &self.json {
                Some(body) => crate::output::json(&**body),
                None => crate::output::json(&ErrorBody { error: self.detail }),
            }
        } else {
            let plain = || screen::wrapped(&format!("ebbtide: {}", self.detail.message));
            eprintln!("{}", self.shown.unwrap_or_else(plain));
        }
        self.exit
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Self {
            shown: Some(error.for_terminal()),
            json: Some(Box::new(serde_json::json!({
                "error": ErrorDetail::new(ErrorKind::Invalid, error.to_string()),
                "mistakes": error.mistakes(),
            }))),
            ..Self::new(Exit::Usage, ErrorKind::Invalid, error.to_string())
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused { error, .. } => Self {
                exit: match error.kind {
                    ErrorKind::Guarded => Exit::Guarded,
                    ErrorKind::Invalid => Exit::Usage,
                    ErrorKind::NotMoved => Exit::TimedOut,
                    _ => Exit::Failed,
                },
                detail: error,
                shown: None,
                json: None,
            },
            ClientError::Unreachable(text) | ClientError::Broken(text) => Self::failed(text),
        }
    }
}
