//! Pages of an operator's own: their files are looked at again and again, on a thread of their own,
//! as a file system may hang. What has changed is told to the driver, and so is a file that cannot
//! be read, once; users then get what was last read.

use crate::inbox::{Inbox, Message};
use ebbtide_core::{OwnPage, PAGE_BYTES_MAX, Snapshot};
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// How often the files are looked at.
const EVERY: Duration = Duration::from_millis(500);

/// Starts the thread; it ends by itself when the sender of `snapshots` is dropped. Nobody waits for
/// that, as it may hang in a file system.
pub(crate) fn start(snapshots: watch::Receiver<Arc<Snapshot>>, inbox: Inbox) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    std::thread::Builder::new()
        .name("ebbtide-pages".into())
        .spawn(move || runtime.block_on(run(snapshots, inbox)))?;
    Ok(())
}

async fn run(mut snapshots: watch::Receiver<Arc<Snapshot>>, inbox: Inbox) {
    let mut watched = Watched::default();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            changed = snapshots.changed() => if changed.is_err() {
                return;
            },
            _ = ticks.tick() => {}
        }
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        for message in watched.look(&snapshot) {
            inbox.send(message);
        }
    }
}

/// The page in this file, or what is wrong with it, as a sentence goes on after the file's name.
pub fn read_page(path: &Path) -> Result<String, String> {
    let failed = |error: io::Error| format!("{} cannot be read: {error}", path.display());
    // Looked at before it is opened: opening a pipe would wait for its writer.
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(format!("{} is not a file", path.display()));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    let mut limited = file.take(PAGE_BYTES_MAX as u64 + 1);
    limited.read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > PAGE_BYTES_MAX {
        return Err(format!("{} is longer than 1 MiB", path.display()));
    }
    let text = String::from_utf8(bytes);
    text.map_err(|_| format!("{} is not UTF-8", path.display()))
}

/// What tells one content of a file from another without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    path: PathBuf,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(path: &Path, metadata: &Metadata) -> Self {
        Self {
            path: path.to_owned(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// The files, and what was last told of each.
#[derive(Debug, Default)]
struct Watched {
    told: BTreeMap<(String, OwnPage), Result<Stamp, String>>,
}

impl Watched {
    /// What is to be told of the files that a snapshot names.
    fn look(&mut self, snapshot: &Snapshot) -> Vec<Message> {
        let mut told = std::mem::take(&mut self.told);
        let mut messages = Vec::new();
        for pool in &snapshot.pools {
            for (page, path) in pool.config.gate.files() {
                let key = (pool.config.name.clone(), page);
                let has_content = match page {
                    OwnPage::Closed => pool.pages.closed.is_some(),
                    OwnPage::Full => pool.pages.full.is_some(),
                };
                let before = told.remove(&key);
                let stamp = std::fs::metadata(path).map(|metadata| Stamp::of(path, &metadata));
                if let (Ok(stamp), Some(Ok(known)), true) = (&stamp, &before, has_content)
                    && stamp == known
                {
                    self.told.insert(key, Ok(known.clone()));
                    continue;
                }
                let read = read_page(path);
                let now = match (&read, stamp) {
                    (Ok(_), Ok(stamp)) => Ok(stamp),
                    (Ok(_), Err(error)) => Err(error.to_string()),
                    (Err(why), _) => Err(why.clone()),
                };
                if now.is_ok() || before.as_ref() != Some(&now) {
                    messages.push(Message::PageRead {
                        pool: key.0.clone(),
                        page,
                        read: read.map(Arc::from),
                    });
                }
                self.told.insert(key, now);
            }
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebbtide_core::{
        GateSettings, OwnPages, PoolConfig, PoolCounters, PoolIntent, PoolKey, PoolView,
    };

    fn snapshot(file: &Path, closed: Option<&str>) -> Snapshot {
        let mut config = PoolConfig::new("app");
        config.gate = GateSettings {
            closed_page: Some(file.to_owned()),
            ..GateSettings::defaults()
        };
        let pool = PoolView {
            key: PoolKey(1),
            config: Arc::new(config),
            intent: PoolIntent::Open,
            since: None,
            pages: OwnPages {
                closed: closed.map(Arc::from),
                full: None,
            },
            line: Arc::default(),
            replicas: Arc::default(),
            servers: Vec::new(),
            removed: Vec::new(),
            candidates: Default::default(),
            counters: Arc::new(PoolCounters::new(1)),
        };
        Snapshot {
            pools: vec![Arc::new(pool)],
            ..Snapshot::default()
        }
    }

    fn told(watched: &mut Watched, snapshot: &Snapshot) -> Vec<Result<String, String>> {
        let told = watched.look(snapshot).into_iter();
        told.map(|message| match message {
            Message::PageRead { read, .. } => read.map(|page| page.to_string()),
            _ => Err("another message".into()),
        })
        .collect()
    }

    #[test]
    fn a_file_is_told_when_it_changes_and_its_loss_once() {
        let directory = std::env::temp_dir().join(format!("ebbtide-pages-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join("closed.html");
        let mut watched = Watched::default();
        let none = snapshot(&file, None);
        assert!(told(&mut watched, &none)[0].is_err(), "it is not there yet");
        assert_eq!(told(&mut watched, &none), [], "said once");
        std::fs::write(&file, "one").unwrap();
        assert_eq!(told(&mut watched, &none), [Ok("one".to_owned())]);
        let some = snapshot(&file, Some("one"));
        assert_eq!(told(&mut watched, &some), []);
        std::fs::write(&file, "other").unwrap();
        assert_eq!(told(&mut watched, &some), [Ok("other".to_owned())]);
        std::fs::write(&file, vec![b'a'; PAGE_BYTES_MAX + 1]).unwrap();
        let too_long = told(&mut watched, &some);
        assert!(matches!(&too_long[..], [Err(why)] if why.contains("1 MiB")));
        std::fs::write(&file, [0xff]).unwrap();
        assert!(matches!(&told(&mut watched, &some)[..], [Err(why)] if why.contains("UTF-8")));
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(&told(&mut watched, &some)[..], [Err(_)]));
        assert_eq!(told(&mut watched, &some), [], "said once");
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
