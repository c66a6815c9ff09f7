//! What a row is: one struct per table, and the Arrow schema that follows from it.
//!
//! The SQL tables and their columns are a stable surface: columns are only appended, last. A row
//! struct lists its columns once, in order, with their meaning; the Arrow schema, the builders and
//! the documentation all come from that list, so they cannot disagree.
//!
//! It is not the meaning of a row: what an attempt or an abandonment *is* belongs to
//! [`crate::join`], and where a value comes from on the wire to [`crate::decode`].
//!
//! Invariants:
//! * Ids are text in SQL (lower-case hex), so that an id copied from any client finds its row.
//! * Unknown is the word `unknown` in a grouping column, never NULL.
//! * A unit is the last word of a column's name.

mod column;
mod erasure;
mod events;
mod ids;
mod losses;
mod metrics;
mod requests;
mod sessions;
mod spans;
mod values;

pub use column::{Column, Columns};
pub use erasure::{Erasure, Subject};
pub use events::{Event, EventHints, EventRow};
pub use ids::{PageId, SessionId, SpanId, TabId, TraceId};
pub use losses::LossRow;
pub use metrics::MetricRow;
pub use requests::{AttemptItem, RequestRow};
pub use sessions::SessionRow;
pub use spans::{Span, SpanHints, SpanRow};
pub use values::{Attributes, Label, Time};

/// The value of a grouping column where nothing is known.
pub const UNKNOWN: &str = "unknown";
