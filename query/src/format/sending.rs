//! An answer on its way to a client that may not take it.
//!
//! The answer stands in the budget of all statements until it is sent, and a client that does not read
//! would hold it for ever. So it is given up after some time, whatever the connection does: nobody may
//! be asking for the next piece, so this is a task of its own and not a look at the clock.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::Chunks;

/// The pieces of an answer that are not sent yet.
pub(super) struct Sending {
    /// `None` once it is sent or given up.
    left: Arc<Mutex<Option<Chunks>>>,
    is_sent: bool,
    deadline: JoinHandle<()>,
}

impl Sending {
    /// Holds `chunks` until they are sent, or for `patience`. Needs a Tokio runtime.
    pub(super) fn new(chunks: Chunks, patience: Duration) -> Self {
        let left = Arc::new(Mutex::new(Some(chunks)));
        let held = Arc::clone(&left);
        let deadline = tokio::spawn(async move {
            tokio::time::sleep(patience).await;
            if held.lock().take().is_some() {
                tracing::debug!(?patience, "gave up an answer that was not taken");
            }
        });
        Self { left, is_sent: false, deadline }
    }
}

impl Stream for Sending {
    type Item = Result<Bytes, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_sent {
            return Poll::Ready(None);
        }
        let mut left = self.left.lock();
        let Some(chunks) = left.as_mut() else {
            // An error cuts the answer off, so that no client takes a part for the whole.
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        };
        let next = chunks.next();
        if next.is_none() {
            *left = None;
        }
        drop(left);
        self.is_sent = next.is_none();
        Poll::Ready(next.map(|chunk| chunk.map_err(io::Error::other)))
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.deadline.abort();
    }
}

#[cfg(test)]
mod tests {
    use arrow::error::ArrowError;
    use futures::StreamExt;

    use super::*;

    /// Pieces that say whether they are still held.
    fn pieces(held: &Arc<()>) -> Chunks {
        let held = Arc::clone(held);
        Box::new((0..3).map(move |_| {
            let _still = &held;
            Ok::<_, ArrowError>(Bytes::from_static(b"x"))
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_taken_is_whole() {
        let held = Arc::new(());
        let mut sending = Sending::new(pieces(&held), Duration::from_secs(10));
        let mut count = 0;
        while let Some(piece) = sending.next().await {
            assert_eq!(piece.expect("in time").as_ref(), b"x");
            count += 1;
        }
        assert_eq!((count, Arc::strong_count(&held)), (3, 1));
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(sending.next().await.is_none(), "the time ends nothing that is sent");
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_takes_is_given_up() {
        let held = Arc::new(());
        let mut sending = Sending::new(pieces(&held), Duration::from_secs(10));
        sending.next().await.expect("a piece").expect("in time");
        assert_eq!(Arc::strong_count(&held), 2);
        // Nobody asks for the next piece, and the memory comes back all the same.
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!(Arc::strong_count(&held), 1);
        let cut = sending.next().await.expect("a piece").expect_err("too late");
        assert_eq!(cut.kind(), io::ErrorKind::TimedOut);
    }
}
