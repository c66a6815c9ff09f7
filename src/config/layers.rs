//! The first stage: what was written, where. Layers are put on each other in the order file,
//! environment, command, flags; the second stage makes them one typed [`Config`].
//!
//! Every value is checked alone as it arrives, against the typed configuration, because only then
//! the error can name the key and its origin for certain.

use std::path::Path;

use super::Config;
use super::error::{ConfigError, Origin};
use super::shape::{self, Leaf};

/// Variables that begin like ours and are not keys of the configuration.
const OTHER_VARIABLES: [&str; 2] = ["ETHOGRAM_CONFIG", "ETHOGRAM_QUERY_URL"];

/// What was written, merged.
pub(crate) struct Layers {
    leaves: Vec<Leaf>,
    table: toml::Table,
}

impl Layers {
    /// Nothing written yet: the defaults.
    pub(crate) fn new() -> Self {
        Self { leaves: shape::leaves(&Config::default()), table: toml::Table::new() }
    }

    /// Puts a file's text on top.
    pub(crate) fn file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let table: toml::Table = toml::from_str(text).map_err(|source| ConfigError::Syntax {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        self.section(&Origin::File(path.to_owned()), &mut Vec::new(), table)
    }

    /// Puts the environment on top. An empty variable counts as one that is not set.
    pub(crate) fn environment(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), ConfigError> {
        for (name, text) in variables {
            if !name.starts_with("ETHOGRAM_") || text.is_empty() || is_foreign(&name) {
                continue;
            }
            let Some(leaf) = self.leaves.iter().find(|leaf| leaf.variable() == name).cloned()
            else {
                let known: Vec<String> = self.leaves.iter().map(Leaf::variable).collect();
                return Err(unknown(name.clone(), Origin::Variable(name), &known));
            };
            self.put(&leaf, leaf.readings(&text), Origin::Variable(name))?;
        }
        Ok(())
    }

    /// Puts a default that belongs to one command on top.
    pub(crate) fn command(
        &mut self,
        command: &'static str,
        key: &str,
        text: &str,
    ) -> Result<(), ConfigError> {
        self.text(key, text, Origin::Command(command))
    }

    /// Puts the flags, as pairs of key and text, on top.
    pub(crate) fn flags<'a>(
        &mut self,
        flags: impl IntoIterator<Item = &'a (String, String)>,
    ) -> Result<(), ConfigError> {
        for (key, text) in flags {
            let flag = format!("--{}", key.replace(['.', '_'], "-"));
            self.text(key, text, Origin::Flag(flag))?;
        }
        Ok(())
    }

    /// The second stage: the typed configuration.
    pub(crate) fn typed(self) -> Result<Config, ConfigError> {
        typed(self.table).map_err(ConfigError::Together)
    }

    fn text(&mut self, key: &str, text: &str, origin: Origin) -> Result<(), ConfigError> {
        let Some(leaf) = self.leaves.iter().find(|leaf| leaf.key() == key).cloned() else {
            let known: Vec<String> = self.leaves.iter().map(Leaf::key).collect();
            return Err(unknown(key.to_owned(), origin, &known));
        };
        self.put(&leaf, leaf.readings(text), origin)
    }

    fn section(
        &mut self,
        origin: &Origin,
        path: &mut Vec<String>,
        table: toml::Table,
    ) -> Result<(), ConfigError> {
        for (name, value) in table {
            path.push(name);
            let leaf = self.leaves.iter().find(|leaf| leaf.path() == path.as_slice()).cloned();
            let is_section = self.leaves.iter().any(|leaf| leaf.path().starts_with(path));
            match (leaf, value) {
                (Some(leaf), value) => self.put(&leaf, vec![value], origin.clone())?,
                (None, toml::Value::Table(table)) if is_section => {
                    self.section(origin, path, table)?
                }
                (None, value) if is_section => {
                    return Err(ConfigError::Value {
                        key: path.join("."),
                        origin: origin.clone(),
                        reason: format!(
                            "it is a section and cannot be set to a single {}",
                            value.type_str()
                        ),
                        allowed: format!("a table: [{}]", path.join(".")),
                    });
                }
                (None, _) => {
                    return Err(unknown(path.join("."), origin.clone(), &self.siblings(path)));
                }
            }
            path.pop();
        }
        Ok(())
    }

