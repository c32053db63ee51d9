//! The line that a balancer gets, in the words of HAProxy's agent-check.

use super::load::Load;
use std::time::{Duration, Instant};

/// A count is kept for so long when it cannot be taken again: a full server is not to be opened because a
/// command fails once, and not to stay closed for good because it always does.
const COUNT_KEPT: Duration = Duration::from_secs(5 * 60);

/// The last that was measured.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    /// `None`: nothing yet.
    pub load: Option<Result<Load, String>>,
    pub sessions: Sessions,
}

/// How many sessions there are.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    /// The last count, and when it was taken. `None`: nobody asked for one, or there is none yet.
    counted: Option<(u64, Instant)>,
    /// Why the last attempt after that failed.
    why_not: Option<String>,
}

impl Sessions {
    /// Takes in what an attempt to count them came to.
    pub fn take(&mut self, attempt: Result<u64, String>, now: Instant) {
        match attempt {
            Ok(count) => (self.counted, self.why_not) = (Some((count, now)), None),
            Err(why) => self.why_not = Some(why),
        }
    }

    /// The count, and its age, if it still counts.
    fn count(&self, now: Instant) -> Option<(u64, Duration)> {
        let (count, at) = self.counted?;
        let age = now.saturating_duration_since(at);
        (self.why_not.is_none() || age < COUNT_KEPT).then_some((count, age))
    }

    /// There was no attempt yet.
    fn is_untried(&self) -> bool {
        self.counted.is_none() && self.why_not.is_none()
    }

    fn remark(&self, max: Option<u64>, now: Instant) -> Option<String> {
        let of = max.map_or(String::new(), |max| format!(" of {max}"));
        match (self.count(now), &self.why_not) {
            (Some((count, _)), None) => Some(format!("{count}{of} sessions")),
            (Some((count, age)), Some(why)) => {
                let age = age.as_secs();
                Some(format!(
                    "{count}{of} sessions {age} s ago, and not counted since: {why}"
                ))
            }
            (None, Some(why)) => Some(format!("sessions unknown: {why}")),
            (None, None) => max.map(|_| "sessions not counted yet".to_owned()),
        }
    }
}

