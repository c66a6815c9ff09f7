//! One sealed file: written once, fsynced, named by the manifest, removed when nobody reads it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{Array, BooleanArray, TimestampNanosecondArray};
use arrow::compute::filter_record_batch;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use super::directory::{Directory, OpenFile};
use super::head::FrozenBatch;
use super::{StoreError, Table};

/// Rows of a row group. Smaller prunes finer and costs more footer; DataFusion reads one group in
/// one task, and two cores are busy from the second group on.
const ROW_GROUP_ROWS: usize = 65_536;

/// A Bloom filter says "maybe" wrongly once in a hundred: 0.7 % of the file's size was measured for
/// a lookup that is an order of magnitude cheaper.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

/// Columns that are looked up by one value.
const LOOKUP_COLUMNS: [&str; 4] = ["trace_id", "session_id", "request_id", "user_id"];

/// One sealed file.
#[derive(Debug)]
pub struct Part {
    /// Where it is.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// The rows of each row group.
    pub row_group_rows: Vec<u32>,
    /// The earliest receive time of its rows, in nanoseconds since the epoch.
    pub received_ns_min: i64,
    /// The latest receive time of its rows, in nanoseconds since the epoch.
    pub received_ns_max: i64,
    /// Set when no manifest names it any more: the file goes with the last reader.
    pub(super) doomed: AtomicBool,
    /// Set when it could not be read the last time that it was to be written anew.
    pub(super) unreadable: AtomicBool,
    pub(super) file: String,
    pub(super) directory: Arc<Directory>,
}

impl Part {
    pub(super) fn doom(&self) {
        self.doomed.store(true, Ordering::Release);
    }

    /// Whether it could be read, where it was to be written anew.
    pub(super) fn note_read(&self, error: Option<&StoreError>) {
        self.unreadable.store(error.is_some(), Ordering::Release);
    }

    /// Whether it could not be read the last time.
    pub(super) fn is_unreadable(&self) -> bool {
        self.unreadable.load(Ordering::Acquire)
    }

    /// The file, to be read.
    pub(super) fn open(&self) -> Result<OpenFile, StoreError> {
        self.directory.open(&self.file)
    }

    /// Its batches, in order.
    pub(super) fn read(
        &self,
    ) -> Result<impl Iterator<Item = Result<RecordBatch, StoreError>> + use<>, StoreError> {
        let context = format!("cannot read {}", self.path.display());
        let reader = ParquetRecordBatchReaderBuilder::try_new(self.open()?)
            .and_then(ParquetRecordBatchReaderBuilder::build)
            .map_err(|source| StoreError::Parquet { context: context.clone(), source })?;
        Ok(reader.map(move |batch| {
            batch.map_err(|error| StoreError::Corrupt(format!("{context}: {error}")))
        }))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.doomed.load(Ordering::Acquire) {
            self.directory.remove(&self.file);
        }
    }
}

/// Writes the rows that still hold to `file` and makes them durable. `None` where no row is left.
pub(super) fn write(
    directory: &Arc<Directory>,
    file: &str,
    table: Table,
    batches: &[FrozenBatch],
) -> Result<Option<Part>, StoreError> {
    let kept = batches.iter().map(FrozenBatch::kept).collect::<Result<Vec<_>, _>>();
    let kept = kept
        .map_err(|error| StoreError::Corrupt(format!("cannot filter {}: {error}", table.name())))?;
    if kept.iter().all(|batch| batch.num_rows() == 0) {
        return Ok(None);
    }
    write_batches(directory, file, table, kept.into_iter().map(Ok)).map(Some)
}

/// Writes `batches` to `file` and makes them durable.
pub(super) fn write_batches(
    directory: &Arc<Directory>,
    file: &str,
    table: Table,
    batches: impl Iterator<Item = Result<RecordBatch, StoreError>>,
) -> Result<Part, StoreError> {
    let path = directory.path(file);
    let mut unfinished = directory.begin(file)?;
    let failed = |source| StoreError::Parquet {
        context: format!("cannot write {}", path.display()),
        source,
    };
    let mut writer = ArrowWriter::try_new(&mut unfinished, table.schema(), Some(properties(table)))
        .map_err(failed)?;
    let mut received = (i64::MAX, i64::MIN);
    for batch in batches {
        let batch = batch?;
        received = widen(received, &batch);
        writer.write(&batch).map_err(failed)?;
    }
    let footer = writer.finish().map_err(failed)?;
    drop(writer);
    let row_group_rows: Vec<u32> =
        footer.row_groups().iter().map(|group| group.num_rows() as u32).collect();
    Ok(Part {
        bytes: unfinished.finish()?,
        rows: row_group_rows.iter().map(|rows| u64::from(*rows)).sum(),
        row_group_rows,
        received_ns_min: received.0,
        received_ns_max: received.1,
        doomed: AtomicBool::new(false),
        unreadable: AtomicBool::new(false),
        file: file.to_owned(),
        directory: Arc::clone(directory),
        path,
    })
}

/// The rows of `batch` for which `keep` says so.
pub(super) fn filter(
    batch: &RecordBatch,
    keep: arrow::buffer::BooleanBuffer,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    filter_record_batch(batch, &BooleanArray::new(keep, None))
}

fn properties(table: Table) -> WriterProperties {
    let level = ZstdLevel::try_new(1).expect("1 is a level of zstd");
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_created_by(format!("ethogram {}", env!("CARGO_PKG_VERSION")));
    let schema = table.schema();
    for column in LOOKUP_COLUMNS.into_iter().filter(|column| schema.index_of(column).is_ok()) {
        properties = properties
            .set_column_bloom_filter_enabled(ColumnPath::from(column), true)
            .set_column_bloom_filter_fpp(ColumnPath::from(column), BLOOM_FALSE_POSITIVES);
    }
    properties.build()
}

fn widen(range: (i64, i64), batch: &RecordBatch) -> (i64, i64) {
    let received = batch
        .column_by_name("time_received")
        .and_then(|column| column.as_any().downcast_ref::<TimestampNanosecondArray>());
    let Some(received) = received else { return range };
    received.values().iter().fold(range, |(min, max), time| (min.min(*time), max.max(*time)))
}
