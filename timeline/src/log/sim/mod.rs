//! The real log on a simulated machine: the writer, recovery and the reader run on one thread on
//! files that are lost, torn and full in every way a disk permits, all of it drawn from one seed.
//! Not a model of the log: no line of it is replaced, only the system calls below it.

mod flips;
mod following;
mod lives;
mod lying;
mod sweeps;
mod world;

use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::Disk;
use super::error::{AppendError, LogError};
use super::position::Position;
use super::queue::Pending;
use super::reader::{LogReader, ReadError, Record};
use super::writer::Opened;
use super::{Damage, LogConfig};
pub(super) use crate::disk::sim::{Call, Fault, SimStorage};

/// Where the log lies on a simulated machine.
const DIRECTORY: &str = "/machine/log";

/// The log's directory on a simulated machine.
pub(super) fn disk(storage: &Arc<SimStorage>) -> Disk {
    let storage = Arc::clone(storage);
    Disk::on(storage, Path::new(DIRECTORY))
}

/// What appends were answered, in order; and whether they were acknowledged after a failed sync.
type Answers = Arc<Mutex<Vec<(u64, Result<Position, AppendError>, bool)>>>;

/// A log that is open on a simulated machine, without a thread.
struct OpenLog {
    opened: Opened,
    storage: Arc<SimStorage>,
    answers: Answers,
}

impl OpenLog {
    fn new(storage: &Arc<SimStorage>, config: &LogConfig) -> Result<Self, LogError> {
        let opened = Opened::new(disk(storage), config.clone())?;
        Ok(Self { opened, storage: Arc::clone(storage), answers: Answers::default() })
    }

    fn append(&self, number: u64, record: Vec<u8>) {
        // Some end their segment, by their number.
        let ends_segment = number % 13 == 12;
        let answers = Arc::clone(&self.answers);
        let storage = Arc::clone(&self.storage);
        let done = Box::new(move |result: Result<Position, AppendError>| {
            // A callback's panic would be caught; the answer tells.
            let too_late = result.is_ok() && storage.sync_failed();
            answers.lock().push((number, result, too_late));
        });
        self.opened.shared.append(Pending { record, ends_segment, done });
    }

    /// Commits all that waits; after an error the log has failed, as in the thread.
    fn commit(&mut self) -> io::Result<()> {
        while self.opened.shared.has_waiting() {
            if let Err(error) = self.opened.writer.step() {
                self.opened.shared.fail();
                return Err(error);
            }
        }
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        self.commit()?;
        if self.opened.shared.has_failed() {
            // As the thread does: a writer that failed is never called again.
            return Ok(());
        }
        self.opened.shared.close();
        self.opened.writer.step().map(|_| ())
    }

    /// Appends one record and commits it.
    fn write(&mut self, number: u64, record: &[u8]) -> Result<Position, AppendError> {
        self.append(number, record.to_vec());
        if self.commit().is_err() {
            return Err(AppendError::Failed);
        }
        let (answered, result, _) = self.answers.lock().pop().expect("each append is answered");
        assert_eq!(answered, number);
        result
    }
}

/// Everything from a position on, and the damage met.
fn read(
    disk: Disk,
    from: Option<Position>,
    to: Position,
) -> Result<(Vec<Record>, Vec<Damage>), ReadError> {
    let mut reader = LogReader::open_on(disk, from)?;
    let (mut records, mut damages) = (Vec::new(), Vec::new());
    loop {
        match reader.read(to, 4096) {
            Ok(some) if some.is_empty() => return Ok((records, damages)),
            Ok(some) => records.extend(some),
            Err(ReadError::Corrupt(damage)) => damages.push(*damage),
            Err(error) => return Err(error),
        }
    }
}

/// A log for the simulation of those who follow one.
pub(crate) struct FollowedLog(OpenLog);

impl FollowedLog {
    /// Tiny segments, so that some are passed and removed.
    pub(crate) fn open(storage: &Arc<SimStorage>) -> Result<Self, LogError> {
        let config = LogConfig {
            segment_bytes: 1024,
            budget_bytes: 1 << 20,
            commit_bytes_max: 1024,
            queue_bytes_max: 1 << 20,
            record_bytes_max: 8192,
            frame_bytes_max: 256,
            ..LogConfig::default()
        };
        OpenLog::new(storage, &config).map(Self)
    }

    /// Appends one record and commits it.
    pub(crate) fn write(&mut self, number: u64, record: &[u8]) -> Result<Position, AppendError> {
        self.0.write(number, record)
    }

    /// What is committed behind `from`, in order. There is no damage, since nothing was damaged.
    pub(crate) fn read(&self, from: Option<Position>) -> Result<Vec<Record>, ReadError> {
        let committed = self.0.opened.shared.committed();
        let (records, damages) = read(disk(&self.0.storage), from, committed)?;
        assert_eq!(damages, []);
        Ok(records)
    }

    /// The follower has sealed up to there.
    pub(crate) fn passed(&self, position: Position) {
        self.0.opened.shared.truncate_before(position);
    }
}
