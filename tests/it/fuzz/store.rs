//! The store's own files: whatever stands in them, it opens, or says what is wrong with which file.

use std::path::Path;

use ethogram_timeline::decode::{json, rows};
use ethogram_timeline::join::Join;
use ethogram_timeline::log::{LogId, Position};
use ethogram_timeline::record::{Envelope, Source};
use ethogram_timeline::rollup::Rollup;
use ethogram_timeline::store::{Config, Store};
use serde_json::{Value, json as value};

use super::checksum::crc32c;
use super::{JSON_WORDS, Signal, WIRE_WORDS, check_memory, example, words_of};
use crate::harness::mutate::Target;

const MANIFEST: &str = "manifest.json";

/// A join that has met the examples, and the files of a store that was sealed with it.
fn sealed() -> (Join, Vec<(String, Vec<u8>)>) {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut store, _) = Store::open(directory.path(), Config::default()).expect("a new store");
    let mut envelope = Envelope::new(Source::Otlp, 1_700_000_000_000_000_000);
    json::traces(&example("trace.json")).expect("an example").store(&mut envelope);
    json::logs(&example("events.json")).expect("an example").store(&mut envelope);
    let (mut join, mut rollup) = (Join::default(), Rollup::default());
    join.push(rows(&envelope).expect("what was admitted"));
    let changes = join.emit();
    rollup.apply(&changes);
    store.apply(changes);
    let position = Position { log_id: LogId(7), epoch: 1, segment: 1, offset: 64 };
    let sealing = store.begin_seal(&join, &rollup, position).expect("a state can be packed");
    let sealed = sealing.write().expect("it is written");
    store.finish_seal(sealed);
    drop(store);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory.path()).expect("a directory") {
        let entry = entry.expect("a file");
        if entry.file_type().expect("it is known").is_file() {
            let bytes = std::fs::read(entry.path()).expect("a file of ours");
            files.push((entry.file_name().to_string_lossy().into_owned(), bytes));
        }
    }
    (join, files)
}

/// Opens a store of these files, of which one has other bytes.
fn open(directory: &Path, files: &[(String, Vec<u8>)], others: &[(&str, &[u8])]) -> String {
    drop(std::fs::remove_dir_all(directory));
    std::fs::create_dir_all(directory).expect("memory");
    for (name, bytes) in files {
        let other = others.iter().find(|(own, _)| own == name);
        let bytes = other.map_or(bytes.as_slice(), |(_, bytes)| *bytes);
        std::fs::write(directory.join(name), bytes).expect("memory");
    }
    match Store::open(directory, Config::default()) {
        Ok((_, Some(resume))) => {
            format!("without {:?}, {}", resume.lost, resume.position.is_some())
        }
        Ok((_, None)) => String::from("without a state"),
        Err(error) => words_of(&error.to_string().replace(&directory.display().to_string(), "")),
    }
}

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    directory.expect("a directory")
}

fn file<'a>(files: &'a [(String, Vec<u8>)], ending: &str) -> (&'a str, &'a [u8]) {
    let found = files.iter().find(|(name, _)| name.ends_with(ending));
    found.map(|(name, bytes)| (name.as_str(), bytes.as_slice())).expect("a file of that kind")
}

#[test]
fn the_manifest_of_the_store() {
    let (_, files) = sealed();
    let parent = directory();
    let at = parent.path().join("store");
    let whole: Value = serde_json::from_slice(file(&files, MANIFEST).1).expect("JSON");
    // Without blanks it is short enough to be mutated whole.
    let seeds = vec![whole.to_string().into_bytes()];
    let own: &[&[u8]] = &[
        b"\"checkpoint\":null",
        b"\"parts\":[]",
        b"\"sections\":[]",
        b"\"format\":3",
        b"\"Spans\"",
        b"18446744073709551615",
        b"4294967296",
        b"\"../x\"",
    ];
    let words = [own, JSON_WORDS].concat();
    Target { name: "manifest", seeds, words: &words, inputs: 600 }
        .fuzz(|input| open(&at, &files, &[(MANIFEST, input)]));
    check_memory();
}

/// A manifest that says of the checkpoint what is true of these bytes: whatever is more or less of them
/// is the last section's.
fn manifest_of(whole: &Value, checkpoint: &[u8]) -> Vec<u8> {
    let mut manifest = whole.clone();
    let entry = &mut manifest["checkpoint"];
    entry["bytes"] = value!(checkpoint.len());
    entry["crc32c"] = value!(crc32c(checkpoint));
    let mut left = checkpoint.len() as u64;
    let sections = entry["sections"].as_array_mut().expect("it has sections");
    let last = sections.len() - 1;
    for (index, section) in sections.iter_mut().enumerate() {
        let own = if index == last { left } else { section["bytes"].as_u64().expect("a number") };
        section["bytes"] = value!(own);
        left = left.saturating_sub(own);
    }
    manifest.to_string().into_bytes()
}

#[test]
fn the_checkpoint_of_the_store() {
    let (_, files) = sealed();
    let parent = directory();
    let at = parent.path().join("store");
    let whole: Value = serde_json::from_slice(file(&files, MANIFEST).1).expect("JSON");
    let (name, bytes) = file(&files, ".checkpoint");
    let target =
        Target { name: "checkpoint", seeds: vec![bytes.to_vec()], words: WIRE_WORDS, inputs: 600 };
    target.fuzz(|input| {
        // As the disk would have it: other bytes than the manifest speaks of.
        let rotten = open(&at, &files, &[(name, input)]);
        let manifest = manifest_of(&whole, input);
        let mended = open(&at, &files, &[(name, input), (MANIFEST, manifest.as_slice())]);
        format!("{rotten}, {mended}")
    });
    check_memory();
}

/// The largest section of the checkpoint, as it is before it is compressed.
#[test]
fn the_state_of_the_join() {
    let (join, _) = sealed();
    let write = |join: &Join| {
        let mut bytes = Vec::new();
        join.write(&mut bytes).expect("memory takes all");
        bytes
    };
    let seeds = vec![write(&join), write(&Join::default())];
    let target = Target { name: "join-state", seeds, words: WIRE_WORDS, inputs: 3_000 };
    target.fuzz(|input| match Join::read(Join::FORM, input) {
        Some(read) => {
            let again = write(&read);
            assert!(Join::read(Join::FORM, &again).is_some(), "what was written cannot be read");
            format!("read, {}", again.len().next_power_of_two())
        }
        None => String::from("refused"),
    });
    check_memory();
}
