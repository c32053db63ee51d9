//! What is read.

use super::access::Caller;
use super::answer::{ApiError, Names, Params};
use super::app::{App, LastStatus};
use crate::clock::clock;
use crate::show;
use axum::extract::State;
use axum::{Extension, Json};
use ebbtide_api::{
    AuditPage, AuditQuery, ErrorBody, ErrorKind, PoolStatus, ServerStatus, SessionCounts, Status,
    WaitAnswer, WaitFor, WaitQuery,
};
use ebbtide_core::{NodeStatus, Snapshot};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

const PAGE_DEFAULT: u32 = 100;
const PAGE_MAX: u32 = 1000;
const WAIT_DEFAULT_MS: u64 = 30_000;
const WAIT_MAX_MS: u64 = 60_000;
/// How often a waiting request looks whether the server's sessions have become more or fewer.
const WAIT_LOOK: Duration = Duration::from_millis(100);

type Answer<T> = Result<Json<T>, ApiError>;

/// What people are shown of the node.
pub(super) async fn ask(app: &App) -> Result<Arc<NodeStatus>, ApiError> {
    let app = app.clone();
    // A task of its own: whoever hangs up and asks again has nothing counted twice at a time.
    let asked = tokio::spawn(async move { look(&app).await });
    asked.await.ok().flatten().ok_or_else(ApiError::stopping)
}

/// Every session is counted, beside the control thread, and after the driver was looked at: nobody who is
/// on a server that is shown as held is missed. What comes of it is given out again for ten times as long
/// as it took, unless something was published since: whoever asks without end takes a tenth of a core at
/// most. `None` if the control thread is stopping.
async fn look(app: &App) -> Option<Arc<NodeStatus>> {
    let mut last = app.status.lock().await;
    if let Some(last) = &*last
        && Instant::now() < last.good_until
        && last.status.generation == app.snapshot().generation
    {
        return Some(Arc::clone(&last.status));
    }
    let seen = app.inbox.look(|driver, now| {
        let begun = Instant::now();
        (driver.status(now), driver.snapshot(), begun.elapsed())
    });
    let (mut status, snapshot, looked) = seen.await?;
    let table = Arc::clone(&app.sessions);
    let counting = tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        status.count(&table.tally(&snapshot, clock().moment));
        (Arc::new(status), begun.elapsed())
    });
    let (status, counted) = counting.await.ok()?;
    *last = Some(LastStatus {
        status: Arc::clone(&status),
        good_until: Instant::now() + (looked + counted) * 10,
    });
    Some(status)
}

/// The node, its pools and its servers.
#[utoipa::path(get, path = "/status", tag = "read",
    responses((status = 200, body = Status), (status = "default", body = ErrorBody)))]
pub(super) async fn status(State(app): State<App>) -> Answer<Status> {
    let status = ask(&app).await?;
    let uptime = clock().moment.since(app.started.moment);
    let mut shown = show::status(&status, app.version, uptime);
    shown.node.stopping = app.is_stopping();
    Ok(Json(shown))
}

/// One pool.
#[utoipa::path(get, path = "/pools/{pool}", tag = "read", params(("pool" = String, Path)),
    responses((status = 200, body = PoolStatus), (status = "default", body = ErrorBody)))]
pub(super) async fn pool(State(app): State<App>, Names(name): Names<String>) -> Answer<PoolStatus> {
    let status = ask(&app).await?;
    let pool = status.pools.iter().find(|pool| pool.name == name);
    let pool = pool.ok_or_else(|| no_pool(&name))?;
    Ok(Json(show::pool(pool)))
}

/// One server.
#[utoipa::path(get, path = "/servers/{pool}/{server}", tag = "read",
    params(("pool" = String, Path), ("server" = String, Path)),
    responses((status = 200, body = ServerStatus), (status = "default", body = ErrorBody)))]
pub(super) async fn server(
    State(app): State<App>,
    Names((pool, server)): Names<(String, String)>,
) -> Answer<ServerStatus> {
    find_server(&app, &pool, &server).await.map(Json)
}

pub(super) async fn find_server(
    app: &App,
    pool: &str,
    server: &str,
) -> Result<ServerStatus, ApiError> {
    let status = ask(app).await?;
    let found = status.pools.iter().find(|found| found.name == pool);
    let found = found.ok_or_else(|| no_pool(pool))?;
    let server_found = found.servers.iter().find(|found| found.name == server);
    server_found.map(show::server).ok_or_else(|| {
        ApiError::not_found(format!(
            "there is no server {pool}/{server}; `ebbtide status` lists those there are"
        ))
    })
}

pub(super) fn no_pool(pool: &str) -> ApiError {
    ApiError::not_found(format!(
        "there is no pool {pool}; `ebbtide status` lists those there are"
    ))
}

