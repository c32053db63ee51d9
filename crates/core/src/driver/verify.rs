//! Verified return: a server that came out of maintenance takes no session before it has shown that it
//! is well, by probes that began after an operator wanted it back.
//!
//! It is stored with the intent, so that no restart, and no way around by a hold, lets it in unseen.

use crate::command::Actor;
use crate::config::VerifyCheck;
use crate::driver::Output;
use crate::driver::change::event;
use crate::driver::closing::and_outcome;
use crate::driver::state::{ServerState, State};
use crate::event::{EventKind, count};
use crate::health::ProbeOutcome;
use crate::intent::Intent;
use crate::name::ServerName;
use crate::record::{AuditEntry, IntentRecord, StoredVerification, Write};
use crate::standing::Reason;
use crate::status::VerificationStatus;
use crate::time::{Moment, Now};
use crate::upgrade::VersionAnswer;

/// How far the verification of a server is.
#[derive(Debug)]
pub(in crate::driver) struct Verification {
    /// When it began, or will have to begin anew.
    since: Moment,
    probes: Row,
    pages: Row,
    /// Why it was given up.
    failed: Option<String>,
}

/// Good answers in a row, and what was wrong with the last one.
#[derive(Debug, Default)]
struct Row {
    good: u32,
    wrong: Option<String>,
}

impl Row {
    fn take(&mut self, answer: Result<(), String>) {
        self.good = answer.as_ref().map_or(0, |()| self.good.saturating_add(1));
        self.wrong = answer.err();
    }
}

impl Verification {
    /// As it is stored, from now on.
    pub fn of(stored: Option<&StoredVerification>, now: Now) -> Option<Self> {
        let failed = match stored? {
            StoredVerification::Pending => None,
            StoredVerification::Failed(why) => Some(why.clone()),
        };
        Some(Self {
            since: now.moment,
            probes: Row::default(),
            pages: Row::default(),
            failed,
        })
    }

    /// A probe that began at `began` came back.
    pub fn probed(&mut self, outcome: &ProbeOutcome, began: Moment) {
        if began >= self.since {
            self.probes.take(match outcome {
                ProbeOutcome::Bad(why) => Err(why.clone()),
                _ => Ok(()),
            });
        }
    }

    /// The version page that was asked for at `began` came back.
    fn answered(&mut self, answer: VersionAnswer, began: Moment) {
        if began >= self.since {
            self.pages.take(match answer {
                VersionAnswer::Failed(why) => Err(why),
                VersionAnswer::Page { matches: true, .. } => Ok(()),
                VersionAnswer::Page { page, .. } => Err(format!(
                    "says {:?}, which is not what `expect` asks for",
                    page.says
                )),
            });
        }
    }

    /// The reason that its server stands by.
    pub fn reason(&self) -> Reason {
        match self.failed {
            None => Reason::Verifying,
            Some(_) => Reason::Unverified,
        }
    }

    /// How far it is, for people: `1 of 3 good probes`.
    fn progress(&self, check: &VerifyCheck, is_probed: bool) -> String {
        let probes = is_probed.then_some((&self.probes, "good probe"));
        let pages = check
            .page
            .as_ref()
            .map(|_| (&self.pages, "good version page"));
        let parts = probes.into_iter().chain(pages).map(|(row, noun)| {
            let of = count(check.probes, noun);
            let so_far = format!("{} of {of}", row.good.min(check.probes));
            match &row.wrong {
                Some(why) => format!("{so_far}, the last one: {why}"),
                None => so_far,
            }
        });
        parts.collect::<Vec<_>>().join("; ")
    }

    fn is_complete(&self, check: &VerifyCheck, is_probed: bool) -> bool {
        (!is_probed || self.probes.good >= check.probes)
            && (check.page.is_none() || self.pages.good >= check.probes)
    }
}

/// How a verification ends.
enum Verdict {
    /// The server is well, or nothing says any more what it would have to show.
    Well(String),
    Failed(String),
}

impl State {
    /// What a server of this pool has to show after maintenance, if it has to.
    pub fn verify_check(&self, pool: &str) -> Option<&VerifyCheck> {
        let config = &self.pools.get(pool)?.config;
        let check = config.verify.as_ref()?;
        (config.health.is_some() || check.page.is_some()).then_some(check)
    }

    /// The same for people: `2 good probes`.
    pub fn what_is_to_show(&self, pool: &str) -> Option<String> {
        let check = self.verify_check(pool)?;
        let probes = self.is_probed(pool);
        let probes = probes.then(|| count(check.probes, "good probe"));
        let pages = check.page.as_ref().map(|page| {
            let answers = count(check.probes, "good answer");
            format!("{answers} of {}", page.path)
        });
        let parts: Vec<String> = probes.into_iter().chain(pages).collect();
        Some(parts.join(" and "))
    }

    fn is_probed(&self, pool: &str) -> bool {
        let pool = self.pools.get(pool);
        pool.is_some_and(|pool| pool.config.health.is_some())
    }

