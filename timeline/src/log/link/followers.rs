//! Who follows the log, and how far each has passed it. Not a checkpoint: followers keep their
//! own, this only says what may be removed.
//!
//! The file has a line per follower: name, log id, epoch, segment, offset and the checksum of
//! those. A person may delete a line to forget a follower, while the collector is not running.
//!
//! Invariant: what cannot be read holds back removal; it never allows it.

use std::collections::BTreeMap;
use std::io;

use super::super::disk::Disk;
use super::super::position::{LogId, Position};
use super::message;

const FILE_NAME: &str = "followers";
/// Followers at most: each is a process and two threads here; one is usual. They are programs of the
/// operator's own, which no load makes more of, so there is nothing to choose.
pub(super) const FOLLOWERS_MAX: usize = 16;
/// The file's size at most, far beyond that many lines.
const FILE_BYTES_MAX: u64 = 64 << 10;

#[derive(Debug)]
pub(super) struct Followers {
    disk: Disk,
    log_id: LogId,
    positions: BTreeMap<String, Position>,
}

impl Followers {
    pub(super) fn load(disk: Disk, log_id: LogId) -> io::Result<Self> {
        let text = disk.read_text(FILE_NAME, FILE_BYTES_MAX)?.unwrap_or_default();
        let positions = text.lines().filter(|line| !line.trim().is_empty()).map(parse).collect();
        Ok(Self { disk, log_id, positions })
    }

    /// Makes a follower known. False: there are too many.
    pub(super) fn register(&mut self, name: &str) -> io::Result<bool> {
        if self.positions.contains_key(name) {
            return Ok(true);
        }
        if self.positions.len() >= FOLLOWERS_MAX {
            return Ok(false);
        }
        self.positions.insert(name.to_owned(), Position::UNPLACED);
        self.save()?;
        Ok(true)
    }

    /// Takes over how far a follower has passed the log. It may move back: then its store was
    /// lost, and it needs again what is still there.
    pub(super) fn acknowledge(&mut self, name: &str, position: Position) -> io::Result<()> {
        if position.log_id != self.log_id {
            return Ok(());
        }
        let before = self.positions.insert(name.to_owned(), position);
        // Removal goes by segments, so only a change of segment is worth a sync.
        let same = |before: Position| {
            before.segment == position.segment && before.log_id == position.log_id
        };
        if before.is_some_and(same) { Ok(()) } else { self.save() }
    }

    /// What every follower has passed; `None` without followers.
    pub(super) fn passed(&self) -> Option<Position> {
        let known = self.positions.values().map(|position| {
            // A position in another log passed nothing of this one.
            if position.log_id == self.log_id { *position } else { Position::UNPLACED }
        });
        known.min()
    }

    fn save(&self) -> io::Result<()> {
        let lines: String =
            self.positions.iter().map(|(name, position)| line(name, *position) + "\n").collect();
        self.disk.replace_text(FILE_NAME, &lines)
    }
}

fn line(name: &str, position: Position) -> String {
    let Position { log_id, epoch, segment, offset } = position;
    let text = format!("{name} {log_id} {epoch} {segment} {offset}");
    format!("{text} {:08x}", crc32c::crc32c(text.as_bytes()))
}

/// A line that is damaged becomes a follower that passed nothing, under its name if that can
/// still be told, so that its next acknowledgement repairs it.
fn parse(text: &str) -> (String, Position) {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let name =
        fields.first().copied().filter(|name| message::is_name(name)).unwrap_or("unreadable");
    let position = position_of(&fields).filter(|position| line(name, *position) == text.trim());
    if position.is_none() {
        tracing::warn!(name, "a line of the file followers is damaged: no segment is removed");
    }
    (name.to_owned(), position.unwrap_or(Position::UNPLACED))
}

fn position_of(fields: &[&str]) -> Option<Position> {
    let [_, log_id, epoch, segment, offset, _] = fields else {
        return None;
    };
    Some(Position {
        log_id: LogId::parse(log_id)?,
        epoch: epoch.parse().ok()?,
        segment: segment.parse().ok()?,
        offset: offset.parse().ok()?,
    })
}
