//! Browsers that are signed in. A session's cookie holds 256 random bits; here and in the store only
//! their BLAKE3 hash is kept, so that whoever reads the store cannot sign in with what he finds.
//!
//! Ages are counted on the boot clock. Over a restart of the node they are carried by the wall clock.

use crate::store::ConsoleSession;
use ebbtide_api::{Role, Timestamp};
use ebbtide_core::{Millis, Moment, Now};
use std::collections::HashMap;
use std::net::IpAddr;
use tokio::sync::watch;

/// Sessions in all, and of one user, at most; the one that was silent the longest gives way.
const SESSIONS_MAX: usize = 1000;
const SESSIONS_OF_USER_MAX: usize = 20;
/// How much the stored time of the last sign of life may be behind.
const STORED_BEHIND: Millis = Millis::from_secs(60);

/// The hash of what the cookie holds.
pub(crate) type SessionKey = [u8; 32];

/// Spans that end a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignInSpans {
    /// Without a request for so long it is over.
    pub idle: Millis,
    /// After so long it is over in any case.
    pub longest: Millis,
    /// For so long after the password was typed forced changes do not ask for it again.
    pub fresh: Millis,
}

/// Who signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub user: String,
    pub role: Role,
    /// What the file of users said of him then; of those for whom a provider vouched, what the
    /// configuration said of the provider.
    pub stamp: String,
    /// What the provider knows him by, if one vouched for him.
    pub subject: Option<String>,
    pub from: IpAddr,
}

impl Holder {
    /// Whether both are the same person. Only the file keeps names from being given to others, and a provider
    /// may know somebody by another name later.
    pub fn is_who(&self, other: &Self) -> bool {
        self.subject == other.subject && (self.subject.is_some() || self.user == other.user)
    }
}

struct Session {
    holder: Holder,
    began: Moment,
    /// The last sign of life.
    seen: Moment,
    /// As it is stored.
    stored: Moment,
    /// When he showed last who he is, by typing his password or at the provider.
    proven: Moment,
    /// Gone with the session: whoever listens knows then.
    over: watch::Sender<()>,
}

/// A session that is good.
pub(super) struct Found {
    pub holder: Holder,
    pub is_fresh: bool,
    /// Fails once the session is over.
    pub over: watch::Receiver<()>,
    /// What to store now, if anything.
    pub store: Option<ConsoleSession>,
}

pub(super) struct Sessions {
    spans: SignInSpans,
    sessions: HashMap<SessionKey, Session>,
}

impl Sessions {
    /// Takes up what was stored before the node was restarted.
    pub fn restore(spans: SignInSpans, rows: Vec<(SessionKey, ConsoleSession)>, now: Now) -> Self {
        let moment = |at: Timestamp| now.moment_at(ebbtide_core::WallTime(at.0.min(now.wall.0)));
        let sessions = rows.into_iter().map(|(key, row)| {
            let seen = moment(row.seen);
            let session = Session {
                began: moment(row.began),
                seen,
                stored: seen,
                proven: moment(row.proven),
                over: watch::Sender::new(()),
                holder: Holder {
                    user: row.user,
                    role: row.role,
                    stamp: row.stamp,
                    subject: row.subject,
                    from: row.from,
                },
            };
            (key, session)
        });
        Self {
            spans,
            sessions: sessions.collect(),
        }
    }

    /// Where users with passwords are signed in from.
    pub fn places(&self) -> impl Iterator<Item = (&str, IpAddr)> {
        let holders = self.sessions.values().map(|session| &session.holder);
        let holders = holders.filter(|holder| holder.subject.is_none());
        holders.map(|holder| (&*holder.user, holder.from))
    }

    /// Begins a session of somebody who showed at `proven` who he is; what to store of it, and the keys
    /// of those that give way to it.
    pub fn begin(
        &mut self,
        key: SessionKey,
        holder: Holder,
        proven: Moment,
        now: Now,
    ) -> (ConsoleSession, Vec<SessionKey>) {
        let mut ended = Vec::new();
        let of_user = |session: &Session| session.holder.is_who(&holder);
        if self.sessions.values().filter(|held| of_user(held)).count() >= SESSIONS_OF_USER_MAX {
            ended.extend(self.silent_the_longest(of_user));
        }
        if self.sessions.len() >= SESSIONS_MAX {
            ended.extend(self.silent_the_longest(|_| true));
        }
        for key in &ended {
            self.sessions.remove(key);
        }
        let session = Session {
            holder,
            began: now.moment,
            seen: now.moment,
            stored: now.moment,
            proven,
            over: watch::Sender::new(()),
        };
        let row = row(&session, now);
        self.sessions.insert(key, session);
        (row, ended)
    }

