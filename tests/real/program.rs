//! Other people's programs, run to their end with all they say kept.
//!
//! Invariant: a program that does not end within its time is killed together with its children.

use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often a program is asked whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A program that has ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// All it said, for a failure's message.
    pub(crate) fn everything(&self) -> String {
        format!("{}\n--- stdout\n{}\n--- stderr\n{}", self.status, self.stdout, self.stderr)
    }
}

/// Runs a program to its end; panics where it is not there or takes longer than `patience`.
pub(crate) fn run(command: &mut Command, input: &[u8], patience: Duration) -> Ended {
    let name = command.get_program().to_string_lossy().into_owned();
    let file = || tempfile::tempfile().expect("a temporary file");
    // Files, because nobody reads a pipe while the program runs, and a full one would stop it.
    let (mut stdin, mut stdout, mut stderr) = (file(), file(), file());
    stdin.write_all(input).and_then(|()| stdin.rewind()).expect("a temporary file takes it");
    let handle = |file: &std::fs::File| Stdio::from(file.try_clone().expect("a second handle"));
    let mut process = command
        .stdin(handle(&stdin))
        .stdout(handle(&stdout))
        .stderr(handle(&stderr))
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{name}: {error}; tests/run installs what these tests need")
        });
    let began = Instant::now();
    let ended = loop {
        if let Some(status) = process.try_wait().expect("it can be asked") {
            break Some(status);
        }
        if began.elapsed() > patience {
            break None;
        }
        std::thread::sleep(LOOK_EVERY);
    };
    let status = ended.unwrap_or_else(|| {
        let group = format!("-{}", process.id());
        drop(Command::new("kill").args(["-9", "--", &group]).status());
        process.wait().expect("it can be waited for")
    });
    let ended_in_time = ended.is_some();
    let ended = Ended { status, stdout: read(&mut stdout), stderr: read(&mut stderr) };
    assert!(ended_in_time, "{name} did not end in {patience:?}: {}", ended.everything());
    ended
}

fn read(file: &mut std::fs::File) -> String {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))
        .and_then(|_| file.read_to_end(&mut bytes))
        .expect("it can be read");
    String::from_utf8_lossy(&bytes).into_owned()
}
