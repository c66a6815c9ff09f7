//! The rules of the house that a program can hold.
//!
//! Lengths ratchet: a file or function above its limit is listed with the length it has, and may
//! shrink but not grow.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::harness::tree;

/// A file has one subject; beyond this it holds two.
const FILE_LINES_MAX: usize = 400;

/// A function fits a screen.
const FUNCTION_LINES_MAX: usize = 70;

/// Files that are longer, with the length they may not grow beyond.
const LONGER_FILES: &[(&str, usize)] = &[];

/// Functions that are longer, with the length they may not grow beyond.
const LONGER_FUNCTIONS: &[(&str, usize)] = &[("timeline/src/join/request.rs row", 75)];

/// The arrows between our crates. Any other edge is a mistake.
const ARROWS: &[(&str, &[&str])] = &[
    ("timeline", &[]),
    ("collector", &["ethogram-timeline"]),
    ("query", &["ethogram-timeline"]),
    (".", &["ethogram-timeline", "ethogram-collector", "ethogram-query"]),
];

/// Words that only one part of the tree may know.
const SECRETS: &[(&str, &[&str])] = &[
    ("datafusion::", &["query/"]),
    (
        "opentelemetry_proto",
        &[
            "timeline/src/decode/",
            "collector/",
            "src/simulate/",
            "tests/harness/",
            "tests/it/fuzz.rs",
            "benches/",
        ],
    ),
    ("rustls::", &["collector/src/listen/", "tests/"]),
    ("std::env::", &["src/", "tests/", "benches/", "timeline/benches/"]),
    ("axum::", &["collector/", "query/", "tests/"]),
    // The domain knows neither protocol: rows come in from the log, and go out as rows.
    ("tonic::", &["collector/", "src/simulate/", "tests/", "benches/", "timeline/src/decode/"]),
    ("hyper::", &["collector/", "query/", "src/", "tests/", "benches/"]),
    ("http::", &["collector/", "query/", "src/", "tests/", "benches/"]),
    ("ethogram_timeline::join", &["timeline/", "query/", "tests/it/"]),
    ("SystemTime::now", &["src/", "tests/", "benches/"]),
];

const FORBIDDEN_NAMES: [&str; 5] = ["utils", "util", "common", "helpers", "misc"];

fn rust_files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for top in ["src", "timeline", "collector", "query", "tests", "benches"] {
        walk(&tree(top), &mut files);
    }
    let root = tree("");
    let mut named: Vec<(String, String)> = files
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a readable file");
            let name = path.strip_prefix(&root).expect("below the root").display().to_string();
            (name, text)
        })
        .collect();
    named.sort();
    assert!(named.len() > 50, "the tree was not found");
    named
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() && !path.ends_with("node_modules") && !path.ends_with("target") {
            walk(&path, files);
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
}

