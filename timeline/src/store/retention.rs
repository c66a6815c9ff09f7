//! Which files have been kept long enough.
//!
//! Signals: the latest receive time of a file's rows, and the size of all files together.
//! Conditions: a file is let go when its newest row is older than [`Config::retain_days`], or when
//! the files are larger than [`Config::retain_bytes`] and it is the oldest. It is decided at a seal,
//! so that the manifest stops naming a file in the same step.

use std::sync::Arc;

use super::{Config, Part};
use crate::schema::Time;

/// Nanoseconds in a day.
const DAY_NS: i64 = 24 * 60 * 60 * 1_000_000_000;

/// The files to let go at log time `now`.
pub(super) fn expired(config: &Config, mut parts: Vec<Arc<Part>>, now: Time) -> Vec<Arc<Part>> {
    let oldest_ns = now.0.saturating_sub(i64::from(config.retain_days).saturating_mul(DAY_NS));
    parts.sort_by_key(|part| part.received_ns_max);
    let mut bytes: u64 = parts.iter().map(|part| part.bytes).sum();
    parts.retain(|part| {
        let goes = part.received_ns_max < oldest_ns || bytes > config.retain_bytes;
        if goes {
            bytes -= part.bytes;
        }
        goes
    });
    parts
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::AtomicBool;

    use super::super::directory::Directory;
    use super::*;
    use crate::disk::RealStorage;

    fn check(retain_days: u32, retain_bytes: u64, expected: &[i64]) {
        let folder = tempfile::tempdir().expect("a directory");
        let directory = Directory::create(Arc::new(RealStorage::new()), folder.path());
        let directory = Arc::new(directory.expect("it can be made"));
        let part = |day: i64| {
            Arc::new(Part {
                path: PathBuf::new(),
                file: String::new(),
                directory: Arc::clone(&directory),
                bytes: 100,
                rows: 1,
                row_group_rows: vec![1],
                received_ns_min: day * DAY_NS,
                received_ns_max: day * DAY_NS,
                doomed: AtomicBool::new(false),
                unreadable: AtomicBool::new(false),
            })
        };
        let config = Config { retain_days, retain_bytes, ..Config::default() };
        let expired = expired(&config, [3, 1, 2, 9].map(part).to_vec(), Time(10 * DAY_NS));
        let days: Vec<i64> = expired.iter().map(|part| part.received_ns_max / DAY_NS).collect();
        assert_eq!(days, expected);
    }

    #[test]
    fn the_old_go_and_the_oldest_go_first() {
        check(30, 1_000, &[]);
        check(8, 1_000, &[1]);
        check(30, 250, &[1, 2]);
        check(7, 250, &[1, 2]);
        check(0, 0, &[1, 2, 3, 9]);
    }
}
