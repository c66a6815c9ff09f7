//! A table over a sealed part and a head, with rows retracted in both.

use std::collections::BTreeSet;

use arrow::array::{AsArray, Int32Array};
use arrow::record_batch::RecordBatch;
use ethogram_timeline::store::TableView;

use super::*;
use crate::config::SqlConfig;
use crate::session::tests::{Fixture, fixture};

/// The depths that pass `filter`, which name the rows.
async fn depths(fixture: &Fixture, filter: &str) -> BTreeSet<i32> {
    let session = fixture.template.session(&fixture.snapshot).await.expect("a session");
    let frame = session
        .sql(&format!("SELECT depth FROM spans WHERE {filter}"))
        .await
        .expect("a valid statement");
    let mut found = BTreeSet::new();
    for batch in frame.collect().await.expect("an answer") {
        let column: &Int32Array = batch.column(0).as_primitive();
        for depth in column.values() {
            assert!(found.insert(*depth), "{depth} twice");
        }
    }
    found
}

#[tokio::test]
async fn retracted_rows_are_in_neither_part_nor_head() {
    // Rows 0..1000 are sealed, 1000..1300 recent.
    let fixture = fixture(1_000, 300);
    for (filter, expected) in [
        ("true", fixture.alive(0..1_300)),
        ("depth < 1000", fixture.alive(0..1_000)),
        ("depth >= 1000", fixture.alive(1_000..1_300)),
        ("depth = 7", BTreeSet::new()),
        (
            "session_id IS NOT NULL AND depth IN (6, 1008)",
            fixture.alive(0..1_300).intersection(&BTreeSet::from([6, 1_008])).copied().collect(),
        ),
        ("trace_id = '000000000000000000000000000003e9'", fixture.alive(1_001..1_002)),
        ("trace_id = '00000000000000000000000000000005'", fixture.alive(5..6)),
    ] {
        assert_eq!(depths(&fixture, filter).await, expected, "{filter}");
    }
}

#[tokio::test]
async fn counts_do_not_come_from_footers() {
    let fixture = fixture(1_000, 300);
    let session = fixture.template.session(&fixture.snapshot).await.expect("a session");
    let batches = session
        .sql("SELECT count(*) FROM spans")
        .await
        .expect("a valid statement")
        .collect()
        .await
        .expect("an answer");
    let count = batches[0].column(0).as_primitive::<arrow::datatypes::Int64Type>().value(0);
    assert_eq!(count as usize, fixture.alive(0..1_300).len());
}

#[tokio::test]
async fn parts_out_of_range_are_not_opened() {
    let fixture = fixture(1_000, 300);
    let parts = fixture.snapshot.table(Table::Spans).parts.len();
    assert_eq!(parts, 1);
    let table = TimelineTable::new(
        Table::Spans,
        Arc::clone(&fixture.snapshot),
        PartFiles::open(fixture.directory.path()).expect("it exists"),
    );
    let received = || datafusion::prelude::col("time_received");
    let at = |ns: i64| {
        datafusion::prelude::lit(datafusion::common::ScalarValue::TimestampNanosecond(
            Some(ns),
            Some("UTC".into()),
        ))
    };
    for (filters, opened) in [
        (vec![], 1),
        (vec![received().gt(at(i64::MAX - 1))], 0),
        (vec![received().lt(at(0))], 0),
        (vec![received().gt(at(0))], 1),
    ] {
        assert_eq!(table.sealed(&filters).expect("inside the store").len(), opened, "{filters:?}");
    }
}

#[tokio::test]
async fn an_empty_snapshot_answers_with_no_rows() {
    let directory = tempfile::tempdir().expect("a directory");
    let template = crate::session::Template::open(&SqlConfig::default(), directory.path())
        .expect("a template");
    let snapshot = Arc::new(Snapshot::of(1, 0, std::array::from_fn(|_| TableView::default())));
    let session = template.session(&snapshot).await.expect("a session");
    for table in ["spans", "events", "metrics", "requests", "sessions", "timeline", "amplification"]
    {
        let batches = session
            .sql(&format!("SELECT * FROM {table}"))
            .await
            .expect("a table")
            .collect()
            .await
            .expect("an answer");
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 0, "{table}");
    }
}

#[test]
fn files_are_spread_by_size() {
    let files = [5_u64, 1, 1, 1, 1, 1, 4].map(|bytes| PartitionedFile::new("f", bytes)).to_vec();
    let groups = balanced(files, 2);
    let mut sizes: Vec<u64> =
        groups.iter().map(|group| group.iter().map(|file| file.object_meta.size).sum()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [7, 7]);
    assert_eq!(balanced(Vec::new(), 4).len(), 1);
}
