//! The write-ahead log: the only thing between the collector process and the query process.
//!
//! **Promise.** When [`LogWriter::append`] calls back with a [`Position`], the record is on this
//! machine's disk (`fdatasync` returned). After any crash or power cut of a disk that honours
//! flush, every such record is read back, whole and once. What is lost nevertheless (a disk that
//! lies, bits that rot, files that vanish) is reported as a [`Damage`] with its exact range, never
//! skipped silently, unless it stood behind everything that the disk still knows of.
//!
//! **Format.** A directory of segments, `00000000000000000001.log` and so on. A segment is a
//! 64-byte header (`segment`) and frames (`frame`); a record is one or more frames, and may
//! span segments. Beside them: `lock` (one owner), `committed` (64 bytes, the newest committed
//! position), `committed.sock` and `followers` (see [`link`]), `*.tmp` (a segment that has no
//! committed byte yet) and `*.damaged` (a segment set aside for a person to look at).
//!
//! **Invariants.**
//! * One writer: `lock` is held by flock for as long as the [`LogWriter`] lives.
//! * Frames are numbered without gaps; each carries the checksum of the one before it. A frame's
//!   checksum is seeded with the log's random id and the segment's number, so that neither bytes
//!   of another log nor a record's content can pass for a frame.
//! * A segment gets its name only after the bytes of the segment before it, and its own first
//!   ones, are durable. So only the newest segment can hold bytes that are not.
//! * A frame says which frames were durable before its commit began. So recovery can tell a torn
//!   tail (never acknowledged: cut) from damage (acknowledged: reported) without a clock.
//! * Every open that appends starts a new segment and a new epoch; nothing is written behind a
//!   tail that was found at opening.
//! * A failed write or fdatasync ends the writer for good: after it the page cache proves nothing.
//!
//! **It is not** a queue with consumers (followers keep their own positions), not a store of
//! rows (it does not know what a record holds), and it never deduplicates.

mod committed;
mod config;
mod damage;
mod disk;
mod error;
mod frame;
mod layout;
pub mod link;
mod position;
mod queue;
mod reader;
mod recovery;
mod scan;
mod segment;
mod stats;
mod survey;
mod verify;
mod writer;

#[cfg(test)]
pub(crate) mod sim;
#[cfg(test)]
mod tests;

pub use config::LogConfig;
pub use damage::Damage;
pub use error::{AppendError, LogError};
pub use position::{LogId, Position};
pub use reader::{LogReader, ReadError, Record};
pub use recovery::Recovery;
pub use stats::LogStats;
pub use verify::{VerifyReport, verify};
pub use writer::LogWriter;
