//! Changes to users that are made by this node: by the control API, or by a user himself.

use super::users::{Change, UsersError, UsersFile};
use super::{SignIn, line, password};
use crate::clock::clock;
use ebbtide_core::{Actor, AuditEntry};
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// A change that this node is making. Whoever then reads the file of users again finds it there, and
/// by this knows whose it is.
pub(super) struct Underway {
    actor: Actor,
    name: String,
    change: Change,
}

impl Underway {
    pub fn is(&self, name: &str, change: &Change) -> bool {
        self.name == name && self.change == *change
    }

    pub fn line(self) -> AuditEntry {
        let outcome = self.change.outcome(&self.name);
        line(
            clock(),
            self.actor,
            self.change.action(),
            &self.name,
            outcome,
        )
    }
}

impl SignIn {
    /// The hash of a password that may be `name`'s.
    pub async fn hash(&self, name: &str, secret: String) -> Result<String, UsersError> {
        password::check(name, &secret).map_err(UsersError::Invalid)?;
        let hashed = self.comparing.hash(secret).await.ok_or_else(|| {
            let text = "too many passwords are compared at this moment; try again";
            UsersError::Io(text.to_owned())
        })?;
        hashed.map_err(UsersError::File)
    }

    /// Makes a change to the file of users, also if whoever asks for it hangs up meanwhile. It counts
    /// when this is back, and is in the audit log. `stamp`: only if this is still the user's.
    pub async fn change_user(
        self: &Arc<Self>,
        actor: Actor,
        name: String,
        change: Change,
        stamp: Option<String>,
    ) -> Result<(), UsersError> {
        let signin = Arc::clone(self);
        let underway = Underway {
            actor,
            name,
            change,
        };
        let made = tokio::spawn(async move { signin.make(underway, stamp).await });
        made.await.unwrap_or_else(|_| Err(broken_off()))
    }

    async fn make(&self, underway: Underway, stamp: Option<String>) -> Result<(), UsersError> {
        let _turn = self.changing.lock().await;
        let (name, change) = (underway.name.clone(), underway.change.clone());
        let path = self.with(|state| {
            state.underway = Some(underway);
            state.users.path().to_owned()
        });
        let made = spawn_blocking(move || {
            let file = UsersFile::new(path);
            file.make_guarded(&name, change, stamp.as_deref())
        });
        let made = made.await.unwrap_or_else(|_| Err(broken_off()));
        // The file is read again here, if the watch has not done so already.
        self.with(|state| {
            let untold = state.underway.take().filter(|_| made.is_ok());
            // Another change to the same user has come right after it.
            if let Some(underway) = untold {
                self.store.write_console(Vec::new(), vec![underway.line()]);
            }
        });
        made
    }
}

fn broken_off() -> UsersError {
    let text = "the change broke off; look whether it was made";
    UsersError::Io(text.to_owned())
}
