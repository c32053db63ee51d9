//! Documents that the program prints about itself; `cargo xtask docs` keeps them in docs/.

use crate::cli::{Cli, Document, GLOBAL};
use crate::config;
use clap::CommandFactory;

const METRICS: &str = "# Metrics

<!-- Written by `cargo xtask docs` from what the program registers. -->

What `/metrics` of the control API shows, in the format OpenMetrics 1.0.0
(`application/openmetrics-text; version=1.0.0; charset=utf-8`), whatever the request accepts.
Prometheus reads it since version 2.5.

";

/// The text of a document.
pub fn document(document: Document) -> String {
    match document {
        Document::Settings => config::settings_page(),
        Document::Schema => config::schema(),
        Document::Openapi => ebbtide_control::openapi(),
        Document::Cli => commands(),
        Document::Metrics => format!("{METRICS}{}", ebbtide_control::metrics_reference()),
    }
}

/// docs/cli.md: the help of every command.
fn commands() -> String {
    let mut page = String::from(
        "# Command line\n\n<!-- Written by `cargo xtask docs` from the help texts in \
         crates/ebbtide/src/cli.rs. -->\n",
    );
    let mut root = Cli::command().term_width(100);
    root.build();
    write_command(&mut page, &root, "ebbtide");
    page
}

fn write_command(page: &mut String, command: &clap::Command, name: &str) {
    let is_root = command.get_name() == name;
    // The environment of whoever prints this page is not part of it, and what every command has is
    // told once.
    let mut shown = command.clone().mut_args(|arg| {
        let of_every_command = arg.get_help_heading() == Some(GLOBAL) || arg.get_id() == "help";
        arg.hide_env_values(true).hide(of_every_command && !is_root)
    });
    let help = shown.render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    let text = lines.join("\n");
    page.push_str(&format!(
        "\n## `{name}`\n\n```text\n{}\n```\n",
        text.trim_end()
    ));
    for inner in command.get_subcommands() {
        if !inner.is_hide_set() && inner.get_name() != "help" {
            write_command(page, inner, &format!("{name} {}", inner.get_name()));
        }
    }
}