/// The line, with its end. `held`: the reason of a hold; `sessions_max`: how many sessions fill the
/// server.
///
/// A share of 100 % is the full weight of the server, and 1 % the least: 0 % would end its new
/// sessions, and being busy is no reason for that. A full server says 0 %.
pub(super) fn line(
    reading: &Reading,
    held: Option<&str>,
    sessions_max: Option<u64>,
    now: Instant,
) -> String {
    let mut words = vec!["up"];
    let mut remarks = Vec::new();
    words.push(if held.is_some() { "drain" } else { "ready" });
    match held {
        Some("") => remarks.push("on hold".to_owned()),
        Some(reason) => remarks.push(format!("on hold: {reason}")),
        None => {}
    }
    let sessions = &reading.sessions;
    let count = sessions.count(now).map(|(count, _)| count);
    let is_full = count.zip(sessions_max).map(|(count, max)| count >= max);
    let share = match &reading.load {
        _ if is_full == Some(true) => Some("0%".to_owned()),
        // It may be full, and have said so before it was started anew.
        _ if sessions_max.is_some() && sessions.is_untried() => None,
        Some(Ok(load)) => Some(format!("{}%", 100_u8.saturating_sub(load.percent()).max(1))),
        // It may have been full, and who asks goes by that until another share is told.
        Some(Err(_)) | None if is_full == Some(false) => Some("100%".to_owned()),
        _ => None,
    };
    words.extend(share.as_deref());
    match &reading.load {
        Some(Ok(load)) => remarks.push(load.to_string()),
        Some(Err(why)) => remarks.push(format!("load unknown: {why}")),
        None => remarks.push("load not measured yet".to_owned()),
    }
    remarks.extend(sessions.remark(sessions_max, now));
    format!("{} #{}\n", words.join(" "), remarks.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(processor: u8, count: Option<u64>) -> Reading {
        let mut sessions = Sessions::default();
        if let Some(count) = count {
            sessions.take(Ok(count), Instant::now());
        }
        Reading {
            load: Some(Ok(Load {
                processor,
                memory: 20,
            })),
            sessions,
        }
    }

    fn line(reading: &Reading, held: Option<&str>, sessions_max: Option<u64>) -> String {
        super::line(reading, held, sessions_max, Instant::now())
    }

    #[test]
    fn a_server_tells_how_much_of_its_weight_is_left() {
        assert_eq!(
            line(&reading(37, Some(12)), None, None),
            "up ready 63% #processor 37 %, memory 20 %, 12 sessions\n"
        );
    }

    #[test]
    fn being_busy_ends_no_new_sessions() {
        let line = line(&reading(100, None), None, None);
        assert!(line.starts_with("up ready 1% #"), "{line}");
    }

    #[test]
    fn a_full_server_takes_none() {
        let full = line(&reading(5, Some(40)), None, Some(40));
        assert_eq!(
            full,
            "up ready 0% #processor 5 %, memory 20 %, 40 of 40 sessions\n"
        );
        let room = line(&reading(5, Some(39)), None, Some(40));
        assert!(room.starts_with("up ready 80% #"), "{room}");
    }

    #[test]
    fn a_hold_says_why() {
        let held = line(&reading(5, None), Some("disk is being exchanged"), None);
        assert!(
            held.starts_with("up drain 80% #on hold: disk is being exchanged, processor"),
            "{held}"
        );
    }

    #[test]
    fn a_full_server_stays_full_for_a_while_when_nobody_can_count() {
        let mut reading = reading(5, None);
        let then = Instant::now();
        reading.sessions.take(Ok(40), then);
        let failed = "the command failed: exit status: 1";
        reading.sessions.take(Err(failed.into()), then);
        let at = |seconds| {
            super::line(
                &reading,
                None,
                Some(40),
                then + Duration::from_secs(seconds),
            )
        };
        assert_eq!(
            at(30),
            "up ready 0% #processor 5 %, memory 20 %, 40 of 40 sessions 30 s ago, and not counted since: \
             the command failed: exit status: 1\n"
        );
        assert!(at(299).starts_with("up ready 0% #"), "{}", at(299));
        assert_eq!(
            at(300),
            "up ready 80% #processor 5 %, memory 20 %, sessions unknown: the command failed: exit status: 1\n"
        );
        reading.sessions.take(Ok(39), then);
        let line = super::line(&reading, None, Some(40), then);
        assert!(line.ends_with(", 39 of 40 sessions\n"), "{line}");
    }

    #[test]
    fn what_is_not_known_is_not_told_as_a_share() {
        let mut reading = Reading {
            load: Some(Err("/proc/stat: no such file".into())),
            ..Reading::default()
        };
        let late = "the command did not end within 5 s";
        reading.sessions.take(Err(late.into()), Instant::now());
        assert_eq!(
            line(&reading, None, Some(10)),
            "up ready #load unknown: /proc/stat: no such file, sessions unknown: the command did not end within 5 s\n"
        );
        reading.sessions.take(Ok(9), Instant::now());
        let room = line(&reading, None, Some(10));
        assert!(room.starts_with("up ready 100% #load unknown"), "{room}");
        assert_eq!(
            line(&Reading::default(), None, None),
            "up ready #load not measured yet\n"
        );
        // Its load is told, but it may be full.
        let uncounted = self::reading(5, None);
        assert_eq!(
            line(&uncounted, None, Some(10)),
            "up ready #processor 5 %, memory 20 %, sessions not counted yet\n"
        );
        let mut unmeasured = Reading::default();
        unmeasured.sessions.take(Ok(9), Instant::now());
        assert_eq!(
            line(&unmeasured, None, Some(10)),
            "up ready 100% #load not measured yet, 9 of 10 sessions\n"
        );
    }
}
