//! Every file operation of the log, and nothing else, on a [`Storage`] that may be the machine's or
//! a simulated one. Not a cache and not a policy: what it is asked to do it does at once, repeating
//! a system call that was interrupted or did less than it should.
//!
//! Invariant: no other file of this module tree opens, writes, syncs, renames or removes a file of
//! the log; only the link handles its socket itself.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::committed::{BLOCK_BYTES, Committed, FILE_NAME};
use super::segment;
use crate::disk::{Access, RealStorage, Storage};

pub(super) use crate::disk::{DiskFile, Lock, is_full};

/// The file whose flock is the ownership of the log.
const LOCK_NAME: &str = "lock";
/// What a segment is called until it holds a committed byte.
const UNNAMED_SUFFIX: &str = ".tmp";
/// What a segment that was set aside is called.
const ASIDE_SUFFIX: &str = ".damaged";

/// The directory of one log.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    directory: PathBuf,
    storage: Arc<dyn Storage>,
}

impl Disk {
    /// A directory of this machine.
    pub(super) fn new(directory: &Path) -> Self {
        Self::on(Arc::new(RealStorage::new()), directory)
    }

    pub(super) fn on(storage: Arc<dyn Storage>, directory: &Path) -> Self {
        Self { directory: directory.to_owned(), storage }
    }

    pub(super) fn path(&self) -> &Path {
        &self.directory
    }

    /// Makes the directory durable, with those above it that were missing.
    pub(super) fn create_directory(&self) -> io::Result<()> {
        self.storage.create_directories(&self.directory)?;
        self.sync_directory()?;
        match self.directory.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => self.storage.sync_directory(parent),
            _ => Ok(()),
        }
    }

    /// `None` when another process (or another writer of this one) owns the log.
    pub(super) fn lock(&self) -> io::Result<Option<Lock>> {
        self.storage.lock(&self.directory.join(LOCK_NAME))
    }

    /// The identity of a new log.
    pub(super) fn random_identity(&self) -> io::Result<u128> {
        self.storage.random_identity()
    }

    /// Time since some moment.
    pub(super) fn elapsed(&self) -> Duration {
        self.storage.elapsed()
    }

    /// Numbers of the segments, ascending. Empty when the directory does not exist.
    pub(super) fn segments(&self) -> io::Result<Vec<u64>> {
        let mut numbers: Vec<u64> =
            self.names()?.iter().filter_map(|name| segment::number(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// `None` when there is no such segment.
    pub(super) fn open_segment(&self, number: u64, write: bool) -> io::Result<Option<DiskFile>> {
        let access = if write { Access::Write } else { Access::Read };
        self.open_existing(&segment::name(number), access)
    }

    /// A new file with `bytes` of reserved space, invisible to readers until it is named.
    pub(super) fn create_segment(&self, number: u64, bytes: u64) -> io::Result<DiskFile> {
        let path = self.unnamed(number);
        let file = DiskFile::open(&*self.storage, &path, Access::CreateEmpty)?;
        if let Err(error) = file.reserve(bytes) {
            // Half a reservation would keep a full disk full.
            self.remove(&path)?;
            return Err(error);
        }
        Ok(file)
    }

    /// Gives a created segment its name, durable with the next sync of the directory. Its content
    /// must be durable before.
    pub(super) fn rename_segment(&self, number: u64) -> io::Result<()> {
        self.storage.rename(&self.unnamed(number), &self.directory.join(segment::name(number)))
    }

    /// Removes a created segment that was not named.
    pub(super) fn discard_segment(&self, number: u64) -> io::Result<()> {
        self.remove(&self.unnamed(number))
    }

    /// Removes a segment, durably: file systems may keep removals in any order, and one that is
    /// kept before an older one is a hole after a power cut.
    pub(super) fn remove_segment(&self, number: u64) -> io::Result<()> {
        self.remove(&self.directory.join(segment::name(number)))?;
        self.sync_directory()
    }

    /// Keeps the bytes of a segment under another name (a hard link: no space until the segment
    /// itself is removed). False when `aside_max` were kept already.
    pub(super) fn set_segment_aside(&self, number: u64, aside_max: usize) -> io::Result<bool> {
        let aside = format!("{}{ASIDE_SUFFIX}", segment::name(number));
        let kept: Vec<String> =
            self.names()?.into_iter().filter(|name| name.ends_with(ASIDE_SUFFIX)).collect();
        if kept.contains(&aside) {
            return Ok(true);
        }
        if kept.len() >= aside_max {
            return Ok(false);
        }
        let from = self.directory.join(segment::name(number));
        self.storage.hard_link(&from, &self.directory.join(aside))?;
        Ok(true)
    }

    /// Removes what an earlier writer left half made.
    pub(super) fn remove_unnamed(&self) -> io::Result<()> {
        for name in self.names()? {
            if name.ends_with(UNNAMED_SUFFIX) {
                self.remove(&self.directory.join(name))?;
            }
        }
        Ok(())
    }

    pub(super) fn sync_directory(&self) -> io::Result<()> {
        self.storage.sync_directory(&self.directory)
    }

    /// The file `committed`, created if missing.
    pub(super) fn open_committed(&self) -> io::Result<DiskFile> {
        DiskFile::open(&*self.storage, &self.directory.join(FILE_NAME), Access::Create)
    }

    /// What the file `committed` says; `None` when it is missing or is not readable as such.
    pub(super) fn read_committed(&self) -> io::Result<Option<Committed>> {
        let bytes = self.read_whole(FILE_NAME, BLOCK_BYTES)?;
        Ok(bytes.and_then(|bytes| Committed::decode(&bytes)))
    }

    /// Content of a small file; `None` when it is missing.
    pub(super) fn read_text(&self, name: &str, bytes_max: u64) -> io::Result<Option<String>> {
        let bytes = self.read_whole(name, usize::try_from(bytes_max).unwrap_or(usize::MAX))?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Replaces a small file: after a crash it is the old or the new one.
    pub(super) fn replace_text(&self, name: &str, text: &str) -> io::Result<()> {
        let temporary = self.directory.join(format!("{name}{UNNAMED_SUFFIX}"));
        let file = DiskFile::open(&*self.storage, &temporary, Access::CreateEmpty)?;
        file.write_at(text.as_bytes(), 0)?;
        file.sync_all()?;
        self.storage.rename(&temporary, &self.directory.join(name))?;
        self.sync_directory()
    }

    /// The first `bytes_max` bytes of a file; `None` when it is missing.
    fn read_whole(&self, name: &str, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
        let Some(file) = self.open_existing(name, Access::Read)? else {
            return Ok(None);
        };
        let len = usize::try_from(file.bytes()?).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len.min(bytes_max)];
        let count = file.read_at(&mut bytes, 0)?;
        bytes.truncate(count);
        Ok(Some(bytes))
    }

    fn open_existing(&self, name: &str, access: Access) -> io::Result<Option<DiskFile>> {
        match DiskFile::open(&*self.storage, &self.directory.join(name), access) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn unnamed(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{}{UNNAMED_SUFFIX}", segment::name(number)))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        match self.storage.names(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            names => names,
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match self.storage.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