    /// The keys and sections that could stand where `path` stands.
    fn siblings(&self, path: &[String]) -> Vec<String> {
        let parent = &path[..path.len() - 1];
        let mut names: Vec<String> = self
            .leaves
            .iter()
            .filter(|leaf| leaf.path().starts_with(parent))
            .map(|leaf| leaf.path()[..path.len()].join("."))
            .collect();
        names.dedup();
        names
    }

    fn put(
        &mut self,
        leaf: &Leaf,
        readings: Vec<toml::Value>,
        origin: Origin,
    ) -> Result<(), ConfigError> {
        let mut reason = None;
        for value in readings {
            let mut alone = toml::Table::new();
            insert(&mut alone, leaf.path(), value.clone());
            match typed(alone) {
                Ok(_) => {
                    insert(&mut self.table, leaf.path(), value);
                    return Ok(());
                }
                // The first reading is the likeliest, so its complaint is the clearest.
                Err(message) => reason = reason.or(Some(message)),
            }
        }
        Err(ConfigError::Value {
            key: leaf.key(),
            origin,
            reason: reason.unwrap_or_else(|| "no value".to_owned()),
            allowed: leaf.allowed(),
        })
    }
}

fn typed(table: toml::Table) -> Result<Config, String> {
    table.try_into().map_err(|error: toml::de::Error| error.message().to_owned())
}

fn insert(table: &mut toml::Table, path: &[String], value: toml::Value) {
    let (last, sections) = path.split_last().expect("a key has a name");
    let mut table = table;
    for name in sections {
        table = table
            .entry(name.clone())
            .or_insert_with(|| toml::Value::Table(toml::Table::new()))
            .as_table_mut()
            .expect("a key is either a section or a leaf");
    }
    table.insert(last.clone(), value);
}

fn unknown(key: String, origin: Origin, known: &[String]) -> ConfigError {
    let closest = known.iter().max_by_key(|name| likeness(name, &key));
    let allowed = match closest {
        // Two thirds of the letters in place: a typing error, not another word.
        Some(closest) if likeness(closest, &key) * 3 >= stem(&key).len() * 2 => {
            format!("did you mean `{closest}`?")
        }
        _ if known.len() <= 40 => format!("allowed: {}", known.join(", ")),
        _ => "`ethogram --help` lists all keys".to_owned(),
    };
    ConfigError::UnknownKey { key, origin, allowed }
}

/// How many letters two names share at their ends.
fn likeness(one: &str, other: &str) -> usize {
    let (one, other) = (stem(one), stem(other));
    let front = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let back = one.bytes().rev().zip(other.bytes().rev()).take_while(|(a, b)| a == b).count();
    (front + back).min(one.len()).min(other.len())
}

/// The part of a name that tells it from its neighbours.
fn stem(name: &str) -> &str {
    let name = name.strip_prefix("ETHOGRAM_").unwrap_or(name);
    name.rsplit('.').next().unwrap_or(name)
}

/// Whether a variable with our prefix is somebody else's. Kubernetes sets `ETHOGRAM_PORT`,
/// `ETHOGRAM_SERVICE_HOST` and their like for a service named `ethogram`, and a pod must not fail
/// for it. `ETHOGRAM_TEST_*` belongs to the tests.
fn is_foreign(name: &str) -> bool {
    OTHER_VARIABLES.contains(&name)
        || name.starts_with("ETHOGRAM_TEST_")
        || name.ends_with("_SERVICE_HOST")
        || name.ends_with("_PORT")
        || name.contains("_SERVICE_PORT")
        || (name.contains("_PORT_") && (name.contains("_TCP") || name.contains("_UDP")))
}
