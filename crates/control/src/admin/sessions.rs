//! Sessions: who is where, and ending them.

use super::access::Caller;
use super::answer::{ApiError, Body, Names, Params};
use super::app::App;
use super::changes::{Answer, carry_out};
use super::reads::{no_pool, page_size};
use super::sought::Sought;
use crate::clock::clock;
use crate::show;
use axum::extract::State;
use axum::{Extension, Json};
use ebbtide_api::{
    Changed, EndSessionsRequest, ErrorBody, ReasonQuery, SessionPage, SessionQuery, SessionsEnded,
    TellSessionsRequest,
};
use ebbtide_core::{
    Command, Now, PoolKey, SESSIONS_ENDED_MAX, ServerKey, Session, SessionId, SessionState,
    Snapshot,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A page of the sessions, by number.
#[utoipa::path(get, path = "/sessions", operation_id = "list_sessions", tag = "read", params(SessionQuery),
    responses((status = 200, body = SessionPage), (status = "default", body = ErrorBody)))]
pub(super) async fn list(
    State(app): State<App>,
    Params(query): Params<SessionQuery>,
) -> Result<Json<SessionPage>, ApiError> {
    let limit = page_size(query.limit)?;
    let after = query.after.as_deref().map(number).transpose()?;
    let snapshot = app.snapshot();
    let wanted = Wanted {
        place: Place::find(query.pool.as_deref(), query.server.as_deref(), &snapshot)?,
        user: query.user,
        search: query.search.as_deref().map(Sought::new),
        state: query.active.then_some(SessionState::Active),
        ids: None,
    };
    let table = Arc::clone(&app.sessions);
    // A million sessions take a while to look through; deadlines do not wait for it.
    let page = tokio::task::spawn_blocking(move || {
        let now = clock();
        let fits = |session: &Session| wanted.fits(session, &snapshot, now);
        let mut found = match query.ended {
            false => table.list(&snapshot, after, limit + 1, fits),
            true => table.list_ended(after, limit + 1, fits),
        };
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more);
        SessionPage {
            next: next.map(|session| session.id.to_string()),
            sessions: found
                .iter()
                .filter_map(|session| show::session(session, &snapshot, now))
                .collect(),
        }
    });
    page.await.map(Json).map_err(|_| ApiError::stopping())
}

/// Ends one session.
#[utoipa::path(delete, path = "/sessions/{id}", tag = "change",
    params(("id" = String, Path), ReasonQuery),
    responses((status = 200, body = Changed), (status = "default", body = ErrorBody)))]
pub(super) async fn end_one(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Names(id): Names<String>,
    Params(query): Params<ReasonQuery>,
) -> Answer {
    let id = session_number(&id)?;
    let command = Command::EndSessions { ids: vec![id] };
    carry_out(&app, &caller, query.reason, command).await
}

/// Ends every live session that fits what is said.
#[utoipa::path(post, path = "/sessions/end", tag = "change", request_body = EndSessionsRequest,
    responses((status = 200, body = SessionsEnded), (status = "default", body = ErrorBody)))]
pub(super) async fn end(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Body(body): Body<EndSessionsRequest>,
) -> Result<Json<SessionsEnded>, ApiError> {
    let reason = body.reason.clone();
    let mut chosen = Chosen::read(Choice::from(body), &app)?;
    let mut ended = 0;
    let mut last: Option<Changed> = None;
    while let Some(page) = chosen.next(&app).await? {
        ended += page.len();
        let ids = page.iter().map(|session| session.id).collect();
        let command = Command::EndSessions { ids };
        last = Some(carry_out(&app, &caller, reason.clone(), command).await?.0);
    }
    let mut changed = last.ok_or_else(none_fits)?;
    if ended > SESSIONS_ENDED_MAX {
        changed.text = format!("{ended} sessions were ended");
    }
    Ok(Json(SessionsEnded {
        changed,
        unknown: chosen.unknown(),
    }))
}

/// There is no live session of those that a request is about.
pub(super) fn none_fits() -> ApiError {
    ApiError::not_found("no live session fits; `ebbtide sessions` lists those there are".into())
}

/// What a request says of the sessions that it is about: they fit all of it.
#[derive(Default, PartialEq)]
pub(super) struct Choice {
    ids: Vec<String>,
    pool: Option<String>,
    server: Option<String>,
    user: Option<String>,
    search: Option<String>,
    idle: bool,
}

impl From<EndSessionsRequest> for Choice {
    fn from(body: EndSessionsRequest) -> Self {
        Self {
            ids: body.ids,
            pool: body.pool,
            server: body.server,
            user: body.user,
            search: body.search,
            idle: body.idle,
        }
    }
}

impl From<TellSessionsRequest> for Choice {
    fn from(body: TellSessionsRequest) -> Self {
        Self {
            ids: body.ids,
            pool: body.pool,
            server: body.server,
            user: body.user,
            search: body.search,
            idle: body.idle,
        }
    }
}

/// The live sessions that a request is about, a page at a time.
pub(super) struct Chosen {
    wanted: Arc<Wanted>,
    /// Those that were named and have not been found yet.
    unknown: BTreeSet<SessionId>,
    after: Option<SessionId>,
}

