//! Bits that rot, files that vanish: reported with their exact range, and nothing else is lost.

use super::*;

/// Records of several kinds in several segments, closed.
fn example(dir: &Path) -> Vec<Record> {
    write(dir, &[40, 200, 300, 700, 0, 90, 100, 1500, 60, 250, 400, 30])
}

/// Whether a damage lies just where the missing records are.
fn check_missing(written: &[Record], records: &[Record], damages: &[Damage]) {
    // The epoch of a segment whose header is damaged can only be guessed.
    let same =
        |a: &Record, b: &Record| a.position.place() == b.position.place() && a.payload == b.payload;
    let is_found = |record: &&Record| records.iter().any(|found| same(record, found));
    let (found, lost): (Vec<&Record>, Vec<&Record>) = written.iter().partition(is_found);
    let in_order = found.len() == records.len()
        && found.iter().zip(records).all(|(expected, found)| same(expected, found));
    assert!(in_order, "{} of {} records, or another order", found.len(), records.len());
    for record in lost {
        let place = record.position.place();
        let covered =
            damages.iter().any(|damage| damage.from.place() < place && place <= damage.to.place());
        assert!(covered, "{} is missing, damages are {damages:?}", record.position);
    }
}

#[test]
fn every_flipped_bit_is_detected_or_harmless() {
    let dir = quick_directory();
    let written = example(dir.path());
    let to = committed(dir.path());
    assert!(to.segment >= 3);
    let mut harmless = 0;
    let mut flips = 0;
    for segment in 1..=to.segment {
        let path = segment_path(dir.path(), segment);
        let sound = std::fs::read(&path).unwrap();
        // Every bit of the headers at the front, then a sample that meets every bit of a byte.
        let bits = (0..1024).chain((1024..sound.len() * 8).step_by(11));
        for bit in bits {
            let mut bytes = sound.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &bytes).unwrap();
            let (records, damages) = read(dir.path(), None, to);
            check_missing(&written, &records, &damages);
            let lost = written.len() - records.len();
            assert!(lost <= 1 && damages.len() <= 1, "segment {segment} bit {bit}: {damages:?}");
            harmless += usize::from(lost == 0);
            flips += 1;
            let report = verify(dir.path()).unwrap();
            assert_eq!(report.records as usize, records.len(), "segment {segment} bit {bit}");
            assert!(lost == 0 || !report.damages.is_empty());
        }
        std::fs::write(&path, &sound).unwrap();
    }
    // Segment headers, padding and unused space.
    assert!(harmless * 3 < flips, "{harmless} of {flips}");
}

#[test]
fn recovery_keeps_what_a_flipped_bit_left() {
    let dir = quick_directory();
    let written = example(dir.path());
    let to = committed(dir.path());
    for knows_committed in [true, false] {
        for segment in 1..=to.segment {
            let sound = std::fs::read(segment_path(dir.path(), segment)).unwrap();
            for bit in (0..sound.len() * 8).step_by(331) {
                let crashed = copy(dir.path());
                edit(crashed.path(), segment, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
                if !knows_committed {
                    forget_committed(crashed.path());
                }
                let (writer, recovery) = open(crashed.path());
                append(&writer, b"next").unwrap();
                let (records, damages) = read(crashed.path(), None, writer.committed());
                assert_eq!(records.last().unwrap().payload, b"next");
                let records = &records[..records.len() - 1];
                let lost = written.len() - records.len();
                assert!(lost <= 1, "segment {segment} bit {bit} {recovery:?}");
                // Without `committed`, damage of the very last record cannot be told from a tear.
                let is_last_there =
                    records.last().map(|record| record.position.place()) == Some(to.place());
                if knows_committed || is_last_there {
                    check_missing(&written, records, &damages);
                }
                let end = if is_last_there { to } else { recovery.end };
                let (rest, damages) = read(crashed.path(), Some(end), writer.committed());
                assert_eq!((payloads(&rest), damages.len()), (vec![b"next".as_slice()], 0));
            }
        }
    }
}

#[test]
fn damage_has_its_exact_range_and_is_set_aside() {
    let dir = quick_directory();
    let written = write(dir.path(), &[100, 100, 100, 100]);
    let at = written[0].position.offset as usize + 60;
    edit(dir.path(), 1, |bytes| bytes[at] ^= 4);
    let expected = Damage {
        from: written[0].position,
        to: written[1].position,
        first_sequence: Some(1),
        next_sequence: Some(2),
    };
    let (records, damages) = read(dir.path(), None, committed(dir.path()));
    assert_eq!(damages, [expected]);
    assert_eq!(records, [&written[..1], &written[2..]].concat());
    assert_eq!(verify(dir.path()).unwrap().damages, [expected]);
    for _ in 0..2 {
        let (_, recovery) = open(dir.path());
        assert_eq!(recovery.damages, [expected]);
        assert_eq!(recovery.set_aside, [1]);
        assert_eq!(recovery.end, written[3].position);
    }
    assert!(dir.path().join("00000000000000000001.log.damaged").exists());
}

#[test]
fn lost_files_are_damage() {
    let check = |gone: &[u64]| {
        let dir = quick_directory();
        let written = example(dir.path());
        let to = committed(dir.path());
        for number in gone {
            std::fs::remove_file(segment_path(dir.path(), *number)).unwrap();
        }
        let (writer, recovery) = open(dir.path());
        assert!(!recovery.damages.is_empty(), "{gone:?}");
        assert!(!verify(dir.path()).unwrap().damages.is_empty());
        append(&writer, b"next").unwrap();
        let from = Position::start_of(to.log_id, 1, 1);
        let (records, damages) =
            read(dir.path(), Some(from).filter(|_| gone != [1]), writer.committed());
        assert_eq!(records.last().unwrap().payload, b"next", "{gone:?}");
        let mut all = written.clone();
        all.push(records.last().unwrap().clone());
        if gone != [1] {
            check_missing(&all, &records, &damages);
        }
        let whole = |record: &&Record| !gone.contains(&record.position.segment);
        assert!(records.len() + 2 > written.iter().filter(whole).count(), "{gone:?}");
    };
    check(&[2]);
    check(&[3]);
    check(&[2, 3]);
}

#[test]
fn without_segments_the_numbers_go_on() {
    let dir = quick_directory();
    let written = example(dir.path());
    let to = written.last().unwrap().position;
    for number in 1..=to.segment {
        std::fs::remove_file(segment_path(dir.path(), number)).unwrap();
    }
    let (writer, recovery) = open(dir.path());
    assert_eq!((recovery.damages.len(), recovery.end), (1, to));
    append(&writer, b"next").unwrap();
    let (records, damages) = read(dir.path(), Some(to), writer.committed());
    assert_eq!(payloads(&records), [b"next"]);
    assert_eq!(damages.len(), 0, "a follower that had read all misses nothing: {damages:?}");
}
