//! The console's users. They stand in their file, where `ebbtide user` changes them too.

use super::access::Caller;
use super::answer::{ApiError, Body, Names, Params};
use super::app::App;
use crate::signin::{Change, UsersError};
use axum::extract::State;
use axum::{Extension, Json};
use ebbtide_api::{
    Changed, CreateUser, ErrorBody, ErrorKind, ReasonQuery, ReasonRequest, SetPassword, SetRole,
    Users,
};
use ebbtide_core::Actor;

/// The console's users, and the file that they stand in.
#[utoipa::path(get, path = "/users", operation_id = "list_users", tag = "admin",
    responses((status = 200, body = Users), (status = "default", body = ErrorBody)))]
pub(super) async fn list(State(app): State<App>) -> Json<Users> {
    Json(app.signin.users())
}

/// Adds a user of the console.
#[utoipa::path(post, path = "/users", operation_id = "create_user", tag = "admin", request_body = CreateUser,
    responses((status = 200, body = Changed), (status = "default", body = ErrorBody)))]
pub(super) async fn create(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Body(body): Body<CreateUser>,
) -> Result<Json<Changed>, ApiError> {
    let actor = caller.actor(body.reason)?;
    // Whoever makes a user lets somebody in for longer than his own sign-in.
    caller.is_fresh_for("a new user")?;
    let (name, role) = (body.name, body.role);
    let hash = app.signin.hash(&name, body.password).await;
    let hash = hash.map_err(failed)?;
    change(&app, actor, name, Change::Add { role, hash }).await
}

/// Removes a user of the console, who is signed out everywhere. Not the last one with the role admin.
#[utoipa::path(delete, path = "/users/{name}", operation_id = "delete_user", tag = "admin",
    params(("name" = String, Path), ReasonQuery),
    responses((status = 200, body = Changed), (status = "default", body = ErrorBody)))]
pub(super) async fn remove(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Names(name): Names<String>,
    Params(query): Params<ReasonQuery>,
) -> Result<Json<Changed>, ApiError> {
    let actor = caller.actor(query.reason)?;
    change(&app, actor, name, Change::Remove).await
}

/// Gives a user of the console another role, which signs him out everywhere. Not the last one with the
/// role admin.
#[utoipa::path(post, path = "/users/{name}/role", tag = "admin", request_body = SetRole,
    params(("name" = String, Path)),
    responses((status = 200, body = Changed), (status = "default", body = ErrorBody)))]
pub(super) async fn set_role(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Names(name): Names<String>,
    Body(body): Body<SetRole>,
) -> Result<Json<Changed>, ApiError> {
    let actor = caller.actor(body.reason)?;
    caller.is_fresh_for("another role")?;
    change(&app, actor, name, Change::Role(body.role)).await
}

/// Gives a user of the console another password, which signs him out everywhere.
#[utoipa::path(post, path = "/users/{name}/password", tag = "admin", request_body = SetPassword,
    params(("name" = String, Path)),
    responses((status = 200, body = Changed), (status = "default", body = ErrorBody)))]
pub(super) async fn set_password(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Names(name): Names<String>,
    Body(body): Body<SetPassword>,
) -> Result<Json<Changed>, ApiError> {
    let actor = caller.actor(body.reason)?;
    caller.is_fresh_for("another password")?;
    let hash = app.signin.hash(&name, body.password).await;
    let hash = hash.map_err(failed)?;
    change(&app, actor, name, Change::Password(hash)).await
}

/// Signs a user of the console out everywhere.
#[utoipa::path(post, path = "/users/{name}/sign-out", tag = "admin", request_body = ReasonRequest,
    params(("name" = String, Path)),
    responses((status = 200, body = Changed), (status = "default", body = ErrorBody)))]
pub(super) async fn sign_out(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Names(name): Names<String>,
    Body(body): Body<ReasonRequest>,
) -> Result<Json<Changed>, ApiError> {
    let actor = caller.actor(body.reason)?;
    change(&app, actor, name, Change::SignOut).await
}

async fn change(
    app: &App,
    actor: Actor,
    name: String,
    change: Change,
) -> Result<Json<Changed>, ApiError> {
    let out = match &change {
        Change::Add { .. } | Change::SignOut => "",
        Change::Remove | Change::Role(_) | Change::Password(_) => ", and is signed out everywhere",
    };
    let text = format!("{}{out}", change.outcome(&name));
    let made = app.signin.change_user(actor, name, change, None).await;
    made.map_err(failed)?;
    Ok(Json(Changed {
        text,
        changes: Vec::new(),
        deadline: None,
        generation: app.snapshot().generation,
    }))
}

fn failed(error: UsersError) -> ApiError {
    let by_hand = "`ebbtide user` on the node's own machine changes the same file";
    match error {
        UsersError::Invalid(text) => ApiError::invalid(text),
        UsersError::Unknown(text) => ApiError::not_found(text),
        UsersError::Conflict(text) => ApiError::new(409, ErrorKind::Conflict, text),
        UsersError::File(text) => {
            let text = format!("{text}. Nothing has changed: mend it first; {by_hand}");
            ApiError::new(500, ErrorKind::Internal, text)
        }
        UsersError::Io(text) => {
            ApiError::new(503, ErrorKind::Internal, format!("{text}. {by_hand}"))
        }
    }
}
