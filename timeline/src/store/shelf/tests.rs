//! The shelf against a map: whatever is put, kept, lost and reopened, the newest entry is found.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::{FileShelf, Limits, Mark};
use crate::disk::Storage;
use crate::disk::sim::{Call, Fault, SimStorage};
use crate::join::{Shelf, print};
use crate::schema::Time;
use crate::store::directory::Directory;

const HOUR_NS: i64 = 3_600_000_000_000;

fn limits() -> Limits {
    Limits { chunk_bytes: 300, segment_bytes: 1_500, ..Limits::new(24 * 3_600, 1 << 30) }
}

fn open(directory: &Path, mark: Mark) -> FileShelf {
    FileShelf::at(directory, limits(), mark)
}

fn files(directory: &Path) -> usize {
    std::fs::read_dir(directory).expect("listable").count()
}

#[derive(Clone, Debug)]
enum Step {
    Put(u64, usize),
    Mark,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        20 => (0_u64..60, 1_usize..200).prop_map(|(key, length)| Step::Put(key, length)),
        2 => Just(Step::Mark),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..150)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_newest_entry_is_found(steps in steps()) {
        let directory = tempfile::tempdir().expect("a directory");
        let mut shelf = open(directory.path(), Mark::default());
        let mut held: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let mut kept = (shelf.mark().0, held.clone());
        for (at, step) in steps.iter().enumerate() {
            match step {
                Step::Put(key, length) => {
                    let entry = vec![at as u8; *length];
                    shelf.put(Time(at as i64), &[print(key), print(&(key, 1))], &entry);
                    held.insert(*key, entry);
                }
                Step::Mark => {
                    let (mark, files) = shelf.mark();
                    shelf.finish(&files);
                    kept = (mark, held.clone());
                }
                Step::Crash => {
                    shelf = open(directory.path(), kept.0.clone());
                    held = kept.1.clone();
                }
            }
            for key in 0..60 {
                let found = shelf.get(Time(at as i64), print(&key));
                prop_assert_eq!(found.as_ref(), held.get(&key));
                prop_assert_eq!(&shelf.get(Time(at as i64), print(&(key, 1))), &found);
            }
        }
    }
}

fn filled(shelf: &mut FileShelf, hours: std::ops::Range<i64>) {
    for hour in hours {
        for number in 0..10_i64 {
            let entry = print(&(hour, number)).to_le_bytes().repeat(20);
            shelf.put(Time(hour * HOUR_NS), &[print(&(hour, number, 0))], &entry);
        }
    }
}

#[test]
fn the_old_and_what_is_over_the_limit_go_but_not_before_a_checkpoint() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut shelf = open(directory.path(), Mark::default());
    filled(&mut shelf, 0..20);
    let (mark, kept) = shelf.mark();
    shelf.finish(&kept);
    let before = files(directory.path());
    filled(&mut shelf, 20..60);
    let of =
        |shelf: &mut FileShelf, hour: i64| shelf.get(Time(60 * HOUR_NS), print(&(hour, 5_i64, 0)));
    assert!(of(&mut shelf, 50).is_some());
    assert!(of(&mut shelf, 30).is_none(), "it is more than a day old");
    // A crash now goes back to the mark, so what it names is still there.
    assert!(files(directory.path()) > before);
    let mut again = open(directory.path(), mark);
    let old = again.get(Time(20 * HOUR_NS), print(&(1_i64, 5_i64, 0)));
    assert_eq!(old, Some(print(&(1_i64, 5_i64)).to_le_bytes().repeat(20)));
    filled(&mut again, 20..60);
    let (_, kept) = again.mark();
    again.finish(&kept);
    assert!(files(directory.path()) < 60, "outdated files are gone");

    let small = Limits { bytes_max: 4_000, ..limits() };
    let directory = tempfile::tempdir().expect("a directory");
    let mut shelf = FileShelf::at(directory.path(), small, Mark::default());
    filled(&mut shelf, 0..40);
    assert!(shelf.bytes() <= 4_000 + 2 * small.segment_bytes, "{}", shelf.bytes());
    assert!(of(&mut shelf, 39).is_some());
}

#[test]
fn a_lost_file_costs_what_it_held() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut shelf = open(directory.path(), Mark::default());
    filled(&mut shelf, 0..10);
    let (mark, kept) = shelf.mark();
    shelf.finish(&kept);
    drop(shelf);
    std::fs::remove_file(directory.path().join(super::segment::name(0))).expect("removable");
    let mut shelf = open(directory.path(), mark.clone());
    assert!(shelf.get(Time(0), print(&(0_i64, 0_i64, 0))).is_none());
    assert!(shelf.get(Time(0), print(&(9_i64, 0_i64, 0))).is_some());
    // A flipped bit is an entry that cannot be read, not a wrong one.
    let path = directory.path().join(super::segment::name(1));
    let mut bytes = std::fs::read(&path).expect("readable");
    bytes[40] ^= 1;
    std::fs::write(&path, bytes).expect("writable");
    let mut shelf = open(directory.path(), mark);
    filled(&mut shelf, 10..11);
    for (hour, number) in (0..10).flat_map(|hour| (0..10).map(move |number| (hour, number))) {
        if let Some(entry) = shelf.get(Time(0), print(&(hour, number, 0))) {
            assert_eq!(entry, print(&(hour, number)).to_le_bytes().repeat(20));
        }
    }
}

