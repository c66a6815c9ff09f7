//! When the head is sealed, and what is done when it is.
//!
//! The head is frozen on the follower's thread, where nothing read is unsaid, and written by
//! another. One seal runs at a time; rows go on coming meanwhile.

use std::sync::mpsc::{TryRecvError, sync_channel};

use ethogram_timeline::log::link::LinkClient;

use super::Follower;

impl Follower {
    pub(super) fn begin_seal_when_due(&mut self) {
        let Some(position) = self.status.position else { return };
        if self.sealing.is_some() || self.store.sealed_position() == Some(&position) {
            return;
        }
        if self.sealed_ns == 0 {
            self.sealed_ns = self.join.now().0;
        }
        let config = self.store.config();
        let seal_ns = i64::from(config.seal_s) * 1_000_000_000;
        // By the machine's clock as well: at the log's budget nothing is appended, so log time
        // stands still until this seal lets segments go.
        let waited_ns = self.clock.now_ns() - self.seal_began_ns;
        let old =
            self.join.now().0 - self.sealed_ns >= seal_ns || waited_ns >= seal_ns || waited_ns < 0;
        if !old && !self.seal_now && self.store.head_bytes() < config.seal_bytes {
            return;
        }
        // The frozen head and the state must be of one position: nothing read may be unsaid.
        self.publish();
        let sealing = self.store.begin_seal(&self.join, &self.rollup, position);
        (self.sealed_ns, self.seal_now) = (self.join.now().0, false);
        self.seal_began_ns = self.clock.now_ns();
        let (send, receive) = sync_channel(1);
        let writer = std::thread::Builder::new().name(String::from("seal"));
        let spawned = writer.spawn(move || {
            // The follower may have stopped meanwhile; the next start removes what is not named.
            drop(send.send(sealing.write()));
        });
        match spawned {
            Ok(_) => self.sealing = Some((position, receive)),
            Err(error) => tracing::error!(%error, "cannot start a seal, trying again later"),
        }
    }

    pub(super) fn finish_seal(&mut self, link: &mut LinkClient) {
        let Some((position, result)) = self.sealing.take() else { return };
        match result.try_recv() {
            Ok(Ok(sealed)) => {
                self.store.finish_seal(sealed);
                self.status.seals += 1;
                self.suspects.forget_before(position);
                self.unpublished = true;
                link.acknowledge(position);
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "cannot seal, keeping the rows in memory and trying again");
            }
            Err(TryRecvError::Empty) => self.sealing = Some((position, result)),
            Err(TryRecvError::Disconnected) => tracing::error!("a seal ended without a result"),
        }
    }
}
