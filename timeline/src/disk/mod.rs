//! What the log and the store stand on: files that are written, synced, named and removed, on a
//! machine that may be a simulated one.
//!
//! It is not a file system and holds no policy: a [`Storage`] makes system calls, a [`DiskFile`]
//! repeats those that were interrupted or did less than they should.
//!
//! Invariant: nothing the log or the store must find again after a crash reaches the disk by
//! another way, so what the simulated machine survives, the real program does.

mod file;
mod real;
mod storage;

#[cfg(test)]
pub(crate) mod sim;

use std::io;

pub(crate) use file::DiskFile;
pub(crate) use real::RealStorage;
#[cfg(test)]
pub(crate) use storage::StoredFile;
pub(crate) use storage::{Access, Lock, Storage};

/// Whether an error says that the disk (or the owner's quota) is full, which passes.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
