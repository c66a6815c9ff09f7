//! An open simulated file, and the held lock. Not what a sync means: that is the file's.

use std::io;
use std::path::PathBuf;

use super::super::StoredFile;
use super::file::SECTOR_BYTES;
use super::storage::{Call, Fault, SimStorage};

/// Gives the lock back when it is dropped.
#[derive(Debug)]
pub(super) struct Owned {
    pub(super) path: PathBuf,
    pub(super) generation: u64,
    pub(super) machine: SimStorage,
}

impl Drop for Owned {
    fn drop(&mut self) {
        let mut state = self.machine.0.lock();
        if state.generation == self.generation {
            state.locked.remove(&self.path);
        }
    }
}

/// An open file.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) id: u64,
    pub(super) generation: u64,
    pub(super) machine: SimStorage,
}

impl Handle {
    fn sync(&self) -> io::Result<()> {
        let mut state = self.machine.0.lock();
        let entered = state.enter(Call::Sync);
        let mut random = state.random.clone();
        let stopped = state.stopped;
        let file = state.file(self.id, self.generation)?;
        match &entered {
            Ok(Some(Fault::Lie)) => file.half_sync(&mut random),
            Ok(_) => file.sync(),
            Err(_) if stopped => {}
            Err(_) => file.fail_sync(&mut random),
        }
        state.random = random;
        entered.map(|_| ())
    }
}

impl StoredFile for Handle {
    fn bytes(&self) -> io::Result<u64> {
        let (mut state, _) = self.machine.enter(Call::Look)?;
        Ok(state.file(self.id, self.generation)?.seen.len() as u64)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let (mut state, fault) = self.machine.enter(Call::Read)?;
        let seen = &state.file(self.id, self.generation)?.seen;
        let bytes = seen.get(offset as usize..).unwrap_or_default();
        let mut count = bytes.len().min(into.len());
        if fault == Some(Fault::Short) {
            count = count.div_ceil(2);
        }
        into[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.machine.0.lock();
        let was_stopped = state.stopped;
        let entered = state.enter(Call::Write);
        let some = state.random.below(bytes.len().max(1) as u64) as usize;
        let time = state.time;
        // What lies within one sector is written whole or not at all.
        let is_small = offset / SECTOR_BYTES as u64
            == (offset + bytes.len() as u64).saturating_sub(1) / SECTOR_BYTES as u64;
        let count = match &entered {
            Ok(Some(Fault::Short)) if !is_small => some.max(1),
            Ok(_) => bytes.len(),
            // A machine that stops within a write may have done a part of it.
            Err(_) if !was_stopped && state.stopped && !is_small => some,
            Err(_) => 0,
        };
        let file = state.file(self.id, self.generation)?;
        if count > 0 {
            file.write(time, &bytes[..count], offset as usize);
        }
        entered.map(|_| count)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        let (mut state, _) = self.machine.enter(Call::Cut)?;
        let time = state.time;
        state.file(self.id, self.generation)?.set_len(time, bytes as usize);
        Ok(())
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        let (mut state, _) = self.machine.enter(Call::Reserve)?;
        let time = state.time;
        let file = state.file(self.id, self.generation)?;
        if file.seen.len() < bytes as usize {
            file.set_len(time, bytes as usize);
        }
        Ok(())
    }
}
