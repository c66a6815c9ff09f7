//! An open file, addressed by offset. Not one system call per method: what was interrupted or did
//! less than asked is gone on with here.

use std::io;
use std::path::Path;

use super::storage::{Access, Storage, StoredFile};

/// An open file, addressed by offset.
#[derive(Debug)]
pub(crate) struct DiskFile(Box<dyn StoredFile>);

impl DiskFile {
    pub(crate) fn open(storage: &dyn Storage, path: &Path, access: Access) -> io::Result<Self> {
        Ok(Self(storage.open(path, access)?))
    }

    pub(crate) fn bytes(&self) -> io::Result<u64> {
        self.0.bytes()
    }

    /// Reads until `into` is full or the file ends; returns how much.
    pub(crate) fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < into.len() {
            match self.0.read_at(&mut into[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Writes all of `bytes`.
    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            match self.0.write_at(&bytes[done..], offset + done as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Never repeated, not even when interrupted: after a failed sync a second one proves nothing.
    pub(crate) fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    /// As [`Self::sync_data`].
    pub(crate) fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    pub(crate) fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        self.0.set_bytes(bytes)
    }

    pub(crate) fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.0.reserve(bytes)
    }
}
