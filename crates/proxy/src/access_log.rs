//! The access log: one line per request, formatted and written by a thread of its own.

use crate::listeners::StartError;
use crate::pages::json_string;
use crate::wall::{common_log, rfc3339};
use ebbtide_core::{PoolConfig, SessionId, WallTime};
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

/// Lines that may wait for the writer; beyond that they are dropped and counted.
const QUEUE_MAX: usize = 16 * 1024;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object.
    Json,
    /// The combined format that log analysers read, with our own fields after it.
    Combined,
}

/// Where requests are logged.
#[derive(Clone, Debug)]
pub struct AccessLogOptions {
    /// How a line looks.
    pub format: LogFormat,
    /// The file, appended to; `None`: standard output.
    pub path: Option<PathBuf>,
}

/// One request, as it is logged.
#[derive(Debug)]
pub(crate) struct Record {
    pub time: WallTime,
    pub client: IpAddr,
    pub method: String,
    pub target: String,
    pub version: &'static str,
    pub user_agent: String,
    pub referer: String,
    pub status: u16,
    pub bytes: u64,
    pub duration_ms: u64,
    pub pool: Option<Arc<PoolConfig>>,
    /// `pool/server`.
    pub server: Option<Arc<str>>,
    pub session: Option<SessionId>,
    pub tries: u32,
    pub moved: bool,
    /// How often another server went on with the answer.
    pub resumed: u32,
    /// Whether the answer got through whole.
    pub complete: bool,
}

enum Entry {
    Line(Box<Record>),
    Reopen,
}

/// The running log.
pub(crate) struct AccessLog {
    entries: LogSender,
    writer: Option<JoinHandle<()>>,
}

/// A worker's end of the log.
#[derive(Clone)]
pub(crate) struct LogSender(SyncSender<Entry>);

impl LogSender {
    /// Hands a line over; `false` if the log cannot keep up.
    pub fn send(&self, record: Record) -> bool {
        self.0.try_send(Entry::Line(Box::new(record))).is_ok()
    }
}

impl AccessLog {
    /// Opens the log and starts its thread, which ends when every sender is gone.
    pub fn start(options: AccessLogOptions) -> Result<Self, StartError> {
        let sink = open(options.path.as_deref()).map_err(|error| StartError::AccessLog {
            path: options.path.clone().unwrap_or_default(),
            error,
        })?;
        let (sender, entries) = sync_channel(QUEUE_MAX);
        let writer = std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || write_all(&options, sink, &entries))
            .map_err(StartError::Worker)?;
        Ok(Self {
            entries: LogSender(sender),
            writer: Some(writer),
        })
    }

    /// An end for a worker.
    pub fn sender(&self) -> LogSender {
        self.entries.clone()
    }

    /// Opens the file anew.
    pub fn reopen(&self) {
        // The writer ends only after this end is gone.
        let _ = self.entries.0.send(Entry::Reopen);
    }

    /// Waits until every line is written. The workers must have ended.
    pub fn finish(mut self) {
        let writer = self.writer.take();
        drop(self);
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the access log's writer has panicked");
        }
    }
}

type Sink = BufWriter<Box<dyn Write + Send>>;

fn open(path: Option<&Path>) -> io::Result<Sink> {
    let file: Box<dyn Write + Send> = match path {
        Some(path) => Box::new(append(path)?),
        None => Box::new(io::stdout()),
    };
    Ok(BufWriter::with_capacity(64 * 1024, file))
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Writes lines as they come; what is buffered is flushed whenever no more are waiting.
fn write_all(options: &AccessLogOptions, mut sink: Sink, entries: &Receiver<Entry>) {
    let mut is_failing = false;
    loop {
        let entry = match entries.try_recv() {
            Ok(entry) => entry,
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                note(sink.flush(), &mut is_failing);
                match entries.recv() {
                    Ok(entry) => entry,
                    Err(_) => break,
                }
            }
        };
        match entry {
            Entry::Line(record) => {
                let line = match options.format {
                    LogFormat::Json => json(&record),
                    LogFormat::Combined => combined(&record),
                };
                note(sink.write_all(line.as_bytes()), &mut is_failing);
            }
            Entry::Reopen => match open(options.path.as_deref()) {
                Ok(fresh) => {
                    note(sink.flush(), &mut is_failing);
                    sink = fresh;
                }
                Err(error) => tracing::error!("cannot reopen the access log: {error}"),
            },
        }
    }
    note(sink.flush(), &mut is_failing);
}

