//! The console: the pages that operators look at and click on, served by the program itself.
//!
//! Pages are written on this side and stay up to date by server-sent events. Whatever is clicked goes
//! through the handlers of the JSON API, so that guards, the audit log and roles are the same for both.

mod access;
mod act;
mod assets;
mod audit;
mod capacity;
mod chart;
mod desk;
mod events;
mod fields;
mod frame;
mod history;
mod live;
mod maintenance;
mod node;
mod node_offer;
mod notes;
mod offer;
mod openapi;
mod outlook;
mod panel;
mod pool_offer;
mod pools;
mod preview;
mod replicas;
mod server;
mod session_offer;
mod sessions;
mod tell_offer;
mod user_offer;
mod words;

use super::access::{limit_time, no_changes_while_stopping};
use super::answer::ApiError;
use super::app::App;
use crate::signin;
use axum::Router;
use axum::http::Uri;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use desk::{Desk, Room};
use ebbtide_api::Role;
use fields::Fields;

/// The console's pages; `app` is what they show.
pub(super) fn router(app: &App) -> Router<App> {
    let pages = Router::new()
        .route("/", get(page))
        .route("/servers/{pool}/{server}", get(page))
        .route("/sessions", get(page))
        .route("/maintenance", get(page))
        .route("/replicas", get(page))
        .route("/events", get(page))
        .route("/audit", get(page))
        .route("/audit.csv", get(audit::csv))
        .route("/audit.json", get(audit::json))
        .route("/node", get(page))
        .route("/api", get(page))
        .route("/do/{what}", get(act::show))
        .route_layer(from_fn(limit_time));
    let admins = Router::new()
        .route("/access", get(page))
        .route_layer(from_fn_with_state(
            (app.clone(), Role::Admin),
            signin::require,
        ));
    let changes = Router::new()
        .route("/do/{what}", axum::routing::post(act::carry_out))
        .route_layer(from_fn_with_state(
            (app.clone(), Role::Operator),
            signin::require,
        ));
    let pages = pages
        .merge(admins)
        .merge(changes)
        .route("/live/", get(live::stream))
        .route("/live/{*page}", get(live::stream))
        .layer(axum::Extension(Room::new(app.clone())))
        .layer(from_fn_with_state(app.clone(), no_changes_while_stopping))
        .layer(from_fn(frame::dress));
    signin::guard(app, pages).merge(assets::router().layer(from_fn(signin::headers)))
}

/// Which page an address names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Pools,
    Server(String, String),
    Sessions,
    Maintenance,
    Replicas,
    Events,
    Audit,
    Node,
    Access,
    Api,
}

impl Place {
    fn of(path: &str) -> Option<Self> {
        let mut parts = path.trim_start_matches('/').split('/');
        let place = match parts.next().unwrap_or_default() {
            "" => Self::Pools,
            "servers" => Self::Server(parts.next()?.to_owned(), parts.next()?.to_owned()),
            "sessions" => Self::Sessions,
            "maintenance" => Self::Maintenance,
            "replicas" => Self::Replicas,
            "events" => Self::Events,
            "audit" => Self::Audit,
            "node" => Self::Node,
            "access" => Self::Access,
            "api" => Self::Api,
            _ => return None,
        };
        parts.next().is_none().then_some(place)
    }

    /// Its place among the links at the top.
    fn link(&self) -> &'static str {
        match self {
            Self::Pools | Self::Server(..) => "/",
            Self::Sessions => "/sessions",
            Self::Maintenance => "/maintenance",
            Self::Replicas => "/replicas",
            Self::Events => "/events",
            Self::Audit => "/audit",
            Self::Node => "/node",
            Self::Access => "/access",
            Self::Api => "/api",
        }
    }

    /// What the page shows now.
    async fn draw(&self, desk: &Desk, asked: &Fields) -> Result<Drawn, ApiError> {
        match self {
            Self::Pools => pools::draw(desk, asked).await,
            Self::Server(pool, server) => server::draw(desk, pool, server).await,
            Self::Sessions => sessions::draw(desk, asked).await,
            Self::Maintenance => maintenance::draw(desk).await,
            Self::Replicas => replicas::draw(desk).await,
            Self::Events => events::draw(desk, asked),
            Self::Audit => audit::draw(desk, asked).await,
            Self::Node => node::draw(desk).await,
            Self::Access => access::draw(desk).await,
            Self::Api => openapi::draw(),
        }
    }
}

/// What is between the top and the end of a page.
struct Drawn {
    title: String,
    main: String,
}

impl Drawn {
    fn new(title: impl Into<String>, page: &impl askama::Template) -> Result<Self, ApiError> {
        Ok(Self {
            title: title.into(),
            main: frame::written(page)?,
        })
    }
}

async fn page(desk: Desk, uri: Uri) -> Result<Response, ApiError> {
    let place = Place::of(uri.path()).ok_or_else(|| nothing_at(&uri))?;
    let asked = Fields::of_query(uri.query().unwrap_or_default());
    let drawn = place.draw(&desk, &asked).await?;
    frame::page(&desk, place.link(), &drawn).await
}

fn nothing_at(uri: &Uri) -> ApiError {
    ApiError::not_found(format!("there is no page at {}", uri.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_pages() {
        assert_eq!(Place::of("/"), Some(Place::Pools));
        let web1 = Place::Server("app".into(), "web1".into());
        assert_eq!(Place::of("/servers/app/web1"), Some(web1));
        for wrong in ["/servers/app", "/servers/app/web1/x", "/sessions/1", "/x"] {
            assert_eq!(Place::of(wrong), None, "{wrong}");
        }
    }
}