/// Waits until a server is drained or ready, for up to a minute.
#[utoipa::path(get, path = "/servers/{pool}/{server}/wait", tag = "read",
    params(("pool" = String, Path), ("server" = String, Path), WaitQuery),
    responses((status = 200, body = WaitAnswer), (status = "default", body = ErrorBody)))]
pub(super) async fn wait(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Names((pool, name)): Names<(String, String)>,
    Params(query): Params<WaitQuery>,
) -> Answer<WaitAnswer> {
    let _permit = caller.stay(&app)?;
    let span = query.timeout_ms.unwrap_or(WAIT_DEFAULT_MS).min(WAIT_MAX_MS);
    let deadline = Instant::now() + Duration::from_millis(span);
    let mut snapshots = app.snapshots.clone();
    let mut last = None;
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        let before = live_sessions(&snapshot, &pool, &name);
        let found = find_server(&app, &pool, &name).await;
        let server = match (found, last.take()) {
            // Its last session has ended, and with that it has gone.
            (Err(_), Some(server)) if is_removed(&server) && query.what == WaitFor::Drained => {
                let sessions = SessionCounts::default();
                let server = ServerStatus { sessions, ..server };
                return Ok(Json(WaitAnswer {
                    reached: true,
                    server,
                }));
            }
            (found, _) => found?,
        };
        let reached = has_reached(&server, query.what);
        let is_drained = server.intent.label != "ready" || is_removed(&server);
        let in_vain = match query.what {
            WaitFor::Drained => !is_drained,
            WaitFor::Ready => server.standing.reason == "unverified",
        };
        if reached || in_vain || Instant::now() >= deadline {
            return Ok(Json(WaitAnswer { reached, server }));
        }
        last = Some(server);
        // Asking for a status is dear with a million sessions; these two are not.
        loop {
            let look = deadline.min(Instant::now() + WAIT_LOOK);
            tokio::select! {
                changed = snapshots.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return Err(ApiError::stopping()),
                },
                () = sleep_until(look) => {}
            }
            let moved = live_sessions(&snapshot, &pool, &name) != before;
            if moved || Instant::now() >= deadline {
                break;
            }
        }
    }
}

fn live_sessions(snapshot: &Snapshot, pool: &str, server: &str) -> Option<u32> {
    let pool = snapshot.pool_named(pool)?;
    let mut servers = pool.servers.iter().chain(&pool.removed);
    let server = servers.find(|found| &*found.name == server)?;
    Some(server.load.sessions())
}

fn has_reached(server: &ServerStatus, what: WaitFor) -> bool {
    match what {
        WaitFor::Ready => server.standing.admits_new,
        // A drain that is empty is over in a moment; until then a `ready` would still end it.
        WaitFor::Drained => {
            let closed = ["hold", "maintenance"].contains(&server.intent.label.as_str());
            (closed || is_removed(server)) && server.sessions.all() == 0
        }
    }
}

/// Whether it has left the pool, and is only there for its sessions.
fn is_removed(server: &ServerStatus) -> bool {
    server.standing.reason == "removed"
}

/// A page of the audit log, the newest line first.
#[utoipa::path(get, path = "/audit", tag = "read", params(AuditQuery),
    responses((status = 200, body = AuditPage), (status = "default", body = ErrorBody)))]
pub(super) async fn audit(
    State(app): State<App>,
    Params(query): Params<AuditQuery>,
) -> Answer<AuditPage> {
    let limit = page_size(query.limit)?;
    let read = app.store.audit(query.before, limit + 1).await;
    let mut lines = read
        .ok_or_else(ApiError::stopping)?
        .map_err(|error| ApiError::store(&app, error.to_string()))?;
    let more = lines.len() > limit;
    lines.truncate(limit);
    Ok(Json(AuditPage {
        next: lines.last().filter(|_| more).map(|(id, _)| *id),
        entries: lines
            .into_iter()
            .map(|(id, entry)| show::audit(id, entry))
            .collect(),
    }))
}

pub(super) fn page_size(limit: Option<u32>) -> Result<usize, ApiError> {
    let limit = limit.unwrap_or(PAGE_DEFAULT);
    match limit {
        1..=PAGE_MAX => Ok(limit as usize),
        _ => Err(ApiError::invalid(format!(
            "limit: {limit} is not between 1 and {PAGE_MAX}"
        ))),
    }
}

/// The control thread answers.
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// Every worker works from a snapshot, and the node is not being stopped.
pub(super) async fn readyz(State(app): State<App>) -> Result<String, ApiError> {
    if app.is_stopping() {
        return Err(ApiError::new(503, ErrorKind::Stopping, "stopping"));
    }
    let status = ask(&app).await?;
    if status.acknowledged == 0 {
        let text = "not every worker has taken a snapshot yet";
        return Err(ApiError::new(503, ErrorKind::Internal, text));
    }
    // Without its store a node serves users as before; it only takes no commands.
    Ok(match &status.store_failure {
        None => "ready\n".into(),
        Some(failure) => format!("ready, but takes no commands: {failure}\n"),
    })
}
