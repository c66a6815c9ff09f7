//! The thread around the writer, which has nothing else to do than to call it. Not a scheduler:
//! it does one commit at a time.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::commit::Writer;
use super::{AppendError, Shared};

/// Starts the thread. It ends with the queue closed and empty, or after a failure.
pub(super) fn start(shared: Arc<Shared>, mut writer: Writer) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("log-writer".to_owned()).spawn(move || {
        let run = std::panic::AssertUnwindSafe(|| {
            while writer.step()?.is_continue() {}
            Ok::<(), io::Error>(())
        });
        match std::panic::catch_unwind(run) {
            Ok(Ok(())) => {
                for pending in shared.queue.fail() {
                    shared.refuse(pending, AppendError::Failed);
                }
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "the log has failed");
                shared.fail();
            }
            Err(_) => {
                tracing::error!("the log has failed: its writer panicked");
                shared.fail();
            }
        }
    })
}
