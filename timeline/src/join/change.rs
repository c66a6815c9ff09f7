//! What the join says: rows that come, rows that go, and facts that are settled.
//!
//! A fact that changes is a row that goes and a row that comes, in one [`Delta`]: the store
//! retracts and appends, a rollup subtracts and adds, and nothing is ever rewritten.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::schema::{Erasure, EventRow, LossRow, MetricRow, RequestRow, SessionRow, SpanRow};

/// The place of a row in its table's order of arrival. A changed row gets a new one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct RowId(pub u64);

/// A row and its place.
pub type Placed<R> = (RowId, Arc<R>);

/// One row's change: it came (no `old`), went (no `new`), or was replaced.
#[derive(Clone, Debug, PartialEq)]
pub struct Delta<R> {
    /// The row that no longer holds.
    pub old: Option<Placed<R>>,
    /// The row that holds from now on.
    pub new: Option<Placed<R>>,
}

/// One thing the join found out.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A row of `spans`.
    Span(Delta<SpanRow>),
    /// A row of `events`.
    Event(Delta<EventRow>),
    /// A row of `metrics`.
    Metric(Delta<MetricRow>),
    /// A row of `requests`.
    Request(Delta<RequestRow>),
    /// A row of `sessions`.
    Session(Delta<SessionRow>),
    /// Rows that the join has let go of are to be erased too.
    Erase(Erasure),
    /// A row of `losses`.
    Loss(Delta<LossRow>),
    /// A send that counters may count now, once.
    SettledSend(Arc<SpanRow>),
    /// A request that counters may count now, once.
    SettledRequest(Arc<RequestRow>),
}

/// The next free place of each table; part of the join's state, so that replay numbers rows alike.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RowIds {
    /// Next row of `spans`.
    pub spans: u64,
    /// Next row of `events`.
    pub events: u64,
    /// Next row of `metrics`.
    pub metrics: u64,
    /// Next row of `requests`.
    pub requests: u64,
    /// Next row of `sessions`.
    pub sessions: u64,
    /// Next row of `losses`.
    pub losses: u64,
}

/// Takes the next place from `counter`.
pub(super) fn place<R>(counter: &mut u64, row: R) -> Placed<R> {
    let id = RowId(*counter);
    *counter += 1;
    (id, Arc::new(row))
}

/// Replaces what `emitted` holds by `row` and says so, or says nothing where they are equal.
pub(super) fn replace<R: PartialEq>(
    emitted: &mut Option<Placed<R>>,
    row: R,
    counter: &mut u64,
) -> Option<Delta<R>> {
    if emitted.as_ref().is_some_and(|(_, old)| **old == row) {
        return None;
    }
    let new = place(counter, row);
    let old = emitted.replace((new.0, Arc::clone(&new.1)));
    Some(Delta { old, new: Some(new) })
}
