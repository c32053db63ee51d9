//! Who may do what, and how long a request may take.

use super::answer::ApiError;
use super::app::App;
use super::serve::host_fits;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::Response;
use ebbtide_api::{ErrorKind, Role};
use ebbtide_core::{Actor, is_plain};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::timeout;

/// A request that is not meant to wait is over within this.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Characters of a reason: the audit log keeps a hundred thousand of them.
const REASON_MAX: usize = 1000;

/// The other end of a connection.
#[derive(Clone)]
pub(super) enum Peer {
    /// Someone on the network.
    Tcp(SocketAddr),
    /// The owner of the node, or root, at the UNIX socket: the user's name.
    Unix(String),
    /// Someone else at the UNIX socket.
    Stranger,
}

/// Who makes a request.
#[derive(Clone)]
pub(super) struct Caller {
    who: String,
    from: String,
    role: Role,
}

impl Caller {
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
    State(listen): State<SocketAddr>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let over_tcp = matches!(request.extensions().get(), Some(Peer::Tcp(_)));
    if over_tcp {
        check_headers(request.headers(), listen)?;
    }
    Ok(next.run(request).await)
}

fn check_headers(headers: &HeaderMap, listen: SocketAddr) -> Result<(), ApiError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(HOST).unwrap_or_default();
    if !host_fits(host, listen) {
        return Err(ApiError::forbidden(format!(
            "the Host field says {host:?}, which is not this node's loopback address; use {listen}"
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

/// Finds out who calls; refuses whoever cannot say.
pub(super) async fn authenticate(
    State(app): State<App>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let caller = match request.extensions().get() {
        Some(Peer::Unix(who)) => Caller {
            who: who.clone(),
            from: "the UNIX socket".into(),
            role: Role::Admin,
        },
        Some(Peer::Tcp(address)) => {
            by_token(&app, request.headers(), *address).ok_or_else(unauthorized)?
        }
        Some(Peer::Stranger) | None => {
            return Err(ApiError::forbidden(
                "only the user that Ebbtide runs as, and root, may use its UNIX socket".into(),
            ));
        }
    };
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

fn by_token(app: &App, headers: &HeaderMap, address: SocketAddr) -> Option<Caller> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, secret) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let hash = blake3::hash(secret.trim().as_bytes());
    app.with_operators(|operators| {
        // `blake3::Hash` compares in constant time.
        let known = operators.iter().find(|known| hash == known.hash)?;
        Some(Caller {
            who: known.name.clone(),
            from: address.ip().to_string(),
            role: known.role,
        })
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

/// Refuses callers whose role is less than `needed`.
pub(super) async fn require(
    State(needed): State<Role>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    match request.extensions().get::<Caller>() {
        Some(caller) if caller.role >= needed => Ok(next.run(request).await),
        Some(caller) => Err(ApiError::forbidden(format!(
            "this needs the role {needed}; {} has the role {}",
            caller.who, caller.role
        ))),
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
