//! What is asked of a machine: files, a random number, a stopwatch. Not a convenience: each
//! method is about one system call, with that call's weaknesses (it may do less than asked, or be
//! interrupted), so that a simulated machine can be weak in the same places.
//!
//! Invariant: nothing here is durable before a sync of it returned: of the file for its bytes and
//! length, of the directory for names.

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::time::Duration;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// An existing file, to be read.
    Read,
    /// An existing file, to be read and written.
    Write,
    /// To be read and written; made if missing.
    Create,
    /// To be read and written; made if missing, emptied if not.
    CreateEmpty,
}

/// What the log and the store run on.
pub(crate) trait Storage: Debug + Send + Sync {
    /// Makes a directory and those above it that are missing.
    fn create_directories(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// Names in a directory, in any order.
    fn names(&self, directory: &Path) -> io::Result<Vec<String>>;
    /// Opens a file.
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn StoredFile>>;
    /// Renames a file, over another if need be.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a name.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Locks a file, made if missing, until the lock is dropped; `None` when another holds it.
    fn lock(&self, path: &Path) -> io::Result<Option<Lock>>;
    /// A random number that no other log has.
    fn random_identity(&self) -> io::Result<u128>;
    /// Time since some moment, for measuring how long a sync takes.
    fn elapsed(&self) -> Duration;
}

/// An open file.
pub(crate) trait StoredFile: Debug + Send + Sync {
    /// Length of the file.
    fn bytes(&self) -> io::Result<u64>;
    /// Reads some bytes; 0 at the end of the file.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes some bytes; returns how many.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Makes the bytes, and the length needed to read them, durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Makes the file durable with all that is known of it.
    fn sync_all(&self) -> io::Result<()>;
    /// Cuts or extends the file; what is added reads as zeros.
    fn set_bytes(&self, bytes: u64) -> io::Result<()>;
    /// Reserves real blocks and extends the file to them. Does nothing where that is impossible.
    fn reserve(&self, bytes: u64) -> io::Result<()>;
}

/// Holds the ownership of a directory until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held for its drop")] Box<dyn Held>);

/// What a lock keeps alive.
pub(crate) trait Held: Debug + Send {}

impl<T: Debug + Send> Held for T {}

impl Lock {
    pub(crate) fn new(held: impl Held + 'static) -> Self {
        Self(Box::new(held))
    }
}
