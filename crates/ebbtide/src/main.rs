//! Reads the command line and hands it on.

use clap::Parser;
use ebbtide::cli::{Cli, Command, Global};
use ebbtide::exit::{Exit, Failure};
use ebbtide::{
    agent, config, demo, documents, logging, manifest, node, operate, output, screen, user,
};
use ebbtide_core::count;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return wrong_usage(&error),
    };
    let json = cli.global.json;
    let exit = carry_out(cli).unwrap_or_else(|failure| failure.tell(json));
    exit.into()
}

/// Tells what is wrong with the command line, or shows the help that was asked for.
fn wrong_usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        error.exit();
    }
    let json = std::env::args_os().any(|argument| argument == "--json");
    // clap's own words for this name commands that are not for people.
    let no_command = error.kind() == clap::error::ErrorKind::MissingSubcommand;
    if !json && !no_command {
        let text = error.render().to_string();
        let shown = screen::wrapped(&text);
        if shown.trim_end() == text.trim_end() {
            error.exit();
        }
        eprintln!("{shown}");
        return Exit::Usage.into();
    }
    let text = match no_command {
        true => "no command is given; `ebbtide --help` shows which there are".to_owned(),
        false => error.render().to_string(),
    };
    let text = text.trim().trim_start_matches("error: ");
    Failure::usage(text).tell(json).into()
}

fn carry_out(cli: Cli) -> Result<Exit, Failure> {
    let json = cli.global.json;
    match cli.command {
        Command::Check { file } => check(&file, &cli.global),
        Command::Run { config, log } => {
            logging::start(&log, "info", json);
            runtime()?.block_on(node::run(&config, &cli.global))
        }
        Command::Demo(arguments) => {
            logging::start(&arguments.log, "error", json);
            runtime()?.block_on(demo::run(&arguments, &cli.global))
        }
        Command::Agent(arguments) => runtime()?.block_on(agent::run(arguments, json)),
        Command::User(arguments) => runtime()?.block_on(user::run(arguments, &cli.global)),
        Command::Manifest(arguments) => manifest::run(&arguments, json),
        Command::InternalDocs { document } => {
            output::write(&documents::document(document));
            Ok(Exit::Done)
        }
        command => runtime()?.block_on(operate::operate(command, &cli.global)),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))
}

fn check(file: &Path, global: &Global) -> Result<Exit, Failure> {
    let loaded = config::load_with_pages(file)?;
    let pools = &loaded.config.pools;
    let listeners = loaded.config.listeners.len();
    let servers = pools.iter().map(|pool| pool.servers.len()).sum::<usize>();
    if global.json {
        output::json(&serde_json::json!({
            "ok": true,
            "listeners": listeners,
            "pools": pools.len(),
            "servers": servers,
        }));
    } else {
        output::line(format!(
            "ok: {}, {}, {}",
            count(listeners, "listener"),
            count(pools.len(), "pool"),
            count(servers, "server")
        ));
    }
    Ok(Exit::Done)
}
