//! Who may do what, and how long a request may take.

use super::answer::ApiError;
use super::app::{App, LONG_MAX};
use super::serve::host_fits;
use crate::signin::{self, Browser};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, Method};
use axum::middleware::Next;
use axum::response::Response;
use ebbtide_api::{ErrorKind, PREFIX, Role};
use ebbtide_core::{Actor, Command, is_plain};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

/// A request that is not meant to wait is over within this.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Characters of a reason: the audit log keeps a hundred thousand of them.
const REASON_MAX: usize = 1000;

/// The other end of a connection.
#[derive(Clone)]
pub(crate) enum Peer {
    /// Someone on the network.
    Tcp(SocketAddr),
    /// The owner of the node, or root, at the UNIX socket: the user's name.
    Unix(String),
    /// Someone else at the UNIX socket.
    Stranger,
}

/// Who makes a request.
#[derive(Clone)]
pub(crate) struct Caller {
    who: String,
    from: String,
    role: Role,
    via: Via,
}

/// How a caller is known.
#[derive(Clone)]
pub(crate) enum Via {
    /// The kernel says who is at the UNIX socket.
    Socket,
    /// A bearer token, by its hash.
    Token([u8; 32]),
    /// A browser that is signed in.
    Browser(Browser),
}

impl Caller {
    /// Finds out who calls; `None` if he does not say, an error if he may not call at all.
    pub fn of(app: &App, request: &Request) -> Result<Option<Self>, &'static str> {
        match request.extensions().get() {
            Some(Peer::Unix(who)) => Ok(Some(Self {
                who: who.clone(),
                from: "the UNIX socket".into(),
                role: Role::Admin,
                via: Via::Socket,
            })),
            // What a proxy on the way asks for (Basic, mostly) is nothing to us.
            Some(Peer::Tcp(address)) => Ok(match bearer(request.headers()) {
                Some(secret) => by_token(app, secret, *address),
                None => by_cookie(app, request.headers(), *address),
            }),
            Some(Peer::Stranger) | None => {
                Err("only the user that Ebbtide runs as, and root, may use its UNIX socket")
            }
        }
    }

    /// The name, as the audit log has it.
    pub fn name(&self) -> &str {
        &self.who
    }

    /// What the caller may do.
    pub fn role(&self) -> Role {
        self.role
    }

    /// How the caller is known.
    pub fn via(&self) -> &Via {
        &self.via
    }

    /// What the forms of pages carry in their field [`CSRF_FIELD`](signin::CSRF_FIELD); empty for
    /// callers that need none.
    pub fn csrf(&self) -> &str {
        match &self.via {
            Via::Browser(browser) => browser.csrf(),
            Via::Socket | Via::Token(_) => "",
        }
    }

    /// Whether the caller signed in with a password, which stands in the file of users.
    pub fn has_password(&self) -> bool {
        matches!(&self.via, Via::Browser(browser) if !browser.is_vouched())
    }

    /// Whether a forced change has to ask first who it is.
    pub fn is_stale(&self) -> bool {
        matches!(&self.via, Via::Browser(browser) if !browser.is_fresh())
    }

    /// Refuses a forced change of a browser that was signed in some time ago.
    pub fn check(&self, command: &Command) -> Result<(), ApiError> {
        match command.is_forced() {
            true => self.is_fresh_for("a forced change"),
            false => Ok(()),
        }
    }

    /// A place for a request that stays open; whoever is on the node's own machine needs none.
    pub fn stay(&self, app: &App) -> Result<Option<OwnedSemaphorePermit>, ApiError> {
        if matches!(self.via, Via::Socket) {
            return Ok(None);
        }
        let permit = Arc::clone(&app.long).try_acquire_owned();
        permit.map(Some).map_err(|_| {
            let text = format!(
                "{LONG_MAX} streams of events and waits are open already over the network; end some, or \
                 run `ebbtide` on the node's own machine"
            );
            ApiError::new(503, ErrorKind::Internal, text)
        })
    }

    /// Refuses `what` of a browser that was signed in some time ago.
    pub fn is_fresh_for(&self, what: &str) -> Result<(), ApiError> {
        if !self.is_stale() {
            return Ok(());
        }
        let text = format!(
            "{what} takes a fresh sign-in: show again who you are at /sign-in/again. Nothing has changed"
        );
        Err(ApiError::new(403, ErrorKind::SignInOld, text))
    }

    /// Whether the token was removed since the call began.
    pub fn has_lost_token(&self, app: &App) -> bool {
        let Via::Token(hash) = &self.via else {
            return false;
        };
        app.with_operators(|operators| !operators.iter().any(|known| known.hash == *hash))
    }

    /// Writes down that the role is not enough for `what` was asked, a method and a path; says so.
    pub fn is_refused(&self, app: &App, needed: Role, what: &str) -> String {
        let (who, role) = (&self.who, self.role);
        let text = format!("this needs the role {needed}; {who} has the role {role}");
        let actor = Actor {
            who: who.clone(),
            from: self.from.clone(),
            reason: None,
        };
        app.signin.tell_of_refusal(actor, what, &text);
        text
    }

    /// The caller, as the audit log names it.
    pub fn actor(&self, reason: Option<String>) -> Result<Actor, ApiError> {
        let length = reason.as_ref().map_or(0, |text| text.chars().count());
        if length > REASON_MAX {
            return Err(ApiError::invalid(format!(
                "reason: {length} characters; at most {REASON_MAX} go into the audit log"
            )));
        }
        if reason.as_ref().is_some_and(|text| !is_plain(text)) {
            return Err(ApiError::invalid(
                "reason: control characters do not belong into the audit log; write plain text"
                    .to_owned(),
            ));
        }
        Ok(Actor {
            who: self.who.clone(),
            from: self.from.clone(),
            reason,
        })
    }
}

