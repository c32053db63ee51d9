//! Sessions that go on elsewhere: one, all of a server, and for a test. These requests are answered
//! when that is done, which is a minute at most.

use super::access::Caller;
use super::answer::{ApiError, Body, Names};
use super::app::App;
use super::sessions::session_number;
use crate::show;
use axum::extract::State;
use axum::{Extension, Json};
use ebbtide_api::{DrillRequest, ErrorBody, MoveRequest, MovesReport, StopRequest};
use ebbtide_core::{Command, Millis, ServerName};

/// How long users have whose sessions cannot be moved, if nobody says.
const STOP_WITHIN_MS: u64 = 10 * 60 * 1000;
/// How long a drill may take, if nobody says.
const DRILL_WITHIN_MS: u64 = 30 * 1000;

type Answer = Result<Json<MovesReport>, ApiError>;

async fn carry_out(app: &App, caller: &Caller, reason: Option<String>, command: Command) -> Answer {
    caller.check(&command)?;
    let done = app.inbox.command(caller.actor(reason)?, command).await;
    done.ok_or_else(ApiError::stopping)?
        .map(|answer| Json(show::moves(answer)))
        .map_err(|refusal| ApiError::refused(app, refusal))
}

/// Moves a session to another server that has the same copy; answers when it is served there.
#[utoipa::path(post, path = "/sessions/{id}/move", tag = "change",
    params(("id" = String, Path)), request_body = MoveRequest,
    responses((status = 200, body = MovesReport), (status = "default", body = ErrorBody)))]
pub(super) async fn move_session(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Names(id): Names<String>,
    Body(body): Body<MoveRequest>,
) -> Answer {
    let id = session_number(&id)?;
    let server = |text: String| {
        ServerName::parse(&text).ok_or_else(|| {
            ApiError::invalid(format!(
                "to: {text:?} names no server; write it as pool/server"
            ))
        })
    };
    let to = body.to.map(server).transpose()?;
    let command = Command::MoveSession { id, to };
    carry_out(&app, &caller, body.reason, command).await
}

/// Drains a server, and answers when the sessions that others can take over have left it.
#[utoipa::path(post, path = "/servers/{pool}/{server}/stop", operation_id = "stop_server", tag = "change",
    params(("pool" = String, Path), ("server" = String, Path)), request_body = StopRequest,
    responses((status = 200, body = MovesReport), (status = "default", body = ErrorBody)))]
pub(super) async fn stop(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Names((pool, server)): Names<(String, String)>,
    Body(body): Body<StopRequest>,
) -> Answer {
    let command = Command::Stop {
        server: ServerName::new(pool, server),
        within: Millis(body.within_ms.unwrap_or(STOP_WITHIN_MS)),
        message: body.message,
        force: body.force,
    };
    carry_out(&app, &caller, body.reason, command).await
}

/// A failover test: sessions leave the server, which is then as it was before. It goes on if whoever
/// asked for it hangs up.
#[utoipa::path(post, path = "/servers/{pool}/{server}/drill", tag = "change",
    params(("pool" = String, Path), ("server" = String, Path)), request_body = DrillRequest,
    responses((status = 200, body = MovesReport), (status = "default", body = ErrorBody)))]
pub(super) async fn drill(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Names((pool, server)): Names<(String, String)>,
    Body(body): Body<DrillRequest>,
) -> Answer {
    let command = Command::Drill {
        server: ServerName::new(pool, server),
        cut: body.cut,
        within: Millis(body.within_ms.unwrap_or(DRILL_WITHIN_MS)),
    };
    carry_out(&app, &caller, body.reason, command).await
}
