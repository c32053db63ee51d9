//! Closing and opening a whole pool: the plans of its commands, and the end of a countdown.

use crate::command::{Actor, Refusal};
use crate::driver::Output;
use crate::driver::change::{Change, Plan, PoolEdit, event};
use crate::driver::commands::Planner;
use crate::driver::state::State;
use crate::driver::upgrade::Upgrade;
use crate::event::{EventKind, count, how_ended};
use crate::intent::{BlockNew, Closing, Closure, PoolIntent};
use crate::name::{ServerName, is_plain};
use crate::record::{AuditEntry, PoolIntentRecord, StoredPoolIntent, Write};
use crate::session::EndReason;
use crate::standing::Reason;
use crate::time::{Millis, Moment, Now, WallTime};

/// The longest countdown to a pool's closure: a week.
pub const CLOSE_MAX: Millis = Millis::from_secs(7 * 24 * 3600);
/// The longest closure that can be foretold: a month.
const CLOSED_MAX: Millis = Millis::from_secs(31 * 24 * 3600);
/// The longest message to users, in characters.
pub(super) const MESSAGE_MAX: usize = 1000;

/// What is wanted of a pool; kept also while the file does not name the pool.
#[derive(Default)]
pub(in crate::driver) struct PoolWish {
    pub intent: PoolIntent,
    pub record: Option<PoolIntentRecord>,
    /// While it is to open by itself.
    pub upgrade: Option<Upgrade>,
    /// Rises with whatever the driver does to it by itself; a plan made before that is stale.
    pub revision: u64,
}

/// What an operator asks of a closure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Close {
    /// From now to the deadline; on a pool that is closing already, the new deadline. `None`: leaves
    /// a running countdown as it is.
    pub within: Option<Millis>,
    /// What users are told; `None` keeps what they are told already, and nothing but white space
    /// takes it away.
    pub message: Option<String>,
    /// How long the pool will probably be closed, from the deadline on.
    pub lasting: Option<Millis>,
    /// When new sessions are refused; `None` keeps what is, at first `Now`.
    pub block_new: Option<BlockNew>,
    /// Opens by itself when the pool's upgrade check says so; `None` keeps what is.
    pub until_upgraded: Option<bool>,
}