/// Refuses what a foreign web page makes a browser send.
pub(super) async fn no_foreign_pages(
    State((listen, hosts)): State<(SocketAddr, Arc<[String]>)>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let over_tcp = matches!(request.extensions().get(), Some(Peer::Tcp(_)));
    if over_tcp {
        check_headers(request.headers(), listen, &hosts)?;
        check_site(&request)?;
    }
    Ok(next.run(request).await)
}

/// `hosts`: the names that the configuration knows besides.
fn check_headers(
    headers: &HeaderMap,
    listen: SocketAddr,
    hosts: &[String],
) -> Result<(), ApiError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(HOST).unwrap_or_default();
    let is_known = hosts.iter().any(|known| known.eq_ignore_ascii_case(host));
    if !is_known && !host_fits(host, listen) {
        return Err(ApiError::forbidden(format!(
            "the Host field says {host:?}, which is not this node's loopback address; use {listen}, or \
             name the console's address in the configuration (`admin.url`)"
        )));
    }
    let foreign = headers.contains_key(ORIGIN)
        && text(ORIGIN).is_none_or(|origin| {
            let of_origin = origin.split_once("://").map(|(_, rest)| rest);
            of_origin.is_none_or(|rest| !rest.eq_ignore_ascii_case(host))
        });
    if foreign {
        return Err(ApiError::forbidden(
            "the request comes from a web page of another origin".into(),
        ));
    }
    Ok(())
}

/// Browsers of today say of each request which site's page made it; what changes something must come
/// from a page of this node's own, or from no page.
fn check_site(request: &Request) -> Result<(), ApiError> {
    const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    let site = request.headers().get(SITE);
    let is_own = site.is_none_or(|site| site == "same-origin" || site == "none");
    if is_own || [Method::GET, Method::HEAD].contains(request.method()) {
        return Ok(());
    }
    Err(ApiError::forbidden(
        "the request comes from a web page of another origin; nothing has changed".into(),
    ))
}

/// Finds out who calls; refuses whoever cannot say.
pub(super) async fn authenticate(
    State(app): State<App>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let caller = Caller::of(&app, &request);
    let caller = caller.map_err(|text| ApiError::forbidden(text.into()))?;
    let caller = caller.ok_or_else(unauthorized)?;
    request.extensions_mut().insert(caller.clone());
    let admitted = signin::admit(&caller, request, next).await;
    admitted.map_err(|text| ApiError::forbidden(text.into()))
}

/// The bearer token (RFC 6750, 2.1); one that makes no sense is known to nobody.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let scheme = value.split(|byte| *byte == b' ').next()?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer");
    is_bearer.then(|| value[scheme.len()..].trim_ascii())
}

fn by_token(app: &App, secret: &[u8], address: SocketAddr) -> Option<Caller> {
    let hash = blake3::hash(secret);
    app.with_operators(|operators| {
        // `blake3::Hash` compares in constant time.
        let known = operators.iter().find(|known| hash == known.hash)?;
        Some(Caller {
            who: known.name.clone(),
            from: address.ip().to_string(),
            role: known.role,
            via: Via::Token(known.hash),
        })
    })
}

fn by_cookie(app: &App, headers: &HeaderMap, address: SocketAddr) -> Option<Caller> {
    let is_sign_of_life = signin::is_sign_of_life(headers);
    let (browser, holder) = app.signin.find(headers, is_sign_of_life)?;
    Some(Caller {
        who: holder.user,
        from: address.ip().to_string(),
        role: holder.role,
        via: Via::Browser(browser),
    })
}

fn unauthorized() -> ApiError {
    ApiError::new(
        401,
        ErrorKind::Unauthorized,
        "this needs a token that is known here, as `Authorization: Bearer ebb_…`; `ebbtide token \
         add NAME` on the node's own machine makes one",
    )
}

/// Refuses callers whose role is less than `needed`, and writes that down.
pub(super) async fn require(
    State((app, needed)): State<(App, Role)>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    match request.extensions().get::<Caller>() {
        Some(caller) if caller.role >= needed => Ok(next.run(request).await),
        Some(caller) => {
            // The router has taken the prefix away.
            let what = format!("{} {PREFIX}{}", request.method(), request.uri().path());
            let text = caller.is_refused(&app, needed, &what);
            Err(ApiError::forbidden(text))
        }
        None => Err(unauthorized()),
    }
}

/// Refuses what would change something while the node stops: no worker would take it any more.
pub(super) async fn no_changes_while_stopping(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if app.is_stopping() && request.method() != Method::GET {
        return Err(ApiError::stopping());
    }
    Ok(next.run(request).await)
}

/// Ends a request that takes too long.
pub(super) async fn limit_time(request: Request, next: Next) -> Result<Response, ApiError> {
    let done = timeout(REQUEST_TIMEOUT, next.run(request)).await;
    done.map_err(|_| {
        let text = "the request was not done in time; look whether what it asked for was done";
        ApiError::new(503, ErrorKind::Internal, text)
    })
}
