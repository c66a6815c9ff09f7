//! Mutation-based fuzzing on stable Rust: a corpus that is kept, mutations that are drawn from a
//! seed, and a search that goes where answers differ.
//!
//! Coverage is not measured. Instead a target says in a few words how it judged an input (which
//! error, how many rows); an input that is judged as none before joins the pool that is mutated.
//!
//! An input that shows a defect is kept in `tests/data/corpus`, so that every later run begins with it.
//!
//! `ETHOGRAM_TEST_FUZZ_SECONDS` runs each target for so long instead of a fixed number of inputs,
//! `ETHOGRAM_TEST_FUZZ_KEEP=1` adds what joined the pool, minimised, to `tests/data/corpus`,
//! `ETHOGRAM_TEST_SEED` tells another story.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{number_from, tree};

/// The longest input: long enough for several records, short enough for thousands a second.
const INPUT_BYTES_MAX: usize = 4096;

/// Inputs in the pool; beyond it a new one takes a random one's place.
const POOL_MAX: usize = 2_000;

/// Mutations of one input at most.
const MUTATIONS_MAX: usize = 6;

/// Kept inputs of one target at most, and the longest: the corpus is read by people too.
const KEPT_MAX: usize = 40;
const KEPT_BYTES_MAX: usize = 1024;

/// Something that takes any bytes.
pub struct Target<'a> {
    pub name: &'a str,
    /// Inputs to begin with, beside the corpus.
    pub seeds: Vec<Vec<u8>>,
    /// Pieces that the inputs are made of.
    pub words: &'a [&'a [u8]],
    /// How many inputs in a run that is not told for how long.
    pub inputs: u64,
}

impl Target<'_> {
    /// Gives inputs to `judge`, which panics where one shows a defect.
    pub fn fuzz(self, mut judge: impl FnMut(&[u8]) -> String) {
        let directory = tree("tests/data/corpus").join(self.name);
        let mut pool = self.seeds.clone();
        pool.extend(kept(&directory));
        assert!(!pool.is_empty(), "{}: nothing to begin with", self.name);
        let mut judge = |input: &[u8]| {
            catch_unwind(AssertUnwindSafe(|| judge(input))).unwrap_or_else(|panic| {
                let at = keep_failing(&directory, self.name, input);
                eprintln!("{}: {} bytes, kept in {}", self.name, input.len(), at.display());
                resume_unwind(panic)
            })
        };
        let mut judgements: BTreeSet<String> = pool.iter().map(|input| judge(input)).collect();
        let (known, began) = (judgements.len(), Instant::now());
        let seconds = number_from("ETHOGRAM_TEST_FUZZ_SECONDS", 0);
        let mut random = StdRng::seed_from_u64(number_from("ETHOGRAM_TEST_SEED", 1));
        let (mut inputs, mut slowest) = (0, (Duration::ZERO, Vec::new()));
        while if seconds > 0 {
            began.elapsed() < Duration::from_secs(seconds)
        } else {
            inputs < self.inputs
        } {
            inputs += 1;
            let input = self.mutated(&pool, &mut random);
            let asked = Instant::now();
            let judgement = judge(&input);
            if asked.elapsed() > slowest.0 {
                slowest = (asked.elapsed(), input.clone());
            }
            if judgements.insert(judgement.clone()) {
                keep(&directory, &input, &judgement, &mut judge);
                if pool.len() < POOL_MAX {
                    pool.push(input);
                } else {
                    let place = random.random_range(0..pool.len());
                    pool[place] = input;
                }
            }
        }
        println!(
            "{}: {inputs} inputs in {:.1?}, the slowest {:.1?}, {} judgements, {known} of the corpus",
            self.name,
            began.elapsed(),
            slowest.0,
            judgements.len()
        );
        if seconds > 0 {
            let at = std::env::temp_dir().join(format!("ethogram-{}.slowest", self.name));
            drop(std::fs::write(at, slowest.1));
        }
    }

    fn mutated(&self, pool: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
        let mut input = pool[random.random_range(0..pool.len())].clone();
        for _ in 0..random.random_range(1..=MUTATIONS_MAX) {
            self.mutate(&mut input, pool, random);
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn mutate(&self, input: &mut Vec<u8>, pool: &[Vec<u8>], random: &mut StdRng) {
        let len = input.len();
        let from = random.random_range(0..=len);
        let to = random.random_range(from..=len.min(from + 64));
        match random.random_range(0..9) {
            0 if from < len => input[from] ^= 1 << random.random_range(0..8),
            1 if from < len => input[from] = random.random(),
            2 if from < len => {
                input[from] = [0, 1, 0x7f, 0x80, 0xff, b'"', b'9', b'-'][random.random_range(0..8)]
            }
            3 => drop(input.drain(from..to)),
            4 => {
                let piece = input[from..to].to_vec();
                let at = random.random_range(0..=len);
                input.splice(at..at, piece);
            }
            5 => {
                let other = &pool[random.random_range(0..pool.len())];
                let cut = random.random_range(0..=other.len());
                input.splice(from.., other[cut..].iter().copied());
            }
            6 if !self.words.is_empty() => {
                let word = self.words[random.random_range(0..self.words.len())];
                let end = if random.random() { from } else { to };
                input.splice(from..end, word.iter().copied());
            }
            7 => {
                let some: [u8; 10] = random.random();
                let count = random.random_range(0..10);
                input.splice(from..from, some[..count].iter().copied());
            }
            _ => input.truncate(from.max(1)),
        }
    }
}

fn kept(directory: &std::path::Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a file of the corpus")).collect()
}

/// Adds an input that shows a defect to the corpus, whole; where that cannot be written, to the
/// temporary directory.
fn keep_failing(directory: &std::path::Path, name: &str, input: &[u8]) -> PathBuf {
    let at = directory.join(format!("{:08x}", crc32(input)));
    let kept = std::fs::create_dir_all(directory).and_then(|()| std::fs::write(&at, input));
    if kept.is_ok() {
        return at;
    }
    let at = std::env::temp_dir().join(format!("ethogram-{name}.input"));
    drop(std::fs::write(&at, input));
    at
}

/// Adds an input to the corpus, without what its judgement does not need.
fn keep(
    directory: &std::path::Path,
    input: &[u8],
    judgement: &str,
    judge: &mut impl FnMut(&[u8]) -> String,
) {
    if number_from("ETHOGRAM_TEST_FUZZ_KEEP", 0) == 0 || kept(directory).len() >= KEPT_MAX {
        return;
    }
    let mut input = input.to_vec();
    let mut size = input.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at + size <= input.len() {
            let mut shorter = input.clone();
            shorter.drain(at..at + size);
            if judge(&shorter) == judgement { input = shorter } else { at += size }
        }
        size /= 2;
    }
    if input.len() <= KEPT_BYTES_MAX {
        std::fs::create_dir_all(directory).expect("the corpus");
        let name = format!("{:08x}", crc32(&input));
        std::fs::write(directory.join(name), input).expect("the corpus");
    }
}

/// A name for an input.
fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}