impl Planner<'_> {
    /// Closes a pool, or changes how it is closing or closed.
    pub fn close(&self, pool: String, mut asked: Close) -> Result<Plan, Refusal> {
        let present = self.state.present_pool(&pool)?;
        asked.message = message(&format!("pool {pool}"), asked.message)?;
        for (what, span, max) in [
            ("--within", asked.within, CLOSE_MAX),
            ("--for", asked.lasting, CLOSED_MAX),
        ] {
            if span.is_some_and(|span| span > max) {
                let days = max.0 / (24 * 3600 * 1000);
                return Err(Refusal::invalid(format!(
                    "{what} of `close {pool}` goes up to {days} days; nothing was changed"
                )));
            }
        }
        if asked.until_upgraded == Some(true) && present.config.upgrade.is_none() {
            return Err(Refusal::invalid(format!(
                "pool {pool} has no `upgrade` check in the configuration, so it cannot open by \
                 itself; close it without --until-upgraded, or add the check and reload"
            )));
        }
        let now = self.state.wish(&pool);
        let sessions: u32 = self.state.sessions_of(&pool);
        let (intent, text) = match now {
            PoolIntent::Closed(closure) => {
                if asked.within.is_some() {
                    return Err(Refusal::invalid(format!(
                        "pool {pool} is closed already: a deadline makes no sense; to open it: \
                         ebbtide open {pool}"
                    )));
                }
                let new = self.closure(closure, &asked, self.now.moment);
                let text = still_closed(&pool, closure, &new);
                (PoolIntent::Closed(new), text)
            }
            PoolIntent::Open | PoolIntent::Closing(_) => {
                let closing = self.closing(&pool, now, &asked)?;
                if closing.within == Millis(0) {
                    let text = format!(
                        "pool {pool} is closed; {} ended",
                        count(sessions, "session")
                    );
                    (PoolIntent::Closed(closing.closure), text)
                } else {
                    let left = closing.deadline.since(self.now.moment);
                    let intent = PoolIntent::Closing(closing);
                    let when = match (now.deadline(), asked.within) {
                        (None, _) => format!("{left} from now"),
                        (Some(_), Some(_)) => format!("a new deadline, {left} from now"),
                        (Some(_), None) if intent == *now => {
                            format!("nothing was changed, {left} from now")
                        }
                        (Some(_), None) => format!("the deadline stays, {left} from now"),
                    };
                    let text = format!(
                        "pool {pool} is closing: {when}; {} in it{}",
                        count(sessions, "session"),
                        match intent.blocks_new() {
                            true => ", no new ones",
                            false => "; new ones until the deadline",
                        }
                    );
                    (intent, text)
                }
            }
        };
        Ok(self.of_pool("close", pool, intent, text))
    }

    /// Opens a pool, or ends its countdown.
    pub fn open(&self, pool: String) -> Result<Plan, Refusal> {
        let present = self.state.present_pool(&pool)?;
        let admitting = self
            .state
            .judge_servers(&present.order)
            .into_iter()
            .filter(|(_, standing)| standing.admits_new && standing.reason != Reason::LastResort)
            .count();
        let admits = match admitting {
            0 => "but no server of it admits sessions: see `ebbtide status`".to_owned(),
            1 => "1 server of it admits sessions".to_owned(),
            number => format!("{number} servers of it admit sessions"),
        };
        let text = match self.state.wish(&pool) {
            PoolIntent::Open => {
                format!("pool {pool} was open already, nothing was changed; {admits}")
            }
            PoolIntent::Closing(_) => {
                format!("pool {pool} stays open: its closing is off; {admits}")
            }
            PoolIntent::Closed(_) => format!("pool {pool} is open again; {admits}"),
        };
        Ok(self.of_pool("open", pool, PoolIntent::Open, text))
    }

    fn closing(&self, pool: &str, now: &PoolIntent, asked: &Close) -> Result<Closing, Refusal> {
        let known = match now {
            PoolIntent::Closing(closing) => Some(closing),
            _ => None,
        };
        let (deadline, within) = match (asked.within, known) {
            (Some(within), _) => (self.now.moment.plus(within), within),
            (None, Some(closing)) => (closing.deadline, closing.within),
            (None, None) => {
                return Err(Refusal::invalid(format!(
                    "say when pool {pool} closes: ebbtide close {pool} --within 15m (0s: at once)"
                )));
            }
        };
        let before = known.map(|closing| closing.closure.clone());
        Ok(Closing {
            deadline,
            within,
            block_new: asked
                .block_new
                .or(known.map(|closing| closing.block_new))
                .unwrap_or_default(),
            closure: self.closure(&before.unwrap_or_default(), asked, deadline),
        })
    }

    fn closure(&self, before: &Closure, asked: &Close, from: Moment) -> Closure {
        let foretold = |lasting: Millis| self.now.wall_at(from.plus(lasting));
        Closure {
            message: asked
                .message
                .as_ref()
                .or(before.message.as_ref())
                .filter(|message| !message.is_empty())
                .cloned(),
            expected_end: asked.lasting.map(foretold).or(before.expected_end),
            until_upgraded: asked.until_upgraded.unwrap_or(before.until_upgraded),
        }
    }

    /// The plan for a new intent of a pool: closing it ends every session by new epochs.
    fn of_pool(
        &self,
        action: &'static str,
        pool: String,
        intent: PoolIntent,
        text: String,
    ) -> Plan {
        let was_closed = matches!(self.state.wish(&pool), PoolIntent::Closed(_));
        let closes = matches!(intent, PoolIntent::Closed(_)) && !was_closed;
        let record = PoolIntentRecord {
            intent: self.stored_pool(&intent),
            closures: self.state.closures(&pool) + u32::from(closes),
            // A countdown that is changed is still the one that was begun.
            since: match (&intent, self.state.wish(&pool)) {
                (PoolIntent::Closing(_), PoolIntent::Closing(_)) => self.state.wanted_since(&pool),
                _ => None,
            }
            .unwrap_or(self.now.wall),
            by: self.actor.who.clone(),
            reason: self.actor.reason.clone(),
        };
        let epochs = match closes {
            true => self.state.next_epochs(&pool),
            false => Vec::new(),
        };
        let mut writes = vec![Write::PoolIntent(pool.clone(), record.clone())];
        let epoch_writes = epochs.iter();
        writes.extend(epoch_writes.map(|(name, epoch)| Write::Epoch(name.clone(), *epoch)));
        let deadline = intent.deadline().map(|moment| self.now.wall_at(moment));
        let change = Change::Pool {
            name: pool.clone(),
            revision: self.state.pool_revision(&pool),
            edit: PoolEdit {
                intent,
                record,
                epochs,
            },
        };
        let mut plan = self.plan(action, pool, change, writes, text, false);
        plan.answer.deadline = deadline;
        plan
    }

    fn stored_pool(&self, intent: &PoolIntent) -> StoredPoolIntent {
        match intent {
            PoolIntent::Open => StoredPoolIntent::Open,
            PoolIntent::Closed(closure) => StoredPoolIntent::Closed(closure.clone()),
            PoolIntent::Closing(closing) => StoredPoolIntent::Closing {
                boot: self.state.boot.clone(),
                moment: closing.deadline,
                wall: self.now.wall_at(closing.deadline),
                within: closing.within,
                block_new: closing.block_new,
                closure: closing.closure.clone(),
            },
        }
    }
}

