//! The timeline's tables as SQL sees them: sealed parts and recent rows of one snapshot.
//!
//! A scan is the union of the parts (Parquet, pruned by receive time before a file is opened, then
//! by the engine from footers and pages) and of the head (Arrow batches that are already in
//! memory). Retracted rows are left out of both. No lock is held: a snapshot does not change.
//!
//! It is not the store: nothing here writes, and nothing here decides which rows are alive.

mod recent;

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use ethogram_timeline::store::{Snapshot, Table};

use crate::parts::PartFiles;
use crate::predicate;
use recent::RecentRows;

/// One table of one snapshot.
#[derive(Debug)]
pub(crate) struct TimelineTable {
    table: Table,
    schema: SchemaRef,
    snapshot: Arc<SnapshotOf>,
    files: PartFiles,
}

/// A snapshot that the engine can print: plans are printed, rows must not be.
struct SnapshotOf(Arc<Snapshot>);

impl std::fmt::Debug for SnapshotOf {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "snapshot {}", self.0.version)
    }
}

impl TimelineTable {
    /// `table` as it stood in `snapshot`.
    pub(crate) fn new(table: Table, snapshot: Arc<Snapshot>, files: PartFiles) -> Self {
        Self { table, schema: table.schema(), snapshot: Arc::new(SnapshotOf(snapshot)), files }
    }

    /// The files a scan must open.
    fn sealed(&self, filters: &[Expr]) -> Result<Vec<PartitionedFile>> {
        let received = predicate::received_ns(filters);
        self.snapshot
            .0
            .table(self.table)
            .parts
            .iter()
            .filter(|view| {
                let part = &view.part;
                *received.start() <= part.received_ns_max && part.received_ns_min <= *received.end()
            })
            .map(|view| self.files.file(view))
            .collect()
    }

    /// The scan of `files`.
    fn scan_sealed(
        &self,
        state: &dyn Session,
        files: Vec<PartitionedFile>,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let footers = state.runtime_env().cache_manager.get_file_metadata_cache();
        // Evaluating filters inside the Parquet reader makes finding one session 88 times cheaper
        // and a narrow aggregate over everything slower: so it follows the shape of the statement.
        let source = ParquetSource::new(TableSchema::from(Arc::clone(&self.schema)))
            .with_pushdown_filters(predicate::names_an_id(filters))
            .with_parquet_file_reader_factory(Arc::new(CachedParquetFileReaderFactory::new(
                self.files.objects(),
                footers,
            )));
        let partitions = state.config().target_partitions().max(1);
        let config = FileScanConfigBuilder::new(PartFiles::url(), Arc::new(source))
            .with_file_groups(balanced(files, partitions))
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// The scan of the recent rows; `None` where there are none.
    fn scan_head(
        &self,
        partitions: usize,
        projection: Option<&Vec<usize>>,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let head = &self.snapshot.0.table(self.table).head;
        let recent = RecentRows::choose(head, partitions, projection)?;
        Ok(recent.map(|recent| DataSourceExec::from_data_source(recent) as Arc<dyn ExecutionPlan>))
    }

    fn projected(&self, projection: Option<&Vec<usize>>) -> Result<SchemaRef> {
        Ok(match projection {
            Some(columns) => Arc::new(Schema::project(&self.schema, columns)?),
            None => Arc::clone(&self.schema),
        })
    }
}

#[async_trait]
impl TableProvider for TimelineTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        // Files are pruned by it, rows may be; the engine filters what is left.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut inputs = Vec::new();
        let files = self.sealed(filters)?;
        if !files.is_empty() {
            inputs.push(self.scan_sealed(state, files, projection, filters, limit)?);
        }
        inputs.extend(self.scan_head(state.config().target_partitions(), projection)?);
        match inputs.len() {
            0 => Ok(Arc::new(EmptyExec::new(self.projected(projection)?))),
            1 => Ok(inputs.remove(0)),
            _ => UnionExec::try_new(inputs),
        }
    }
}

/// Files in groups of about the same size: the next largest goes to the smallest group.
fn balanced(mut files: Vec<PartitionedFile>, groups_max: usize) -> Vec<FileGroup> {
    files.sort_by_key(|file| std::cmp::Reverse(file.object_meta.size));
    let mut groups: Vec<(u64, Vec<PartitionedFile>)> =
        vec![(0, Vec::new()); groups_max.clamp(1, files.len().max(1))];
    for file in files {
        let smallest = groups.iter_mut().min_by_key(|group| group.0).expect("at least one group");
        smallest.0 += file.object_meta.size;
        smallest.1.push(file);
    }
    groups.into_iter().map(|group| FileGroup::new(group.1)).collect()
}

#[cfg(test)]
mod tests;
