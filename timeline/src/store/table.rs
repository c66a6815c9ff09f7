//! The tables that hold rows. (`timeline` and `amplification` are views of these.)

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use crate::schema::{Columns, EventRow, LossRow, MetricRow, RequestRow, SessionRow, SpanRow};

/// A table of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// One row for each span.
    Spans,
    /// One row for each event.
    Events,
    /// One row for each data point.
    Metrics,
    /// One row for each logical request.
    Requests,
    /// One row for each session.
    Sessions,
    /// One row for each range of the log that was lost or set aside.
    Losses,
}

impl Table {
    /// Every table, in the order a snapshot holds them.
    pub const ALL: [Self; 6] =
        [Self::Spans, Self::Events, Self::Metrics, Self::Requests, Self::Sessions, Self::Losses];

    /// Its name in SQL and in file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Spans => "spans",
            Self::Events => "events",
            Self::Metrics => "metrics",
            Self::Requests => "requests",
            Self::Sessions => "sessions",
            Self::Losses => "losses",
        }
    }

    /// Its columns.
    pub fn schema(self) -> SchemaRef {
        match self {
            Self::Spans => SpanRow::schema(),
            Self::Events => EventRow::schema(),
            Self::Metrics => MetricRow::schema(),
            Self::Requests => RequestRow::schema(),
            Self::Sessions => SessionRow::schema(),
            Self::Losses => LossRow::schema(),
        }
    }

    /// Its place in [`Table::ALL`].
    pub(crate) fn index(self) -> usize {
        self as usize
    }
}
