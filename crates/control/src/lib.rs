//! The control plane: the driver's shell, probes, the store, the admin API.
//!
//! One thread runs the driver and the admin API; the store and the prober have one each, so that
//! neither a slow disk nor ten thousand servers to probe delay a deadline.

mod admin;
mod clock;
mod control;
mod event_log;
mod inbox;
mod itself;
mod manifest;
mod outside;
mod page_files;
mod probe;
mod prober;
mod shell;
mod show;
mod signin;
mod store;

pub use admin::{Admin, AdminError, metrics_reference, openapi};
pub use clock::{boot_id, clock};
pub use control::{Control, MoveSessions, Options, Publish, Reload, Reloaded};
pub use inbox::{Inbox, InboxReceiver, inbox};
pub use itself::leads_back;
pub use manifest::{MANIFEST_BYTES_MAX, MANIFEST_VERSION, Manifest, ManifestFile, ManifestSource};
pub use outside::{
    HttpUrl, Resolver, Secret, Template, UPGRADE_EVERY, WEBHOOK_EVENTS, Webhook, system_resolver,
};
pub use page_files::read_page;
pub use signin::{
    ListedUser, OPENID_BACK, OpenIdOptions, OpenIdRoles, SignInOptions, SignInSpans, USERS_FILE,
    UsersError, UsersFile,
};
pub use store::{StorageBackend, Store, StoreError, StoreErrorKind};
