//! The words of transcripts: how they are read, and how what happens is put into them.

use super::*;

pub(super) fn describe(write: &Write) -> String {
    match write {
        Write::Intent(name, record) => {
            let intent = format!("{:?}", record.intent);
            let word = intent.split([' ', '{']).next().unwrap_or_default();
            format!("{name} wants {word}")
        }
        Write::PoolIntent(name, record) => {
            let intent = format!("{:?}", record.intent);
            let word = intent.split([' ', '{', '(']).next().unwrap_or_default();
            format!("pool {name} wants {word}")
        }
        Write::Versions(name, Some(versions)) => {
            let versions = versions.iter().map(|(server, before)| match before {
                VersionBefore::NotAsked => format!("{server} -"),
                VersionBefore::Unknown => format!("{server} ?"),
                VersionBefore::Said(page) => format!("{server} {}", page.says),
            });
            let versions: Vec<String> = versions.collect();
            format!("versions of {name} before: {}", versions.join(", "))
        }
        Write::Versions(name, None) => format!("versions of {name} forgotten"),
        Write::Door(id, Some(_)) => format!("door {id} is open"),
        Write::Door(id, None) => format!("door {id} forgotten"),
        Write::Epoch(name, epoch) => format!("{name} epoch {epoch}"),
        Write::LiveServer(name, _) => format!("{name} is live"),
        Write::Removed(name) => format!("{name} is gone"),
        Write::Override(name, set) => format!("{name} set {:?} {:?}", set.weight, set.max_sessions),
        Write::EndedSession { id, .. } => format!("ended {id}"),
        Write::TokenSecrets(_) => "secrets".into(),
        // What was said is to be found there as it was said.
        Write::Audit(entry) if entry.action == "sessions tell" => {
            format!("audit {} {}", entry.actor.who, entry.outcome)
        }
        Write::Audit(entry) => format!(
            "audit {} {} {}{}",
            entry.actor.who,
            entry.action,
            entry.target,
            if entry.forced { " FORCED" } else { "" }
        ),
    }
}

/// Who wanted something, and the words that go with it.
pub(super) fn by(who: Option<&str>, words: Option<&str>) -> String {
    let who = who.map_or(String::new(), |who| format!(", by {who}"));
    let words = words.map(|words| format!(": {}", words.escape_debug()));
    who + &words.unwrap_or_default()
}

pub(super) fn close(options: &[&str]) -> Close {
    let mut close = Close::default();
    for option in options {
        match option.split_once('=').unwrap_or((option, "")) {
            ("within", span) => close.within = Some(millis(span)),
            ("for", span) => close.lasting = Some(millis(span)),
            // Words of a script have no white space.
            ("message", text) => close.message = Some(unescaped(text)),
            ("new-until-deadline", _) => close.block_new = Some(BlockNew::AtDeadline),
            ("until-upgraded", _) => close.until_upgraded = Some(true),
            other => panic!("{other:?} means nothing to `close`"),
        }
    }
    close
}

pub(super) fn unescaped(text: &str) -> String {
    let text = text.replace("\\r", "\r").replace("\\n", "\n");
    text.replace("\\t", "\t").replace('_', " ")
}

pub(super) fn identity(digest: u8) -> Identity {
    Identity {
        digest: Some(Digest([digest; 32])),
        ..Identity::of_size(1024)
    }
}

pub(super) fn disk(mode: &str) -> ResourceConfig {
    let mut disk = ResourceConfig::shared(mode);
    match mode {
        "private" => (disk.mode, disk.server) = (Mode::Private, Some("web1".into())),
        "unbalanced" => (disk.balance, disk.server) = (false, Some("web1".into())),
        _ => {}
    }
    disk
}

pub(super) fn session(id: &str) -> SessionId {
    SessionId(id.trim_start_matches('s').parse().unwrap())
}

pub(super) fn millis(text: &str) -> Millis {
    let (number, unit) = text.split_at(text.len() - 1);
    let number: u64 = number.parse().unwrap();
    Millis::from_secs(match unit {
        "s" => number,
        "m" => number * 60,
        "h" => number * 3600,
        _ => panic!("{text:?} has no unit"),
    })
}
