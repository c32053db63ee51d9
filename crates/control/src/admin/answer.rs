//! How requests are read and errors answered: always JSON, always one shape.

use super::app::App;
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use ebbtide_api::{ErrorBody, ErrorDetail, ErrorKind};
use ebbtide_core::{Refusal, RefusalKind};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use std::sync::atomic::Ordering::Relaxed;

/// An error as it goes over the wire. Boxed, as errors are rare and answers are not.
pub(crate) struct ApiError(Box<(StatusCode, ErrorDetail)>);

impl ApiError {
    /// `status` must be a valid one; anything else is answered as 500.
    pub fn new(status: u16, kind: ErrorKind, message: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self(Box::new((status, ErrorDetail::new(kind, message))))
    }

    /// What is told of it.
    pub fn detail(&self) -> &ErrorDetail {
        &self.0.1
    }

    pub fn not_found(message: String) -> Self {
        Self::new(404, ErrorKind::NotFound, message)
    }

    pub fn invalid(message: String) -> Self {
        Self::new(422, ErrorKind::Invalid, message)
    }

    pub fn forbidden(message: String) -> Self {
        Self::new(403, ErrorKind::Forbidden, message)
    }

    pub fn stopping() -> Self {
        let text = "Ebbtide is stopping, and takes no changes any more; nothing has changed";
        Self::new(503, ErrorKind::Stopping, text)
    }

    /// A failure of the store.
    pub fn store(app: &App, message: String) -> Self {
        let full = app.store_tally.full.load(Relaxed);
        Self::new(if full { 507 } else { 503 }, ErrorKind::Store, message)
    }

    /// A refusal of the driver's.
    pub fn refused(app: &App, refusal: Refusal) -> Self {
        let text = refusal.text;
        match refusal.kind {
            RefusalKind::NotFound => Self::not_found(text),
            RefusalKind::Invalid => Self::invalid(text),
            RefusalKind::Store => Self::store(app, text),
            RefusalKind::Unacknowledged => Self::new(504, ErrorKind::Unacknowledged, text),
            RefusalKind::NotMoved => Self::new(504, ErrorKind::NotMoved, text),
            RefusalKind::Guarded(guard) => {
                let mut error = Self::new(409, ErrorKind::Guarded, text);
                let detail = &mut error.0.1;
                detail.would_leave = Some(guard.would_leave);
                detail.minimum = Some(guard.minimum);
                detail.sessions = Some(guard.sessions);
                error
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, error) = *self.0;
        let body = Json(ErrorBody {
            error: error.clone(),
        });
        let mut response = (status, body).into_response();
        // The console says it in a page.
        response.extensions_mut().insert(error);
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

/// A JSON body; an empty one counts as `{}`.
pub(super) struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let is_json = request.headers().get(CONTENT_TYPE).is_some_and(|value| {
            let value = value.to_str().unwrap_or_default();
            let essence = value.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("application/json")
        });
        let bytes = Bytes::from_request(request, state).await.map_err(|error| {
            let status = error.status().as_u16();
            ApiError::new(status, ErrorKind::Invalid, error.body_text())
        })?;
        if bytes.is_empty() {
            return read(b"{}");
        }
        if !is_json {
            let text = "the body must be JSON, and say so: Content-Type: application/json";
            return Err(ApiError::new(415, ErrorKind::Invalid, text));
        }
        read(&bytes)
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<Body<T>, ApiError> {
    serde_json::from_slice(bytes).map(Body).map_err(|error| {
        let (status, what) = match error.classify() {
            Category::Data => (422, "the body is not what this endpoint takes"),
            _ => (400, "the body is not JSON"),
        };
        ApiError::new(status, ErrorKind::Invalid, format!("{what}: {error}"))
    })
}

/// The query of the address.
pub(super) struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let read = Query::<T>::from_request_parts(parts, state).await;
        read.map(|Query(query)| Self(query)).map_err(|error| {
            let what = error.body_text();
            let what = plainly(&what);
            let text = format!("the query is not what this endpoint takes: {what}");
            ApiError::new(400, ErrorKind::Invalid, text)
        })
    }
}

/// The names in the address's path.
pub(super) struct Names<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Names<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let read = Path::<T>::from_request_parts(parts, state).await;
        read.map(|Path(names)| Self(names)).map_err(|error| {
            let text = match error {
                PathRejection::FailedToDeserializePathParams(_) => {
                    "a name in the path is not text: what follows each `%` must be UTF-8".into()
                }
                other => other.body_text(),
            };
            ApiError::new(400, ErrorKind::Invalid, text)
        })
    }
}

/// What is wrong, in the words of whatever read the value: the text before tells of this program's
/// own parts.
fn plainly(text: &str) -> &str {
    let technical = "Failed to deserialize query string: ";
    text.strip_prefix(technical).unwrap_or(text)
}
