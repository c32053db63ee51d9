//! When the sessions of a server will probably be gone: of one that is drained, and of one that would be.

use super::super::answer::ApiError;
use super::super::app::App;
use super::words::{about, minute, sessions};
use crate::clock::clock;
use ebbtide_api::Timestamp;
use ebbtide_core::{Left, Millis, Now, PoolView, ServerKey, Session, Survival};
use std::sync::Arc;

/// Sessions looked at: enough for the shape of what is foretold.
const SESSIONS_MAX: usize = 10_000;
/// Points of the foretold curve.
const POINTS: u64 = 32;
/// So many of a hundred count as most of them.
const MOST_PERCENT: f64 = 95.0;

/// When the sessions of a server will probably be gone.
pub(super) struct Outlook {
    pub now: Now,
    /// So many sessions that have ended it rests on.
    pub samples: usize,
    pub half: Option<Millis>,
    pub most: Option<Millis>,
    /// How many will be left, from now on.
    pub course: Vec<(Millis, Left)>,
    /// How many will be left at the deadline, and will be cut off then.
    pub cut: Option<Left>,
}

impl Outlook {
    /// Of the sessions that the server has now; `None` if it has none, or nothing can be foretold.
    /// `within`: the deadline after which none is left.
    pub async fn of(
        app: &App,
        pool: &str,
        server: &str,
        within: Option<Millis>,
    ) -> Result<Option<Self>, ApiError> {
        let name = pool.to_owned();
        let durations = app
            .inbox
            .look(move |driver, _| driver.durations(&name).cloned());
        let Some(durations) = durations.await.ok_or_else(ApiError::stopping)? else {
            return Ok(None);
        };
        let snapshot = app.snapshot();
        let Some((view, key)) = snapshot.pool_named(pool).and_then(|view| {
            let key = server_key(view, server)?;
            Some((Arc::clone(view), key))
        }) else {
            return Ok(None);
        };
        let table = Arc::clone(&app.sessions);
        // Ten thousand ages are nothing for the control thread to look at.
        let looked = tokio::task::spawn_blocking(move || {
            let now = clock();
            let ages = |keep: &dyn Fn(&Session) -> bool| -> Vec<Millis> {
                let found = table.list(&snapshot, None, SESSIONS_MAX, keep);
                let age = |session: &Arc<Session>| now.moment.since(session.started);
                found.iter().map(age).collect()
            };
            let open = ages(&|session| session.pool == view.key);
            let own = ages(&|session| session.server == key);
            let sessions = view
                .server_or_removed(key)
                .map_or(0, |server| server.load.sessions());
            let survival = durations.survival(&open)?;
            (!own.is_empty()).then(|| Self::foretell(&survival, &own, sessions, within, now))
        });
        looked.await.map_err(|_| ApiError::stopping())
    }

    fn foretell(
        survival: &Survival,
        ages: &[Millis],
        sessions: u32,
        within: Option<Millis>,
        now: Now,
    ) -> Self {
        let count = ages.len() as f64;
        let half = survival.falls_to(ages, count / 2.0);
        let most = survival.falls_to(ages, count * (1.0 - MOST_PERCENT / 100.0));
        let end = within
            .or(most)
            .or(half.map(|half| Millis(half.0 * 3)))
            .unwrap_or(Millis::from_secs(3600));
        // Of more sessions than were looked at the others are like those.
        let scale = f64::from(sessions.max(ages.len() as u32)) / count;
        let left = |after: Millis| {
            let left = survival.left(ages, after);
            Left {
                likely: left.likely * scale,
                low: left.low * scale,
                high: left.high * scale,
            }
        };
        let at = |step: u64| Millis(end.0 / POINTS * step);
        Self {
            now,
            samples: survival.samples(),
            half: half.filter(|half| within.is_none_or(|within| *half <= within)),
            most: most.filter(|most| within.is_none_or(|within| *most <= within)),
            course: (0..=POINTS)
                .map(|step| (at(step), left(at(step))))
                .collect(),
            cut: within.map(left),
        }
    }

    /// The same in sentences, as HTML.
    pub fn sentences(&self) -> Vec<String> {
        let at = |after: Millis| {
            let wall = self.now.wall.0.saturating_add(after.0);
            minute(Timestamp(wall))
        };
        let mut told = Vec::new();
        if let Some(half) = self.half {
            told.push(format!("half gone by {} ({})", at(half), about(half.0)));
        }
        if let Some(most) = self.most {
            told.push(format!(
                "{MOST_PERCENT}&nbsp;% by {} ({})",
                at(most),
                about(most.0)
            ));
        }
        match self.cut {
            Some(left) if left.likely.round() >= 1.0 => {
                let cut = left.likely.round() as u32;
                let (low, high) = (left.low.round() as u32, left.high.round() as u32);
                let verb = if cut == 1 { "is" } else { "are" };
                told.push(format!(
                    "{} {verb} probably still there at the deadline, and cut off ({low} to {high})",
                    sessions(cut)
                ));
            }
            Some(_) => told.push("probably all gone before the deadline".into()),
            None => {}
        }
        if told.is_empty() {
            told.push("longer than any session so far allows to say".into());
        }
        told
    }
}

fn server_key(pool: &PoolView, server: &str) -> Option<ServerKey> {
    let mut servers = pool.servers.iter().chain(&pool.removed);
    let found = servers.find(|found| *found.name == *server)?;
    Some(found.key)
}
