//! Faults that tests inject into the disk. Not a simulation: the files are real ones.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// Switches of what shall go wrong.
#[derive(Debug, Default)]
pub(in crate::log) struct Faults {
    /// Creating a segment finds the disk full.
    pub(in crate::log) create_full: AtomicBool,
    /// The next write finds the disk full.
    pub(in crate::log) write_full: AtomicBool,
    /// The next write fails.
    pub(in crate::log) write_fails: AtomicBool,
    /// The next sync fails, once.
    pub(in crate::log) sync_fails: AtomicBool,
}

impl Faults {
    pub(super) fn on_create(&self) -> io::Result<()> {
        if self.create_full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    pub(super) fn on_write(&self) -> io::Result<()> {
        if self.write_full.swap(false, Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if self.write_fails.swap(false, Ordering::SeqCst) {
            return Err(io::Error::other("injected write error"));
        }
        Ok(())
    }

    pub(super) fn on_sync(&self) -> io::Result<()> {
        if self.sync_fails.swap(false, Ordering::SeqCst) {
            return Err(io::Error::other("injected sync error"));
        }
        Ok(())
    }
}
