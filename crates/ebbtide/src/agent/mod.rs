//! `ebbtide agent`: tells balancers how busy the machine is that it runs on, and whether its operator
//! wants new sessions there.
//!
//! It speaks what HAProxy calls an agent-check: whoever connects gets one line, and the connection is
//! closed. Load and sessions are measured in the background, so no answer waits for them.

mod line;
mod load;
mod serve;
mod sessions;
mod standing;

use crate::cli::{AgentArgs, AgentCommand, AgentRun};
use crate::exit::{Exit, Failure};
use crate::output;
use crate::signals::StopSignals;
use line::Reading;
use standing::Standing;
use std::rc::Rc;
use tokio::net::TcpListener;

/// Carries the command out.
pub async fn run(arguments: AgentArgs, json: bool) -> Result<Exit, Failure> {
    match arguments.command {
        None => answer(arguments.run).await,
        Some(AgentCommand::Hold { state, reason }) => {
            let standing = Standing::there(&state.state_dir)?;
            standing.hold(reason.as_deref().unwrap_or_default())?;
            tell(&standing, json)
        }
        Some(AgentCommand::Ready { state }) => {
            let standing = Standing::there(&state.state_dir)?;
            standing.ready()?;
            tell(&standing, json)
        }
        Some(AgentCommand::Show { state }) => tell(&Standing::there(&state.state_dir)?, json),
    }
}

/// Says what balancers are told from now on.
fn tell(standing: &Standing, json: bool) -> Result<Exit, Failure> {
    let held = standing.held()?;
    if json {
        let reason = held.as_deref();
        output::json(&serde_json::json!({ "hold": held.is_some(), "reason": reason }));
        return Ok(Exit::Done);
    }
    output::line(match held.as_deref() {
        None => "ready: balancers are told that this server takes new sessions".to_owned(),
        Some("") => "on hold: balancers are told to bring no new sessions here".to_owned(),
        Some(reason) => {
            format!("on hold: balancers are told to bring no new sessions here ({reason})")
        }
    });
    Ok(Exit::Done)
}

/// Answers until it is told to stop.
async fn answer(run: AgentRun) -> Result<Exit, Failure> {
    let standing = Standing::of(&run.state.state_dir);
    if let Err(failure) = standing.prepare() {
        // Load and sessions can be told all the same.
        let why = failure.detail.message;
        eprintln!("ebbtide: this server cannot be held from its own console: {why}");
    }
    standing.held()?;
    let mut stop = StopSignals::catch()
        .map_err(|error| Failure::failed(format!("cannot wait for signals: {error}")))?;
    let listener = TcpListener::bind(run.listen).await.map_err(|error| {
        Failure::failed(format!(
            "cannot listen on {}: {error}; choose another address with --listen",
            run.listen
        ))
    })?;
    let address = listener
        .local_addr()
        .map_err(|error| Failure::failed(format!("cannot listen on {}: {error}", run.listen)))?;
    output::line(format!("agent on {address}"));
    let reading = Rc::<std::cell::RefCell<Reading>>::default();
    let tasks = tokio::task::LocalSet::new();
    tasks
        .run_until(async {
            tokio::select! {
                () = load::keep_measuring(&run, &reading) => {}
                () = serve::serve(&listener, &standing, &reading, run.sessions_max) => {}
                () = stop.next() => {}
            }
        })
        .await;
    Ok(Exit::Done)
}