/// What an operator is told of a pool that was closed already.
fn still_closed(pool: &str, before: &Closure, after: &Closure) -> String {
    if before == after && !after.until_upgraded {
        return format!("pool {pool} is closed already; nothing was changed");
    }
    let mut text = format!("pool {pool} stays closed");
    if (&before.message, before.expected_end) != (&after.message, after.expected_end) {
        text += "; what users are told has changed";
    }
    if after.until_upgraded {
        text += "; the time within which it may open by itself begins now";
    } else if before.until_upgraded {
        text += "; it does not open by itself any more";
    }
    text
}

/// What users are to be told, its lines ended by `\n` alone; without anything to read, it is empty.
/// Refuses what they could not read as it was meant; `of` is whose users.
pub(super) fn message(of: &str, message: Option<String>) -> Result<Option<String>, Refusal> {
    let Some(message) = message else {
        return Ok(None);
    };
    let message = message.replace("\r\n", "\n").replace('\r', "\n");
    let message = message.trim();
    if message.chars().count() > MESSAGE_MAX {
        return Err(Refusal::invalid(format!(
            "the message to the users of {of} is longer than {MESSAGE_MAX} characters"
        )));
    }
    if !message.lines().all(is_plain) {
        return Err(Refusal::invalid(format!(
            "the message to the users of {of} has control characters or turns the direction of \
             reading; write plain text, in as many lines as you like"
        )));
    }
    Ok(Some(message.to_owned()))
}

/// Why something is as it is: the operator's own words, and what came of it.
pub(super) fn and_outcome(reason: Option<&String>, outcome: &str) -> Option<String> {
    Some(match reason {
        Some(reason) => format!("{reason}; {outcome}"),
        None => outcome.to_owned(),
    })
}

impl State {
    /// What is wanted of a pool.
    pub fn wish(&self, pool: &str) -> &PoolIntent {
        const OPEN: &PoolIntent = &PoolIntent::Open;
        self.wishes.get(pool).map_or(OPEN, |wish| &wish.intent)
    }

    /// How often the pool has been closed so far.
    pub fn closures(&self, pool: &str) -> u32 {
        let record = self.wishes.get(pool).and_then(|wish| wish.record.as_ref());
        record.map_or(0, |record| record.closures)
    }

    pub fn pool_revision(&self, pool: &str) -> u64 {
        self.wishes.get(pool).map_or(0, |wish| wish.revision)
    }

    /// Live sessions of a pool, all servers together.
    fn sessions_of(&self, pool: &str) -> u32 {
        let servers = self.servers_of(pool);
        servers.map(|(_, server)| server.load.sessions()).sum()
    }

    /// The epochs that forget every session of a pool, also on servers that are not in the file at
    /// present: those may come back.
    fn next_epochs(&self, pool: &str) -> Vec<(ServerName, u32)> {
        let servers = self.servers_of(pool);
        servers
            .map(|(name, server)| (name.clone(), server.epoch + 1))
            .collect()
    }

    /// Makes what was stored of a pool what is wanted of it.
    pub fn restore_pool(&mut self, name: String, record: PoolIntentRecord, now: Now) {
        let intent = match &record.intent {
            StoredPoolIntent::Open => PoolIntent::Open,
            StoredPoolIntent::Closed(closure) => PoolIntent::Closed(closure.clone()),
            StoredPoolIntent::Closing {
                boot,
                moment,
                wall,
                within,
                block_new,
                closure,
            } => PoolIntent::Closing(Closing {
                deadline: crate::record::StoredIntent::deadline(
                    boot, *moment, *wall, *within, &self.boot, now,
                ),
                within: *within,
                block_new: *block_new,
                closure: closure.clone(),
            }),
        };
        let wish = PoolWish {
            intent,
            record: Some(record),
            upgrade: None,
            revision: 0,
        };
        self.wishes.insert(name, wish);
    }

