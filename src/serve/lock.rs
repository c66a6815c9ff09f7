//! One process per role and data directory.
//!
//! The lock is the kernel's, so it ends with its holder. A role whose supervisor was killed needs
//! a moment to finish; a new one waits for that instead of failing, since the port is then free too.
//! Whoever starts a second Ethogram by mistake is told so at once: its holder is looked after.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

/// How often the lock is tried meanwhile.
const PAUSE: Duration = Duration::from_millis(50);

/// Another process holds the lock. The operator's to fix.
#[derive(Debug, thiserror::Error)]
#[error(
    "data directory {}: another ethogram {role} is using it; choose another with --data-dir or stop the other process",
    data_dir.display()
)]
pub(crate) struct InUse {
    data_dir: PathBuf,
    role: &'static str,
}

/// Takes the lock of `role` in `data_dir`, which is created if it is not there. It is held as
/// long as the file. An orphan that holds it has `patience` to finish.
pub(crate) async fn take(
    data_dir: &Path,
    role: &'static str,
    patience: Duration,
) -> anyhow::Result<File> {
    let directory = super::run_dir(data_dir);
    // Only the owner: what is kept there is what people did.
    DirBuilder::new().recursive(true).mode(0o700).create(&directory).with_context(|| {
        format!("data directory {} (--data-dir) cannot be created", data_dir.display())
    })?;
    let path = directory.join(format!("{role}.lock"));
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .with_context(|| format!("{} cannot be written", path.display()))?;
    let mut waited = Duration::ZERO;
    loop {
        match file.try_lock() {
            Ok(()) => {
                Holder::own().note(&mut file);
                return Ok(file);
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("{} cannot be locked", path.display()));
            }
            Err(TryLockError::WouldBlock)
                if waited >= patience || Holder::of(&mut file).is_some_and(Holder::is_kept) =>
            {
                return Err(InUse { data_dir: data_dir.to_owned(), role }.into());
            }
            Err(TryLockError::WouldBlock) => {
                if waited.is_zero() {
                    tracing::info!(data_dir = %data_dir.display(), role, "waiting for another process to release the data directory");
                }
                tokio::time::sleep(PAUSE).await;
                waited += PAUSE;
            }
        }
    }
}

/// Who holds a lock, as it has written into the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holder {
    id: u32,
    /// Who started it, and sees to it that it ends.
    parent: u32,
}

impl Holder {
    fn own() -> Self {
        Self { id: std::process::id(), parent: std::os::unix::process::parent_id() }
    }

    /// Writes it down. On a full disk that fails, and whoever comes next only waits longer.
    fn note(self, file: &mut File) {
        let text = format!("{} {}\n", self.id, self.parent);
        let noted = file.set_len(0).and_then(|()| file.rewind());
        noted.and_then(|()| file.write_all(text.as_bytes())).ok();
    }

    fn of(file: &mut File) -> Option<Self> {
        let mut text = String::new();
        file.rewind().ok()?;
        file.read_to_string(&mut text).ok()?;
        let (id, parent) = text.trim().split_once(' ')?;
        Some(Self { id: id.parse().ok()?, parent: parent.parse().ok()? })
    }

    /// Whether its parent is still the one that started it, as far as the system tells.
    fn is_kept(self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id));
        // The name may hold spaces and brackets; state and parent follow the last bracket.
        let parent = stat.ok().and_then(|stat| {
            let (_, rest) = stat.rsplit_once(')')?;
            rest.split_whitespace().nth(1)?.parse().ok()
        });
        parent == Some(self.parent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_second_one_is_told_what_to_do() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let data_dir = directory.path().join("data");
        let patience = Duration::from_secs(5);
        let mut first = take(&data_dir, "query", patience).await.expect("nobody else is there");
        take(&data_dir, "collector", patience).await.expect("each role has its own");
        let begun = tokio::time::Instant::now();
        let error = take(&data_dir, "query", patience).await.expect_err("it is taken");
        assert!(
            error
                .downcast_ref::<InUse>()
                .is_some_and(|error| error.to_string().contains("--data-dir"))
        );
        assert_eq!(begun.elapsed(), Duration::ZERO, "its holder is looked after");
        // Its parent is another now, or unknown: it may be about to end.
        for note in ["", "1 4194304\n"] {
            first.set_len(0).and_then(|()| first.rewind()).expect("it can be written");
            first.write_all(note.as_bytes()).expect("it can be written");
            let begun = tokio::time::Instant::now();
            take(&data_dir, "query", patience).await.expect_err("it is taken");
            assert!(begun.elapsed() >= patience, "{note:?}");
        }
        drop(first);
        take(&data_dir, "query", patience).await.expect("it was released");
    }
}