    fn silent_the_longest(&self, which: impl Fn(&Session) -> bool) -> Option<SessionKey> {
        let sessions = self.sessions.iter().filter(|(_, held)| which(held));
        sessions
            .min_by_key(|(_, held)| held.seen)
            .map(|(key, _)| *key)
    }

    /// The session with this key. `is_sign_of_life`: its user does something, and not only his browser.
    pub fn find(&mut self, key: &SessionKey, is_sign_of_life: bool, now: Now) -> Option<Found> {
        let spans = self.spans;
        let session = self.sessions.get_mut(key)?;
        if is_over(session, spans, now.moment) {
            return None;
        }
        if is_sign_of_life {
            session.seen = now.moment;
        }
        let mut store = None;
        if session.seen.since(session.stored) >= STORED_BEHIND.min(Millis(spans.idle.0 / 4)) {
            session.stored = session.seen;
            store = Some(row(session, now));
        }
        Some(Found {
            holder: session.holder.clone(),
            is_fresh: now.moment.since(session.proven) < spans.fresh,
            over: session.over.subscribe(),
            store,
        })
    }

    /// Its user has shown again, at `proven`, who he is; what to store.
    pub fn prove(&mut self, key: &SessionKey, proven: Moment, now: Now) -> Option<ConsoleSession> {
        let session = self.sessions.get_mut(key)?;
        session.proven = proven;
        session.seen = now.moment;
        session.stored = now.moment;
        Some(row(session, now))
    }

    /// Ends one session; whether there was one.
    pub fn end(&mut self, key: &SessionKey) -> bool {
        self.sessions.remove(key).is_some()
    }

    /// Ends every session of the user of this one; their keys.
    pub fn end_all_like(&mut self, key: &SessionKey) -> Vec<SessionKey> {
        match self.sessions.get(key).map(|session| session.holder.clone()) {
            Some(holder) => self.end_where(|session| session.holder.is_who(&holder)),
            None => Vec::new(),
        }
    }

    /// Ends every session whose time is up, or whose user is another now than he was, as
    /// `is_as_before` judges; their keys.
    pub fn sweep(
        &mut self,
        now: Moment,
        is_as_before: impl Fn(&Holder) -> bool,
    ) -> Vec<SessionKey> {
        let spans = self.spans;
        self.end_where(|session| is_over(session, spans, now) || !is_as_before(&session.holder))
    }

    /// How many there are of a user.
    pub fn count_of(&self, user: &str) -> usize {
        let sessions = self.sessions.values();
        sessions.filter(|held| held.holder.user == user).count()
    }

    fn end_where(&mut self, ends: impl Fn(&Session) -> bool) -> Vec<SessionKey> {
        let ending = self.sessions.iter().filter(|(_, held)| ends(held));
        let keys: Vec<SessionKey> = ending.map(|(key, _)| *key).collect();
        for key in &keys {
            self.sessions.remove(key);
        }
        keys
    }
}

fn is_over(session: &Session, spans: SignInSpans, now: Moment) -> bool {
    now.since(session.seen) >= spans.idle || now.since(session.began) >= spans.longest
}

