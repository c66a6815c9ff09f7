//! The lives of one simulated log, and the oracle: a list of what was appended and answered. Not a
//! second log: the oracle knows nothing of segments but which of them were given up.
//!
//! What must hold whenever the log was opened again:
//! * every acknowledged record is there, at the position that was acknowledged;
//! * what is there was appended, once, in order, and without a hole: what was not acknowledged
//!   may be there only if all before it is;
//! * what was refused is not there, and what was missing once never comes back;
//! * nothing is reported as damage, since nothing was damaged.

use std::sync::Arc;

use super::super::tests::{Random, record};
use super::super::verify::verify_on;
use super::*;

/// What became of an appended record, as far as its caller knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// None, or that the log failed: it may be there.
    Unknown,
    Acknowledged(Position),
    /// It must never be there.
    Refused,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    payload: Vec<u8>,
    answer: Answer,
    /// It lies in a segment that all followers have passed, or begins there.
    passed: bool,
}

/// What a simulation met, so that a test can say that it met everything.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Met {
    pub(super) acknowledged: u64,
    pub(super) unknown: u64,
    pub(super) refused: u64,
    pub(super) power_cuts: u64,
    pub(super) kills: u64,
    pub(super) failed_opens: u64,
    pub(super) failed_syncs: u64,
    pub(super) cut_bytes: u64,
    pub(super) rewritten_bytes: u64,
    pub(super) segments_passed: u64,
}

impl Met {
    fn counts(&mut self) -> [&mut u64; 10] {
        [
            &mut self.acknowledged,
            &mut self.unknown,
            &mut self.refused,
            &mut self.power_cuts,
            &mut self.kills,
            &mut self.failed_opens,
            &mut self.failed_syncs,
            &mut self.cut_bytes,
            &mut self.rewritten_bytes,
            &mut self.segments_passed,
        ]
    }

    pub(super) fn add(&mut self, other: &Self) {
        let mut other = *other;
        for (count, more) in self.counts().into_iter().zip(other.counts()) {
            *count += *more;
        }
    }

    /// Whether each thing was met at least once.
    pub(super) fn is_everything(mut self) -> bool {
        self.counts().iter().all(|count| **count > 0)
    }
}

