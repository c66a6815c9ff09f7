//! More load than the collector can take: it goes on accepting, refuses the rest at once and spread
//! out, holds its memory, and is as before when it is over.
//!
//! How much and how fast is measured by `cargo bench --workspace --bench load`; here nothing is timed.

use crate::harness::load::{BATCH_SPANS, Door, Load};
use crate::harness::{Ethogram, Request, memory_bytes, number_from, wait_for};

/// Connections that each have a batch in flight, always: dozens of times what two cores decode
/// within the wait that is granted.
const BATCHES: u64 = 80;

/// Beside them, senders of small bodies, which must get through.
const SMALL: u64 = 4;

/// Batches and refusals of one round, and rounds of every run.
const ACCEPTED: u64 = 10;
const REFUSED: u64 = 100;
const ROUNDS: u64 = 3;

/// What the collector may use: bodies in flight (256 MiB), the log's queue (64 MiB), and as much as
/// it has at rest.
const MEMORY_BYTES_MAX: u64 = 448 << 20;

#[test]
fn overload_is_refused_and_the_rest_accepted() {
    let ethogram = Ethogram::start(&[]);
    let batches = Load::start(&ethogram.at, &[(Door::Batch, BATCHES)]);
    let small = Load::start(&ethogram.at, &[(Door::HttpEvents, SMALL)]);
    for _ in 0..number_from("ETHOGRAM_TEST_OVERLOAD_ROUNDS", ROUNDS) {
        let refusals = || batches.delays_s().values().sum::<u64>();
        let before = (batches.acknowledged(), refusals(), small.acknowledged());
        wait_for("batches to be accepted and others refused", || {
            (batches.acknowledged() >= before.0 + ACCEPTED
                && refusals() >= before.1 + REFUSED
                && small.acknowledged() >= before.2 + ACCEPTED)
                .then_some(())
        });
    }
    let delays = batches.delays_s();
    assert!(delays.keys().all(|delay| (1..=30).contains(delay)), "{delays:?}");
    assert!(delays.len() >= 20, "no jitter: {delays:?}");
    let most = memory_bytes(ethogram.role("collector").expect("it runs"), "VmHWM");
    assert!(most.expect("the kernel says") < MEMORY_BYTES_MAX, "{most:?} bytes");

    let (batches, small) = (batches.stop(), small.stop());
    assert_eq!(Request::get("/readyz").send(&ethogram.at.admin).status, 200);
    let accepted: u64 = batches.iter().map(|promised| promised.bodies).sum();
    println!("{accepted} batches accepted, {} refused", delays.values().sum::<u64>());
    let spans = accepted * BATCH_SPANS;
    ethogram.wait_for_value("SELECT count(*) FROM spans", spans);
    ethogram.wait_for_value("SELECT count(DISTINCT span_id) FROM spans", spans);
    let events: u64 = small.iter().map(|promised| promised.bodies).sum();
    ethogram.wait_for_value("SELECT count(*) FROM events", events);
}
