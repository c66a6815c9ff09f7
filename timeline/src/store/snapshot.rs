//! What a query reads: every table at one moment.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use super::{Part, RowSet, Table};

/// Every table at one moment. Cheap to clone; what it names stays readable while it lives.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Rises with every snapshot of a process.
    pub version: u64,
    /// Log time up to which every acknowledged record is in it, in nanoseconds since the epoch.
    pub complete_until_ns: i64,
    tables: [TableView; 6],
}

impl Snapshot {
    pub(super) fn new(version: u64, complete_until_ns: i64, tables: [TableView; 6]) -> Self {
        Self { version, complete_until_ns, tables }
    }

    /// A snapshot of these tables, in the order of [`Table::ALL`]; for tests of readers.
    pub fn of(version: u64, complete_until_ns: i64, tables: [TableView; 6]) -> Self {
        Self::new(version, complete_until_ns, tables)
    }

    /// One table's rows.
    pub fn table(&self, table: Table) -> &TableView {
        &self.tables[table.index()]
    }
}

/// One table at one moment: its files and its recent rows.
#[derive(Clone, Debug, Default)]
pub struct TableView {
    /// Sealed rows, oldest first.
    pub parts: Vec<PartView>,
    /// Recent rows, oldest first.
    pub head: Vec<HeadBatch>,
}

/// A file and the rows of it that no longer hold.
#[derive(Clone, Debug)]
pub struct PartView {
    /// The file.
    pub part: Arc<Part>,
    /// Its rows that went since it was written, by their number within the file.
    pub deleted: Option<Arc<RowSet>>,
}

/// A batch and the rows of it that no longer hold.
#[derive(Clone, Debug)]
pub struct HeadBatch {
    /// The rows.
    pub batch: RecordBatch,
    /// Those that went, by their number within the batch.
    pub deleted: Option<Arc<RowSet>>,
}
