//! One sealed file: written once, fsynced, named by the manifest, removed when nobody reads it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{Array, BooleanArray, TimestampNanosecondArray};
use arrow::compute::filter_record_batch;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use super::head::FrozenBatch;
use super::{StoreError, Table, io};

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
}

impl Part {
    pub(super) fn doom(&self) {
        self.doomed.store(true, Ordering::Release);
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.doomed.load(Ordering::Acquire) {
            super::manifest::remove(&self.path);
        }
    }
}

/// Writes the rows that still hold to `path` and makes them durable. `None` where no row is left.
pub(super) fn write(
    path: &Path,
    table: Table,
    batches: &[FrozenBatch],
) -> Result<Option<Part>, StoreError> {
    let kept = batches.iter().map(FrozenBatch::kept).collect::<Result<Vec<_>, _>>();
    let kept = kept
        .map_err(|error| StoreError::Corrupt(format!("cannot filter {}: {error}", table.name())))?;
    if kept.iter().all(|batch| batch.num_rows() == 0) {
        return Ok(None);
    }
    write_batches(path, table, kept.into_iter().map(Ok)).map(Some)
}

/// Writes `batches` to `path` and makes them durable.
pub(super) fn write_batches(
    path: &Path,
    table: Table,
    batches: impl Iterator<Item = Result<RecordBatch, StoreError>>,
) -> Result<Part, StoreError> {
    let unfinished = path.with_extension("tmp");
    let file =
        File::create(&unfinished).map_err(io(format!("cannot make {}", unfinished.display())))?;
    let failed = |source| StoreError::Parquet {
        context: format!("cannot write {}", path.display()),
        source,
    };
    let mut writer =
        ArrowWriter::try_new(file, table.schema(), Some(properties(table))).map_err(failed)?;
    let mut received = (i64::MAX, i64::MIN);
    for batch in batches {
        let batch = batch?;
        received = widen(received, &batch);
        writer.write(&batch).map_err(failed)?;
    }
    let footer = writer.finish().map_err(failed)?;
    let row_group_rows: Vec<u32> =
        footer.row_groups().iter().map(|group| group.num_rows() as u32).collect();
    let file = writer.inner();
    file.sync_all().map_err(io(format!("cannot sync {}", unfinished.display())))?;
    let bytes =
        file.metadata().map_err(io(format!("cannot measure {}", unfinished.display())))?.len();
    std::fs::rename(&unfinished, path).map_err(io(format!("cannot name {}", path.display())))?;
    Ok(Part {
        path: path.to_path_buf(),
        bytes,
        rows: row_group_rows.iter().map(|rows| u64::from(*rows)).sum(),
        row_group_rows,
        received_ns_min: received.0,
        received_ns_max: received.1,
        doomed: AtomicBool::new(false),
    })
}

/// The batches of a file, in order.
pub(super) fn read(
    path: &Path,
) -> Result<impl Iterator<Item = Result<RecordBatch, StoreError>> + use<>, StoreError> {
    let file = File::open(path).map_err(io(format!("cannot open {}", path.display())))?;
    let context = format!("cannot read {}", path.display());
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(|source| StoreError::Parquet { context: context.clone(), source })?;
    Ok(reader.map(move |batch| {
        batch.map_err(|error| StoreError::Corrupt(format!("{context}: {error}")))
    }))
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
