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
    output::line("Open this address in your browser; it works once:");
    for url in &door.urls {
        output::line(format!("  {url}"));
    }
    if door.urls.is_empty() {
        output::line(format!("  {} (the pool has no listener)", door.path));
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
            if door.as_admin { "yes" } else { "" }.to_owned(),
            door.by.clone(),
        ]
    });
    print_table(
        &["DOOR", "SERVER", "UNTIL", "ENTERED", "ADMIN", "BY"],
        rows,
        "no doors are open",
    );
    Ok(Exit::Done)
}
