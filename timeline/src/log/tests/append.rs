//! Appending: acknowledgement and limits.

use super::*;

#[test]
fn records_of_every_size_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let lens = [0, 1, 7, 8, 255, 256, 257, 1500, 2048, 5000, 3, 65536, 0, 1984, 1985];
    let written = write(dir.path(), &lens);
    let (records, damages) = read(dir.path(), None, committed(dir.path()));
    assert_eq!(records, written);
    assert_eq!(damages, []);
    assert!(written.is_sorted_by_key(|record| record.position));
    let report = verify(dir.path()).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.records, lens.len() as u64);
    assert_eq!(report.end, Some(written.last().unwrap().position));
}

#[test]
fn records_of_many_threads_are_committed_together() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, _) = open(dir.path());
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let (writer, sender) = (&writer, sender.clone());
            scope.spawn(move || {
                for index in 0..200 {
                    let payload = record(thread * 1000 + index, 40);
                    let (sender, copy) = (sender.clone(), payload.clone());
                    writer.append(payload, move |result| {
                        sender.send(Record { position: result.unwrap(), payload: copy }).unwrap();
                    });
                }
            });
        }
    });
    drop(sender);
    let written: Vec<Record> = receiver.into_iter().collect();
    writer.close();
    let stats = writer.stats();
    assert_eq!((stats.appended_records, stats.appended_bytes), (1600, 64_000));
    assert!(stats.commits < 1600 && stats.commits >= 8, "{stats:?}");
    assert_eq!(stats.queue_bytes, 0);
    let (records, damages) = read(dir.path(), None, committed(dir.path()));
    assert_eq!(records, written);
    assert_eq!(damages, []);
}

#[test]
fn close_commits_what_was_appended() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, _) = open(dir.path());
    let (sender, receiver) = mpsc::channel();
    for number in 0..100 {
        let sender = sender.clone();
        writer.append(record(number, 100), move |result| sender.send(result).unwrap());
    }
    writer.close();
    drop(sender);
    assert_eq!(receiver.iter().filter(Result::is_ok).count(), 100);
    assert_eq!(append(&writer, b"late"), Err(AppendError::Failed));
    assert!(!writer.stats().failed);
}

#[test]
fn a_second_owner_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = open(dir.path());
    assert!(matches!(LogWriter::open(dir.path(), small()), Err(LogError::Owned(_))));
    append(&first, b"unharmed").unwrap();
    first.close();
    let (second, recovery) = open(dir.path());
    assert_eq!(recovery.end, first.committed());
    drop(second);
    open(dir.path());
}

#[test]
fn limits_refuse_and_count() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { queue_bytes_max: 1000, record_bytes_max: 2000, ..small() };
    let (writer, _) = LogWriter::open(dir.path(), config).unwrap();
    assert_eq!(append(&writer, &record(0, 2001)), Err(AppendError::TooLarge));
    // One record alone is let in, however large it is beside the queue's limit.
    append(&writer, &record(1, 2000)).unwrap();
    // It is answered before its bytes leave the queue.
    while writer.stats().queue_bytes > 0 {
        std::thread::yield_now();
    }
    // While a callback holds the writer, the queue fills.
    let (release, held) = mpsc::channel::<()>();
    let (reached, wait) = mpsc::channel();
    writer.append(record(2, 10), move |_| {
        reached.send(()).unwrap();
        held.recv().unwrap();
    });
    wait.recv().unwrap();
    let (sender, receiver) = mpsc::channel();
    for number in 3..6 {
        let sender = sender.clone();
        writer.append(record(number, 450), move |result| sender.send(result.is_ok()).unwrap());
    }
    assert_eq!(receiver.recv(), Ok(false), "1360 bytes do not fit in 1000");
    release.send(()).unwrap();
    assert_eq!((receiver.recv(), receiver.recv()), (Ok(true), Ok(true)));
    let stats = writer.stats();
    assert_eq!((stats.refused_too_large, stats.refused_queue_full), (1, 1));
}

#[test]
fn a_budget_refuses_until_followers_have_passed() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { budget_bytes: 4 * 2048, record_bytes_max: 4096, ..small() };
    let (writer, _) = LogWriter::open(dir.path(), config).unwrap();
    let mut positions = Vec::new();
    let refused = loop {
        match append(&writer, &record(positions.len() as u64, 200)) {
            Ok(position) => positions.push(position),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, AppendError::BudgetExhausted);
    assert_eq!((writer.stats().segments, writer.stats().bytes), (4, 4 * 2048));
    // What needs two segments is refused whole although one would be there.
    let second = positions.iter().find(|position| position.segment == 2).unwrap();
    writer.truncate_before(*second);
    assert_eq!(append(&writer, &record(0, 3000)), Err(AppendError::BudgetExhausted));
    let (before, _) = read(dir.path(), None, writer.committed());
    append(&writer, &record(77, 200)).unwrap();
    let (after, damages) = read(dir.path(), None, writer.committed());
    assert_eq!(after[..before.len()], before[..]);
    assert_eq!((after.len(), damages.len()), (before.len() + 1, 0));
    assert!(before.len() < positions.len());
    // The newest segment stays, whatever followers say.
    writer.truncate_before(writer.committed());
    assert_eq!(writer.stats().segments, 1);
    assert_eq!(writer.stats().removed_segments, 4);
}

#[test]
fn callbacks_may_panic_and_may_hold_the_last_writer() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, _) = open(dir.path());
    writer.append(b"first".to_vec(), |_| panic!("a callback's own fault"));
    append(&writer, b"second").unwrap();
    let (sender, receiver) = mpsc::channel();
    let clone = writer.clone();
    writer.append(b"third".to_vec(), move |result| {
        sender.send(result).unwrap();
        drop(clone);
    });
    drop(writer);
    assert!(receiver.recv().unwrap().is_ok());
}

#[test]
fn configurations_are_checked() {
    let check = |change: fn(&mut LogConfig), expected: &str| {
        let mut config = LogConfig::default();
        assert_eq!(config.check(), Ok(()));
        change(&mut config);
        assert_eq!(config.check().map_err(|error| error.split(' ').next().unwrap()), Err(expected));
    };
    check(|config| config.segment_bytes = 100, "segment_bytes");
    check(|config| config.segment_bytes = 5001, "segment_bytes");
    check(|config| config.budget_bytes = config.segment_bytes, "budget_bytes");
    check(|config| config.frame_bytes_max = 0, "frame_bytes_max");
    check(|config| config.record_bytes_max = 2 << 30, "record_bytes_max");
    check(|config| config.budget_bytes = 2 * config.segment_bytes, "record_bytes_max");
}
