//! Room on a disk that is full: the oldest files go before new data has to be refused.
//!
//! Signal: a seal that failed because the disk is full. Retention is decided at a seal, which writes
//! before anything is let go, so by itself it cannot help there. Action: the oldest files stop being
//! named by the manifest and are removed, about as much as one seal writes at most; the seal is then
//! tried again. A small file that is kept for this moment (the *ballast*) goes first, so that there
//! is room for the manifest itself.
//!
//! Invariant: [`super::Config::retain_bytes_min`] of rows stay however full the disk is, because then
//! it is somebody else who fills it.

use std::sync::Arc;

use super::directory::Directory;
use super::{Part, Replaced, Store, StoreError};
use crate::disk::{self, Access};

/// The file that is kept to have room for a manifest.
pub(super) const BALLAST: &str = "ballast";

/// Its size in bytes: a manifest takes some 400 bytes for each file, and merging keeps those below
/// some thousands.
const BALLAST_BYTES: u64 = 4 << 20;

impl StoreError {
    /// Whether the disk, or the owner's quota, is full, which may pass.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => disk::is_full(source),
            Self::Parquet { source: parquet::errors::ParquetError::External(source), .. } => {
                source.downcast_ref::<std::io::Error>().is_some_and(disk::is_full)
            }
            _ => false,
        }
    }
}

impl Store {
    /// Lets go of the oldest files, about `bytes` of them, so that a seal has room. Returns how many
    /// went; none where no more may go. No seal may be running.
    pub fn make_room(&mut self, bytes: u64) -> Result<usize, StoreError> {
        let mut parts = self.parts();
        let total: u64 = parts.iter().map(|part| part.bytes).sum();
        let spare = total.saturating_sub(self.config.retain_bytes_min);
        parts.sort_by_key(|part| part.received_ns_max);
        let mut freed = 0;
        let goes = |part: &Arc<Part>| {
            let goes = freed < bytes && freed + part.bytes <= spare;
            freed += if goes { part.bytes } else { 0 };
            goes
        };
        let oldest: Replaced = parts.into_iter().filter(goes).collect();
        if oldest.is_empty() {
            return Ok(0);
        }
        self.directory.remove(BALLAST);
        self.sealing_version += 1;
        let mut manifest = self.manifest.clone();
        manifest.version = self.sealing_version;
        manifest.parts.retain(|entry| oldest.iter().all(|part| part.file != entry.file));
        manifest.write(&self.directory)?;
        self.spans.install(Vec::new(), &oldest, 0);
        self.events.install(Vec::new(), &oldest, 0);
        self.metrics.install(Vec::new(), &oldest, 0);
        self.requests.install(Vec::new(), &oldest, 0);
        self.sessions.install(Vec::new(), &oldest, 0);
        self.losses.install(Vec::new(), &oldest, 0);
        self.manifest = manifest;
        Ok(oldest.len())
    }
}

/// Keeps the ballast, where there is room for it.
pub(super) fn keep_ballast(directory: &Directory) {
    let kept = directory.growing(BALLAST, Access::Create).and_then(|file| {
        if file.bytes()? < BALLAST_BYTES { file.reserve(BALLAST_BYTES) } else { Ok(()) }
    });
    if let Err(error) = kept {
        tracing::debug!(%error, "there is no room to keep for a full disk");
    }
}
