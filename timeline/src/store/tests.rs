//! The store against a list: whatever comes, goes, is sealed, merged and reopened, the same rows
//! stand.

mod erasing;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, Float64Array};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;

use super::{Config, Store, Table};
use crate::join::{Change, Delta, Join, RowId};
use crate::log::{LogId, Position};
use crate::rollup::Rollup;
use crate::schema::{Attributes, Label, MetricRow, Time};

pub(super) fn row(value: u64) -> MetricRow {
    let unknown = Label::unknown;
    MetricRow {
        time: Time(value as i64),
        time_received: Time(value as i64),
        app: unknown(),
        environment: unknown(),
        service: unknown(),
        service_version: unknown(),
        name: Label::new("m"),
        unit: unknown(),
        kind: Label::new("gauge"),
        temporality: unknown(),
        monotonic: false,
        value: Some(value as f64),
        count: None,
        sum: None,
        h: None,
        cloud_region: unknown(),
        verified: true,
        attributes: Attributes::empty(),
        resource: Attributes::empty(),
    }
}

fn position(offset: u64) -> Position {
    Position { log_id: LogId(1), epoch: 1, segment: 1, offset }
}

fn values(batch: &RecordBatch) -> Vec<u64> {
    let column = batch.column_by_name("value").expect("a column of metrics");
    let column = column.as_any().downcast_ref::<Float64Array>().expect("floats");
    (0..column.len()).map(|row| column.value(row) as u64).collect()
}

/// Every value that stands in a snapshot, sorted.
pub(super) fn standing(store: &mut Store) -> Vec<u64> {
    let snapshot = store.snapshot(0);
    let view = snapshot.table(Table::Metrics);
    let mut all = Vec::new();
    for part in &view.parts {
        let mut lines = Vec::new();
        for batch in part.part.read().expect("readable") {
            lines.extend(values(&batch.expect("readable")));
        }
        assert_eq!(lines.len() as u64, part.part.rows);
        let deleted = part.deleted.as_ref();
        let kept = (0_u32..)
            .zip(lines)
            .filter(|(line, _)| !deleted.is_some_and(|set| set.contains(*line)));
        all.extend(kept.map(|(_, value)| value));
    }
    for head in &view.head {
        let kept = (0_u32..).zip(values(&head.batch));
        let kept =
            kept.filter(|(line, _)| !head.deleted.as_ref().is_some_and(|set| set.contains(*line)));
        all.extend(kept.map(|(_, value)| value));
    }
    all.sort_unstable();
    all
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u16),
    Delete(prop::sample::Index),
    Seal,
    /// Rows come and go between the freezing and the finish.
    SealWhile(Vec<prop::sample::Index>),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = any::<prop::sample::Index>;
    let step = prop_oneof![
        4 => (1_u16..40).prop_map(Step::Insert),
        4 => index().prop_map(Step::Delete),
        2 => Just(Step::Seal),
        1 => prop::collection::vec(index(), 0..12).prop_map(Step::SealWhile),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..40)
}

struct World {
    store: Store,
    alive: BTreeMap<u64, u64>,
    next: u64,
    /// What stood at the last seal: a restart goes on from there.
    sealed: (BTreeMap<u64, u64>, u64),
    seals: u64,
}

impl World {
    fn new(directory: &Path) -> Self {
        let store = Store::open(directory, config()).expect("opens").0;
        Self { store, alive: BTreeMap::new(), next: 0, sealed: (BTreeMap::new(), 0), seals: 0 }
    }

    fn insert(&mut self) {
        let new = (RowId(self.next), Arc::new(row(self.next * 3)));
        self.store.apply(vec![Change::Metric(Delta { old: None, new: Some(new) })]);
        self.alive.insert(self.next, self.next * 3);
        self.next += 1;
    }

    fn delete(&mut self, index: &prop::sample::Index) {
        if self.alive.is_empty() {
            return;
        }
        let id = *self.alive.keys().nth(index.index(self.alive.len())).expect("within the map");
        let old = (RowId(id), Arc::new(row(id * 3)));
        self.store.apply(vec![Change::Metric(Delta { old: Some(old), new: None })]);
        self.alive.remove(&id);
    }

    fn seal(&mut self, meanwhile: &[prop::sample::Index]) {
        self.seals += 1;
        let sealing = self
            .store
            .begin_seal(&Join::default(), &Rollup::default(), position(self.seals))
            .expect("packs");
        let frozen = (self.alive.clone(), self.next);
        for index in meanwhile {
            self.insert();
            self.delete(index);
        }
        let sealed = sealing.write().expect("writes");
        self.store.finish_seal(sealed);
        self.sealed = frozen;
    }

    fn check(&mut self) {
        let expected: Vec<u64> = self.alive.values().copied().collect();
        assert_eq!(standing(&mut self.store), expected);
    }
}

fn config() -> Config {
    Config { merge_parts_min: 3, ..Config::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_rows_stand_whatever_happens(steps in steps()) {
        let directory = tempfile::tempdir().expect("a directory");
        let mut world = World::new(directory.path());
        for step in &steps {
            match step {
                Step::Insert(number) => (0..*number).for_each(|_| world.insert()),
                Step::Delete(index) => world.delete(index),
                Step::Seal => world.seal(&[]),
                Step::SealWhile(meanwhile) => world.seal(meanwhile),
                Step::Reopen => {
                    let (alive, next) = world.sealed.clone();
                    let seals = world.seals;
                    drop(world);
                    world = World::new(directory.path());
                    (world.alive, world.next, world.seals) = (alive.clone(), next, seals);
                    world.sealed = (alive, next);
                }
            }
            world.check();
        }
    }
}

#[test]
fn small_parts_are_merged_and_old_files_go() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut world = World::new(directory.path());
    for _ in 0..10 {
        (0..5).for_each(|_| world.insert());
        world.seal(&[]);
    }
    world.check();
    let parts = world.store.snapshot(0).table(Table::Metrics).parts.len();
    assert!(parts <= 4, "{parts}");
    let files = std::fs::read_dir(directory.path()).expect("listable");
    let files = files.filter(|file| {
        file.as_ref().is_ok_and(|file| file.path().extension().is_some_and(|end| end == "parquet"))
    });
    assert_eq!(files.count(), parts);
}

#[test]
fn a_second_owner_is_refused_and_orphans_go() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut world = World::new(directory.path());
    assert!(matches!(Store::open(directory.path(), config()), Err(super::StoreError::InUse(_))));
    world.insert();
    world.seal(&[]);
    drop(world);
    let orphan = directory.path().join("metrics-00000000000009-00000009.parquet");
    std::fs::write(&orphan, b"half").expect("writable");
    let (mut store, resume) = Store::open(directory.path(), config()).expect("opens");
    assert!(!orphan.try_exists().expect("stat"));
    assert_eq!(resume.expect("a seal was finished").position, Some(position(1)));
    assert_eq!(standing(&mut store), [0]);
}
