//! Room for connections on this machine.
//!
//! The program under test inherits our limit of file descriptors, and each connection costs one at both
//! ends. So the limit is raised, before the program is started, as far as this process may; where that is
//! not enough the test fails, since with fewer connections it would show less than it says.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{Mutex, MutexGuard};

/// Descriptors for everything else: listeners, the log, tables, the other tests of this process.
const OTHERS: u64 = 400;

/// One test at a time has what the limit leaves.
static TURN: Mutex<()> = Mutex::const_new(());

/// A test's turn.
pub(crate) struct Room {
    _turn: MutexGuard<'static, ()>,
}

/// Room for so many connections to a program that is started after this.
pub(crate) async fn for_connections(connections: u64) -> Room {
    let turn = TURN.lock().await;
    let needed = connections + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|soft| soft < needed) {
        let raised = Rlimit { current: Some(needed), maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            panic!(
                "{connections} connections need {needed} file descriptors, and `ulimit -Hn` says {:?}: {error}",
                limit.maximum
            );
        }
    }
    Room { _turn: turn }
}
