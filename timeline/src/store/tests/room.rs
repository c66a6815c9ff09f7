//! A full disk: the oldest files go, the newest and the promised minimum stay, also after a restart.

use std::path::Path;
use std::sync::Arc;

use super::super::{Config, Store};
use super::{position, row, standing};
use crate::join::{Change, Delta, Join, RowId};
use crate::rollup::Rollup;

/// A store of three files with one row each, in this order.
fn store(directory: &Path, retain_bytes_min: u64) -> Store {
    let config = Config { merge_parts_min: 9, retain_bytes_min, ..Config::default() };
    let mut store = Store::open(directory, config).expect("it opens").0;
    for value in 0..3 {
        let new = Some((RowId(value), Arc::new(row(value))));
        store.apply(vec![Change::Metric(Delta { old: None, new })]);
        let sealing = store.begin_seal(&Join::default(), &Rollup::default(), position(value + 1));
        let sealed = sealing.expect("it packs").write().expect("it writes");
        store.finish_seal(sealed);
    }
    store
}

fn check(bytes: u64, retain_bytes_min: u64, went: usize, expected: &[u64]) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut own = store(directory.path(), retain_bytes_min);
    assert_eq!(own.make_room(bytes).expect("it writes"), went, "{bytes} of {retain_bytes_min}");
    assert_eq!(standing(&mut own), expected);
    drop(own);
    let mut again = Store::open(directory.path(), Config::default()).expect("it opens").0;
    assert_eq!(standing(&mut again), expected, "after a restart");
}

#[test]
fn the_oldest_make_room() {
    check(1, 0, 1, &[1, 2]);
    check(u64::MAX, 0, 3, &[]);
    // Of three small files one is about a third.
    check(u64::MAX, 3_000, 2, &[2]);
    check(1, u64::MAX, 0, &[0, 1, 2]);
}
