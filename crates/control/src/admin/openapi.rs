//! The description of the API.

use super::{
    changes, doors, moves, reads, rebalance, replicas, sessions, stream, tell, tokens, users,
};
use axum::Json;
use ebbtide_api::PREFIX;
use utoipa::openapi::RefOr;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Ebbtide's control API",
        description = "Takes any server out of traffic without its users losing work, and brings \
            it back. Over TCP every request needs a bearer token, or the cookie of a browser that is \
            signed in to the console (and then, to change something, its CSRF token in \
            `X-CSRF-Token`); on the UNIX socket `admin.sock` in the state directory it does not. Roles: `viewer` (tag `read`), `operator` (also \
            `change`), `admin` (also `admin`). Beside these, without a token: `/metrics`, \
            `/livez`, `/readyz`.",
        license(name = "MIT OR Apache-2.0")
    ),
    servers((url = PREFIX)),
    paths(
        reads::status, reads::pool, replicas::replicas, reads::server, reads::wait, sessions::list, reads::audit,
        stream::events, changes::ready, changes::hold, changes::drain, changes::maintenance,
        changes::forget, changes::close, changes::open, changes::add_server, changes::set_server, changes::remove_server,
        rebalance::plan, rebalance::begin, rebalance::stop,
        moves::move_session, moves::stop, moves::drill,
        doors::open, doors::list, doors::close, sessions::end_one, sessions::end, tell::tell, changes::reload, changes::rotate_token_secret, tokens::list,
        tokens::create, tokens::remove, users::list,
        users::create, users::remove, users::set_role, users::set_password, users::sign_out, document
    ),
    security(("token" = [])),
    modifiers(&BearerToken, &Responses),
    tags(
        (name = "read", description = "Role viewer"),
        (name = "change", description = "Role operator"),
        (name = "admin", description = "Role admin")
    )
)]
struct Document;

struct BearerToken;

impl Modify for BearerToken {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

/// Every response is to be described (OpenAPI 3.1, 4.8.17).
struct Responses;

impl Modify for Responses {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let paths = document.paths.paths.values_mut();
        let calls = paths.flat_map(|path| {
            let reading = path.get.iter_mut();
            let changing = [
                &mut path.put,
                &mut path.post,
                &mut path.patch,
                &mut path.delete,
            ];
            reading.chain(changing.into_iter().flatten())
        });
        for (status, response) in calls.flat_map(|call| &mut call.responses.responses) {
            if let RefOr::T(response) = response
                && response.description.is_empty()
            {
                response.description = match status.as_str() {
                    "default" => "It is refused, or failed, and the text says why.",
                    _ => "It is done.",
                }
                .to_owned();
            }
        }
    }
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "read",
    responses((status = 200, description = "OpenAPI", body = Object)))]
pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}

/// The description of the control API (OpenAPI), as JSON.
pub fn openapi() -> String {
    let json = Document::openapi().to_pretty_json();
    json.expect("the document is made of text and numbers, which JSON can hold")
}
