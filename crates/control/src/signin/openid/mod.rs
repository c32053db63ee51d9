//! Signing in by OpenID Connect: a provider vouches for people, by the authorization code flow with PKCE.
//!
//! The way there begins with a form of our own, which leads through a page: the policy of our pages lets
//! forms go nowhere else. The way back does the same, for browsers keep `SameSite=Strict` cookies from
//! what another site makes them ask for: [`OPENID_BACK`] only leads on to an address that a page of ours
//! asks for, and there the cookies of the way and of the session are seen.

mod flow;
mod options;
mod pages;
mod provider;
#[cfg(test)]
mod tests;
mod token;

use super::SignIn;
use super::browser::cookies;
use super::rate::{Place, place};
use super::sessions::{Holder, SessionKey};
use crate::clock::clock;
use crate::outside::Outside;
use axum::http::HeaderMap;
use ebbtide_api::Role;
use ebbtide_core::{Millis, Moment, WallTime};
use ebbtide_protocol::http1::CONSOLE_WAY_COOKIE;
use flow::Flow;
pub use options::{OpenIdOptions, OpenIdRoles};
pub(super) use pages::{WAY, WAY_AGAIN, open_routes, own_routes};
use provider::{Provider, Trouble};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use token::SKEW;

/// The path that a provider sends browsers back to.
pub const OPENID_BACK: &str = "/sign-in/openid/back";
/// The cookie of a browser that is on its way.
const COOKIE: &str = CONSOLE_WAY_COOKIE;
/// Forms that wait for their users, at most. Then one of the address that has the most gives way, so that
/// nobody pushes out what others have typed.
const FORMS_MAX: usize = 64;
/// Ways that somebody has come back by and that are remembered, at most.
const USED_MAX: usize = 4096;
/// Bytes of what a provider sends a browser back with, at most.
const CODE_BYTES_MAX: usize = 4096;

/// The provider, and who is on the way.
pub(super) struct OpenId {
    provider: Provider,
    ways: Mutex<Ways>,
}

#[derive(Default)]
struct Ways {
    /// The oldest first.
    forms: Vec<Waiting>,
    /// States of those who are back: nobody comes back twice.
    used: VecDeque<String>,
}

/// A form that was not sent yet.
struct Waiting {
    /// The state of the way that its user took.
    state: String,
    from: Place,
    form: String,
}

impl Ways {
    fn keep(&mut self, waiting: Waiting) {
        if self.forms.len() >= FORMS_MAX {
            let of = |place: Place| self.forms.iter().filter(|form| form.from == place).count();
            let most = self.forms.iter().map(|form| of(form.from)).max();
            let oldest = self
                .forms
                .iter()
                .position(|form| Some(of(form.from)) == most);
            self.forms.remove(oldest.unwrap_or_default());
        }
        self.forms.push(waiting);
    }
}

/// What a browser comes back with.
#[derive(Default)]
struct Back {
    state: String,
    code: String,
    error: String,
    issuer: Option<String>,
}

/// Somebody for whom the provider vouches.
struct Vouched {
    name: String,
    role: Role,
    subject: String,
    /// When he showed the provider who he is, if it says so.
    proven: Option<Moment>,
}

/// Why somebody is not signed in.
struct NotVouched {
    status: u16,
    /// What he is told.
    text: String,
    /// Who he is, if the provider vouched for that.
    who: Option<String>,
    /// When he may try again.
    wait: Option<Millis>,
}

impl NotVouched {
    fn new(status: u16, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
            who: None,
            wait: None,
        }
    }

    /// Nobody was sent out who could come back like this.
    fn lost() -> Self {
        Self::new(
            400,
            "This is not the way on which you were sent to the provider, or it took longer than ten \
             minutes, or you came back by it before. Nothing was done; please begin again.",
        )
    }
}

impl OpenId {
    pub fn new(options: OpenIdOptions) -> Self {
        Self {
            provider: Provider::new(options),
            ways: Mutex::default(),
        }
    }

    fn options(&self) -> &OpenIdOptions {
        self.provider.options()
    }

    /// Changes with what the configuration says of the provider.
    pub fn stamp(&self) -> String {
        self.options().stamp()
    }

