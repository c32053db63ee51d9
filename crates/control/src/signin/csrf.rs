//! Against forged requests: whatever a browser changes by its cookie must carry a text that only a page
//! of this node could tell it. The text is made of the cookie's secret by a keyed hash, so there is
//! nothing more to remember, and it says nothing of the secret.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method};

/// The field of a form that carries the text.
pub(crate) const CSRF_FIELD: &str = "csrf";
/// The header field that carries it where there is no form.
pub(crate) const CSRF_HEADER: &str = "x-csrf-token";

const CONTEXT: &str = "ebbtide 2026 console csrf";
/// Bytes of a form, at most.
pub(super) const FORM_BYTES_MAX: usize = 64 * 1024;

/// The text of the session whose cookie holds `secret`.
pub(super) fn csrf_token(secret: &str) -> String {
    let key = blake3::derive_key(CONTEXT, secret.as_bytes());
    blake3::Hash::from_bytes(key).to_hex().to_string()
}

/// Whether a method may change something.
pub(super) fn changes(method: &Method) -> bool {
    ![Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE);
    let value = value.and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| {
        let essence = essence.trim();
        essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
    })
}

/// The fields of a form, in their order.
pub(super) fn fields(body: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(body).into_owned().collect()
}

/// Hands the request back if it carries `token`, in its header or in its form.
pub(super) async fn check(request: Request, token: &str) -> Result<Request, &'static str> {
    const MISSING: &str = "the request carries no CSRF token of this sign-in, so it may have been \
        forged; load the page again and repeat what you did. Nothing has changed";
    if let Some(value) = request.headers().get(CSRF_HEADER) {
        return match is_same(value.as_bytes(), token) {
            true => Ok(request),
            false => Err(MISSING),
        };
    }
    if !is_form(request.headers()) {
        return Err(MISSING);
    }
    let (parts, body) = request.into_parts();
    let bytes: Bytes = to_bytes(body, FORM_BYTES_MAX)
        .await
        .map_err(|_| "the form is longer than 64 KiB, or broke off; nothing has changed")?;
    let fields = form_urlencoded::parse(&bytes);
    let mut tokens = fields.filter(|(name, _)| name == CSRF_FIELD);
    match tokens.next() {
        Some((_, value)) if is_same(value.as_bytes(), token) => {
            Ok(Request::from_parts(parts, Body::from(bytes)))
        }
        _ => Err(MISSING),
    }
}

/// Compares hashes, in constant time.
fn is_same(given: &[u8], token: &str) -> bool {
    blake3::hash(given) == blake3::hash(token.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[(&str, &str)], body: &str) -> Request {
        let mut request = Request::post("/");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(Body::from(body.to_owned())).unwrap()
    }

    #[tokio::test]
    async fn the_token_counts_in_the_header_or_in_the_form() {
        let token = csrf_token("secret");
        assert_ne!(token, csrf_token("secreu"));
        let form = (
            "content-type",
            "application/x-www-form-urlencoded; charset=UTF-8",
        );
        let good = format!("message=a+b&csrf={token}");
        let checked = check(request(&[form], &good), &token).await.unwrap();
        let body = to_bytes(checked.into_body(), 1000).await.unwrap();
        assert_eq!(body, good.as_bytes());
        assert!(
            check(request(&[(CSRF_HEADER, &token)], "{}"), &token)
                .await
                .is_ok()
        );

        let other = csrf_token("another");
        for refused in [
            request(&[form], "message=a+b"),
            request(&[form], &format!("csrf={other}")),
            request(&[form], &format!("csrf=&csrf={token}")),
            request(&[form], "csrf="),
            request(&[], &good),
            request(&[("content-type", "text/plain")], &good),
            request(&[("content-type", "application/json")], "{}"),
            request(&[(CSRF_HEADER, &other), form], &good),
            request(
                &[form],
                &format!("a={}&csrf={token}", "x".repeat(FORM_BYTES_MAX)),
            ),
        ] {
            assert!(check(refused, &token).await.is_err());
        }
    }
}
