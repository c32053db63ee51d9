//! The commands that talk to a running node.

mod doors;
mod moves;
mod rebalance;
mod replicas;
mod sessions;

use crate::cli::{
    Assignment, BlockNew, Close, Command, Drain, Global, ServerCommand, TokenCommand, WaitFor, Why,
};
use crate::exit::{Exit, Failure};
use crate::output;
use crate::screen::{self, Screen};
use crate::signals::StopSignals;
use crate::status_page::{clock_time, forecast, is_removed, page};
use crate::target;
use crate::view::{Line, Piece, Style, on_terminal, table};
use ebbtide_api as api;
use ebbtide_api::{Changed, Client, ClientError};
use ebbtide_core::{Millis, ServerName, count};
use std::time::Duration;
use tokio::time::{Instant, sleep};

type Done = Result<Exit, Failure>;

/// The longest single wait of the control API.
const WAIT_MS_MAX: u64 = 30_000;
const REDRAW: Duration = Duration::from_secs(1);

/// Carries out one command.
pub async fn operate(command: Command, global: &Global) -> Done {
    let client = target::client(global)?;
    let json = global.json;
    match command {
        Command::Status { watch: true } => watch(&client, json).await,
        Command::Status { watch: false } => status(&client, json).await,
        Command::Close(asked) => close(&client, asked, json).await,
        Command::Open { pool, why } => changed(client.open(&pool.pool, &reason(why)).await, json),
        Command::Hold { server, force, why } => {
            let body = hold_request(force.force, why);
            let ServerName { pool, server } = server.server;
            changed(client.hold(&pool, &server, &body).await, json)
        }
        Command::Drain(asked) => drain(&client, asked, global).await,
        Command::Stop(asked) => moves::stop(&client, asked, global).await,
        Command::Move(asked) => moves::one(&client, asked, json).await,
        Command::Drill(asked) => moves::drill(&client, asked, json).await,
        Command::Maintenance { server, force, why } => {
            let body = hold_request(force.force, why);
            let ServerName { pool, server } = server.server;
            changed(client.maintenance(&pool, &server, &body).await, json)
        }
        Command::Ready { server, force, why } => {
            let body = hold_request(force, why);
            let ServerName { pool, server } = server.server;
            changed(client.ready(&pool, &server, &body).await, json)
        }
        Command::Door { command, open } => match command {
            Some(command) => doors::other(&client, command, json).await,
            None => doors::open(&client, open, json).await,
        },
        Command::Forget { server, why } => {
            let ServerName { pool, server } = server.server;
            changed(client.forget(&pool, &server, &reason(why)).await, json)
        }
        Command::Wait {
            server,
            what,
            timeout,
        } => wait(&client, &server.server, what, timeout, json).await,
        Command::Sessions { command, list } => match command {
            Some(command) => sessions::act(&client, command, json).await,
            None => sessions::list(&client, list, json).await,
        },
        Command::Rebalance(asked) => rebalance::rebalance(&client, asked, json).await,
        Command::Replicas { pool } => replicas::show(&client, &pool.pool, json).await,
        Command::Server(command) => server(&client, command, json).await,
        Command::Audit { limit } => audit(&client, limit, json).await,
        Command::Events => events(&client, json).await,
        Command::Reload { why } => changed(client.reload(&reason(why)).await, json),
        Command::Token(command) => token(&client, command, json).await,
        Command::Run { .. }
        | Command::Check { .. }
        | Command::Demo(_)
        | Command::Manifest(_)
        | Command::User(_)
        | Command::Agent(_)
        | Command::InternalDocs { .. } => {
            unreachable!("main carries these out itself, for they need no running node")
        }
    }
}

async fn close(client: &Client, asked: Close, json: bool) -> Done {
    let body = api::CloseRequest {
        within_ms: asked.within.map(|within| within.0),
        at: asked.at,
        message: asked.words.message,
        lasting_ms: asked.lasting.map(|lasting| lasting.0),
        block_new: asked.block_new.map(|block| match block {
            BlockNew::Now => api::BlockNew::Now,
            BlockNew::AtDeadline => api::BlockNew::AtDeadline,
        }),
        until_upgraded: asked.until_upgraded.then_some(true),
        reason: asked.why.reason,
    };
    changed(client.close(&asked.pool.pool, &body).await, json)
}

fn hold_request(force: bool, why: Why) -> api::HoldRequest {
    api::HoldRequest {
        force,
        reason: why.reason,
    }
}

