//! `ebbtide rebalance`: what it would do, and that it is done.

use super::{Done, changed, print_table, reason_query};
use crate::cli::Rebalance;
use crate::exit::Exit;
use crate::output;
use ebbtide_api::{Client, RebalanceRequest};
use ebbtide_core::count;

/// Shows the plan; with `--go` it is carried out.
pub(super) async fn rebalance(client: &Client, asked: Rebalance, json: bool) -> Done {
    let pool = asked.pool.pool;
    if asked.stop {
        let query = reason_query(asked.why);
        return changed(client.stop_rebalance(&pool, &query).await, json);
    }
    if asked.go {
        let body = RebalanceRequest {
            rate: Some(asked.rate),
            reason: asked.why.reason,
        };
        return changed(client.rebalance(&pool, &body).await, json);
    }
    let plan = client.rebalance_plan(&pool).await?;
    if json {
        output::json(&plan);
        return Ok(Exit::Done);
    }
    let rows = plan.servers.iter().map(|crowd| {
        vec![
            crowd.server.clone(),
            crowd.sessions.to_string(),
            crowd.level.to_string(),
            crowd.forgets.to_string(),
        ]
    });
    let heads = ["SERVER", "SESSIONS", "LEVEL", "WOULD FORGET"];
    print_table(&heads, rows, "no server of the pool takes new sessions");
    let sessions = count(plan.forgets, "idle session");
    output::line(match plan.forgets {
        0 => "no server has more idle sessions than its share: there is nothing to do".to_owned(),
        _ => format!(
            "{sessions} would be forgotten, in about {}; to do it: ebbtide rebalance {pool} --go",
            ebbtide_core::Millis(u64::from(plan.forgets.div_ceil(asked.rate)) * 1000)
        ),
    });
    if let Some(note) = ebbtide_core::RebalancePlan::note_of_awaited(plan.awaited) {
        output::line(note);
    }
    Ok(Exit::Done)
}
