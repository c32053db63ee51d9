//! Notices in a Telnet user's own terminal: a line of their own between two of the server's, once for
//! each reminder. An operator's message is written in the same way, once.

use crate::wall::http_date;
use ebbtide_core::{Message, Millis, Notice, NoticeKind, Now, WallTime};
use ebbtide_protocol::telnet::{Place, Stream, write_notice};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use tokio::time::{Instant, Sleep};

use crate::timer::duration;

/// What one user has been told, and has yet to be told.
pub(super) struct Telnet {
    stream: Stream,
    /// The server has sent something: who sees our words first would take them for the service's.
    has_begun: bool,
    /// What is said, or was said last.
    told: Option<(Arc<Notice>, Option<Millis>)>,
    /// What was told before that.
    before: Option<(Arc<Notice>, Option<Millis>)>,
    /// Something is to be said, and was last looked at then.
    unsaid: Option<Now>,
    /// What an operator says, and has not been written yet.
    message: Option<Arc<Message>>,
    /// The message that was taken up last, by its time.
    heard: Option<WallTime>,
    /// Rings when the next reminder is due.
    alarm: Pin<Box<Sleep>>,
}

impl Telnet {
    pub fn new() -> Self {
        Self {
            stream: Stream::new(),
            has_begun: false,
            told: None,
            before: None,
            unsaid: None,
            message: None,
            heard: None,
            alarm: Box::pin(tokio::time::sleep(duration(Millis(0)))),
        }
    }

    /// Takes up what an operator says to the user; what nobody says any more is not written.
    pub fn hear(&mut self, message: Option<Arc<Message>>) {
        let at = message.as_ref().map(|message| message.at);
        if at != self.heard {
            self.heard = at;
            self.message = message;
        }
    }

    /// Looks whether the user is to be told something; wakes the task when that may change by time.
    pub fn look(&mut self, context: &mut Context<'_>, notice: Option<Arc<Notice>>, now: Now) {
        let next = notice
            .as_ref()
            .and_then(|notice| notice.next_after(now.moment));
        let due = notice.map(|notice| {
            let reminder = notice.reminder(now.moment);
            (notice, reminder)
        });
        let is_new = due != self.told;
        if is_new {
            self.before = std::mem::replace(&mut self.told, due);
        }
        // What could not be said yet is not said as if no time had gone by.
        if is_new || self.unsaid.is_some() {
            self.unsaid = Some(now);
        }
        if let Some(next) = next {
            let rings = Instant::now() + duration(Millis(next.since(now.moment).0));
            self.alarm.as_mut().reset(rings);
            // It cannot have rung yet; who is polled by it looks again.
            let _ = self.alarm.as_mut().poll(context);
        }
    }

    /// Appends what is due to `out`, if a line starts here.
    pub fn speak(&mut self, out: &mut Vec<u8>) {
        if !self.has_begun || self.stream.place() != Place::LineStart {
            return;
        }
        if let Some(now) = self.unsaid.take() {
            write_notice(out, &words(self.before.as_ref(), self.told.as_ref(), now));
        }
        if let Some(message) = self.message.take() {
            write_notice(
                out,
                &starred("*** Message from the operators:", &message.text),
            );
        }
    }

    /// Appends what the server has sent to `out`, with what is due where a line starts in it.
    pub fn weave(&mut self, sent: &[u8], out: &mut Vec<u8>) {
        let first = usize::from(!self.has_begun).min(sent.len());
        let (first, sent) = sent.split_at(first);
        self.has_begun |= !first.is_empty();
        out.extend_from_slice(first);
        self.stream.pass(first);
        let start = match self.unsaid.is_some() || self.message.is_some() {
            true => self.stream.to_line_start(sent),
            false => None,
        };
        let (before, after) = sent.split_at(start.unwrap_or(sent.len()));
        out.extend_from_slice(before);
        self.stream.pass(before);
        self.speak(out);
        out.extend_from_slice(after);
        self.stream.pass(after);
    }

    /// Appends that the session has ended. Nothing follows, so it may be within a line too, such as
    /// after a prompt.
    pub fn say_end(&mut self, out: &mut Vec<u8>) {
        let place = self.stream.place();
        if self.has_begun && matches!(place, Place::LineStart | Place::InLine) {
            write_notice(out, "*** Your session has ended.");
        }
    }
}

/// What is said of a notice that is `due` to a user who was `told` another, or none.
fn words(
    told: Option<&(Arc<Notice>, Option<Millis>)>,
    due: Option<&(Arc<Notice>, Option<Millis>)>,
    now: Now,
) -> String {
    let Some((notice, _)) = due else {
        return "*** Called off: your session does not end. You can go on working.".to_owned();
    };
    let what = match notice.kind {
        NoticeKind::Drain => "Your session on this server ends",
        NoticeKind::Closing => "This service closes, and your session ends,",
    };
    let is_new_time = told.is_some_and(|(told, _)| told.deadline != notice.deadline);
    let changed = if is_new_time { "New time: " } else { "" };
    let left = span(notice.deadline.since(now.moment));
    let at = http_date(now.wall_at(notice.deadline));
    let words = format!("*** {changed}{what} in {left}, at {at}. Save your work.");
    starred(&words, notice.message.as_deref().unwrap_or_default())
}

/// Words of ours, and an operator's below them.
fn starred(ours: &str, theirs: &str) -> String {
    let lines = theirs.lines().map(|line| format!("\n*** {line}"));
    lines.fold(ours.to_owned(), |said, line| said + &line)
}