fn reason(why: Why) -> api::ReasonRequest {
    api::ReasonRequest { reason: why.reason }
}

fn reason_query(why: Why) -> api::ReasonQuery {
    api::ReasonQuery { reason: why.reason }
}

/// Prints what a change did.
fn changed(result: Result<Changed, ClientError>, json: bool) -> Done {
    let changed = result?;
    if json {
        output::json(&changed);
    } else {
        print_changed(&changed);
    }
    Ok(Exit::Done)
}

fn print_changed(changed: &Changed) {
    output::line(&changed.text);
    for change in &changed.changes {
        output::line(format!("  {change}"));
    }
}

async fn status(client: &Client, json: bool) -> Done {
    let status = client.status().await?;
    if json {
        output::json(&status);
    } else {
        screen::print(&page(&status, screen::width()));
    }
    Ok(Exit::Done)
}

/// Draws the status every second until Ctrl-C. A node that answers at first and then does not is
/// waited for: it may be restarting.
async fn watch(client: &Client, json: bool) -> Done {
    let mut stop = catch_signals()?;
    let mut status: Result<api::Status, ClientError> = Ok(client.status().await?);
    let screen = (on_terminal() && !json).then(Screen::enter);
    loop {
        match &status {
            Ok(status) if json => output::json_line(status),
            Err(error) if json => eprintln!("ebbtide: {error}"),
            status => {
                let lines = match status {
                    Ok(status) => page(status, screen::width()),
                    Err(error) => Line::of(Style::Bad, error.to_string()).wrap(screen::width(), 0),
                };
                let print = || screen::print(&lines);
                screen
                    .as_ref()
                    .map_or_else(print, |screen| screen.draw(&lines));
            }
        }
        tokio::select! {
            () = stop.next() => return Ok(Exit::Done),
            () = sleep(REDRAW) => status = client.status().await,
        }
    }
}

fn catch_signals() -> Result<StopSignals, Failure> {
    StopSignals::catch()
        .map_err(|error| Failure::failed(format!("cannot listen for Ctrl-C: {error}")))
}

async fn drain(client: &Client, asked: Drain, global: &Global) -> Done {
    let name = &asked.server.server;
    let body = &api::DrainRequest {
        within_ms: asked.within.map(|within| within.0),
        message: asked.words.message,
        force: asked.force.force,
        reason: asked.why.reason,
    };
    let result = client.drain(&name.pool, &name.server, body).await?;
    if global.json {
        output::json(&result);
        return Ok(Exit::Done);
    }
    output::line(&result.text);
    let server = client.server(&name.pool, &name.server).await?;
    let left = body.within_ms.or(server.intent.left_ms);
    let left = Millis(left.unwrap_or_default());
    if let Some(deadline) = result.deadline {
        output::line(format!("deadline: {} (in {left})", clock_time(deadline)));
    }
    let counts = server.sessions;
    output::line(format!(
        "sessions: {} ({} active, {} idle)",
        counts.all(),
        counts.active,
        counts.idle
    ));
    let likely = forecast(&server);
    if !likely.is_empty() {
        output::line(format!("likely to be gone by themselves: {likely}"));
    }
    print_wait(name, left.0, global);
    Ok(Exit::Done)
}

/// How to wait for the end of a drain.
fn print_wait(name: &ServerName, within_ms: u64, global: &Global) {
    let patience = patience(Millis(within_ms)).to_string().replace(' ', "");
    output::line(format!(
        "wait for it: ebbtide wait {name} --for drained --timeout {patience}{}",
        target::admin_argument(global)
    ));
}

/// How long to wait for the end of a drain: somewhat longer than it takes, in a number that people would
/// write.
fn patience(within: Millis) -> Millis {
    let more = within.0.saturating_add((within.0 / 6).max(10_000));
    let step = match more {
        0..120_000 => 10_000,
        120_000..7_200_000 => 60_000,
        _ => 3_600_000,
    };
    Millis(more.div_ceil(step).saturating_mul(step))
}

