//! One process per role and data directory.
//!
//! The lock is the kernel's, so it ends with its holder. A role whose supervisor was killed needs
//! a moment to finish; a new one waits for it instead of failing, since the port is then free too.

use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

/// How long a role may take to finish after its supervisor died. Longer, and somebody who started
/// a second Ethogram by mistake would wait for the message.
const PATIENCE: Duration = Duration::from_secs(5);

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
/// long as the file.
pub(crate) async fn take(data_dir: &Path, role: &'static str) -> anyhow::Result<File> {
    let directory = super::run_dir(data_dir);
    // Only the owner: what is kept there is what people did.
    DirBuilder::new().recursive(true).mode(0o700).create(&directory).with_context(|| {
        format!("data directory {} (--data-dir) cannot be created", data_dir.display())
    })?;
    let path = directory.join(format!("{role}.lock"));
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("{} cannot be written", path.display()))?;
    let mut waited = Duration::ZERO;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("{} cannot be locked", path.display()));
            }
            Err(TryLockError::WouldBlock) if waited >= PATIENCE => {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_second_one_is_told_what_to_do() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let data_dir = directory.path().join("data");
        let first = take(&data_dir, "query").await.expect("nobody else is there");
        take(&data_dir, "collector").await.expect("each role has its own");
        let error = take(&data_dir, "query").await.expect_err("it is taken");
        assert!(
            error
                .downcast_ref::<InUse>()
                .is_some_and(|error| error.to_string().contains("--data-dir"))
        );
        drop(first);
        take(&data_dir, "query").await.expect("it was released");
    }
}
