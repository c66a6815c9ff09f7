//! Erasures at every moment of a row's way to the disk: what is erased is neither shown nor, after
//! the next seal, in any file.

mod failing;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray};

use super::super::{Config, Store, StoreError, Table};
use super::position;
use crate::disk::{RealStorage, Storage};
use crate::join::{Change, Delta, Join, RowId};
use crate::rollup::Rollup;
use crate::schema::{Attributes, Erasure, EventRow, Label, SessionId, SessionRow, Subject, Time};

fn row(session: &str, user: Option<&str>) -> SessionRow {
    let (unknown, zero) = (Label::unknown, Time(0));
    SessionRow {
        app: Label::new("shop"),
        environment: unknown(),
        session_id: SessionId::new(session).expect("an id"),
        user_id: user.map(String::from),
        country: unknown(),
        subdivision: unknown(),
        region: unknown(),
        start: zero,
        end: zero,
        time_received: zero,
        pages: 0,
        requests: 0,
        attempts: 0,
        refreshes: 0,
        rage_clicks: 0,
        errors: 0,
        abandonments: 0,
        requests_per_min_max: 0,
        requests_per_min_calm: 0,
        clock_offset_us: None,
        clock_error_us: None,
        state: unknown(),
        verified: true,
        sample_weight: 1.0,
    }
}

fn event(session: Option<&str>, body: &str) -> EventRow {
    let (unknown, zero) = (Label::unknown, Time(0));
    EventRow {
        time: zero,
        time_client: zero,
        time_received: zero,
        app: Label::new("shop"),
        environment: unknown(),
        service: unknown(),
        service_version: unknown(),
        event_name: unknown(),
        layer: unknown(),
        session_id: session.and_then(SessionId::new),
        user_id: None,
        country: unknown(),
        subdivision: unknown(),
        region: unknown(),
        cloud_region: unknown(),
        synthetic: false,
        verified: true,
        sample_weight: 1.0,
        trace_id: None,
        span_id: None,
        page_id: None,
        tab_id: None,
        sequence: None,
        value: None,
        body: Some(String::from(body)),
        attributes: Attributes::empty(),
        resource: Attributes::empty(),
        route: unknown(),
    }
}

/// Three sessions of two users; of one session only one row names its user.
const ROWS: [(&str, Option<&str>); 5] =
    [("s1", Some("ann")), ("s2", Some("ann")), ("s2", None), ("s3", Some("bob")), ("s4", None)];

struct World {
    store: Store,
    next: u64,
    seals: u64,
    /// What the store was opened with.
    unsearched: Vec<Erasure>,
}

impl World {
    fn new(directory: &Path, merge_parts_min: usize) -> Self {
        Self::on(Arc::new(RealStorage::new()), directory, merge_parts_min)
    }

    fn on(storage: Arc<dyn Storage>, directory: &Path, merge_parts_min: usize) -> Self {
        let config = Config { merge_parts_min, ..Config::default() };
        let (store, resume) = Store::open_on(storage, directory, config).expect("it opens");
        let unsearched = resume.map(|resume| resume.unsearched).unwrap_or_default();
        Self { store, next: 0, seals: 0, unsearched }
    }

    fn insert(&mut self) {
        for (session, user) in ROWS {
            let new = Some((RowId(self.next), Arc::new(row(session, user))));
            self.store.apply(vec![Change::Session(Delta { old: None, new })]);
            self.next += 1;
        }
    }

    /// Seals, unless writing fails.
    fn try_seal(&mut self) -> Result<(), StoreError> {
        self.seals += 1;
        let (join, rollup) = (Join::default(), Rollup::default());
        let sealing = self.store.begin_seal(&join, &rollup, position(self.seals))?;
        sealing.write().map(|written| self.store.finish_seal(written))
    }

    /// Seals; what is done meanwhile is done after the freezing.
    fn seal(&mut self, meanwhile: impl FnOnce(&mut Self)) {
        self.seals += 1;
        let (join, rollup) = (Join::default(), Rollup::default());
        let sealing = self.store.begin_seal(&join, &rollup, position(self.seals));
        let written = sealing.expect("a state can be packed").write().expect("it writes");
        meanwhile(self);
        self.store.finish_seal(written);
    }

    /// As the follower does it: what turns out to be the user's is erased too.
    fn erase(&mut self, subject: Subject) {
        let app = Label::new("shop");
        let mut erasures = vec![Erasure { app, subject }];
        let mut known: BTreeSet<Erasure> = erasures.iter().cloned().collect();
        while !erasures.is_empty() {
            let mut sessions = self.store.erase(&erasures);
            let found = self.store.search(&erasures).run();
            assert!(found.failed.is_none(), "it searches");
            sessions.extend(self.store.finish_search(found));
            let of_session = |(app, id)| Erasure { app, subject: Subject::Session(id) };
            erasures = sessions.into_iter().map(of_session).collect();
            erasures.retain(|erasure| known.insert(erasure.clone()));
        }
    }

