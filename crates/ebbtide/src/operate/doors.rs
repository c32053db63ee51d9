//! `ebbtide door`: an operator's own way in.

use super::{Done, changed, print_table, reason_query};
use crate::cli::{DoorCommand, DoorOpen};
use crate::exit::Exit;
use crate::output;
use ebbtide_api as api;
use ebbtide_api::Client;
use ebbtide_core::ServerName;

/// Opens a door and prints its address.
pub(super) async fn open(client: &Client, asked: DoorOpen, json: bool) -> Done {
    let Some(ServerName { pool, server }) = asked.server else {
        return list(client, json).await;
    };
    let body = api::OpenDoor {
        lasting_ms: asked.lasting.map(|lasting| lasting.0),
        as_admin: asked.as_admin,
        reason: asked.why.reason,
    };
    let door = client.open_door(&pool, &server, &body).await?;
    if json {
        output::json(&door);
        return Ok(Exit::Done);
    }
    output::line(format!("{}, until {}", door.text, door.until));
    output::line(match (door.works_once, door.urls.len()) {
        (true, _) => "Open this address in your browser; it works once:",
        (false, 0 | 1) => {
            "Give this address to an NBD client; it works as long as the door is open:"
        }
        (false, _) => "Give one of these to an NBD client; they work as long as the door is open:",
    });
    for url in &door.urls {
        output::line(format!("  {url}"));
    }
    if door.urls.is_empty() {
        let resource = if door.works_once { "" } else { "RESOURCE" };
        let path = &door.path;
        output::line(format!("  {resource}{path} (the pool has no listener)"));
    }
    Ok(Exit::Done)
}

/// Lists doors, or closes one.
pub(super) async fn other(client: &Client, command: DoorCommand, json: bool) -> Done {
    match command {
        DoorCommand::List => list(client, json).await,
        DoorCommand::Close { id, why } => {
            changed(client.close_door(&id, &reason_query(why)).await, json)
        }
    }
}

async fn list(client: &Client, json: bool) -> Done {
    let found = client.doors().await?;
    if json {
        output::json(&found);
        return Ok(Exit::Done);
    }
    let rows = found.doors.iter().map(|door| {
        let server = door.server.as_deref().unwrap_or("(gone)");
        vec![
            door.id.clone(),
            format!("{}/{server}", door.pool),
            door.until.to_string(),
            door.entered
                .map_or_else(|| "not yet".to_owned(), |at| at.to_string()),
            door.connections.to_string(),
            if door.as_admin { "yes" } else { "" }.to_owned(),
            door.by.clone(),
        ]
    });
    print_table(
        &["DOOR", "SERVER", "UNTIL", "ENTERED", "OPEN", "ADMIN", "BY"],
        rows,
        "no doors are open",
    );
    Ok(Exit::Done)
}

/// Tells of the operators who are on one of these servers: `None` is any.
pub(super) async fn tell_inside(
    client: &Client,
    pool: Option<&str>,
    server: Option<&str>,
) -> Result<(), api::ClientError> {
    for door in client.doors().await?.doors {
        let is_of = pool.is_none_or(|pool| pool == door.pool)
            && server.is_none_or(|server| Some(server) == door.server.as_deref());
        if is_of && door.connections > 0 {
            let connections = ebbtide_core::count(u64::from(door.connections), "connection");
            let server = door.server.as_deref().unwrap_or("(gone)");
            output::line(format!(
                "beside them: {connections} of the operator {} to {}/{server}, through door {}",
                door.by, door.pool, door.id
            ));
        }
    }
    Ok(())
}
