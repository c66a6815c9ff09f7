//! One role alone, without a supervisor, on a data directory that outlives it.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{binary, log_file, wait_for};

/// A role that runs by itself.
pub struct Role {
    process: Child,
    ready: Value,
}

impl Role {
    /// Starts the collector or the query role on `directory`, with these further arguments.
    pub fn start(name: &str, directory: &Path, arguments: &[&str]) -> Self {
        let file = directory.join(format!("{name}.json"));
        drop(std::fs::remove_file(&file));
        let listeners = ["admin", "beacon", "otlp-grpc", "otlp-http", "query"];
        let mut process = Command::new(binary())
            .current_dir(directory)
            .arg(name)
            .args(arguments)
            .arg("--data-dir")
            .arg(directory.join("data"))
            .arg("--ready-file")
            .arg(&file)
            .args(listeners.map(|listener| format!("--{listener}-listen=127.0.0.1:0")))
            .stdin(Stdio::null())
            .stdout(log_file(directory))
            .stderr(log_file(directory))
            .spawn()
            .expect("the binary starts");
        let ready = wait_for("the ready file", || {
            if let Some(status) = process.try_wait().expect("it can be asked") {
                let log = std::fs::read_to_string(directory.join("stderr.log"));
                panic!("it ended with {status}\n{}", log.unwrap_or_default());
            }
            serde_json::from_str(&std::fs::read_to_string(&file).ok()?).ok()
        });
        Self { process, ready }
    }

    /// Where the role listens under this name.
    pub fn at(&self, listener: &str) -> String {
        self.ready[listener].as_str().unwrap_or_default().to_string()
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
