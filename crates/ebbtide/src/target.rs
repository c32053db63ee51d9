//! Finds the node to talk to.

use crate::cli::Global;
use crate::exit::Failure;
use ebbtide_api::{Client, SOCKET_NAME};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Demos have their state in the directory for temporary files, under this name and their number.
pub const DEMO_DIRECTORY: &str = "ebbtide-demo-";

/// A client of the node that `--admin` names, or of the one that is found on this machine.
pub fn client(global: &Global) -> Result<Client, Failure> {
    let Some(admin) = &global.admin else {
        return find().map(Client::unix);
    };
    if let Some(path) = admin.strip_prefix("unix:") {
        return Ok(Client::unix(path));
    }
    if let Some(address) = admin.strip_prefix("http://") {
        let address = address.trim_end_matches('/');
        return Ok(Client::tcp(address, global.token.clone()));
    }
    Err(Failure::usage(format!(
        "--admin: `{admin}` is not unix:PATH or http://HOST:PORT; write unix:/var/lib/ebbtide/{SOCKET_NAME} \
         or http://127.0.0.1:7070"
    )))
}

/// What a command that is printed for people needs so that it goes to the same node: nothing, or
/// ` --admin …`, ready for a shell.
pub fn admin_argument(global: &Global) -> String {
    let Some(admin) = &global.admin else {
        return String::new();
    };
    let is_plain =
        |character: char| character.is_ascii_alphanumeric() || "/:._-[]".contains(character);
    if admin.chars().all(is_plain) {
        return format!(" --admin {admin}");
    }
    format!(" --admin '{}'", admin.replace('\'', r"'\''"))
}

/// The one of the usual sockets behind which somebody listens.
fn find() -> Result<PathBuf, Failure> {
    let mut candidates = vec![Path::new("/var/lib/ebbtide").join(SOCKET_NAME)];
    let configured = crate::config::state_dir(Path::new("ebbtide.toml"));
    candidates.extend(configured.map(|state_dir| state_dir.join(SOCKET_NAME)));
    candidates.extend(demos());
    let is_live = |path: &PathBuf| match UnixStream::connect(path) {
        Ok(_) => true,
        // It is there, but not for this user: better to say so than to talk to another.
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    };
    let mut live: Vec<PathBuf> = candidates.into_iter().filter(is_live).collect();
    // A configuration may name the usual place.
    live.sort();
    live.dedup();
    if live.len() > 1 {
        let listed: Vec<String> = live
            .iter()
            .map(|socket| format!("--admin unix:{}", socket.display()))
            .collect();
        return Err(Failure::usage(format!(
            "more than one Ebbtide runs here; say which is meant: {}",
            listed.join(", or ")
        )));
    }
    live.pop().ok_or_else(|| {
        Failure::failed(format!(
            "no running Ebbtide found: nobody listens on /var/lib/ebbtide/{SOCKET_NAME}, there is \
             no ./ebbtide.toml of a running node, and no demo runs; start one (`ebbtide run -c \
             FILE`, `ebbtide demo`), or say where it is with --admin"
        ))
    })
}

/// Sockets of this user's demos. Others can put what they like where temporary files are.
fn demos() -> Vec<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let entries = std::fs::read_dir(std::env::temp_dir());
    let mut sockets: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with(DEMO_DIRECTORY)
        })
        .filter(|entry| {
            let metadata = entry.metadata();
            metadata.is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == user)
        })
        .map(|entry| entry.path().join(SOCKET_NAME))
        .collect();
    sockets.sort();
    sockets
}
