//! What is changed.

use super::access::Caller;
use super::answer::{ApiError, Body, Names, Params};
use super::app::App;
use crate::clock::clock;
use crate::itself::leads_back;
use crate::show;
use axum::extract::State;
use axum::{Extension, Json};
use ebbtide_api::{
    AddServer, Changed, CloseRequest, DrainRequest, ErrorBody, ErrorKind, HoldRequest,
    ReasonRequest, RemoveQuery, SetServer, Timestamp,
};
use ebbtide_core::{
    BlockNew, CLOSE_MAX, Close, Command, Millis, PeakChange, Refusal, ServerChange, ServerConfig,
    ServerName,
};
use std::net::SocketAddr;

pub(super) type Answer = Result<Json<Changed>, ApiError>;

pub(super) async fn carry_out(
    app: &App,
    caller: &Caller,
    reason: Option<String>,
    command: Command,
) -> Answer {
    caller.check(&command)?;
    let done = app.inbox.command(caller.actor(reason)?, command).await;
    told(app, done)
}

/// `done` is `None` if the control thread has stopped before it answered.
fn told(app: &App, done: Option<Result<ebbtide_core::Answer, Refusal>>) -> Answer {
    done.ok_or_else(ApiError::stopping)?
        .map(|answer| Json(show::changed(answer)))
        .map_err(|refusal| ApiError::refused(app, refusal))
}

/// Back into traffic; after maintenance once the server has shown that it is well.
#[utoipa::path(post, path = "/servers/{pool}/{server}/ready", tag = "change",
    params(("pool" = String, Path), ("server" = String, Path)), request_body = HoldRequest,
    responses((status = 200, body = Changed), (status = "default", body = ErrorBody)))]
pub(super) async fn ready(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Names((pool, server)): Names<(String, String)>,
    Body(body): Body<HoldRequest>,
) -> Answer {
    let server = ServerName::new(pool, server);
    let force = body.force;
    let command = Command::Ready { server, force };
    carry_out(&app, &caller, body.reason, command).await
}

/// No new sessions.
#[utoipa::path(post, path = "/servers/{pool}/{server}/hold", tag = "change",
    params(("pool" = String, Path), ("server" = String, Path)), request_body = HoldRequest,
    responses((status = 200, body = Changed), (status = "default", body = ErrorBody)))]
pub(super) async fn hold(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Names((pool, server)): Names<(String, String)>,
    Body(body): Body<HoldRequest>,
) -> Answer {
    let (server, force) = (ServerName::new(pool, server), body.force);
    carry_out(&app, &caller, body.reason, Command::Hold { server, force }).await
}

/// No new sessions; the rest end at the deadline; then maintenance.
#[utoipa::path(post, path = "/servers/{pool}/{server}/drain", tag = "change",
    params(("pool" = String, Path), ("server" = String, Path)), request_body = DrainRequest,
    responses((status = 200, body = Changed), (status = "default", body = ErrorBody)))]
pub(super) async fn drain(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Names((pool, server)): Names<(String, String)>,
    Body(body): Body<DrainRequest>,
) -> Answer {
    let command = Command::Drain {
        server: ServerName::new(pool, server),
        within: body.within_ms.map(Millis),
        message: body.message,
        force: body.force,
    };
    carry_out(&app, &caller, body.reason, command).await
}

/// Serves nobody, at once.
#[utoipa::path(post, path = "/servers/{pool}/{server}/maintenance", tag = "change",
    params(("pool" = String, Path), ("server" = String, Path)), request_body = HoldRequest,
    responses((status = 200, body = Changed), (status = "default", body = ErrorBody)))]
pub(super) async fn maintenance(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Names((pool, server)): Names<(String, String)>,
    Body(body): Body<HoldRequest>,
) -> Answer {
    let (server, force) = (ServerName::new(pool, server), body.force);
    let command = Command::Maintenance { server, force };
    carry_out(&app, &caller, body.reason, command).await
}

/// Closes a pool at a deadline, or changes how it is closing or closed.
#[utoipa::path(post, path = "/pools/{pool}/close", operation_id = "close_pool", tag = "change",
    params(("pool" = String, Path)), request_body = CloseRequest,
    responses((status = 200, body = Changed), (status = "default", body = ErrorBody)))]
