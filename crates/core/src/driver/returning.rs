//! Return slowly: when a server's slow start begins, how far it is, and when it ends.

use crate::driver::Output;
use crate::driver::change::event;
use crate::driver::state::State;
use crate::event::EventKind;
use crate::record::StoredIntent;
use crate::slow_start::{OWN_WHOLE, SHARE_WHOLE, is_away, own_share, share_after, share_beside};
use crate::snapshot::ServerView;
use crate::standing::Reason;
use crate::status::ReturnStatus;
use crate::time::{Millis, Moment, Now};

/// What is known of a server's return.
#[derive(Debug)]
pub(in crate::driver) struct Return {
    /// It takes no new sessions, for another reason than that it has enough to do.
    pub is_away: bool,
    /// Since when it is in its slow start, and for how long that lasts.
    slow_start: Option<(Moment, Millis)>,
    /// Its share by itself, as it was published last.
    share: u8,
    /// The same, seen together with the others of its pool.
    share_together: u8,
    /// It was told that the server returns slowly: then it is told once that it has returned.
    is_told: bool,
}

impl Default for Return {
    fn default() -> Self {
        Self {
            is_away: false,
            slow_start: None,
            share: SHARE_WHOLE,
            share_together: SHARE_WHOLE,
            is_told: false,
        }
    }
}

impl Return {
    /// The server stands like this now, by itself.
    pub fn follow(&mut self, reason: Reason, slow_start: Millis, now: Now) {
        let was_away = std::mem::replace(&mut self.is_away, is_away(reason));
        self.slow_start = match self.slow_start {
            _ if self.is_away => None,
            _ if was_away => Some((now.moment, slow_start)),
            Some((since, _)) => Some((since, slow_start)),
            None => None,
        };
        self.share = self.share_now(now);
        self.slow_start.take_if(|_| self.share == SHARE_WHOLE);
        // The return that was told of has come to nothing; the next one is another.
        self.is_told &= !self.is_away;
    }

    /// Its share by itself, before it is rounded.
    fn own_share(&self, now: Now) -> u64 {
        self.slow_start.map_or(OWN_WHOLE, |(since, slow_start)| {
            own_share(now.moment.since(since), slow_start)
        })
    }

    /// What is to be told, now that it was given a share beside the others: each return begins once, when
    /// the server is first passed over for it, and ends once, when its time is over.
    fn news(&mut self, admits_new: bool, now: Now) -> Option<EventKind> {
        let is_over = self.slow_start.is_none();
        let status = self.status(now).filter(|_| !self.is_told);
        if let Some(status) = status {
            self.is_told = true;
            return Some(EventKind::Returning { over: status.left });
        }
        let has_returned = self.is_told && is_over && admits_new;
        has_returned.then(|| {
            self.is_told = false;
            EventKind::Returned
        })
    }

    /// Its share by itself, in percent.
    pub fn share_now(&self, now: Now) -> u8 {
        self.slow_start.map_or(SHARE_WHOLE, |(since, slow_start)| {
            share_after(now.moment.since(since), slow_start)
        })
    }

    /// Ends the slow start.
    pub fn end_slow_start(&mut self) {
        self.slow_start = None;
    }

    /// What people are shown of it, while it is given fewer sessions than without.
    pub fn status(&self, now: Now) -> Option<ReturnStatus> {
        let (since, slow_start) = self.slow_start?;
        let until = since.plus(slow_start);
        (self.share_together < SHARE_WHOLE).then(|| ReturnStatus {
            share: self.share_together,
            until: now.wall_at(until),
            left: until.since(now.moment),
        })
    }
}

impl State {
    /// Slow starts go on after a restart where it is stored when the server returned: where an operator
    /// wished it.
    pub fn resume_slow_starts(&mut self, now: Now) {
        for (name, server) in &mut self.servers {
            let pool = self.pools.get(&name.pool);
            let slow_start = pool.map_or(Millis(0), |pool| pool.config.slow_start);
            let record = server.intent_record.as_ref();
            let record = record.filter(|record| record.intent == StoredIntent::Ready);
            // A wall clock that stepped back cannot make it longer.
            let since = record.map(|record| now.moment_at(record.since).min(now.moment));
            let goes_on = |since: &Moment| now.moment.since(*since) < slow_start;
            let since = since.filter(goes_on);
            server.returning.slow_start = since.map(|since| (since, slow_start));
        }
    }

    /// Marks the pools whose servers have come another step further.
    pub fn judge_returns(&mut self, now: Now) {
        let returning = self.servers.iter().filter(|(_, server)| {
            let returning = &server.returning;
            returning.slow_start.is_some() && returning.share != returning.share_now(now)
        });
        let pools: Vec<String> = returning.map(|(name, _)| name.pool.clone()).collect();
        let pools = pools
            .into_iter()
            .filter(|name| self.pools.contains_key(name));
        self.changed.extend(pools);
    }

    /// Gives each server of a pool that is about to be published its share beside the others; the events
    /// say where a slow start begins or ends.
    pub fn share_out(&mut self, views: &mut [ServerView], now: Now, outputs: &mut Vec<Output>) {
        let own = |view: &ServerView| {
            let server = self
                .name_of(view.key)
                .and_then(|name| self.servers.get(name));
            server.map_or(OWN_WHOLE, |server| server.returning.own_share(now))
        };
        let admitting = views.iter().filter(|view| view.standing.admits_new);
        let furthest = admitting.map(own).max().unwrap_or(OWN_WHOLE);
        for view in views {
            let Some(name) = self.name_of(view.key).cloned() else {
                continue;
            };
            let Some(server) = self.servers.get_mut(&name) else {
                continue;
            };
            let returning = &mut server.returning;
            if view.standing.admits_new {
                view.share = share_beside(furthest, returning.own_share(now));
            }
            returning.share_together = view.share;
            let news = returning.news(view.standing.admits_new, now);
            outputs.extend(news.map(|kind| event(Some(&name), kind, now)));
        }
    }
}
