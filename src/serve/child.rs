//! One child process, kept alive.
//!
//! Its standard input is a pipe of which we hold the other end and into which nothing is ever
//! written: when we end, however we end, the kernel closes it, and the child takes that as its
//! own end. Its standard output is a pipe as well, on which a child that serves writes once where:
//! unlike a file, that works on a full disk, when a role has to come back all the more.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child as Process, ChildStdout, Command};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::telemetry::Telemetry;

use super::backoff::Backoff;
use super::ready::Ready;
use super::stop::Stop;

/// Exit code of wrong usage or configuration. Starting again would not help.
pub(crate) const EXIT_CONFIGURATION: u8 = 2;

/// Exit code of an address or data directory that somebody else holds.
pub(crate) const EXIT_TAKEN: u8 = 3;

/// A child that ended for a reason the operator must mend. Its own message is on standard error.
#[derive(Debug, thiserror::Error)]
#[error("{name} cannot start, for the reason above")]
pub(crate) struct Refused {
    name: &'static str,
    /// The exit code, which is ours too.
    pub(crate) code: u8,
}

/// The arguments of a start: where the child served before, and which start it is, from 0.
pub(crate) type Arguments = Box<dyn Fn(Option<&Ready>, u64) -> Vec<String> + Send + Sync>;

/// What is kept alive, and how.
pub(crate) struct Child {
    /// The name in messages.
    pub(crate) name: &'static str,
    /// What it is started with.
    pub(crate) arguments: Arguments,
    /// Whether it writes to its standard output where it serves.
    pub(crate) serves: bool,
    /// How long it may take to stop.
    pub(crate) patience: Duration,
}

/// How a life ended.
enum End {
    Stopped,
    Died(ExitStatus),
    /// It could not be started.
    Unborn(anyhow::Error),
}

impl Child {
    /// Starts the child, again and again, until it is asked to stop. `ready` gets the addresses
    /// of the first start; later starts serve on the same ones.
    pub(crate) async fn keep(
        self,
        stop: Stop,
        telemetry: Telemetry,
        ready: watch::Sender<Option<Ready>>,
    ) -> anyhow::Result<()> {
        let mut backoff = Backoff::new();
        for start in 0.. {
            let born = Instant::now();
            let bound = ready.borrow().clone();
            let end = self.live(bound.as_ref(), start, &stop, &telemetry, &ready).await?;
            if self.serves {
                telemetry.role_down(self.name);
            }
            let has_served = ready.borrow().is_some();
            let cause = match end {
                End::Stopped => return Ok(()),
                End::Died(status) if self.is_over(status, has_served)? => return Ok(()),
                End::Died(status) => status.to_string(),
                // The machine is out of something, and the other role needs none of it.
                End::Unborn(error) if has_served => format!("{error:#}"),
                End::Unborn(error) => return Err(error),
            };
            let wait = backoff.after(born.elapsed(), rand::random());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // A terminal's interrupt reaches the children before we have understood it.
                () = stop.clone().requested() => return Ok(()),
            }
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(child = self.name, cause, wait_ms, "it died; starting it again");
            telemetry.role_restarted(self.name);
        }
        Ok(())
    }

    async fn live(
        &self,
        bound: Option<&Ready>,
        start: u64,
        stop: &Stop,
        telemetry: &Telemetry,
        ready: &watch::Sender<Option<Ready>>,
    ) -> anyhow::Result<End> {
        let mut process = match self.spawn(bound, start) {
            Ok(process) => process,
            Err(error) => return Ok(End::Unborn(error)),
        };
        // Waiting for a process closes its standard input, which would tell it to stop.
        let input = process.stdin.take();
        let output = process.stdout.take();
        let serving = async {
            if let Some(output) = output {
                let mut lines = BufReader::new(output).lines();
                let addresses = until_ready(&mut lines).await;
                telemetry.role_up(self.name);
                ready.send_if_modified(|first| {
                    let is_first = first.is_none();
                    first.get_or_insert(addresses);
                    is_first
                });
                // Nothing more is expected; a pipe that nobody reads would stop who writes to it.
                while let Ok(Some(_)) = lines.next_line().await {}
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            status = process.wait() => return Ok(End::Died(status?)),
            () = serving => {}
            () = stop.clone().requested() => {}
        }
        drop(input);
        self.end(process).await?;
        Ok(End::Stopped)
    }

    fn spawn(&self, bound: Option<&Ready>, start: u64) -> anyhow::Result<Process> {
        let program = program()?;
        Command::new(&program)
            .args((self.arguments)(bound, start))
            .stdin(Stdio::piped())
            .stdout(if self.serves { Stdio::piped() } else { Stdio::inherit() })
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))
    }

    async fn end(&self, mut process: Process) -> anyhow::Result<()> {
        let id = process
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(rustix::process::Pid::from_raw);
        if let Some(id) = id {
            // It may have ended meanwhile; then there is nobody to tell.
            rustix::process::kill_process(id, rustix::process::Signal::TERM).ok();
        }
        if tokio::time::timeout(self.patience, process.wait()).await.is_err() {
            tracing::error!(child = self.name, patience = ?self.patience, "it did not stop in time and is killed");
            process.kill().await?;
        }
        Ok(())
    }

    /// Whether a child that died with `status` stays dead.
    fn is_over(&self, status: ExitStatus, has_served: bool) -> Result<bool, Refused> {
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        if !self.serves {
            // A child that serves nothing is a guest: the others do not end with it.
            return Ok(matches!(code, Some(0 | EXIT_CONFIGURATION)));
        }
        match code {
            // Once it has served, its port was taken while it was away, or a file of its configuration
            // is being changed; that may pass, and must not end the other role.
            Some(code @ (EXIT_CONFIGURATION | EXIT_TAKEN)) if !has_served => {
                Err(Refused { name: self.name, code })
            }
            _ => Ok(false),
        }
    }
}

