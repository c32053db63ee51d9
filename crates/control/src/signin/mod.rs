//! Signing in to the console: users in a file, or for whom a provider vouches by OpenID Connect, browsers
//! that are signed in by a cookie, and what keeps others from guessing, forging and replaying.
//!
//! For pages: [`guard`] goes around a router of pages and lets nobody in who is not signed in,
//! [`require`] around those that take a role, and [`ask_again`] asks again who it is before a forced
//! change. A page gets its caller as `Extension<Caller>`.

mod browser;
mod change;
mod csrf;
mod guard;
mod openid;
mod own;
mod pages;
mod password;
mod rate;
mod sessions;
#[cfg(test)]
mod tests;
mod users;

use crate::clock::clock;
use crate::outside::HttpUrl;
use crate::store::{ConsoleSession, StoreThread};
use axum::http::HeaderMap;
pub(crate) use browser::Browser;
use change::Underway;
pub(crate) use csrf::CSRF_FIELD;
use ebbtide_api::{User, Users};
use ebbtide_core::{Actor, AuditEntry, Millis, Moment, Now, count};
pub(crate) use guard::{admit, guard, headers, is_sign_of_life, require};
use openid::OpenId;
pub use openid::{OPENID_BACK, OpenIdOptions, OpenIdRoles};
pub(crate) use pages::{SECRET_FIELDS, ask_again, routes};
use password::{Comparing, PASSWORD_BYTES_MAX};
use rate::{Allowance, Attempts};
pub(crate) use sessions::SessionKey;
pub use sessions::SignInSpans;
use sessions::{Found, Holder, Sessions};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Mutex as TurnMutex;
use tokio::time::interval;
use users::Watched;
pub(crate) use users::{Change, last_admin};
pub use users::{ListedUser, USERS_FILE, UsersError, UsersFile};

/// How often the file of users is looked at, and sessions whose time is up are ended.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Failed tries, and requests beyond somebody's role, that go into the audit log: so many at once, and
/// one more in each span. The log has room for a hundred thousand lines, and others need it too.
const LINES_AT_ONCE: u32 = 20;
const LINE_EVERY: Millis = Millis::from_secs(30);
/// Characters of a path in the audit log.
const TARGET_MAX: usize = 200;

/// How people sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInOptions {
    /// The file of users; it need not exist.
    pub users: PathBuf,
    /// Where browsers find the console, if something stands before it.
    pub url: Option<HttpUrl>,
    /// When a sign-in is over.
    pub spans: SignInSpans,
    /// The provider by which people sign in, too.
    pub openid: Option<OpenIdOptions>,
}

/// Signing in, as the admin API's handlers reach it.
pub(crate) struct SignIn {
    store: StoreThread,
    comparing: Comparing,
    openid: Option<OpenId>,
    hosts: Arc<[String]>,
    /// Held while a change is made to the file of users: one at a time.
    changing: TurnMutex<()>,
    state: Mutex<State>,
}

struct State {
    users: Watched,
    /// What this node is changing in the file of users now.
    underway: Option<Underway>,
    sessions: Sessions,
    attempts: Attempts,
    failed_lines: Allowance,
    refused_lines: Allowance,
}

/// Why a try to sign in came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NotIn {
    /// The name or the password is wrong; nobody is told which.
    Wrong,
    /// Too many have failed; the next try after so long.
    Wait(Millis),
    /// Too many try at once.
    Busy,
}

impl SignIn {
    /// `rows` are the sessions that were stored before the node was restarted.
    pub fn new(
        options: SignInOptions,
        rows: Vec<(SessionKey, ConsoleSession)>,
        store: StoreThread,
    ) -> Self {
        let now = clock();
        let sessions = Sessions::restore(options.spans, rows, now);
        let mut attempts = Attempts::new();
        for (user, from) in sessions.places() {
            attempts.has_been(user, from);
        }
        let redirect = options.openid.as_ref().map(|openid| &openid.redirect);
        let outside = options.url.iter().chain(redirect);
        let hosts = outside.filter_map(|url| {
            url.origin()
                .split_once("://")
                .map(|(_, host)| host.to_owned())
        });
        let hosts = hosts.collect();
        let lines = || Allowance::new(LINES_AT_ONCE, LINE_EVERY, now.moment);
        let signin = Self {
            store,
            comparing: Comparing::new(),
            openid: options.openid.map(OpenId::new),
            hosts,
            changing: TurnMutex::new(()),
            state: Mutex::new(State {
                users: Watched::new(std::path::absolute(&options.users).unwrap_or(options.users)),
                underway: None,
                sessions,
                attempts,
                failed_lines: lines(),
                refused_lines: lines(),
            }),
        };
        // Whoever was changed while the node was not there is out before he can ask for anything.
        signin.with(|state| signin.sweep(state, Vec::new()));
        signin
    }

    /// What browsers may call this node in `Host`, besides its own address.
    pub fn hosts(&self) -> Arc<[String]> {
        Arc::clone(&self.hosts)
    }

