//! Doors: opened, listed and closed by operators.

use super::access::Caller;
use super::answer::{ApiError, Body, Names, Params};
use super::app::App;
use super::changes::{Answer, carry_out, random};
use crate::clock::clock;
use axum::extract::State;
use axum::{Extension, Json};
use ebbtide_api::{Changed, Door, Doors, ErrorBody, NewDoor, OpenDoor, ReasonQuery, Timestamp};
use ebbtide_core::{
    Command, DoorId, DoorKeys, DoorSecret, Millis, PoolConfig, Protocol, ServerName, Snapshot,
};
use std::net::{IpAddr, SocketAddr};

/// How long a door is open, if nothing else is said.
const LASTING: Millis = Millis::from_secs(30 * 60);

/// Opens a door to a server; the answer has its address.
#[utoipa::path(post, path = "/servers/{pool}/{server}/doors", operation_id = "open_door", tag = "change",
    params(("pool" = String, Path), ("server" = String, Path)), request_body = OpenDoor,
    responses((status = 200, body = NewDoor), (status = "default", body = ErrorBody)))]
pub(super) async fn open(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Names((pool, server)): Names<(String, String)>,
    Body(body): Body<OpenDoor>,
) -> Result<Json<NewDoor>, ApiError> {
    let keys = keys()?;
    let lasting = body.lasting_ms.map_or(LASTING, Millis);
    let command = Command::OpenDoor {
        server: ServerName::new(&pool, server),
        keys,
        lasting,
        as_admin: body.as_admin,
    };
    let Json(done) = carry_out(&app, &caller, body.reason, command).await?;
    let snapshot = app.snapshot();
    let address = address(&snapshot, &pool, &keys);
    Ok(Json(NewDoor {
        id: keys.id.to_string(),
        text: done.text,
        path: address.path,
        urls: address.urls,
        works_once: address.works_once,
        until: done.deadline.unwrap_or_else(|| later(lasting)),
    }))
}

/// Where a door is.
struct Address {
    path: String,
    urls: Vec<String>,
    works_once: bool,
}

fn address(snapshot: &Snapshot, name: &str, keys: &DoorKeys) -> Address {
    let pool = snapshot.pool_named(name);
    let is_nbd = pool.is_some_and(|pool| pool.config.protocol == Protocol::Nbd);
    let listeners = snapshot.config.listeners.iter();
    let listeners = listeners.filter(|listener| listener.pool == name);
    let places = listeners.map(|listener| reachable(listener.bind));
    if !is_nbd {
        let prefix = pool.map_or("", |pool| pool.config.http.prefix.as_str());
        let path = format!("{prefix}/enter?key={}", keys.entry_text());
        return Address {
            urls: places
                .map(|place| format!("http://{place}{path}"))
                .collect(),
            path,
            works_once: true,
        };
    }
    let path = format!("{}{}", PoolConfig::DOOR_MARK, keys.entry_text());
    let resources = pool.map(|pool| pool.config.replicas.resources.as_slice());
    let resources = resources.unwrap_or_default();
    let of_place = |place: String| {
        let url = |name: &str| format!("nbd://{place}/{name}{path}");
        let urls: Vec<String> = resources.iter().map(|known| url(&known.name)).collect();
        urls
    };
    Address {
        urls: places.flat_map(of_place).collect(),
        path,
        works_once: false,
    }
}

fn later(lasting: Millis) -> Timestamp {
    Timestamp(clock().wall.0.saturating_add(lasting.0))
}

/// An address that listens on every interface is reached by this machine's own name for itself.
fn reachable(bind: SocketAddr) -> String {
    match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => format!("localhost:{}", bind.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => format!("localhost:{}", bind.port()),
        _ => bind.to_string(),
    }
}

/// A number and secrets that nobody can guess.
fn keys() -> Result<DoorKeys, ApiError> {
    let (first, second) = (random()?, random()?);
    let (id, _) = first.split_first_chunk().unwrap_or((&[0; 8], &[]));
    let half = |bytes: &[u8; 32], upper: bool| {
        let mut secret = [0; 16];
        secret.copy_from_slice(if upper { &bytes[16..] } else { &bytes[..16] });
        DoorSecret(secret)
    };
    Ok(DoorKeys {
        id: DoorId(u64::from_be_bytes(*id)),
        entry: half(&first, true),
        cookie: half(&second, false),
        form: half(&second, true),
    })
}

/// The doors that are open.
#[utoipa::path(get, path = "/doors", operation_id = "list_doors", tag = "read",
    responses((status = 200, body = Doors), (status = "default", body = ErrorBody)))]
pub(super) async fn list(State(app): State<App>) -> Json<Doors> {
    let (snapshot, now) = (app.snapshot(), clock());
    let open = snapshot.doors.list(now.moment);
    let doors = open.iter().map(|door| Door {
        id: door.id().to_string(),
        pool: pool_name(&snapshot, door),
        server: snapshot
            .server(door.pool, door.server())
            .map(|server| server.name.to_string()),
        by: door.by.clone(),
        until: Timestamp(now.wall_at(door.until).0),
        entered: door.entered().map(|at| Timestamp(at.0)),
        connections: door.connections(),
        as_admin: door.as_admin,
    });
    Json(Doors {
        doors: doors.collect(),
    })
}

fn pool_name(snapshot: &Snapshot, door: &ebbtide_core::Door) -> String {
    let pool = snapshot.pool(door.pool);
    pool.map_or_else(|| "-".to_owned(), |pool| pool.config.name.clone())
}

/// Closes a door; what goes through it ends within a second.
#[utoipa::path(delete, path = "/doors/{id}", operation_id = "close_door", tag = "change",
    params(("id" = String, Path), ReasonQuery),
    responses((status = 200, body = Changed), (status = "default", body = ErrorBody)))]
pub(super) async fn close(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Names(id): Names<String>,
    Params(query): Params<ReasonQuery>,
) -> Answer {
    let Some(id) = DoorId::from_text(&id) else {
        return Err(ApiError::not_found(format!(
            "there is no door {id}; a door's number has sixteen digits, and `ebbtide door list` \
             lists them"
        )));
    };
    carry_out(&app, &caller, query.reason, Command::CloseDoor { id }).await
}
