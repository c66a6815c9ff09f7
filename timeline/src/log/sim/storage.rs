//! A simulated machine's file system: one directory of files. Not a plan of what goes wrong: who
//! drives it says that, call by call, and when the machine stops.
//!
//! Invariant: once the machine stopped, no call has an effect until it is started again, and files
//! opened before stay closed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::super::disk::{Access, Lock, Storage, StoredFile};
use super::super::tests::Random;
use super::DIRECTORY;
use super::file::SimFile;
use super::handle::{Handle, Owned};

/// Kinds of system calls, as far as they fail differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) enum Call {
    Read,
    /// Names in a directory, the length of a file.
    Look,
    Open,
    Create,
    Reserve,
    Write,
    Cut,
    Sync,
    Name,
    SyncNames,
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) enum Fault {
    /// It fails. A sync that does leaves some pages unwritten, and later syncs do not know.
    Error,
    Full,
    Interrupted,
    /// It does less than asked, but something.
    Short,
}

/// Decides what goes wrong with a call.
pub(in crate::log) type Faults = Box<dyn FnMut(Call) -> Option<Fault> + Send>;

/// A change of names that is not durable yet.
#[derive(Clone, Debug)]
enum Change {
    Link(String, u64),
    Unlink(String),
    Rename(String, String, u64),
}

pub(super) struct State {
    pub(super) random: Random,
    pub(super) time: u64,
    files: BTreeMap<u64, SimFile>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    changes: Vec<Change>,
    exists: bool,
    durably_exists: bool,
    /// Counts starts of the machine.
    pub(super) generation: u64,
    pub(super) locked: bool,
    stops_at: Option<u64>,
    pub(super) stopped: bool,
    sync_failed: bool,
    faults: Option<Faults>,
}

/// A simulated machine's file system.
pub(in crate::log) struct SimStorage(pub(super) Arc<Mutex<State>>);

impl fmt::Debug for SimStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimStorage").finish_non_exhaustive()
    }
}

impl SimStorage {
    pub(in crate::log) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self(Arc::new(Mutex::new(State {
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            time: 0,
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            changes: Vec::new(),
            exists: false,
            durably_exists: false,
            generation: 0,
            locked: false,
            stops_at: None,
            stopped: false,
            sync_failed: false,
            faults: None,
        }))))
    }

    /// What goes wrong from now on.
    pub(in crate::log) fn set_faults(&self, faults: Option<Faults>) {
        self.0.lock().faults = faults;
    }

    /// Stops the machine at the call with this number from now on, the next one being 0.
    pub(super) fn stop_in(&self, calls: Option<u64>) {
        let mut state = self.0.lock();
        state.stops_at = calls.map(|calls| state.time + calls + 1);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.0.lock().stopped
    }

    /// Whether calls may fail.
    pub(super) fn has_faults(&self) -> bool {
        self.0.lock().faults.is_some()
    }

    /// Whether a file's sync failed since the machine started.
    pub(super) fn sync_failed(&self) -> bool {
        self.0.lock().sync_failed
    }

    /// Calls so far.
    pub(super) fn calls(&self) -> u64 {
        self.0.lock().time
    }

    /// The process ends and may be started again; the page cache stays.
    pub(super) fn restart(&self) {
        let mut state = self.0.lock();
        state.generation += 1;
        state.locked = false;
        state.stops_at = None;
        state.stopped = false;
        state.sync_failed = false;
        state.faults = None;
    }

    /// The power goes, and comes back.
    pub(super) fn cut_power(&self) {
        self.restart();
        self.0.lock().cut();
    }

    /// The same files on another machine, as they are seen.
    pub(super) fn copy(&self, seed: u64) -> Arc<Self> {
        let copy = Self::new(seed);
        {
            let (state, mut other) = (self.0.lock(), copy.0.lock());
            other.files = state.files.clone();
            other.files.values_mut().for_each(SimFile::sync);
            other.names = state.names.clone();
            other.durable_names = state.names.clone();
            (other.exists, other.durably_exists) = (true, true);
            other.time = state.time;
        }
        copy
    }

    /// All files by name, without the lock.
    pub(in crate::log) fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.0.lock();
        state.names.iter().map(|(name, id)| (name.clone(), state.files[id].seen.clone())).collect()
    }

    /// Changes a file behind the log's back, durably.
    pub(super) fn edit(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.0.lock();
        let id = state.names[name];
        let mut bytes = state.files[&id].seen.clone();
        change(&mut bytes);
        let mut file = SimFile::default();
        file.write(0, &bytes, 0);
        file.sync();
        state.files.insert(id, file);
    }

    /// Flips a bit of what programs see.
    pub(super) fn flip(&self, name: &str, bit: u64) {
        let mut state = self.0.lock();
        let id = state.names[name];
        let file = state.files.get_mut(&id).expect("a name has a file");
        file.seen[(bit / 8) as usize] ^= 1 << (bit % 8);
    }

    pub(super) fn bytes(&self, name: &str) -> u64 {
        let state = self.0.lock();
        state.files[&state.names[name]].seen.len() as u64
    }

    pub(super) fn forget(&self, name: &str) {
        let mut state = self.0.lock();
        state.names.remove(name);
        state.durable_names.remove(name);
    }

    pub(super) fn enter(&self, call: Call) -> io::Result<(MutexGuard<'_, State>, Option<Fault>)> {
        let mut state = self.0.lock();
        let fault = state.enter(call)?;
        Ok((state, fault))
    }
}