/// A span in words, in whole seconds: nobody is told of more time than there is.
fn span(span: Millis) -> String {
    let seconds = span.0 / 1000;
    let unit = |count: u64, name: &str| match count {
        0 => None,
        1 => Some(format!("1 {name}")),
        _ => Some(format!("{count} {name}s")),
    };
    let units = [
        unit(seconds / 3600, "hour"),
        unit(seconds / 60 % 60, "minute"),
        unit(seconds % 60, "second"),
    ];
    let said: Vec<String> = units.into_iter().flatten().collect();
    match said.is_empty() {
        true => "less than a second".to_owned(),
        false => said.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebbtide_core::{Moment, WallTime};

    fn notice(deadline: i64, message: Option<&str>) -> Option<Arc<Notice>> {
        Some(Arc::new(Notice {
            kind: NoticeKind::Drain,
            deadline: Moment(deadline),
            message: message.map(str::to_owned),
            reminders: vec![Millis::from_secs(60)],
        }))
    }

    /// What a terminal is sent of these pieces, while `notice` stands, at `at`.
    fn say(telnet: &mut Telnet, notice: Option<Arc<Notice>>, at: i64, pieces: &[&str]) -> String {
        let now = Now {
            moment: Moment(at),
            wall: WallTime(1_795_000_000_000 + at.unsigned_abs()),
        };
        let mut context = Context::from_waker(std::task::Waker::noop());
        telnet.look(&mut context, notice, now);
        let mut out = Vec::new();
        telnet.speak(&mut out);
        for piece in pieces {
            telnet.weave(piece.as_bytes(), &mut out);
        }
        String::from_utf8(out).expect("text")
    }

    #[tokio::test]
    async fn each_thing_is_said_once_and_only_where_a_line_starts() {
        let mut telnet = Telnet::new();
        assert_eq!(say(&mut telnet, None, 0, &["login: "]), "login: ");
        let first = notice(120_000, Some("Upgrade\nCall 4455"));
        assert_eq!(say(&mut telnet, first.clone(), 0, &["me"]), "me");
        // It is said later than it was due, with the time that there is then.
        assert_eq!(
            say(&mut telnet, first.clone(), 10_500, &["\r", "\nWelcome"]),
            "\r\n\r\n*** Your session on this server ends in 1 minute 49 seconds, at \
             Wed, 18 Nov 2026 11:08:40 GMT. Save your work.\r\n*** Upgrade\r\n*** Call 4455\r\nWelcome"
        );
        assert_eq!(say(&mut telnet, first.clone(), 59_000, &["\r\n"]), "\r\n");
        let reminded = say(&mut telnet, first.clone(), 60_000, &["a"]);
        assert!(reminded.contains("ends in 1 minute, at"), "{reminded}");
        assert_eq!(say(&mut telnet, first, 61_000, &["b\r\n"]), "b\r\n");
        let later = say(&mut telnet, notice(400_000, None), 62_000, &[]);
        assert!(later.contains("New time: Your session"), "{later}");
        let off = say(&mut telnet, None, 63_000, &[]);
        assert!(off.contains("Called off"), "{off}");
        assert_eq!(say(&mut telnet, None, 64_000, &["$ "]), "$ ");
        let mut end = Vec::new();
        telnet.say_end(&mut end);
        assert_eq!(
            end, b"\r\n*** Your session has ended.\r\n",
            "after a prompt, too"
        );
    }

    #[tokio::test]
    async fn a_message_is_written_once_and_not_after_it_is_over() {
        let message = |at, text: &str| {
            Some(Arc::new(Message {
                at: WallTime(at),
                text: text.into(),
                ends: Moment(60_000),
            }))
        };
        let mut telnet = Telnet::new();
        telnet.hear(message(1, "Call 4455\n<b>now</b>"));
        assert_eq!(say(&mut telnet, None, 0, &["login: "]), "login: ");
        assert_eq!(
            say(&mut telnet, None, 0, &["me\r\nWelcome"]),
            "me\r\n\r\n*** Message from the operators:\r\n*** Call 4455\r\n*** <b>now</b>\r\nWelcome"
        );
        telnet.hear(message(1, "Call 4455\n<b>now</b>"));
        assert_eq!(say(&mut telnet, None, 0, &["\r\n"]), "\r\n");
        telnet.hear(message(2, "Thanks"));
        let said = say(&mut telnet, None, 0, &[]);
        assert!(said.ends_with("*** Thanks\r\n"), "{said}");
        assert_eq!(say(&mut telnet, None, 0, &["$ "]), "$ ");
        telnet.hear(message(3, "Too late"));
        telnet.hear(None);
        assert_eq!(say(&mut telnet, None, 0, &["\r\n"]), "\r\n");
    }

    #[tokio::test]
    async fn nothing_is_said_before_the_server_has_begun() {
        let mut telnet = Telnet::new();
        let due = notice(120_000, None);
        assert_eq!(say(&mut telnet, due.clone(), 0, &[""]), "");
        let mut end = Vec::new();
        telnet.say_end(&mut end);
        assert_eq!(end, b"");
        let said = say(&mut telnet, due, 0, &["Hello\r\nlogin: "]);
        assert!(said.starts_with("Hello\r\n\r\n*** Your session"), "{said}");
        assert!(said.ends_with("Save your work.\r\nlogin: "), "{said}");
    }

    #[test]
    fn spans_are_said_in_words() {
        let said = [0, 1_000, 59_600, 61_000, 3_600_000, 7_384_000].map(|ms| span(Millis(ms)));
        assert_eq!(
            said,
            [
                "less than a second",
                "1 second",
                "59 seconds",
                "1 minute 1 second",
                "1 hour",
                "2 hours 3 minutes 4 seconds"
            ]
        );
    }
}
