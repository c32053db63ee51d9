//! The program: command line, configuration, composition, demo. The library is what its tests use.

pub mod agent;
#[expect(
    missing_docs,
    reason = "the doc comments here are the help texts, and each is there"
)]
pub mod cli;
pub mod config;
pub mod demo;
pub mod documents;
pub mod exit;
pub mod logging;
pub mod manifest;
pub mod node;
pub mod operate;
pub mod output;
pub mod screen;
pub mod signals;
pub mod status_page;
pub mod target;
pub mod user;
pub mod view;
