//! Disks that are full, and disks that fail.

use std::sync::atomic::Ordering;

use super::*;

#[test]
fn a_full_disk_refuses_and_resumes() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(dir.path());
    let (writer, _) = LogWriter::open_on(disk.clone(), small()).unwrap();
    let mut kept = vec![record(0, 300)];
    append(&writer, &kept[0]).unwrap();
    disk.faults.create_full.store(true, Ordering::SeqCst);
    // What needs a new segment is refused, what does not is taken.
    assert_eq!(append(&writer, &record(1, 3000)), Err(AppendError::DiskFull));
    kept.push(record(2, 300));
    append(&writer, &kept[1]).unwrap();
    disk.faults.create_full.store(false, Ordering::SeqCst);
    // A write into the open segment finds the disk full.
    disk.faults.write_full.store(true, Ordering::SeqCst);
    assert_eq!(append(&writer, &record(3, 500)), Err(AppendError::DiskFull));
    // The first write of a commit that begins segments does.
    disk.faults.write_full.store(true, Ordering::SeqCst);
    assert_eq!(append(&writer, &record(4, 5000)), Err(AppendError::DiskFull));
    for (number, len) in [(5, 100), (6, 5000)] {
        kept.push(record(number, len));
        append(&writer, kept.last().unwrap()).unwrap();
    }
    assert_eq!(writer.stats().refused_disk_full, 3);
    assert!(!writer.stats().failed);
    writer.close();
    let (_, recovery) = open(dir.path());
    assert_eq!((recovery.damages.len(), recovery.cut_bytes), (0, 0));
    let (records, damages) = read(dir.path(), None, committed(dir.path()));
    assert_eq!(payloads(&records), kept);
    assert_eq!(damages, []);
    let unnamed = std::fs::read_dir(dir.path()).unwrap();
    assert!(
        !unnamed.into_iter().any(|e| e.unwrap().path().extension().is_some_and(|e| e == "tmp"))
    );
}

#[test]
fn a_failed_sync_or_write_ends_everything() {
    for write_fails in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path());
        let (writer, _) = LogWriter::open_on(disk.clone(), small()).unwrap();
        let kept = write_to(&writer, &[100, 200, 300]);
        // Records queue up behind one commit, then the next one fails.
        let (release, held) = mpsc::channel::<()>();
        let (reached, wait) = mpsc::channel();
        writer.append(record(3, 10), move |_| {
            reached.send(()).unwrap();
            held.recv().unwrap();
        });
        wait.recv().unwrap();
        let fault = if write_fails { &disk.faults.write_fails } else { &disk.faults.sync_fails };
        fault.store(true, Ordering::SeqCst);
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
        let (_, recovery) = open(dir.path());
        assert_eq!(recovery.damages, []);
        assert!(write_fails || recovery.rewritten_bytes > 0, "{recovery:?}");
        let (records, damages) = read(dir.path(), None, recovery.end);
        assert_eq!(records[..kept.len()], kept[..]);
        assert_eq!(records[kept.len()].position, committed);
        assert_eq!(damages, []);
    }
}
