//! Watching that a statement stops when it is told to.
//!
//! A statement is stopped between two steps over batches. One whose step does not end cannot be stopped:
//! it would keep its place and a core for ever, and as many of them as there are places would leave
//! nobody an answer. So from the moment on when nobody waits for a statement any more, whatever works
//! for it has some seconds to let go; then the role ends, in order, and is started again.
//!
//! It stops nothing itself, and it watches on threads of its own: those of the statements may all be
//! busy.
//!
//! Invariant: there are at most as many watching threads as places, since each watches a held one.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, watch};

use super::Question;

/// Whether a statement was seen that does not stop.
#[derive(Debug)]
pub(super) struct Watchdog {
    patience: Duration,
    wedged: Arc<watch::Sender<bool>>,
}

impl Watchdog {
    /// Gives statements so long to stop.
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, wedged: Arc::new(watch::Sender::new(false)) }
    }

    /// Completes when a statement has not stopped in time.
    pub(super) async fn wedged(&self) {
        // Our own sender lives as long as we wait, so the channel cannot close.
        drop(self.wedged.subscribe().wait_for(|wedged| *wedged).await);
    }

    /// Someone waits for the answer to `question` until what is returned is dropped.
    pub(super) fn watch(&self, place: &Arc<OwnedSemaphorePermit>, question: &Question) -> Waiting {
        let text = match question {
            Question::Statement(text) | Question::Prepared(text, _) => text,
        };
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        Waiting {
            place: Arc::downgrade(place),
            statement: hasher.finish(),
            patience: self.patience,
            wedged: Arc::clone(&self.wedged),
        }
    }
}

/// Someone waits for an answer.
pub(super) struct Waiting {
    place: Weak<OwnedSemaphorePermit>,
    /// Tells equal statements of one version apart from others; the log must not hold their texts.
    statement: u64,
    patience: Duration,
    wedged: Arc<watch::Sender<bool>>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.place.strong_count() == 0 {
            return;
        }
        let (place, statement) = (Weak::clone(&self.place), self.statement);
        let (patience, wedged) = (self.patience, Arc::clone(&self.wedged));
        let watching =
            std::thread::Builder::new().name(String::from("sql-watch")).spawn(move || {
                std::thread::sleep(patience);
                if place.strong_count() > 0 {
                    tracing::error!(
                        statement = format!("{statement:016x}"),
                        ?patience,
                        "a statement does not stop, so the role ends to be started again"
                    );
                    wedged.send_replace(true);
                }
            });
        if let Err(error) = watching {
            tracing::warn!(%error, "nobody watches whether a statement stops");
        }
    }
}
