//! The ready file: the addresses that serve, for whoever started us with port 0.
//!
//! Invariant: a reader sees no file or a whole one.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The name of the ready file that means standard output.
pub(crate) const STANDARD_OUTPUT: &str = "-";

/// Bound addresses by the listener's name: admin, beacon, otlp_grpc, otlp_http, query.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Ready(BTreeMap<String, SocketAddr>);

impl Ready {
    /// Adds a listener.
    pub(crate) fn insert(&mut self, name: &str, address: SocketAddr) {
        self.0.insert(name.to_owned(), address);
    }

    /// Adds the listeners of another role.
    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The address of a listener, if this process has it.
    pub(crate) fn get(&self, name: &str) -> Option<SocketAddr> {
        self.0.get(name).copied()
    }

    /// All listeners, in the order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.0.iter().map(|(name, address)| (name.as_str(), *address))
    }

    /// Writes the file in one step, or to standard output where that is its name.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_string(self)?;
        text.push('\n');
        if path == Path::new(STANDARD_OUTPUT) {
            let mut output = io::stdout().lock();
            output.write_all(text.as_bytes())?;
            return output.flush();
        }
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = Path::new(&name);
        std::fs::write(temporary, text)?;
        std::fs::rename(temporary, path)
    }

    /// Reads what [`Self::write`] wrote.
    pub(crate) fn parse(text: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_whole_and_read_back() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("ready.json");
        let mut ready = Ready::default();
        ready.insert("query", SocketAddr::from(([127, 0, 0, 1], 4319)));
        ready.insert("admin", SocketAddr::from(([127, 0, 0, 1], 4315)));
        ready.write(&path).expect("the directory is writable");
        let text = std::fs::read_to_string(&path).expect("it was written");
        assert_eq!(text, "{\"admin\":\"127.0.0.1:4315\",\"query\":\"127.0.0.1:4319\"}\n");
        assert_eq!(Ready::parse(text.as_bytes()).expect("it is readable"), ready);
        assert_eq!(
            std::fs::read_dir(directory.path()).expect("readable").count(),
            1,
            "nothing else is left"
        );
    }
}
