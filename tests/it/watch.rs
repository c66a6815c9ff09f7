//! What a process costs while something is done to it.

use crate::harness::{Ethogram, wait_for};

/// A process that is watched from now on.
pub(crate) struct Watch {
    process: u32,
    before_bytes: u64,
    before_ms: u64,
}

impl Watch {
    /// Watches a role. Its peak of memory is counted from what it holds now.
    pub(crate) fn role(ethogram: &Ethogram, name: &str) -> Self {
        let process = wait_for("the role", || ethogram.role(name));
        std::fs::write(format!("/proc/{process}/clear_refs"), "5").expect("a process of ours");
        let mut watch = Self { process, before_bytes: 0, before_ms: 0 };
        watch.before_bytes = watch.status("VmRSS:");
        watch.before_ms = watch.processor_ms();
        watch
    }

    /// Bytes that its resident memory was at most larger.
    pub(crate) fn grown_bytes(&self) -> u64 {
        self.status("VmHWM:").saturating_sub(self.before_bytes)
    }

    /// Milliseconds of a processor that it used, to ten.
    pub(crate) fn used_ms(&self) -> u64 {
        self.processor_ms() - self.before_ms
    }

    /// Its open file descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process)).expect("it runs").count()
    }

    fn status(&self, name: &str) -> u64 {
        let text = self.file("status");
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("this line");
        let kibibytes = line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number");
        kibibytes << 10
    }

    /// Ticks are hundredths of a second on every Linux that is in use.
    fn processor_ms(&self) -> u64 {
        let text = self.file("stat");
        // The second field is a name and may hold anything; the others stand behind its bracket.
        let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split(' ').collect();
        let ticks = |index: usize| fields[index].parse::<u64>().expect("a number");
        (ticks(12) + ticks(13)) * 10
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.process)).expect("it runs")
    }
}
