//! What users are told, made here once more from what was asked for.

use super::intents::Want;
use super::pools::PoolWant;
use super::{Judge, TRUTH};
use crate::sim::number::ServerNumber;
use crate::sim::plan::REMINDERS;
use ebbtide_core::{Millis, Moment, Notice, NoticeKind, PoolView, ServerView};

impl Judge {
    /// The users of a server are told of the earlier of its drain and its pool's closing.
    pub(super) fn judge_notice(&mut self, name: ServerNumber, view: &ServerView, pool: &PoolView) {
        let (boot, started) = (self.boot, self.started);
        let of_drain = match &self.server(name).in_force {
            Want::Drain(countdown, message) => {
                let deadline = countdown.on(boot, started);
                Some(notice(
                    NoticeKind::Drain,
                    deadline,
                    countdown.within,
                    message,
                ))
            }
            _ => None,
        };
        let of_closing = match &self.pools[name.pool()].in_force {
            PoolWant::Closing(countdown, _, closure) => {
                let deadline = countdown.on(boot, started);
                let (kind, message) = (NoticeKind::Closing, &closure.message);
                Some(notice(kind, deadline, countdown.within, message))
            }
            _ => None,
        };
        let told = [of_drain, of_closing];
        let earliest = told.iter().flatten().map(|notice| notice.deadline).min();
        let seen = view.notice.as_deref();
        let is_true = match seen {
            None => earliest.is_none(),
            Some(seen) => {
                Some(seen.deadline) == earliest && told.iter().flatten().any(|told| told == seen)
            }
        };
        if !is_true {
            let closing = &pool.intent;
            let text = format!("users of {name} see {seen:?}, not one of {told:?}; {closing:?}");
            self.fail(TRUTH, text);
        }
    }
}

fn notice(kind: NoticeKind, deadline: Moment, within: Millis, message: &Option<String>) -> Notice {
    let mut reminders: Vec<Millis> = REMINDERS
        .into_iter()
        .filter(|lead| *lead < within)
        .collect();
    reminders.sort_unstable();
    reminders.reverse();
    Notice {
        kind,
        deadline,
        message: message.clone(),
        reminders,
    }
}
