//! The keys a configuration can have, read off its default value.
//!
//! A key exists once, as a field of a `Config` struct. From it follow the key in the file, the
//! flag and the environment variable; there is no second list that could be forgotten.

use serde::Serialize;
use serde_json::Value;

/// One key that can be set. Lists and maps with free names are one key each.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Leaf {
    /// The names from the root to the key.
    path: Vec<String>,
    /// The value it has when nobody sets it; null for an optional key.
    default: Value,
}

/// All keys of a configuration.
pub(crate) fn leaves(default: &impl Serialize) -> Vec<Leaf> {
    // JSON, not TOML: TOML leaves out what is None, and those keys must have flags too.
    let value = serde_json::to_value(default).expect("a configuration is plain data");
    let mut found = Vec::new();
    collect(&value, &mut Vec::new(), &mut found);
    found
}

fn collect(value: &Value, path: &mut Vec<String>, found: &mut Vec<Leaf>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                path.push(name.clone());
                collect(value, path, found);
                path.pop();
            }
        }
        _ => found.push(Leaf { path: path.clone(), default: value.clone() }),
    }
}

impl Leaf {
    /// The key as it is written in messages: `collector.log.segment_bytes`.
    pub(crate) fn key(&self) -> String {
        self.path.join(".")
    }

    /// The names from the root to the key.
    pub(crate) fn path(&self) -> &[String] {
        &self.path
    }

    /// The flag without its dashes: `collector-log-segment-bytes`.
    pub(crate) fn flag(&self) -> String {
        self.path.join("-").replace('_', "-")
    }

    /// The environment variable: `ETHOGRAM_COLLECTOR_LOG_SEGMENT_BYTES`.
    pub(crate) fn variable(&self) -> String {
        format!("ETHOGRAM_{}", self.path.join("_").to_uppercase())
    }

    /// The section the key stands in: empty at the top, else the first name.
    pub(crate) fn section(&self) -> &str {
        if self.path.len() > 1 { &self.path[0] } else { "" }
    }

    /// The default in TOML's notation, or nothing for an optional key.
    pub(crate) fn default_text(&self) -> Option<String> {
        match &self.default {
            Value::Null => None,
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// What a value of this key looks like, for messages.
    pub(crate) fn allowed(&self) -> String {
        let kind = match &self.default {
            Value::Bool(_) => "true or false",
            Value::Number(number) if number.is_f64() => "a number",
            Value::Number(_) => "a whole number",
            Value::String(_) => "text",
            Value::Array(_) => "a list, in TOML's notation or separated by commas",
            Value::Object(_) => "a table, in TOML's notation",
            Value::Null => "a value",
        };
        match self.default_text() {
            Some(default) => format!("{kind}, by default {default}"),
            None => kind.to_owned(),
        }
    }

    /// The name of the value in the help.
    pub(crate) fn value_name(&self) -> &'static str {
        match &self.default {
            Value::String(_) if self.path.last().is_some_and(|name| name.ends_with("_listen")) => {
                "HOST:PORT"
            }
            Value::Bool(_) => "BOOL",
            Value::Number(_) => "NUMBER",
            Value::Array(_) => "LIST",
            Value::Object(_) => "TABLE",
            Value::String(_) | Value::Null => "VALUE",
        }
    }

    /// The readings of a flag's or variable's text, the likeliest first. Text has no types, so
    /// the default says which to try; the typed stage takes the first that fits.
    pub(crate) fn readings(&self, text: &str) -> Vec<toml::Value> {
        let plain = toml::Value::String(text.to_owned());
        let typed = parse_toml(text);
        match &self.default {
            Value::String(_) => vec![plain],
            Value::Array(_) => {
                typed.filter(toml::Value::is_array).map_or_else(|| lists(text), |list| vec![list])
            }
            Value::Null => {
                let mut readings: Vec<toml::Value> = typed.into_iter().collect();
                readings.push(plain);
                readings.extend(lists(text));
                readings
            }
            _ => typed.into_iter().chain([plain]).collect(),
        }
    }
}

/// `a, b` as a list of text, and as a list of numbers where every item is one.
fn lists(text: &str) -> Vec<toml::Value> {
    let items: Vec<&str> = text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    let plain = items.iter().map(|item| toml::Value::String((*item).to_owned())).collect();
    let numbers: Option<Vec<toml::Value>> =
        items.iter().map(|item| item.parse().ok().map(toml::Value::Integer)).collect();
    let mut readings = vec![toml::Value::Array(plain)];
    readings.extend(numbers.map(toml::Value::Array));
    readings
}

fn parse_toml(text: &str) -> Option<toml::Value> {
    let mut table: toml::Table = toml::from_str(&format!("value = {text}")).ok()?;
    // A line break in the text would let it set other keys; then it is not one value.
    if table.len() > 1 { None } else { table.remove("value") }
}
