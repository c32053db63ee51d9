//! Reading and hashing, on as many threads as there are cores: large files in pieces, each of which
//! is a subtree of the file's BLAKE3 tree, small files whole.
//!
//! Plain reads into a buffer that stays in the processor's cache, not a memory map: a file that is
//! cut off while it is read is then a short read, and no signal that ends the program.

use super::progress::Progress;
use super::walk::{Found, Stamp};
use blake3::Hasher;
use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root,
};
use ebbtide_core::Digest;
use rustix::fs::{Advice, OFlags, fadvise};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The length of a piece, in bytes: a power of two of BLAKE3's chunks.
const PIECE: u64 = 16 * 1024 * 1024;
/// How much is read at once, in bytes: what fits well into the processor's cache. With four times as
/// much and more, copying from the kernel takes four times as long.
const BUFFER: usize = 64 * 1024;
/// How often a file is read that changes meanwhile.
const TRIES: u32 = 3;
const THREADS_MAX: usize = 64;
const REDRAW: Duration = Duration::from_millis(200);

/// What became of a file.
#[derive(Debug)]
pub(super) struct Hashed {
    pub name: String,
    pub outcome: Outcome,
}

/// Whether a file could be read as a whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Whole { digest: Digest, stamp: Stamp },
    Failed(String),
}

/// Reads and hashes these files of `directory`.
pub(super) fn hash_all(directory: &Path, files: Vec<Found>, show: bool) -> Vec<Hashed> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let total = files.iter().map(|file| file.stamp.size).sum();
    let progress = Progress::begin(total, show);
    let work = Work {
        directory,
        queue: Mutex::new(Queue {
            files: files.into_iter().map(|file| (file.name, 1)).collect(),
            current: None,
        }),
        done: Mutex::default(),
        bytes: AtomicU64::new(0),
    };
    let (alive, ended) = channel::<()>();
    std::thread::scope(|scope| {
        for _ in 0..cores.min(THREADS_MAX) {
            let (alive, work) = (alive.clone(), &work);
            scope.spawn(move || {
                work.run();
                drop(alive);
            });
        }
        drop(alive);
        while ended.recv_timeout(REDRAW) == Err(RecvTimeoutError::Timeout) {
            progress.draw(work.bytes.load(Relaxed));
        }
    });
    work.done
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
}

struct Work<'a> {
    directory: &'a Path,
    queue: Mutex<Queue>,
    done: Mutex<Vec<Hashed>>,
    /// Bytes read so far.
    bytes: AtomicU64,
}

struct Queue {
    /// Names, and how often each is read with the next time.
    files: VecDeque<(String, u32)>,
    /// The file whose pieces are given out, and the next one.
    current: Option<(Arc<Reading>, u64)>,
}

/// A file that is being read.
struct Reading {
    name: String,
    path: PathBuf,
    file: File,
    stamp: Stamp,
    tries: u32,
    pieces: Mutex<Pieces>,
}

struct Pieces {
    /// The chaining value of each piece; of a file with one piece, its digest.
    values: Vec<ChainingValue>,
    missing: usize,
    failed: Option<io::Error>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Work<'_> {
    fn run(&self) {
        let mut buffer = vec![0; BUFFER];
        while let Some((reading, piece)) = self.next() {
            let read = reading.hash(piece, &mut buffer, &self.bytes);
            if reading.note(piece, read) {
                self.finish(&reading);
            }
        }
    }

    /// The next piece of the file that is being read, or the first of the next one.
    fn next(&self) -> Option<(Arc<Reading>, u64)> {
        let mut queue = lock(&self.queue);
        loop {
            if let Some((reading, piece)) = &mut queue.current
                && *piece < reading.pieces()
            {
                *piece += 1;
                return Some((Arc::clone(reading), *piece - 1));
            }
            queue.current = None;
            let (name, tries) = queue.files.pop_front()?;
            match Reading::open(self.directory, &name, tries) {
                Ok(reading) => queue.current = Some((Arc::new(reading), 0)),
                Err(error) => {
                    let outcome = Outcome::Failed(format!("cannot be read: {error}"));
                    lock(&self.done).push(Hashed { name, outcome });
                }
            }
        }
    }

