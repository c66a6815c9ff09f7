//! Recent rows as the engine scans them: batches that are in memory already.
//!
//! A batch with retracted rows is copied without them, and a statement that named a table often would
//! have the head in memory as often if that were done when it is planned. So it is done when the batch
//! is read, one at a time, and what was copied is charged until the next one is asked for.
//!
//! It is not the head: which rows hold is the snapshot's business.

use std::fmt;
use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics};
use datafusion::datasource::source::DataSource;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::DisplayFormatType;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use ethogram_timeline::store::HeadBatch;

/// The chosen columns of the recent rows of one table.
pub(super) struct RecentRows {
    schema: SchemaRef,
    partitions: Vec<Vec<HeadBatch>>,
}

impl RecentRows {
    /// The recent rows in at most so many partitions; `None` where there are none.
    pub(super) fn choose(
        head: &[HeadBatch],
        partitions_max: usize,
        projection: Option<&Vec<usize>>,
    ) -> Result<Option<Self>> {
        let mut chosen = Vec::new();
        for head in head.iter().filter(|head| rows(head) > 0) {
            let batch = match projection {
                Some(columns) => head.batch.project(columns)?,
                None => head.batch.clone(),
            };
            chosen.push(HeadBatch { batch, deleted: head.deleted.clone() });
        }
        let Some(first) = chosen.first() else { return Ok(None) };
        let schema = first.batch.schema();
        let count = partitions_max.clamp(1, chosen.len());
        let mut partitions: Vec<Vec<HeadBatch>> = vec![Vec::new(); count];
        for (index, head) in chosen.into_iter().enumerate() {
            partitions[index % count].push(head);
        }
        Ok(Some(Self { schema, partitions }))
    }

    /// The batches of one partition, or of all.
    fn batches(&self, partition: Option<usize>) -> impl Iterator<Item = &HeadBatch> {
        let chosen = move |index: usize| partition.is_none_or(|partition| partition == index);
        let partitions = self.partitions.iter().enumerate();
        partitions.filter(move |(index, _)| chosen(*index)).flat_map(|(_, batches)| batches)
    }
}

impl fmt::Debug for RecentRows {
    /// Plans are printed, rows must not be.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "recent rows in {} partitions", self.partitions.len())
    }
}

impl DataSource for RecentRows {
    fn open(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let held = MemoryConsumer::new("recent rows").register(context.memory_pool());
        let batches = self.partitions.get(partition).cloned().unwrap_or_default();
        let living = batches.into_iter().map(move |head| -> Result<RecordBatch> {
            match living(&head)? {
                Some(copied) => {
                    held.try_resize(copied.get_array_memory_size())?;
                    Ok(copied)
                }
                None => Ok(head.batch),
            }
        });
        let schema = Arc::clone(&self.schema);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter(living))))
    }

    fn fmt_as(&self, kind: DisplayFormatType, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match kind {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(formatter, "recent rows, partitions={}", self.partitions.len())
            }
            DisplayFormatType::TreeRender => writeln!(formatter, "format=recent rows"),
        }
    }

    fn output_partitioning(&self) -> Partitioning {
        Partitioning::UnknownPartitioning(self.partitions.len())
    }

    fn eq_properties(&self) -> EquivalenceProperties {
        EquivalenceProperties::new(Arc::clone(&self.schema))
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema);
        statistics.num_rows = Precision::Exact(self.batches(partition).map(rows).sum());
        let bytes = self.batches(partition).map(|head| head.batch.get_array_memory_size());
        statistics.total_byte_size = Precision::Inexact(bytes.sum());
        Ok(Arc::new(statistics))
    }

    fn with_fetch(&self, _limit: Option<usize>) -> Option<Arc<dyn DataSource>> {
        None
    }

    fn fetch(&self) -> Option<usize> {
        None
    }

    fn try_swapping_with_projection(
        &self,
        _projection: &ProjectionExprs,
    ) -> Result<Option<Arc<dyn DataSource>>> {
        Ok(None)
    }

    fn apply_expressions(
        &self,
        _apply: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }
}

/// How many rows of a batch hold.
fn rows(head: &HeadBatch) -> usize {
    let deleted = head.deleted.as_ref().map_or(0, |deleted| deleted.len() as usize);
    head.batch.num_rows().saturating_sub(deleted)
}

/// A copy of the rows that hold; `None` where all do.
fn living(head: &HeadBatch) -> Result<Option<RecordBatch>> {
    match &head.deleted {
        Some(deleted) if !deleted.is_empty() => {
            let mask = BooleanArray::new(deleted.kept_mask(head.batch.num_rows()), None);
            Ok(Some(filter_record_batch(&head.batch, &mask)?))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::error::DataFusionError;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use ethogram_timeline::store::Table;
    use futures::StreamExt;

    use super::*;
    use crate::session::tests::fixture;

    #[tokio::test]
    async fn copies_when_read_and_charges_for_it() {
        let fixture = fixture(10, 300);
        let head = &fixture.snapshot.table(Table::Spans).head;
        let recent = RecentRows::choose(head, 2, Some(&vec![4])).expect("a column");
        let recent = recent.expect("recent rows");
        let chosen: Vec<&HeadBatch> = recent.batches(None).collect();
        assert_eq!(chosen.len(), head.len());
        assert!(
            Arc::ptr_eq(chosen[0].batch.column(0), head[0].batch.column(4)),
            "it is the head's"
        );
        let statistics = recent.partition_statistics(None).expect("statistics");
        assert_eq!(statistics.num_rows, Precision::Exact(fixture.alive(10..310).len()));

        let read = |bytes: usize| {
            let runtime = RuntimeEnvBuilder::new().with_memory_limit(bytes, 1.0).build_arc();
            let runtime = runtime.expect("a runtime");
            let context = TaskContext::default().with_runtime(Arc::clone(&runtime));
            let stream = recent.open(0, Arc::new(context)).expect("the first partition");
            (runtime, stream)
        };
        let (runtime, mut stream) = read(1 << 30);
        stream.next().await.expect("a batch").expect("memory enough");
        assert!(runtime.memory_pool.reserved() > 0);
        while stream.next().await.is_some() {}
        drop(stream);
        assert_eq!(runtime.memory_pool.reserved(), 0);
        let (_runtime, mut stream) = read(1);
        let refused = stream.next().await.expect("a batch").expect_err("no memory");
        assert!(matches!(refused.find_root(), DataFusionError::ResourcesExhausted(_)), "{refused}");
    }
}
