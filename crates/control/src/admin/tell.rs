//! Messages to the users of single sessions.

use super::access::Caller;
use super::answer::{ApiError, Body};
use super::app::App;
use super::changes::carry_out;
use super::sessions::{Choice, Chosen, none_fits};
use axum::extract::State;
use axum::{Extension, Json};
use ebbtide_api::{Changed, ErrorBody, SessionsTold, TellSessionsRequest, Untold};
use ebbtide_core::{
    Command, MESSAGE_LASTING, Millis, PoolConfig, Protocol, Session, SessionId, Snapshot, count,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Leaves the users of every live session that fits what is said a message.
#[utoipa::path(post, path = "/sessions/tell", tag = "change", request_body = TellSessionsRequest,
    responses((status = 200, body = SessionsTold), (status = "default", body = ErrorBody)))]
pub(super) async fn tell(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Body(body): Body<TellSessionsRequest>,
) -> Result<Json<SessionsTold>, ApiError> {
    let (reason, message) = (body.reason.clone(), body.message.clone());
    let lasting = body.lasting_ms.map_or(MESSAGE_LASTING, Millis);
    let mut chosen = Chosen::read(Choice::from(body), &app)?;
    let mut sorted = Sorted::default();
    let mut last: Option<Changed> = None;
    let mut nobody: Option<ApiError> = None;
    while let Some(page) = chosen.next(&app).await? {
        let told = sorted.sort(&page, &app.snapshot());
        let can_some = !told.is_empty();
        // Where nobody can be told, the rules say why.
        let ids = match can_some {
            true => told,
            false => page.iter().map(|session| session.id).collect(),
        };
        let command = Command::TellSessions {
            ids,
            message: message.clone(),
            lasting,
        };
        match carry_out(&app, &caller, reason.clone(), command).await {
            Ok(Json(changed)) => last = Some(changed),
            Err(error) if can_some => return Err(error),
            Err(error) => nobody = Some(error),
        }
    }
    let mut changed = last.ok_or_else(|| nobody.unwrap_or_else(none_fits))?;
    changed.text = sorted.text();
    Ok(Json(SessionsTold {
        changed,
        told: sorted.told,
        untold: sorted.untold(),
        unknown: chosen.unknown(),
    }))
}

/// Who can be told and who cannot, and how those who can will see it.
#[derive(Default)]
struct Sorted {
    told: usize,
    first: Option<SessionId>,
    ways: BTreeSet<&'static str>,
    /// Of these pools so many cannot be told, and why.
    untold: BTreeMap<String, (usize, &'static str)>,
}

impl Sorted {
    /// Takes note of some more sessions; those of them that can be told.
    fn sort(&mut self, sessions: &[Arc<Session>], snapshot: &Snapshot) -> Vec<SessionId> {
        let mut told = Vec::new();
        for session in sessions {
            let Some(pool) = snapshot.pool(session.pool) else {
                continue;
            };
            match pool.config.why_untold() {
                Some(why) => {
                    let name = pool.config.name.clone();
                    self.untold.entry(name).or_insert((0, why)).0 += 1;
                }
                None => {
                    self.ways.insert(way(&pool.config));
                    told.push(session.id);
                }
            }
        }
        self.first = self.first.or(told.first().copied());
        self.told += told.len();
        told
    }

    fn text(&self) -> String {
        let whom = match (self.told, self.first) {
            (1, Some(id)) => format!("session {id}"),
            (number, _) => count(number, "session"),
        };
        let mut parts = vec![format!("the message was left for {whom}")];
        parts.extend(self.ways.iter().map(|way| (*way).to_owned()));
        let untold = self.untold.iter().map(|(pool, (number, why))| {
            let sessions = count(number, "session");
            format!("{sessions} of pool {pool} cannot be told anything: {why}")
        });
        parts.extend(untold);
        parts.join("; ")
    }

    fn untold(&self) -> Vec<Untold> {
        let untold = self.untold.iter().map(|(pool, (sessions, why))| Untold {
            pool: pool.clone(),
            sessions: *sessions,
            why: (*why).to_owned(),
        });
        untold.collect()
    }
}

/// How and when the users of a pool see a message.
pub(super) fn way(pool: &PoolConfig) -> &'static str {
    match (pool.protocol, pool.notice.inject) {
        (Protocol::Http, true) => {
            "users see it at once in pages that have the notice's script, others on their next page"
        }
        (Protocol::Http, false) => {
            "users see it in pages that have the notice's script, and in no others"
        }
        (Protocol::Tcp | Protocol::Nbd, _) => "in terminals it is written after the next line",
    }
}
