//! `ebbtide move`, `stop` and `drill`: sessions that go on elsewhere.

use super::{Done, print_changed, print_wait};
use crate::cli::Global;
use crate::exit::Exit;
use crate::output;
use crate::status_page::clock_time;
use ebbtide_api as api;
use ebbtide_api::Client;
use ebbtide_core::{ServerName, SessionId};

/// Moves one session.
pub(super) async fn one(
    client: &Client,
    id: SessionId,
    body: &api::MoveRequest,
    json: bool,
) -> Done {
    let report = client.move_session(&id.to_string(), body).await?;
    print(&report, json);
    Ok(Exit::Done)
}

/// Empties a server.
pub(super) async fn stop(
    client: &Client,
    name: &ServerName,
    body: &api::StopRequest,
    global: &Global,
) -> Done {
    let report = client.stop(&name.pool, &name.server, body).await?;
    print(&report, global.json);
    let deadline = report.changed.deadline;
    if let Some(deadline) = deadline.filter(|_| !global.json && report.stayed > 0) {
        output::line(format!("deadline: {}", clock_time(deadline)));
        print_wait(name, body.within_ms.unwrap_or_default(), global);
    }
    Ok(Exit::Done)
}

/// Tests a server's failover.
pub(super) async fn drill(
    client: &Client,
    name: &ServerName,
    body: &api::DrillRequest,
    json: bool,
) -> Done {
    let report = client.drill(&name.pool, &name.server, body).await?;
    print(&report, json);
    Ok(match report.complete {
        true => Exit::Done,
        false => Exit::TimedOut,
    })
}

fn print(report: &api::MovesReport, json: bool) {
    if json {
        output::json(report);
    } else {
        print_changed(&report.changed);
    }
}
