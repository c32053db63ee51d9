//! Going on elsewhere: which server may take over a session that is not bound to its own, what
//! workers are told to move, and what comes of it.

use crate::config::Protocol;
use crate::name::{ServerKey, SessionId};
use crate::replica::{CopyReason, Identity, Mode, Proof, ResourceView};
use crate::session::Session;
use crate::snapshot::{PoolView, ServerView};
use crate::standing::{Reason, Standing};
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// What a session of an NBD pool uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The resource.
    pub resource: String,
    /// What the copy that it began on was known by; `None`: nothing can stand in for that.
    pub began_on: Option<Identity>,
}

/// Why a session stays where it is, whatever other servers have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Its pool is of another kind: the user's work is on the server.
    Protocol(&'static str),
    /// Its client has not said yet what it wants.
    NotAttached,
    /// The resource is no longer in the file.
    NoResource(String),
    /// Nothing stands in for the resource, by the configuration.
    Rule(String, &'static str),
    /// Of the copy that it began on too little is known: its size alone, or it is still being read.
    Unknown(String),
    /// It is a user's stay on a server, and has no download that another one could go on with.
    NoDownload,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(protocol) => write!(
                f,
                "it belongs to a pool of protocol {protocol}, whose users' work is on their server"
            ),
            Self::NotAttached => f.write_str("its client has not said yet which resource it wants"),
            Self::NoResource(name) => write!(f, "its resource {name} is no longer in the file"),
            Self::Rule(name, why) => write!(f, "its resource {name} {why}"),
            Self::Unknown(name) => write!(
                f,
                "too little is known so far of the copy of {name} that it began on"
            ),
            Self::NoDownload => {
                f.write_str("it has no download at present that another server could go on with")
            }
        }
    }
}

/// What another server must have to take a session over.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Needs<'a> {
    /// A copy of this resource that is identical to the one known by this.
    Copy(&'a ResourceView, &'a Identity),
    /// The same file: its answer will tell.
    ByAnswer,
}

impl Needs<'_> {
    /// Whether a server may take the session over.
    pub fn met_by(self, server: &ServerView) -> Result<(), NotTaken> {
        match self {
            Self::Copy(resource, began_on) => may_take_over(server, resource, began_on),
            Self::ByAnswer => has_place(server),
        }
    }
}

/// Whether a session that uses this may go on elsewhere, and what is needed for that.
pub(crate) fn needs_of<'a>(
    pool: &'a PoolView,
    session: &Session,
    attachment: Option<&'a Attachment>,
) -> Result<Needs<'a>, Bound> {
    match pool.config.protocol {
        Protocol::Nbd => {
            let (resource, began_on) = resource_of(pool, attachment)?;
            Ok(Needs::Copy(resource, began_on))
        }
        Protocol::Http if pool.config.http.replica => match session.can_move() {
            true => Ok(Needs::ByAnswer),
            false => Err(Bound::NoDownload),
        },
        protocol => Err(Bound::Protocol(protocol.label())),
    }
}

/// The resource that a session of an NBD pool uses, and what a copy of it must be identical to.
fn resource_of<'a>(
    pool: &'a PoolView,
    attachment: Option<&'a Attachment>,
) -> Result<(&'a ResourceView, &'a Identity), Bound> {
    let attachment = attachment.ok_or(Bound::NotAttached)?;
    let name = || attachment.resource.clone();
    let resource = pool.replicas.resource(&attachment.resource);
    let resource = resource.ok_or_else(|| Bound::NoResource(name()))?;
    match resource.rule.mode {
        Mode::Private => {
            let why = "is private: one server serves it, and nothing stands in";
            return Err(Bound::Rule(name(), why));
        }
        Mode::Maintenance => return Err(Bound::Rule(name(), "is in maintenance")),
        Mode::Shared if resource.rule.assigned().is_some() => {
            let why = "has `balance = \"off\"`: one server serves it, and nothing stands in";
            return Err(Bound::Rule(name(), why));
        }
        Mode::Shared => {}
    }
    let began_on = attachment.began_on.as_ref();
    Ok((resource, began_on.ok_or_else(|| Bound::Unknown(name()))?))
}

/// Why a server does not take a session over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// It takes no sessions at present.
    Standing(Reason),
    /// It has as many sessions as it may have.
    Full,
    /// Its copy is not known to be the same.
    Copy(CopyReason),
}

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standing(reason) => {
                write!(f, "takes no sessions at present ({})", reason.label())
            }
            Self::Full => f.write_str("has as many sessions as it may have"),
            Self::Copy(reason) => write!(f, "cannot stand in: {reason}"),
        }
    }
}

/// Whether a server's standing lets it take sessions over. It need not admit new ones if that is only
/// because its pool is closing, or because new ones are served other copies.
pub(crate) fn takes_over(standing: Standing) -> bool {
    standing.admits_new || matches!(standing.reason, Reason::Closing | Reason::NoCopy)
}

/// Whether a server may take over a session that began on a copy known by `began_on`.
pub fn may_take_over(
    server: &ServerView,
    resource: &ResourceView,
    began_on: &Identity,
) -> Result<(), NotTaken> {
    match resource.may_stand_in(server.key, began_on) {
        Ok(Proof::Known) => {}
        Ok(Proof::ByAnswer) => return Err(NotTaken::Copy(CopyReason::ByAnswer)),
        Err(reason) => return Err(NotTaken::Copy(reason)),
    }
    has_place(server)
}

/// Whether a server may have one more session that has to go on elsewhere.
pub(crate) fn has_place(server: &ServerView) -> Result<(), NotTaken> {
    if !takes_over(server.standing) {
        return Err(NotTaken::Standing(server.standing.reason));
    }
    match server.has_room() {
        true => Ok(()),
        false => Err(NotTaken::Full),
    }
}

/// What workers are told: these sessions are wanted on another server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveOrder {
    /// The server that they are on. Those that have left it meanwhile stay where they are.
    pub from: ServerKey,
    /// Which.
    pub sessions: BTreeSet<SessionId>,
    /// Where to; `None`: to any server that may take them over.
    pub to: Option<ServerKey>,
    /// Their connections to the server are cut first, as if it had died.
    pub cut: bool,
}

/// A session goes on with another server, or with its own again after that was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Which session.
    pub session: SessionId,
    /// The server that it was on.
    pub from: ServerKey,
    /// The server that it is on.
    pub to: ServerKey,
    /// For how long it had no server to ask.
    pub pause: Duration,
}

/// A pause as people read it: `0.3 ms`, `340 ms`, `2.5 s`.
pub(crate) fn pause_text(pause: Duration) -> String {
    match pause.as_millis() {
        0..100 => format!("{:.1} ms", pause.as_secs_f64() * 1000.0),
        100..1000 => format!("{} ms", pause.as_millis()),
        _ => format!("{:.1} s", pause.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_read_as_people_write_them() {
        let texts = [0, 1_240, 99_900, 340_000, 999_999, 2_500_000]
            .map(|us| pause_text(Duration::from_micros(us)));
        let expected = ["0.0 ms", "1.2 ms", "99.9 ms", "340 ms", "999 ms", "2.5 s"];
        assert_eq!(texts, expected);
    }
}
