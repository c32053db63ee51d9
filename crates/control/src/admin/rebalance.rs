//! Rebalancing a pool: what it would do, and that it is done.

use super::access::Caller;
use super::answer::{ApiError, Body, Names, Params};
use super::app::App;
use super::changes::carry_out;
use super::reads::{ask, no_pool};
use axum::extract::State;
use axum::{Extension, Json};
use ebbtide_api::{Changed, Crowd, ErrorBody, ReasonQuery, RebalancePlan, RebalanceRequest};
use ebbtide_core::{Command, RebalancePlan as Plan};

/// Sessions that are forgotten in a second, if nobody says.
const RATE: u32 = 10;

/// What a rebalance would do now. It changes nothing.
#[utoipa::path(get, path = "/pools/{pool}/rebalance", tag = "read",
    params(("pool" = String, Path)),
    responses((status = 200, body = RebalancePlan), (status = "default", body = ErrorBody)))]
pub(super) async fn plan(
    State(app): State<App>,
    Names(pool): Names<String>,
) -> Result<Json<RebalancePlan>, ApiError> {
    let command = Command::Rebalance {
        pool: pool.clone(),
        rate: RATE,
    };
    let refused = app
        .inbox
        .look(move |driver, now| driver.rehearse(command, now).err());
    if let Some(refusal) = refused.await.ok_or_else(ApiError::stopping)? {
        return Err(ApiError::refused(&app, refusal));
    }
    let status = ask(&app).await?;
    let found = status.pools.iter().find(|found| found.name == pool);
    let found = found.ok_or_else(|| no_pool(&pool))?;
    let planned = Plan::of(found);
    Ok(Json(RebalancePlan {
        forgets: planned.forgets(),
        awaited: planned.awaited,
        servers: planned
            .servers
            .into_iter()
            .map(|crowd| Crowd {
                server: crowd.server,
                sessions: crowd.sessions,
                level: crowd.level,
                forgets: crowd.forgets,
            })
            .collect(),
    }))
}

/// Forgets idle sessions on crowded servers, some in a second; answers when it has begun.
#[utoipa::path(post, path = "/pools/{pool}/rebalance", tag = "change",
    params(("pool" = String, Path)), request_body = RebalanceRequest,
    responses((status = 200, body = Changed), (status = "default", body = ErrorBody)))]
pub(super) async fn begin(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Names(pool): Names<String>,
    Body(body): Body<RebalanceRequest>,
) -> Result<Json<Changed>, ApiError> {
    let rate = body.rate.unwrap_or(RATE);
    let command = Command::Rebalance { pool, rate };
    carry_out(&app, &caller, body.reason, command).await
}

/// Stops a rebalance.
#[utoipa::path(delete, path = "/pools/{pool}/rebalance", operation_id = "stop_rebalance", tag = "change",
    params(("pool" = String, Path), ReasonQuery),
    responses((status = 200, body = Changed), (status = "default", body = ErrorBody)))]
pub(super) async fn stop(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Names(pool): Names<String>,
    Params(query): Params<ReasonQuery>,
) -> Result<Json<Changed>, ApiError> {
    let command = Command::StopRebalance { pool };
    carry_out(&app, &caller, query.reason, command).await
}
