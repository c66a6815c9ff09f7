//! Crashes: what is acknowledged stays, what was torn goes, and nothing is mistaken for the other.

use super::*;

#[test]
fn a_killed_writer_leaves_every_acknowledged_record() {
    let dir = quick_directory();
    let (writer, _) = open(dir.path());
    for number in 0..60 {
        let payload = record(number, (number as usize * 37) % 900);
        append(&writer, &payload).unwrap();
        let crashed = copy(dir.path());
        let (reopened, recovery) = open(crashed.path());
        assert_eq!((recovery.damages.len(), recovery.cut_bytes), (0, 0));
        assert_eq!(recovery.end, writer.committed());
        assert_eq!(recovery.rewritten_bytes, 0);
        let (records, damages) = read(crashed.path(), None, reopened.committed());
        assert_eq!((records.len() as u64, damages.len()), (number + 1, 0));
        assert_eq!(records[number as usize].payload, payload);
    }
}

#[test]
fn every_open_is_an_epoch_and_goes_on_behind_the_last() {
    let dir = quick_directory();
    let mut all = Vec::new();
    for round in 1..6u64 {
        let (writer, recovery) = open(dir.path());
        assert_eq!((recovery.epoch, recovery.created), (round as u32, round == 1));
        // An open that appends nothing changes nothing but the epoch.
        if round == 3 {
            continue;
        }
        for number in 0..3 {
            let payload = record(round * 10 + number, 500);
            let position = append(&writer, &payload).unwrap();
            assert_eq!(position.epoch, round as u32);
            all.push(Record { position, payload });
        }
    }
    let (records, damages) = read(dir.path(), None, committed(dir.path()));
    assert_eq!(records, all);
    assert_eq!(damages, []);
    assert!(verify(dir.path()).unwrap().is_sound());
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_counted() {
    let dir = quick_directory();
    let written = write(dir.path(), &[300, 120, 90, 100, 130]);
    let before = written[1].position;
    let end = written[4].position;
    assert_eq!((before.segment, end.segment), (1, 1));
    for cut in before.offset..end.offset {
        let crashed = copy(dir.path());
        forget_committed(crashed.path());
        edit(crashed.path(), 1, |bytes| bytes.truncate(cut as usize));
        let left = written.iter().filter(|record| record.position.offset <= cut).count();
        let (writer, recovery) = open(crashed.path());
        assert_eq!(recovery.damages, [], "cut at {cut}");
        assert_eq!(recovery.end, written[left - 1].position);
        // Counted up to the last byte that is not zero; a frame's header has up to 11 at its end.
        let torn = cut - recovery.end.offset;
        assert!((torn.saturating_sub(12)..=torn).contains(&recovery.cut_bytes), "cut at {cut}");
        let next = append(&writer, b"next").unwrap();
        let (records, damages) = read(crashed.path(), None, next);
        assert_eq!(records[..left], written[..left]);
        assert_eq!((records.len(), damages.len()), (left + 1, 0));
    }
}

#[test]
fn a_promised_tail_that_is_missing_is_damage() {
    let dir = quick_directory();
    let written = write(dir.path(), &[300, 120, 90, 100, 130]);
    let end = written[4].position;
    for cut in written[1].position.offset..end.offset {
        let crashed = copy(dir.path());
        edit(crashed.path(), 1, |bytes| bytes.truncate(cut as usize));
        let left = written.iter().filter(|record| record.position.offset <= cut).count();
        let (writer, recovery) = open(crashed.path());
        let from = written[left - 1].position;
        assert_eq!((recovery.damages[0].from, recovery.damages[0].to), (from, end), "{cut}");
        assert_eq!(recovery.damages[0].next_sequence, Some(6));
        let next = append(&writer, b"next").unwrap();
        let (records, damages) = read(crashed.path(), None, next);
        assert_eq!(records[..left], written[..left]);
        assert_eq!((records.len(), damages.len()), (left + 1, 1), "{damages:?}");
        assert_eq!((damages[0].from, damages[0].next_sequence), (from, Some(6)));
        // A follower that had read it all goes on undisturbed.
        let (records, damages) = read(crashed.path(), Some(end), next);
        assert_eq!((payloads(&records), damages.len()), (vec![b"next".as_slice()], 0));
    }
}

#[test]
fn a_record_torn_across_segments_is_cut_whole() {
    let dir = quick_directory();
    let (writer, _) = open(dir.path());
    let written = write_to(&writer, &[300, 9000]);
    drop(writer);
    assert!(written[1].position.segment > 4);
    for segment in 2..written[1].position.segment {
        let crashed = copy(dir.path());
        forget_committed(crashed.path());
        for gone in segment + 1..=written[1].position.segment {
            std::fs::remove_file(segment_path(crashed.path(), gone)).unwrap();
        }
        let (writer, recovery) = open(crashed.path());
        assert_eq!((recovery.damages.len(), recovery.end), (0, written[0].position));
        assert!(recovery.cut_bytes > 2000);
        append(&writer, b"next").unwrap();
        let (records, damages) = read(crashed.path(), None, writer.committed());
        assert_eq!(payloads(&records), [&written[0].payload, b"next".as_slice()]);
        assert_eq!(damages, []);
    }
}

/// A power cut keeps any subset of the last commit's sectors, and any version of the file
/// `committed` since the last segment began: the record is there or not, nothing else is touched.
#[test]
fn sectors_of_an_unfinished_commit_may_be_lost_in_any_order() {
    let mut random = Random(11);
    for round in 0..300 {
        let dir = quick_directory();
        let (writer, _) = open(dir.path());
        let mut written: Vec<Record> = Vec::new();
        let mut versions = Vec::new();
        for number in 0..2 + random.below(12) {
            let payload = record(number, random.below(1200) as usize);
            let position = append(&writer, &payload).unwrap();
            let began_segment =
                written.last().is_none_or(|l| l.position.segment != position.segment);
            if began_segment {
                versions.clear();
            }
            versions.push(std::fs::read(dir.path().join(committed::FILE_NAME)).unwrap());
            written.push(Record { position, payload });
        }
        let crashed = copy(dir.path());
        let (last, before) = (&written[written.len() - 1], &written[written.len() - 2]);
        if last.position.segment != before.position.segment {
            continue;
        }
        versions.pop();
        let version = &versions[random.below(versions.len() as u64) as usize];
        std::fs::write(crashed.path().join(committed::FILE_NAME), version).unwrap();
        let range = before.position.offset as usize..last.position.offset as usize;
        let mut harmed = false;
        edit(crashed.path(), last.position.segment, |bytes| {
            for sector in bytes[range].chunks_mut(64) {
                if random.below(3) == 0 {
                    harmed |= sector.iter().any(|byte| *byte != 0);
                    sector.fill(0);
                }
            }
        });
        let (writer, recovery) = open(crashed.path());
        assert_eq!(recovery.damages, [], "round {round}");
        append(&writer, b"next").unwrap();
        let (records, damages) = read(crashed.path(), None, writer.committed());
        assert_eq!(damages, []);
        let kept = written.len() - usize::from(harmed);
        assert_eq!(records[..kept], written[..kept], "round {round}");
        assert_eq!(records.len(), kept + 1, "round {round}");
    }
}

#[test]
fn what_is_not_proved_durable_is_written_again() {
    let dir = quick_directory();
    let (writer, _) = open(dir.path());
    let first = append(&writer, &record(0, 100)).unwrap();
    let old = std::fs::read(dir.path().join(committed::FILE_NAME)).unwrap();
    let second = append(&writer, &record(1, 100)).unwrap();
    let crashed = copy(dir.path());
    std::fs::write(crashed.path().join(committed::FILE_NAME), old).unwrap();
    let (_, recovery) = open(crashed.path());
    assert_eq!(recovery.rewritten_bytes, second.offset - first.offset);
    assert_eq!(recovery.end, second);
}

#[test]
fn unreadable_neighbours_are_refused_untouched() {
    let check = |harm: fn(&Path), expected: fn(&LogError) -> bool| {
        let dir = quick_directory();
        write(dir.path(), &[1500, 1500, 1500]);
        harm(dir.path());
        let before = std::fs::read(segment_path(dir.path(), 2)).unwrap();
        let error = LogWriter::open(dir.path(), small()).err().unwrap();
        assert!(expected(&error), "{error}");
        assert_eq!(std::fs::read(segment_path(dir.path(), 2)).unwrap(), before);
    };
    let newer = |dir: &Path| {
        edit(dir, 2, |bytes| {
            bytes[8] = 99;
            let crc = crc32c::crc32c(&bytes[..60]);
            bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        });
    };
    check(newer, |error| matches!(error, LogError::Version { segment: 2, version: 99 }));
    let mixed = |dir: &Path| {
        let other = quick_directory();
        write(other.path(), &[1500, 1500, 1500]);
        std::fs::copy(segment_path(other.path(), 2), segment_path(dir, 2)).unwrap();
    };
    check(mixed, |error| matches!(error, LogError::OtherLog { segment: 2 }));
    let unreadable = |dir: &Path| {
        forget_committed(dir);
        for number in 1..=3 {
            edit(dir, number, |bytes| bytes[0] ^= 1);
        }
    };
    check(unreadable, |error| matches!(error, LogError::Unreadable));
}

/// Lives of a log: appended to, killed or closed, its unfinished commit torn, opened again. What
/// was acknowledged in any life is read back in order, and each follower's position stays good.
#[test]
fn many_lives() {
    for seed in 1..40 {
        let mut random = Random(seed);
        let mut dir = quick_directory();
        let mut all: Vec<Record> = Vec::new();
        for life in 0..5 {
            let (writer, recovery) = open(dir.path());
            assert_eq!(recovery.damages, [], "seed {seed} life {life}");
            let (found, damages) = read(dir.path(), None, recovery.end);
            assert_eq!(damages, []);
            assert_eq!(found[..all.len()], all, "seed {seed} life {life}");
            assert!(found.len() <= all.len() + 1);
            all = found;
            for number in 0..random.below(9) {
                let payload =
                    record(seed * 1000 + life * 100 + number, random.below(2500) as usize);
                let position = append(&writer, &payload).unwrap();
                all.push(Record { position, payload });
            }
            if let Some(record) = all.get(random.below(all.len().max(1) as u64) as usize) {
                let (rest, damages) = read(dir.path(), Some(record.position), writer.committed());
                let after = all.partition_point(|other| other.position <= record.position);
                assert_eq!((rest.as_slice(), damages.len()), (&all[after..], 0));
            }
            match random.below(3) {
                0 => writer.close(),
                1 => dir = copy(dir.path()),
                _ => {
                    let old = std::fs::read(dir.path().join(committed::FILE_NAME)).unwrap();
                    append(&writer, &record(random.below(99), random.below(1800) as usize))
                        .unwrap();
                    let torn = copy(dir.path());
                    std::fs::write(torn.path().join(committed::FILE_NAME), old).unwrap();
                    let number = writer.committed().segment;
                    // Only a segment that was there before can be torn: a new one is synced
                    // before it gets its name.
                    if all.last().is_some_and(|last| last.position.segment == number) {
                        let from = all[all.len() - 1].position.offset as usize;
                        edit(torn.path(), number, |bytes| {
                            let at = from + random.below(600) as usize;
                            for byte in bytes.iter_mut().skip(at).take(40) {
                                *byte = 0;
                            }
                        });
                    }
                    dir = torn;
                }
            }
        }
    }
}
