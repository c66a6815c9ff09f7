//! The log over hostile bytes: what is read is what was written, or is reported as damage; and it
//! opens, or says why it cannot.

use std::path::Path;
use std::sync::mpsc;

use ethogram_timeline::log::{LogConfig, LogReader, LogWriter, Position, ReadError, verify};

use super::{WIRE_WORDS, check_memory, words_of};
use crate::harness::mutate::Target;

pub(super) const LOG: LogConfig = LogConfig {
    segment_bytes: 2048,
    budget_bytes: 1 << 20,
    commit_bytes_max: 4096,
    queue_bytes_max: 1 << 16,
    record_bytes_max: 4096,
    frame_bytes_max: 256,
    aside_max: 16,
};

pub(super) fn append(writer: &LogWriter, record: Vec<u8>) -> Position {
    let (sender, receiver) = mpsc::channel();
    writer.append(record, move |result| {
        sender.send(result).ok();
    });
    receiver.recv().expect("an answer").expect("it is on disk")
}

/// What of the log is read, or why no more; each record must be one that was written.
fn read_log(directory: &Path, committed: Position, written: &[Vec<u8>]) -> String {
    let mut reader = match LogReader::open(directory, None) {
        Ok(reader) => reader,
        Err(error) => return words_of(&error.to_string()),
    };
    let (mut records, mut damages) = (0, 0);
    loop {
        match reader.read(committed, 1) {
            Ok(some) if some.is_empty() => return format!("{records} records {damages} damages"),
            Ok(some) => {
                records += some.len();
                assert!(some.iter().all(|record| written.contains(&record.payload)), "altered");
            }
            Err(ReadError::Corrupt(_)) => damages += 1,
            Err(error) => return words_of(&error.to_string()),
        }
    }
}

#[test]
fn files_of_the_log() {
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let directory = directory.expect("a directory");
    let (writer, _) = LogWriter::open(directory.path(), LOG).expect("a new log");
    let written: Vec<Vec<u8>> =
        [9, 300, 0, 700, 40, 64, 1].map(|len| vec![len as u8; len]).to_vec();
    let mut committed = None;
    for record in &written {
        committed = Some(append(&writer, record.clone()));
    }
    let committed = committed.expect("records were written");
    writer.close();
    drop(writer);
    let segment = directory.path().join("00000000000000000001.log");
    let seeds = vec![std::fs::read(&segment).expect("the first segment")];
    let target = Target { name: "log", seeds, words: WIRE_WORDS, inputs: 6_000 };
    target.fuzz(|input| {
        std::fs::write(&segment, input).expect("memory");
        let read = read_log(directory.path(), committed, &written);
        let sound = match verify(directory.path()) {
            Ok(report) => format!("{} {}", report.is_sound(), report.records),
            Err(error) => words_of(&error.to_string()),
        };
        format!("{read}, {sound}")
    });
    check_memory();
}

/// Recovery over hostile bytes: it opens and takes records, or says why it cannot.
#[test]
fn files_of_the_log_at_opening() {
    let original = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let original = original.expect("a directory");
    let (writer, _) = LogWriter::open(original.path(), LOG).expect("a new log");
    append(&writer, vec![7; 500]);
    append(&writer, vec![8; 90]);
    writer.close();
    drop(writer);
    let name = "00000000000000000001.log";
    let seeds = vec![std::fs::read(original.path().join(name)).expect("the first segment")];
    let target = Target { name: "log-opening", seeds, words: WIRE_WORDS, inputs: 200 };
    target.fuzz(|input| {
        let parent = original.path().parent().expect("it has one");
        let copy = tempfile::tempdir_in(parent).expect("a directory");
        std::fs::write(copy.path().join(name), input).expect("memory");
        let committed = std::fs::read(original.path().join("committed")).expect("memory");
        std::fs::write(copy.path().join("committed"), committed).expect("memory");
        match LogWriter::open(copy.path(), LOG) {
            Ok((writer, recovery)) => {
                append(&writer, vec![1; 10]);
                writer.close();
                format!("{} damages, cut {}", recovery.damages.len(), recovery.cut_bytes > 0)
            }
            Err(error) => words_of(&error.to_string()),
        }
    });
}
