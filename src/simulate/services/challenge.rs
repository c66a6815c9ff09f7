//! Tokens that expire: the callee answers by a challenge, and its caller sends the same again with
//! another token.
//!
//! Not a failure and not a retry, whatever HTTP counts: see `calls` for the loop, which does not notice.
//! Invariants: a challenge is given at the door and holds no worker; a send is challenged once at most;
//! only the callers' clock decides, never chance.

use super::super::engine::MILLISECOND_NS;
use super::super::scenario::Call;
use super::super::world::{Context, Event};
use super::{Ended, Fleet, Job, Reply, Send, Site, calls::Cause};

/// What a service answers to an expired token.
pub(super) const CHALLENGE: u16 = 401;

/// Another token is there after this: one way to an issuer nearby and back. What is asked meanwhile is
/// challenged too.
const ISSUE_NS: u64 = 20 * MILLISECOND_NS;

impl Fleet {
    /// Whether the token that a call needs has expired, or was never fetched.
    pub(super) fn is_stale(&self, context: &Context, caller: usize, call: Call) -> bool {
        let until_ns = self.tokens_until_ns.get(&(caller, call.to.service)).copied();
        call.token_ms.is_some() && until_ns.unwrap_or(0) <= context.schedule.now_ns()
    }

    /// A request with an expired token is sent away at the door.
    pub(super) fn challenge(&mut self, context: &mut Context, mut job: Job) {
        job.status = CHALLENGE;
        self.answer(context, &job, Reply::Status(CHALLENGE));
    }

    /// Another token has come: the same is sent again with it.
    pub(crate) fn replay(&mut self, context: &mut Context, site: Site, attempt: u32) {
        let job = self.jobs.get(&site.job).expect("a handler outlives its calls");
        let token = (job.arrival.place.service, site.call.to.service);
        let good_ns = site.call.token_ms.unwrap_or(0) * MILLISECOND_NS;
        self.tokens_until_ns.insert(token, context.schedule.now_ns() + good_ns);
        self.send(context, site, attempt, Cause::Challenge);
    }
}

/// Whether the call goes on, since its caller fetches another token.
pub(super) fn gets_token(context: &mut Context, send: &Send, ended: Ended) -> bool {
    if ended != Ended::Status(CHALLENGE) || send.answers {
        return false;
    }
    let site = Site { resends: send.site.resends + 1, ..send.site };
    context.schedule.after(ISSUE_NS, Event::CallReplay(site, send.attempt));
    true
}
