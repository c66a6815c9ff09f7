//! Bits that rot in a log of a mebibyte: each is detected or harmless. Not every bit: a sample.

use super::super::segment;
use super::super::tests::{Random, record};
use super::super::verify::verify_on;
use super::*;

/// Flips of each kind of check; a reader is quick, a look at the whole log is not.
const READ_FLIPS: u64 = 20_000;
const WHOLE_FLIPS: u64 = 40;

/// Each flip is looked at through a few segments around it: small ones make that quick.
const SEGMENT_BYTES: u64 = 8192;
const LOG_BYTES: u64 = 1 << 20;

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: SEGMENT_BYTES,
        budget_bytes: 4 << 20,
        commit_bytes_max: 64 << 10,
        queue_bytes_max: 1 << 20,
        record_bytes_max: 64 << 10,
        frame_bytes_max: 1024,
        ..LogConfig::default()
    }
}

/// A log of that size, closed, and its records.
fn example() -> (Arc<SimStorage>, Vec<Record>) {
    let storage = SimStorage::new(3);
    let mut log = OpenLog::new(&storage, &config()).unwrap();
    let mut random = Random(77);
    let mut records: Vec<Record> = Vec::new();
    for number in 0.. {
        let most = if random.below(20) == 0 { 6000 } else { 900 };
        let payload = record(number, random.below(most) as usize);
        let position = log.write(number, &payload).unwrap();
        records.push(Record { position, payload });
        if position.segment > LOG_BYTES / SEGMENT_BYTES {
            break;
        }
    }
    log.close().unwrap();
    (storage, records)
}

/// Flips a bit of a segment.
fn flip(storage: &SimStorage, number: u64, bit: u64) {
    storage.flip(&segment::name(number), bit);
}

/// At most one record is missing, and a damage covers it exactly.
fn check(expected: &[Record], found: &[Record], damages: &[Damage], what: &str) -> bool {
    let is_lost = |record: &&Record| {
        let same = |f: &Record| {
            f.position.place() == record.position.place() && f.payload == record.payload
        };
        !found.iter().any(same)
    };
    let lost: Vec<&Record> = expected.iter().filter(is_lost).collect();
    assert_eq!(found.len() + lost.len(), expected.len(), "{what}: something is invented");
    assert!(lost.len() <= 1 && damages.len() <= 1, "{what}: {damages:?}");
    for record in &lost {
        let place = record.position.place();
        let covers = |damage: &Damage| damage.from.place() < place && place <= damage.to.place();
        assert!(damages.iter().any(covers), "{what}: unreported, {damages:?}");
    }
    lost.is_empty()
}

#[test]
fn every_flipped_bit_is_detected_or_harmless() {
    let (storage, records) = example();
    let newest = records.last().unwrap().position.segment;
    let mut random = Random(5);
    let mut harmless = 0;
    for _ in 0..READ_FLIPS {
        let number = 1 + random.below(newest);
        let bits = storage.bytes(&segment::name(number)) * 8;
        let bit = random.below(bits);
        flip(&storage, number, bit);
        // From before the flipped segment to behind it; the rest cannot know of it.
        let from = records.partition_point(|record| record.position.segment + 1 < number);
        let to = records.partition_point(|record| record.position.segment <= number + 1);
        let start = from.checked_sub(1).map(|before| records[before].position);
        let (found, damages) = read(disk(&storage), start, records[to - 1].position).unwrap();
        let what = format!("segment {number} bit {bit}");
        harmless += u64::from(check(&records[from..to], &found, &damages, &what));
        flip(&storage, number, bit);
    }
    assert!(harmless * 5 < READ_FLIPS, "{harmless} harmless flips");
}

#[test]
fn the_whole_log_is_verified_and_opened_with_a_flipped_bit() {
    let (storage, records) = example();
    let newest = records.last().unwrap().position.segment;
    let mut random = Random(6);
    for round in 0..WHOLE_FLIPS {
        // Every other one where an opening looks closely.
        let number = if round % 2 == 0 { 1 + random.below(newest) } else { newest };
        let bit = random.below(storage.bytes(&segment::name(number)) * 8);
        let storage = storage.copy(round);
        flip(&storage, number, bit);
        let what = format!("segment {number} bit {bit}");
        let report = verify_on(&disk(&storage)).unwrap();
        let mut log = OpenLog::new(&storage, &config()).unwrap();
        assert!(log.write(9_999_999, b"next").is_ok(), "{what}");
        let to = log.opened.shared.committed();
        let (mut found, damages) = read(disk(&storage), None, to).unwrap();
        assert_eq!(found.pop().unwrap().payload, b"next", "{what}");
        let is_harmless = check(&records, &found, &damages, &what);
        assert!(is_harmless || !report.is_sound(), "{what}");
        assert_eq!(report.records as usize, found.len(), "{what}");
    }
}
