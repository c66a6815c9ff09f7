//! A caller that sends a second time when the first answer is late, and takes whichever comes first.
//!
//! Not a retry, which follows a failure: see `calls`. Invariants: a call has at most two sends at once;
//! what one of them says in vain the other one outweighs while it is awaited; the loser's span ends
//! when the winner's does, though its callee goes on.

use super::super::spans;
use super::super::world::Context;
use super::calls::Cause;
use super::{Ended, Fleet, Send, SendId};

impl Fleet {
    /// The first answer is late: sends beside it, if the caller may send once more.
    pub(crate) fn hedge(&mut self, context: &mut Context, id: SendId) {
        let Some(first) = self.sends.get(&id).copied() else { return };
        if first.made >= first.site.call.attempts_max {
            return;
        }
        let attempt = first.made + 1;
        let hedge = self.send(context, first.site, attempt, Cause::Late(id));
        if let Some(first) = self.sends.get_mut(&id) {
            (first.made, first.beside) = (attempt, Some(hedge));
        }
    }

    /// Whether the call goes on, since another send of it is still awaited and this one was in vain. If
    /// it was not, nobody waits for the other one any more.
    pub(super) fn other_decides(
        &mut self,
        context: &mut Context,
        send: &Send,
        ended: Ended,
    ) -> bool {
        let Some(other) = send.beside else { return false };
        if ended.ok() {
            self.cancel(context, other);
            return false;
        }
        let Some(other) = self.sends.get_mut(&other) else { return false };
        other.beside = None;
        true
    }

    fn cancel(&mut self, context: &mut Context, id: SendId) {
        let Some(send) = self.sends.remove(&id) else { return };
        let job = self.jobs.get(&send.site.job).expect("a handler outlives its calls");
        let caller = job.arrival.place.service;
        let span = spans::client(context, job, &send, Ended::Cancelled);
        self.emit(context, caller, span);
    }
}
