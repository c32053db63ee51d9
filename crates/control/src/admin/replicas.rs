//! What is known of replicas.

use super::answer::{ApiError, Names};
use super::app::App;
use super::reads::{ask, no_pool};
use axum::Json;
use axum::extract::State;
use ebbtide_api::{Copy, ErrorBody, Replicas, Resource, Timestamp};
use ebbtide_core::{
    CopyView, Identity, IdentitySource, Knowledge, Modified, PoolView, Reason, ResourceView,
    ServerStatus,
};

/// A pool's resources, what is known of each server's copy of them, and what follows.
#[utoipa::path(get, path = "/pools/{pool}/replicas", tag = "read",
    params(("pool" = String, Path)),
    responses((status = 200, body = Replicas), (status = "default", body = ErrorBody)))]
pub(super) async fn replicas(
    State(app): State<App>,
    Names(name): Names<String>,
) -> Result<Json<Replicas>, ApiError> {
    let status = ask(&app).await?;
    let snapshot = app.snapshot();
    let pool = snapshot.pool_named(&name);
    let pool = pool.ok_or_else(|| no_pool(&name))?;
    let status = status.pools.iter().find(|status| status.name == name);
    let servers = status.map(|status| status.servers.as_slice());
    Ok(Json(shown(pool, servers.unwrap_or_default())))
}

fn shown(pool: &PoolView, servers: &[ServerStatus]) -> Replicas {
    let resources = pool.replicas.resources.iter();
    let source = pool.config.replicas.source;
    Replicas {
        pool: pool.config.name.clone(),
        identity: match source {
            IdentitySource::Manifest => "manifest",
            IdentitySource::Read => "read",
            IdentitySource::Headers => "headers",
        }
        .to_owned(),
        resources: resources.map(|known| resource(known, servers)).collect(),
    }
}

fn resource(resource: &ResourceView, servers: &[ServerStatus]) -> Resource {
    let rule = &resource.rule;
    let copies = resource.copies.iter();
    let of = |copy: &CopyView| servers.iter().find(|server| *server.name == *copy.name);
    Resource {
        name: rule.name.clone(),
        mode: rule.mode.label().to_owned(),
        balance: rule.balance,
        server: rule.server.clone(),
        digest: rule.digest.map(|digest| digest.to_string()),
        copies: copies.map(|known| copy(known, of(known))).collect(),
    }
}

fn copy(copy: &CopyView, server: Option<&ServerStatus>) -> Copy {
    let verdict = match server {
        Some(server) => copy.verdict_within(server.standing),
        None => copy.verdict.clone(),
    };
    let but = server.filter(|_| copy.verdict.serves || copy.verdict.stands_in);
    let but = but.and_then(bar).map(|bar| format!(", but {bar}"));
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
        serves: verdict.serves,
        stands_in: verdict.stands_in,
        reason: verdict.reason.label().to_owned(),
        standing: server.map(|server| server.standing.reason.label().to_owned()),
        text: format!("{}{}", verdict.reason, but.unwrap_or_default()),
    }
}

/// What keeps a server from serving a copy that is good.
fn bar(server: &ServerStatus) -> Option<String> {
    let down = || match &server.health_why {
        Some(why) => format!("the server is down: {why}"),
        None => "the server is down".to_owned(),
    };
    let bar = match server.standing.reason {
        // Of which copies serve, the copies' own verdicts tell.
        Reason::Ready | Reason::Unproven | Reason::NoCopy => return None,
        Reason::Down => return Some(down()),
        Reason::LastResort => return Some(format!("{}; tried as no other one is up", down())),
        Reason::Starting if server.standing.admits_new => return None,
        Reason::Starting => "the server has not answered a health check yet",
        Reason::Full | Reason::ReportsFull => "the server has as many sessions as it may have",
        Reason::ReportsHold => "the server says that it is on hold",
        Reason::OverPeak => "the server's machine is busier than it may be",
        Reason::PeakZero => "the server's peak load is 0",
        Reason::AgentFull => "the server's agent says that it has enough",
        Reason::AgentDrain => "the server's agent says that it is to take no new sessions",
        Reason::AgentMaintenance => "the server's agent says that work is done there",
        Reason::Sick => "the server is held as sick",
        Reason::Held => "the server is on hold",
        Reason::Draining => "the server is being drained",
        Reason::Drill => "a drill is made of the server",
        Reason::Closing => "the pool is closing",
        Reason::Closed => "the pool is closed",
        Reason::DoorOnly => "the pool is for operators only",
        Reason::Maintenance => "the server is in maintenance",
        Reason::Verifying => "the server is verified after maintenance",
        Reason::Unverified => "the server was not verified after maintenance",
        Reason::Removed => "the server is no longer in the pool",
    };
    Some(bar.to_owned())
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
