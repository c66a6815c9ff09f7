//! Tests of the log as a whole: writer, crash, recovery and reader on real files.

use std::path::Path;
use std::sync::mpsc;

use super::disk::Disk;
use super::*;

mod append;
mod crash;
mod damage;
mod faults;
mod follow;

pub(super) use crate::disk::sim::Random;

/// Small limits, so that tests meet all of them.
fn small() -> LogConfig {
    LogConfig {
        segment_bytes: 2048,
        budget_bytes: 1 << 20,
        commit_bytes_max: 8192,
        queue_bytes_max: 1 << 20,
        record_bytes_max: 64 << 10,
        frame_bytes_max: 256,
        ..LogConfig::default()
    }
}

fn open(dir: &Path) -> (LogWriter, Recovery) {
    LogWriter::open(dir, small()).unwrap()
}

/// For tests of what is in files, not of how fast it gets there: a directory in memory where the
/// system has one, since some of them sync thousands of times.
fn quick_directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// Appends and waits for the answer.
fn append(writer: &LogWriter, record: &[u8]) -> Result<Position, AppendError> {
    let (sender, receiver) = mpsc::channel();
    writer.append(record.to_vec(), move |result| sender.send(result).unwrap());
    receiver.recv().unwrap()
}

/// A record that differs from every other number's.
pub(super) fn record(number: u64, len: usize) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Writes records of these lengths, each a commit of its own; returns them with their positions.
fn write(dir: &Path, lens: &[usize]) -> Vec<Record> {
    let (writer, _) = open(dir);
    let records = write_to(&writer, lens);
    writer.close();
    records
}

fn write_to(writer: &LogWriter, lens: &[usize]) -> Vec<Record> {
    let numbered = lens.iter().enumerate();
    numbered
        .map(|(number, len)| {
            let payload = record(number as u64, *len);
            let position = append(writer, &payload).unwrap();
            Record { position, payload }
        })
        .collect()
}

fn committed(dir: &Path) -> Position {
    Disk::new(dir).read_committed().unwrap().unwrap().position
}

/// Everything a new reader gets, with small reads.
fn read(dir: &Path, from: Option<Position>, to: Position) -> (Vec<Record>, Vec<Damage>) {
    let mut reader = LogReader::open(dir, from).unwrap();
    let (mut records, mut damages) = (Vec::new(), Vec::new());
    loop {
        match reader.read(to, 700) {
            Ok(some) if some.is_empty() => break,
            Ok(some) => {
                assert_eq!(reader.position(), some.last().unwrap().position);
                records.extend(some);
            }
            Err(ReadError::Corrupt(damage)) => {
                assert_eq!(reader.position(), damage.to);
                damages.push(*damage);
            }
            Err(error) => panic!("{error}"),
        }
    }
    (records, damages)
}

fn payloads(records: &[Record]) -> Vec<&[u8]> {
    records.iter().map(|record| record.payload.as_slice()).collect()
}

/// What a kill or a power cut leaves: the files as they are now.
fn copy(from: &Path) -> tempfile::TempDir {
    let to = quick_directory();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
        }
    }
    to
}

fn segment_path(dir: &Path, number: u64) -> std::path::PathBuf {
    dir.join(segment::name(number))
}

/// Changes a segment's bytes in place.
fn edit(dir: &Path, number: u64, change: impl FnOnce(&mut Vec<u8>)) {
    let path = segment_path(dir, number);
    let mut bytes = std::fs::read(&path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

fn forget_committed(dir: &Path) {
    std::fs::remove_file(dir.join(committed::FILE_NAME)).unwrap();
}
