//! A session whose client began on one copy of a resource and may go on with any that is identical:
//! what a snapshot means for it, and which server it goes on with.

use super::Mode;
use super::identity::{Difference, Identity};
use super::reason::CopyReason;
use super::view::{Proof, ResourceView};
use crate::balance::stand_in;
use crate::intent::PoolIntent;
use crate::name::ServerKey;
use crate::session::Session;
use crate::snapshot::{Place, PoolView, ServerView};
use crate::standing::Reason;
use crate::takeover::Needs;

/// What a snapshot means for such a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// It stays where it is.
    Stay,
    /// Another server is to be found, and may be taken time for.
    Move,
    /// The same, and this one must be left within moments.
    MustMove,
    /// What its server sends is not what the client began on.
    OtherCopy,
    /// It is over.
    End,
}

impl ResourceView {
    /// What a client that begins on this server's copy is kept with; `None` if nothing may stand in
    /// for that copy.
    pub fn to_keep(&self, server: ServerKey) -> Option<&Identity> {
        let known = self.identity(server)?;
        (self.may_stand_in(server, known) == Ok(Proof::Known)).then_some(known)
    }

    /// What a client is kept with that began on this server's copy while that was read, or before: by
    /// now it is known, and it was under Ebbtide's eyes all the time (`watch`, as [`CopyView::watch`] was
    /// then). So what was read is what the client is served, as long as nobody changes the bytes of a
    /// running server. `size`: what the server showed the client.
    pub fn to_keep_since(&self, server: ServerKey, watch: u64, size: u64) -> Option<&Identity> {
        let is_same = self.copy(server)?.watch == Some(watch);
        let identity = self.to_keep(server)?;
        (is_same && identity.size == size).then_some(identity)
    }

    /// Whether a server's copy is known not to be the one that a client began on.
    pub fn is_other_copy(&self, server: ServerKey, began_on: &Identity) -> bool {
        match self.may_stand_in(server, began_on) {
            Err(CopyReason::Contradicted { .. }) => true,
            Err(CopyReason::Differs { difference, .. }) => {
                !matches!(difference, Difference::OnlySize | Difference::NothingShared)
            }
            _ => false,
        }
    }
}

impl PoolView {
    /// What this view means for a session that uses `resource` and began on the copy known by
    /// `began_on`. `is_served`: it has a server at present.
    pub fn outlook(
        &self,
        session: &Session,
        resource: &str,
        began_on: &Identity,
        is_served: bool,
    ) -> Outlook {
        if matches!(self.intent, PoolIntent::Closed(_)) {
            return Outlook::End;
        }
        let Some(resource) = self.replicas.resource(resource) else {
            // A reload closes nothing that it does not have to.
            return Outlook::Stay;
        };
        if resource.rule.mode == Mode::Maintenance {
            return Outlook::End;
        }
        let Some(server) = self.server_of(session) else {
            return Outlook::Move;
        };
        if is_served && resource.is_other_copy(server.key, began_on) {
            return Outlook::OtherCopy;
        }
        if server.epoch != session.epoch || server.standing.ends_work() {
            return Outlook::MustMove;
        }
        match server.standing.reason {
            Reason::Draining | Reason::Down | Reason::Removed => Outlook::Move,
            _ => Outlook::Stay,
        }
    }

    /// The least busy server whose copy of `resource` may stand in for the one known by `began_on`,
    /// and a place there. Those of `tried` are left out; `only`: no others will do.
    pub fn take_place(
        &self,
        resource: &str,
        began_on: &Identity,
        (tried, only): (&[ServerKey], Option<&[ServerKey]>),
        dice: u64,
    ) -> Option<(&ServerView, Place)> {
        let resource = self.replicas.resource(resource)?;
        let needs = Needs::Copy(resource, began_on);
        self.take_place_of(needs, (tried, only), dice)
    }

    /// The same where the server's answer will tell which copy it has.
    pub fn take_place_by_answer(
        &self,
        (tried, only): (&[ServerKey], Option<&[ServerKey]>),
        dice: u64,
    ) -> Option<(&ServerView, Place)> {
        self.take_place_of(Needs::ByAnswer, (tried, only), dice)
    }

    fn take_place_of(
        &self,
        needs: Needs<'_>,
        (tried, only): (&[ServerKey], Option<&[ServerKey]>),
        dice: u64,
    ) -> Option<(&ServerView, Place)> {
        let may = |server: &ServerView| {
            !tried.contains(&server.key)
                && only.is_none_or(|only| only.contains(&server.key))
                && needs.met_by(server).is_ok()
        };
        // Another worker may take the last place between the look and the attempt: the next round
        // finds out.
        let server = stand_in(self, may, dice)?;
        Some((server, server.reserve()?))
    }
}
