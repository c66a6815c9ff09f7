//! A follower beside the writer: another process, whose own store survives everything. It reads as
//! far as the writer published, while the machine stops at every call, also between a write and
//! its sync, and the power is cut.
//!
//! What must hold: what the follower has taken is what the log has, record by record. It never has
//! a row that the log lost, never one twice, and never waits for one that it cannot get.

use super::super::tests::record;
use super::*;

/// Within a segment, up to its end, over several.
const LENS: [usize; 8] = [10, 700, 90, 640, 0, 2300, 60, 1300];

fn config() -> LogConfig {
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

/// What a follower took in, and how far it is. Both are kept in one step, as a manifest does.
#[derive(Default)]
struct Follower {
    at: Option<Position>,
    taken: Vec<Vec<u8>>,
}

impl Follower {
    /// Reads on up to what the file says, which is what a process that was just started sees.
    fn follow(&mut self, storage: &Arc<SimStorage>, what: &str) {
        let Ok(Some(published)) = disk(storage).read_committed() else { return };
        self.follow_to(storage, published.position, what);
    }

    fn follow_to(&mut self, storage: &Arc<SimStorage>, to: Position, what: &str) {
        match read(disk(storage), self.at, to) {
            Ok((records, damages)) => {
                assert_eq!(damages, [], "{what}");
                self.at = records.last().map(|record| record.position).or(self.at);
                self.taken.extend(records.into_iter().map(|record| record.payload));
            }
            // A machine that stopped in between; the follower tries again.
            Err(ReadError::Io(_)) if storage.is_stopped() => {}
            Err(error) => panic!("{what}: {error}"),
        }
    }
}

/// Appends until something stops it, the follower reading on after each answer.
fn live(storage: &Arc<SimStorage>, follower: &mut Follower, first: u64, what: &str) -> usize {
    let Ok(mut log) = OpenLog::new(storage, &config()) else { return 0 };
    let mut acknowledged = 0;
    for (number, len) in LENS.into_iter().enumerate() {
        let number = first + number as u64;
        acknowledged += usize::from(log.write(number, &record(number, len)).is_ok());
        let to = log.opened.shared.committed();
        if !storage.is_stopped() {
            follower.follow_to(storage, to, what);
        }
    }
    acknowledged
}

/// Opens the log again and compares: all of it, in order, is what the follower has.
fn compare(storage: &Arc<SimStorage>, follower: &mut Follower, least: usize, what: &str) {
    let log = OpenLog::new(storage, &config()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let end = log.opened.shared.committed();
    follower.follow_to(storage, end, what);
    let (records, damages) = read(disk(storage), None, end).expect("a readable log");
    assert_eq!(damages, [], "{what}");
    let log: Vec<Vec<u8>> = records.into_iter().map(|record| record.payload).collect();
    assert_eq!(follower.taken.len(), log.len(), "{what}");
    assert!(follower.taken == log, "{what}: other records, or another order");
    assert!(log.len() >= least, "{what}: {} of {least} acknowledged records", log.len());
}

#[test]
fn a_follower_never_has_what_the_log_lost() {
    let whole = SimStorage::new(0);
    let all = live(&whole, &mut Follower::default(), 0, "nothing happens");
    assert_eq!(all, LENS.len());
    let (mut stops, mut ahead) = (0, 0);
    for call in 0..whole.calls() {
        for seed in 0..8 {
            let what = format!("call {call} seed {seed}");
            let storage = SimStorage::new(seed);
            let mut follower = Follower::default();
            storage.stop_in(Some(call));
            let mut least = live(&storage, &mut follower, 0, &what);
            stops += u64::from(storage.is_stopped());
            if seed % 2 == 0 {
                // The writer dies first; the follower sees what the page cache has.
                storage.restart();
                follower.follow(&storage, &what);
            }
            if seed % 4 == 0 {
                // A successor recovers and goes on, and the power is cut under both.
                storage.stop_in(Some(call / 2));
                least += live(&storage, &mut follower, 100, &what);
                storage.restart();
                follower.follow(&storage, &what);
            }
            ahead += u64::from(follower.taken.len() > least);
            storage.cut_power();
            follower.follow(&storage, &what);
            compare(&storage, &mut follower, least, &what);
        }
    }
    // It is met that a record was published whose sender never heard of it.
    assert!(stops > 500 && ahead > 0, "too tame: {stops} stops, {ahead} times ahead");
}

#[test]
fn a_follower_beside_a_sync_that_fails() {
    for at in 0..25 {
        for seed in 0..12 {
            let what = format!("sync {at} seed {seed}");
            let storage = SimStorage::new(seed);
            let mut follower = Follower::default();
            let mut count = 0;
            storage.set_faults(Some(Box::new(move |call| {
                count += u64::from(call == Call::Sync);
                (call == Call::Sync && count == at + 1).then_some(Fault::Error)
            })));
            let mut least = live(&storage, &mut follower, 0, &what);
            storage.set_faults(None);
            if seed % 2 == 0 {
                // The page cache shows what never reached the disk, to recovery as well.
                storage.restart();
                follower.follow(&storage, &what);
                least += live(&storage, &mut follower, 100, &what);
            }
            storage.cut_power();
            compare(&storage, &mut follower, least, &what);
        }
    }
}
