//! Notices: who is told what, and when; and messages, which operators leave for single users.
//!
//! A drain tells the sessions of its server, a pool's closing those of all its servers. Everything
//! that reaches users (the banner, the stream, the fields of an answer, the close of a tunnel) is
//! made from one [`Notice`], so that all of them tell the deadline that will be enforced.

use crate::config::NoticeSettings;
use crate::intent::{Closing, Drain};
use crate::time::{Millis, Moment, WallTime};

/// From so long before the deadline on, users see the seconds run.
pub const COUNTDOWN: Millis = Millis::from_secs(60);

/// The words of a notice, in the languages of those who read them.
const WORDS: &str = include_str!("notice/words.js");

/// A browser's script that says what notices say, by its function `noticeWords(languages)`: users' pages
/// and whoever shows beforehand what they will be told say it by the same code.
pub fn script_with_notice_words(script: &str) -> String {
    format!("(() => {{\n'use strict';\n{WORDS}{script}}})();\n")
}

/// What the users of a server are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What is going to end.
    pub kind: NoticeKind,
    /// When their sessions end.
    pub deadline: Moment,
    /// The operator's own words: text, never markup.
    pub message: Option<String>,
    /// How long before the deadline users are reminded, longest first; each is shorter than the time
    /// that was given.
    pub reminders: Vec<Millis>,
}

/// What is going to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// One server is taken out of service; its users may begin again elsewhere.
    Drain,
    /// The whole service closes.
    Closing,
}

impl NoticeKind {
    /// The word that programs see.
    pub fn label(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Closing => "closing",
        }
    }
}

impl Notice {
    /// The notice of a server's drain.
    pub(crate) fn of_drain(drain: &Drain, settings: &NoticeSettings) -> Self {
        Self {
            kind: NoticeKind::Drain,
            deadline: drain.deadline,
            message: drain.message.clone(),
            reminders: settings.within(drain.within),
        }
    }

    /// The notice of a pool's closing.
    pub(crate) fn of_closing(closing: &Closing, settings: &NoticeSettings) -> Self {
        Self {
            kind: NoticeKind::Closing,
            deadline: closing.deadline,
            message: closing.closure.message.clone(),
            reminders: settings.within(closing.within),
        }
    }

    /// The first moment after `now` at which users are told again: the next reminder, or else the
    /// deadline; `None` from the deadline on.
    pub fn next_after(&self, now: Moment) -> Option<Moment> {
        let reminders = self.reminders.iter().map(|lead| self.reminder_at(*lead));
        reminders
            .chain([self.deadline])
            .filter(|at| *at > now)
            .min()
    }

    /// The reminder that users see at `now`: the one that came last.
    pub fn reminder(&self, now: Moment) -> Option<Millis> {
        let come = |lead: &&Millis| self.reminder_at(**lead) <= now;
        self.reminders.iter().filter(come).min().copied()
    }

    fn reminder_at(&self, lead: Millis) -> Moment {
        Moment(self.deadline.0.saturating_sub_unsigned(lead.0))
    }
}

/// How long a message stands, if nobody says.
pub const MESSAGE_LASTING: Millis = Millis::from_secs(15 * 60);

/// What an operator says to the user of a session. It has no deadline: it stands until the user has
/// dismissed it, another one takes its place, its time is over, or the session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// When it was left. It tells messages apart as well: a number would begin anew with the program,
    /// while browsers remember which message they have dismissed.
    pub at: WallTime,
    /// Text, never markup; at most 1,000 characters, `\n` between its lines.
    pub text: String,
    /// When it is over, though nobody has dismissed it.
    pub ends: Moment,
}

impl NoticeSettings {
    /// The reminders that make sense when so much time is given, longest first.
    fn within(&self, within: Millis) -> Vec<Millis> {
        let shorter = self.reminders.iter().filter(|lead| **lead < within);
        let mut reminders: Vec<Millis> = shorter.copied().collect();
        reminders.sort_unstable_by(|a, b| b.cmp(a));
        reminders.dedup();
        reminders
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(within_s: u64) -> Notice {
        let drain = Drain {
            deadline: Moment(1_000_000),
            within: Millis::from_secs(within_s),
            message: None,
        };
        let settings = NoticeSettings {
            reminders: [60, 900, 300, 60].map(Millis::from_secs).to_vec(),
            inject: true,
        };
        Notice::of_drain(&drain, &settings)
    }

    #[test]
    fn reminders_are_those_that_lie_within_the_time_given() {
        assert_eq!(
            notice(3600).reminders,
            [900, 300, 60].map(Millis::from_secs)
        );
        assert_eq!(notice(300).reminders, [Millis::from_secs(60)]);
        assert_eq!(notice(60).reminders, []);
    }

    #[test]
    fn each_reminder_is_next_once_and_then_the_deadline() {
        let notice = notice(600);
        let mut at = Moment(400_000);
        let mut told = Vec::new();
        while let Some(next) = notice.next_after(at) {
            at = next;
            told.push((next.0, notice.reminder(next).map(|lead| lead.0 / 1000)));
        }
        assert_eq!(
            told,
            [
                (700_000, Some(300)),
                (940_000, Some(60)),
                (1_000_000, Some(60))
            ]
        );
        assert_eq!(notice.reminder(Moment(699_999)), None);
    }
}
