//! What we build from: every licence is one that `deny.toml` allows, nothing of ours is unsafe, there
//! is one implementation of each protocol, and what `deny.toml` bans is not there.
//!
//! The advisory database is not asked: it changes by the day, and a test must not. `cargo deny
//! check` asks it (`tests/run --long`).

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::harness::tree;

/// Two versions of one of these would be two parsers of what strangers send, or two kinds of rows.
const ONCE: [&str; 9] = [
    "arrow",
    "datafusion",
    "h2",
    "hyper",
    "opentelemetry-proto",
    "parquet",
    "prost",
    "rustls",
    "tonic",
];

/// Cryptography: one of them, or none.
const PROVIDERS: [&str; 3] = ["aws-lc-rs", "ring", "openssl-sys"];

/// Name, version and licence of every package that this machine's build takes.
fn packages() -> Vec<(String, String, String)> {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .current_dir(tree(""))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .args(["--filter-platform", &platform])
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let all: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let used: BTreeSet<&str> = all["resolve"]["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .filter_map(|node| node["id"].as_str())
        .collect();
    let text =
        |package: &Value, field: &str| package[field].as_str().unwrap_or_default().to_string();
    let packages = all["packages"].as_array().expect("packages").iter();
    packages
        .filter(|package| package["id"].as_str().is_some_and(|id| used.contains(id)))
        .map(|package| (text(package, "name"), text(package, "version"), text(package, "license")))
        .collect()
}

fn rules() -> toml::Value {
    let text = std::fs::read_to_string(tree("deny.toml")).expect("deny.toml");
    toml::from_str(&text).expect("TOML")
}

/// Whether a licence expression can be kept with the allowed ones. `/` is an older way to say OR.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let verdict = any_of(&words, &mut at, allowed);
    verdict && at == words.len()
}

fn any_of(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut verdict = all_of(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        verdict |= all_of(words, at, allowed);
    }
    verdict
}

fn all_of(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut verdict = licence(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        verdict &= licence(words, at, allowed);
    }
    verdict
}

fn licence(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let verdict = any_of(words, at, allowed);
        let closed = words.get(*at) == Some(&")");
        *at += 1;
        return verdict && closed;
    }
    let mut name = (*word).to_string();
    if words.get(*at) == Some(&"WITH") {
        name = format!("{name} WITH {}", words.get(*at + 1).copied().unwrap_or_default());
        *at += 2;
    }
    allowed.contains(&name)
}

#[test]
fn expressions_of_licences() {
    let allowed = ["MIT", "Apache-2.0 WITH LLVM-exception", "Zlib"].map(String::from).into();
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("Zlib AND (GPL-3.0 OR MIT)", true),
        ("(Zlib AND GPL-3.0) OR GPL-2.0", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0", false),
        ("(MIT", false),
        ("MIT GPL-3.0", false),
        ("", false),
    ] {
        assert_eq!(is_allowed(expression, &allowed), expected, "{expression}");
    }
}

#[test]
fn everything_we_build_from_may_be_passed_on() {
    let rules = rules();
    let texts = |value: &toml::Value| value.as_str().expect("a text").to_string();
    let allowed =
        rules["licenses"]["allow"].as_array().expect("a list").iter().map(texts).collect();
    let banned: Vec<(String, bool)> = rules["bans"]["deny"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|ban| (texts(&ban["name"]), ban.get("version").is_some()))
        .collect();
    let packages = packages();
    assert!(packages.len() > 200, "{} packages", packages.len());
    let mut problems = Vec::new();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, version, license) in &packages {
        versions.entry(name).or_default().insert(version);
        if !is_allowed(license, &allowed) {
            problems.push(format!("{name} {version} is under {license:?}"));
        }
        // A ban of old versions alone is for cargo-deny, which compares versions.
        if banned.iter().any(|(banned, is_of_versions)| banned == name && !is_of_versions) {
            problems.push(format!("{name} {version} is banned"));
        }
    }
    for name in ONCE {
        let versions = versions.get(name).into_iter().flatten();
        if versions.clone().count() > 1 {
            problems.push(format!("{name} is there as {:?}", versions.collect::<Vec<_>>()));
        }
    }
    let providers: Vec<_> = PROVIDERS.iter().filter(|name| versions.contains_key(*name)).collect();
    if providers.len() > 1 {
        problems.push(format!("two kinds of cryptography: {providers:?}"));
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn nothing_of_ours_is_unsafe() {
    let manifest = |path: &str| -> toml::Value {
        let text = std::fs::read_to_string(tree(path)).expect("a manifest");
        toml::from_str(&text).expect("TOML")
    };
    let root = manifest("Cargo.toml");
    // `forbid`, unlike `deny`, cannot be allowed again further down.
    assert_eq!(root["workspace"]["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
    let members = root["workspace"]["members"].as_array().expect("members");
    assert!(members.len() >= 4);
    for member in members {
        let member = member.as_str().expect("a path");
        let lints = manifest(&format!("{member}/Cargo.toml"));
        assert_eq!(lints["lints"]["workspace"].as_bool(), Some(true), "{member}");
    }
}
