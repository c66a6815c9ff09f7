//! Starts the real binary, talks to it as a stranger would, and waits for conditions.
//!
//! It is not a client library: requests are written by hand, so that a test can send what no
//! library would.

#![allow(dead_code, reason = "each test binary uses its part of it")]
#![allow(unused_imports, reason = "each test binary uses its part of it")]
#![allow(unreachable_pub, reason = "each test binary has it as a module of its own")]

pub mod authority;
mod connection;
mod disk;
pub mod grpc;
mod http;
pub mod load;
pub mod mutate;
pub mod otlp;
mod role;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub use http::{Answer, Request};
pub use role::Role;

/// A condition that does not come true within this time will not: builds without optimisation on a
/// busy machine of two cores stay far below. `ETHOGRAM_TEST_PATIENCE_S` says another, in seconds.
fn patience() -> Duration {
    Duration::from_secs(number_from("ETHOGRAM_TEST_PATIENCE_S", 180))
}

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Waits until `condition` gives a value; panics with `what` when it never does.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(began.elapsed() < patience(), "waited in vain for {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// A number that a long run sets in the environment, or the usual one.
pub fn number_from(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |text| {
        text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}"))
    })
}

/// Whether times and rates are held to their goals (`ETHOGRAM_TEST_HOLD=1`): only in the long form, built
/// for release, where the machine does nothing else. Anywhere else they say how busy the machine is.
pub fn is_held() -> bool {
    number_from("ETHOGRAM_TEST_HOLD", 0) == 1
}

/// The addresses that a running program wrote to its ready file.
#[derive(Clone, Debug)]
pub struct Addresses {
    pub admin: String,
    pub beacon: String,
    pub otlp_grpc: String,
    pub otlp_http: String,
    pub query: String,
}

/// A running program with a data directory of its own; both end with it.
pub struct Ethogram {
    pub directory: tempfile::TempDir,
    pub at: Addresses,
    arguments: Vec<String>,
    process: Child,
}

impl Ethogram {
    /// Starts both roles with these further arguments.
    pub fn start(arguments: &[&str]) -> Self {
        Self::over(tempfile::tempdir().expect("a directory for the data"), arguments)
    }

    /// Starts both roles over the data that stands in the directory `data` of this one.
    pub fn over(directory: tempfile::TempDir, arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let (process, at) = launch(directory.path(), &arguments);
        Self { directory, at, arguments, process }
    }

    /// As [`Self::kill_and_restart`], with other arguments than before.
    pub fn kill_and_restart_with(&mut self, arguments: &[&str]) {
        self.arguments = arguments.iter().map(ToString::to_string).collect();
        self.kill_and_restart();
    }

    /// Kills everything at once, as a power cut would, and starts it again on the same data.
    pub fn kill_and_restart(&mut self) {
        for role in self.roles() {
            kill(role);
        }
        self.process.kill().expect("the supervisor runs");
        self.process.wait().expect("it can be waited for");
        (self.process, self.at) = launch(self.directory.path(), &self.arguments);
    }

    /// Kills the supervisor alone: the roles must end by themselves, and it starts again beside
    /// nobody.
    pub fn kill_supervisor(&mut self) {
        let roles = self.roles();
        self.process.kill().expect("the supervisor runs");
        self.process.wait().expect("it can be waited for");
        let is_gone = |role: &u32| match std::fs::read_to_string(format!("/proc/{role}/stat")) {
            Ok(stat) => stat.contains(") Z "),
            Err(_) => true,
        };
        wait_for("the roles to end", || roles.iter().all(is_gone).then_some(()));
        (self.process, self.at) = launch(self.directory.path(), &self.arguments);
    }

