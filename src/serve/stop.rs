//! The wish to stop: from a signal, from a closed standard input, or from ourselves.
//!
//! Signals are handled here and nowhere else. The first SIGINT or SIGTERM asks; a second one of
//! an interactive process ends it at once.

use std::io;
use std::process;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// What a shell reports for a program that was ended by SIGINT.
const INTERRUPTED: i32 = 130;

/// A wish that everybody can make and await. Cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct Stop(Arc<watch::Sender<bool>>);

impl Stop {
    /// A wish nobody has made.
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Makes the wish. It cannot be withdrawn.
    pub(crate) fn request(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was made.
    pub(crate) fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is made.
    pub(crate) async fn requested(self) {
        // Our own sender lives as long as we wait, so the channel cannot close.
        self.0.subscribe().wait_for(|requested| *requested).await.ok();
    }

    /// Makes the wish when a signal arrives. Needs a Tokio runtime.
    ///
    /// A supervised process hears a terminal's SIGINT and then its supervisor's SIGTERM, so for it
    /// a second signal is not impatience.
    pub(crate) fn on_signals(&self, supervised: Supervised) -> io::Result<()> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let stop = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if stop.is_requested() && supervised == Supervised::No {
                    process::exit(INTERRUPTED);
                }
                stop.request();
            }
        });
        if supervised == Supervised::Yes {
            self.on_closed_input()?;
        }
        Ok(())
    }

    /// Makes the wish when standard input ends: the supervisor holds the other end and says
    /// nothing, so an end means that it is gone, even by SIGKILL.
    fn on_closed_input(&self) -> io::Result<()> {
        let stop = self.clone();
        // A thread, because a Tokio blocking task that reads would keep the runtime from ending.
        std::thread::Builder::new().name("supervisor-watch".to_owned()).spawn(move || {
            // Reads until the end and starts again when a signal interrupts it.
            io::copy(&mut io::stdin(), &mut io::sink()).ok();
            stop.request();
        })?;
        Ok(())
    }
}

/// Whether a supervisor of ours holds our standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Supervised {
    /// Yes: its end is our end.
    Yes,
    /// No: standard input is the terminal's or anything.
    No,
}
