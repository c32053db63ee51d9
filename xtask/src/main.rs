//! `cargo xtask`: what is done to the tree, rather than by the program.
//!
//! Nothing in the workspace may depend on this package, and it depends on none of the others: it builds and runs
//! them as a developer would.

mod bench;
mod docs;
mod fuzz;
mod npm;
mod pgo;
mod run_tests;
mod shell;
mod sim;
mod system_packages;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of the Ebbtide tree")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run every test; installs the system packages that they need, or says what to install
    Test {
        /// Passed on to the test runner
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Check style, floors, sizes, graphs, links and generated pages
    Tidy,
    /// Write the pages that the program generates about itself
    Docs {
        /// Change nothing; fail when a page is out of date
        #[arg(long)]
        check: bool,
    },
    /// Play many seeds of the simulator; the first that breaks a promise is told, made short
    Sim(sim::Options),
    /// Compare CPU and memory with nginx and HAProxy; writes bench/RESULTS.md
    Bench(bench::Options),
    /// Build the program with a profile of its own work; prints where it is
    Pgo,
    /// Throw bytes at everything that reads bytes from strangers
    Fuzz(fuzz::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Test { arguments } => run_tests::run(&arguments),
        Task::Tidy => tidy::run(),
        Task::Docs { check: true } => docs::check_and_print(),
        Task::Docs { check: false } => docs::write().map(|()| ExitCode::SUCCESS),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Sim(options) => sim::run(&options),
        Task::Pgo => pgo::run(),
        Task::Bench(options) => bench::run(&options).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}