    /// Every piece has been read: the file is hashed if it stayed as it was meanwhile.
    fn finish(&self, reading: &Reading) {
        let mut pieces = lock(&reading.pieces);
        let is_same = reading.is_same();
        let outcome = match pieces.failed.take() {
            Some(error) if is_same && error.kind() != io::ErrorKind::UnexpectedEof => {
                Outcome::Failed(format!("cannot be read: {error}"))
            }
            None if is_same => Outcome::Whole {
                digest: Digest(root(&pieces.values)),
                stamp: reading.stamp,
            },
            _ if reading.tries < TRIES => {
                let again = (reading.name.clone(), reading.tries + 1);
                lock(&self.queue).files.push_back(again);
                return;
            }
            _ => Outcome::Failed(format!("changed while it was read, {TRIES} times")),
        };
        let name = reading.name.clone();
        lock(&self.done).push(Hashed { name, outcome });
    }
}

impl Reading {
    fn open(directory: &Path, name: &str, tries: u32) -> io::Result<Self> {
        let path = directory.join(name);
        // What has become a pipe or a link since it was found must not hold us up or lead us away.
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let file = File::options()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(&path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a file any more"));
        }
        // Only a hint: what it cannot be given to is read all the same.
        let _ = fadvise(&file, 0, None, Advice::Sequential);
        let stamp = Stamp::of(&metadata);
        let count = usize::try_from(stamp.size.div_ceil(PIECE).max(1)).map_err(io::Error::other)?;
        let pieces = Mutex::new(Pieces {
            values: vec![[0; 32]; count],
            missing: count,
            failed: None,
        });
        Ok(Self {
            name: name.to_owned(),
            path,
            file,
            stamp,
            tries,
            pieces,
        })
    }

    fn pieces(&self) -> u64 {
        self.stamp.size.div_ceil(PIECE).max(1)
    }

    /// Whether the file is still the one that was opened, as it was then.
    fn is_same(&self) -> bool {
        let now = std::fs::symlink_metadata(&self.path);
        now.is_ok_and(|now| now.is_file() && Stamp::of(&now) == self.stamp)
    }

    /// Reads a piece and hashes it.
    fn hash(&self, piece: u64, buffer: &mut [u8], bytes: &AtomicU64) -> io::Result<[u8; 32]> {
        let begin = piece * PIECE;
        let end = self.stamp.size.min(begin + PIECE);
        let mut hasher = Hasher::new();
        hasher.set_input_offset(begin);
        let mut at = begin;
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(usize::MAX);
            let wanted = wanted.min(buffer.len());
            let buffer = &mut buffer[..wanted];
            self.file.read_exact_at(buffer, at)?;
            hasher.update(buffer);
            at += wanted as u64;
            bytes.fetch_add(wanted as u64, Relaxed);
        }
        Ok(match self.pieces() {
            1 => *hasher.finalize().as_bytes(),
            _ => hasher.finalize_non_root(),
        })
    }

    /// Keeps what came of a piece; whether it was the last one.
    fn note(&self, piece: u64, read: io::Result<[u8; 32]>) -> bool {
        let mut pieces = lock(&self.pieces);
        match (read, usize::try_from(piece)) {
            (Ok(value), Ok(piece)) => pieces.values[piece] = value,
            (Err(error), _) => pieces.failed = Some(error),
            (_, Err(error)) => pieces.failed = Some(io::Error::other(error)),
        }
        pieces.missing -= 1;
        pieces.missing == 0
    }
}

/// The digest of a file from the values of its pieces, all of them as long but for the last one.
fn root(pieces: &[ChainingValue]) -> ChainingValue {
    match split(pieces) {
        Some((left, right)) => {
            *merge_subtrees_root(&merged(left), &merged(right), Mode::Hash).as_bytes()
        }
        None => pieces[0],
    }
}

fn merged(pieces: &[ChainingValue]) -> ChainingValue {
    match split(pieces) {
        Some((left, right)) => merge_subtrees_non_root(&merged(left), &merged(right), Mode::Hash),
        None => pieces[0],
    }
}

/// The left half has the largest power of two of pieces that leaves some for the right one.
fn split(pieces: &[ChainingValue]) -> Option<(&[ChainingValue], &[ChainingValue])> {
    let left = pieces.len().next_power_of_two() / 2;
    (pieces.len() > 1).then(|| pieces.split_at(left))
}

#[cfg(test)]
mod tests;
