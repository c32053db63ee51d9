//! Busy servers: peak loads, by the readings that the driver was given, and the places that servers tell.

use super::commands::Asks;
use super::intents::Want;
use super::{CLOSED, DURABLE, Judge, health::Verdict};
use crate::sim::loads::EVERY_MS;
use crate::sim::number::ServerNumber;
use ebbtide_core::{Moment, Now, ProbeOutcome, Reason, RequestId, ServerStatus, ServerView};

/// The driver looks at loads at every tick.
const LAG_MS: i64 = 200;

/// When a reading is too old to be relied on.
const STALE_MS: u64 = 3 * EVERY_MS.unsigned_abs();

/// What is known of how busy a server is.
#[derive(Debug, Default)]
pub(super) struct Busy {
    /// What was read last, in percent.
    reading: Option<(u8, Moment)>,
    /// As the node showed it last.
    peak: Option<u8>,
    /// Its load has risen above its peak and not come down far enough since. `None`: that cannot be
    /// told, as the peak load was changed, or the reading became too old.
    is_above: Option<bool>,
    /// When that was something else.
    changed_at: i64,
    /// What an operator was last told that its peak load is.
    pub set: Option<Option<u8>>,
    /// The request by which its peak load is 0, so that no session may begin.
    closed: Option<RequestId>,
    pub last_request: Option<RequestId>,
    /// Sessions that ever began there.
    begun: u32,
    /// How many may have begun when it is probed the next time.
    begun_most: Option<u32>,
}

impl Busy {
    /// Nothing is wanted of it any more.
    pub fn forget_wishes(&mut self) {
        (self.set, self.closed, self.last_request) = (None, None, None);
    }

    /// Nothing is known of what is not there, or has become something else.
    pub fn forget(&mut self) {
        (self.reading, self.peak, self.is_above) = (None, None, None);
        self.begun_most = None;
    }

    /// Whether its load is above its peak; `None`: that cannot be told.
    pub fn above(&self, now: Now) -> Option<bool> {
        let age = self.reading.map(|(_, at)| now.moment.since(at).0);
        let is_stale = age.is_some_and(|age| age + LAG_MS.unsigned_abs() >= STALE_MS);
        match (self.peak, self.is_above) {
            (None | Some(0), _) => Some(false),
            (_, Some(true)) if is_stale => None,
            (_, is_above) => is_above,
        }
    }

    /// A probe is back that began when so many sessions had begun.
    pub fn places_told(&mut self, outcome: &ProbeOutcome, begun: u32) {
        match outcome {
            ProbeOutcome::Bad(_) => {}
            ProbeOutcome::Good { places } | ProbeOutcome::Odd { places, .. } => {
                let most = places.map(|places| begun.saturating_add(places as u32));
                self.begun_most = most;
            }
            ProbeOutcome::OnHold | ProbeOutcome::AllInUse => self.begun_most = None,
        }
    }

    fn judge(&mut self, at: i64) {
        let before = self.is_above;
        self.is_above = match self.reading.zip(self.peak) {
            None => Some(false),
            Some(((percent, _), peak)) => {
                // In tenths of a percent: it has to come down by a tenth of the peak.
                let (load, peak) = (u32::from(percent) * 10, u32::from(peak));
                let (rises, stays) = (load > peak * 10, load > peak * 9);
                match before {
                    Some(was_above) => Some(if was_above { stays } else { rises }),
                    None => (rises == stays).then_some(rises),
                }
            }
        };
        if before != self.is_above {
            self.changed_at = at;
        }
    }
}

impl Judge {
    /// The driver is about to be told of a load.
    pub fn load_read(&mut self, name: ServerNumber, percent: u8, now: Now) {
        let at = self.at;
        let server = self.server(name);
        if server.present {
            server.busy.reading = Some((percent, now.moment));
            server.busy.judge(at);
        }
    }

