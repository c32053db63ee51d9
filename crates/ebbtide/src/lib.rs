//! The program: command line, configuration, composition, demo.

pub mod config;
