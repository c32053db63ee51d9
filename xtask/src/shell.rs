//! Running other programs, always from the root of the tree.

use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus, Output};

/// The root of the workspace.
pub fn root() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}

/// A command that will run in the root of the tree.
pub fn command(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command
}

/// The cargo that runs us, so that a `+toolchain` on the command line reaches what we start.
pub fn cargo(arguments: &[&str]) -> Command {
    command(
        std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()),
        arguments,
    )
}

/// Runs to the end, with our own standard streams.
pub fn stream(command: &mut Command) -> Result<ExitStatus, String> {
    command
        .status()
        .map_err(|error| cannot_run(command, &error))
}

/// Runs to the end and keeps both outputs.
pub fn capture(command: &mut Command) -> Result<Output, String> {
    command
        .output()
        .map_err(|error| cannot_run(command, &error))
}

/// Runs to the end; its standard output as text, or an error that holds its standard error.
pub fn capture_text(command: &mut Command) -> Result<String, String> {
    let output = capture(command)?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "{} failed ({}):\n{}",
            shown(command),
            output.status,
            complaint.trim_end()
        ));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("{} did not print UTF-8", shown(command)))
}

/// The exit code of a child as our own; 1 when a signal ended it.
pub fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    ExitCode::from(code.unwrap_or(1))
}

/// Where a program is: on PATH, or where Debian keeps servers that an ordinary user's PATH leaves out.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(extra)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

fn cannot_run(command: &Command, error: &std::io::Error) -> String {
    format!("cannot run {}: {error}", shown(command))
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
