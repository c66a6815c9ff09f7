//! Following: resuming, reading beside the writer, positions that the log does not have.

use super::*;

#[test]
fn a_reader_resumes_from_every_position() {
    let dir = tempfile::tempdir().unwrap();
    let mut written = Vec::new();
    for _ in 0..3 {
        written.extend(write(dir.path(), &[300, 700, 0, 2500, 64, 1700]));
    }
    let to = committed(dir.path());
    for (index, record) in written.iter().enumerate() {
        let (rest, damages) = read(dir.path(), Some(record.position), to);
        assert_eq!(rest, written[index + 1..], "from {}", record.position);
        assert_eq!(damages, []);
        // Nothing is read beyond what is committed.
        let (head, damages) = read(dir.path(), None, record.position);
        assert_eq!((head.as_slice(), damages.len()), (&written[..=index], 0));
    }
}

#[test]
fn a_reader_beside_the_writer_reads_each_byte_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut reader = LogReader::open(dir.path(), None).unwrap();
    let before = reader.position();
    let (writer, _) = open(dir.path());
    assert_eq!(reader.read(writer.committed(), 1).unwrap(), []);
    assert_eq!(reader.position(), before);
    assert!(LogReader::open(dir.path(), Some(before)).is_ok());
    let writing = writer.clone();
    let thread = std::thread::spawn(move || {
        let lens: Vec<usize> = (0..400).map(|n| [30, 500, 0, 3000, 100][n % 5]).collect();
        write_to(&writing, &lens)
    });
    let mut records: Vec<Record> = Vec::new();
    let mut seen = writer.committed();
    while records.len() < 400 {
        seen = writer.wait_committed(seen, std::time::Duration::from_secs(5));
        let some = reader.read(seen, 2000).unwrap();
        records.extend(some);
    }
    assert_eq!(records, thread.join().unwrap());
    assert_eq!(reader.position(), writer.committed());
    writer.close();
    let sizes = Disk::new(dir.path()).segments().unwrap();
    let bytes: u64 =
        sizes.iter().map(|n| segment_path(dir.path(), *n).metadata().unwrap().len()).sum();
    assert!(reader.bytes_read() <= bytes, "{} of {bytes}", reader.bytes_read());
    assert!(reader.bytes_read() + 80 * sizes.len() as u64 >= bytes);
}

#[test]
fn a_log_may_begin_within_a_record() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, _) = open(dir.path());
    let written = write_to(&writer, &[500, 6000, 100, 200]);
    writer.truncate_before(Position { segment: 3, ..writer.committed() });
    let (records, damages) = read(dir.path(), None, writer.committed());
    assert_eq!(records, written[2..]);
    assert_eq!(damages, []);
    writer.close();
    let report = verify(dir.path()).unwrap();
    assert!(report.is_sound() && report.records == 2, "{report:?}");
    let (_, recovery) = open(dir.path());
    assert_eq!((recovery.damages.len(), recovery.end), (0, written[3].position));
}

#[test]
fn positions_that_the_log_does_not_have() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, _) = open(dir.path());
    let written = write_to(&writer, &[1000, 1000, 1000, 1000, 1000]);
    let to = writer.committed();
    writer.truncate_before(Position { segment: 2, ..to });
    let removed = LogReader::open(dir.path(), Some(written[0].position));
    assert!(matches!(removed, Err(ReadError::Removed { wanted: 1, oldest: 2 })));
    let other = Position { log_id: LogId(5), ..to };
    assert!(matches!(LogReader::open(dir.path(), Some(other)), Err(ReadError::OtherLog { .. })));
    let mut reader = LogReader::open(dir.path(), Some(to)).unwrap();
    assert!(matches!(reader.read(other, 1), Err(ReadError::OtherLog { .. })));
    let ahead = Position { epoch: 9, offset: to.offset, ..to };
    let mut reader = LogReader::open(dir.path(), Some(ahead)).unwrap();
    append(&writer, b"next").unwrap();
    let error = reader.read(writer.committed(), 1).unwrap_err();
    assert!(matches!(error, ReadError::Ahead { found: 1, .. }), "{error}");
}

/// A disk that lied: the follower read what the log lost, and the writer went on elsewhere.
#[test]
fn a_segment_written_anew_is_read_from_its_start() {
    let dir = tempfile::tempdir().unwrap();
    let first = write(dir.path(), &[1900]);
    let crashed = copy(dir.path());
    let (lost, _) = open(dir.path());
    let follower = write_to(&lost, &[100, 200]).pop().unwrap().position;
    let (writer, _) = open(crashed.path());
    writer.close();
    let (writer, _) = open(crashed.path());
    let written = write_to(&writer, &[50, 60, 70]);
    assert_eq!(written[0].position.segment, follower.segment);
    let (records, damages) = read(crashed.path(), Some(follower), writer.committed());
    assert_eq!((records, damages.len()), (written, 0));
    assert!(first[0].position < follower);
}

#[test]
fn memory_for_a_read_is_what_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[100; 50]);
    let mut reader = LogReader::open(dir.path(), None).unwrap();
    let to = committed(dir.path());
    assert_eq!(reader.read(to, 0).unwrap().len(), 1);
    assert_eq!(reader.read(to, 250).unwrap().len(), 3);
    assert_eq!(reader.read(to, u64::MAX).unwrap().len(), 46);
    assert_eq!(reader.read(to, 1).unwrap().len(), 0);
}
