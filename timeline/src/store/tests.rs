//! The store against a list: whatever comes, goes, is sealed, merged and reopened, the same rows
//! stand.

mod erasing;
mod room;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, Float64Array};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;

use super::{Config, Store, Table};
use crate::decode::Rows;
use crate::join::{Change, Delta, Join, RowId};
use crate::log::{LogId, Position};
use crate::rollup::Rollup;
use crate::schema::{Attributes, Erasure, Label, MetricRow, SessionId, Subject, Time};

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

/// Seals a join that has an erasure, a counter and two rows; then the manifest says something else.
fn reopened(said: &str, instead: &str) -> (tempfile::TempDir, Store, super::Resume) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut store = Store::open(directory.path(), config()).expect("opens").0;
    let subject = Subject::Session(SessionId::new("s1").expect("not empty"));
    let erasure = Some(Erasure { app: Label::new("shop"), subject });
    let mut join = Join::default();
    join.push(Rows {
        received_ns: 9_000,
        erasure,
        metrics: vec![row(1), row(2), row(2)],
        ..Rows::default()
    });
    let (mut rollup, changes) = (Rollup::default(), join.emit());
    rollup.set_dropped(join.counters());
    store.apply(changes);
    let sealing = store.begin_seal(&join, &rollup, position(1)).expect("packs");
    let sealed = sealing.write().expect("writes");
    store.finish_seal(sealed);
    drop(store);
    let manifest = directory.path().join("manifest.json");
    let text = std::fs::read_to_string(&manifest).expect("readable");
    assert!(text.contains(said), "{text}");
    std::fs::write(&manifest, text.replace(said, instead)).expect("writable");
    let (store, resume) = Store::open(directory.path(), config()).expect("opens");
    (directory, store, resume.expect("a seal was finished"))
}

#[test]
fn a_state_of_another_form_begins_anew_and_the_rest_goes_on() {
    let join_form = format!("\"form\": {}", Join::FORM);
    let check = |said: &str, instead: &str, lost: &[&str]| {
        let (_directory, mut store, resume) = reopened(said, instead);
        assert_eq!(resume.lost, lost);
        assert_eq!(resume.position, Some(position(1)));
        let mut join = resume.join;
        assert_eq!(join.now(), Time(9_000));
        assert_eq!(join.erased().len(), 1, "an erasure binds whatever becomes of the rest");
        assert_eq!(standing(&mut store), [1, 2]);
        // Places run on without a gap.
        join.push(Rows { received_ns: 9_001, metrics: vec![row(3)], ..Rows::default() });
        store.apply(join.emit());
        assert_eq!(standing(&mut store), [1, 2, 3]);
        let known = lost.contains(&"rollup") && lost.contains(&"join");
        assert_eq!(join.counters().get("duplicate_metric").is_none(), known);
    };
    check("\"format\": 2", "\"format\": 2", &[]);
    check(&join_form, "\"form\": 1", &["join"]);
    check("\"form\": 2", "\"form\": 1", &["shelf"]);
    check("\"name\": \"rollup\"", "\"name\": \"another\"", &["rollup"]);
    check("\"name\": \"shelf\"", "\"name\": \"another\"", &["shelf"]);
}

#[test]
fn a_lost_file_of_the_shelf_is_told_at_the_next_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let reopened = || Store::open(directory.path(), config()).expect("opens").0;
    let mut store = reopened();
    // It fills a chunk, which is written at once.
    store.shelf().put(Time(1), &[7], &[1; 200 << 10]);
    let sealing = store.begin_seal(&Join::default(), &Rollup::default(), position(1));
    let sealed = sealing.expect("packs").write().expect("writes");
    store.finish_seal(sealed);
    drop(store);
    assert_eq!(reopened().take_shelf_losses(), Vec::<String>::new());
    assert_eq!(reopened().shelf().get(Time(2), 7), Some(vec![1; 200 << 10]));
    std::fs::remove_file(directory.path().join("00000000.shelf")).expect("removable");
    let lost = reopened().take_shelf_losses();
    assert!(lost.len() == 1 && lost[0].contains("00000000.shelf"), "{lost:?}");
}
