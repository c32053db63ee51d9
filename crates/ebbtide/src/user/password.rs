//! A new password, typed at the terminal where nobody sees it, or from standard input.

use crate::cli::PasswordSource;
use crate::exit::Failure;
use crate::signals::StopSignals;
use ebbtide_control::UsersFile;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use tokio::sync::oneshot;

/// Bytes that are read for a password, at most: more than one may have.
const LINE_BYTES_MAX: u64 = 4096;

/// Asks for a new password of `name`, at the terminal twice.
pub(super) async fn ask(
    users: &UsersFile,
    name: &str,
    from: PasswordSource,
) -> Result<String, Failure> {
    if from.password_stdin {
        let failed = |error: io::Error| {
            Failure::failed(format!(
                "the password cannot be read from standard input: {error}"
            ))
        };
        let secret = line(io::stdin()).map_err(failed)?;
        users.check_password(name, &secret)?;
        return Ok(secret);
    }
    let terminal = File::options().read(true).write(true).open("/dev/tty");
    let terminal = terminal.map_err(|_| {
        Failure::usage(
            "there is no terminal to type the password at; use --password-stdin and give it on \
             standard input",
        )
    })?;
    let secret = typed(&terminal, &format!("New password of {name}: ")).await?;
    // What is too weak need not be typed twice.
    users.check_password(name, &secret)?;
    let again = typed(&terminal, "The same again: ").await?;
    if again != secret {
        return Err(Failure::failed(
            "the two are not the same; nothing was changed",
        ));
    }
    Ok(secret)
}

/// Reads a line with the terminal's echo off. Ctrl-C ends that, and brings the echo back.
async fn typed(terminal: &File, prompt: &str) -> Result<String, Failure> {
    let failed = |error: io::Error| {
        Failure::failed(format!(
            "the terminal cannot be used for a password: {error}"
        ))
    };
    let mut stop = StopSignals::catch().map_err(failed)?;
    let silent = Silent::new(terminal).map_err(failed)?;
    write!(&mut &*terminal, "{prompt}").map_err(failed)?;
    let reader = terminal.try_clone().map_err(failed)?;
    let (told, tell) = oneshot::channel();
    // A thread of its own, which nobody waits for: a line that never comes ends with the program.
    std::thread::spawn(move || drop(told.send(line(reader))));
    let typed = tokio::select! {
        typed = tell => typed.unwrap_or_else(|_| Err(io::ErrorKind::UnexpectedEof.into())),
        () = stop.next() => Err(io::Error::other("it was interrupted; nothing was changed")),
    };
    drop(silent);
    writeln!(&mut &*terminal).map_err(failed)?;
    typed.map_err(failed)
}

/// The first line, without its end.
fn line(from: impl Read) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(from.take(LINE_BYTES_MAX)).read_line(&mut line)?;
    let end = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(end);
    Ok(line)
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Silent<'terminal> {
    terminal: &'terminal File,
    before: Termios,
}

impl<'terminal> Silent<'terminal> {
    fn new(terminal: &'terminal File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent.local_modes -= LocalModes::ECHO;
        // What was typed too early would be shown already, so it is thrown away.
        tcsetattr(terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(self.terminal, OptionalActions::Flush, &self.before) {
            eprintln!(
                "ebbtide: the terminal's echo cannot be brought back ({error}): `stty echo` does"
            );
        }
    }
}
