//! Erasures where the disk fails: nothing is forgotten, nothing is held up, and nothing is left behind.

use std::path::Path;
use std::sync::Arc;

use super::World;
use crate::disk::sim::{Call, Fault, SimStorage};
use crate::schema::{Erasure, Label, SessionId, Subject, Time};

#[test]
fn a_file_that_cannot_be_searched_is_not_forgotten() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut world = World::new(directory.path(), 9);
    for _ in 0..2 {
        world.insert();
        world.seal(|_| ());
    }
    let file = files(directory.path()).remove(0);
    let away = file.with_extension("away");
    std::fs::rename(&file, &away).expect("it can be moved");
    let subject = Subject::Session(SessionId::new("s1").expect("an id"));
    let erasures = vec![Erasure { app: Label::new("shop"), subject }];
    world.store.erase(&erasures);
    let found = world.store.search(&erasures).run();
    assert!(found.failed.is_some() && found.lines.len() == 1, "the other file is searched");
    world.store.finish_search(found);
    std::fs::rename(&away, &file).expect("it can be moved back");
    // The log may let go of the erasure now.
    world.seal(|_| ());
    drop(world);

    let mut world = World::new(directory.path(), 9);
    assert_eq!(world.unsearched, erasures);
    assert!(world.sessions().1.contains("s1"), "so there is something to find");
    let found = world.store.search(&erasures).run();
    assert!(found.failed.is_none());
    world.store.finish_search(found);
    world.seals = 9;
    world.seal(|_| ());
    assert!(!world.sessions().0.contains("s1"));
    drop(world);
    assert_eq!(World::new(directory.path(), 9).unsearched, []);
}

#[test]
fn the_shelf_is_searched_once_whatever_becomes_of_the_files() {
    let storage = SimStorage::new(1);
    let mut world = World::on(Arc::<SimStorage>::clone(&storage), Path::new("/machine/store"), 9);
    world.insert();
    world.seal(|_| ());
    let subject = Subject::Session(SessionId::new("s1").expect("an id"));
    let erasures = vec![Erasure { app: Label::new("shop"), subject }];
    let put = |world: &mut World| {
        world.store.shelf().put(Time(1), &[7], b"an entry of s1, and something of everybody");
    };
    put(&mut world);
    world.store.erase(&erasures);
    // The file of rows cannot be read, the shelf can: it is complete, and lies in memory of the machine.
    let search = world.store.search(&erasures);
    let mut reads = 0;
    storage.set_faults(Some(Box::new(move |call| {
        reads += u64::from(call == Call::Read);
        (call == Call::Read && reads == 1).then_some(Fault::Error)
    })));
    let found = search.run();
    storage.set_faults(None);
    assert!(found.failed.is_some() && !found.shelf.is_partial());
    world.store.finish_search(found);
    assert_eq!(world.store.shelf().get(Time(1), 7), None, "it is erased from the shelf");
    put(&mut world);
    let found = world.store.search(&erasures).run();
    assert!(found.failed.is_none());
    world.store.finish_search(found);
    assert!(world.store.shelf().get(Time(1), 7).is_some(), "what came since is not looked at");
}

/// The files of rows, in the order of their names.
fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let names = std::fs::read_dir(directory).expect("it is there");
    let names = names.map(|entry| entry.expect("readable").path());
    let mut files: Vec<_> =
        names.filter(|path| path.extension().is_some_and(|end| end == "parquet")).collect();
    files.sort();
    files
}

#[test]
fn a_file_that_cannot_be_read_stays_and_holds_up_no_seal() {
    for merge_parts_min in [9, 2] {
        let directory = tempfile::tempdir().expect("a directory");
        let mut world = World::new(directory.path(), merge_parts_min);
        for _ in 0..2 {
            world.insert();
            world.try_seal().expect("it writes");
        }
        world.erase(Subject::Session(SessionId::new("s1").expect("an id")));
        // Of the same size, with its footer: only what is read of it fails.
        let file = files(directory.path()).remove(0);
        let sound = std::fs::read(&file).expect("it is there");
        let mut bytes = sound.clone();
        bytes[4..200].fill(0xff);
        std::fs::write(&file, bytes).expect("it can be damaged");
        world.try_seal().expect("it seals although a file cannot be read");
        assert!(files(directory.path()).contains(&file), "what cannot be read stays");
        world.seals += 1;
        world.try_seal().expect("and goes on to");
        let seals = world.seals;
        drop(world);

        // The disk gives it again. What is to go from it is remembered.
        std::fs::write(&file, sound).expect("it can be mended");
        let mut world = World::new(directory.path(), 9);
        assert_eq!(world.sessions().1, ["s2", "s3", "s4"].map(String::from).into());
        assert!(world.sessions().0.contains("s1"), "it is still there");
        world.seals = seals;
        world.try_seal().expect("it seals");
        assert_eq!(world.sessions().0, ["s2", "s3", "s4"].map(String::from).into());
        assert!(!files(directory.path()).contains(&file));
    }
}

#[test]
fn a_seal_that_fails_at_any_file_leaves_none_of_it_behind() {
    for failing in 0.. {
        let storage = SimStorage::new(failing);
        let path = Path::new("/machine/store");
        let mut world = World::on(Arc::<SimStorage>::clone(&storage), path, 9);
        for _ in 0..3 {
            world.insert();
            world.try_seal().expect("it writes");
        }
        // Three files are to be written anew, each by itself.
        world.erase(Subject::Session(SessionId::new("s1").expect("an id")));
        let mut creates = 0;
        storage.set_faults(Some(Box::new(move |call| {
            creates += u64::from(matches!(call, Call::Create));
            (matches!(call, Call::Create) && creates == failing + 1).then_some(Fault::Full)
        })));
        let failed = world.try_seal().is_err();
        storage.set_faults(None);
        let files = storage.contents();
        let names = files.keys().filter_map(|file| file.file_name()?.to_str());
        // Where the manifest fails, it may stand after all, and they wait for the next one.
        let may_be_named = world.store.leftovers.lock().clone();
        let is_named = |name: &str| {
            world.store.manifest.names(name) || may_be_named.iter().any(|file| file == name)
        };
        let unnamed = names.filter(|name| name.ends_with(".parquet") && !is_named(name));
        assert_eq!(unnamed.collect::<Vec<_>>(), Vec::<&str>::new(), "file {failing}");
        world.try_seal().expect("the disk has room again");
        assert!(!world.sessions().0.contains("s1"), "file {failing}");
        if !failed {
            assert!(failing >= 3, "{failing} files are not all that a seal writes");
            break;
        }
    }
}