impl Chosen {
    /// Refuses what would mean too many sessions, or names what there is not.
    pub fn read(choice: Choice, app: &App) -> Result<Self, ApiError> {
        // `idle` only narrows down what else is said: by itself it would mean the idle ones everywhere.
        let says_nothing = Choice {
            idle: choice.idle,
            ..Choice::default()
        };
        if choice == says_nothing {
            return Err(ApiError::invalid(
                "say which sessions: by their numbers, of which pool or server (--of), or by user or \
                 search; nothing was done"
                    .into(),
            ));
        }
        if choice
            .search
            .as_ref()
            .is_some_and(|text| text.trim().is_empty())
        {
            return Err(ApiError::invalid(
                "search: is empty, which everybody fits; leave it out, or say what to look for; nothing was \
                 done"
                    .into(),
            ));
        }
        if choice.ids.len() > SESSIONS_ENDED_MAX {
            return Err(ApiError::invalid(format!(
                "ids: at most {SESSIONS_ENDED_MAX} at a time"
            )));
        }
        let numbers = choice.ids.iter().map(|id| number(id));
        let ids: BTreeSet<SessionId> = numbers.collect::<Result<_, _>>()?;
        let place = Place::find(
            choice.pool.as_deref(),
            choice.server.as_deref(),
            &app.snapshot(),
        )?;
        let wanted = Wanted {
            place,
            user: choice.user,
            search: choice.search.as_deref().map(Sought::new),
            state: choice.idle.then_some(SessionState::Idle),
            ids: (!ids.is_empty()).then_some(ids.clone()),
        };
        Ok(Self {
            wanted: Arc::new(wanted),
            unknown: ids,
            after: None,
        })
    }

    /// The next of them, at most as many as one command takes; `None` if there are no more.
    pub async fn next(&mut self, app: &App) -> Result<Option<Vec<Arc<Session>>>, ApiError> {
        let (table, wanted) = (Arc::clone(&app.sessions), Arc::clone(&self.wanted));
        let (snapshot, after) = (app.snapshot(), self.after);
        let page = tokio::task::spawn_blocking(move || {
            let now = clock();
            table.list(&snapshot, after, SESSIONS_ENDED_MAX, |session| {
                wanted.fits(session, &snapshot, now)
            })
        });
        let page = page.await.map_err(|_| ApiError::stopping())?;
        let Some(newest) = page.last() else {
            return Ok(None);
        };
        self.after = Some(newest.id);
        for session in &page {
            self.unknown.remove(&session.id);
        }
        Ok(Some(page))
    }

    /// Those that were named and are none of them.
    pub fn unknown(&self) -> Vec<String> {
        self.unknown.iter().map(ToString::to_string).collect()
    }
}

/// The session that a path names.
pub(super) fn session_number(text: &str) -> Result<SessionId, ApiError> {
    SessionId::parse(text).ok_or_else(|| {
        ApiError::not_found(format!(
            "there is no session {text}; a session's number has sixteen digits, and `ebbtide \
             sessions` lists them"
        ))
    })
}

fn number(text: &str) -> Result<SessionId, ApiError> {
    SessionId::parse(text)
        .ok_or_else(|| ApiError::invalid(format!("{text:?} is not the number of a session")))
}

/// Where sessions are wanted from.
#[derive(Default)]
struct Place {
    pool: Option<PoolKey>,
    server: Option<ServerKey>,
}

impl Place {
    fn find(
        pool: Option<&str>,
        server: Option<&str>,
        snapshot: &Snapshot,
    ) -> Result<Self, ApiError> {
        let pool = match pool {
            None => None,
            Some(name) => Some(snapshot.pool_named(name).ok_or_else(|| no_pool(name))?),
        };
        let server = match (server, pool) {
            (None, _) => None,
            (Some(_), None) => {
                let text = "server: say of which pool, too";
                return Err(ApiError::invalid(text.into()));
            }
            (Some(name), Some(pool)) => {
                let mut servers = pool.servers.iter().chain(&pool.removed);
                let found = servers.find(|server| *server.name == *name);
                Some(found.ok_or_else(|| {
                    let pool = &pool.config.name;
                    ApiError::not_found(format!(
                        "there is no server {pool}/{name}; `ebbtide status` lists those there are"
                    ))
                })?)
            }
        };
        Ok(Self {
            pool: pool.map(|pool| pool.key),
            server: server.map(|server| server.key),
        })
    }
}

/// Which sessions are wanted.
struct Wanted {
    place: Place,
    user: Option<String>,
    search: Option<Sought>,
    state: Option<SessionState>,
    ids: Option<BTreeSet<SessionId>>,
}

impl Wanted {
    fn fits(&self, session: &Session, snapshot: &Snapshot, now: Now) -> bool {
        let Place { pool, server } = self.place;
        let pool_fits = pool.is_none_or(|pool| session.pool == pool);
        let server_fits = server.is_none_or(|server| session.server == server);
        let id_fits = self
            .ids
            .as_ref()
            .is_none_or(|ids| ids.contains(&session.id));
        pool_fits
            && server_fits
            && id_fits
            && self.state_fits(session, snapshot, now)
            && self.words_fit(session)
    }

    fn state_fits(&self, session: &Session, snapshot: &Snapshot, now: Now) -> bool {
        let Some(wanted) = self.state else {
            return true;
        };
        let pool = snapshot.pool(session.pool);
        pool.is_some_and(|pool| session.state(now.moment, pool.config.sticky.active) == wanted)
    }

    fn words_fit(&self, session: &Session) -> bool {
        let is_user = |wanted: &String| session.with_user(|user| user == wanted) == Some(true);
        self.user.as_ref().is_none_or(is_user)
            && self.search.as_ref().is_none_or(|text| text.is_in(session))
    }
}
