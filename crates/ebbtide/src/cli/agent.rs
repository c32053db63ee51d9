//! What may be asked of an agent.

use super::span;
use clap::{Args, Subcommand};
use ebbtide_core::Millis;
use std::net::SocketAddr;
use std::path::PathBuf;

/// How an agent runs, or what is done to one.
#[derive(Debug, Args)]
pub struct AgentArgs {
    #[command(subcommand)]
    pub command: Option<AgentCommand>,
    #[command(flatten)]
    pub run: AgentRun,
}

/// What is measured, and where it is told.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("counted").args(["sessions_port", "sessions_command"]))]
pub struct AgentRun {
    /// Where balancers ask
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:9777")]
    pub listen: SocketAddr,
    /// Count the established connections to this port as sessions
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub sessions_port: Option<u16>,
    /// Count sessions by a command for /bin/sh: the first word that it says is their number; it has
    /// five seconds
    #[arg(long, value_name = "COMMAND")]
    pub sessions_command: Option<String>,
    /// So many sessions fill the server: then it takes no new ones. They have to be counted
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..),
        requires = "counted")]
    pub sessions_max: Option<u64>,
    /// How often it measures, 1s to 1m
    #[arg(long, value_name = "TIME", value_parser = often, default_value = "2s")]
    pub every: Millis,
    #[command(flatten)]
    pub state: AgentState,
}

/// Where a hold is kept.
#[derive(Debug, Args)]
pub struct AgentState {
    /// Where a hold is kept; the same for all commands of an agent
    #[arg(long, value_name = "DIR", default_value = "/var/lib/ebbtide-agent")]
    pub state_dir: PathBuf,
}

/// What is done to an agent.
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Let no new sessions begin on this server; also after the agent was started again
    #[command(after_help = "Example:\n  ebbtide agent hold --reason 'new disks at noon'")]
    Hold {
        /// Why: one line, which balancers show
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        state: AgentState,
    },
    /// Let new sessions begin on this server again
    #[command(after_help = "Example:\n  ebbtide agent ready")]
    Ready {
        #[command(flatten)]
        state: AgentState,
    },
    /// Show whether this server is on hold, and why
    #[command(after_help = "Example:\n  ebbtide agent show")]
    Show {
        #[command(flatten)]
        state: AgentState,
    },
}

fn often(text: &str) -> Result<Millis, String> {
    let every = span(text)?;
    match (1_000..=60_000).contains(&every.0) {
        true => Ok(every),
        false => Err("it can be 1s to 1m".into()),
    }
}
