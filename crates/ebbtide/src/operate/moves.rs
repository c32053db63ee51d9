//! `ebbtide move`, `stop` and `drill`: sessions that go on elsewhere.

use super::{Done, print_changed, print_wait};
use crate::cli::{Drill, Global, Move, Stop};
use crate::exit::Exit;
use crate::output;
use crate::status_page::clock_time;
use ebbtide_api as api;
use ebbtide_api::Client;
use ebbtide_core::ServerName;

/// Moves one session.
pub(super) async fn one(client: &Client, asked: Move, json: bool) -> Done {
    let body = api::MoveRequest {
        to: asked.to.map(|to| to.to_string()),
        reason: asked.why.reason,
    };
    let report = client.move_session(&asked.id.to_string(), &body).await?;
    print(&report, json);
    Ok(Exit::Done)
}

/// Empties a server.
pub(super) async fn stop(client: &Client, asked: Stop, global: &Global) -> Done {
    let name = asked.server.server;
    let body = api::StopRequest {
        within_ms: Some(asked.within.0),
        message: asked.words.message,
        force: asked.force.force,
        reason: asked.why.reason,
    };
    let report = client.stop(&name.pool, &name.server, &body).await?;
    print(&report, global.json);
    let deadline = report.changed.deadline;
    if let Some(deadline) = deadline.filter(|_| !global.json && report.stayed > 0) {
        output::line(format!("deadline: {}", clock_time(deadline)));
        print_wait(&name, asked.within.0, global);
    }
    Ok(Exit::Done)
}

/// Tests a server's failover.
pub(super) async fn drill(client: &Client, asked: Drill, json: bool) -> Done {
    let body = api::DrillRequest {
        cut: asked.cut,
        within_ms: Some(asked.within.0),
        reason: asked.why.reason,
    };
    let ServerName { pool, server } = asked.server.server;
    let report = client.drill(&pool, &server, &body).await?;
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
