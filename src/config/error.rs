//! Why a configuration cannot be used. Every error names the key, where the value came from and
//! what would have been allowed, so that it can be fixed without reading the source.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from; later ones win.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A configuration file.
    File(PathBuf),
    /// An environment variable, by its name.
    Variable(String),
    /// A command-line flag, with its dashes.
    Flag(String),
    /// A default that belongs to one command, such as the data directory of `demo`.
    Command(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "{}", path.display()),
            Self::Variable(name) => write!(formatter, "{name}"),
            Self::Flag(flag) => write!(formatter, "{flag}"),
            Self::Command(name) => write!(formatter, "ethogram {name}"),
        }
    }
}

/// A configuration that cannot be used. The operator's to fix; trying again does not help.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file named by `--config` (or found as `./ethogram.toml`) cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{} is not TOML", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        source: Box<toml::de::Error>,
    },
    /// There is no such key.
    #[error("`{key}` ({origin}): there is no such key; {allowed}")]
    UnknownKey {
        /// The key, dotted.
        key: String,
        /// Where it was set.
        origin: Origin,
        /// The keys that could be meant.
        allowed: String,
    },
    /// The value has a wrong type or is out of range.
    #[error("`{key}` ({origin}): {reason}; allowed: {allowed}")]
    Value {
        /// The key, dotted.
        key: String,
        /// Where it was set.
        origin: Origin,
        /// What is wrong with it.
        reason: String,
        /// What would be right.
        allowed: String,
    },
    /// The values are right one by one but not together.
    #[error("configuration: {0}")]
    Together(String),
}
