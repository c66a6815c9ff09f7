//! One small story, told again for every call at which something can go wrong. Not random but
//! for what a power cut leaves.

use std::sync::Arc;

use super::super::tests::record;
use super::*;

/// Tiny limits, so that a short story begins several segments in several ways.
fn tiny() -> LogConfig {
    LogConfig {
        segment_bytes: 1536,
        budget_bytes: 1 << 20,
        commit_bytes_max: 1024,
        queue_bytes_max: 1 << 20,
        record_bytes_max: 8192,
        frame_bytes_max: 256,
        ..LogConfig::default()
    }
}

/// Lengths of the story's records: within a segment, up to its end, over several.
const LENS: [usize; 9] = [10, 700, 90, 640, 0, 4300, 60, 1300, 30];

/// Tells the story until something fails for good; returns what was acknowledged, and the others.
fn tell(storage: &Arc<SimStorage>) -> (Vec<Record>, Vec<Vec<u8>>) {
    let (mut kept, mut others) = (Vec::new(), Vec::new());
    let Ok(mut log) = OpenLog::new(storage, &tiny()) else {
        return (kept, others);
    };
    for (number, len) in LENS.into_iter().enumerate() {
        let payload = record(number as u64, len);
        match log.write(number as u64, &payload) {
            Ok(position) => kept.push(Record { position, payload }),
            Err(_) => others.push(payload),
        }
    }
    // What fails at the end fails after everything was answered.
    drop(log.close());
    (kept, others)
}

