//! Off by itself: a closed pool opens when every server of it shows another version than before,
//! the one that is expected, and is well.
//!
//! What the servers said before is asked for as soon as the pool begins to close, and stored, so
//! that a restart in the middle does not take the new version for the old one.

use crate::command::Actor;
use crate::config::UpgradeCheck;
use crate::driver::Output;
use crate::driver::change::{PoolEdit, event};
use crate::driver::state::{PoolState, ServerState, State};
use crate::event::EventKind;
use crate::health::{Health, Page};
use crate::intent::{Intent, PoolIntent};
use crate::name::ServerName;
use crate::record::{AuditEntry, PoolIntentRecord, StoredPoolIntent, Write};
use crate::time::{Moment, Now, WallTime};
use crate::upgrade::{VersionAnswer, VersionBefore, Versions};
use std::collections::BTreeMap;

/// Servers that are named when it is said what a pool waits for.
const SHOWN_MAX: usize = 4;

/// What is known of a pool's upgrade, from the command that closes it until it opens.
#[derive(Default)]
pub(in crate::driver) struct Upgrade {
    before: Versions,
    /// What the servers said last, while the pool is closed.
    seen: BTreeMap<String, Seen>,
    /// When it was closed: on the wall clock, as its record says, and on the boot clock.
    closed: Option<(WallTime, Moment)>,
    /// Its time is over, and that has been told.
    gave_up: bool,
    /// The pool was opened since, or is to be opened by hand.
    pub over: bool,
    /// `before` is not in the store yet.
    unsaved: bool,
}

struct Seen {
    answer: VersionAnswer,
    /// Good answers in a row.
    good: u32,
}

impl Upgrade {
    /// Begins: every server of the pool is to be asked what it says now.
    fn of(pool: Option<&PoolState>) -> Self {
        let servers = pool.into_iter().flat_map(|pool| &pool.order);
        Self {
            before: servers
                .map(|name| (name.server.clone(), VersionBefore::NotAsked))
                .collect(),
            unsaved: true,
            ..Self::default()
        }
    }

    /// Takes up what was stored.
    pub fn restored(before: Versions) -> Self {
        Self {
            before,
            ..Self::default()
        }
    }

    /// Keeps an answer as what the server said before, if that is still to be known. While the pool
    /// is closing a server that did not answer may still do so; from then on it may be a new one.
    fn remember(&mut self, server: &str, answer: &VersionAnswer, is_closed: bool) {
        let Some(before) = self.before.get_mut(server) else {
            return;
        };
        let known = match (&*before, answer) {
            (VersionBefore::NotAsked, VersionAnswer::Page { page, .. }) => {
                VersionBefore::Said(page.clone())
            }
            (VersionBefore::Unknown, VersionAnswer::Page { page, .. }) if !is_closed => {
                VersionBefore::Said(page.clone())
            }
            (VersionBefore::NotAsked, VersionAnswer::Failed(_)) => VersionBefore::Unknown,
            _ => return,
        };
        *before = known;
        self.unsaved = true;
    }

    /// Whether an answer shows the upgraded server. One whose version before is unknown must be told
    /// by what is expected.
    fn is_new(&self, server: &str, answer: &VersionAnswer, check: &UpgradeCheck) -> bool {
        let VersionAnswer::Page { page, matches } = answer else {
            return false;
        };
        let changed = match self.before.get(server) {
            Some(VersionBefore::Said(before)) => before.digest != page.digest,
            _ => check.expect.is_some(),
        };
        changed && *matches
    }

    /// What the pool still waits for at this server; `None`: nothing.
    fn lacks(
        &self,
        name: &ServerName,
        server: &ServerState,
        check: &UpgradeCheck,
    ) -> Option<String> {
        if let Some(why) = server.is_unwell() {
            return Some(why.to_owned());
        }
        let Some(seen) = self.seen.get(&name.server) else {
            return Some("was not asked yet".to_owned());
        };
        let (page, matches) = match &seen.answer {
            VersionAnswer::Failed(why) => return Some(why.clone()),
            VersionAnswer::Page { page, matches } => (page, *matches),
        };
        let says = &page.says;
        if self.is_new(&name.server, &seen.answer, check) {
            return (seen.good < check.probes)
                .then(|| format!("says {says:?}, {} of {} times", seen.good, check.probes));
        }
        Some(match self.before.get(&name.server) {
            Some(VersionBefore::Said(before)) if before.digest == page.digest => {
                format!("still says {says:?}")
            }
            _ if !matches => format!("says {says:?}, which is not what `expect` asks for"),
            _ => format!(
                "says {says:?}, and what it said before is unknown; give the check an `expect`, or \
                 open the pool by hand"
            ),
        })
    }
}

