//! How many sessions each server had lately: the curve of a drain.
//!
//! Only the counts that the data plane keeps anyway are read, so a look costs nothing. Of a server that
//! loses its sessions the whole time since that began is kept, ever more coarsely; of others the last
//! quarter of an hour.

use super::super::app::App;
use crate::clock::clock;
use ebbtide_core::{Moment, Reason, Snapshot};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(2);
/// Points kept of a server.
const POINTS_MAX: usize = 450;
/// Servers whose curves are kept: the first ones of the configuration.
const SERVERS_MAX: usize = 2000;

/// So many sessions at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub at: Moment,
    pub sessions: u32,
}

#[derive(Default)]
pub(in crate::admin) struct History {
    curves: Mutex<BTreeMap<(String, String), Curve>>,
}

#[derive(Default)]
struct Curve {
    points: VecDeque<Point>,
    /// It takes no new sessions, by an operator's will.
    leaving: bool,
    /// Of so many looks one is kept.
    keep_one_in: u32,
    looks: u32,
}

impl History {
    /// Looks from now on, as long as the control thread runs.
    pub(in crate::admin) fn start(app: App) -> Arc<Self> {
        let history = Arc::<Self>::default();
        let kept = Arc::clone(&history);
        tokio::spawn(async move {
            let mut every = interval(EVERY);
            every.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                every.tick().await;
                kept.look(&app.snapshot(), clock().moment);
            }
        });
        history
    }

    fn look(&self, snapshot: &Snapshot, now: Moment) {
        let mut curves = self.curves.lock().unwrap_or_else(PoisonError::into_inner);
        let pools = snapshot.pools.iter();
        let servers = pools.flat_map(|pool| {
            let servers = pool.servers.iter().chain(&pool.removed);
            servers.map(move |server| ((pool.config.name.clone(), server.name.to_string()), server))
        });
        let mut seen: BTreeMap<(String, String), Curve> = BTreeMap::new();
        for (name, server) in servers.take(SERVERS_MAX) {
            let mut curve = curves.remove(&name).unwrap_or_default();
            let point = Point {
                at: now,
                sessions: server.load.sessions(),
            };
            curve.take(point, server.standing.reason);
            seen.insert(name, curve);
        }
        *curves = seen;
    }

    /// The curve of a server, oldest point first.
    pub(super) fn curve(&self, pool: &str, server: &str) -> Vec<Point> {
        let curves = self.curves.lock().unwrap_or_else(PoisonError::into_inner);
        let curve = curves.get(&(pool.to_owned(), server.to_owned()));
        curve.map_or_else(Vec::new, |curve| curve.points.iter().copied().collect())
    }
}

impl Curve {
    fn take(&mut self, point: Point, reason: Reason) {
        match reason {
            Reason::Held | Reason::Draining | Reason::Removed if !self.leaving => {
                *self = Self::default();
                self.leaving = true;
            }
            // However a drain ends, its curve stays until the server returns.
            Reason::Held
            | Reason::Draining
            | Reason::Removed
            | Reason::Maintenance
            | Reason::Down
            | Reason::Closing
            | Reason::Closed => {}
            _ => {
                self.leaving = false;
                self.keep_one_in = 1;
            }
        }
        self.looks += 1;
        if self.looks < self.keep_one_in {
            return;
        }
        self.looks = 0;
        if self.points.len() == POINTS_MAX {
            if self.leaving {
                let mut index = 0;
                self.points.retain(|_| {
                    index += 1;
                    index % 2 == 1
                });
                self.keep_one_in = self.keep_one_in.max(1) * 2;
            } else {
                self.points.pop_front();
            }
        }
        self.points.push_back(point);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(second: i64) -> Point {
        Point {
            at: Moment(second * 1000),
            sessions: 7,
        }
    }

    #[test]
    fn of_a_ready_server_the_latest_points_are_kept() {
        let mut curve = Curve::default();
        (0..2000).for_each(|second| curve.take(point(second), Reason::Ready));
        assert_eq!(curve.points.len(), POINTS_MAX);
        assert_eq!(curve.points.front(), Some(&point(2000 - POINTS_MAX as i64)));
        assert_eq!(curve.points.back(), Some(&point(1999)));
    }

    #[test]
    fn a_drain_is_kept_whole_however_long_it_lasts() {
        let mut curve = Curve::default();
        (0..100).for_each(|second| curve.take(point(second), Reason::Ready));
        (100..50_000).for_each(|second| curve.take(point(second), Reason::Draining));
        assert_eq!(curve.points.front(), Some(&point(100)), "it begins anew");
        assert!(curve.points.len() <= POINTS_MAX);
        assert!(curve.points.back().unwrap().at > Moment(49_500_000));
        curve.take(point(50_000), Reason::Maintenance);
        assert_eq!(curve.points.front(), Some(&point(100)));
        curve.take(point(50_001), Reason::Ready);
        curve.take(point(50_002), Reason::Draining);
        assert_eq!(curve.points.front(), Some(&point(50_002)));
    }
}