fn row(session: &Session, now: Now) -> ConsoleSession {
    let at = |moment| Timestamp(now.wall_at(moment).0);
    ConsoleSession {
        user: session.holder.user.clone(),
        role: session.holder.role,
        stamp: session.holder.stamp.clone(),
        subject: session.holder.subject.clone(),
        from: session.holder.from,
        began: at(session.began),
        seen: at(session.seen),
        proven: at(session.proven),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebbtide_core::WallTime;

    const SPANS: SignInSpans = SignInSpans {
        idle: Millis::from_secs(1800),
        longest: Millis::from_secs(12 * 3600),
        fresh: Millis::from_secs(300),
    };

    fn at(seconds: u64) -> Now {
        Now {
            moment: Moment(1_000_000).plus(Millis::from_secs(seconds)),
            wall: WallTime(1_700_000_000_000 + seconds * 1000),
        }
    }

    fn holder(user: &str) -> Holder {
        Holder {
            user: user.into(),
            role: Role::Operator,
            stamp: "7".into(),
            subject: None,
            from: "192.0.2.1".parse().unwrap(),
        }
    }

    fn empty() -> Sessions {
        Sessions::restore(SPANS, Vec::new(), at(0))
    }

    fn key(number: u64) -> SessionKey {
        *blake3::hash(&number.to_le_bytes()).as_bytes()
    }

    #[test]
    fn a_session_ends_when_its_user_is_silent_or_its_time_is_up() {
        let mut sessions = empty();
        sessions.begin(key(1), holder("anna"), at(0).moment, at(0));
        assert!(sessions.find(&key(1), true, at(1799)).is_some());
        // A stream that stands open is no sign of life.
        assert!(sessions.find(&key(1), false, at(3598)).is_some());
        assert!(sessions.find(&key(1), true, at(3599)).is_none());
        assert!(sessions.find(&key(2), true, at(0)).is_none());

        sessions.begin(key(3), holder("anna"), at(0).moment, at(0));
        for minute in 0..12 * 60 {
            assert!(sessions.find(&key(3), true, at(minute * 60)).is_some());
        }
        assert!(sessions.find(&key(3), true, at(12 * 3600)).is_none());
        assert_eq!(sessions.sweep(at(12 * 3600).moment, |_| true).len(), 2);
        assert_eq!(sessions.count_of("anna"), 0);
    }

    #[test]
    fn a_password_that_was_typed_is_fresh_for_a_while() {
        let mut sessions = empty();
        sessions.begin(key(1), holder("anna"), at(0).moment, at(0));
        let fresh = |sessions: &mut Sessions, now| {
            let found = sessions.find(&key(1), true, now);
            found.unwrap().is_fresh
        };
        assert!(fresh(&mut sessions, at(299)));
        assert!(!fresh(&mut sessions, at(300)));
        sessions.prove(&key(1), at(400).moment, at(400)).unwrap();
        assert!(fresh(&mut sessions, at(401)));
    }

    #[test]
    fn over_a_restart_ages_go_on() {
        let mut sessions = empty();
        sessions.begin(key(1), holder("anna"), at(0).moment, at(0));
        let stored = sessions.find(&key(1), true, at(100)).unwrap().store;
        assert!(
            sessions
                .find(&key(1), true, at(101))
                .unwrap()
                .store
                .is_none()
        );
        let row = stored.unwrap();

        // The machine was booted meanwhile: the boot clock began anew.
        let now = |seconds: u64| Now {
            moment: Moment(seconds as i64 * 1000),
            wall: WallTime(1_700_000_000_000 + 1000 * 1000 + seconds * 1000),
        };
        let mut sessions = Sessions::restore(SPANS, vec![(key(1), row.clone())], now(0));
        let found = sessions.find(&key(1), false, now(899)).unwrap();
        assert_eq!(found.holder, holder("anna"));
        assert!(!found.is_fresh);
        assert!(sessions.find(&key(1), false, now(900)).is_none());
        // A clock that was set back does not make it younger than new.
        let past = Now {
            wall: WallTime(0),
            ..now(0)
        };
        let mut sessions = Sessions::restore(SPANS, vec![(key(1), row)], past);
        let later = Now {
            moment: past.moment.plus(SPANS.idle),
            ..past
        };
        assert!(sessions.find(&key(1), false, past).is_some());
        assert!(sessions.find(&key(1), false, later).is_none());
    }

    #[test]
    fn whoever_is_changed_or_signs_out_everywhere_is_out_at_once() {
        let mut sessions = empty();
        for number in 0..3 {
            sessions.begin(key(number), holder("anna"), at(0).moment, at(0));
        }
        // Somebody else of that name, whom a provider knows.
        let subject = Some("123".to_owned());
        let other = Holder {
            subject,
            ..holder("anna")
        };
        sessions.begin(key(8), other, at(0).moment, at(0));
        sessions.begin(key(9), holder("boris"), at(0).moment, at(0));
        let over = sessions.find(&key(1), true, at(1)).unwrap().over;
        assert!(over.has_changed().is_ok());
        assert_eq!(sessions.end_all_like(&key(1)).len(), 3);
        assert!(over.has_changed().is_err(), "streams know of it");
        let is_as_before = |holder: &Holder| holder.user == "boris" && holder.stamp == "8";
        let mut swept = sessions.sweep(at(1).moment, is_as_before);
        swept.sort_unstable();
        let mut expected = [key(8), key(9)];
        expected.sort_unstable();
        assert_eq!(swept, expected);
    }

    #[test]
    fn there_are_never_too_many() {
        let mut sessions = empty();
        for number in 0..SESSIONS_OF_USER_MAX as u64 {
            sessions.begin(key(number), holder("anna"), at(number).moment, at(number));
        }
        sessions.find(&key(0), true, at(100));
        let (_, ended) = sessions.begin(key(100), holder("anna"), at(101).moment, at(101));
        assert_eq!(ended, [key(1)]);
        for number in 1000..2000 {
            sessions.begin(
                key(number),
                holder(&format!("u{number}")),
                at(200).moment,
                at(200),
            );
        }
        assert_eq!(sessions.sessions.len(), SESSIONS_MAX);
    }
}
