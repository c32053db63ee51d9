//! `ebbtide user`: who may sign in to the console.

use super::{GLOBAL, RoleName};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Users of the console.
#[derive(Debug, Args)]
pub struct UserArgs {
    /// The file of users. Without it: the one of the node that --admin names or that runs here; if
    /// none runs, the one that ./ebbtide.toml names, or /var/lib/ebbtide/users
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL)]
    pub file: Option<PathBuf>,
    #[command(subcommand)]
    pub command: UserCommand,
}

/// What is done with users.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a user; the password is asked for twice
    #[command(after_help = "\
Examples:
  ebbtide user add anna --role operator
  pwgen 20 1 | tee /dev/tty | ebbtide user add boris --role viewer --password-stdin

A password has at least 12 characters. Its argon2id hash is kept in a file that a node reads again when it \
changes, so this works whether one runs or not.")]
    Add {
        /// The name to sign in with; the audit log has it
        name: String,
        /// What the user may do
        #[arg(long, value_enum)]
        role: RoleName,
        #[command(flatten)]
        password: PasswordSource,
    },
    /// List the users
    #[command(after_help = "Example:\n  ebbtide user list")]
    List,
    /// Remove a user, who is signed out at once
    #[command(after_help = "Example:\n  ebbtide user remove anna")]
    Remove {
        /// Who
        name: String,
    },
    /// Set another password; the user is signed out at once
    #[command(after_help = "Example:\n  ebbtide user password anna")]
    Password {
        /// Whose
        name: String,
        #[command(flatten)]
        password: PasswordSource,
    },
    /// Give a user another role; the user is signed out at once
    #[command(after_help = "Example:\n  ebbtide user role anna admin")]
    Role {
        /// Whose
        name: String,
        /// What the user may do from now on
        #[arg(value_enum)]
        role: RoleName,
    },
    /// Sign a user out, in every browser
    #[command(after_help = "Example:\n  ebbtide user sign-out anna")]
    SignOut {
        /// Who
        name: String,
    },
}

/// Where the password comes from.
#[derive(Clone, Copy, Debug, Args)]
pub struct PasswordSource {
    /// Take the first line of standard input for the password
    #[arg(long)]
    pub password_stdin: bool,
}
