//! `ebbtide sessions`: who is where, ending them, and saying something to their users.

use super::{Done, print_changed, print_table};
use crate::cli::{SessionsCommand, SessionsList, Which, Why};
use crate::exit::Exit;
use crate::output;
use crate::status_page::{clock_time, span};
use crate::view::bytes;
use ebbtide_api as api;
use ebbtide_api::Client;

/// Sessions on one page of the control API.
const SESSIONS_PAGE: u32 = 1000;
/// Characters of a user's name in a table.
const USER_SHOWN_MAX: usize = 32;
/// What nobody knows any more.
const UNKNOWN: &str = "-";

/// Lists sessions, over as many pages as it takes.
pub(super) async fn list(client: &Client, list: SessionsList, json: bool) -> Done {
    let (pool, server) = place(list.of);
    let mut query = api::SessionQuery {
        pool,
        server,
        user: list.user,
        search: list.search,
        active: list.active,
        ended: list.ended,
        after: list.after.map(|id| id.to_string()),
        limit: None,
    };
    let mut found = api::SessionPage {
        sessions: Vec::new(),
        next: None,
    };
    let mut wanted = list.limit;
    loop {
        query.limit = Some(wanted.min(SESSIONS_PAGE));
        let page = client.sessions(&query).await?;
        wanted = wanted.saturating_sub(u32::try_from(page.sessions.len()).unwrap_or(u32::MAX));
        found.sessions.extend(page.sessions);
        found.next = page.next;
        if wanted == 0 || found.next.is_none() {
            break;
        }
        query.after.clone_from(&found.next);
    }
    if json {
        output::json(&found);
        return Ok(Exit::Done);
    }
    print_sessions(&found);
    if !query.ended {
        super::doors::tell_inside(client, query.pool.as_deref(), query.server.as_deref()).await?;
        let status = client.status().await?;
        let asked = |pool: &&api::PoolStatus| query.pool.as_ref().is_none_or(|of| *of == pool.name);
        let pools = status.pools.iter().filter(asked);
        if let Some(until) = pools.filter_map(|pool| pool.counting_until).max() {
            output::line(format!(
                "sessions from before the restart are shown once they are used; that may be until {}",
                clock_time(until)
            ));
        }
    }
    Ok(Exit::Done)
}

fn print_sessions(found: &api::SessionPage) {
    let heads = [
        "SESSION", "USER", "SERVER", "STATE", "QUIET", "STARTED", "REQUESTS", "BYTES", "OPEN",
        "MOVED", "CLIENT",
    ];
    let rows = found.sessions.iter().map(|session| {
        vec![
            session.id.clone(),
            shortened(session.user.as_deref().unwrap_or_default()),
            format!("{}/{}", session.pool, session.server),
            match &session.ended {
                Some(why) => format!("ended: {why}"),
                None => session.state.clone(),
            },
            known(session.quiet_ms.map(span)),
            known(session.started),
            known(session.requests),
            known(session.bytes.map(bytes)),
            known(session.open),
            session.moves.to_string(),
            known(session.client.as_ref()),
        ]
    });
    print_table(&heads, rows, "no sessions");
    if let Some(next) = &found.next {
        output::line(format!(
            "{} are shown; more with --limit, or from there with --after {next}",
            found.sessions.len()
        ));
    }
}

fn known(value: Option<impl ToString>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |value| value.to_string())
}

/// A name that would widen the table is cut.
fn shortened(name: &str) -> String {
    if name.chars().count() <= USER_SHOWN_MAX {
        return name.to_owned();
    }
    let kept: String = name.chars().take(USER_SHOWN_MAX - 1).collect();
    kept + "…"
}

/// Does something with sessions.
pub(super) async fn act(client: &Client, command: SessionsCommand, json: bool) -> Done {
    match command {
        SessionsCommand::End { which, why } => end(client, which, why, json).await,
        SessionsCommand::Tell {
            which,
            message,
            lasting,
            why,
        } => {
            let (pool, server) = place(which.of);
            let body = api::TellSessionsRequest {
                ids: which.ids.iter().map(ToString::to_string).collect(),
                pool,
                server,
                user: which.user,
                search: which.search,
                idle: which.idle,
                message,
                lasting_ms: lasting.map(|lasting| lasting.0),
                reason: why.reason,
            };
            let told = client.tell_sessions(&body).await?;
            match json {
                true => output::json(&told),
                false => print_changed(&told.changed),
            }
            let is_named = !body.ids.is_empty();
            match is_named && !told.untold.is_empty() {
                true => Ok(Exit::Failed),
                false => Ok(unknown("told", &told.unknown, json)),
            }
        }
    }
}

async fn end(client: &Client, which: Which, why: Why, json: bool) -> Done {
    let (pool, server) = place(which.of);
    let body = api::EndSessionsRequest {
        ids: which.ids.iter().map(ToString::to_string).collect(),
        pool,
        server,
        user: which.user,
        search: which.search,
        idle: which.idle,
        reason: why.reason,
    };
    let ended = client.end_sessions(&body).await?;
    match json {
        true => output::json(&ended),
        false => print_changed(&ended.changed),
    }
    Ok(unknown("ended", &ended.unknown, json))
}

fn place(of: Option<(String, Option<String>)>) -> (Option<String>, Option<String>) {
    of.map_or((None, None), |(pool, server)| (Some(pool), server))
}

/// Names the sessions that nothing was `done` with though they were named.
fn unknown(done: &str, unknown: &[String], json: bool) -> Exit {
    if unknown.is_empty() {
        return Exit::Done;
    }
    if !json {
        eprintln!(
            "ebbtide: not {done}, as no such session is live here: {}; `ebbtide sessions` lists those \
             there are",
            unknown.join(", ")
        );
    }
    Exit::Failed
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn a_long_name_is_cut() {
        assert_eq!(shortened(&"é".repeat(32)), "é".repeat(32));
        assert_eq!(shortened(&"é".repeat(33)), format!("{}…", "é".repeat(31)));
    }
}