fn report(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn arrows_point_one_way() {
    let mut problems = Vec::new();
    for (folder, allowed) in ARROWS {
        let text = std::fs::read_to_string(tree(folder).join("Cargo.toml")).expect("a manifest");
        let dependencies = text
            .split("[workspace.dependencies]")
            .next()
            .into_iter()
            .chain(text.split("[dependencies]").skip(1));
        let own = dependencies.last().unwrap_or_default();
        if text.contains("dependencies.ethogram") {
            problems.push(format!("{folder}/Cargo.toml: a dependency in a table of its own"));
        }
        for line in own.lines().filter(|line| line.starts_with("ethogram-")) {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if !allowed.contains(&name) {
                problems.push(format!("{folder}/Cargo.toml: may not depend on {name}"));
            }
        }
    }
    report(problems);
}

#[test]
fn secrets_are_kept() {
    let mut problems = Vec::new();
    for (name, text) in rust_files() {
        for (word, places) in SECRETS {
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let knows = code.clone().any(|line| line.contains(word));
            if knows
                && !name.ends_with("tidy.rs")
                && !places.iter().any(|place| name.starts_with(place))
            {
                problems.push(format!("{name}: may not know `{word}`"));
            }
        }
    }
    report(problems);
}

/// The world must know its truth by itself: of the timeline it takes the clock alone, and nothing of what
/// answers.
#[test]
fn the_world_knows_nothing_of_the_join() {
    let mut problems = Vec::new();
    let mut seen = 0;
    for (name, text) in rust_files() {
        if !name.starts_with("src/simulate/") && name != "src/simulate.rs" {
            continue;
        }
        seen += 1;
        for part in text.split("ethogram_timeline").skip(1) {
            if !part.starts_with("::clock::") {
                let said = part.lines().next().unwrap_or_default();
                problems.push(format!("{name}: may not know `ethogram_timeline{said}`"));
            }
        }
        if text.contains("ethogram_query") {
            problems.push(format!("{name}: may not know `ethogram_query`"));
        }
    }
    assert!(seen > 10, "where is the world?");
    report(problems);
}

#[test]
fn files_have_one_subject_a_name_and_a_doc() {
    let longer: BTreeMap<&str, usize> = LONGER_FILES.iter().copied().collect();
    let mut problems = Vec::new();
    for (name, text) in rust_files() {
        let lines = text.lines().count();
        let limit = longer.get(name.as_str()).copied().unwrap_or(FILE_LINES_MAX);
        if lines > limit {
            problems.push(format!("{name}: {lines} lines, the limit is {limit}"));
        }
        if longer.get(name.as_str()).is_some_and(|listed| lines < *listed) {
            problems.push(format!("{name}: {lines} lines, so its entry is too high"));
        }
        if !text.starts_with("//!") {
            problems.push(format!("{name}: does not open with what it is"));
        }
        let mut nouns = name.trim_end_matches(".rs").split('/');
        if nouns.any(|noun| FORBIDDEN_NAMES.contains(&noun)) {
            problems.push(format!("{name}: the noun is missing"));
        }
        let leftovers = ["todo!(", "unimplemented!(", "dbg!(", "FIXME", "XXX", "#[ignore"];
        for left in
            leftovers.into_iter().filter(|left| text.contains(left) && !name.ends_with("tidy.rs"))
        {
            problems.push(format!("{name}: {left} is left over"));
        }
    }
    report(problems);
}

#[test]
fn functions_fit_a_screen() {
    let longer: BTreeMap<&str, usize> = LONGER_FUNCTIONS.iter().copied().collect();
    let mut problems = Vec::new();
    for (name, text) in rust_files() {
        for (function, lines) in functions(&text) {
            let key = format!("{name} {function}");
            let limit = longer.get(key.as_str()).copied().unwrap_or(FUNCTION_LINES_MAX);
            if lines > limit {
                problems.push(format!("{key}: {lines} lines, the limit is {limit}"));
            }
            if longer.get(key.as_str()).is_some_and(|listed| lines < *listed) {
                problems.push(format!("{key}: {lines} lines, so its entry is too high"));
            }
        }
    }
    report(problems);
}

/// Each function of formatted source with its number of lines: from the line that names it to the
/// closing brace of the same indentation.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        let Some(at) = code.find("fn ").filter(|_| !code.starts_with("//")) else { continue };
        let before = &code[..at];
        let introduces = before.split(' ').all(|word| {
            word.is_empty()
                || ["pub", "async", "const", "pub(super)", "pub(crate)", "extern"].contains(&word)
        });
        if !introduces {
            continue;
        }
        let closing = format!("{}}}", " ".repeat(indent));
        let length = lines[start..].iter().position(|line| {
            *line == closing || (line.ends_with(['}', ';']) && *line == lines[start])
        });
        let name: String = code[at + 3..]
            .chars()
            .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
            .collect();
        found.extend(length.map(|length| (name, length + 1)));
    }
    found
}
