//! An open file, addressed by offset; and the reservation of its space.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

#[cfg(test)]
use super::faults;

/// An open file of the log, addressed by offset.
#[derive(Debug)]
pub(in crate::log) struct DiskFile {
    pub(super) file: File,
    #[cfg(test)]
    pub(super) faults: std::sync::Arc<faults::Faults>,
}

impl DiskFile {
    pub(in crate::log) fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Reads until `into` is full or the file ends; returns how much.
    pub(in crate::log) fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < into.len() {
            match self.file.read_at(&mut into[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    pub(in crate::log) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        #[cfg(test)]
        self.faults.on_write()?;
        self.file.write_all_at(bytes, offset)
    }

    pub(in crate::log) fn sync_data(&self) -> io::Result<()> {
        #[cfg(test)]
        self.faults.on_sync()?;
        self.file.sync_data()
    }

    pub(in crate::log) fn sync_all(&self) -> io::Result<()> {
        #[cfg(test)]
        self.faults.on_sync()?;
        self.file.sync_all()
    }

    pub(in crate::log) fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }
}

/// Reserves real blocks, so that no write into them can find the disk full and fdatasync needs
/// not to write the file's size. Blocks are not zeroed by writing them: that made fdatasync a third
/// faster on ext4, but stops the writer for tens of milliseconds at each new segment.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub(super) fn preallocate(file: &File, bytes: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    loop {
        match fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            // Some file systems cannot; then the file grows as it is written.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Other systems let the file grow as it is written; a full disk is then found by the write.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub(super) fn preallocate(_file: &File, _bytes: u64) -> io::Result<()> {
    Ok(())
}