/// Waits, also over a restart of the node: drains go on after it, so this does too.
async fn wait(
    client: &Client,
    name: &ServerName,
    what: WaitFor,
    timeout: Option<Millis>,
    json: bool,
) -> Done {
    let began = Instant::now();
    let left = || {
        timeout.map(|timeout| {
            let gone = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            timeout.0.saturating_sub(gone)
        })
    };
    // The first look only asks whether somebody is there at all.
    let mut answered = false;
    // A server that has left its pool goes when its last session has ended, maybe between two looks.
    let mut removed: Option<api::WaitAnswer> = None;
    loop {
        let longest = if answered { WAIT_MS_MAX } else { 0 };
        let query = api::WaitQuery {
            what: match what {
                WaitFor::Drained => api::WaitFor::Drained,
                WaitFor::Ready => api::WaitFor::Ready,
            },
            timeout_ms: Some(left().unwrap_or(longest).min(longest)),
        };
        match client.wait(&name.pool, &name.server, &query).await {
            Ok(answer) if what == WaitFor::Ready && is_unverified(&answer.server) => {
                return Err(unverified(name, &answer.server));
            }
            Ok(answer) if answer.reached || left() == Some(0) => {
                return Ok(waited(name, what, &answer, json));
            }
            Ok(answer) if what == WaitFor::Drained && is_removed(&answer.server) => {
                (answered, removed) = (true, Some(answer));
            }
            Ok(answer) if what == WaitFor::Drained && answer.server.intent.label == "ready" => {
                return Err(Failure::failed(format!(
                    "{name} is ready: nobody drains it"
                )));
            }
            Ok(_) => (answered, removed) = (true, None),
            Err(error) if is_unknown(&error) && removed.is_some() => {
                let answer = removed.take().map(emptied);
                return Ok(answer.map_or(Exit::Done, |answer| waited(name, what, &answer, json)));
            }
            Err(error) if !may_come_back(&error) => return Err(error.into()),
            Err(error) if !answered => return Err(error.into()),
            Err(error) if left() == Some(0) => {
                return Err(Failure::timed_out(format!("the time is up, and {error}")));
            }
            Err(_) => {
                let pause = left().map_or(REDRAW, Duration::from_millis).min(REDRAW);
                sleep(pause).await;
            }
        }
    }
}

/// It stays out until somebody asks for it again.
fn is_unverified(server: &api::ServerStatus) -> bool {
    server.standing.reason == "unverified"
}

fn unverified(name: &ServerName, server: &api::ServerStatus) -> Failure {
    let shown = server.verification.as_ref();
    let why = shown.and_then(|shown| shown.failed.as_ref());
    let why = why.map_or(String::new(), |why| format!(" ({why})"));
    Failure::failed(format!(
        "{name} stays out, for it was not verified{why}; mend it and try once more (ebbtide ready \
         {name}), or let it in as it is (ebbtide ready {name} --force)"
    ))
}

fn is_unknown(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused { error, .. } if error.kind == api::ErrorKind::NotFound)
}

/// The same answer, when the server's last session has ended.
fn emptied(mut answer: api::WaitAnswer) -> api::WaitAnswer {
    answer.reached = true;
    answer.server.sessions = api::SessionCounts::default();
    answer
}

/// The node is being stopped or restarted, as it seems.
fn may_come_back(error: &ClientError) -> bool {
    match error {
        ClientError::Refused { error, .. } => error.kind == api::ErrorKind::Stopping,
        ClientError::Unreachable(_) | ClientError::Broken(_) => true,
    }
}

fn waited(name: &ServerName, what: WaitFor, answer: &api::WaitAnswer, json: bool) -> Exit {
    let word = match what {
        WaitFor::Drained => "drained",
        WaitFor::Ready => "ready",
    };
    let server = &answer.server;
    if json {
        output::json(answer);
    } else if answer.reached {
        output::line(format!("{name} is {word}"));
    } else {
        eprintln!(
            "ebbtide: {name} is not {word} yet: intent {}, standing {}, {}",
            server.intent.label,
            server.standing.reason,
            count(server.sessions.all(), "session")
        );
    }
    if answer.reached {
        Exit::Done
    } else {
        Exit::TimedOut
    }
}

pub(crate) fn print_table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>, none: &str) {
    let head: Vec<Piece> = heads
        .iter()
        .map(|head| (Style::Dim, (*head).to_owned()))
        .collect();
    let mut all = vec![head];
    all.extend(rows.map(|row| row.into_iter().map(|cell| (Style::Plain, cell)).collect()));
    if all.len() == 1 {
        output::line(none);
    } else {
        screen::print(&table(all, screen::width()));
    }
}