    /// Follows the file of users and the clock, for as long as the runtime lives.
    pub async fn watch(&self) {
        let mut look = interval(LOOK_EVERY);
        loop {
            look.tick().await;
            self.with(|state| self.sweep(state, Vec::new()));
        }
    }

    /// Does `work` with what is known by now.
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.refresh(&mut state);
        work(&mut state)
    }

    /// Reads the file of users if it has changed.
    fn refresh(&self, state: &mut State) {
        let changes = state.users.refresh();
        if changes.is_empty() {
            return;
        }
        let lines = changes.into_iter().map(|(name, change)| {
            match state.underway.take_if(|own| own.is(&name, &change)) {
                Some(own) => own.line(),
                None => {
                    let actor = Actor {
                        who: "ebbtide".into(),
                        from: "the file of users".into(),
                        reason: None,
                    };
                    line(clock(), actor, "users", &name, change.outcome(&name))
                }
            }
        });
        let lines = lines.collect();
        self.sweep(state, lines);
    }

    /// Ends the sessions whose time is up, or whose users are others now; stores that, and `lines`.
    fn sweep(&self, state: &mut State, lines: Vec<AuditEntry>) {
        let users = &state.users;
        let is_as_before = |holder: &Holder| match (&holder.subject, &self.openid) {
            (Some(_), Some(openid)) => openid.stamp() == holder.stamp,
            (Some(_), None) => false,
            (None, _) => {
                let user = users.find(&holder.user);
                user.is_some_and(|user| user.stamp() == holder.stamp)
            }
        };
        let ended = state.sessions.sweep(clock().moment, is_as_before);
        if !lines.is_empty() || !ended.is_empty() {
            self.store.write_console(gone(ended), lines);
        }
    }

    /// The browser that sends these fields, if it is signed in. `is_sign_of_life`: its user does
    /// something, and not only his browser.
    pub fn find(&self, headers: &HeaderMap, is_sign_of_life: bool) -> Option<(Browser, Holder)> {
        self.with(|state| {
            browser::secrets(headers).find_map(|secret| {
                let key = browser::key(secret);
                let found = state.sessions.find(&key, is_sign_of_life, clock())?;
                let Found {
                    holder,
                    is_fresh,
                    over,
                    store,
                } = found;
                if store.is_some() {
                    self.store.write_console(vec![(key, store)], Vec::new());
                }
                let is_vouched = holder.subject.is_some();
                let browser = Browser::new(key, secret, is_fresh, is_vouched, over);
                Some((browser, holder))
            })
        })
    }

    /// Signs a user in; the secret for his cookie. `before` is the session that the browser had.
    async fn sign_in(
        &self,
        name: &str,
        secret: String,
        from: IpAddr,
        before: Option<SessionKey>,
    ) -> Result<String, NotIn> {
        let (role, stamp) = self.compare(name, secret, from).await?;
        let holder = Holder {
            user: name.to_owned(),
            role,
            stamp,
            subject: None,
            from,
        };
        self.begin(holder, clock().moment, before, "")
    }

    /// Begins a session; the secret for its cookie. `by` goes on after who is signed in.
    fn begin(
        &self,
        holder: Holder,
        proven: Moment,
        before: Option<SessionKey>,
        by: &str,
    ) -> Result<String, NotIn> {
        let cookie = browser::new_secret().map_err(|()| NotIn::Busy)?;
        let key = browser::key(&cookie);
        let now = clock();
        self.with(|state| {
            let (name, from) = (holder.user.clone(), holder.from);
            let outcome = format!("{name} is signed in, with the role {}{by}", holder.role);
            let (row, mut ended) = state.sessions.begin(key, holder, proven, now);
            ended.extend(before.filter(|before| state.sessions.end(before)));
            let mut changes = gone(ended);
            changes.push((key, Some(row)));
            let line = line(now, actor(&name, from), "sign-in", &name, outcome);
            self.store.write_console(changes, vec![line]);
        });
        Ok(cookie)
    }

    /// The user of a session types his password again.
    async fn prove(
        &self,
        key: &SessionKey,
        name: &str,
        secret: String,
        from: IpAddr,
    ) -> Result<(), NotIn> {
        self.compare(name, secret, from).await?;
        self.is_proven(key, clock().moment).ok_or(NotIn::Wrong)
    }

    /// The user of a session has shown again who he is; `None` if the session is over.
    fn is_proven(&self, key: &SessionKey, proven: Moment) -> Option<()> {
        self.with(|state| {
            let row = state.sessions.prove(key, proven, clock())?;
            self.store
                .write_console(vec![(*key, Some(row))], Vec::new());
            Some(())
        })
    }

    /// Compares a password; the user's role and stamp if it is right. Of the tries that fail some are
    /// written down. An answer takes as long for a name that nobody has.
    async fn compare(
        &self,
        name: &str,
        secret: String,
        from: IpAddr,
    ) -> Result<(ebbtide_api::Role, String), NotIn> {
        let user = self.with(|state| {
            let begun = state.attempts.begin(clock().moment, name, from);
            begun.map_err(NotIn::Wait)?;
            Ok(state.users.find(name).cloned())
        })?;
        let is_known = user.is_some();
        let phc = user.as_ref().map(|user| user.password.clone());
        let phc = phc.filter(|_| secret.len() <= PASSWORD_BYTES_MAX);
        let is_right = self.comparing.is_right(secret, phc).await;
        self.with(|state| {
            let Some(is_right) = is_right else {
                state.attempts.undecided(name, from);
                return Err(NotIn::Busy);
            };
            // He may have been changed while his password was compared.
            let user = user.filter(|user| state.users.find(name) == Some(user));
            let Some(user) = user.filter(|_| is_right) else {
                self.tell_of_failure(state, name, is_known, from);
                return Err(NotIn::Wrong);
            };
            state.attempts.succeeded(name, from);
            Ok((user.role, user.stamp()))
        })
    }

    fn tell_of_failure(&self, state: &mut State, name: &str, is_known: bool, from: IpAddr) {
        // What is typed for a name and is none may be a password.
        let (who, why) = match is_known {
            true => (name, "the password is wrong"),
            false => ("somebody", "there is no user of that name"),
        };
        self.write_failure(state, who, why, from);
    }

    fn write_failure(&self, state: &mut State, who: &str, why: &str, from: IpAddr) {
        let now = clock();
        let Some(passed_over) = state.failed_lines.take(now.moment) else {
            return;
        };
        let outcome = format!("refused: {why}{}", others(passed_over));
        let line = line(now, actor(who, from), "sign-in", "-", outcome);
        self.store.write_console(Vec::new(), vec![line]);
    }

    /// Ends a browser's session.
    fn sign_out(&self, key: &SessionKey, name: &str, from: IpAddr) {
        self.with(|state| {
            if state.sessions.end(key) {
                let outcome = format!("{name} is signed out");
                let line = line(clock(), actor(name, from), "sign-out", name, outcome);
                self.store.write_console(gone(vec![*key]), vec![line]);
            }
        });
    }

    /// Ends every session of a user, of whom this is one.
    fn sign_out_everywhere(&self, key: &SessionKey, name: &str, from: IpAddr) {
        self.with(|state| {
            let ended = state.sessions.end_all_like(key);
            let browsers = count(ended.len(), "browser");
            let outcome = format!("{name} is signed out everywhere, of {browsers}");
            let line = line(clock(), actor(name, from), "sign-out", name, outcome);
            self.store.write_console(gone(ended), vec![line]);
        });
    }

    /// Writes down that somebody asked for more than his role allows, unless that was done often of
    /// late. `what` is the method and the path.
    pub fn tell_of_refusal(&self, actor: Actor, what: &str, outcome: &str) {
        self.with(|state| {
            let now = clock();
            let Some(passed_over) = state.refused_lines.take(now.moment) else {
                return;
            };
            let target: String = what.chars().take(TARGET_MAX).collect();
            let outcome = format!("refused: {outcome}{}", others(passed_over));
            let line = line(now, actor, "refused", &target, outcome);
            self.store.write_console(Vec::new(), vec![line]);
        });
    }

    /// The users, as far as anybody may know of them.
    pub fn users(&self) -> Users {
        self.with(|state| {
            let users = state.users.all().map(|(name, user)| User {
                name: name.clone(),
                role: user.role,
                created: user.created,
                browsers: u32::try_from(state.sessions.count_of(name)).unwrap_or(u32::MAX),
            });
            Users {
                file: state.users.path().display().to_string(),
                problem: state.users.problem().map(str::to_owned),
                users: users.collect(),
            }
        })
    }

    /// The provider by which people sign in, in a word.
    fn provider(&self) -> Option<&str> {
        self.openid.as_ref().map(OpenId::name)
    }

    /// What the page for signing in has to say before anybody has tried.
    fn trouble(&self) -> Option<String> {
        self.with(|state| {
            if state.users.problem().is_some() {
                let text = "The file of users is mistaken or cannot be read; the node's log says where.";
                return Some(text.to_owned());
            }
            let nobody = state.users.is_empty() && self.openid.is_none();
            nobody.then(|| {
                "There are no users yet. On the node's own machine, `ebbtide user add NAME --role admin` \
                 makes one."
                    .to_owned()
            })
        })
    }
}

fn actor(who: &str, from: IpAddr) -> Actor {
    Actor {
        who: who.to_owned(),
        from: from.to_canonical().to_string(),
        reason: None,
    }
}

fn line(now: Now, actor: Actor, action: &str, target: &str, outcome: String) -> AuditEntry {
    AuditEntry {
        at: now.wall,
        actor,
        action: action.to_owned(),
        target: target.to_owned(),
        outcome,
        forced: false,
    }
}

fn others(passed_over: u64) -> String {
    match passed_over {
        0 => String::new(),
        1 => "; one such before it was not written down".to_owned(),
        more => format!("; {more} such before it were not written down"),
    }
}

fn gone(keys: Vec<SessionKey>) -> Vec<(SessionKey, Option<ConsoleSession>)> {
    keys.into_iter().map(|key| (key, None)).collect()
}
