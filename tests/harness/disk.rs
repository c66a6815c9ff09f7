//! A small disk for the data of one program: a file system in memory that only it and its children see.
//!
//! The kernel mounts one for root, and for anybody else where it gives a user namespace to him. Where it
//! refuses both, the test fails and says what was refused: without a disk that can be filled there is
//! nothing to show. Whoever wants the tests in a container gives it the right to mount.
//!
//! Invariant: nothing is mounted where others see it, so nothing has to be unmounted, whatever the test
//! dies of. The disk goes with the last process that was started on it, so a program that was killed
//! cannot be started on it again.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Ethogram, binary, launch_by};

/// How `unshare` gets a mount namespace: as root, and as anybody, who is root in a user namespace of his
/// own. In this order, since some systems refuse user namespaces and none refuses root without them.
const WAYS: [&[&str]; 2] = [&["--mount"], &["--mount", "--user", "--map-root-user"]];

/// Mounts a disk of `$1` bytes at `$2` and becomes the program that follows, so that the process which
/// was started is that program.
const MOUNT: &str = r#"mount -t tmpfs -o "size=$1" tmpfs "$2" && shift 2 && exec "$@""#;

impl Ethogram {
    /// Starts both roles with their data on a disk of so many bytes.
    pub fn on_disk_of(bytes: u64, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory for the data");
        let data = directory.path().join("data");
        std::fs::create_dir(&data).expect("a directory for the disk");
        let mut program = way_to_mount(&data, bytes);
        program.arg(binary());
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let (process, at) = launch_by(program, directory.path(), &arguments);
        Self { directory, at, arguments, process }
    }

    /// The path of a file of its data, also where they stand on a disk that only it sees.
    pub fn data(&self, name: &str) -> PathBuf {
        // A link on the way to it would lead out of what the program sees.
        let directory = self.directory.path().canonicalize().expect("it is there");
        let below = directory.strip_prefix("/").expect("a whole path");
        let seen = PathBuf::from(format!("/proc/{}/root", self.process.id()));
        seen.join(below).join("data").join(name)
    }
}

/// What runs the program that is still to be named with a disk at `directory`, the first way that this
/// machine allows.
fn way_to_mount(directory: &Path, bytes: u64) -> Command {
    let mut refused = String::new();
    for way in WAYS {
        let begun = || {
            let mut command = Command::new("unshare");
            command.args(way).args(["--", "sh", "-c", MOUNT, "sh", &bytes.to_string()]);
            command.arg(directory);
            command
        };
        let tried = begun().arg("true").output().expect("unshare (of util-linux) is there");
        if tried.status.success() {
            return begun();
        }
        let said = String::from_utf8_lossy(&tried.stderr);
        refused += &format!("\n  unshare {}: {}", way.join(" "), said.trim());
    }
    panic!(
        "this machine lets nobody mount a disk for a test, which needs to be root with CAP_SYS_ADMIN or \
         to have user namespaces:{refused}"
    );
}
