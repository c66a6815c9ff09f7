//! Records that kill the process that reads them.
//!
//! A record may abort the whole process (a stack that overflows, memory that runs out), so no code
//! that runs afterwards in the same process can know of it. Instead the follower writes down which
//! record it is about to take, and a later process that finds the note counts a death against that
//! record. At the third, the record is set aside: passed over, counted, and listed in `losses`.
//!
//! While a suspect lies ahead, records are taken one at a time, so that a death is counted against
//! the one record that caused it and not against the last of a batch.
//!
//! Invariants: a note is written before its record is taken; a process that stops in order leaves
//! none; a `kill -9` from outside counts against whichever record was being taken, which is a
//! different one each time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use ethogram_timeline::log::Position;

/// Two deaths may be coincidence, three at one record are not.
const DEATHS_MAX: u32 = 3;

/// Suspects remembered. A process that dies at ever new records has another illness; the earliest is
/// forgotten then, which costs another death at most.
const SUSPECTS_MAX: usize = 1_000;

/// A place in the log as it is written down: the segment and the offset after the record.
type Place = (u64, u64);

/// What is known of records that may kill.
pub(crate) struct Suspects {
    note: File,
    note_is_set: bool,
    /// Notes cannot be written, and that was said.
    note_fails: bool,
    directory: PathBuf,
    deaths: BTreeMap<Place, u32>,
}

impl Suspects {
    /// Reads what earlier processes left in `directory`, and counts a death where one left a note.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let text = read(&directory.join("suspects"))?;
        let mut deaths: BTreeMap<Place, u32> = text.lines().filter_map(parse_suspect).collect();
        let left = read(&directory.join("taking"))?;
        let died_at = parse_place(left.trim());
        if let Some(place) = died_at {
            *deaths.entry(place).or_default() += 1;
            while deaths.len() > SUSPECTS_MAX {
                deaths.pop_first();
            }
        }
        let note = File::options()
            .create(true)
            .truncate(true)
            .write(true)
            .open(directory.join("taking"))?;
        let suspects = Self {
            note,
            note_is_set: false,
            note_fails: false,
            directory: directory.to_path_buf(),
            deaths,
        };
        if died_at.is_some()
            && let Err(error) = suspects.keep()
        {
            // On a full disk queries must go on; the death may then be forgotten.
            tracing::warn!(%error, "cannot write down which records are suspect");
        }
        Ok(suspects)
    }

    /// Whether a record at or after `position` has a death against it.
    pub(crate) fn lie_ahead_of(&self, position: Option<Position>) -> bool {
        let from = position.map_or((0, 0), place);
        self.deaths.range(from..).next().is_some()
    }

    /// Whether the record that ends at `position` is to be set aside.
    pub(crate) fn is_poison(&self, position: Position) -> bool {
        self.deaths.get(&place(position)).is_some_and(|deaths| *deaths >= DEATHS_MAX)
    }

    /// Writes down that the record that ends at `position` is about to be taken.
    pub(crate) fn take(&mut self, position: Position) {
        let (segment, offset) = place(position);
        self.write_note(&format!("{segment} {offset}\n"));
        self.note_is_set = true;
    }

    /// Writes down that everything taken has been survived.
    pub(crate) fn survived(&mut self) {
        if self.note_is_set {
            self.write_note("");
            self.note_is_set = false;
        }
    }

    /// Forgets suspects before `position`: what is sealed is never taken again.
    pub(crate) fn forget_before(&mut self, position: Position) {
        let ahead = self.deaths.split_off(&place(position));
        if !self.deaths.is_empty() {
            self.deaths = ahead;
            if let Err(error) = self.keep() {
                tracing::warn!(%error, "cannot write down which records are suspect");
            }
        } else {
            self.deaths = ahead;
        }
    }

    /// The note need not survive a power cut, only this process: the page cache is enough.
    fn write_note(&mut self, text: &str) {
        let written = self
            .note
            .set_len(0)
            .and_then(|()| self.note.rewind())
            .and_then(|()| self.note.write_all(text.as_bytes()));
        let failed_before = std::mem::replace(&mut self.note_fails, written.is_err());
        if let Err(error) = written
            && !failed_before
        {
            tracing::warn!(%error, "cannot write down which record is being taken");
        }
    }

    fn keep(&self) -> io::Result<()> {
        let lines = self
            .deaths
            .iter()
            .map(|((segment, offset), deaths)| format!("{segment} {offset} {deaths}\n"));
        let unfinished = self.directory.join("suspects.tmp");
        let mut file = File::create(&unfinished)?;
        file.write_all(lines.collect::<String>().as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&unfinished, self.directory.join("suspects"))
    }
}

fn place(position: Position) -> Place {
    (position.segment, position.offset)
}

fn read(path: &Path) -> io::Result<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other,
    }
}

fn parse_place(text: &str) -> Option<Place> {
    let (segment, offset) = text.split_once(' ')?;
    Some((segment.parse().ok()?, offset.parse().ok()?))
}

fn parse_suspect(line: &str) -> Option<(Place, u32)> {
    let (place, deaths) = line.rsplit_once(' ')?;
    Some((parse_place(place)?, deaths.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use ethogram_timeline::log::LogId;

    use super::*;

    fn at(offset: u64) -> Position {
        Position { log_id: LogId(7), epoch: 1, segment: 1, offset }
    }

    #[test]
    fn three_deaths_at_one_record_set_it_aside() {
        let directory = tempfile::tempdir().expect("a directory");
        for deaths in 0..DEATHS_MAX {
            let mut suspects = Suspects::open(directory.path()).expect("opens");
            assert_eq!(suspects.lie_ahead_of(Some(at(100))), deaths > 0);
            assert!(!suspects.is_poison(at(200)), "after {deaths}");
            suspects.take(at(200));
            // The process dies here: nothing is said to have been survived.
        }
        let mut suspects = Suspects::open(directory.path()).expect("opens");
        assert!(suspects.is_poison(at(200)) && !suspects.is_poison(at(201)));
        assert!(!suspects.lie_ahead_of(Some(at(201))));
        suspects.forget_before(at(300));
        assert!(!suspects.lie_ahead_of(None));
        let again = Suspects::open(directory.path()).expect("opens");
        assert!(!again.is_poison(at(200)) && !again.lie_ahead_of(None));
    }

    #[test]
    fn deaths_at_other_records_and_orderly_stops_do_not_add_up() {
        let directory = tempfile::tempdir().expect("a directory");
        for offset in [10, 20, 30, 40] {
            Suspects::open(directory.path()).expect("opens").take(at(offset));
        }
        let mut suspects = Suspects::open(directory.path()).expect("opens");
        assert!([10, 20, 30, 40].into_iter().all(|offset| !suspects.is_poison(at(offset))));
        suspects.take(at(10));
        suspects.survived();
        let again = Suspects::open(directory.path()).expect("opens");
        assert_eq!(again.deaths[&(1, 10)], 1);
    }
}
