//! Manifests of the servers: each is fetched again and again, by its own schedule. What follows from
//! what they say is decided in `core`.

#[cfg(test)]
mod tests;

use crate::inbox::{Inbox, Message};
use crate::manifest::{MANIFEST_BYTES_MAX, Manifest, ManifestSource};
use crate::outside::exchange::exchange;
use crate::outside::rounds::{self, Turn};
use crate::prober::jittered;
use ebbtide_core::{ManifestCopies, Millis, ServerName, Snapshot};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, header};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

/// How long fetching one manifest may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after a manifest could not be fetched; each further one is twice as long, up to the time
/// between two looks. Whoever starts a server and its web server does not wait for long.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// Manifests that are fetched at the same time: each may be 16 MiB long.
const AT_ONCE_MAX: usize = 16;

/// What one server's manifest is asked, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Question {
    place: String,
    every: Millis,
    /// Resources and the files that they are in manifests.
    wanted: Arc<[(String, String)]>,
}

/// Fetches until the sender of `snapshots` is dropped.
pub(super) async fn run(snapshots: watch::Receiver<Arc<Snapshot>>, inbox: Inbox) {
    let files = Arc::new(Semaphore::new(1));
    let ask = |name, question, turn| {
        let files = Arc::clone(&files);
        ask_on(name, question, turn, files, inbox.clone())
    };
    rounds::run(snapshots, AT_ONCE_MAX, questions, ask).await;
}

fn questions(snapshot: &Snapshot) -> BTreeMap<ServerName, Question> {
    let mut questions = BTreeMap::new();
    for pool in &snapshot.pools {
        let settings = &pool.config.replicas;
        if pool.replicas.manifests.is_empty() {
            continue;
        }
        let resources = settings.resources.iter();
        let wanted: Arc<[(String, String)]> = resources
            .map(|resource| (resource.name.clone(), resource.file.clone()))
            .collect();
        for manifest in &pool.replicas.manifests {
            let name = ServerName::new(pool.config.name.as_str(), &*manifest.server);
            let question = Question {
                place: manifest.place.clone(),
                every: settings.manifest_every,
                wanted: Arc::clone(&wanted),
            };
            questions.insert(name, question);
        }
    }
    questions
}

/// Fetches one manifest until it is aborted.
async fn ask_on(
    name: ServerName,
    question: Question,
    turn: Turn,
    files: Arc<Semaphore>,
    inbox: Inbox,
) {
    let mut fetcher = Fetcher {
        wanted: Arc::clone(&question.wanted),
        files,
        last: None,
    };
    let mut failures = 0_u32;
    loop {
        let place = turn.place().await;
        let read = fetcher.fetch(&question.place).await;
        drop(place);
        failures = match read {
            Ok(_) => 0,
            Err(_) => failures.saturating_add(1),
        };
        inbox.send(Message::ManifestRead {
            server: name.clone(),
            place: question.place.clone(),
            read,
        });
        let every = Duration::from_millis(question.every.0);
        sleep(jittered(pause(failures, every))).await;
    }
}

/// How long to wait for the next look, after so many failures in a row.
fn pause(failures: u32, every: Duration) -> Duration {
    match failures.checked_sub(1) {
        None => every,
        Some(before) => every.min(PAUSE_FIRST.saturating_mul(2_u32.saturating_pow(before))),
    }
}

/// What tells one content of a manifest from another without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mark {
    /// A file's inode, length and times.
    File(u64, u64, (i64, i64), (i64, i64)),
    /// A web server's `ETag`.
    Tag(Bytes),
}

/// Fetches one manifest, and reads it only if it is another one.
struct Fetcher {
    wanted: Arc<[(String, String)]>,
    /// Files are read one after another: if a file system hangs, one thread hangs with it.
    files: Arc<Semaphore>,
    last: Option<(Mark, ManifestCopies)>,
}

/// What was fetched; `None`: what it was the last time.
type Fetched = Option<(Vec<u8>, Option<Mark>)>;