/// Says once that the log cannot be written, and once that it can again.
fn note(result: io::Result<()>, is_failing: &mut bool) {
    match result {
        Err(error) if !*is_failing => {
            *is_failing = true;
            tracing::error!("cannot write the access log: {error}");
        }
        Ok(()) if *is_failing => {
            *is_failing = false;
            tracing::info!("the access log is written again");
        }
        _ => {}
    }
}

fn json(record: &Record) -> String {
    let text = |text: Option<&str>| text.map_or_else(|| "null".into(), json_string);
    let session = record.session.map(|id| id.to_string());
    format!(
        "{{\"time\":\"{time}\",\"client\":\"{client}\",\"method\":{method},\"target\":{target},\
         \"status\":{status},\"bytes\":{bytes},\"duration_ms\":{duration_ms},\"pool\":{pool},\
         \"server\":{server},\"session\":{session},\"tries\":{tries},\"moved\":{moved},\
         \"resumed\":{resumed},\"complete\":{complete},\"user_agent\":{user_agent},\"referer\":{referer}}}\n",
        time = rfc3339(record.time),
        client = record.client,
        method = json_string(&record.method),
        target = json_string(&record.target),
        status = record.status,
        bytes = record.bytes,
        duration_ms = record.duration_ms,
        pool = text(record.pool.as_ref().map(|pool| pool.name.as_str())),
        server = text(record.server.as_deref()),
        session = text(session.as_deref()),
        tries = record.tries,
        moved = record.moved,
        resumed = record.resumed,
        complete = record.complete,
        user_agent = json_string(&record.user_agent),
        referer = json_string(&record.referer),
    )
}

fn combined(record: &Record) -> String {
    let quoted = |text: &str| match text {
        "" => "-".to_owned(),
        text => escape(text),
    };
    let session = record.session.map(|id| id.to_string());
    format!(
        "{client} - - [{time}] \"{method} {target} {version}\" {status} {bytes} \"{referer}\" \
         \"{user_agent}\" {duration_ms}ms {server} {session} tries={tries} moved={moved} resumed={resumed} \
         complete={complete}\n",
        client = record.client,
        time = common_log(record.time),
        method = escape(&record.method),
        target = escape(&record.target),
        version = record.version,
        status = record.status,
        bytes = record.bytes,
        referer = quoted(&record.referer),
        user_agent = quoted(&record.user_agent),
        duration_ms = record.duration_ms,
        server = record.server.as_deref().unwrap_or("-"),
        session = session.as_deref().unwrap_or("-"),
        tries = record.tries,
        moved = record.moved,
        resumed = record.resumed,
        complete = record.complete,
    )
}

/// Text that cannot end its quotes, its line or the terminal's good manners.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            control if control.is_control() => {
                escaped.push_str(&format!("\\x{:02x}", u32::from(control)));
            }
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            time: WallTime(1_795_367_481_042),
            client: IpAddr::from([192, 0, 2, 7]),
            method: "GET".into(),
            target: "/a?\"b".into(),
            version: "HTTP/1.1",
            user_agent: "evil\" \u{1b}[2J\n".into(),
            referer: String::new(),
            status: 200,
            bytes: 128,
            duration_ms: 3,
            pool: None,
            server: Some("app/web1".into()),
            session: Some(SessionId(7)),
            tries: 1,
            moved: false,
            resumed: 0,
            complete: true,
        }
    }

    #[test]
    fn lines_are_escaped() {
        let line = combined(&record());
        assert_eq!(
            line,
            "192.0.2.7 - - [22/Nov/2026:17:11:21 +0000] \"GET /a?\\\"b HTTP/1.1\" 200 128 \"-\" \
             \"evil\\\" \\x1b[2J\\x0a\" 3ms app/web1 0000000000000007 tries=1 moved=false resumed=0 complete=true\n"
        );
        let line = json(&record());
        assert!(
            line.contains(r#""user_agent":"evil\" \u001b[2J\u000a""#),
            "{line}"
        );
        assert_eq!(line.matches('\n').count(), 1);
    }
}