impl ServerState {
    /// Why it is not well enough for an upgraded pool to open.
    fn is_unwell(&self) -> Option<&'static str> {
        match (self.known_health(), self.health.page) {
            (Health::Up, Page::OnHold) => Some("reports that it is on hold"),
            (Health::Up, Page::AllInUse) => Some("reports that all its sessions are in use"),
            (Health::Up | Health::Unchecked, _) => None,
            (Health::Down, _) => Some("is down"),
            (Health::Unproven | Health::Starting, _) => Some("was not probed yet"),
        }
    }
}

impl State {
    /// A server was asked for its version page.
    pub fn version_answered(&mut self, name: &ServerName, answer: VersionAnswer) {
        let pool = self.pools.get(&name.pool);
        let check = pool.and_then(|pool| pool.config.upgrade.as_ref());
        let server = self.servers.get(name).filter(|server| server.present);
        let wish = self.wishes.get_mut(&name.pool);
        let (Some(check), Some(server), Some(wish)) = (check, server, wish) else {
            return;
        };
        let is_closed = matches!(wish.intent, PoolIntent::Closed(_));
        if !wish.intent.opens_by_itself() {
            return;
        }
        wish.upgrade.take_if(|upgrade| upgrade.over);
        let upgrade = wish.upgrade.get_or_insert_with(|| Upgrade::of(pool));
        upgrade.remember(&name.server, &answer, is_closed);
        if !is_closed {
            return;
        }
        let is_good = server.is_unwell().is_none() && upgrade.is_new(&name.server, &answer, check);
        let before = upgrade.seen.get(&name.server).map_or(0, |seen| seen.good);
        let good = if is_good { before.saturating_add(1) } else { 0 };
        upgrade
            .seen
            .insert(name.server.clone(), Seen { answer, good });
    }

    /// Begins, goes on with and ends what is known of upgrades; returns what must be stored of it.
    pub fn settle_upgrades(&mut self, now: Now, outputs: &mut Vec<Output>) -> Vec<Write> {
        let concerned: Vec<String> = self
            .wishes
            .iter()
            .filter(|(_, wish)| wish.upgrade.is_some() || wish.intent.opens_by_itself())
            .map(|(name, _)| name.clone())
            .collect();
        let mut writes = Vec::new();
        for pool in concerned {
            self.settle_upgrade(pool, now, outputs, &mut writes);
        }
        writes
    }

    fn settle_upgrade(
        &mut self,
        pool: String,
        now: Now,
        outputs: &mut Vec<Output>,
        writes: &mut Vec<Write>,
    ) {
        let Some(wish) = self.wishes.get_mut(&pool) else {
            return;
        };
        if !wish.intent.opens_by_itself() {
            wish.upgrade = None;
            writes.push(Write::Versions(pool, None));
            return;
        }
        let state = self.pools.get(&pool);
        wish.upgrade.take_if(|upgrade| upgrade.over);
        let upgrade = wish.upgrade.get_or_insert_with(|| Upgrade::of(state));
        if std::mem::take(&mut upgrade.unsaved) {
            writes.push(Write::Versions(pool.clone(), Some(upgrade.before.clone())));
        }
        let since = wish.record.as_ref().map(|record| record.since);
        let (PoolIntent::Closed(_), Some(since)) = (&wish.intent, since) else {
            return;
        };
        let closed = match upgrade.closed {
            Some((of, closed)) if of == since => closed,
            _ => {
                // A wall clock that stepped cannot give it more time than the check allows.
                let closed = now.moment_at(since).min(now.moment);
                upgrade.closed = Some((since, closed));
                upgrade.gave_up = false;
                closed
            }
        };
        let Some(check) = state.and_then(|pool| pool.config.upgrade.clone()) else {
            return;
        };
        if now.moment >= closed.plus(check.within) {
            if !std::mem::replace(&mut upgrade.gave_up, true) {
                self.give_up(pool, now, outputs, writes);
            }
            return;
        }
        if self.is_upgraded(&pool, &check) {
            self.open_upgraded(pool, now, outputs, writes);
        }
    }

