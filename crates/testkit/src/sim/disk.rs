//! The simulated disk: one file, under the real store. What was written since the last sync may be
//! lost or torn when the power goes; while the disk is full, or fails, so does the store.

use super::dice::scramble;
use super::plan::DiskFault;
use ebbtide_control::{StorageBackend, Store, StoreError};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const PAGE: usize = 4096;
/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

type Page = Box<[u8; PAGE]>;

#[derive(Default)]
pub(super) struct Disk {
    file: Arc<Mutex<File>>,
    pub fault: Option<(DiskFault, i64)>,
}

/// The file as every reader sees it, and what the disk itself holds of it.
#[derive(Debug, Default)]
struct File {
    len: u64,
    /// Pages that were never written are zero.
    pages: BTreeMap<u64, Page>,
    /// What was written since the last sync, as it was then (`None`: zero).
    synced: BTreeMap<u64, Option<Page>>,
    synced_len: u64,
    /// Rises when the power goes: handles of before are worth nothing.
    power: u32,
    /// So many more writes fit.
    room: Option<u32>,
    /// So many more syncs succeed, before the power goes or the disk fails.
    syncs: Option<u32>,
    /// Something was written since this was last made false.
    written: bool,
}

/// The file as a store has it open.
#[derive(Debug)]
struct Handle {
    file: Arc<Mutex<File>>,
    power: u32,
}

impl Disk {
    /// What it does to a write at `at`.
    pub fn fault_at(&self, at: i64) -> Option<DiskFault> {
        let (fault, until) = self.fault?;
        (at < until).then_some(fault)
    }

    /// Opens the real store on this disk.
    pub fn open(&self) -> Result<Store, StoreError> {
        let (file, power) = (Arc::clone(&self.file), self.file().power);
        let handle = move || {
            let file = Arc::clone(&file);
            Ok(Handle { file, power })
        };
        Store::open_on(Path::new("simulated.redb"), handle)
    }

    /// From now on the disk does what the fault of this time says, at a place that `roll` chooses.
    pub fn prepare(&self, at: i64, roll: u64) {
        let fault = self.fault_at(at);
        let mut file = self.file();
        let few = u32::try_from(roll % 8).unwrap_or(0);
        file.room = (fault == Some(DiskFault::Full)).then(|| few.saturating_sub(2));
        file.syncs = (fault == Some(DiskFault::Failing)).then_some(few % 2);
        file.written = false;
    }

    /// Whether anything was written since [`prepare`](Self::prepare).
    pub fn was_written(&self) -> bool {
        self.file().written
    }

    /// The next sync but so many never ends: it is then that the power goes.
    pub fn lose_power_in(&self, syncs: u32) {
        let mut file = self.file();
        (file.room, file.syncs) = (None, Some(syncs));
    }

    /// The program is killed. Whatever it wrote is there, unless the power goes with it.
    pub fn kill(&self, power_goes: bool, roll: u64) {
        let mut file = self.file();
        file.power += 1;
        if power_goes {
            file.lose_power(roll);
        }
    }

    fn file(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl File {
    /// Of each sector that was not synced, the disk holds what was written or what was there before.
    fn lose_power(&mut self, roll: u64) {
        let kept = |number: u64| scramble(roll.wrapping_add(number)).is_multiple_of(2);
        for (number, before) in std::mem::take(&mut self.synced) {
            let before = before.unwrap_or_else(zero);
            let Some(page) = self.pages.get_mut(&number) else {
                continue;
            };
            let sectors = page.chunks_mut(SECTOR).zip(before.chunks(SECTOR));
            for (index, (sector, before)) in (1..).zip(sectors) {
                if !kept(number * (PAGE / SECTOR) as u64 + index) {
                    sector.copy_from_slice(before);
                }
            }
        }
        // What a file that did not grow holds beyond its end is zero when it does.
        if self.len > self.synced_len && !kept(0) {
            self.set_len(self.synced_len);
        }
        self.synced.clear();
        self.synced_len = self.len;
    }

    fn set_len(&mut self, len: u64) {
        if len < self.len {
            let first = len.div_ceil(PAGE as u64);
            for (number, page) in self.pages.split_off(&first) {
                self.synced.entry(number).or_insert(Some(page));
            }
            let within = (len % PAGE as u64) as usize;
            if within > 0 && self.pages.contains_key(&(first - 1)) {
                self.page(first - 1)[within..].fill(0);
            }
        }
        self.len = len;
    }

    /// The page, to be written to.
    fn page(&mut self, number: u64) -> &mut Page {
        let before = self.pages.get(&number);
        self.synced.entry(number).or_insert_with(|| before.cloned());
        self.pages.entry(number).or_insert_with(zero)
    }

    fn take_room(&mut self) -> io::Result<()> {
        match &mut self.room {
            Some(0) => Err(io::ErrorKind::StorageFull.into()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Handle {
    fn file(&self) -> io::Result<MutexGuard<'_, File>> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.power != self.power {
            return Err(io::Error::other("the power is gone"));
        }
        Ok(file)
    }
}

/// The parts of pages that `len` bytes from `offset` on touch: page, first byte in it, how many.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset + len as u64;
    let mut at = offset;
    std::iter::from_fn(move || {
        let (number, within) = (at / PAGE as u64, (at % PAGE as u64) as usize);
        let count = (PAGE - within).min((end - at) as usize);
        at += count as u64;
        (count > 0).then_some((number, within, count))
    })
}

fn zero() -> Page {
    Box::new([0; PAGE])
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file()?.len)
    }

    fn read(&self, offset: u64, mut out: &mut [u8]) -> io::Result<()> {
        let file = self.file()?;
        if offset + out.len() as u64 > file.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (number, within, count) in parts(offset, out.len()) {
            let (head, rest) = out.split_at_mut(count);
            match file.pages.get(&number) {
                Some(page) => head.copy_from_slice(&page[within..within + count]),
                None => head.fill(0),
            }
            out = rest;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut file = self.file()?;
        file.take_room()?;
        file.set_len(len);
        file.written = true;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut file = self.file()?;
        match &mut file.syncs {
            Some(0) => return Err(io::Error::other("input/output error")),
            Some(left) => *left -= 1,
            None => {}
        }
        file.synced.clear();
        file.synced_len = file.len;
        Ok(())
    }

    fn write(&self, offset: u64, mut data: &[u8]) -> io::Result<()> {
        let mut file = self.file()?;
        file.take_room()?;
        file.len = file.len.max(offset + data.len() as u64);
        for (number, within, count) in parts(offset, data.len()) {
            let (head, rest) = data.split_at(count);
            file.page(number)[within..within + count].copy_from_slice(head);
            data = rest;
        }
        file.written = true;
        Ok(())
    }
}
