//! How many traces a second a late span takes back, and what a span on the shelf takes of the disk.
//!
//! `cargo run --example recall`. It asserts nothing: the figures are for people.

mod sample;

use std::time::Instant;

use ethogram_timeline::join::{Config, Join};
use ethogram_timeline::store::{self, Store};
use sample::{at, span};

/// Four thousand traces let go, and a late span for a quarter of them, in two orders.
fn main() {
    const TRACES: u64 = 4_000;
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _) = Store::open(directory.path(), store::Config::default()).expect("opens");
    let config = Config { recall_spans_per_minute: usize::MAX, ..Config::default() };
    let mut join = Join::new(config);
    join.shelve_on(store.shelf());
    let on_disk = join.recalled().2;
    for trace in 0..TRACES {
        join.push(at(20_000, (0..5).map(|at| span(trace, at, None)).collect()));
        if trace % 100 == 0 {
            join.emit();
        }
    }
    let begun = Instant::now();
    join.push(at(21_000, Vec::new()));
    join.emit();
    println!("let go: {:.0} traces a second", TRACES as f64 / begun.elapsed().as_secs_f64());
    let bytes = (join.recalled().2 - on_disk) as f64;
    println!("a span on the shelf: {:.0} bytes", bytes / (TRACES * 5) as f64);
    for (order, name) in [(1, "in order"), (7_919, "scattered")] {
        let begun = Instant::now();
        let before = join.recalled().0;
        for at_trace in 0..TRACES / 4 {
            let trace = at_trace * order % TRACES;
            join.push(at(22_000 + order as i64, vec![span(trace, 5 + order, None)]));
        }
        let seconds = begun.elapsed().as_secs_f64();
        let taken = (join.recalled().0 - before) as f64;
        println!("recalls {name}: {:.0} traces a second", taken / seconds);
        join.push(at(40_000 + order as i64, Vec::new()));
        join.emit();
    }
}