/// Opens, checks that what was acknowledged is there, and that the log takes records again.
/// `others` may be there as well, where they belong.
fn check(storage: &Arc<SimStorage>, kept: &[Record], others: &[Vec<u8>], what: &str) {
    let mut log = OpenLog::new(storage, &tiny()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let report = log.opened.report.clone();
    assert_eq!(report.damages, [], "{what}");
    let (found, damages) = read(disk(storage), None, report.end).unwrap();
    assert_eq!(damages, [], "{what}");
    let (old, new): (Vec<Record>, Vec<Record>) =
        found.into_iter().partition(|record| kept.contains(record));
    assert_eq!(old, kept, "{what}");
    assert!(new.iter().all(|record| others.contains(&record.payload)), "{what}: {new:?}");
    assert!(new.len() <= 1, "{what}: more than the one that was on its way");
    assert!(log.write(99, b"next").is_ok(), "{what}");
    let (found, damages) = read(disk(storage), None, log.opened.shared.committed()).unwrap();
    assert_eq!((found.len(), damages.len()), (kept.len() + new.len() + 1, 0), "{what}");
}

#[test]
fn the_machine_stops_at_every_call() {
    let whole = SimStorage::new(0);
    let (kept, _) = tell(&whole);
    assert_eq!(kept.len(), LENS.len());
    assert!(kept.last().unwrap().position.segment > 4);
    for call in 0..whole.calls() {
        for seed in 0..6 {
            let storage = SimStorage::new(seed);
            storage.stop_in(Some(call));
            let (kept, others) = tell(&storage);
            assert!(storage.is_stopped());
            if seed == 0 {
                storage.restart()
            } else {
                storage.cut_power()
            }
            check(&storage, &kept, &others, &format!("call {call} seed {seed}"));
        }
    }
}

/// The same, and the machine stops again at every call of the recovery.
#[test]
fn the_machine_stops_during_recovery() {
    let mut stops = 0;
    for (call, seed) in [(40, 1), (55, 2), (70, 3), (85, 4), (100, 5)] {
        for again in 0.. {
            let storage = SimStorage::new(seed);
            storage.stop_in(Some(call));
            let (kept, others) = tell(&storage);
            storage.cut_power();
            storage.stop_in(Some(again));
            let opened = OpenLog::new(&storage, &tiny()).is_ok();
            if opened && !storage.is_stopped() {
                break;
            }
            stops += 1;
            storage.cut_power();
            check(&storage, &kept, &others, &format!("calls {call} and {again}"));
        }
    }
    assert!(stops > 50, "{stops}");
}

/// The calls of these kinds, counted together, go wrong from one number on, some times.
fn fail_at(storage: &SimStorage, kinds: &'static [Call], fault: Fault, at: u64, times: u64) {
    let mut count = 0;
    storage.set_faults(Some(Box::new(move |call| {
        let counts = kinds.contains(&call);
        count += u64::from(counts);
        (counts && (at + 1..=at + times).contains(&count)).then_some(fault)
    })));
}

#[test]
fn the_disk_is_full_at_every_write() {
    const KINDS: &[Call] = &[Call::Create, Call::Reserve, Call::Write];
    const NAMING: &[Call] = &[Call::Name];
    let mut refused = 0;
    for (kinds, times) in [(KINDS, 1), (KINDS, 3), (KINDS, 1000), (NAMING, 1)] {
        for at in 0..60 {
            for cut in [false, true] {
                let storage = SimStorage::new(at);
                fail_at(&storage, kinds, Fault::Full, at, times);
                let (kept, others) = tell(&storage);
                // Each failure refuses one record at most: a full disk never ends the writer,
                // whichever segment of a commit it is that finds it full.
                assert!(others.len() as u64 <= times, "full at {at}: {} are refused", others.len());
                refused += others.len();
                if cut {
                    storage.cut_power()
                } else {
                    storage.restart()
                }
                check(&storage, &kept, &others, &format!("full at {at}, {times} times"));
            }
        }
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn every_sync_fails_once_and_lies_afterwards() {
    for seed in 0..500 {
        let at = seed % 25;
        for cut in [false, true] {
            let storage = SimStorage::new(seed);
            fail_at(&storage, &[Call::Sync], Fault::Error, at, 1);
            let (kept, others) = tell(&storage);
            let failed = storage.sync_failed();
            let all_answered = kept.len() == LENS.len();
            assert!(!failed || all_answered || kept.len() + others.len() <= LENS.len());
            if cut {
                storage.cut_power()
            } else {
                storage.restart()
            }
            let what = format!("sync {at} fails");
            // The cache shows what never reached the disk: it is found, and must then stay.
            let log = OpenLog::new(&storage, &tiny()).unwrap();
            let (found, _) = read(disk(&storage), None, log.opened.report.end).unwrap();
            drop(log);
            assert!(found.len() >= kept.len(), "{what}");
            storage.cut_power();
            check(&storage, &found, &[], &what);
            assert_eq!(found[..kept.len()], kept, "{what}");
            let rest: Vec<&Vec<u8>> = found[kept.len()..].iter().map(|f| &f.payload).collect();
            assert!(rest.iter().all(|payload| others.contains(payload)), "{what}");
        }
    }
}

#[test]
fn short_and_interrupted_calls_change_nothing() {
    let whole = SimStorage::new(5);
    tell(&whole);
    for fault in [Fault::Short, Fault::Interrupted] {
        let storage = SimStorage::new(5);
        let mut turn = 0;
        storage.set_faults(Some(Box::new(move |call| {
            turn += 1;
            (matches!(call, Call::Write | Call::Read) && turn % 3 != 0).then_some(fault)
        })));
        let (kept, _) = tell(&storage);
        assert_eq!(kept.len(), LENS.len());
        assert!(storage.calls() > whole.calls());
        assert_eq!(storage.contents(), whole.contents(), "{fault:?}");
    }
}

/// The last segment ends at every byte of the last three records, one of them of several frames.
#[test]
fn the_tail_is_cut_at_every_byte() {
    let config = LogConfig { segment_bytes: 4096, ..tiny() };
    let whole = SimStorage::new(6);
    let mut log = OpenLog::new(&whole, &config).unwrap();
    let mut kept = Vec::new();
    for (number, len) in [300, 120, 90, 260, 130].into_iter().enumerate() {
        let payload = record(number as u64, len);
        let position = log.write(number as u64, &payload).unwrap();
        kept.push(Record { position, payload });
    }
    log.close().unwrap();
    let (from, to) = (kept[1].position.offset, kept[4].position.offset);
    for cut in from..to {
        let storage = whole.copy(cut);
        storage.forget("committed");
        storage.edit("00000000000000000001.log", |bytes| bytes.truncate(cut as usize));
        let left = kept.partition_point(|record| record.position.offset <= cut);
        check(&storage, &kept[..left], &[], &format!("cut at {cut}"));
    }
}