    /// A server that is being verified was asked for its version page.
    pub fn verify_answered(&mut self, name: &ServerName, answer: VersionAnswer, began: Moment) {
        let server = self.servers.get_mut(name).filter(|server| server.present);
        let verification = server.and_then(|server| server.verification.as_mut());
        if let Some(verification) = verification {
            verification.answered(answer, began);
        }
    }

    /// Lets in who has shown what is asked for, and gives up who has not in time; returns what must be
    /// stored of it. Never while an intent is on its way to the store, which would come before.
    pub fn settle_verifications(&mut self, now: Now, outputs: &mut Vec<Output>) -> Vec<Write> {
        let over: Vec<(ServerName, Verdict)> = self
            .servers
            .iter()
            .filter(|(_, server)| server.present && server.intent == Intent::Ready)
            .filter_map(|(name, server)| Some((name.clone(), self.verdict(name, server, now)?)))
            .collect();
        let mut writes = Vec::new();
        for (name, verdict) in over {
            self.finish_verification(&name, verdict, now, outputs, &mut writes);
        }
        writes
    }

    fn verdict(&self, name: &ServerName, server: &ServerState, now: Now) -> Option<Verdict> {
        let verification = server.verification.as_ref()?;
        let is_probed = self.is_probed(&name.pool);
        let Some(check) = self.verify_check(&name.pool) else {
            let why = "the configuration asks for nothing any more".to_owned();
            return Some(Verdict::Well(why));
        };
        if verification.failed.is_some() {
            return None;
        }
        let progress = verification.progress(check, is_probed);
        if verification.is_complete(check, is_probed) {
            return Some(Verdict::Well(progress));
        }
        (now.moment >= verification.since.plus(check.within))
            .then(|| Verdict::Failed(format!("not within {}: {progress}", check.within)))
    }

    fn finish_verification(
        &mut self,
        name: &ServerName,
        verdict: Verdict,
        now: Now,
        outputs: &mut Vec<Output>,
        writes: &mut Vec<Write>,
    ) {
        let Some(server) = self.servers.get_mut(name) else {
            return;
        };
        let (kind, failed) = match verdict {
            Verdict::Well(how) => (EventKind::Verified { how }, None),
            Verdict::Failed(why) => {
                let stored = StoredVerification::Failed(why.clone());
                (EventKind::NotVerified { why }, Some(stored))
            }
        };
        let Some(asked) = server.intent_record.as_ref() else {
            return;
        };
        let outcome = kind.to_string();
        let record = IntentRecord {
            since: now.wall,
            reason: and_outcome(asked.reason.as_ref(), &outcome),
            verification: failed,
            ..asked.clone()
        };
        writes.push(Write::Intent(name.clone(), record.clone()));
        writes.push(Write::Audit(AuditEntry {
            at: now.wall,
            actor: Actor::ebbtide(),
            action: "verify".into(),
            target: name.to_string(),
            outcome,
            forced: false,
        }));
        outputs.push(event(Some(name), kind, now));
        self.want(name, Intent::Ready, record, None, now, outputs);
    }
}

impl ServerState {
    /// Whether it is wanted in traffic, and nothing has to be seen of it before.
    pub fn is_wanted(&self) -> bool {
        self.intent == Intent::Ready && self.verification.is_none()
    }

    /// Why it stays out, if its verification has failed.
    pub fn why_unverified(&self) -> Option<&str> {
        let verification = self.verification.as_ref();
        verification.and_then(|verification| verification.failed.as_deref())
    }

    /// What is stored with an intent of an operator for this server.
    pub fn verification_for(
        &self,
        intent: &Intent,
        check: Option<&VerifyCheck>,
    ) -> Option<StoredVerification> {
        let comes_out = self.intent == Intent::Maintenance || self.verification.is_some();
        let stays_in = *intent == Intent::Maintenance;
        (check.is_some() && comes_out && !stays_in).then_some(StoredVerification::Pending)
    }

    /// It was away: what it showed before counts for nothing, and its time begins anew.
    pub fn verify_anew(&mut self, now: Now) {
        if let Some(verification) = &mut self.verification
            && verification.failed.is_none()
        {
            *verification = Verification {
                since: now.moment,
                probes: Row::default(),
                pages: Row::default(),
                failed: None,
            };
        }
    }
}

impl State {
    /// What people are shown of a server's verification, while it goes on or when it has failed.
    pub fn verification_status(
        &self,
        name: &ServerName,
        server: &ServerState,
        now: Now,
    ) -> Option<VerificationStatus> {
        let verification = server.verification.as_ref()?;
        let check = self.verify_check(&name.pool)?;
        let is_probed = self.is_probed(&name.pool);
        if server.intent != Intent::Ready {
            return None;
        }
        let until = verification.since.plus(check.within);
        let is_over = verification.failed.is_some();
        Some(VerificationStatus {
            needed: check.probes,
            good_probes: is_probed.then_some(verification.probes.good.min(check.probes)),
            good_pages: (check.page.is_some()).then_some(verification.pages.good.min(check.probes)),
            progress: verification.progress(check, is_probed),
            failed: verification.failed.clone(),
            until: (!is_over).then(|| now.wall_at(until)),
            left: (!is_over).then(|| until.since(now.moment)),
        })
    }
}
