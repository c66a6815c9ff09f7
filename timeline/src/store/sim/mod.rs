//! The real store on a simulated machine: parts, checkpoint, manifest and clean-up run on files
//! that are lost, torn and full in every way a disk permits. Not a model of the store: no line of
//! it is replaced, only the system calls below it.

mod cycle;
mod sweeps;
mod world;

use std::path::Path;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::TimestampNanosecondType;

use super::{Config, Limits, Resume, Store, StoreError, Table, room};
use crate::disk::sim::SimStorage;
use crate::schema::{Label, LossRow, Time};

/// Where the store lies on a simulated machine.
const DIRECTORY: &str = "/machine/store";

/// Small numbers, so that files are merged and let go all the time.
fn config() -> Config {
    Config { merge_parts_min: 2, ..Config::default() }
}

/// Three entries of the world to a chunk, two chunks to a segment, and two hours, which are twelve
/// entries, until they go.
fn limits() -> Limits {
    Limits { chunk_bytes: 250, segment_bytes: 500, ..Limits::new(2 * 3_600, 1 << 20) }
}

fn open(storage: &Arc<SimStorage>) -> Result<(Store, Option<Resume>), StoreError> {
    let storage = Arc::<SimStorage>::clone(storage);
    Store::open_with(storage, Path::new(DIRECTORY), config(), limits())
}

/// A row that is known by its time, of the table with the fewest columns.
fn row(value: u64) -> LossRow {
    let time = Time(value as i64);
    let (log_from, log_to, detail) = (value.to_string(), String::new(), String::from("simulated"));
    LossRow { time, time_received: time, kind: Label::unknown(), log_from, log_to, detail }
}

/// The values of every row that stands, sorted; every file that the store names is read.
fn standing(store: &mut Store) -> Vec<u64> {
    let snapshot = store.snapshot(0);
    let view = snapshot.table(Table::Losses);
    let mut all = Vec::new();
    for part in &view.parts {
        let mut line = 0;
        for batch in part.part.read().expect("a named part is there") {
            let batch = batch.expect("a named part is whole");
            let values = batch.column_by_name("time").expect("a column of losses");
            let values = values.as_primitive::<TimestampNanosecondType>();
            for value in values.values() {
                if !part.deleted.as_ref().is_some_and(|deleted| deleted.contains(line)) {
                    all.push(*value as u64);
                }
                line += 1;
            }
        }
        assert_eq!(u64::from(line), part.part.rows, "a part has the rows it is said to have");
    }
    for head in &view.head {
        let values = head.batch.column_by_name("time").expect("a column of losses");
        let values = values.as_primitive::<TimestampNanosecondType>();
        let kept = (0..values.len())
            .filter(|row| !head.deleted.as_ref().is_some_and(|set| set.contains(*row as u32)));
        all.extend(kept.map(|row| values.value(row) as u64));
    }
    all.sort_unstable();
    all
}

/// Files that are there and that the store does not name.
fn orphans(storage: &SimStorage, store: &Store) -> Vec<String> {
    let files = storage.contents();
    let names = files.keys().filter(|path| path.starts_with(DIRECTORY));
    let names = names.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    let unnamed = names.filter(|name| !store.manifest.names(name) && !store.shelf.names(name));
    unnamed.filter(|name| name != "manifest.json" && name != room::BALLAST).collect()
}