pub(super) async fn close(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Names(pool): Names<String>,
    Body(body): Body<CloseRequest>,
) -> Answer {
    let within = match (body.within_ms, body.at) {
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid(
                "give either within_ms or at, not both: each sets the deadline".into(),
            ));
        }
        (within, None) => within.map(Millis),
        (None, Some(at)) => Some(until(at)?),
    };
    let close = Close {
        within,
        message: body.message,
        lasting: body.lasting_ms.map(Millis),
        block_new: body.block_new.map(|block| match block {
            ebbtide_api::BlockNew::Now => BlockNew::Now,
            ebbtide_api::BlockNew::AtDeadline => BlockNew::AtDeadline,
        }),
        until_upgraded: body.until_upgraded,
    };
    carry_out(&app, &caller, body.reason, Command::Close { pool, close }).await
}

/// How long it is from now to a deadline that was given as a time.
fn until(at: Timestamp) -> Result<Millis, ApiError> {
    let now = clock().wall;
    match at.0.checked_sub(now.0) {
        Some(left @ 1..) if left <= CLOSE_MAX.0 => Ok(Millis(left)),
        Some(1..) => Err(ApiError::invalid(format!(
            "the deadline {at} is too far away: a countdown lasts {} days at most, so it can be up \
             to {}; nothing was changed",
            CLOSE_MAX.0 / (24 * 3600 * 1000),
            Timestamp(now.0 + CLOSE_MAX.0)
        ))),
        _ => Err(ApiError::invalid(format!(
            "the deadline {at} is not in the future; it is {} now",
            Timestamp(now.0)
        ))),
    }
}

/// Opens a pool, or ends its countdown.
#[utoipa::path(post, path = "/pools/{pool}/open", operation_id = "open_pool", tag = "change",
    params(("pool" = String, Path)), request_body = ReasonRequest,
    responses((status = 200, body = Changed), (status = "default", body = ErrorBody)))]
pub(super) async fn open(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Names(pool): Names<String>,
    Body(body): Body<ReasonRequest>,
) -> Answer {
    carry_out(&app, &caller, body.reason, Command::Open { pool }).await
}

/// Forgets every binding to the server; its users are placed anew.
#[utoipa::path(post, path = "/servers/{pool}/{server}/forget", tag = "change",
    params(("pool" = String, Path), ("server" = String, Path)), request_body = ReasonRequest,
    responses((status = 200, body = Changed), (status = "default", body = ErrorBody)))]
pub(super) async fn forget(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Names((pool, server)): Names<(String, String)>,
    Body(body): Body<ReasonRequest>,
) -> Answer {
    let server = ServerName::new(pool, server);
    carry_out(&app, &caller, body.reason, Command::Forget { server }).await
}

/// Adds a server beside those of the file.
#[utoipa::path(put, path = "/servers/{pool}/{server}", tag = "change",
    params(("pool" = String, Path), ("server" = String, Path)), request_body = AddServer,
    responses((status = 200, body = Changed), (status = "default", body = ErrorBody)))]
pub(super) async fn add_server(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Names((pool, name)): Names<(String, String)>,
    Body(body): Body<AddServer>,
) -> Answer {
    let address = resolve(&body.address).await?;
    if let Some(own) = leads_back(address, &app.snapshot().config.listeners, app.admin) {
        return Err(ApiError::invalid(format!(
            "{pool}/{name} cannot be added: {} leads back here, to {own}; give the address of the \
             server itself",
            body.address
        )));
    }
    let server = ServerConfig {
        name,
        address,
        address_text: body.address,
        weight: body.weight.unwrap_or(1),
        max_sessions: body.max_sessions,
        peak_load: None,
        manifest: None,
        exporter: None,
        public_url: None,
        of_name: None,
    };
    let command = Command::AddServer { pool, server };
    carry_out(&app, &caller, body.reason, command).await
}

