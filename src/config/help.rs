//! The help of every key, taken from the comments of `ethogram.example.toml`, so that the file
//! people copy and the text `--help` prints cannot disagree.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The example configuration: every key, its default, and a comment that says what it is.
pub(crate) const EXAMPLE: &str = include_str!("../../ethogram.example.toml");

/// The comment above `key` (dotted) in the example, on one line.
pub(crate) fn help(key: &str) -> Option<String> {
    // Once per process: every start asks for every key, and the example is long.
    static HELP: LazyLock<HashMap<String, String>> =
        LazyLock::new(|| entries(EXAMPLE).into_iter().collect());
    HELP.get(key).cloned()
}

/// Pairs of key and comment. A key that has no default is written with `#` and no space before it.
pub(crate) fn entries(example: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut section = String::new();
    let mut comment: Vec<&str> = Vec::new();
    for line in example.lines() {
        if let Some(text) = line.strip_prefix("# ") {
            comment.push(text.trim());
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = format!("{name}.");
        } else if let Some((name, _)) = line.strip_prefix('#').unwrap_or(line).split_once(" = ")
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            found.push((format!("{section}{name}"), comment.join(" ")));
        }
        comment.clear();
    }
    found
}
