//! The console's users, as their file has them. They are changed in the file, by `ebbtide user`.

use super::app::App;
use axum::Json;
use axum::extract::State;
use ebbtide_api::{ErrorBody, Users};

/// The console's users, and the file that they stand in.
#[utoipa::path(get, path = "/users", tag = "admin",
    responses((status = 200, body = Users), (status = "default", body = ErrorBody)))]
pub(super) async fn list(State(app): State<App>) -> Json<Users> {
    Json(app.signin.users())
}