#[test]
fn what_is_lost_is_remembered_until_it_is_listed() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut shelf = open(directory.path(), Mark::default());
    filled(&mut shelf, 0..10);
    let (mark, kept) = shelf.mark();
    shelf.finish(&kept);
    drop(shelf);
    let last = mark.segments.last().expect("some segments");
    assert!(mark.segments.len() > 2);
    std::fs::remove_file(directory.path().join(super::segment::name(0))).expect("removable");
    // By its header's word four gigabytes of prints follow.
    let path = directory.path().join(super::segment::name(last.number));
    let mut bytes = std::fs::read(&path).expect("readable");
    bytes[0..4].copy_from_slice(&u32::MAX.to_le_bytes());
    bytes[4..8].copy_from_slice(&(u32::MAX / 12).to_le_bytes());
    std::fs::write(&path, bytes).expect("writable");
    let shelf = open(directory.path(), mark);
    let (again, _) = shelf.mark();
    let lost = shelf.take_losses();
    assert_eq!(lost.len(), 2, "{lost:?}");
    assert!(lost[0].contains("00000000.shelf"), "{lost:?}");
    assert_eq!(shelf.take_losses(), Vec::<String>::new());
    // A checkpoint of before it was listed knows it still, one of afterwards does not.
    let (listed, _) = shelf.mark();
    assert_eq!(open(directory.path(), again).take_losses(), lost);
    assert_eq!(open(directory.path(), listed).take_losses(), Vec::<String>::new());
}

/// A shelf on a simulated machine, and its directory.
fn simulated(storage: &Arc<SimStorage>, mark: Mark) -> (Arc<Directory>, FileShelf) {
    let storage: Arc<dyn Storage> = Arc::<SimStorage>::clone(storage);
    let directory = Directory::create(storage, Path::new("/machine/shelf")).expect("a directory");
    let directory = Arc::new(directory);
    let shelf = FileShelf::open(&directory, limits(), mark).expect("opens");
    (directory, shelf)
}

#[test]
fn a_file_whose_sync_failed_is_left_for_another() {
    for seed in 0..20 {
        let storage = SimStorage::new(seed);
        let (directory, mut shelf) = simulated(&storage, Mark::default());
        filled(&mut shelf, 0..3);
        let (_, files) = shelf.mark();
        storage.set_faults(Some(Box::new(|call| (call == Call::Sync).then_some(Fault::Error))));
        assert!(files.sync().is_err());
        storage.set_faults(None);
        // The machine would say now that they are durable, and they are not.
        assert!(files.sync().is_err());
        filled(&mut shelf, 3..4);
        let (mark, files) = shelf.mark();
        files.sync().expect("another file is synced");
        directory.sync().expect("names are synced");
        shelf.finish(&files);
        assert_eq!(shelf.take_losses(), Vec::<String>::new());
        storage.cut_power();
        let (_, mut shelf) = simulated(&storage, mark);
        for (hour, number) in (0..4_i64).flat_map(|hour| (0..10_i64).map(move |at| (hour, at))) {
            let found = shelf.get(Time(4 * HOUR_NS), print(&(hour, number, 0)));
            let expected = print(&(hour, number)).to_le_bytes().repeat(20);
            assert_eq!(found, Some(expected), "seed {seed}: {number} of {hour}");
        }
    }
}

#[test]
fn a_number_whose_file_cannot_be_removed_is_not_taken_again() {
    let storage = SimStorage::new(1);
    let (directory, mut shelf) = simulated(&storage, Mark::default());
    filled(&mut shelf, 0..1);
    assert!(directory.names().expect("listable").contains(&super::segment::name(0)));
    storage.restart();
    storage.set_faults(Some(Box::new(|call| (call == Call::Name).then_some(Fault::Error))));
    let mut shelf = FileShelf::open(&directory, limits(), Mark::default()).expect("opens");
    storage.set_faults(None);
    filled(&mut shelf, 0..1);
    directory.remove_again();
    let (mark, _) = shelf.mark();
    for segment in &mark.segments {
        let name = super::segment::name(segment.number);
        assert!(directory.names().expect("listable").contains(&name), "{name} was removed");
    }
    assert!(!mark.segments.is_empty());
}