    /// The sessions in files, of rows that stand or not; and those that stand anywhere.
    fn sessions(&mut self) -> (BTreeSet<String>, BTreeSet<String>) {
        let snapshot = self.store.snapshot(0);
        let view = snapshot.table(Table::Sessions);
        let (mut written, mut standing) = (BTreeSet::new(), BTreeSet::new());
        let names = |batch: &arrow::record_batch::RecordBatch| -> Vec<String> {
            let column = batch.column_by_name("session_id").expect("a column of sessions");
            let text = arrow::compute::cast(column, &arrow::datatypes::DataType::Utf8);
            let text = text.expect("ids are text");
            let text = text.as_string::<i32>();
            (0..text.len()).map(|row| text.value(row).to_string()).collect()
        };
        for part in &view.parts {
            let batches = part.part.read().expect("readable");
            let lines = batches.flat_map(|batch| names(&batch.expect("readable")));
            for (line, name) in (0_u32..).zip(lines) {
                if !part.deleted.as_ref().is_some_and(|deleted| deleted.contains(line)) {
                    standing.insert(name.clone());
                }
                written.insert(name);
            }
        }
        for head in &view.head {
            for (row, name) in (0_u32..).zip(names(&head.batch)) {
                if !head.deleted.as_ref().is_some_and(|deleted| deleted.contains(row)) {
                    standing.insert(name);
                }
            }
        }
        (written, standing)
    }
}

fn check(subject: &Subject, moment: &str, kept: &[&str]) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut world = World::new(directory.path(), if moment == "merging" { 2 } else { 9 });
    let kept: BTreeSet<String> = kept.iter().map(ToString::to_string).collect();
    world.insert();
    let erase = |world: &mut World| world.erase(subject.clone());
    match moment {
        "head" => erase(&mut world),
        "sealing" => world.seal(erase),
        "sealed" => {
            world.seal(|_| ());
            world.insert();
            erase(&mut world);
        }
        "merging" => {
            world.seal(|_| ());
            world.insert();
            world.seal(|_| ());
            // The two files become one while the rows in both are erased.
            world.seal(erase);
        }
        other => panic!("no moment is called {other}"),
    }
    assert_eq!(world.sessions().1, kept, "{moment}: shown at once");
    world.seal(|_| ());
    let (written, standing) = world.sessions();
    assert_eq!(standing, kept, "{moment}: shown after a seal");
    assert_eq!(written, kept, "{moment}: in files after a seal");
    drop(world);
    let mut world = World::new(directory.path(), 9);
    assert_eq!(world.sessions(), (kept.clone(), kept), "{moment}: after a restart");
}

#[test]
fn what_is_erased_is_in_no_file_after_the_next_seal() {
    for moment in ["head", "sealing", "sealed", "merging"] {
        let session = Subject::Session(SessionId::new("s1").expect("an id"));
        check(&session, moment, &["s2", "s3", "s4"]);
        check(&Subject::User(String::from("ann")), moment, &["s3", "s4"]);
        check(&Subject::User(String::from("eve")), moment, &["s1", "s2", "s3", "s4"]);
    }
}

/// What a service said before its session was known stands in a file as a retracted line that names nobody.
#[test]
fn earlier_versions_that_name_nobody_go_too() {
    for moment in ["head", "sealing", "sealed"] {
        let directory = tempfile::tempdir().expect("a directory");
        let mut world = World::new(directory.path(), 9);
        let new = |id: u64, row: EventRow| Some((RowId(id), Arc::new(row)));
        let changed = |old, new| vec![Change::Event(Delta { old, new })];
        world.store.apply(changed(None, new(0, event(None, "of s1"))));
        world.store.apply(changed(None, new(1, event(Some("s2"), "of s2"))));
        let known = changed(new(0, event(None, "of s1")), new(2, event(Some("s1"), "of s1")));
        let erased = |world: &mut World| {
            world.erase(Subject::Session(SessionId::new("s1").expect("an id")));
        };
        if moment == "sealing" {
            world.seal(|world| {
                world.store.apply(known);
                erased(world);
            });
        } else {
            world.seal(|_| ());
            world.store.apply(known);
            if moment == "sealed" {
                world.seal(|_| ());
            }
            erased(&mut world);
        }
        world.seal(|_| ());
        let snapshot = world.store.snapshot(0);
        let parts = &snapshot.table(Table::Events).parts;
        let batches = parts.iter().flat_map(|part| part.part.read().expect("readable"));
        let bodies: Vec<String> = batches
            .flat_map(|batch| {
                let batch = batch.expect("readable");
                let bodies = batch.column_by_name("body").expect("a column").as_string::<i32>();
                bodies.iter().flatten().map(String::from).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(bodies, ["of s2"], "{moment}");
    }
}
