//! The line that a balancer gets, in the words of HAProxy's agent-check.

use super::load::Load;

/// The last that was measured.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    /// `None`: nothing yet.
    pub load: Option<Result<Load, String>>,
    /// `None`: nobody asked for a count, or there is none yet.
    pub sessions: Option<Result<u64, String>>,
}

/// The line, with its end. `held`: the reason of a hold; `sessions_max`: how many sessions fill the
/// server.
///
/// A share of 100 % is the full weight of the server, and 1 % the least: 0 % would end its new
/// sessions, and being busy is no reason for that. A full server says 0 %.
pub(super) fn line(reading: &Reading, held: Option<&str>, sessions_max: Option<u64>) -> String {
    let mut words = vec!["up"];
    let mut remarks = Vec::new();
    words.push(if held.is_some() { "drain" } else { "ready" });
    match held {
        Some("") => remarks.push("on hold".to_owned()),
        Some(reason) => remarks.push(format!("on hold: {reason}")),
        None => {}
    }
    let sessions = reading.sessions.as_ref();
    let is_full = match (sessions, sessions_max) {
        (Some(Ok(sessions)), Some(max)) => *sessions >= max,
        _ => false,
    };
    let share = match &reading.load {
        _ if is_full => Some("0%".to_owned()),
        Some(Ok(load)) => Some(format!("{}%", 100_u8.saturating_sub(load.percent()).max(1))),
        _ => None,
    };
    words.extend(share.as_deref());
    match &reading.load {
        Some(Ok(load)) => remarks.push(load.to_string()),
        Some(Err(why)) => remarks.push(format!("load unknown: {why}")),
        None => remarks.push("load not measured yet".to_owned()),
    }
    match (sessions, sessions_max) {
        (Some(Ok(sessions)), Some(max)) => remarks.push(format!("{sessions} of {max} sessions")),
        (Some(Ok(sessions)), None) => remarks.push(format!("{sessions} sessions")),
        (Some(Err(why)), _) => remarks.push(format!("sessions unknown: {why}")),
        (None, _) => {}
    }
    format!("{} #{}\n", words.join(" "), remarks.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(processor: u8, sessions: Option<u64>) -> Reading {
        Reading {
            load: Some(Ok(Load {
                processor,
                memory: 20,
            })),
            sessions: sessions.map(Ok),
        }
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
    fn what_is_not_known_is_not_told_as_a_share() {
        let reading = Reading {
            load: Some(Err("/proc/stat: no such file".into())),
            sessions: Some(Err("the command did not end within 5 s".into())),
        };
        assert_eq!(
            line(&reading, None, Some(10)),
            "up ready #load unknown: /proc/stat: no such file, sessions unknown: the command did not end within 5 s\n"
        );
        assert_eq!(
            line(&Reading::default(), None, None),
            "up ready #load not measured yet\n"
        );
    }
}