async fn server(client: &Client, command: ServerCommand, json: bool) -> Done {
    match command {
        ServerCommand::Add {
            server,
            address,
            weight,
            max_sessions,
            why,
        } => {
            let body = api::AddServer {
                address,
                weight,
                max_sessions,
                reason: why.reason,
            };
            let ServerName { pool, server } = server.server;
            changed(client.add_server(&pool, &server, &body).await, json)
        }
        ServerCommand::Remove { server, force, why } => {
            let query = api::RemoveQuery {
                force: force.force,
                reason: why.reason,
            };
            let ServerName { pool, server } = server.server;
            changed(client.remove_server(&pool, &server, &query).await, json)
        }
        ServerCommand::Reset { server, why } => {
            let body = api::SetServer {
                reset: true,
                reason: why.reason,
                ..api::SetServer::default()
            };
            let ServerName { pool, server } = server.server;
            changed(client.set_server(&pool, &server, &body).await, json)
        }
        ServerCommand::Set {
            server,
            settings,
            force,
            why,
        } => {
            let mut body = api::SetServer {
                force,
                reason: why.reason,
                ..api::SetServer::default()
            };
            for setting in settings {
                match setting {
                    Assignment::Weight(weight) => body.weight = Some(weight),
                    Assignment::MaxSessions(max) => body.max_sessions = Some(max),
                    Assignment::PeakLoad(percent) => body.peak_load = Some(percent),
                    Assignment::PeakLoadBack => body.peak_load_back = true,
                    Assignment::SlowStartOver => body.slow_start_over = true,
                }
            }
            let ServerName { pool, server } = server.server;
            changed(client.set_server(&pool, &server, &body).await, json)
        }
    }
}

async fn audit(client: &Client, limit: u32, json: bool) -> Done {
    let query = api::AuditQuery {
        limit: Some(limit),
        before: None,
    };
    let mut page = client.audit(&query).await?;
    if json {
        output::json(&page);
        return Ok(Exit::Done);
    }
    page.entries.reverse();
    let heads = ["WHEN", "WHO", "FROM", "WHAT", "TARGET", "OUTCOME", "WHY"];
    let rows = page.entries.into_iter().map(|entry| {
        let forced = if entry.forced { " (forced)" } else { "" };
        vec![
            entry.at.to_string(),
            entry.who,
            entry.from,
            format!("{}{forced}", entry.action),
            entry.target,
            entry.outcome,
            entry.reason.unwrap_or_default(),
        ]
    });
    print_table(&heads, rows, "nothing was changed so far");
    Ok(Exit::Done)
}

async fn events(client: &Client, json: bool) -> Done {
    let mut stop = catch_signals()?;
    let mut stream = client.events(None).await?;
    loop {
        let next = tokio::select! {
            () = stop.next() => return Ok(Exit::Done),
            next = stream.next() => next,
        };
        let Some(event) = next else {
            return Err(Failure::failed(
                "the node has closed the stream; is it being stopped?",
            ));
        };
        let event = event?;
        if json {
            output::json_line(&event);
        } else {
            let server = event.server.as_deref().unwrap_or("-");
            output::line(format!("{}  {server}  {}", event.at, event.text));
        }
    }
}

async fn token(client: &Client, command: TokenCommand, json: bool) -> Done {
    match command {
        TokenCommand::Add { name, role, why } => {
            let body = api::CreateToken {
                name,
                role: role.into(),
                reason: why.reason,
            };
            let new = client.create_token(&body).await?;
            if json {
                output::json(&new);
            } else {
                output::line(&new.secret);
                eprintln!(
                    "This is the token of {} ({}). It is not shown again: keep it where only its \
                     holder can read it, and give it to the command line as EBBTIDE_TOKEN.",
                    new.name, new.role
                );
            }
            Ok(Exit::Done)
        }
        TokenCommand::List => {
            let tokens = client.tokens().await?;
            if json {
                output::json(&tokens);
                return Ok(Exit::Done);
            }
            let rows = tokens.tokens.into_iter().map(|token| {
                vec![
                    token.name,
                    token.role.to_string(),
                    token.created.to_string(),
                ]
            });
            print_table(&["NAME", "ROLE", "CREATED"], rows, "no tokens");
            Ok(Exit::Done)
        }
        TokenCommand::Remove { name, why } => {
            changed(client.delete_token(&name, &reason_query(why)).await, json)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Millis, patience};

    #[test]
    fn a_wait_is_somewhat_longer_than_what_is_waited_for() {
        let waits = [2, 60, 10 * 60, 30 * 60, 90 * 60, 24 * 3600].map(|seconds| {
            let patience = patience(Millis::from_secs(seconds));
            patience.to_string().replace(' ', "")
        });
        assert_eq!(waits, ["20s", "1m10s", "12m", "35m", "1h45m", "28h"]);
    }
}
