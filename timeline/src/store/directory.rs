//! Every file operation of the store, and nothing else, on a [`Storage`] that may be the machine's
//! or a simulated one. Not a policy: what is written in which order is `seal`'s.
//!
//! Invariants:
//! * A file has its name only when its bytes are durable; until then it is called `*.tmp`.
//! * A file that could not be finished is removed at once, so that a full disk is not filled with
//!   halves.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{ChunkReader, Length};

use super::{StoreError, io};
use crate::disk::{Access, DiskFile, Lock, Storage};

/// The file whose lock is the ownership of the store.
const LOCK: &str = "LOCK";

/// What a file is called until it is whole.
const UNFINISHED: &str = "tmp";

/// The directory of one store.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    path: PathBuf,
    storage: Arc<dyn Storage>,
    /// Files whose removal failed.
    unremoved: Arc<Mutex<Vec<PathBuf>>>,
}

impl Directory {
    /// Makes the directory durably, where it is missing.
    pub(super) fn create(storage: Arc<dyn Storage>, path: &Path) -> Result<Self, StoreError> {
        let directory = Self { path: path.to_path_buf(), storage, unremoved: Arc::default() };
        directory
            .storage
            .create_directories(path)
            .map_err(io(format!("cannot make {}", path.display())))?;
        directory.sync()?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            directory
                .storage
                .sync_directory(parent)
                .map_err(io(format!("cannot sync {}", parent.display())))?;
        }
        Ok(directory)
    }

    /// Takes the directory for this process.
    pub(super) fn lock(&self) -> Result<Lock, StoreError> {
        let path = self.path(LOCK);
        let lock =
            self.storage.lock(&path).map_err(io(format!("cannot lock {}", path.display())))?;
        lock.ok_or_else(|| StoreError::InUse(self.path.clone()))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn names(&self) -> Result<Vec<String>, StoreError> {
        self.storage.names(&self.path).map_err(io(format!("cannot list {}", self.path.display())))
    }

    /// Makes the directory's entries durable.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.storage
            .sync_directory(&self.path)
            .map_err(io(format!("cannot sync {}", self.path.display())))
    }

    /// Removes a file that nothing names any more. A failure is not worth stopping for: it is tried
    /// again with [`Self::remove_again`], and the next start removes what is left.
    pub(super) fn remove(&self, name: &str) {
        self.remove_path(self.path(name));
    }

    /// Removes what could not be removed before.
    pub(super) fn remove_again(&self) {
        let unremoved = std::mem::take(&mut *self.unremoved.lock());
        for path in unremoved {
            self.remove_path(path);
        }
    }

    /// A name is in use again: the file that could not be removed under it is gone, and this one stays.
    /// The first seal after a start takes the name of the one that a crash has left behind.
    fn keep(&self, path: &Path) {
        self.unremoved.lock().retain(|unremoved| unremoved != path);
    }

    fn remove_path(&self, path: PathBuf) {
        if let Err(error) = self.storage.remove(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "cannot remove a file that is no longer needed");
            self.unremoved.lock().push(path);
        }
    }

    /// Opens a file to be read.
    pub(super) fn open(&self, name: &str) -> Result<OpenFile, StoreError> {
        self.try_open(name).map_err(io(format!("cannot open {}", self.path(name).display())))
    }

    /// The bytes of a file; none where it is missing.
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.try_open(name).and_then(|file| {
            let mut bytes = vec![0; usize::try_from(file.bytes).map_err(io::Error::other)?];
            let count = file.file.read_at(&mut bytes, 0)?;
            bytes.truncate(count);
            Ok(bytes)
        });
        match read {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io(format!("cannot read {}", self.path(name).display()))(error)),
        }
    }

    /// Writes these pieces, one after the other, as a file that is whole and durable, over another of
    /// that name if need be. The name itself is durable after the next [`Self::sync`].
    pub(super) fn write<P: AsRef<[u8]>>(&self, name: &str, pieces: &[P]) -> Result<(), StoreError> {
        let mut file = self.begin(name)?;
        for piece in pieces {
            file.write_all(piece.as_ref())
                .map_err(io(format!("cannot write {}", self.path(name).display())))?;
        }
        file.finish().map(|_| ())
    }

    /// Opens a file that grows under its own name: what of it counts is said elsewhere.
    pub(super) fn growing(&self, name: &str, access: Access) -> io::Result<DiskFile> {
        let path = self.path(name);
        let file = DiskFile::open(&*self.storage, &path, access)?;
        self.keep(&path);
        Ok(file)
    }

    /// Begins a file.
    pub(super) fn begin(&self, name: &str) -> Result<Unfinished<'_>, StoreError> {
        let path = self.path(name).with_extension(UNFINISHED);
        let file = DiskFile::open(&*self.storage, &path, Access::CreateEmpty)
            .map_err(io(format!("cannot make {}", path.display())))?;
        Ok(Unfinished { directory: self, name: name.to_owned(), path, file, bytes: 0, done: false })
    }

    fn try_open(&self, name: &str) -> io::Result<OpenFile> {
        let file = DiskFile::open(&*self.storage, &self.path(name), Access::Read)?;
        let bytes = file.bytes()?;
        Ok(OpenFile { file: Arc::new(file), bytes })
    }
}

/// A file that is being written.
pub(super) struct Unfinished<'a> {
    directory: &'a Directory,
    name: String,
    path: PathBuf,
    file: DiskFile,
    bytes: u64,
    done: bool,
}

impl Unfinished<'_> {
    /// Makes it durable and gives it its name; returns its size in bytes.
    pub(super) fn finish(mut self) -> Result<u64, StoreError> {
        let to = self.directory.path(&self.name);
        self.file.sync_all().map_err(io(format!("cannot sync {}", self.path.display())))?;
        self.directory
            .storage
            .rename(&self.path, &to)
            .map_err(io(format!("cannot name {}", to.display())))?;
        self.directory.keep(&to);
        self.done = true;
        Ok(self.bytes)
    }
}

impl Write for Unfinished<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(bytes, self.bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.directory.remove_path(std::mem::take(&mut self.path));
        }
    }
}

/// A file that is read, from anywhere in it.
#[derive(Clone, Debug)]
pub(super) struct OpenFile {
    file: Arc<DiskFile>,
    /// Its size when it was opened.
    pub(super) bytes: u64,
}

impl Length for OpenFile {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for OpenFile {
    type T = io::BufReader<From>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(io::BufReader::new(From { file: Arc::clone(&self.file), offset: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let mut bytes = vec![0; length];
        let count = self.file.read_at(&mut bytes, start)?;
        if count < length {
            let what = format!("{length} bytes at {start} are wanted, {count} are there");
            return Err(ParquetError::EOF(what));
        }
        Ok(Bytes::from(bytes))
    }
}

/// The bytes of a file from an offset on.
#[derive(Debug)]
pub(super) struct From {
    file: Arc<DiskFile>,
    offset: u64,
}

impl Read for From {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(into, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}