/// A machine, its log, and what the log promised.
pub(super) struct World {
    pub(super) random: Random,
    pub(super) storage: Arc<SimStorage>,
    pub(super) config: LogConfig,
    entries: Vec<Entry>,
    next_number: u64,
    follower: Option<Position>,
    pub(super) met: Met,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0xd134_2543_de82_ef95) | 1);
        let segment_bytes = 512 << random.below(4);
        let config = LogConfig {
            segment_bytes,
            budget_bytes: segment_bytes * (8 + random.below(40)),
            commit_bytes_max: 1 + random.below(4096),
            queue_bytes_max: 16 << 10,
            record_bytes_max: 4 * segment_bytes,
            frame_bytes_max: 32 << random.below(5),
            ..LogConfig::default()
        };
        let storage = SimStorage::new(seed);
        let (entries, met) = (Vec::new(), Met::default());
        Self { random, storage, config, entries, next_number: 0, follower: None, met }
    }

    /// One life of the process: opens, appends, and ends in one of the ways a process ends.
    pub(super) fn live(&mut self) {
        let Some(mut log) = self.open() else {
            return;
        };
        let may_stop = self.random.below(2) == 0;
        self.storage.stop_in(may_stop.then_some(self.random.below(90)));
        if self.random.below(2) == 0 {
            self.trouble();
        }
        for _ in 0..self.random.below(12) {
            for _ in 0..1 + self.random.below(4) {
                self.append(&log);
            }
            let failed = log.commit().is_err();
            self.take_answers(&log);
            if failed {
                break;
            }
            if self.random.below(4) == 0 {
                self.follow(&log);
            }
            if self.random.below(6) == 0 {
                self.give_up_segments(&log);
            }
        }
        if self.random.below(4) == 0 {
            // Whether it ends well or not, nothing that was promised is touched.
            drop(log.close());
            self.take_answers(&log);
        }
        self.met.failed_syncs += u64::from(self.storage.sync_failed());
        drop(log);
        self.end_process();
    }

    /// Opens the log and checks what is there; `None` if the machine stopped or failed.
    pub(super) fn open(&mut self) -> Option<OpenLog> {
        for attempt in 0.. {
            if attempt < 3 && self.random.below(3) == 0 {
                self.storage.stop_in(Some(self.random.below(60)));
            }
            if attempt < 3 && self.random.below(4) == 0 {
                self.trouble();
            }
            match OpenLog::new(&self.storage, &self.config) {
                Ok(log) => {
                    self.storage.set_faults(None);
                    self.storage.stop_in(None);
                    if self.storage.is_stopped() {
                        return None;
                    }
                    self.check(&log);
                    return Some(log);
                }
                Err(LogError::Io { .. }) if attempt < 3 => {
                    self.met.failed_opens += 1;
                    self.end_process();
                }
                Err(error) => panic!("cannot open: {error}"),
            }
        }
        None
    }

    fn end_process(&mut self) {
        if self.random.below(2) == 0 {
            self.met.power_cuts += 1;
            self.storage.cut_power();
        } else {
            self.met.kills += 1;
            self.storage.restart();
        }
    }

    /// Calls fail now and then, each in the ways it can.
    fn trouble(&mut self) {
        let mut random = Random(self.random.below(u64::MAX) | 1);
        let rarity = 3 + random.below(60);
        self.storage.set_faults(Some(Box::new(move |call| {
            if random.below(rarity) != 0 {
                return None;
            }
            let ways: &[Fault] = match call {
                Call::Read => &[Fault::Interrupted, Fault::Short, Fault::Short],
                Call::Look | Call::Open | Call::SyncNames | Call::Sync => &[Fault::Error],
                Call::Create | Call::Reserve | Call::Name => &[Fault::Full, Fault::Error],
                Call::Cut => &[Fault::Error],
                Call::Write => &[Fault::Interrupted, Fault::Short, Fault::Full, Fault::Error],
            };
            // A way that the call has not got is no fault this time.
            ways.get(random.below(5) as usize).copied()
        })));
    }

    fn append(&mut self, log: &OpenLog) {
        let small = 3 * u64::from(self.config.frame_bytes_max);
        let large = self.config.record_bytes_max;
        let most = if self.random.below(8) == 0 { large } else { small };
        let len = self.random.below(most);
        let number = self.next_number;
        self.next_number += 1;
        // The number makes even the shortest record differ from every other.
        let mut payload = number.to_le_bytes().to_vec();
        payload.extend(record(number, len as usize));
        payload.truncate(self.config.record_bytes_max as usize);
        self.entries.push(Entry {
            number,
            payload: payload.clone(),
            answer: Answer::Unknown,
            passed: false,
        });
        log.append(number, payload);
    }

    fn take_answers(&mut self, log: &OpenLog) {
        for (number, result, too_late) in log.answers.lock().drain(..) {
            let at = self.entries.iter().rposition(|entry| entry.number == number);
            let entry = &mut self.entries[at.expect("what is answered was appended")];
            assert_eq!(entry.answer, Answer::Unknown, "answered twice");
            entry.answer = match result {
                Ok(position) => {
                    assert!(!too_late, "acknowledged after a failed sync");
                    self.met.acknowledged += 1;
                    Answer::Acknowledged(position)
                }
                Err(AppendError::Failed) => {
                    self.met.unknown += 1;
                    Answer::Unknown
                }
                Err(_) => {
                    self.met.refused += 1;
                    Answer::Refused
                }
            };
        }
    }

    /// The follower reads on, up to what is committed.
    fn follow(&mut self, log: &OpenLog) {
        let committed = log.opened.shared.committed();
        let (records, damages) = match read(disk(&self.storage), self.follower, committed) {
            Ok(found) => found,
            Err(ReadError::Io(_)) if self.storage.is_stopped() || self.storage.has_faults() => {
                return;
            }
            Err(error) => panic!("a follower at {:?} fails: {error}", self.follower),
        };
        if self.storage.is_stopped() {
            return;
        }
        assert_eq!(damages, []);
        let passed = |entry: &&Entry| match (entry.answer, self.follower) {
            (Answer::Acknowledged(at), Some(from)) => at.place() > from.place(),
            (Answer::Acknowledged(_), None) => !entry.passed,
            _ => false,
        };
        let expected = self.entries.iter().filter(passed).map(|entry| entry.payload.as_slice());
        let expected: Vec<&[u8]> = expected.collect();
        let found: Vec<&[u8]> = records.iter().map(|record| record.payload.as_slice()).collect();
        assert!(found.ends_with(&expected), "a follower misses records");
        assert!(self.follower.is_none() || found == expected, "a follower reads more");
        self.follower = Some(committed);
    }

    /// All followers have passed some segments.
    pub(super) fn give_up_segments(&mut self, log: &OpenLog) {
        let Some(passed) = self.follower else {
            return;
        };
        log.opened.shared.truncate_before(passed);
        self.met.segments_passed += 1;
        let mut start = 0;
        for entry in &mut self.entries {
            // A record begins where the one before it ended, or later.
            entry.passed |= start < passed.segment;
            if let Answer::Acknowledged(position) = entry.answer {
                start = position.segment;
                entry.passed |= start < passed.segment;
            }
        }
    }

    /// Compares what is in the log with what it promised.
    fn check(&mut self, log: &OpenLog) {
        let report = &log.opened.report;
        assert_eq!(report.damages, [], "recovery reports damage");
        self.met.cut_bytes += report.cut_bytes;
        self.met.rewritten_bytes += report.rewritten_bytes;
        let disk = disk(&self.storage);
        let (found, damages) = read(disk.clone(), None, report.end).expect("a readable log");
        assert_eq!(damages, [], "the reader reports damage");
        let verified = verify_on(&disk).expect("a readable log");
        assert!(verified.is_sound(), "verify reports {verified:?}");
        self.entries.retain(|entry| entry.answer != Answer::Refused);
        let first = found.first().map_or(self.entries.len(), |first| {
            let same = |entry: &Entry| entry.payload == first.payload;
            self.entries.iter().position(same).expect("what is there was appended")
        });
        assert!(first + found.len() <= self.entries.len(), "more than was appended");
        let lost = |entry: &Entry| matches!(entry.answer, Answer::Acknowledged(_)) && !entry.passed;
        assert!(!self.entries[..first].iter().any(lost), "the first records are lost");
        let end = first + found.len();
        assert!(!self.entries[end..].iter().any(lost), "the last records are lost");
        for (entry, record) in self.entries[first..end].iter_mut().zip(&found) {
            assert_eq!(entry.payload, record.payload, "another record, or another order");
            match entry.answer {
                Answer::Acknowledged(position) => assert_eq!(position, record.position),
                // It was published as committed: from now on it is promised.
                _ => entry.answer = Answer::Acknowledged(record.position),
            }
        }
        self.entries.retain(|entry| matches!(entry.answer, Answer::Acknowledged(_)));
        self.follow(log);
    }
}
