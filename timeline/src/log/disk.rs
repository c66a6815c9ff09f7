//! Every file operation of the log, and nothing else, so that a simulated disk can take this
//! file's place. Not a cache and not a policy: what it is asked to do it does at once, repeating
//! a system call that was interrupted or did less than it should.
//!
//! Invariant: no other file of this module tree opens, writes, syncs, renames or removes a file of
//! the log; only the link handles its socket itself.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::committed::{BLOCK_BYTES, Committed, FILE_NAME};
use super::segment;

#[cfg(test)]
pub(super) mod faults;
mod file;

pub(super) use file::DiskFile;
use file::preallocate;

/// The file whose flock is the ownership of the log.
const LOCK_NAME: &str = "lock";
/// What a segment is called until it holds a committed byte.
const UNNAMED_SUFFIX: &str = ".tmp";
/// What a segment that was set aside is called.
const ASIDE_SUFFIX: &str = ".damaged";
/// Segments set aside at most: a disk that rots must not fill itself with evidence.
const ASIDE_MAX: usize = 16;

/// The directory of one log.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    directory: PathBuf,
    #[cfg(test)]
    pub(super) faults: std::sync::Arc<faults::Faults>,
}

/// Holds the ownership of a log's directory until it is dropped.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held for its flock")] File);

impl Disk {
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            #[cfg(test)]
            faults: Default::default(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.directory
    }

    /// Makes the directory durable, with those above it that were missing.
    pub(super) fn create_directory(&self) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        self.sync_directory()?;
        match self.directory.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
            _ => Ok(()),
        }
    }

    /// `None` when another process (or another writer of this one) owns the log.
    pub(super) fn lock(&self) -> io::Result<Option<Lock>> {
        let path = self.directory.join(LOCK_NAME);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
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
        let path = self.directory.join(segment::name(number));
        match OpenOptions::new().read(true).write(write).open(path) {
            Ok(file) => Ok(Some(self.wrap(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A new file with `bytes` of reserved space, invisible to readers until it is named.
    pub(super) fn create_segment(&self, number: u64, bytes: u64) -> io::Result<DiskFile> {
        #[cfg(test)]
        self.faults.on_create()?;
        let path = self.unnamed(number);
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(true).read(true).write(true).open(&path)?;
        if let Err(error) = preallocate(&file, bytes) {
            // Half a reservation would keep a full disk full.
            self.remove(&path)?;
            return Err(error);
        }
        Ok(self.wrap(file))
    }

    /// Gives a created segment its name, durably. Its content must be durable before.
    pub(super) fn name_segment(&self, number: u64) -> io::Result<()> {
        fs::rename(self.unnamed(number), self.directory.join(segment::name(number)))?;
        self.sync_directory()
    }

    /// Removes a created segment that was not named.
    pub(super) fn discard_segment(&self, number: u64) -> io::Result<()> {
        self.remove(&self.unnamed(number))
    }

    pub(super) fn remove_segment(&self, number: u64) -> io::Result<()> {
        self.remove(&self.directory.join(segment::name(number)))
    }

    /// Keeps the bytes of a segment under another name (a hard link: no space until the segment
    /// itself is removed). False when enough were kept already.
    pub(super) fn set_segment_aside(&self, number: u64) -> io::Result<bool> {
        let aside = format!("{}{ASIDE_SUFFIX}", segment::name(number));
        let kept: Vec<String> =
            self.names()?.into_iter().filter(|name| name.ends_with(ASIDE_SUFFIX)).collect();
        if kept.contains(&aside) {
            return Ok(true);
        }
        if kept.len() >= ASIDE_MAX {
            return Ok(false);
        }
        let from = self.directory.join(segment::name(number));
        fs::hard_link(from, self.directory.join(aside))?;
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
        File::open(&self.directory)?.sync_all()
    }

    /// The file `committed`, created if missing.
    pub(super) fn open_committed(&self) -> io::Result<DiskFile> {
        let path = self.directory.join(FILE_NAME);
        let mut options = OpenOptions::new();
        Ok(self.wrap(options.create(true).truncate(false).read(true).write(true).open(path)?))
    }

    /// What the file `committed` says; `None` when it is missing or is not readable as such.
    pub(super) fn read_committed(&self) -> io::Result<Option<Committed>> {
        let mut bytes = Vec::with_capacity(BLOCK_BYTES);
        match File::open(self.directory.join(FILE_NAME)) {
            Ok(file) => file.take(BLOCK_BYTES as u64).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Committed::decode(&bytes))
    }

    /// Content of a small file; `None` when it is missing.
    pub(super) fn read_text(&self, name: &str, bytes_max: u64) -> io::Result<Option<String>> {
        let mut bytes = Vec::new();
        match File::open(self.directory.join(name)) {
            Ok(file) => file.take(bytes_max).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Replaces a small file: after a crash it is the old or the new one.
    pub(super) fn replace_text(&self, name: &str, text: &str) -> io::Result<()> {
        let temporary = self.directory.join(format!("{name}{UNNAMED_SUFFIX}"));
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(&temporary)?;
        file.write_all_at(text.as_bytes(), 0)?;
        file.sync_all()?;
        fs::rename(&temporary, self.directory.join(name))?;
        self.sync_directory()
    }

    fn unnamed(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{}{UNNAMED_SUFFIX}", segment::name(number)))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn wrap(&self, file: File) -> DiskFile {
        DiskFile {
            file,
            #[cfg(test)]
            faults: std::sync::Arc::clone(&self.faults),
        }
    }
}

/// Whether an error says that the disk (or the owner's quota) is full, which passes.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The identity of a new log, read once from the operating system's random source: two logs must
/// differ even when they are made at the same instant by the same binary.
pub(super) fn random_identity() -> io::Result<u128> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u128::from_le_bytes(bytes))
}
