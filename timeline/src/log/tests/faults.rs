//! Disks that are full, and disks that fail, under the writer's own thread.

use std::sync::Arc;

use super::super::reader::LogReader;
use super::super::sim::{self, Call, Fault, SimStorage};
use super::*;

/// Everything in a simulated log.
fn read_all(storage: &Arc<SimStorage>, to: Position) -> Vec<Record> {
    let mut reader = LogReader::open_on(sim::disk(storage), None).unwrap();
    let records = reader.read(to, u64::MAX).unwrap();
    assert_eq!(reader.read(to, u64::MAX).unwrap(), []);
    records
}

/// The next call of a kind goes wrong, once or always.
fn fail(storage: &SimStorage, which: Call, fault: Fault, always: bool) {
    let mut armed = true;
    storage.set_faults(Some(Box::new(move |call| {
        let hit = armed && call == which;
        armed &= !hit || always;
        hit.then_some(fault)
    })));
}

#[test]
fn a_full_disk_refuses_and_resumes() {
    let storage = SimStorage::new(1);
    let (writer, _) = LogWriter::open_on(sim::disk(&storage), small()).unwrap();
    let mut kept = vec![record(0, 300)];
    append(&writer, &kept[0]).unwrap();
    fail(&storage, Call::Reserve, Fault::Full, true);
    // What needs a new segment is refused, what does not is taken.
    assert_eq!(append(&writer, &record(1, 3000)), Err(AppendError::DiskFull));
    kept.push(record(2, 300));
    append(&writer, &kept[1]).unwrap();
    // A write into the open segment finds the disk full.
    fail(&storage, Call::Write, Fault::Full, false);
    assert_eq!(append(&writer, &record(3, 500)), Err(AppendError::DiskFull));
    // The first write of a commit that begins segments does.
    fail(&storage, Call::Write, Fault::Full, false);
    assert_eq!(append(&writer, &record(4, 5000)), Err(AppendError::DiskFull));
    for (number, len) in [(5, 100), (6, 5000)] {
        kept.push(record(number, len));
        append(&writer, kept.last().unwrap()).unwrap();
    }
    assert_eq!(writer.stats().refused_disk_full, 3);
    assert!(!writer.stats().failed);
    writer.close();
    let (_, recovery) = LogWriter::open_on(sim::disk(&storage), small()).unwrap();
    assert_eq!((recovery.damages.len(), recovery.cut_bytes), (0, 0));
    assert_eq!(payloads(&read_all(&storage, recovery.end)), kept);
    assert!(!storage.contents().keys().any(|name| name.ends_with(".tmp")));
}

#[test]
fn a_failed_sync_or_write_ends_everything() {
    for call in [Call::Sync, Call::Write] {
        let storage = SimStorage::new(2);
        let (writer, _) = LogWriter::open_on(sim::disk(&storage), small()).unwrap();
        let kept = write_to(&writer, &[100, 200, 300]);
        // Records queue up behind one commit, then the next one fails.
        let (release, held) = mpsc::channel::<()>();
        let (reached, wait) = mpsc::channel();
        writer.append(record(3, 10), move |_| {
            reached.send(()).unwrap();
            held.recv().unwrap();
        });
        wait.recv().unwrap();
        fail(&storage, call, Fault::Error, false);
        let (sender, receiver) = mpsc::channel();
        for number in 10..200 {
            let sender = sender.clone();
            writer.append(record(number, 100), move |result| sender.send(result).unwrap());
        }
        drop(sender);
        release.send(()).unwrap();
        let answers: Vec<_> = receiver.into_iter().collect();
        assert_eq!(answers, vec![Err(AppendError::Failed); 190]);
        assert!(writer.stats().failed);
        let committed = writer.committed();
        assert_eq!(append(&writer, b"later"), Err(AppendError::Failed));
        writer.close();
        // What was acknowledged is there; what was not may be, whole.
        let (_, recovery) = LogWriter::open_on(sim::disk(&storage), small()).unwrap();
        assert_eq!(recovery.damages, []);
        assert!(call == Call::Write || recovery.rewritten_bytes > 0, "{recovery:?}");
        let records = read_all(&storage, recovery.end);
        assert_eq!(records[..kept.len()], kept[..]);
        assert_eq!(records[kept.len()].position, committed);
    }
}