    /// Makes `edit` what is wanted of the pool; the events say so, if it was something else.
    pub fn want_of_pool(
        &mut self,
        pool: &str,
        edit: PoolEdit,
        now: Now,
        outputs: &mut Vec<Output>,
    ) {
        let wish = self.wishes.entry(pool.to_owned()).or_default();
        let closure = edit.intent.closure();
        let told = (wish.intent != edit.intent).then(|| EventKind::PoolIntent {
            pool: pool.to_owned(),
            from: wish.intent.label(),
            to: edit.intent.label(),
            deadline: edit.intent.deadline().map(|moment| now.wall_at(moment)),
            by: edit.record.by.clone(),
            message: closure.and_then(|closure| closure.message.clone()),
        });
        if let Some(upgrade) = &mut wish.upgrade {
            upgrade.over |= !edit.intent.opens_by_itself();
        }
        wish.intent = edit.intent;
        wish.record = Some(edit.record);
        for (name, epoch) in edit.epochs {
            // The end of a drain may have raised it in the meantime: then the sessions are over, and
            // the store has the same.
            if let Some(server) = self.servers.get_mut(&name)
                && epoch > server.epoch
            {
                server.raise_epoch(epoch, EndReason::Deadline);
            }
        }
        self.changed.insert(pool.to_owned());
        outputs.extend(told.map(|kind| event(None, kind, now)));
    }

    /// Closes every pool whose countdown is over; returns what must be stored of it.
    pub fn settle_pools(
        &mut self,
        acknowledged: u64,
        now: Now,
        outputs: &mut Vec<Output>,
    ) -> Vec<Write> {
        let over: Vec<(String, Closure, Option<u32>)> = self
            .wishes
            .iter()
            .filter_map(|(name, wish)| {
                let PoolIntent::Closing(closing) = &wish.intent else {
                    return None;
                };
                let ended = self.closing_end(name, closing, acknowledged, now)?;
                Some((name.clone(), closing.closure.clone(), ended))
            })
            .collect();
        let mut writes = Vec::new();
        for (pool, closure, ended) in over {
            self.finish_closing(pool, closure, ended, now, outputs, &mut writes);
        }
        writes
    }

    /// Whether a countdown is over: at the deadline (so many sessions were left), or, where nobody
    /// new comes in, when the last session is gone.
    fn closing_end(
        &self,
        pool: &str,
        closing: &Closing,
        acknowledged: u64,
        now: Now,
    ) -> Option<Option<u32>> {
        if now.moment >= closing.deadline {
            return Some(Some(self.sessions_of(pool)));
        }
        let mut servers = self.servers_of(pool);
        let is_empty = closing.block_new == BlockNew::Now
            && self.pools.contains_key(pool)
            && servers.all(|(_, server)| server.is_surely_empty(acknowledged, now));
        is_empty.then_some(None)
    }

    fn finish_closing(
        &mut self,
        pool: String,
        closure: Closure,
        ended: Option<u32>,
        now: Now,
        outputs: &mut Vec<Output>,
        writes: &mut Vec<Write>,
    ) {
        let Some(wish) = self.wishes.get_mut(&pool) else {
            return;
        };
        wish.revision += 1;
        let asked = wish.record.clone();
        let closed = EventKind::PoolClosed {
            pool: pool.clone(),
            ended,
        };
        let outcome = closed.to_string();
        let actor = Actor::ebbtide();
        // It is still the operator who wants it closed.
        let by = asked.as_ref().map_or(&actor.who, |asked| &asked.by);
        let reason = asked.as_ref().and_then(|asked| asked.reason.as_ref());
        let record = PoolIntentRecord {
            intent: StoredPoolIntent::Closed(closure.clone()),
            closures: self.closures(&pool) + 1,
            since: now.wall,
            by: by.clone(),
            reason: and_outcome(reason, &how_ended(ended)),
        };
        let epochs = self.next_epochs(&pool);
        writes.push(Write::PoolIntent(pool.clone(), record.clone()));
        let epoch_writes = epochs.iter();
        writes.extend(epoch_writes.map(|(name, epoch)| Write::Epoch(name.clone(), *epoch)));
        writes.push(Write::Audit(AuditEntry {
            at: now.wall,
            actor,
            action: "close end".into(),
            target: pool.clone(),
            outcome,
            forced: false,
        }));
        outputs.push(event(None, closed, now));
        let edit = PoolEdit {
            intent: PoolIntent::Closed(closure),
            record,
            epochs,
        };
        self.want_of_pool(&pool, edit, now, outputs);
    }

    /// Since when the pool is wanted as it is, if anybody ever said so.
    pub fn wanted_since(&self, pool: &str) -> Option<WallTime> {
        Some(self.wishes.get(pool)?.record.as_ref()?.since)
    }
}