    /// The process ids of the supervisor's children.
    pub fn roles(&self) -> Vec<u32> {
        // A child belongs to the thread that started it, which need not be the first.
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.process.id()));
        let children = threads.into_iter().flatten().flatten().map(|thread| {
            std::fs::read_to_string(thread.path().join("children")).unwrap_or_default()
        });
        let ids: Vec<String> = children.collect();
        ids.iter().flat_map(|ids| ids.split_whitespace()).filter_map(|id| id.parse().ok()).collect()
    }

    /// Bounds the data of every role that is started from now on.
    pub fn limit_successors(&self, bytes: u64) {
        limit_memory(self.process.id(), bytes);
    }

    /// The process id of the role of that name.
    pub fn role(&self, name: &str) -> Option<u32> {
        self.roles().into_iter().find(|id| {
            let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|word| word == name.as_bytes())
        })
    }

    /// Kills the role of that name with SIGKILL and waits until another process has its place.
    pub fn kill_role(&self, name: &str) {
        let old = wait_for("the role", || self.role(name));
        kill(old);
        wait_for("the role's successor", || self.role(name).filter(|id| *id != old));
    }

    /// Everything that it and its predecessors in this directory printed.
    pub fn printed(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("stderr.log")).unwrap_or_default()
    }

    /// The rows of a SQL question.
    pub fn sql(&self, sql: &str) -> Vec<Value> {
        self.try_sql(sql).unwrap_or_else(|error| panic!("{sql}\n{error}"))
    }

    /// The rows of a SQL question, or what was answered instead.
    pub fn try_sql(&self, sql: &str) -> Result<Vec<Value>, String> {
        ask(&self.at.query, sql)
    }

    /// Waits until the question's one value is `expected`.
    pub fn wait_for_value(&self, sql: &str, expected: impl Into<Value>) {
        let expected = expected.into();
        let mut latest = None;
        let began = Instant::now();
        while began.elapsed() < patience() {
            latest = self
                .try_sql(sql)
                .ok()
                .and_then(|rows| rows.first()?.as_object()?.values().next().cloned());
            if latest.as_ref() == Some(&expected) {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        panic!("{sql}\nexpected {expected}, has {latest:?}");
    }

    /// Waits until a second of log time has passed since now: then all that is learned from what is
    /// visible is learned, such as who answers behind a host.
    pub fn wait_for_a_second_of_log(&self) {
        let until_s = otlp::now_ns() as f64 / 1e9 + 1.0;
        wait_for("a second of log time", || {
            let metrics = self.get(&self.at.query, "/metrics");
            let text = metrics.text();
            let value = text.lines().find_map(|line| {
                line.strip_prefix("ethogram_complete_until_seconds ")?.parse::<f64>().ok()
            });
            value.filter(|complete_s| *complete_s >= until_s)
        });
    }

    /// The answer of a role's endpoint.
    pub fn get(&self, address: &str, path: &str) -> Answer {
        Request::get(path).send(address)
    }
}

impl Drop for Ethogram {
    fn drop(&mut self) {
        for role in self.roles() {
            kill(role);
        }
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The rows of a SQL question to the query role at `address`, or what was answered instead.
pub fn ask(address: &str, sql: &str) -> Result<Vec<Value>, String> {
    let body = serde_json::json!({ "sql": sql }).to_string();
    let request =
        Request::post("/api/v1/sql").header("Content-Type", "application/json").body(body);
    let answer = request.try_send(address).map_err(|error| error.to_string())?;
    let value: Value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
    match value.get("rows").and_then(Value::as_array) {
        Some(rows) if answer.status == 200 => Ok(rows.clone()),
        _ => Err(format!("{} {value}", answer.status)),
    }
}

/// The binary under test.
pub fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_ethogram")
}

/// A file of the tree.
pub fn tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn launch(directory: &Path, arguments: &[String]) -> (Child, Addresses) {
    launch_by(Command::new(binary()), directory, arguments)
}

/// As [`launch`], by a command that becomes the program.
fn launch_by(mut program: Command, directory: &Path, arguments: &[String]) -> (Child, Addresses) {
    let ready = directory.join("ready.json");
    drop(std::fs::remove_file(&ready));
    let mut process = program
        .current_dir(directory)
        .args(arguments)
        // As it is by default: below the directory in which the program was started.
        .args(["--data-dir", "data"])
        .arg("--ready-file")
        .arg(&ready)
        .args(
            ["admin", "beacon", "otlp-grpc", "otlp-http", "query"]
                .map(|listener| format!("--{listener}-listen=127.0.0.1:0")),
        )
        .stdin(Stdio::null())
        .stdout(log_file(directory))
        .stderr(log_file(directory))
        .spawn()
        .expect("the binary starts");
    let addresses = wait_for("the ready file", || {
        if let Some(status) = process.try_wait().expect("it can be asked") {
            let log = std::fs::read_to_string(directory.join("stderr.log")).unwrap_or_default();
            panic!("it ended with {status}\n{log}");
        }
        let text = std::fs::read_to_string(&ready).ok()?;
        let at: Value = serde_json::from_str(&text).ok()?;
        let address = |name: &str| at[name].as_str().expect("an address").to_string();
        Some(Addresses {
            admin: address("admin"),
            beacon: address("beacon"),
            otlp_grpc: address("otlp_grpc"),
            otlp_http: address("otlp_http"),
            query: address("query"),
        })
    });
    (process, addresses)
}

fn log_file(directory: &Path) -> std::fs::File {
    let path = directory.join("stderr.log");
    std::fs::File::options().create(true).append(true).open(path).expect("a file for the log")
}

/// Bounds the data of a process and of what it starts: what is beyond cannot be had, and who cannot
/// have memory aborts. Not the address space: an allocator reserves as much of that as it likes.
fn limit_memory(process: u32, bytes: u64) {
    let status = Command::new("prlimit")
        .args(["--pid", &process.to_string(), &format!("--data={bytes}")])
        .status();
    assert!(status.expect("prlimit is there").success(), "prlimit refuses");
}

/// A number of `/proc/<process>/status`, in bytes, such as of `VmHWM`.
pub fn memory_bytes(process: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

fn kill(process: u32) {
    let status =
        Command::new("kill").args(["-9", &process.to_string()]).stderr(Stdio::null()).status();
    drop(status);
}
