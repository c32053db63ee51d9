//! Who sits at the console, and what is within reach there. How somebody signs in is not known here:
//! this file is all that would have to change with it.

use super::super::access::Caller;
use super::super::answer::ApiError;
use super::super::app::App;
use super::super::reads;
use super::history::History;
use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use ebbtide_api::{ErrorKind, PoolStatus, Role, ServerStatus, Status};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Pages that are kept up to date at the same time; each takes a connection of the admin listener.
const STREAMS_MAX: usize = 128;

/// What all pages share.
pub(super) struct Room {
    pub history: Arc<History>,
    /// Places for pages that are kept up to date.
    pub streams: Arc<Semaphore>,
}

impl Room {
    pub fn new(app: App) -> Arc<Self> {
        Arc::new(Self {
            history: History::start(app),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        })
    }
}

/// One operator's place.
#[derive(Clone)]
pub(super) struct Desk {
    pub app: App,
    pub caller: Caller,
    pub room: Arc<Room>,
}

impl Desk {
    pub fn name(&self) -> &str {
        self.caller.name()
    }

    /// Whether the caller may change servers and sessions.
    pub fn may_change(&self) -> bool {
        self.caller.role() >= Role::Operator
    }

    pub fn role(&self) -> Role {
        self.caller.role()
    }

    /// Refuses whoever's role is less than `needed`.
    pub fn check(&self, needed: Role) -> Result<(), ApiError> {
        match self.role() >= needed {
            true => Ok(()),
            false => Err(ApiError::forbidden(format!(
                "this needs the role {needed}; {} has the role {}",
                self.name(),
                self.role()
            ))),
        }
    }

    pub async fn status(&self) -> Result<Status, ApiError> {
        let Json(status) = reads::status(State(self.app.clone())).await?;
        Ok(status)
    }

    pub async fn pool(&self, name: &str) -> Result<PoolStatus, ApiError> {
        let mut pools = self.status().await?.pools.into_iter();
        pools
            .find(|pool| pool.name == name)
            .ok_or_else(|| reads::no_pool(name))
    }

    pub async fn server(&self, pool: &str, name: &str) -> Result<ServerStatus, ApiError> {
        reads::find_server(&self.app, pool, name).await
    }
}

impl FromRequestParts<App> for Desk {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Caller>();
        let room = parts.extensions.get::<Arc<Room>>();
        match (caller, room) {
            (Some(caller), Some(room)) => Ok(Self {
                app: app.clone(),
                caller: caller.clone(),
                room: Arc::clone(room),
            }),
            _ => Err(ApiError::new(
                401,
                ErrorKind::Unauthorized,
                "sign in to use the console",
            )),
        }
    }
}
