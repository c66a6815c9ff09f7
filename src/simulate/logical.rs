//! Which sends belong to one logical call.
//!
//! Not inferred: the callers' loops say it. A call is named by the logical call it is made in,
//! its place and its ordinal there, so a handler that runs twice for one request (since its
//! caller retried) makes the same logical calls twice. Invariant: a request's names are kept
//! exactly while it, a send or a handler of it is alive; memory follows what is in flight.

use super::scenario::Place;
use std::collections::HashMap;

/// A browser's request; the root of its logical calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RequestId(pub(crate) u64);

/// A logical call within one request; 0 is the request itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Logical(u32);

impl Logical {
    /// The browser's request itself.
    pub(crate) const ROOT: Logical = Logical(0);

    /// Its name within the request.
    pub(crate) fn number(self) -> u32 {
        self.0
    }
}

/// The logical calls of all requests in flight.
#[derive(Default)]
pub(crate) struct LogicalCalls {
    roots: HashMap<RequestId, Root>,
}

#[derive(Default)]
struct Root {
    holders: u32,
    seen: Vec<(Logical, Place, u16)>,
}

impl LogicalCalls {
    /// Keeps the names of a request until the matching [`Self::release`].
    pub(crate) fn hold(&mut self, request: RequestId) {
        self.roots.entry(request).or_default().holders += 1;
    }

    /// Ends one hold.
    pub(crate) fn release(&mut self, request: RequestId) {
        let Some(root) = self.roots.get_mut(&request) else { return };
        root.holders -= 1;
        if root.holders == 0 {
            self.roots.remove(&request);
        }
    }

    /// The logical call made within `parent` to `place` as the `ordinal`-th of its kind, and
    /// whether it is seen for the first time.
    pub(crate) fn call(
        &mut self,
        request: RequestId,
        parent: Logical,
        place: Place,
        ordinal: u16,
    ) -> (Logical, bool) {
        let seen = &mut self.roots.entry(request).or_default().seen;
        let name = (parent, place, ordinal);
        let (index, new) = match seen.iter().position(|known| *known == name) {
            Some(index) => (index, false),
            None => {
                seen.push(name);
                (seen.len() - 1, true)
            }
        };
        (Logical(index as u32 + 1), new)
    }

    /// Requests whose names are kept.
    pub(crate) fn len(&self) -> usize {
        self.roots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_handler_repeats_its_calls() {
        let mut calls = LogicalCalls::default();
        let (request, place) = (RequestId(1), Place { service: 1, route: 0 });
        calls.hold(request);
        let (first, new) = calls.call(request, Logical::ROOT, place, 0);
        assert!(new);
        assert_eq!(calls.call(request, Logical::ROOT, place, 0), (first, false));
        assert!(calls.call(request, Logical::ROOT, place, 1).1);
        assert!(calls.call(request, first, place, 0).1);
        calls.release(request);
        assert_eq!(calls.len(), 0);
    }
}