    /// Tells that a pool does not open by itself any more.
    fn give_up(&self, pool: String, now: Now, outputs: &mut Vec<Output>, writes: &mut Vec<Write>) {
        let why = self.waits_for(&pool).unwrap_or_default();
        writes.push(Write::Audit(AuditEntry {
            at: now.wall,
            actor: Actor::ebbtide(),
            action: "stays closed".into(),
            target: pool.clone(),
            outcome: why.clone(),
            forced: false,
        }));
        outputs.push(event(None, EventKind::StaysClosed { pool, why }, now));
    }

    /// Whether the pool was to open by itself, and its time for that is over.
    pub fn gave_up(&self, pool: &str) -> bool {
        let wish = self.wishes.get(pool);
        let upgrade = wish.and_then(|wish| wish.upgrade.as_ref());
        upgrade.is_some_and(|upgrade| upgrade.gave_up)
    }

    /// The servers that must be upgraded: those that are wanted in traffic.
    fn wanted_of<'a>(
        &'a self,
        pool: &'a str,
    ) -> impl Iterator<Item = (&'a ServerName, &'a ServerState)> {
        let order = self.pools.get(pool).map_or(&[][..], |pool| &pool.order);
        order
            .iter()
            .filter_map(|name| Some((name, self.servers.get(name)?)))
            .filter(|(_, server)| server.intent == Intent::Ready)
    }

    fn is_upgraded(&self, pool: &str, check: &UpgradeCheck) -> bool {
        let Some(upgrade) = self.wishes.get(pool).and_then(|wish| wish.upgrade.as_ref()) else {
            return false;
        };
        let mut wanted = self.wanted_of(pool).peekable();
        wanted.peek().is_some()
            && wanted.all(|(name, server)| upgrade.lacks(name, server, check).is_none())
    }

    fn open_upgraded(
        &mut self,
        pool: String,
        now: Now,
        outputs: &mut Vec<Output>,
        writes: &mut Vec<Write>,
    ) {
        let servers = self.wanted_of(&pool).count();
        let outcome =
            format!("opened by itself: all {servers} servers of it are upgraded and well");
        if let Some(wish) = self.wishes.get_mut(&pool) {
            wish.revision += 1;
            wish.upgrade = None;
        }
        let actor = Actor::ebbtide();
        let record = PoolIntentRecord {
            intent: StoredPoolIntent::Open,
            closures: self.closures(&pool),
            since: now.wall,
            by: actor.who.clone(),
            reason: Some(outcome.clone()),
        };
        writes.push(Write::PoolIntent(pool.clone(), record.clone()));
        writes.push(Write::Versions(pool.clone(), None));
        writes.push(Write::Audit(AuditEntry {
            at: now.wall,
            actor,
            action: "open".into(),
            target: pool.clone(),
            outcome,
            forced: false,
        }));
        let edit = PoolEdit {
            intent: PoolIntent::Open,
            record,
            epochs: Vec::new(),
        };
        self.want_of_pool(&pool, edit, now, outputs);
    }

    /// What a closed pool waits for before it opens by itself, for people.
    pub fn waits_for(&self, pool: &str) -> Option<String> {
        let wish = self.wishes.get(pool)?;
        let upgrade = wish.upgrade.as_ref()?;
        if !matches!(wish.intent, PoolIntent::Closed(_)) {
            return None;
        }
        let Some(check) = &self.pools.get(pool)?.config.upgrade else {
            return Some(
                "the configuration has no `upgrade` check for it any more: open it by hand".into(),
            );
        };
        let lacking: Vec<String> = self
            .wanted_of(pool)
            .filter_map(|(name, server)| {
                let lack = upgrade.lacks(name, server, check)?;
                Some(format!("{}: {lack}", name.server))
            })
            .collect();
        let mut text = lacking[..lacking.len().min(SHOWN_MAX)].join("; ");
        if lacking.len() > SHOWN_MAX {
            text.push_str(&format!("; and {} more", lacking.len() - SHOWN_MAX));
        }
        if lacking.is_empty() {
            text = "every server of it is upgraded and well".into();
        }
        if self.wanted_of(pool).next().is_none() {
            text = "no server of it is wanted in traffic".into();
        }
        if upgrade.gave_up {
            let within = check.within;
            return Some(format!(
                "it stays closed until it is opened by hand: within {within} not every server was \
                 upgraded and well; now: {text}"
            ));
        }
        Some(text)
    }
}
