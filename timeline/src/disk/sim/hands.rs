//! What a test does behind the back of the programs on a simulated machine: it looks, copies, and
//! changes bytes and names. Not what the machine does by itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::file::SimFile;
use super::storage::SimStorage;

impl SimStorage {
    /// Does something without anything going wrong and without its calls being counted.
    pub(crate) fn pause<T>(&self, look: impl FnOnce() -> T) -> T {
        let (faults, time) = {
            let mut state = self.0.lock();
            (state.faults.take(), state.time)
        };
        let stops_at = self.0.lock().stops_at.take();
        let result = look();
        let mut state = self.0.lock();
        (state.faults, state.time, state.stops_at) = (faults, time, stops_at);
        result
    }

    /// The same files on another machine, as they are seen.
    pub(crate) fn copy(&self, seed: u64) -> Arc<Self> {
        let copy = Self::new(seed);
        {
            let (state, mut other) = (self.0.lock(), copy.0.lock());
            other.files = state.files.clone();
            other.files.values_mut().for_each(SimFile::sync);
            other.names = state.names.clone();
            other.durable_names = state.names.clone();
            other.directories = state.directories.keys().map(|path| (path.clone(), true)).collect();
            other.time = state.time;
        }
        copy
    }

    /// All files by path, without the locks.
    pub(crate) fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.0.lock();
        state.names.iter().map(|(path, id)| (path.clone(), state.files[id].seen.clone())).collect()
    }

    /// Changes the file of that name behind everybody's back, durably.
    pub(crate) fn edit(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.0.lock();
        let id = state.named(name);
        let mut bytes = state.files[&id].seen.clone();
        change(&mut bytes);
        let mut file = SimFile::default();
        file.write(0, &bytes, 0);
        file.sync();
        state.files.insert(id, file);
    }

    /// Flips a bit of what programs see.
    pub(crate) fn flip(&self, name: &str, bit: u64) {
        let mut state = self.0.lock();
        let id = state.named(name);
        let file = state.files.get_mut(&id).expect("a name has a file");
        file.seen[(bit / 8) as usize] ^= 1 << (bit % 8);
    }

    pub(crate) fn bytes(&self, name: &str) -> u64 {
        let state = self.0.lock();
        state.files[&state.named(name)].seen.len() as u64
    }

    pub(crate) fn forget(&self, name: &str) {
        let mut state = self.0.lock();
        state.names.retain(|path, _| !path.ends_with(name));
        state.durable_names.retain(|path, _| !path.ends_with(name));
    }
}