#[test]
fn what_is_erased_leaves_the_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut shelf = open(directory.path(), Mark::default());
    let key = |number: i64| print(&number);
    for number in 0..60 {
        let whose = if number % 3 == 0 { "erased-one" } else { "somebody-else" };
        let entry = format!("{number} of {whose}, {}", "x".repeat(40));
        shelf.put(Time(number), &[key(number), key(number + 1_000)], entry.as_bytes());
    }
    let (_, files) = shelf.mark();
    shelf.finish(&files);
    let erase = |shelf: &FileShelf| {
        let rewritten = shelf.search().run(&["erased-one"]);
        assert!(!rewritten.is_partial(), "it searches");
        shelf.replace(rewritten);
        let (mark, files) = shelf.mark();
        shelf.finish(&files);
        mark
    };
    let mark = erase(&shelf);
    let check = |shelf: &mut FileShelf| {
        for number in 0..60 {
            for print in [key(number), key(number + 1_000)] {
                let found = shelf.get(Time(60), print);
                assert_eq!(found.is_some(), number % 3 != 0, "{number}");
                let own = format!("{number} of ").into_bytes();
                assert!(found.is_none_or(|found| found.starts_with(&own)), "{number}");
            }
        }
    };
    check(&mut shelf);
    let mut again = open(directory.path(), mark);
    check(&mut again);
    for number in 0..again.inner().next {
        let path = directory.path().join(super::segment::name(number));
        let Ok(bytes) = std::fs::read(path) else { continue };
        assert!(!texts(&bytes).contains("erased-one"), "segment {number}");
    }
    // What was said of an erased one before it named anybody is not found either.
    again.put(Time(60), &[key(8_000)], b"a server's side");
    again.put(Time(60), &[key(8_000)], b"the same of erased-one");
    erase(&again);
    assert_eq!(again.get(Time(60), key(8_000)), None);
    // What is put later is found, and a second erasure has nothing left to do.
    again.put(Time(61), &[key(9_000)], b"later");
    erase(&again);
    assert_eq!(again.get(Time(61), key(9_000)).as_deref(), Some(&b"later"[..]));
    check(&mut again);
}

#[test]
fn a_segment_that_fails_holds_up_no_other() {
    let storage = SimStorage::new(1);
    let (_, mut shelf) = simulated(&storage, Mark::default());
    let key = |number: i64| print(&number);
    for number in 0..60 {
        // Digits that hardly compress, so that there are several segments.
        let entry = format!("erased-one {:?}", [0, 1, 2, 3, 4, 5].map(|at| print(&(number, at))));
        shelf.put(Time(number), &[key(number)], entry.as_bytes());
    }
    let search = shelf.search();
    let segments = shelf.inner().segments.len();
    assert!(segments > 2, "{segments}");
    let mut reads = 0;
    storage.set_faults(Some(Box::new(move |call| {
        reads += u64::from(call == Call::Read);
        (call == Call::Read && reads == 1).then_some(Fault::Error)
    })));
    let mut rewritten = search.run(&["erased-one"]);
    storage.set_faults(None);
    assert!(rewritten.is_partial() && rewritten.take_failure().is_some());
    let unread = shelf.inner().segments[0].mark().number;
    shelf.replace(rewritten);
    let standing = (0..60).filter(|number| shelf.get(Time(60), key(*number)).is_some()).count();
    assert!(0 < standing && standing < 30, "of the first alone: {standing}");
    assert_eq!(shelf.inner().segments[0].mark().number, unread, "it stays as it is");
    let rewritten = shelf.search().run(&["erased-one"]);
    assert!(!rewritten.is_partial());
    shelf.replace(rewritten);
    assert!((0..60).all(|number| shelf.get(Time(60), key(number)).is_none()));
}

#[test]
fn a_full_disk_is_known_as_one() {
    let storage = SimStorage::new(1);
    let (_, mut shelf) = simulated(&storage, Mark::default());
    filled(&mut shelf, 0..3);
    let fail = |fault: fn(Call) -> Option<Fault>| storage.set_faults(Some(Box::new(fault)));
    fail(|call| (call == Call::Sync).then_some(Fault::Error));
    assert!(shelf.mark().1.sync().is_err());
    // What lies in the doubtful file is to be written to another one, for which there is no room.
    fail(|call| (call == Call::Write).then_some(Fault::Full));
    let refused = shelf.mark().1.sync().expect_err("nothing is durable");
    assert_eq!(refused.kind(), std::io::ErrorKind::StorageFull);
    storage.set_faults(None);
    shelf.mark().1.sync().expect("there is room again");
}

/// Everything compressed in a segment's bytes.
fn texts(bytes: &[u8]) -> String {
    const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    let starts = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&MAGIC));
    let texts = starts.filter_map(|at| {
        let mut text = Vec::new();
        let mut reader = zstd::stream::read::Decoder::new(&bytes[at..]).ok()?.single_frame();
        std::io::Read::read_to_end(&mut reader, &mut text).ok()?;
        Some(String::from_utf8_lossy(&text).into_owned())
    });
    texts.collect()
}
