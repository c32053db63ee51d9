//! Bearer tokens: made, listed, removed. Only a hash of each is kept.

use super::access::Caller;
use super::answer::{ApiError, Body, Names, Params};
use super::app::App;
use super::changes::random;
use crate::clock::clock;
use crate::store::Operator;
use axum::extract::State;
use axum::{Extension, Json};
use ebbtide_api::{
    Changed, CreateToken, ErrorBody, ErrorKind, NewToken, ReasonQuery, Timestamp, Token, Tokens,
};
use ebbtide_core::{Actor, AuditEntry, is_name};

/// What a token begins with, so that it is known for one wherever it turns up.
const PREFIX: &str = "ebb_";
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The bearer tokens, without their secrets.
#[utoipa::path(get, path = "/tokens", operation_id = "list_tokens", tag = "admin",
    responses((status = 200, body = Tokens), (status = "default", body = ErrorBody)))]
pub(super) async fn list(State(app): State<App>) -> Json<Tokens> {
    let tokens = app.with_operators(|operators| operators.iter().map(shown).collect());
    Json(Tokens { tokens })
}

fn shown(operator: &Operator) -> Token {
    Token {
        name: operator.name.clone(),
        role: operator.role,
        created: operator.created,
    }
}

/// Makes a bearer token. The answer is the only time that its secret is seen.
#[utoipa::path(post, path = "/tokens", operation_id = "create_token", tag = "admin", request_body = CreateToken,
    responses((status = 200, body = NewToken), (status = "default", body = ErrorBody)))]
pub(super) async fn create(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Body(body): Body<CreateToken>,
) -> Result<Json<NewToken>, ApiError> {
    let name = body.name;
    if !is_name(&name) {
        return Err(ApiError::invalid(format!(
            "name: {name:?} is not 1 to 64 letters, digits, `-`, `_`, `.`, beginning with a \
             letter or digit"
        )));
    }
    let actor = caller.actor(body.reason)?;
    // A token lasts longer than the sign-in, and is never asked again who it is.
    caller.is_fresh_for("a new token")?;
    let secret = format!("{PREFIX}{}", base64url(&random()?));
    let operator = Operator {
        name: name.clone(),
        role: body.role,
        created: Timestamp(clock().wall.0),
        hash: *blake3::hash(secret.as_bytes()).as_bytes(),
    };
    let (role, created) = (operator.role, operator.created);
    // Taken in memory first, so that of two requests for one name only one goes on.
    app.with_operators(|operators| {
        if operators.iter().any(|known| known.name == name) {
            let text = format!("there is a token {name} already; remove it first");
            return Err(ApiError::new(409, ErrorKind::Conflict, text));
        }
        insert(operators, operator.clone());
        Ok(())
    })?;
    let outcome = format!("the token {name} has the role {role}");
    let audit = line(actor, "token add", &name, outcome);
    let stored = write(&app, name.clone(), Some(operator), audit).await;
    if stored.is_err() {
        app.with_operators(|operators| operators.retain(|known| known.name != name));
    }
    stored.map(|()| {
        Json(NewToken {
            name,
            role,
            created,
            secret,
        })
    })
}

/// Removes a bearer token; it is worth nothing from then on.
#[utoipa::path(delete, path = "/tokens/{name}", operation_id = "delete_token", tag = "admin",
    params(("name" = String, Path), ReasonQuery),
    responses((status = 200, body = Changed), (status = "default", body = ErrorBody)))]
pub(super) async fn remove(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Names(name): Names<String>,
    Params(query): Params<ReasonQuery>,
) -> Result<Json<Changed>, ApiError> {
    let actor = caller.actor(query.reason)?;
    // Out of memory first: whatever becomes of this request, the token is worth nothing at once.
    let removed = app.with_operators(|operators| {
        let index = operators.iter().position(|known| known.name == name)?;
        Some(operators.remove(index))
    });
    let removed =
        removed.ok_or_else(|| ApiError::not_found(format!("there is no token {name}")))?;
    let text = format!("the token {name} is worth nothing any more");
    let audit = line(actor, "token remove", &name, text.clone());
    if let Err(error) = write(&app, name, None, audit).await {
        app.with_operators(|operators| insert(operators, removed));
        return Err(error);
    }
    Ok(Json(Changed {
        text,
        changes: Vec::new(),
        deadline: None,
        generation: app.snapshot().generation,
    }))
}

/// Keeps them in the order of their names.
fn insert(operators: &mut Vec<Operator>, operator: Operator) {
    let index = operators.partition_point(|known| known.name < operator.name);
    operators.insert(index, operator);
}

fn line(actor: Actor, action: &str, name: &str, outcome: String) -> AuditEntry {
    AuditEntry {
        at: clock().wall,
        actor,
        action: action.to_owned(),
        target: name.to_owned(),
        outcome,
        forced: false,
    }
}

async fn write(
    app: &App,
    name: String,
    operator: Option<Operator>,
    audit: AuditEntry,
) -> Result<(), ApiError> {
    let stored = app.store.write_operator(name, operator, audit).await;
    stored
        .ok_or_else(ApiError::stopping)?
        .map_err(|error| ApiError::store(app, error.to_string()))
}

/// RFC 4648, 5, without padding.
fn base64url(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = group.iter().enumerate().fold(0_u32, |word, (at, byte)| {
            word | u32::from(*byte) << (16 - 8 * at)
        });
        for digit in 0..=group.len() {
            let index = word >> (18 - 6 * digit) & 63;
            text.push(char::from(ALPHABET[index as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64url;

    #[test]
    fn base64url_as_in_the_rfc() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg"),
            (b"fo", "Zm8"),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg"),
            (&[0xfb, 0xff], "-_8"),
        ] {
            assert_eq!(base64url(bytes), text);
        }
    }
}