impl State {
    /// Counts a call; stops the machine, or has it fail.
    pub(super) fn enter(&mut self, call: Call) -> io::Result<Option<Fault>> {
        if self.stopped {
            return Err(io::Error::other("the machine is stopped"));
        }
        self.time += 1;
        if self.stops_at == Some(self.time) {
            self.stopped = true;
            return Err(io::Error::other("the machine stops"));
        }
        let fault = self.faults.as_mut().and_then(|faults| faults(call));
        match fault {
            Some(Fault::Error) => {
                self.sync_failed |= call == Call::Sync;
                Err(io::Error::other(format!("simulated failure of {call:?}")))
            }
            Some(Fault::Full) => Err(ErrorKind::StorageFull.into()),
            Some(Fault::Interrupted) => Err(ErrorKind::Interrupted.into()),
            fault => Ok(fault),
        }
    }

    fn cut(&mut self) {
        let in_order = self.random.below(2) == 0;
        let kept = self.random.below(self.changes.len() as u64 + 1) as usize;
        for (index, change) in std::mem::take(&mut self.changes).into_iter().enumerate() {
            let survives = if in_order { index < kept } else { self.random.below(2) == 0 };
            if survives {
                apply(&mut self.durable_names, change);
            }
        }
        self.durably_exists |= self.exists && self.random.below(2) == 0;
        if !self.durably_exists {
            self.durable_names.clear();
        }
        self.exists = self.durably_exists;
        self.names = self.durable_names.clone();
        let names = &self.names;
        self.files.retain(|id, _| names.values().any(|named| named == id));
        for file in self.files.values_mut() {
            file.cut(&mut self.random);
        }
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.names, change.clone());
        self.changes.push(change);
    }

    pub(super) fn file(&mut self, id: u64, generation: u64) -> io::Result<&mut SimFile> {
        if generation != self.generation {
            return Err(io::Error::other("opened before the machine stopped"));
        }
        self.files.get_mut(&id).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn find(&self, path: &Path) -> io::Result<u64> {
        self.names.get(&name(path)).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

fn apply(names: &mut BTreeMap<String, u64>, change: Change) {
    match change {
        Change::Link(name, id) => {
            names.insert(name, id);
        }
        Change::Unlink(name) => {
            names.remove(&name);
        }
        Change::Rename(from, to, id) => {
            // It moves this file, even if the name meant an older one on the platter.
            if names.get(&from) == Some(&id) {
                names.remove(&from);
            }
            names.insert(to, id);
        }
    }
}

fn name(path: &Path) -> String {
    path.file_name().and_then(OsStr::to_str).expect("names of the log are text").to_owned()
}

impl Storage for SimStorage {
    fn create_directories(&self, _: &Path) -> io::Result<()> {
        self.enter(Call::Name)?.0.exists = true;
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let (mut state, _) = self.enter(Call::SyncNames)?;
        if path != Path::new(DIRECTORY) {
            state.durably_exists = state.exists;
            return Ok(());
        }
        let names = state.names.clone();
        state.durable_names = names;
        state.changes.clear();
        Ok(())
    }

    fn names(&self, _: &Path) -> io::Result<Vec<String>> {
        let (state, _) = self.enter(Call::Look)?;
        if state.exists {
            Ok(state.names.keys().cloned().collect())
        } else {
            Err(ErrorKind::NotFound.into())
        }
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn StoredFile>> {
        let creates = matches!(access, Access::Create | Access::CreateEmpty);
        let (mut state, _) = self.enter(if creates { Call::Create } else { Call::Open })?;
        let id = match state.find(path) {
            Ok(id) => id,
            Err(error) if !creates => return Err(error),
            Err(_) => {
                let id = state.time;
                state.files.insert(id, SimFile::default());
                state.change(Change::Link(name(path), id));
                id
            }
        };
        let (time, generation) = (state.time, state.generation);
        if access == Access::CreateEmpty {
            state.file(id, generation)?.set_len(time, 0);
        }
        Ok(Box::new(Handle { id, generation, machine: Self(Arc::clone(&self.0)) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (mut state, _) = self.enter(Call::Name)?;
        let id = state.find(from)?;
        state.change(Change::Rename(name(from), name(to), id));
        Ok(())
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (mut state, _) = self.enter(Call::Name)?;
        let id = state.find(from)?;
        state.change(Change::Link(name(to), id));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (mut state, _) = self.enter(Call::Name)?;
        state.find(path)?;
        state.change(Change::Unlink(name(path)));
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<Option<Lock>> {
        let (mut state, _) = self.enter(Call::Open)?;
        if std::mem::replace(&mut state.locked, true) {
            return Ok(None);
        }
        let held = Owned { generation: state.generation, machine: Self(Arc::clone(&self.0)) };
        Ok(Some(Lock::new(held)))
    }

    fn random_identity(&self) -> io::Result<u128> {
        let mut state = self.0.lock();
        let half = |random: &mut Random| u128::from(random.below(u64::MAX));
        Ok(half(&mut state.random) << 64 | half(&mut state.random))
    }

    /// A microsecond a call.
    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.0.lock().time)
    }
}
