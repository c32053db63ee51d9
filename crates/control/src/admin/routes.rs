//! Which address leads to which handler, and which role it takes.

use super::access::{
    authenticate, limit_time, no_changes_while_stopping, no_foreign_pages, require,
};
use super::answer::ApiError;
use super::app::App;
use super::{
    changes, console, doors, metrics, moves, openapi, reads, rebalance, replicas, sessions, stream,
    tell, tokens, users,
};
use crate::signin;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Uri;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, post};
use ebbtide_api::{ErrorKind, PREFIX, Role};
use std::net::SocketAddr;

const BODY_BYTES_MAX: usize = 64 * 1024;

/// The whole API, for both listeners; `listen` is the address of the one on TCP.
pub(super) fn router(app: App, listen: SocketAddr) -> Router {
    let api = viewer()
        .merge(operator().route_layer(from_fn_with_state((app.clone(), Role::Operator), require)))
        .merge(admin().route_layer(from_fn_with_state((app.clone(), Role::Admin), require)))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(app.clone(), no_changes_while_stopping))
        .layer(from_fn_with_state(app.clone(), authenticate));
    let hosts = app.signin.hosts();
    Router::new()
        .nest(PREFIX, api)
        .merge(open())
        .merge(console::router(&app))
        .merge(signin::routes(&app).route_layer(from_fn(limit_time)))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state((listen, hosts), no_foreign_pages))
        .with_state(app)
}

/// What needs no token: it says nothing of users.
fn open() -> Router<App> {
    Router::new()
        .route("/metrics", get(metrics::metrics))
        .route("/livez", get(reads::livez))
        .route("/readyz", get(reads::readyz))
        .route_layer(from_fn(limit_time))
}

fn viewer() -> Router<App> {
    let quick = Router::new()
        .route("/status", get(reads::status))
        .route("/pools/{pool}", get(reads::pool))
        .route("/pools/{pool}/replicas", get(replicas::replicas))
        .route("/pools/{pool}/rebalance", get(rebalance::plan))
        .route("/servers/{pool}/{server}", get(reads::server))
        .route("/sessions", get(sessions::list))
        .route("/doors", get(doors::list))
        .route("/audit", get(reads::audit))
        .route("/events", get(stream::events))
        .route("/openapi.json", get(openapi::document))
        .route_layer(from_fn(limit_time));
    quick.route("/servers/{pool}/{server}/wait", get(reads::wait))
}

fn operator() -> Router<App> {
    let server = get_less()
        .put(changes::add_server)
        .patch(changes::set_server)
        .delete(changes::remove_server);
    Router::new()
        .route("/servers/{pool}/{server}", server)
        .route("/servers/{pool}/{server}/ready", post(changes::ready))
        .route("/servers/{pool}/{server}/hold", post(changes::hold))
        .route("/servers/{pool}/{server}/drain", post(changes::drain))
        .route(
            "/servers/{pool}/{server}/maintenance",
            post(changes::maintenance),
        )
        .route("/servers/{pool}/{server}/forget", post(changes::forget))
        .route("/pools/{pool}/close", post(changes::close))
        .route("/pools/{pool}/open", post(changes::open))
        .route(
            "/pools/{pool}/rebalance",
            post(rebalance::begin).delete(rebalance::stop),
        )
        .route("/servers/{pool}/{server}/doors", post(doors::open))
        .route("/doors/{id}", delete(doors::close))
        .route("/sessions/end", post(sessions::end))
        .route("/sessions/tell", post(tell::tell))
        .route("/sessions/{id}", delete(sessions::end_one))
        .route_layer(from_fn(limit_time))
        // These have limits of their own.
        .route("/sessions/{id}/move", post(moves::move_session))
        .route("/servers/{pool}/{server}/stop", post(moves::stop))
        .route("/servers/{pool}/{server}/drill", post(moves::drill))
}

fn admin() -> Router<App> {
    Router::new()
        .route("/reload", post(changes::reload))
        .route("/token-secret/rotate", post(changes::rotate_token_secret))
        .route("/tokens", get(tokens::list).post(tokens::create))
        .route("/tokens/{name}", delete(tokens::remove))
        .route("/users", get(users::list).post(users::create))
        .route("/users/{name}", delete(users::remove))
        .route("/users/{name}/role", post(users::set_role))
        .route("/users/{name}/password", post(users::set_password))
        .route("/users/{name}/sign-out", post(users::sign_out))
        .route_layer(from_fn(limit_time))
}

/// A server's address is read by viewers and changed by operators: the two halves are merged.
fn get_less() -> axum::routing::MethodRouter<App> {
    axum::routing::MethodRouter::new()
}

async fn unknown(uri: Uri) -> ApiError {
    ApiError::not_found(format!(
        "there is nothing at {}; {PREFIX}/openapi.json tells what there is",
        uri.path()
    ))
}

async fn wrong_method(uri: Uri) -> ApiError {
    let text = format!(
        "{} takes another method; see {PREFIX}/openapi.json",
        uri.path()
    );
    ApiError::new(405, ErrorKind::Invalid, text)
}
