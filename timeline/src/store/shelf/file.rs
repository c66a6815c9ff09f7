//! The file of a segment, which is synced until a sync of it fails, and never again.
//!
//! After a failed sync the system may take for written what never reached the disk, and a second sync
//! would succeed and prove nothing. So what such a file holds is written to another one, and the
//! file is let go.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::disk::{Access, DiskFile};
use crate::store::directory::Directory;

/// The file of a segment, for any thread.
#[derive(Debug)]
pub(super) struct SegmentFile {
    disk: DiskFile,
    /// A sync of it has failed.
    doubtful: AtomicBool,
}

impl SegmentFile {
    pub(super) fn open(directory: &Directory, name: &str, access: Access) -> io::Result<Self> {
        let disk = directory.growing(name, access)?;
        Ok(Self { disk, doubtful: AtomicBool::new(false) })
    }

    /// Makes everything durable that was written so far.
    pub(super) fn sync(&self) -> io::Result<()> {
        if self.is_doubtful() {
            return Err(io::Error::other("a sync of it has failed before"));
        }
        self.disk.sync_data().inspect_err(|_| self.doubtful.store(true, Ordering::Release))
    }

    /// Whether nobody knows what of it is on the disk.
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubtful.load(Ordering::Acquire)
    }

    pub(super) fn bytes(&self) -> io::Result<u64> {
        self.disk.bytes()
    }

    pub(super) fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        self.disk.set_bytes(bytes)
    }

    pub(super) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.write_at(bytes, offset)
    }

    /// Reads until `into` is full; a file that ends before is an error.
    pub(super) fn read_exact(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let count = self.disk.read_at(into, offset)?;
        if count < into.len() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}
