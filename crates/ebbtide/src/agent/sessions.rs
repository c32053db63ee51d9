//! How many sessions there are: connections of a port, or what a command says.

use crate::cli::AgentRun;
use ebbtide_protocol::quote::quoted;
use rustix::process::{Pid, Signal, kill_process_group};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Where the kernel lists connections, of IPv4 and of IPv6.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];
/// How they say that one is established.
const ESTABLISHED: &str = "01";
/// What a command may take.
const COMMAND_SECONDS_MAX: u64 = 5;
/// What is read of what it says; the number has to be in it.
const OUTPUT_BYTES_MAX: u64 = 4096;

/// Counts in the way that was asked for; `None`: in none.
pub(super) async fn count(run: &AgentRun) -> Option<Result<u64, String>> {
    if let Some(port) = run.sessions_port {
        // With many connections these tables take their time.
        let counted = tokio::task::spawn_blocking(move || count_connections(TABLES, port)).await;
        return Some(counted.unwrap_or_else(|error| Err(error.to_string())));
    }
    let command = run.sessions_command.as_deref()?;
    Some(ask(command, Duration::from_secs(COMMAND_SECONDS_MAX)).await)
}

fn count_connections(tables: [&str; 2], port: u16) -> Result<u64, String> {
    let mut connections = None;
    for path in tables {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            // A machine without IPv6 has no table of it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(format!("{path}: {error}")),
        };
        connections = Some(connections.unwrap_or(0) + established(&text, port));
    }
    connections.ok_or_else(|| format!("there is neither {} nor {}", tables[0], tables[1]))
}

/// Lines like `0: 0100007F:1F90 0200007F:C350 01 …`: our address, the other's, the state.
fn established(table: &str, port: u16) -> u64 {
    let port = format!("{port:04X}");
    let is_one = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        let ours = fields.next().and_then(|address| address.rsplit(':').next());
        let state = fields.nth(1);
        ours == Some(&port) && state == Some(ESTABLISHED)
    };
    table.lines().skip(1).filter(is_one).count() as u64
}

async fn ask(command: &str, limit: Duration) -> Result<u64, String> {
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("the command cannot be started: {error}"))?;
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let mut group = Group(group);
    let said = timeout(limit, listen(&mut child)).await;
    if said.is_ok() {
        group.0 = None;
    }
    let (said, status) =
        said.map_err(|_| format!("the command did not end within {} s", limit.as_secs()))??;
    if !status.success() {
        return Err(format!("the command failed: {status}"));
    }
    let word = said.split_whitespace().next();
    let word = word.ok_or("the command says nothing")?;
    word.parse().map_err(|_| {
        let (said, most) = (quoted(word), u64::MAX);
        format!("the command says {said}, which is no number from 0 to {most}")
    })
}

/// What a command has started: ended with this value, also when the agent is stopped meanwhile.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended at this very moment.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

async fn listen(child: &mut Child) -> Result<(String, std::process::ExitStatus), String> {
    let mut said = Vec::new();
    if let Some(output) = child.stdout.take() {
        let mut output = output.take(OUTPUT_BYTES_MAX);
        let read = output.read_to_end(&mut said).await;
        read.map_err(|error| format!("the command cannot be heard: {error}"))?;
    }
    let status = child.wait().await;
    let status = status.map_err(|error| format!("the command cannot be waited for: {error}"))?;
    Ok((String::from_utf8_lossy(&said).into_owned(), status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_established_connections_of_the_port_are_counted() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue
   0: 00000000:0016 00000000:0000 0A 00000000:00000000
   1: 0100007F:0016 0200007F:C350 01 00000000:00000000
   2: 0100007F:0016 0200007F:C351 06 00000000:00000000
   3: 0100007F:C350 0200007F:0016 01 00000000:00000000
   4: 0000000000000000FFFF00000100007F:0016 0000000000000000FFFF00000100007F:9C40 01
";
        assert_eq!(established(table, 22), 2);
        assert_eq!(established(table, 23), 0);
        assert_eq!(established("", 22), 0);
    }

    #[test]
    fn tables_that_cannot_be_read_are_no_count() {
        let scratch = ebbtide_testkit::Scratch::new();
        let file = |name: &str| scratch.join(name).display().to_string();
        let (one, other) = (file("tcp"), file("tcp6"));
        let count = || count_connections([&one, &other], 22);
        let error = count().unwrap_err();
        assert!(error.starts_with("there is neither "), "{error}");
        std::fs::write(&one, "").unwrap();
        assert_eq!(count(), Ok(0), "a machine without IPv6");
        std::fs::create_dir(&other).unwrap();
        let error = count().unwrap_err();
        assert!(error.starts_with(&other), "{error}");
    }

    async fn says(command: &str) -> Result<u64, String> {
        ask(command, Duration::from_secs(5)).await
    }

    #[tokio::test]
    async fn a_command_says_how_many_there_are() {
        assert_eq!(says("echo 12").await, Ok(12));
        assert_eq!(says("echo 7 sessions; echo more").await, Ok(7));
        for (command, why) in [
            (
                "echo many",
                "\"many\", which is no number from 0 to 18446744073709551615",
            ),
            (
                "echo 99999999999999999999",
                "\"99999999999999999999\", which is no number from 0 to 18446744073709551615",
            ),
            (
                "echo -3",
                "\"-3\", which is no number from 0 to 18446744073709551615",
            ),
            (
                "printf '7\\0007'",
                "\"7\\07\", which is no number from 0 to 18446744073709551615",
            ),
            ("echo", "nothing"),
        ] {
            let says_none = says(command).await.unwrap_err();
            assert_eq!(says_none, format!("the command says {why}"));
        }
        let long = says("head -c 4000 /dev/zero | tr '\\0' 9")
            .await
            .unwrap_err();
        let digits = "9".repeat(24);
        assert!(
            long.starts_with(&format!("the command says \"{digits}…\", which")),
            "{long}"
        );
        let fails = says("echo 5; exit 3").await.unwrap_err();
        assert!(fails.contains("exit status: 3"), "{fails}");
    }

    #[tokio::test]
    async fn a_command_that_does_not_end_is_ended_with_all_that_it_started() {
        let scratch = ebbtide_testkit::Scratch::new();
        let file = scratch.join("child");
        let command = format!("sleep 1000 & echo $! > {}; wait", file.display());
        let late = ask(&command, Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(late, "the command did not end within 1 s");
        let child = std::fs::read_to_string(&file).unwrap();
        let stat = format!("/proc/{}/stat", child.trim());
        ebbtide_testkit::until("its child has ended", Duration::from_secs(20), || {
            match std::fs::read_to_string(&stat) {
                Err(_) => Some(()),
                // Nobody may be there to bury it.
                Ok(text) => text.contains(") Z ").then_some(()),
            }
        });
    }

    #[tokio::test]
    async fn a_command_that_says_too_much_is_not_waited_for() {
        let endless = ask("yes 3", Duration::from_secs(20)).await.unwrap_err();
        assert!(endless.starts_with("the command failed"), "{endless}");
    }
}