    /// The provider, in a word for people.
    pub fn name(&self) -> &str {
        self.options().provider()
    }

    fn with<T>(&self, work: impl FnOnce(&mut Ways) -> T) -> T {
        work(&mut self.ways.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends somebody to the provider: the address, and what his cookie is to hold.
    async fn send_out(
        &self,
        outside: &Outside,
        is_again: bool,
        next: &str,
        (form, from): (String, IpAddr),
    ) -> Result<(String, String), NotVouched> {
        let flow = Flow::begin(is_again, next, seconds());
        let flow =
            flow.map_err(|()| NotVouched::new(503, "This machine is out of random bytes."))?;
        let address = self.provider.address(outside, &flow).await;
        let address = address.map_err(|trouble| self.told(trouble))?;
        if !form.is_empty() {
            let (state, from) = (flow.state(), place(from));
            self.with(|ways| ways.keep(Waiting { state, from, form }));
        }
        Ok((address, flow.cookie().to_owned()))
    }

    /// The way that a browser was sent out on and comes back by.
    fn way(&self, headers: &HeaderMap, back: &Back) -> Option<Flow> {
        let state = blake3::hash(back.state.as_bytes());
        let flow = cookies(headers, COOKIE).find_map(Flow::read)?;
        // Hashes are compared in constant time.
        let is_own = blake3::hash(flow.state().as_bytes()) == state;
        (is_own && !flow.is_over(seconds())).then_some(flow)
    }

    /// The form that waits for whoever comes back by this way.
    fn take_form(&self, flow: &Flow) -> String {
        let state = flow.state();
        self.with(|ways| {
            let index = ways.forms.iter().position(|form| form.state == state);
            index.map_or_else(String::new, |index| ways.forms.remove(index).form)
        })
    }

    /// Whether this is the first time that somebody comes back by this way.
    fn is_first(&self, flow: &Flow) -> bool {
        let state = flow.state();
        self.with(|ways| {
            if ways.used.contains(&state) {
                return false;
            }
            if ways.used.len() >= USED_MAX {
                ways.used.pop_front();
            }
            ways.used.push_back(state);
            true
        })
    }

    /// Checks what comes with the browser, before anybody is asked anything.
    async fn check(&self, outside: &Outside, back: &Back) -> Result<(), NotVouched> {
        let endpoints = self.provider.endpoints(outside).await;
        let endpoints = endpoints.map_err(|trouble| self.told(trouble))?;
        let is_own = match &back.issuer {
            Some(issuer) => *issuer == self.options().issuer.text,
            None => !endpoints.names_itself,
        };
        if !is_own {
            return Err(NotVouched::new(
                403,
                "You come back from another provider (iss).",
            ));
        }
        if !back.error.is_empty() {
            let text = match provider::word(&back.error) {
                "access_denied" => "The provider did not let you in (access_denied).".to_owned(),
                "" => "The provider did not let you in.".to_owned(),
                word => format!("The provider says {word}."),
            };
            return Err(NotVouched::new(403, text));
        }
        match back.code.is_empty() || back.code.len() > CODE_BYTES_MAX {
            true => Err(NotVouched::lost()),
            false => Ok(()),
        }
    }

    /// Asks the provider for whom it vouches.
    async fn vouched(
        &self,
        outside: &Outside,
        flow: &Flow,
        code: &str,
    ) -> Result<Vouched, NotVouched> {
        let claims = self.provider.claims(outside, flow, code).await;
        let claims = claims.map_err(|trouble| self.told(trouble))?;
        let options = self.options();
        let Some(name) = options.name(&claims.all) else {
            let text = "The provider vouches for you, but gives you no name that can be shown.";
            return Err(NotVouched::new(403, text));
        };
        let Some(role) = options.role(&claims.all) else {
            let claim = &options.roles.claim;
            let text = format!(
                "The provider knows you as {name}, but nothing in your {claim} stands for a role here. \
                 Whoever runs this Ebbtide can change that."
            );
            return Err(NotVouched {
                who: Some(name),
                ..NotVouched::new(403, text)
            });
        };
        // Without a word of the provider on it there is no knowing how long ago that was.
        let now = clock();
        let proven = claims.auth_time.map(|at| {
            let at = (at * 1000.0).clamp(0.0, now.wall.0 as f64);
            now.moment_at(WallTime(at as u64)).min(now.moment)
        });
        let is_late = |at: f64| at + SKEW < flow.began as f64;
        if flow.is_again && claims.auth_time.is_none_or(is_late) {
            let text = "The provider did not ask you again who you are, or does not say when it did \
                        (auth_time).";
            return Err(NotVouched::new(403, text));
        }
        Ok(Vouched {
            name,
            role,
            subject: claims.subject,
            proven,
        })
    }

    fn told(&self, trouble: Trouble) -> NotVouched {
        match trouble {
            Trouble::Provider(text) => {
                let mut letters = text.chars();
                let first = letters.next().map(|letter| letter.to_ascii_uppercase());
                let text: String = first.into_iter().chain(letters).collect();
                NotVouched::new(
                    503,
                    format!(
                        "The provider cannot be used at this moment. {text}. Users with a password can \
                         sign in all the same."
                    ),
                )
            }
            Trouble::Refused(text) => {
                NotVouched::new(403, format!("The provider does not vouch for you. {text}"))
            }
        }
    }
}

/// Of the wall clock, since 1970.
fn seconds() -> u64 {
    clock().wall.0 / 1000
}

impl SignIn {
    /// Signs somebody in who is back from the provider, or takes down that he showed again who he is:
    /// the secret for his cookie, if it is another one. `before` is the session that the browser has.
    async fn come_back(
        &self,
        openid: &OpenId,
        outside: &Outside,
        (flow, back): (&Flow, &Back),
        before: Option<(SessionKey, Holder)>,
        from: IpAddr,
    ) -> Result<Option<String>, NotVouched> {
        openid.check(outside, back).await?;
        self.with(|state| {
            let begun = state.attempts.begin_return(clock().moment, from);
            begun.map_err(too_soon)
        })?;
        if !openid.is_first(flow) {
            return Err(NotVouched::lost());
        }
        let vouched = openid.vouched(outside, flow, &back.code).await;
        let vouched =
            vouched.inspect_err(|failure| self.tell_of_not_vouched(failure, openid, from))?;
        self.with(|state| state.attempts.returned(from));
        let holder = Holder {
            user: vouched.name,
            role: vouched.role,
            stamp: openid.stamp(),
            subject: Some(vouched.subject.clone()),
            from,
        };
        let never = clock().moment_at(WallTime(0));
        let proven = vouched.proven.unwrap_or(never);
        let key = before.as_ref().map(|(key, _)| *key);
        if let (true, Some((key, other))) = (flow.is_again, &before) {
            let is_same = other.subject == holder.subject && other.stamp == holder.stamp;
            if !is_same {
                let text = format!(
                    "The provider vouches for {}, but {} is signed in here. Nothing was done.",
                    holder.user, other.user
                );
                return Err(NotVouched::new(403, text));
            }
            let is_as_before = other.role == holder.role && other.user == holder.user;
            if is_as_before && self.is_proven(key, proven).is_some() {
                return Ok(None);
            }
        }
        let issuer = &openid.options().issuer.text;
        let by = format!(
            ", by {issuer}, which knows this user as {}",
            vouched.subject
        );
        let cookie = self.begin(holder, proven, key, &by);
        let failed = |_| NotVouched::new(503, "This machine is out of random bytes.");
        cookie.map(Some).map_err(failed)
    }

    /// Writes down that somebody came back in vain, and lets go of what was no failure of his.
    fn tell_of_not_vouched(&self, failure: &NotVouched, openid: &OpenId, from: IpAddr) {
        let issuer = &openid.options().issuer.text;
        self.with(|state| {
            if failure.status == 503 || failure.who.is_some() {
                state.attempts.returned(from);
            }
            let why = format!("by {issuer}: {}", failure.text);
            let who = failure.who.as_deref().unwrap_or("somebody");
            self.write_failure(state, who, &why, from);
        });
    }
}

fn too_soon(wait: Millis) -> NotVouched {
    let seconds = wait.0.div_ceil(1000);
    let text = format!("Too many tries have failed. The next one is possible in {seconds} s.");
    NotVouched {
        wait: Some(wait),
        ..NotVouched::new(429, text)
    }
}
