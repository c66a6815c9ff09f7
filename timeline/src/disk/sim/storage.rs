//! A simulated machine's file system: directories of files. Not a plan of what goes wrong: who
//! drives it says that, call by call, and when the machine stops.
//!
//! Invariant: once the machine stopped, no call has an effect until it is started again, and files
//! opened before stay closed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::super::{Access, Lock, Storage, StoredFile};
use super::Random;
use super::file::SimFile;
use super::handle::{Handle, Owned};

/// Kinds of system calls, as far as they fail differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
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
pub(crate) enum Fault {
    /// It fails. A sync that does leaves some pages unwritten, and later syncs do not know.
    Error,
    Full,
    Interrupted,
    /// It does less than asked, but something.
    Short,
    /// A sync says that it succeeded, and some sectors were never written: a drive that keeps in its
    /// own memory what it was told to flush. Nobody hears of it before the power is cut.
    Lie,
}

/// Decides what goes wrong with a call.
pub(crate) type Faults = Box<dyn FnMut(Call) -> Option<Fault> + Send>;

/// A change of names that is not durable yet.
#[derive(Clone, Debug)]
enum Change {
    Link(PathBuf, u64),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf, u64),
}

impl Change {
    /// In which directory it is.
    fn path(&self) -> &Path {
        match self {
            Self::Link(path, _) | Self::Unlink(path) | Self::Rename(_, path, _) => path,
        }
    }
}

pub(super) struct State {
    pub(super) random: Random,
    pub(super) time: u64,
    pub(super) files: BTreeMap<u64, SimFile>,
    pub(super) names: BTreeMap<PathBuf, u64>,
    pub(super) durable_names: BTreeMap<PathBuf, u64>,
    changes: Vec<Change>,
    /// The directories, and whether each is durable.
    pub(super) directories: BTreeMap<PathBuf, bool>,
    /// Counts starts of the machine.
    pub(super) generation: u64,
    pub(super) locked: BTreeSet<PathBuf>,
    pub(super) stops_at: Option<u64>,
    pub(super) stopped: bool,
    sync_failed: bool,
    pub(super) faults: Option<Faults>,
}

/// A simulated machine's file system.
pub(crate) struct SimStorage(pub(super) Arc<Mutex<State>>);

impl fmt::Debug for SimStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimStorage").finish_non_exhaustive()
    }
}

impl SimStorage {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self(Arc::new(Mutex::new(State {
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            time: 0,
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            changes: Vec::new(),
            directories: BTreeMap::new(),
            generation: 0,
            locked: BTreeSet::new(),
            stops_at: None,
            stopped: false,
            sync_failed: false,
            faults: None,
        }))))
    }

    /// What goes wrong from now on.
    pub(crate) fn set_faults(&self, faults: Option<Faults>) {
        self.0.lock().faults = faults;
    }

    /// Stops the machine at the call with this number from now on, the next one being 0.
    pub(crate) fn stop_in(&self, calls: Option<u64>) {
        let mut state = self.0.lock();
        state.stops_at = calls.map(|calls| state.time + calls + 1);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.0.lock().stopped
    }

    /// Whether calls may fail.
    pub(crate) fn has_faults(&self) -> bool {
        self.0.lock().faults.is_some()
    }

    /// Whether a file's sync failed since the machine started.
    pub(crate) fn sync_failed(&self) -> bool {
        self.0.lock().sync_failed
    }

    /// Calls so far.
    pub(crate) fn calls(&self) -> u64 {
        self.0.lock().time
    }

    /// The process ends and may be started again; the page cache stays.
    pub(crate) fn restart(&self) {
        let mut state = self.0.lock();
        state.generation += 1;
        state.locked.clear();
        state.stops_at = None;
        state.stopped = false;
        state.sync_failed = false;
        state.faults = None;
    }

    /// The power goes, and comes back.
    pub(crate) fn cut_power(&self) {
        self.restart();
        self.0.lock().cut();
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
        for durable in self.directories.values_mut() {
            *durable |= self.random.below(2) == 0;
        }
        self.directories.retain(|_, durable| *durable);
        let directories = &self.directories;
        self.durable_names.retain(|path, _| directories.contains_key(parent(path)));
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
        self.names.get(path).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// The file of that name, in whatever directory.
    pub(super) fn named(&self, name: &str) -> u64 {
        let found = self.names.iter().find(|(path, _)| path.ends_with(name));
        *found.expect("a file of that name").1
    }
}

fn apply(names: &mut BTreeMap<PathBuf, u64>, change: Change) {
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

fn parent(path: &Path) -> &Path {
    path.parent().expect("a file is in a directory")
}

impl Storage for SimStorage {
    fn create_directories(&self, path: &Path) -> io::Result<()> {
        self.enter(Call::Name)?.0.directories.entry(path.to_owned()).or_insert(false);
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let (mut state, _) = self.enter(Call::SyncNames)?;
        for (directory, durable) in &mut state.directories {
            *durable |= parent(directory) == path;
        }
        let changes = std::mem::take(&mut state.changes);
        for change in changes {
            if parent(change.path()) == path {
                apply(&mut state.durable_names, change);
            } else {
                state.changes.push(change);
            }
        }
        Ok(())
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        let (state, _) = self.enter(Call::Look)?;
        if !state.directories.contains_key(directory) {
            return Err(ErrorKind::NotFound.into());
        }
        let within = state.names.keys().filter(|path| parent(path) == directory);
        Ok(within
            .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .collect())
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
                state.change(Change::Link(path.to_owned(), id));
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
        state.change(Change::Rename(from.to_owned(), to.to_owned(), id));
        Ok(())
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (mut state, _) = self.enter(Call::Name)?;
        let id = state.find(from)?;
        state.change(Change::Link(to.to_owned(), id));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (mut state, _) = self.enter(Call::Name)?;
        state.find(path)?;
        state.change(Change::Unlink(path.to_owned()));
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Lock>> {
        let (mut state, _) = self.enter(Call::Open)?;
        if !state.locked.insert(path.to_owned()) {
            return Ok(None);
        }
        let (path, machine) = (path.to_owned(), Self(Arc::clone(&self.0)));
        let held = Owned { path, generation: state.generation, machine };
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
