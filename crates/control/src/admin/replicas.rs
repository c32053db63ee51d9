//! What is known of replicas.

use super::answer::{ApiError, Names};
use super::app::App;
use super::reads::no_pool;
use axum::Json;
use axum::extract::State;
use ebbtide_api::{Copy, ErrorBody, Replicas, Resource, Timestamp};
use ebbtide_core::{
    CopyView, Identity, IdentitySource, Knowledge, Modified, PoolView, ResourceView,
};

/// A pool's resources, what is known of each server's copy of them, and what follows.
#[utoipa::path(get, path = "/pools/{pool}/replicas", tag = "read",
    params(("pool" = String, Path)),
    responses((status = 200, body = Replicas), (status = "default", body = ErrorBody)))]
pub(super) async fn replicas(
    State(app): State<App>,
    Names(name): Names<String>,
) -> Result<Json<Replicas>, ApiError> {
    let snapshot = app.snapshot();
    let pool = snapshot.pool_named(&name);
    let pool = pool.ok_or_else(|| no_pool(&name))?;
    Ok(Json(shown(pool)))
}

fn shown(pool: &PoolView) -> Replicas {
    let source = pool.config.replicas.source;
    Replicas {
        pool: pool.config.name.clone(),
        identity: match source {
            IdentitySource::Manifest => "manifest",
            IdentitySource::Read => "read",
            IdentitySource::Headers => "headers",
        }
        .to_owned(),
        resources: pool.replicas.resources.iter().map(resource).collect(),
    }
}

fn resource(resource: &ResourceView) -> Resource {
    let rule = &resource.rule;
    Resource {
        name: rule.name.clone(),
        mode: rule.mode.label().to_owned(),
        balance: rule.balance,
        server: rule.server.clone(),
        digest: rule.digest.map(|digest| digest.to_string()),
        copies: resource.copies.iter().map(copy).collect(),
    }
}

fn copy(copy: &CopyView) -> Copy {
    let known = copy.knowledge.identity();
    Copy {
        server: copy.name.to_string(),
        state: copy.knowledge.label().to_owned(),
        percent: match copy.knowledge {
            Knowledge::Reading { percent } => Some(percent),
            _ => None,
        },
        size: known.map(|identity| identity.size),
        digest: known
            .and_then(|identity| identity.digest)
            .map(|digest| digest.to_string()),
        version: known.and_then(version),
        modified: known
            .and_then(|identity| identity.modified)
            .and_then(timestamp),
        serves: copy.verdict.serves,
        stands_in: copy.verdict.stands_in,
        reason: copy.verdict.reason.label().to_owned(),
        text: copy.verdict.reason.to_string(),
    }
}

fn version(identity: &Identity) -> Option<String> {
    identity.version.as_deref().map(str::to_owned)
}

/// Of a time before 1970 nothing is said.
fn timestamp(modified: Modified) -> Option<Timestamp> {
    let seconds = u64::try_from(modified.seconds).ok()?;
    let milliseconds = u64::from(modified.nanoseconds / 1_000_000);
    seconds
        .checked_mul(1000)?
        .checked_add(milliseconds)
        .map(Timestamp)
}