    /// How many sessions have begun there: a probe notes it when it begins.
    pub fn ever_begun(&self, name: ServerNumber) -> u32 {
        let server = self.servers.get(name);
        server.map_or(0, |server| server.busy.begun)
    }

    /// A session begins there: no peak load is in the way, and there is a place.
    pub(super) fn comes_among(&mut self, name: ServerNumber) {
        let busy = &mut self.server(name).busy;
        busy.begun += 1;
        let (begun, most, closed) = (busy.begun, busy.begun_most, busy.closed);
        if let Some(most) = most.filter(|most| begun > *most) {
            let text = format!(
                "{} more sessions began on {name} than it has places",
                begun - most
            );
            self.fail(CLOSED, text);
        }
        if let Some(id) = closed {
            let text = format!(
                "a session began on {name}, whose peak load request {} made 0",
                id.0
            );
            self.fail(CLOSED, text);
        }
    }

    /// An operator wants another peak load.
    pub(super) fn peak_asked(&mut self, id: RequestId, name: ServerNumber) {
        let busy = &mut self.server(name).busy;
        (busy.last_request, busy.closed) = (Some(id), None);
    }

    /// It is so from now on; `in_force`: on every worker too.
    pub(super) fn peak_done(
        &mut self,
        id: RequestId,
        name: ServerNumber,
        peak: Option<u8>,
        in_force: bool,
    ) {
        let busy = &mut self.server(name).busy;
        busy.set = Some(peak);
        let is_newest = busy.last_request == Some(id);
        busy.closed = (peak == Some(0) && in_force && is_newest).then_some(id);
    }

    /// What is shown of its peak load is what was set, and its standing what its load says.
    pub(super) fn judge_busy(
        &mut self,
        name: ServerNumber,
        shown: &ServerStatus,
        view: &ServerView,
        now: Now,
    ) {
        let (restarted, at) = (self.restarted, self.at);
        let is_checked = shown.health != ebbtide_core::Health::Unchecked;
        let asked = self.requests.values().any(|request| {
            let known = if restarted {
                request.sent
            } else {
                request.stored
            };
            let of_server = request.server == Some(name);
            known && of_server && request.asks == Asks::Peak(shown.peak_load)
        });
        let server = self.server(name);
        let is_well =
            !is_checked || (server.seen.verdict != Verdict::Down && !server.seen.closed_by_page);
        let is_well = is_well && server.agent.is_down() == Some(false);
        let is_open = is_well && server.in_force == Want::Ready;
        let busy = &mut server.busy;
        let set = busy.set;
        if restarted {
            busy.set = shown.overridden.then_some(shown.peak_load);
        }
        if busy.peak != shown.peak_load {
            (busy.peak, busy.is_above) = (shown.peak_load, None);
            busy.judge(at);
        }
        let age = busy.reading.map(|(_, at)| now.moment.since(at).0);
        let is_above = match age {
            Some(age) if age >= STALE_MS => {
                busy.is_above = None;
                (age > STALE_MS + LAG_MS.unsigned_abs()).then_some(false)
            }
            _ => busy.is_above.filter(|_| at - busy.changed_at > LAG_MS),
        };
        let stands = view.standing;
        let peak = busy.peak.filter(|peak| *peak > 0);
        if set.is_some_and(|set| set != shown.peak_load) && !asked {
            let text = format!("the peak load of {name} was set to {set:?}, shown is {peak:?}");
            self.fail(DURABLE, text);
        } else if is_open && stands.admits_new && shown.peak_load == Some(0) {
            self.fail(
                CLOSED,
                format!("{name} has a peak load of 0 and admits new sessions"),
            );
        } else if is_open && stands.admits_new && peak.is_some() && is_above == Some(true) {
            self.fail(
                CLOSED,
                format!("{name} is above its peak load and admits new sessions"),
            );
        } else if stands.reason == Reason::OverPeak && is_above == Some(false) {
            self.fail(
                CLOSED,
                format!("{name} is not above its peak load, and is closed for it"),
            );
        }
    }
}