impl Fetcher {
    async fn fetch(&mut self, place: &str) -> Result<ManifestCopies, String> {
        let source = ManifestSource::parse(place).map_err(|why| format!("{place} {why}"))?;
        let known = self.last.as_ref().map(|(mark, _)| mark.clone());
        let fetch = async {
            match source {
                ManifestSource::File(path) => self.file_content(path, known).await,
                ManifestSource::Http {
                    host,
                    port,
                    authority,
                    target,
                } => {
                    let stream = TcpStream::connect((host.as_str(), port));
                    let stream = stream.await.map_err(|error| error.to_string())?;
                    web_content(stream, &authority, &target, known).await
                }
            }
        };
        let fetched = timeout(TIMEOUT, fetch).await.unwrap_or_else(|_| {
            let limit = Millis(TIMEOUT.as_millis() as u64);
            Err(format!("is not there within {limit}"))
        });
        let failed = |why: String| format!("its manifest {place}: {why}");
        match (fetched.map_err(failed)?, &self.last) {
            (Some((bytes, mark)), _) => {
                let copies = self.understand(bytes).await.map_err(failed)?;
                self.last = mark.map(|mark| (mark, copies.clone()));
                Ok(copies)
            }
            (None, Some((_, copies))) => Ok(copies.clone()),
            (None, None) => Err(failed(
                "is said to be as before, but nothing was before".into(),
            )),
        }
    }

    async fn file_content(&self, path: PathBuf, known: Option<Mark>) -> Result<Fetched, String> {
        let place = Arc::clone(&self.files).acquire_owned().await;
        let read = spawn_blocking(move || {
            let _place = place;
            read_file(&path, known)
        });
        match read.await {
            Ok(read) => read.map_err(|error| format!("cannot be read: {error}")),
            Err(_) => Err("could not be read: the program is stopping".into()),
        }
    }

    /// Reads what was fetched, on another thread, as that takes a while when it is long.
    async fn understand(&self, bytes: Vec<u8>) -> Result<ManifestCopies, String> {
        let wanted = Arc::clone(&self.wanted);
        let read = spawn_blocking(move || Manifest::parse(&bytes)?.copies(&wanted));
        read.await
            .unwrap_or_else(|_| Err("could not be read: the program is stopping".into()))
    }
}

fn read_file(path: &Path, known: Option<Mark>) -> io::Result<Fetched> {
    // Looked at before it is opened: opening a pipe would wait for its writer.
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mark = Mark::File(
        metadata.ino(),
        metadata.len(),
        (metadata.mtime(), metadata.mtime_nsec()),
        (metadata.ctime(), metadata.ctime_nsec()),
    );
    if known.as_ref() == Some(&mark) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let limited = File::open(path)?.take(MANIFEST_BYTES_MAX as u64 + 1);
    let mut limited = limited;
    limited.read_to_end(&mut bytes)?;
    if bytes.len() > MANIFEST_BYTES_MAX {
        return Err(io::Error::other("it is longer than 16 MiB"));
    }
    Ok(Some((bytes, Some(mark))))
}

async fn web_content(
    stream: TcpStream,
    authority: &str,
    target: &str,
    known: Option<Mark>,
) -> Result<Fetched, String> {
    let mut request = Request::get(target)
        .header(header::HOST, authority)
        .header(header::USER_AGENT, "ebbtide-manifest")
        .header(header::ACCEPT, "application/json, */*")
        .header(header::CONNECTION, "close");
    if let Some(Mark::Tag(tag)) = &known {
        request = request.header(header::IF_NONE_MATCH, tag.as_ref());
    }
    let request = request.body(Full::default());
    let request = request.map_err(|error| error.to_string())?;
    let fetched = exchange(stream, request, async |answer| {
        match answer.status() {
            StatusCode::NOT_MODIFIED if known.is_some() => return Ok(None),
            StatusCode::OK => {}
            status => return Err(format!("it is answered {}", status.as_u16())),
        }
        let tag = answer.headers().get(header::ETAG);
        let mark = tag.map(|tag| Mark::Tag(Bytes::copy_from_slice(tag.as_bytes())));
        let body = Limited::new(answer.into_body(), MANIFEST_BYTES_MAX).collect();
        let body =
            body.await.map_err(
                |error| match error.is::<http_body_util::LengthLimitError>() {
                    true => "it is longer than 16 MiB".to_owned(),
                    false => format!("it broke off: {error}"),
                },
            )?;
        Ok(Some((body.to_bytes().to_vec(), mark)))
    });
    fetched.await?
}