async fn resolve(text: &str) -> Result<SocketAddr, ApiError> {
    let port = text.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    let wrong = match port {
        Some(Ok(1..)) => None,
        Some(_) => Some("has no port from 1 to 65535"),
        None => Some("has no port"),
    };
    if let Some(wrong) = wrong {
        return Err(ApiError::invalid(format!(
            "address: {text:?} {wrong}; write it as 10.0.0.13:8080"
        )));
    }
    let found = tokio::net::lookup_host(text).await;
    let first = found.map(|mut addresses| addresses.next());
    match first {
        // However it is written, it is one address.
        Ok(Some(address)) => Ok((address.ip().to_canonical(), address.port()).into()),
        Ok(None) => Err(ApiError::invalid(format!(
            "address: {text:?} has no address"
        ))),
        Err(error) => Err(ApiError::invalid(format!(
            "address: {text:?} cannot be resolved ({error}); write it as 10.0.0.13:8080"
        ))),
    }
}

/// Changes settings of a server; they outlast reloads.
#[utoipa::path(patch, path = "/servers/{pool}/{server}", tag = "change",
    params(("pool" = String, Path), ("server" = String, Path)), request_body = SetServer,
    responses((status = 200, body = Changed), (status = "default", body = ErrorBody)))]
pub(super) async fn set_server(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Names((pool, server)): Names<(String, String)>,
    Body(body): Body<SetServer>,
) -> Answer {
    let peak_load = peak_change(&body)?;
    let command = Command::SetServer {
        server: ServerName::new(pool, server),
        change: ServerChange {
            weight: body.weight,
            max_sessions: body.max_sessions,
            peak_load,
            slow_start_over: body.slow_start_over,
            reset: body.reset,
            force: body.force,
        },
    };
    carry_out(&app, &caller, body.reason, command).await
}

fn peak_change(body: &SetServer) -> Result<Option<PeakChange>, ApiError> {
    let percent = |percent: u32| {
        let percent = u8::try_from(percent).ok().filter(|percent| *percent <= 100);
        percent.ok_or_else(|| ApiError::invalid("peak_load: goes from 0 to 100 percent".into()))
    };
    match (body.peak_load, body.peak_load_back) {
        (Some(_), true) => {
            let text = "peak_load and peak_load_back: only one of the two";
            Err(ApiError::invalid(text.into()))
        }
        (None, true) => Ok(Some(PeakChange::Back)),
        (Some(Some(peak)), false) => Ok(Some(PeakChange::Percent(percent(peak)?))),
        (Some(None), false) => Ok(Some(PeakChange::None)),
        (None, false) => Ok(None),
    }
}

/// Removes a server that was added live.
#[utoipa::path(delete, path = "/servers/{pool}/{server}", tag = "change",
    params(("pool" = String, Path), ("server" = String, Path), RemoveQuery),
    responses((status = 200, body = Changed), (status = "default", body = ErrorBody)))]
pub(super) async fn remove_server(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Names((pool, server)): Names<(String, String)>,
    Params(query): Params<RemoveQuery>,
) -> Answer {
    let (server, force) = (ServerName::new(pool, server), query.force);
    let command = Command::RemoveServer { server, force };
    carry_out(&app, &caller, query.reason, command).await
}

/// Reads the configuration again.
#[utoipa::path(post, path = "/reload", tag = "admin", request_body = ReasonRequest,
    responses((status = 200, body = Changed), (status = "default", body = ErrorBody)))]
pub(super) async fn reload(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Body(body): Body<ReasonRequest>,
) -> Answer {
    let done = app
        .inbox
        .reload_unless_stopping(caller.actor(body.reason)?)
        .await;
    told(&app, done)
}

/// Makes new session tokens with a new secret; the present one stays good beside it.
#[utoipa::path(post, path = "/token-secret/rotate", tag = "admin", request_body = ReasonRequest,
    responses((status = 200, body = Changed), (status = "default", body = ErrorBody)))]
pub(super) async fn rotate_token_secret(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Body(body): Body<ReasonRequest>,
) -> Answer {
    let secret = random()?;
    let command = Command::RotateTokenSecret { secret };
    carry_out(&app, &caller, body.reason, command).await
}

/// Thirty-two bytes that nobody can guess.
pub(super) fn random() -> Result<[u8; 32], ApiError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        let text = format!("the system gives no random bytes: {error}");
        ApiError::new(503, ErrorKind::Internal, text)
    })?;
    Ok(bytes)
}