/// The addresses that the child writes; never where it ends without.
async fn until_ready(lines: &mut Lines<BufReader<ChildStdout>>) -> Ready {
    while let Ok(Some(line)) = lines.next_line().await {
        if let Ok(ready) = Ready::parse(line.as_bytes()) {
            return ready;
        }
    }
    std::future::pending().await
}

/// The file of this program. After an upgrade it is gone or another; the running program is still
/// to be had from the kernel, and a supervisor must be able to start its children.
fn program() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe().context("the program's own file is unknown")?;
    if path.exists() { Ok(path) } else { Ok(PathBuf::from("/proc/self/exe")) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn only_what_the_operator_must_mend_is_final() {
        let child = |serves| Child {
            name: "query",
            arguments: Box::new(|_, _| Vec::new()),
            serves,
            patience: Duration::ZERO,
        };
        let role = child(true);
        let guest = child(false);
        let exited = |code: i32| ExitStatus::from_raw(code << 8);
        let check = |child: &Child, status, has_served, expected: Result<bool, u8>| {
            let verdict = child.is_over(status, has_served).map_err(|refused| refused.code);
            assert_eq!(verdict, expected, "{status:?} has_served: {has_served}");
        };
        check(&role, exited(0), true, Ok(false));
        check(&role, exited(1), false, Ok(false));
        check(&role, exited(2), false, Err(2));
        check(&role, exited(2), true, Ok(false));
        check(&role, exited(3), false, Err(3));
        check(&role, exited(3), true, Ok(false));
        check(&role, ExitStatus::from_raw(9), false, Ok(false));
        check(&guest, exited(0), false, Ok(true));
        check(&guest, exited(2), false, Ok(true));
        check(&guest, exited(1), false, Ok(false));
        check(&guest, ExitStatus::from_raw(9), false, Ok(false));
    }
}
